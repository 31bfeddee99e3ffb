"""Which of two methods is better? Their errors with the same seeds, compared in pairs, and what may be concluded.

Two questions are asked, and each has a test of its own at the level of 5 %:

    superiority    is there a difference at all?      the 95 % interval of the ratio of the errors leaves 1 out
    equivalence    is it smaller than what matters?   the 90 % interval lies within a factor of the margin both ways

The second is Schuirmann's (1987) pair of one-sided tests, which a 90 % interval carries out. A comparison that answers
neither is undecided. One that answers both has found a difference that is too small to matter.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..arguments import real, shown, whole

MARGIN = 1.2  # by default, a ratio of the errors within this factor of 1 does not matter
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)


def t_probability(t: float, freedom: int) -> float:
    """Return the probability that a variable with Student's t distribution is below t.

    With t = √ν tan φ, its density is proportional to cos^(ν−1) φ, which is integrated by Gauss's rule.

    Args:
        t: the value.
        freedom: ν, the degrees of freedom.

    Raises:
        TypeError, ValueError: t is no finite number, or there is no degree of freedom.
    """
    real(t=t)
    whole(freedom=freedom)
    most = math.atan(t / math.sqrt(freedom))
    angles = 0.5 * most * (_NODES + 1)
    area = 0.5 * most * float(_WEIGHTS @ np.cos(angles) ** (freedom - 1))
    whole_area = math.sqrt(math.pi) * math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom + 1) / 2))
    return 0.5 + area / whole_area


def t_quantile(probability: float, freedom: int) -> float:
    """Return the value below which a variable with Student's t distribution is with this probability.

    Raises:
        TypeError, ValueError: the probability is not between 0 and 1, or there is no degree of freedom.
    """
    real(above=0, below=1, probability=probability)
    whole(freedom=freedom)
    return _quantile(float(probability), int(freedom))


@lru_cache(1000)
def _quantile(probability: float, freedom: int) -> float:
    low, high = -1.0, 1.0
    while t_probability(low, freedom) > probability:
        low *= 2
    while t_probability(high, freedom) < probability:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if t_probability(middle, freedom) < probability else (low, middle)
    return (low + high) / 2


@dataclass(frozen=True)
class Interval:
    """A mean over seeds, and its confidence interval by Student's t."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float], level: float = 0.95) -> Interval:
        """Return the interval of at least 2 values, one for each seed.

        Raises:
            TypeError, ValueError: they are no list of finite numbers, there are fewer, or the level is not between 0
                and 1.
        """
        _numbers("values", values)
        real(above=0, below=1, level=level)
        if len(values) < 2:
            raise ValueError(f"values has {len(values)}: an interval needs at least 2, one for each seed")
        mean = statistics.fmean(values)
        half = t_quantile((1 + level) / 2, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
        return cls(mean, mean - half, mean + half)

    def __str__(self) -> str:
        mean, low, high = (f"{n:.2f}" if abs(n) < 100 else f"{n:,.0f}" for n in (self.mean, self.low, self.high))
        return f"{mean} ({low} … {high})"


@dataclass(frozen=True)
class Verdict:
    """What a comparison of two methods has found about the ratio of their errors.

    Args:
        ratio: the ratio, with its 95 % interval.
        narrow: the same with its 90 % interval, for the test of equivalence.
        p: the probability of a difference at least as large as that found if there were none.
        margin: the factor within which a ratio does not matter.
        seeds: how many pairs there were.
    """

    ratio: Interval
    narrow: Interval
    p: float
    margin: float
    seeds: int

    @property
    def different(self) -> bool:
        """Whether a difference was shown: the 95 % interval leaves 1 out."""
        return self.ratio.low > 1 or self.ratio.high < 1

    @property
    def equivalent(self) -> bool:
        """Whether it was shown that the ratio is within the margin: the 90 % interval is."""
        return self.narrow.low > 1 / self.margin and self.narrow.high < self.margin

    @property
    def matters(self) -> bool:
        """Whether it was shown that the ratio is beyond the margin: the 95 % interval is."""
        return self.ratio.low > self.margin or self.ratio.high < 1 / self.margin

    def __str__(self) -> str:
        side = "fewer errors" if self.ratio.mean < 1 else "more errors"
        if self.matters:
            return f"{side}, by more than matters"
        if self.different:
            return f"{side}, by less than matters" if self.equivalent else f"{side}, how many is open"
        return "equivalent" if self.equivalent else "undecided"


def compare(ours: Mapping[int, float], theirs: Mapping[int, float], margin: float = MARGIN) -> Verdict:
    """Compare the errors of two methods by seed, in pairs: the ratio is ours / theirs, a geometric mean.

    Differences of logarithms are compared, because an error that is a tenth smaller is so whatever its size. A pair has
    the same seed, and therefore the same first parameters or tasks, so that what these contribute cancels.

    Raises:
        TypeError, ValueError: fewer than two seeds are common, an error is not above 0, or the margin is not above 1.
    """
    real(above=1, margin=margin)
    for name, errors in {"ours": ours, "theirs": theirs}.items():
        if not isinstance(errors, Mapping):
            raise TypeError(f"{name}={shown(errors)} must be a dictionary of errors by seed")
    seeds = sorted(ours.keys() & theirs.keys())
    if len(seeds) < 2:
        raise ValueError(f"ours and theirs have {len(seeds)} seeds in common: at least 2 are needed")
    for seed in seeds:
        real(above=0, **{f"ours[{seed}]": ours[seed], f"theirs[{seed}]": theirs[seed]})
    logs = [math.log(ours[seed] / theirs[seed]) for seed in seeds]
    wide, narrow = (_exp(Interval.of(logs, level)) for level in (0.95, 0.90))
    return Verdict(wide, narrow, _p(logs), margin, len(seeds))


def _numbers(name: str, values: Iterable[float], **bounds: float) -> None:
    """Check that an argument is a list of finite numbers."""
    if not isinstance(values, list | tuple):
        raise TypeError(f"{name}={shown(values)} must be a list of numbers")
    real(**bounds, **{f"{name}[{i}]": value for i, value in enumerate(values)})


def _exp(interval: Interval) -> Interval:
    return Interval(*(math.exp(min(700.0, value)) for value in (interval.mean, interval.low, interval.high)))


def _p(values: list[float]) -> float:
    """Return the two-sided p of the hypothesis that the mean is 0."""
    mean, spread = statistics.fmean(values), statistics.stdev(values)
    if spread == 0:
        return 0.0 if mean else 1.0
    t = abs(mean) / (spread / math.sqrt(len(values)))
    return 2 * t_probability(-t, len(values) - 1)


def holm(p: Sequence[float], level: float = 0.05) -> list[bool]:
    """Tell which of several tests may be called significant together (Holm 1979).

    If none of the tested differences exists, the probability that any test is called significant is at most `level`,
    however many tests there are. The smallest p is compared with level / m, the next one with level / (m − 1), and so
    on, up to the first that is larger.

    Raises:
        TypeError, ValueError: a p is not between 0 and 1, or the level is not.
    """
    _numbers("p", p, least=0, most=1)
    real(above=0, below=1, level=level)
    found = [False] * len(p)
    for rank, index in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        if p[index] > level / (len(p) - rank):
            break
        found[index] = True
    return found
