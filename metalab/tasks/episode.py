"""An episode: the examples that a learner may look at (support), and those that it is then tested on (query)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import arguments


@dataclass(frozen=True)
class Episode:
    """A batch of T tasks, each with S support and Q query examples.

    In classification, the examples are ordered class by class, with S = ways * shots and Q = ways * queries. The
    labels are 0 … ways-1, and every episode assigns them to its classes anew. Regression has one "class": S = shots.

    All tensors are on one device, and their floating-point numbers have one precision. Only shapes and types are
    checked. Values are never read, because on a GPU that would wait.

    Raises:
        TypeError: an argument is no tensor, or `ways` is no whole number.
        ValueError: the shapes do not fit one another, a tensor holds numbers of a wrong type, or `ways` is less than 1.
    """

    support_x: Tensor  # [T, S, ...] float, with at least one further axis
    support_y: Tensor  # [T, S] int64 labels, or [T, S, out] float targets
    query_x: Tensor  # [T, Q, ...], with the further axes of support_x
    query_y: Tensor  # [T, Q] or [T, Q, out], like support_y
    ways: int = 1  # N, the number of classes

    def __post_init__(self) -> None:
        # Every meta-step makes an episode, so a sound one has to pass in some 2 µs. One expression recognises it; the
        # checks with their messages follow only where it fails.
        x, y, query_x, query_y = self.support_x, self.support_y, self.query_x, self.query_y
        try:
            (tasks, shots, *size), (y_tasks, y_shots, *out) = x.shape, y.shape
            (query_tasks, queries, *query_size), (query_y_tasks, query_ys, *query_out) = query_x.shape, query_y.shape
            dtype, y_dtype, device = x.dtype, y.dtype, x.device
            if (
                tasks == y_tasks == query_tasks == query_y_tasks
                and shots == y_shots
                and queries == query_ys
                and size == query_size != []
                and out == query_out
                and (y_dtype is dtype and len(out) == 1 if out else y_dtype is torch.int64)
                and dtype is query_x.dtype
                and y_dtype is query_y.dtype
                and dtype.is_floating_point
                and device == y.device == query_x.device == query_y.device
                and 0 not in (tasks, shots, queries, *size, *out)
                and type(self.ways) is int
                and 0 < self.ways <= arguments.LARGEST
            ):
                return
        except (AttributeError, ValueError):  # one of them is no tensor, or has too few axes
            pass
        self._check()

    def _check(self) -> None:
        """Raise what `Episode` raises."""
        arguments.whole(ways=self.ways)
        inputs = {"support_x": self.support_x, "query_x": self.query_x}
        answers = {"support_y": self.support_y, "query_y": self.query_y}
        labelled = isinstance(self.support_y, Tensor) and not self.support_y.is_floating_point()
        wanted = "" if labelled else " out"
        arguments.shapes(
            support_x=(self.support_x, "T S X ..."),
            support_y=(self.support_y, f"T S{wanted}"),
            query_x=(self.query_x, "T Q X ..."),
            query_y=(self.query_y, f"T Q{wanted}"),
        )
        if self.support_x.shape[2:] != self.query_x.shape[2:]:
            raise ValueError(
                f"support_x has the shape {list(self.support_x.shape)}, and query_x {list(self.query_x.shape)}: after "
                "the first two axes, they must be the same"
            )
        arguments.floats(**inputs, **({} if labelled else answers))
        for name, y in answers.items() if labelled else ():
            if y.dtype != torch.int64:
                raise ValueError(f"{name} has the dtype {y.dtype}; labels must be torch.int64")
            if y.device != self.support_x.device:
                raise ValueError(f"{name} is on {y.device}, and must be on {self.support_x.device}, like support_x")

    @property
    def tasks(self) -> int:
        """T, the number of tasks."""
        return self.support_x.shape[0]

    def __getitem__(self, tasks: slice) -> Episode:
        """Return an episode of some of the tasks: `episode[:4]`.

        Raises:
            TypeError: `tasks` is no slice.
            ValueError: the slice holds no task.
        """
        if not isinstance(tasks, slice):
            raise TypeError(f"tasks={arguments.shown(tasks)} must be a slice, as in episode[0:1]")
        return self._each(lambda tensor: tensor[tasks])

    def to(self, target: torch.device | torch.dtype | str) -> Episode:
        """Return the same episode on another device, or with its floating-point tensors in another dtype.

        Raises:
            TypeError: `target` is neither a device nor a dtype.
            ValueError: it is a device that is not there, or a dtype that is not floating-point.
        """
        is_dtype = isinstance(target, torch.dtype)
        if not is_dtype and str(target) != "meta":  # PyTorch's device for shapes without numbers
            arguments.device(target=target)
        if is_dtype and not target.is_floating_point:
            raise ValueError(f"target={target} must be a floating-point dtype, like torch.float64")
        return self._each(lambda t: t if is_dtype and not t.is_floating_point() else t.to(target))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Episode:
        return Episode(*map(change, (self.support_x, self.support_y, self.query_x, self.query_y)), ways=self.ways)


def as_episode(groups: Tensor, shots: int) -> Episode:
    """Make T N-way tasks from groups [T, N, K+Q, ...]: the first K drawings of each character are its support.

    Args:
        groups: drawings of N characters for each task, K+Q drawings of each.
        shots: K.

    Raises:
        TypeError: `groups` is no tensor, or `shots` is no whole number.
        ValueError: the groups are not of that shape, or `shots` is less than 1 or leaves no drawing for a query.
    """
    sizes = arguments.shapes(groups=(groups, "T N K+Q X ..."))
    tasks, ways, drawings = sizes["T"], sizes["N"], sizes["K+Q"]
    arguments.whole(
        most=drawings - 1, what=f"because a character has {drawings} drawings and a query needs one", shots=shots
    )
    label = torch.arange(ways, device=groups.device)[None, :, None].expand(tasks, ways, drawings)
    return Episode(
        support_x=groups[:, :, :shots].flatten(1, 2),
        support_y=label[:, :, :shots].flatten(1, 2),
        query_x=groups[:, :, shots:].flatten(1, 2),
        query_y=label[:, :, shots:].flatten(1, 2),
        ways=ways,
    )
