"""How good is a learner? The mean and its 95 % confidence interval over test episodes, many episodes at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .arguments import device as check_device
from .arguments import function, shapes, whole
from .losses import accuracy
from .tasks import Episode


@dataclass(frozen=True)
class Score:
    """The mean of a measure over test episodes, and the half-width of its 95 % confidence interval.

    The interval covers the choice of test episodes for one trained network. It says nothing about the spread between
    training seeds.
    """

    mean: float
    ci95: float
    episodes: int

    @classmethod
    def of(cls, values: Tensor) -> Score:
        """Return the mean of one value per episode [E], with 1.96 s / √E, as few-shot papers report it.

        Raises:
            TypeError: the values are no tensor.
            ValueError: they are not of that shape, or there are fewer than 2 episodes.
        """
        episodes = shapes(values=(values, "E"))["E"]
        _check_episodes(episodes)
        values = values.double()
        return cls(values.mean().item(), 1.96 * values.std().item() / episodes**0.5, episodes)

    def percent(self) -> str:
        """Return the score of a share in percent: `98.7 ± 0.4 %`."""
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
    """Score `predict` on fresh test episodes. Learners tested with the same seed and batch meet the same episodes.

    Args:
        predict: maps an episode of T tasks to predictions for its queries [T, Q, out].
        sample: draws an episode with a given number of tasks from a generator.
        episodes: the number of test tasks, 600 in the MAML paper (Finn et al. 2017).
        batch: the number of tasks per call of `predict`.
        seed: seed of the test episodes.
        measure: maps predictions and query targets to one number per task [T]: `accuracy`, or `mse` for regression.
        device: where the generator is, which must be the device of the data.

    Raises:
        TypeError, ValueError: an argument cannot be used, `sample` returns another number of tasks than it is asked
            for, or `measure` does not return one number for each task.
    """
    function(predict=predict, sample=sample, measure=measure)
    _check_episodes(episodes)
    whole(batch=batch)
    whole(least=0, seed=seed)
    check_device(device=device)
    generator = torch.Generator(device).manual_seed(seed)
    values = []
    for start in range(0, episodes, batch):
        tasks = min(batch, episodes - start)
        episode = sample(tasks, generator)
        if episode.tasks != tasks:
            raise ValueError(f"sample returned {episode.tasks} tasks where it was asked for {tasks}")
        values.append(measure(predict(episode), episode.query_y))
        if values[-1].shape != (tasks,):
            raise ValueError(f"measure returned the shape {list(values[-1].shape)}; it must be [T], here [{tasks}]")
    return Score.of(torch.cat(values))


def _check_episodes(episodes: int) -> None:
    whole(episodes=episodes)
    if episodes < 2:
        raise ValueError(f"episodes={episodes} gives no confidence interval: at least 2 are needed")
