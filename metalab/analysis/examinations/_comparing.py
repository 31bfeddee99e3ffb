"""Compare the numbers that a patient's functions return."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SURE = 5.0  # standard errors from chance; with 100 tasks, luck leads further away in about one of a million cases


def copies(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return copies that no graph follows."""
    return [t.detach().clone() for t in tensors]


def noise_like(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return standard normal numbers of the shape and type of x."""
    return torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)


def changed(a: Tensor, b: Tensor, tolerance: float) -> Tensor:
    """Tell which queries' predictions differ by more than a share of how much all of them vary: [Q].

    If there is only one number, it is compared with its own size.
    """
    numbers = torch.cat([a, b])
    numbers = numbers[numbers.isfinite()].double()
    spread = float(numbers.std()) if numbers.numel() > 1 else 0.0
    spread = spread or float(numbers.abs().mean() if numbers.numel() else 0)
    same = (a == b) | (a.isnan() & b.isnan())  # infinite scores may agree, too
    gap = torch.where(same, 0.0, (a - b).abs().double())
    return ~(gap <= tolerance * spread + 1e-12).reshape(len(a), -1).all(1)


def differ(a: Tensor, b: Tensor) -> bool:
    """Tell whether two predictions differ by more than rounding."""
    return bool(changed(a, b, 1e-6).any())


def loss_of(predictions: Tensor, y: Tensor) -> float:
    """Return the cross-entropy of scores, or the mean squared error of values."""
    if y.is_floating_point():
        return F.mse_loss(predictions.to(y.dtype), y).item()
    return F.cross_entropy(predictions.double(), y).item()


def share(right: Tensor) -> float:
    """Return the share of what is True."""
    return right.double().mean().item()


def mean(values: Sequence[float]) -> float:
    """Return the mean."""
    return sum(values) / len(values)


def same_labels(a: Tensor, b: Tensor) -> bool:
    """Tell whether two support sets have the same labels, however often each."""
    return torch.equal(a.unique(), b.unique())


def above(shares: Sequence[float], chances: Sequence[float]) -> float:
    """Return how many standard errors the mean of shares of right answers is above chance."""
    v = torch.tensor(shares, dtype=torch.float64) - torch.tensor(chances, dtype=torch.float64)
    gap, error = float(v.mean()), float(v.std()) / math.sqrt(len(v))
    if abs(gap) < 1e-9:  # not even the roundings of a mean
        return 0.0
    return gap / error if error > 0 else math.copysign(math.inf, gap)
