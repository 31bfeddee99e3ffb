"""Sine regression (Finn et al. 2017, section 5.1): each task is one wave, y = A sin(x − φ)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .episode import Episode

AMPLITUDE = (0.1, 5.0)
PHASE = (0.0, torch.pi)  # radians
X_RANGE = (-5.0, 5.0)


def _uniform(low: float, high: float, *shape: int, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)


@dataclass(frozen=True)
class Sine:
    """T waves: their amplitudes A [T], and their phases φ [T] in radians."""

    amplitude: Tensor
    phase: Tensor

    @classmethod
    def draw(cls, tasks: int, generator: torch.Generator) -> Sine:
        """Draw T tasks from the paper's family: A is uniform in 0.1 … 5, and φ is uniform in 0 … π.

        Raises:
            ValueError: `tasks` is less than 1.
        """
        if tasks < 1:
            raise ValueError(f"tasks={tasks} must be at least 1")
        return cls(_uniform(*AMPLITUDE, tasks, generator=generator), _uniform(*PHASE, tasks, generator=generator))

    def __call__(self, x: Tensor) -> Tensor:
        """Map points x [T, B, 1] to the waves' values y [T, B, 1]."""
        return self.amplitude[:, None, None] * torch.sin(x - self.phase[:, None, None])

    def episode(
        self, shots: int, queries: int, generator: torch.Generator, *, support_range: tuple[float, float] = X_RANGE
    ) -> Episode:
        """Draw K support and Q query points of each wave.

        Args:
            shots: K.
            queries: Q.
            generator: source of randomness, on the device of the waves.
            support_range: the interval in which the support's x is uniform. The queries' x is uniform in −5 … 5.

        Raises:
            ValueError: `shots` or `queries` is less than 1, or the interval is empty.
        """
        for name, value in {"shots": shots, "queries": queries}.items():
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        if not support_range[0] < support_range[1]:
            raise ValueError(f"support_range={support_range} must be (low, high) with low < high")
        tasks = self.amplitude.shape[0]
        support_x = _uniform(*support_range, tasks, shots, 1, generator=generator)
        query_x = _uniform(*X_RANGE, tasks, queries, 1, generator=generator)
        return Episode(support_x, self(support_x), query_x, self(query_x))


def sample(tasks: int, shots: int, queries: int, generator: torch.Generator) -> Episode:
    """Draw an episode of fresh sine tasks: its support is [T, shots, 1], and its queries are [T, queries, 1].

    Raises:
        ValueError: one of the three numbers is less than 1.
    """
    return Sine.draw(tasks, generator).episode(shots, queries, generator)
