"""How good is it? Mean ± 95 % confidence interval over test episodes, many at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .losses import accuracy
from .tasks import Episode


@dataclass(frozen=True)
class Score:
    """The mean of a per-episode measure, and the half-width of its 95 % confidence interval."""

    mean: float
    ci95: float
    episodes: int

    @classmethod
    def of(cls, values: Tensor) -> Score:
        """From one value per episode [E]: mean and 1.96 s / √E, as few-shot papers report it."""
        episodes = values.numel()
        if episodes < 2:
            raise ValueError(f"episodes={episodes} gives no confidence interval: at least 2 are needed")
        values = values.double()
        return cls(values.mean().item(), 1.96 * values.std().item() / episodes**0.5, episodes)

    def percent(self) -> str:
        return f"{100 * self.mean:.1f} ± {100 * self.ci95:.1f} %"

    def __str__(self) -> str:
        return f"{self.mean:.2f} ± {self.ci95:.2f}"


def evaluate(
    predict: Callable[[Episode], Tensor],
    sample: Callable[[int, torch.Generator], Episode],
    *,
    episodes: int = 600,
    batch: int = 50,
    seed: int = 0,
    measure: Callable[[Tensor, Tensor], Tensor] = accuracy,
    device: str | torch.device = "cpu",
) -> Score:
    """Score `predict` on fresh test episodes; the same seed and batch give every learner the same episodes.

    Args:
        predict: an episode of T tasks to predictions for its queries [T, Q, out].
        sample: draws an episode of so many tasks from a generator.
        episodes: how many test tasks; 600 as in the MAML paper.
        batch: tasks per call.
        seed: of the test episodes.
        measure: predictions and query targets to one number per task [T]: `accuracy`, or `mse` for regression.
        device: where the generator lives: the device of the data.

    Raises:
        ValueError: fewer than 2 episodes, or less than 1 a batch.
    """
    if episodes < 2:
        raise ValueError(f"episodes={episodes} gives no confidence interval: at least 2 are needed")
    if batch < 1:
        raise ValueError(f"batch={batch} must be at least 1")
    generator = torch.Generator(device).manual_seed(seed)
    values = []
    for start in range(0, episodes, batch):
        episode = sample(min(batch, episodes - start), generator)
        values.append(measure(predict(episode), episode.query_y))
    return Score.of(torch.cat(values))
