"""An episode: what a learner may look at (support), and what it is then asked (query)."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class Episode:
    """A batch of T tasks, each with S support and Q query examples.

    Classification orders its rows class by class: S = ways * shots, Q = ways * queries, and the labels are
    0 .. ways-1, dealt anew in every episode. Regression has one "class": S = shots.
    """

    support_x: Tensor  # [T, S, ...]
    support_y: Tensor  # [T, S] int64 labels, or [T, S, 1] float targets
    query_x: Tensor  # [T, Q, ...]
    query_y: Tensor  # [T, Q] or [T, Q, 1]

    @property
    def tasks(self) -> int:
        return self.support_x.shape[0]

    @property
    def ways(self) -> int:
        """N, the number of classes; reads the labels, so keep it out of code that must not wait for a GPU."""
        return int(self.support_y.max()) + 1

    def to(self, target: torch.device | torch.dtype | str) -> Episode:
        """The same episode on another device, or its floating-point tensors in another dtype."""
        is_dtype = isinstance(target, torch.dtype)
        move = lambda t: t if is_dtype and not t.is_floating_point() else t.to(target)  # noqa: E731
        return Episode(*(move(getattr(self, f.name)) for f in fields(self)))
