"""What every learner offers. To add an algorithm, write a class with these three methods in a file of its own."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from .. import arguments
from ..nets import Conv4, Params
from ..tasks import Episode


class Learner(Protocol):
    """An algorithm that learns from many tasks how to learn a new one.

    Everything that decides how it trains and how it predicts is a field of a frozen dataclass, so that
    `dataclasses.replace(learner, inner_steps=3)` gives the same learner with one thing changed.
    """

    def init(self, generator: torch.Generator) -> Params:
        """Draw fresh parameters, without a task axis, on the generator's device."""
        ...

    def meta_gradient(self, params: Params, batch: Any) -> tuple[Params, dict[str, Tensor]]:
        """Return the direction that an optimizer descends, shaped like `params`, and the metrics of the batch.

        The batch is an `Episode` of T tasks for most learners; a learner whose batch is something else says so.
        The metrics are scalars on the device; one of them is called "loss".
        """
        ...

    def predict(self, params: Params, episode: Episode) -> Tensor:
        """Answer the queries of an episode's T tasks, after seeing their support sets: [T, Q, out]."""
        ...


def check_net(net: object) -> None:
    """Check that a network has the methods of `Net`.

    Raises:
        TypeError: it lacks one.
    """
    if isinstance(net, type) or not callable(net) or not callable(getattr(net, "init", None)):
        raise TypeError(f"net={arguments.shown(net)} must be a network such as MLP() or Conv4(5)")


def check_params(learner: Learner, params: Params, like: Tensor, *, tasks: int | None = None) -> None:
    """Check that parameters are a learner's, and have the precision and the device of the data. Nothing is read.

    Args:
        learner: the learner.
        params: the parameters, without a task axis, or with one if `tasks` is given.
        like: some of the data.
        tasks: T.

    Raises:
        TypeError: `params` is no dictionary of tensors.
        ValueError: a parameter is missing, surplus, of another shape, or of another precision or device than the data.
    """
    if arguments.is_trusted():
        return
    if not isinstance(params, dict):
        raise TypeError(f"params={arguments.shown(params)} must be a dictionary of tensors, as learner.init makes")
    expected = _shapes(learner)
    for name, shape in expected.items():
        p = params.get(name)
        if not isinstance(p, Tensor):
            raise ValueError(f"params has no {name}; it must have {', '.join(expected)}")
        if p.shape != (shape if tasks is None else (tasks, *shape)):
            wanted = list(shape) if tasks is None else [tasks, *shape]
            raise ValueError(f"{name} of params has the shape {list(p.shape)}; it must be {wanted}")
        if p.dtype != like.dtype or p.device != like.device:
            raise ValueError(
                f"{name} of params is {p.dtype} on {p.device}, and the data are {like.dtype} on {like.device}: "
                "they must be the same"
            )
    if len(params) > len(expected):
        surplus = next(name for name in params if name not in expected)
        raise ValueError(f"params has {surplus!r}; it must have {', '.join(expected)} and nothing else")


@lru_cache(64)
def _shapes(learner: Learner) -> dict[str, torch.Size]:
    """Return the shapes of a learner's parameters by name."""
    return {name: p.shape for name, p in learner.init(torch.Generator()).items()}


def check_episode(
    learner: Learner,
    params: Params,
    episode: Episode,
    *,
    outputs: int | None = None,
    name: str = "episode",
    every_class: bool = False,
) -> None:
    """Check that parameters and an episode fit a learner, by what can be told without waiting for a device.

    Args:
        learner: the learner.
        params: its parameters, without a task axis.
        episode: the tasks.
        outputs: how many classes the learner's network can tell apart; None if any number.
        name: what the learner calls the episode.
        every_class: whether the learner needs an example of every class.

    Raises:
        TypeError: an argument is of another type.
        ValueError: they do not fit, or a label is not 0 … N − 1 (which is not checked on a GPU).
    """
    if arguments.is_trusted():
        return
    if not isinstance(episode, Episode):
        raise TypeError(f"{name}={arguments.shown(episode)} must be an Episode")
    if episode.support_y.dtype == torch.int64:
        if outputs is not None and outputs < episode.ways:
            raise ValueError(
                f"the {name} has ways={episode.ways}, and the network has only {outputs} outputs: it needs one for each"
            )
        arguments.labels(episode.ways, support_y=episode.support_y, query_y=episode.query_y)
        if every_class:
            _check_that_no_class_is_missing(episode.support_y, episode.ways)
    check_params(learner, params, episode.support_x)


def check_logits(support_z: Tensor, support_y: Tensor, query_z: Tensor, ways: int) -> None:
    """Check embeddings [T, S, E] and [T, Q, E], and labels [T, S] of which every class 0 … N − 1 has at least one.

    Raises:
        TypeError, ValueError: they are not so. (The labels are not checked on a GPU.)
    """
    arguments.whole(ways=ways)
    arguments.shapes(support_z=(support_z, "T S E"), support_y=(support_y, "T S"), query_z=(query_z, "T Q E"))
    arguments.floats(support_z=support_z, query_z=query_z)
    arguments.labels(ways, support_y=support_y)
    _check_that_no_class_is_missing(support_y, ways)


def _check_that_no_class_is_missing(support_y: Tensor, ways: int) -> None:
    if support_y.device.type == "cpu":
        missing = ~(support_y.unsqueeze(2) == torch.arange(ways)).any(1)  # [T, N]
        if missing.any():
            task, label = missing.nonzero()[0].tolist()
            raise ValueError(f"support_y has no example of class {label} in task {task}: every class needs at least 1")


@dataclass(frozen=True, kw_only=True)
class WithStatistics:
    """A learner that predicts with batch-norm statistics measured beforehand, so that no query sees another.

    Args:
        stats: the mean and variance of each batch-norm layer. `with_statistics` measures them.
    """

    net: Conv4
    stats: Params | None = field(default=None, repr=False, compare=False)

    def with_statistics(self, params: Params, images: Tensor) -> Self:
        """Return this learner with statistics measured at `params` on training images [B, 1, H, W].

        Raises:
            TypeError, ValueError: the parameters are not this learner's, or the images are no such tensor.
        """
        arguments.shapes(images=(images, "B 1 H W"))
        arguments.floats(images=images)
        check_params(self, params, images)  # type: ignore[arg-type]
        return replace(self, stats=self.net.statistics(params, images))

    def _statistics(self) -> Params:
        if self.stats is None:
            raise ValueError(
                "stats=None: batch norm has no statistics yet. Use learner.with_statistics(params, images)"
            )
        return self.stats
