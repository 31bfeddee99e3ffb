"""The meta-training loop: draw episodes, take the learner's meta-gradient, let Adam make the step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from .nets import Net, Params


class Learner(Protocol):
    net: Net

    def meta_gradient(self, params: Params, batch: Any) -> tuple[Params, dict[str, Tensor]]: ...


class Diverged(RuntimeError):
    """Training met a loss that is not a finite number; the trainer is back at its last good parameters."""


@dataclass(frozen=True)
class Step:
    """What one meta-step was: its number, counted from 1, and the metrics it was taken on."""

    number: int
    metrics: dict[str, float]


class Trainer:
    """Meta-training that can be stepped, watched and stopped.

    Args:
        learner: gives the meta-gradient.
        sample: draws what the learner trains on, from a generator.
        outer_lr: Adam's learning rate; a function of the step number (from 1) for a schedule.
        seed: of the initial parameters and of everything that is sampled.
        params: start from these instead of fresh ones.
        device: where to train.
    """

    def __init__(
        self,
        learner: Learner,
        sample: Callable[[torch.Generator], Any],
        *,
        outer_lr: float | Callable[[int], float] = 1e-3,
        seed: int = 0,
        params: Params | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.learner = learner
        self.sample = sample
        self.outer_lr = outer_lr
        self.generator = torch.Generator(device).manual_seed(seed)
        fresh = learner.net.init(self.generator)
        self.params: Params = {name: (params or fresh)[name].detach().clone().to(device) for name in fresh}
        self.optimizer = self._fresh_adam()
        self.steps = 0  # meta-steps taken
        self._good = (self._copy(), 0)  # the parameters whose loss was finite last, and how many steps made them

    def step(self) -> Step:
        """One meta-step.

        Raises:
            Diverged: the loss is not finite. `params` and `steps` are then those of the last finite loss.
        """
        grads, metrics = self.learner.meta_gradient(self.params, self.sample(self.generator))
        values = {name: value.item() for name, value in metrics.items()}
        number = self.steps + 1
        if not math.isfinite(values["loss"]):
            good, self.steps = self._good
            for name, p in self.params.items():
                p.copy_(good[name])
            self.optimizer = self._fresh_adam()  # its moments may hold what made the loss diverge
            raise Diverged(
                f"the loss is {values['loss']} at step {number}: the parameters of step {self.steps} are kept. "
                "Try a smaller inner or outer learning rate."
            )
        self._good = (self._copy(), self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.outer_lr(number) if callable(self.outer_lr) else self.outer_lr
        for name, p in self.params.items():
            p.grad = grads[name]
        self.optimizer.step()
        self.steps = number
        return Step(number, values)

    def run(self, steps: int) -> Iterator[Step]:
        """Take `steps` meta-steps, one each time the caller asks for the next: `for step in trainer.run(1000)`."""
        for _ in range(steps):
            yield self.step()

    def _fresh_adam(self) -> torch.optim.Adam:
        return torch.optim.Adam(list(self.params.values()), lr=0.0, fused=True)

    def _copy(self) -> Params:
        return {name: p.clone() for name, p in self.params.items()}
