"""The exercises of the lesson on variants: how methods are compared, Reptile's update, and a step with any rates."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...analysis.paired import t_quantile
from ..kit.comparing import Case, Misconception, Numbers, Wrong, agree, combined, describe, number, single
from ..kit.exercise import Exercise
from . import solutions
from .holm_exercise import PASSES_MISTAKES as PASSES_MISTAKES
from .holm_exercise import passes
from .reptile_exercise import REPTILE_UPDATE_MISTAKES as REPTILE_UPDATE_MISTAKES
from .reptile_exercise import reptile_update
from .step_exercise import STEP_WITH_RATES_MISTAKES as STEP_WITH_RATES_MISTAKES
from .step_exercise import step_with_rates
from .truths import agree_on_truths, truth

__all__ = ["paired_ratio", "passes", "reptile_update", "step_with_rates", "verdict"]


# paired_ratio


def _ratio_case(seeds: int, ratio: float) -> Case:
    def make() -> tuple[Tensor, Tensor, float]:
        generator = torch.Generator().manual_seed(3 * seeds)
        draw = torch.randn(3, seeds, generator=generator, dtype=torch.float64)
        theirs = 0.3 * torch.exp(0.5 * draw[0] + 0.05 * draw[1])  # both have good and bad seeds together
        return ratio * 0.3 * torch.exp(0.5 * draw[0] + 0.15 * draw[2]), theirs, t_quantile(0.975, seeds - 1)

    return Case(what=f"{seeds} seeds", make=make, sizes={"the number of seeds": seeds})


PAIRED_RATIO_CASES = (_ratio_case(5, 0.8), _ratio_case(7, 1.4))


def _ratio(
    ours: Tensor,
    theirs: Tensor,
    t: float,
    *,
    pairs: str = "paired",
    spread: str = "S - 1",
    divisor: str = "root",
    quantile: str = "given",
    back: str = "exp",
    order: str = "right",
) -> Tensor:
    """Return the ratio and the ends of its interval, or what comes of the mistakes that the keywords name."""
    a, b, seeds = ours.log(), theirs.log(), len(ours)
    logs = {
        "paired": lambda: a - b,
        "reversed": lambda: b - a,
        "plain": lambda: ours / theirs,
        "difference": lambda: ours - theirs,
        "absolute": lambda: (a - b).abs(),
        "of ours": lambda: a,
        "sorted": lambda: a.sort().values - b.sort().values,
        "of means": lambda: a - b,
        "median": lambda: a - b,
        "base 10": lambda: (a - b) / math.log(10),
        "base 2": lambda: (a - b) / math.log(2),
        "relative": lambda: (ours - theirs) / theirs,
        "quotient": lambda: a / b,
    }[pairs]()
    middle = {
        "of means": lambda: (ours.mean() / theirs.mean()).log(),
        "median": lambda: logs.median(),
    }.get(pairs, logs.mean)()
    s = {
        "S - 1": lambda: logs.std(),
        "S": lambda: logs.std(correction=0),
        "variance": lambda: logs.var(),
        "unpaired": lambda: (a.var() + b.var()).sqrt(),
        "of ours": lambda: a.std(),
        "of theirs": lambda: b.std(),
        "of ratios": lambda: (ours / theirs).std(),
    }[spread]()
    n = {"root": seeds**0.5, "one": 1.0, "S": seeds, "root of S - 1": (seeds - 1) ** 0.5}[divisor]
    half = {"given": t, "normal": 1.96, "one": 1.0}[quantile] * s / n
    numbers = {
        "right": (middle, middle - half, middle + half),
        "ends first": (middle - half, middle, middle + half),
        "ends last": (middle - half, middle + half, middle),
        "turned": (middle, middle + half, middle - half),
    }
    if order == "half":
        return torch.stack([middle.exp(), half, half])
    if back in ("half width", "exp of half"):
        half = half.exp() if back == "exp of half" else half
        return torch.stack([middle.exp(), middle.exp() - half, middle.exp() + half])
    result = torch.stack(numbers[order])
    plain = pairs in ("plain", "difference", "relative") or back == "none"
    return result if plain else result.exp()


_HALF = "On the scale of the logarithms the half width is t s / √S."
_KNOWN_RATIOS = combined(
    _ratio,
    {
        "pairs": {
            "reversed": "The ratio stands on its head: it is theirs / ours. Below 1 should mean that ours makes fewer "
            "errors.",
            "plain": "The ratios are averaged as they are. A ratio of 2 and one of 1/2 should cancel, and their mean "
            "is 1.25. Average the logarithms of the ratios, and take exp of the result.",
            "difference": "These are differences of the errors. The page asks for their ratio.",
            "quotient": "It divides one logarithm by the other. The logarithm of a ratio is the *difference* of "
            "the two logarithms, log(ours / theirs).",
            "relative": "These are relative differences. The page asks for the ratio, by logarithms.",
            "absolute": "It averages the sizes of the logarithms, so that two equal methods would seem to differ. A "
            "seed on which theirs is better should count against ours.",
            "of ours": "These are the numbers of ours alone. Divide by theirs, seed by seed.",
            "sorted": "The errors are sorted, so that the pairs are broken: each ratio should belong to one seed.",
            "of means": "The ratio is that of the two mean errors. Take the ratio of each seed first, and then the "
            "mean of the logarithms.",
            "median": "The middle is the median of the logarithms. The interval belongs to the mean.",
            "base 10": "The logarithm has the base 10, and exp belongs to the natural one. Use torch.log.",
            "base 2": "The logarithm has the base 2, and exp belongs to the natural one. Use torch.log.",
        },
        "spread": {
            "S": "The standard deviation divides by S, not by S - 1. With so few seeds that makes it too small, and "
            "Student's t counts on S - 1.",
            "variance": f"The half width is made of the variance. Its root is s. {_HALF}",
            "unpaired": "It adds the variances of both methods, as for trainings that have nothing in common. They "
            "have the same seeds, so take the ratio seed by seed first; what the seeds share then cancels.",
            "of ours": "The half width is that of ours alone. The interval belongs to the ratio.",
            "of theirs": "The half width is that of theirs alone. The interval belongs to the ratio.",
            "of ratios": "The standard deviation is that of the ratios as they are. Take it of their logarithms.",
        },
        "divisor": {
            "one": "The division by √S is missing. This is the spread of single seeds; a mean of S of them is surer.",
            "S": f"It divides by S, not by its root. {_HALF}",
            "root of S - 1": f"It divides by √(S - 1). The standard deviation counts on S - 1 already. {_HALF}",
        },
        "quantile": {
            "normal": "It takes 1.96, which holds for hundreds of values. With so few seeds the spread is itself "
            "uncertain, and the interval has to be wider. Use the argument t.",
            "one": f"The factor t is missing. {_HALF}",
        },
        "back": {
            "none": "These are logarithms. Take exp of the mean and of both ends, at the very end.",
            "half width": "The ratio was put back by exp, and then the half width of the logarithms was added to it. "
            "Add and subtract on the scale of the logarithms first, and take exp of both ends.",
            "exp of half": "exp was taken of the half width, and this was added to the ratio. Add and subtract on the "
            "scale of the logarithms first, and take exp of both ends.",
        },
        "order": {
            "ends first": "The order is wrong: first the ratio, then the lower end, then the upper one.",
            "ends last": "The order is wrong: first the ratio, then the lower end, then the upper one.",
            "turned": "The two ends are exchanged: the lower one comes first.",
            "half": "The second number is a half width. The page asks for both ends of the interval.",
        },
    },
)
PAIRED_RATIO_MISTAKES = single(_KNOWN_RATIOS)


def _three(result: Any, _arguments: tuple) -> Numbers:
    """Return the ratio and the ends by name, and raise `Wrong` for what are not three numbers."""
    if isinstance(result, Tensor | np.ndarray) and result.ndim == 1:
        result = list(result)
    if not isinstance(result, tuple | list) or len(result) != 3:
        raise Wrong(
            f"It should return three numbers: the ratio and the two ends of its interval; yours is {describe(result)}."
        )
    names = ("the ratio", "the lower end", "the upper end")
    return {
        name: torch.tensor(number(part, name.capitalize()), dtype=torch.float64)
        for name, part in zip(names, result, strict=True)
    }


def _examine_paired_ratio(attempt: Callable) -> None:
    agree(
        attempt,
        name="paired_ratio",
        cases=PAIRED_RATIO_CASES,
        right=solutions.paired_ratio,
        numbers=_three,
        mistakes=_KNOWN_RATIOS,
        tolerance=1e-5,
    )


paired_ratio = Exercise(
    answer=solutions.paired_ratio,
    difficulty="medium",
    minutes=10,
    statement=(
        "From the errors of two methods with the same seeds, compute the geometric mean of their ratios and its 95 % "
        "interval."
    ),
    hints=(
        "On the scale of logarithms this is the interval of a mean: one number for each seed, their mean, and t s / √S "
        "to either side.",
        "logs = torch.log(ours / theirs), seed by seed. logs.std() divides by S - 1, as it should.",
        "half_width = t * logs.std() / len(logs) ** 0.5. The three numbers are exp of the mean, of the mean minus the "
        "half width, and of the mean plus the half width.",
    ),
    cases=PAIRED_RATIO_CASES,
    examine=_examine_paired_ratio,
)


# verdict

_INTERVALS = [  # the 95 % interval, the 90 % interval, and the margin
    ((1.30, 1.70), (1.35, 1.65), 1.2),
    ((0.60, 0.80), (0.62, 0.78), 1.2),
    ((0.90, 1.10), (0.92, 1.08), 1.2),
    ((1.05, 1.15), (1.06, 1.14), 1.2),
    ((0.85, 0.95), (0.86, 0.94), 1.2),
    ((0.50, 2.00), (0.60, 1.70), 1.2),
    ((0.81, 1.22), (0.84, 1.19), 1.2),  # the 90 % interval is within the margin, and the 95 % interval is not
    ((0.82, 1.01), (0.84, 0.98), 1.2),  # the 90 % interval leaves 1 out, and the 95 % interval does not
    ((1.10, 1.30), (1.12, 1.28), 1.2),
    ((0.76, 0.94), (0.78, 0.90), 1.2),
    ((0.78, 1.08), (0.81, 1.04), 1.2),  # within 1 ± 0.2, and not within 1/1.2 … 1.2
    ((1.05, 1.15), (1.06, 1.14), 1.1),
    ((0.72, 1.30), (0.75, 1.25), 1.5),
    ((0.90, 1.60), (0.95, 1.50), 1.4),
    ((0.60, 1.10), (0.65, 1.05), 1.4),
    ((0.85, 1.60), (0.90, 1.50), 1.2),  # one end is within the margin, and the interval is wide
]


def _verdict_case(index: int) -> Case:
    wide, narrow, margin = _INTERVALS[index]
    what = (
        f"the 95 % interval {wide[0]} … {wide[1]}, the 90 % interval {narrow[0]} … {narrow[1]} and the margin {margin}"
    )
    return Case(what=what, make=lambda: (wide, narrow, margin))


VERDICT_CASES = [_verdict_case(index) for index in range(len(_INTERVALS))]


def _verdict(
    wide: tuple[float, float],
    narrow: tuple[float, float],
    margin: float,
    *,
    different: str = "right",
    equivalent: str = "right",
    order: str = "right",
) -> tuple[bool, bool]:
    """Return the two truth values, or what comes of the mistakes that the keywords name."""
    inside = wide[0] < 1 < wide[1]
    differs = {
        "right": not inside,
        "inside": inside,
        "narrow": not narrow[0] < 1 < narrow[1],
        "above": wide[0] > 1,
        "below": wide[1] < 1,
        "both": wide[0] > 1 and wide[1] < 1,
        "margin": wide[0] > margin or wide[1] < 1 / margin,
        "no end": 1 not in wide,
    }[different]
    equals = {
        "right": 1 / margin < narrow[0] and narrow[1] < margin,
        "wide": 1 / margin < wide[0] and wide[1] < margin,
        "contains 1": inside,
        "contains 1, narrow": narrow[0] < 1 < narrow[1],
        "upper": narrow[1] < margin,
        "lower": narrow[0] > 1 / margin,
        "either": narrow[0] > 1 / margin or narrow[1] < margin,
        "symmetric": 2 - margin < narrow[0] and narrow[1] < margin,
        "1.2": narrow[0] > 1 / 1.2 and narrow[1] < 1.2,
        "and contains 1": 1 / margin < narrow[0] < 1 < narrow[1] < margin,
        "outside": not (1 / margin < narrow[0] and narrow[1] < margin),
        "contains margin": narrow[0] < 1 / margin and narrow[1] > margin,
        "exclusive": inside and 1 / margin < narrow[0] and narrow[1] < margin,
        "width": narrow[1] - narrow[0] < margin - 1 / margin,
    }[equivalent]
    return (equals, differs) if order == "swapped" else (differs, equals)


_TOST = "Equivalence is shown where the whole 90 % interval lies between 1 / margin and margin."
_KNOWN_VERDICTS: list[Misconception] = [
    *combined(
        _verdict,
        {
            "different": {
                "inside": "The first value is turned around. A difference is shown where 1 lies *outside* the "
                "interval.",
                "narrow": "The first value is taken from the 90 % interval. With it, a difference that is not there "
                "would be found in 10 of 100 comparisons and not in 5. Superiority belongs to the 95 % interval.",
                "above": "A difference is found only where ours makes more errors. An interval that lies wholly below "
                "1 shows a difference too.",
                "below": "A difference is found only where ours makes fewer errors. An interval that lies wholly above "
                "1 shows a difference too.",
                "both": "No interval is both above 1 and below 1, so that this never finds a difference. Which word "
                "belongs between the two conditions?",
                "margin": "The first value asks whether the difference is larger than the margin. The question is "
                "whether there is any: compare with 1.",
                "no end": "It only asks whether 1 is one of the two ends. `1 in wide` looks for an entry of the pair, "
                "and not for a number between them.",
            },
            "equivalent": {
                "wide": "The second value is taken from the 95 % interval. That is too strict: each of the two "
                f"one-sided tests has 5 %, which is what a 90 % interval leaves on either side. {_TOST}",
                "contains 1": "For the second value it is enough that the 95 % interval contains 1. But a difference "
                f"that was not shown is not shown to be small: the interval may be wide. {_TOST}",
                "contains 1, narrow": "For the second value it is enough that the 90 % interval contains 1. A noisy "
                f"comparison always achieves that. {_TOST}",
                "upper": f"The lower end is not looked at, so that a much better method counts as equivalent. {_TOST}",
                "lower": f"The upper end is not looked at, so that a much worse method counts as equivalent. {_TOST}",
                "either": f"One end within the margin is enough here. Both must be. {_TOST}",
                "symmetric": "The lower bound is 2 - margin. Ratios are symmetric in another way: twice as many errors "
                f"and half as many are equally far from 1. {_TOST}",
                "1.2": f"The margin 1.2 is written into the code. Use the argument. {_TOST}",
                "and contains 1": "It also asks that the interval contains 1. A difference may be shown *and* be too "
                f"small to matter. {_TOST}",
                "outside": f"The second value is turned around. {_TOST}",
                "exclusive": "Equivalence is denied where a difference was shown. Both can be true: a difference may "
                f"be shown *and* be too small to matter. {_TOST}",
                "width": f"It only asks whether the interval is narrow. It also has to lie in the right place. {_TOST}",
                "contains margin": f"It asks whether the interval contains the range of the margin. {_TOST}",
            },
            "order": {"swapped": "The two values are exchanged: first the difference, then the equivalence."},
        },
    ),
]
VERDICT_MISTAKES = single(_KNOWN_VERDICTS)


def _truths(result: Any, _arguments: tuple) -> Numbers:
    """Return the two truth values as 0 and 1 by name, and raise `Wrong` for what is none."""
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Wrong(f"It should return two truth values, True or False; yours is {describe(result)}.")
    names = ("the value for 'different'", "the value for 'equivalent'")
    return {name: torch.tensor(truth(part, name)) for name, part in zip(names, result, strict=True)}


def _examine_verdict(attempt: Callable) -> None:
    agree_on_truths(
        attempt, name="verdict", cases=VERDICT_CASES, right=solutions.verdict, numbers=_truths, known=_KNOWN_VERDICTS
    )


verdict = Exercise(
    answer=solutions.verdict,
    difficulty="medium",
    minutes=10,
    statement=(
        "From the 95 % and the 90 % interval of a ratio of errors and a margin, tell whether a difference was shown, "
        "and whether it was shown to be too small to matter."
    ),
    hints=(
        "They are two questions with two intervals. The first asks about 1, the second about the margin.",
        "A difference is shown where the 95 % interval lies wholly above 1 or wholly below 1.",
        "different = wide[0] > 1 or wide[1] < 1. Equivalence: narrow[0] is above 1 / margin, and narrow[1] is below "
        "margin.",
    ),
    cases=VERDICT_CASES,
    examine=_examine_verdict,
)
