"""What every learner offers. To add an algorithm, write a class with these three methods in a file of its own."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

import torch
from torch import Tensor

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


@dataclass(frozen=True, kw_only=True)
class WithStatistics:
    """A learner that predicts with batch-norm statistics measured beforehand, so that no query sees another.

    Args:
        stats: the mean and variance of each batch-norm layer. `with_statistics` measures them.
    """

    net: Conv4
    stats: Params | None = field(default=None, repr=False, compare=False)

    def with_statistics(self, params: Params, images: Tensor) -> Self:
        """Return this learner with statistics measured at `params` on training images [B, 1, H, W]."""
        return replace(self, stats=self.net.statistics(params, images))

    def _statistics(self) -> Params:
        if self.stats is None:
            raise ValueError(
                "stats=None: batch norm has no statistics yet. Use learner.with_statistics(params, images)"
            )
        return self.stats
