"""Sine regression (Finn et al. 2017, section 5.1): each task is one wave, y = A sin(x − φ)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import arguments
from .episode import Episode

AMPLITUDE = (0.1, 5.0)
PHASE = (0.0, torch.pi)  # radians
X_RANGE = (-5.0, 5.0)
FARTHEST = 1e6  # from 0 that an x may lie: there, neighbouring numbers of float32 are already 0.06 apart


def _uniform(
    low: float, high: float, *shape: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device, dtype=dtype)


@dataclass(frozen=True)
class Sine:
    """T waves: their amplitudes A [T], and their phases φ [T] in radians.

    Raises:
        TypeError: one of the two is no tensor.
        ValueError: they are not of that shape, or not floating-point numbers of one precision on one device.
    """

    amplitude: Tensor
    phase: Tensor

    def __post_init__(self) -> None:
        arguments.shapes(amplitude=(self.amplitude, "T"), phase=(self.phase, "T"))
        arguments.floats(amplitude=self.amplitude, phase=self.phase)

    @classmethod
    def draw(cls, tasks: int, generator: torch.Generator) -> Sine:
        """Draw T tasks from the paper's family: A is uniform in 0.1 … 5, and φ is uniform in 0 … π.

        Raises:
            TypeError: `tasks` is no whole number, or `generator` is no generator.
            ValueError: `tasks` is less than 1.
        """
        arguments.whole(tasks=tasks)
        arguments.generator(generator)
        return cls(_uniform(*AMPLITUDE, tasks, generator=generator), _uniform(*PHASE, tasks, generator=generator))

    def __call__(self, x: Tensor) -> Tensor:
        """Map points x [T, B, 1] to the waves' values y [T, B, 1].

        Raises:
            TypeError: `x` is no tensor.
            ValueError: `x` is not of that shape, or of another precision or on another device than the waves.
        """
        arguments.shapes(amplitude=(self.amplitude, "T"), x=(x, "T B 1"))
        arguments.floats(amplitude=self.amplitude, x=x)
        return self._values(x)

    def _values(self, x: Tensor) -> Tensor:
        return self.amplitude[:, None, None] * torch.sin(x - self.phase[:, None, None])

    def episode(
        self,
        shots: int,
        queries: int,
        generator: torch.Generator,
        *,
        support_range: tuple[float, float] = X_RANGE,
        noise: float = 0.0,
    ) -> Episode:
        """Draw K support and Q query points of each wave.

        Args:
            shots: K.
            queries: Q.
            generator: source of randomness, on the device of the waves.
            support_range: the interval (low, high) in which the support's x is uniform, within ±1,000,000. The
                queries' x is uniform in −5 … 5.
            noise: standard deviation of the normal noise that is added to the support's y, in units of y. The queries'
                y are the waves' own values.

        Raises:
            TypeError: a number is no number or no whole number, `generator` is no generator, or the interval is no two
                numbers.
            ValueError: `shots` or `queries` is less than 1, the generator is on another device than the waves, the
                interval is empty or too wide, or the noise is negative or not finite.
        """
        arguments.whole(shots=shots, queries=queries)
        arguments.generator(generator, self.amplitude.device)
        if support_range is not X_RANGE:
            _check_interval(support_range)
        arguments.real(least=0, noise=noise)
        tasks, dtype = self.amplitude.shape[0], self.amplitude.dtype
        support_x = _uniform(*support_range, tasks, shots, 1, generator=generator, dtype=dtype)
        query_x = _uniform(*X_RANGE, tasks, queries, 1, generator=generator, dtype=dtype)
        support_y = self._values(support_x)
        if noise:
            shape, device = support_y.shape, generator.device
            support_y = support_y + noise * torch.randn(shape, generator=generator, device=device, dtype=dtype)
        return Episode(support_x, support_y, query_x, self._values(query_x))


def _check_interval(support_range: tuple[float, float]) -> None:
    """Raise what `Sine.episode` raises where the interval is wrong."""
    try:
        low, high = support_range
    except (TypeError, ValueError):
        raise TypeError(f"support_range={arguments.shown(support_range)} must be (low, high), two numbers") from None
    arguments.real(least=-FARTHEST, most=FARTHEST, **{"support_range[0]": low, "support_range[1]": high})
    if not low < high:
        raise ValueError(f"support_range={arguments.shown(support_range)} must be (low, high) with low < high")


def sample(tasks: int, shots: int, queries: int, generator: torch.Generator, *, noise: float = 0.0) -> Episode:
    """Draw an episode of fresh sine tasks: its support is [T, shots, 1], and its queries are [T, queries, 1].

    The noise is that of `Sine.episode`.

    Raises:
        TypeError: one of the three is no whole number, or `generator` is no generator.
        ValueError: one of the three numbers is less than 1, or the noise is negative or not finite.
    """
    return Sine.draw(tasks, generator).episode(shots, queries, generator, noise=noise)
