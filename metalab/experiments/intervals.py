"""95 % confidence intervals of what is measured a few times: a mean over training seeds, and a share of trials."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from ..analysis.paired import Interval, t_quantile
from ..arguments import real, shapes, whole
from ..evaluate import Score

NORMAL = 1.959964  # the 97.5 % quantile of the normal distribution


def over_seeds(values: Tensor) -> Score:
    """Return the mean of one value per training seed [S], ± t s / √S with Student's t for S − 1 degrees of freedom.

    Raises:
        TypeError: the values are no tensor.
        ValueError: they are not of that shape, or there are fewer than 2.
    """
    seeds = shapes(values=(values, "S"))["S"]
    whole(least=2, **{"the number of seeds": seeds})
    values = values.double()
    return Score(values.mean().item(), t_quantile(0.975, seeds - 1) * values.std().item() / seeds**0.5, seeds)


def share_over_seeds(shares: Sequence[float]) -> Interval:
    """Return the mean of one share per seed, each in 0 … 1, with a 95 % interval that stays within 0 … 1.

    It is Student's t interval of arcsin √share, mapped back. The arcsine makes the spread of a share of trials about
    the same near 0, in the middle and near 1 (Anscombe 1948); where the spread is small, the result is nearly that of
    `over_seeds`. The mean is that of the shares themselves.

    Raises:
        TypeError, ValueError: the shares are no such numbers, or there are fewer than 2.
    """
    for i, share in enumerate(shares):
        real(least=0, most=1, **{f"shares[{i}]": share})
    angles = Interval.of([math.asin(math.sqrt(share)) for share in shares])
    low, high = max(0.0, angles.low), min(math.pi / 2, angles.high)
    return Interval(sum(shares) / len(shares), math.sin(low) ** 2, math.sin(high) ** 2)


def wilson(count: int, trials: int) -> tuple[float, float]:
    """Return Wilson's interval for the chance of an event that happened `count` times in `trials` independent trials.

    It is right for rare events too, where share ± 1.96 standard errors would reach below 0 (Wilson 1927).

    Raises:
        TypeError, ValueError: the arguments are no whole numbers, or `count` is not 0 … `trials`.
    """
    whole(trials=trials)
    whole(least=0, most=trials, what="trials", count=count)
    share, square = count / trials, NORMAL**2 / trials
    middle = share + square / 2
    half = math.sqrt(square * share * (1 - share) + square**2 / 4)
    return max(0.0, (middle - half) / (1 + square)), min(1.0, (middle + half) / (1 + square))


def difference_of_shares(count: int, trials: int, other_count: int, other_trials: int) -> tuple[float, float]:
    """Return an interval for the difference of two chances, each from a count of independent trials.

    It is made of the Wilson intervals of both (Newcombe 1998, method 10).

    Raises:
        TypeError, ValueError: as in `wilson`.
    """
    (low, high), (other_low, other_high) = wilson(count, trials), wilson(other_count, other_trials)
    share, other = count / trials, other_count / other_trials
    difference = share - other
    below = math.hypot(share - low, other_high - other)
    above = math.hypot(high - share, other - other_low)
    return difference - below, difference + above
