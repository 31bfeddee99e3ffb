"""An episode: the examples that a learner may look at (support), and those that it is then tested on (query)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Episode:
    """A batch of T tasks, each with S support and Q query examples.

    In classification, the examples are ordered class by class, with S = ways * shots and Q = ways * queries. The
    labels are 0 … ways-1, and every episode assigns them to its classes anew. Regression has one "class": S = shots.
    """

    support_x: Tensor  # [T, S, ...]
    support_y: Tensor  # [T, S] int64 labels, or [T, S, 1] float targets
    query_x: Tensor  # [T, Q, ...]
    query_y: Tensor  # [T, Q] or [T, Q, 1]
    ways: int = 1  # N, the number of classes

    @property
    def tasks(self) -> int:
        """T, the number of tasks."""
        return self.support_x.shape[0]

    def __getitem__(self, tasks: slice) -> Episode:
        """Return an episode of some of the tasks: `episode[:4]`."""
        return self._each(lambda tensor: tensor[tasks])

    def to(self, target: torch.device | torch.dtype | str) -> Episode:
        """Return the same episode on another device, or with its floating-point tensors in another dtype."""
        is_dtype = isinstance(target, torch.dtype)
        return self._each(lambda t: t if is_dtype and not t.is_floating_point() else t.to(target))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Episode:
        return Episode(*map(change, (self.support_x, self.support_y, self.query_x, self.query_y)), ways=self.ways)


def as_episode(groups: Tensor, shots: int) -> Episode:
    """Make T N-way tasks from groups [T, N, K+Q, ...]: the first K drawings of each character are its support.

    Args:
        groups: drawings of N characters for each task, K+Q drawings of each.
        shots: K.

    Raises:
        ValueError: `shots` is less than 1, or leaves no drawing for a query.
    """
    tasks, ways, drawings = groups.shape[:3]
    if not 1 <= shots < drawings:
        raise ValueError(f"shots={shots} must be 1 … {drawings - 1}: a group has {drawings} drawings of a character")
    label = torch.arange(ways, device=groups.device)[None, :, None].expand(tasks, ways, drawings)
    return Episode(
        support_x=groups[:, :, :shots].flatten(1, 2),
        support_y=label[:, :, :shots].flatten(1, 2),
        query_x=groups[:, :, shots:].flatten(1, 2),
        query_y=label[:, :, shots:].flatten(1, 2),
        ways=ways,
    )
