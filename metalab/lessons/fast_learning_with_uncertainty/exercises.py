"""The exercises of the lesson on uncertainty: a posterior in two forms, two judges of bands, and the next question."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..kit.comparing import Case, Numbers, Wrong, agree, combined, describe, number, single
from ..kit.exercise import Exercise
from . import solutions

__all__ = ["coverage", "gp_posterior", "negative_log_likelihood", "update", "variance_after"]


def _draw(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _covariance(size: int, seed: int) -> Tensor:
    root = _draw(size, size, seed=seed)
    return root @ root.T + 0.5 * torch.eye(size, dtype=torch.float64)


def _tensor(part: Any, name: str) -> Tensor:
    if not isinstance(part, Tensor):
        try:
            return torch.as_tensor(part, dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError):
            raise Wrong(f"{name} should be a tensor; yours is {describe(part)}.") from None
    if not part.is_floating_point():
        raise Wrong(f"{name} should hold decimal numbers; yours holds {part.dtype}.")
    return part.detach()


def _two(names: tuple[str, str]) -> Callable[[Any, tuple], Numbers]:
    """Return what maps a pair of tensors to numbers by these names, and raises `Wrong` for what is none."""

    def numbers(result: Any, _arguments: tuple) -> Numbers:
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise Wrong(f"It should return two things, {names[0]} and {names[1]}; yours is {describe(result)}.")
        return {name: _tensor(part, name.capitalize()) for name, part in zip(names, result, strict=True)}

    return numbers


def _one(name: str) -> Callable[[Any, tuple], Numbers]:
    """Return what maps one number to numbers by this name, and raises `Wrong` for what is none."""

    def numbers(result: Any, _arguments: tuple) -> Numbers:
        return {name: torch.tensor(number(result, name.capitalize()), dtype=torch.float64)}

    return numbers


# update


def _update_case(size: int, noise: float) -> Case:
    def make() -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
        mean, features = _draw(size, seed=size), _draw(size, seed=size + 20)
        return mean, _covariance(size, size + 40), features, _draw(seed=size + 60) + 2, noise

    return Case(what=f"{size} weights", make=make, sizes={"the number of weights": size, "noise": noise})


UPDATE_CASES = (_update_case(3, 0.3), _update_case(4, 0.45))


def _update(
    mean: Tensor,
    covariance: Tensor,
    features: Tensor,
    y: Tensor,
    noise: float,
    *,
    expected: str = "right",
    surprise: str = "right",
    direction: str = "right",
    shrink: str = "right",
) -> tuple[Tensor, Tensor]:
    """Return the posterior, or what comes of the mistakes that the keywords name."""
    along = covariance @ features
    own = features @ along
    scale = {
        "right": own + noise**2,
        "no noise": own,
        "not squared": own + noise,
        "noise alone": torch.full_like(own, noise**2),
        "root": (own + noise**2).sqrt(),
        "none": torch.ones_like(own),
        "identity": features @ features + noise**2,
    }[expected]
    gain = {"right": along, "features": features, "diagonal": covariance.diagonal() * features}[direction] / scale
    gap = {
        "right": y - features @ mean,
        "reversed": features @ mean - y,
        "y": y,
        "of means": y - mean.mean(),
    }[surprise]
    new = {
        "right": covariance - torch.outer(gain, along),
        "kept": covariance,
        "plus": covariance + torch.outer(gain, along),
        "squared": covariance - torch.outer(gain, gain),
        "features": covariance - torch.outer(gain, features),
        "diagonal": (covariance - torch.outer(gain, along)).diagonal().diag(),
        "number": covariance - gain @ along,
        "surprise": covariance - gap * torch.outer(gain, along),
    }[shrink]
    return mean + gain * gap, new


_GAIN = "The gain is S φ, divided by how much a measurement varies, φᵀ S φ + σ²."
_KNOWN_UPDATES = combined(
    _update,
    {
        "expected": {
            "no noise": f"The noise is missing: one measurement is believed wholly. {_GAIN}",
            "not squared": f"The noise is added as it is. Variances are added, so square it. {_GAIN}",
            "noise alone": "It divides by the variance of the noise alone. A measurement also varies because the "
            f"weights are uncertain. {_GAIN}",
            "root": f"It divides by a standard deviation. Divide by the variance. {_GAIN}",
            "none": f"The division is missing. {_GAIN}",
            "identity": f"In the divisor the covariance is missing: it has φᵀ φ in place of φᵀ S φ. {_GAIN}",
        },
        "surprise": {
            "reversed": "The surprise has the wrong sign: it is the measurement minus what was expected.",
            "y": "The mean moves by the whole measurement. It should move by the surprise, which is y minus what was "
            "expected, φᵀ m.",
            "of means": "What was expected is φᵀ m, a sum over all weights with the features, and not the mean of m.",
        },
        "direction": {
            "features": f"The gain points along φ itself. The covariance is missing: it points along S φ. {_GAIN}",
            "diagonal": "The gain uses the diagonal of the covariance alone. Weights that vary together learn from "
            f"each other. {_GAIN}",
        },
        "shrink": {
            "kept": "The covariance stays as it was. A measurement makes it smaller: subtract the outer product of the "
            "gain and S φ.",
            "plus": "The covariance grows. A measurement makes it smaller: subtract.",
            "squared": "The outer product of the gain with itself is subtracted. It should be that of the gain with "
            "S φ.",
            "features": "The outer product of the gain with φ is subtracted. It should be that of the gain with S φ.",
            "diagonal": "Only the diagonal of the covariance is kept. The rest says which weights vary together.",
            "number": "The same number is subtracted everywhere, because gain @ (S φ) is a number. Their outer product "
            "is a matrix: torch.outer.",
            "surprise": "The covariance depends on the surprise. In this model it does not: how much is learned "
            "depends on where one measures, and not on what comes out.",
        },
    },
)
UPDATE_MISTAKES = single(_KNOWN_UPDATES)


def _examine_update(attempt: Callable) -> None:
    numbers = _two(("the mean", "the covariance"))
    agree(attempt, name="update", cases=UPDATE_CASES, right=solutions.update, numbers=numbers, mistakes=_KNOWN_UPDATES)


update = Exercise(
    answer=solutions.update,
    difficulty="medium",
    minutes=15,
    statement="From the weights' mean and covariance and one more measurement, return their new mean and covariance.",
    hints=(
        "First compute covariance @ features: how the weights vary together with the measurement.",
        "The gain is that vector, divided by features @ covariance @ features + noise**2. The mean moves by the gain "
        "times the surprise, y - features @ mean.",
        "along = covariance @ features; gain = along / (features @ along + noise**2). The new covariance is covariance "
        "- torch.outer(gain, along).",
    ),
    cases=UPDATE_CASES,
    examine=_examine_update,
    imports="import torch",
)


# gp_posterior


def _gp_case(points: int, queries: int, noise: float) -> Case:
    def make() -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
        x = 3 * _draw(points + queries, seed=points)
        kernel = 1.7 * torch.exp(-0.5 * (x[:, None] - x) ** 2)
        query = kernel.diagonal()[points:] * torch.linspace(1.0, 1.2, queries, dtype=torch.float64)
        return kernel[:points, :points], kernel[points:, :points], query, _draw(points, seed=points + 9), noise

    sizes = {"the number of points": points, "the number of queries": queries, "noise": noise}
    return Case(what=f"{points} points and {queries} queries", make=make, sizes=sizes)


GP_POSTERIOR_CASES = (_gp_case(4, 6, 0.3), _gp_case(7, 3, 0.45))


def _gp(
    support: Tensor,
    across: Tensor,
    query: Tensor,
    y: Tensor,
    noise: float,
    *,
    noisy: str = "right",
    weights: str = "right",
    known: str = "right",
    end: str = "right",
) -> tuple[Tensor, Tensor]:
    """Return mean and variance, or what comes of the mistakes that the keywords name."""
    one = torch.eye(len(y), dtype=y.dtype)
    matrix = {
        "right": support + noise**2 * one,
        "none": support + 1e-9 * one,
        "not squared": support + noise * one,
        "everywhere": support + noise**2,
        "minus": support - noise**2 * one,
    }[noisy]
    inverse = torch.linalg.inv(matrix)
    mean = {
        "right": lambda: across @ inverse @ y,
        "no solve": lambda: across @ y,
        "normalised": lambda: across @ y / across.sum(1),
        "multiplied": lambda: across @ matrix @ y,
    }[weights]()
    reduced = ((across @ inverse) * across).sum(1)
    variance = {
        "right": query - reduced,
        "prior": query,
        "plus": query + reduced,
        "one factor": query - (across @ inverse).sum(1),
        "no solve": query - (across * across).sum(1),
        "alone": reduced,
    }[known]
    variance = {
        "right": variance + noise**2,
        "no noise": variance,
        "not squared": variance + noise,
        "root": (variance + noise**2).clamp(min=0).sqrt(),
    }[end]
    return mean, variance


_C = "The matrix is K + σ² I: the noise belongs on its diagonal, because each measurement has noise of its own."
_KNOWN_GPS = combined(
    _gp,
    {
        "noisy": {
            "none": f"The matrix has no noise on its diagonal, so that the mean passes through all points. {_C}",
            "not squared": f"The noise is added to the matrix as it is. Variances are added, so square it. {_C}",
            "everywhere": f"The noise is added to all entries of the matrix. {_C}",
            "minus": f"The noise is subtracted from the diagonal of the matrix. {_C}",
        },
        "weights": {
            "no solve": "The mean is across @ y. The inverse of the noisy matrix belongs between the two, or near "
            "points would be counted twice.",
            "normalised": "This is kernel regression, a weighted mean of the y. A Gaussian process has the inverse of "
            "the noisy matrix between across and y.",
            "multiplied": "The mean is multiplied by the matrix. It should be multiplied by its inverse: "
            "torch.linalg.solve.",
        },
        "known": {
            "prior": "The variance is that before any measurement. The points make it smaller.",
            "plus": "The points make the variance larger. They should make it smaller: subtract.",
            "one factor": "In what is subtracted from the variance, across occurs once. It occurs on both sides of the "
            "inverse.",
            "no solve": "In what is subtracted from the variance, the inverse of the noisy matrix is missing.",
            "alone": "The variance is only what should be subtracted: it is largest at the points. Subtract it from "
            "query.",
        },
        "end": {
            "no noise": "The variance is that of the function. A new measurement has noise too: add σ².",
            "not squared": "To the variance, the noise is added as it is. Square it.",
            "root": "The second part is a standard deviation. The page asks for the variance.",
        },
    },
)
GP_POSTERIOR_MISTAKES = single(_KNOWN_GPS)


def _examine_gp(attempt: Callable) -> None:
    numbers = _two(("the mean", "the variance"))
    agree(
        attempt,
        name="gp_posterior",
        cases=GP_POSTERIOR_CASES,
        right=solutions.gp_posterior,
        numbers=numbers,
        mistakes=_KNOWN_GPS,
        tolerance=1e-7,
    )


gp_posterior = Exercise(
    answer=solutions.gp_posterior,
    difficulty="medium",
    minutes=15,
    statement="From covariances by a kernel and measurements, return the mean and the variance of new measurements.",
    hints=(
        "Write the two formulas down for one query first. Both need the inverse of K + σ² I, and torch.linalg.solve(A, "
        "b) multiplies b by the inverse of A.",
        "noisy = support + noise**2 * torch.eye(len(y), dtype=y.dtype), and the mean is across @ "
        "torch.linalg.solve(noisy, y).",
        "solved = torch.linalg.solve(noisy, across.T) has a column for each query. The variance is query - (across * "
        "solved.T).sum(1) + noise**2.",
    ),
    cases=GP_POSTERIOR_CASES,
    examine=_examine_gp,
    imports="import torch",
)


# negative_log_likelihood


def _answers_case(count: int) -> Case:
    def make() -> tuple[Tensor, Tensor, Tensor]:
        mean, variance = _draw(count, seed=count), 0.2 + _draw(count, seed=count + 1) ** 2
        return mean + 1.3 * variance.sqrt() * _draw(count, seed=count + 2), mean, variance

    return Case(what=f"{count} measurements", make=make, sizes={"the number of measurements": count})


def _surprised_case(count: int) -> Case:
    """A case in which the density of one measurement is too small for a number, but its logarithm is not."""

    def make() -> tuple[Tensor, Tensor, Tensor]:
        y, mean, variance = _answers_case(count).make()
        y[0] = mean[0] + 50 * variance[0].sqrt()
        return y, mean, variance

    what = f"{count} measurements, one of them 50 standard deviations off"
    return Case(what=what, make=make, sizes={"the number of measurements": count})


NEGATIVE_LOG_LIKELIHOOD_CASES = (_answers_case(5), _answers_case(9), _surprised_case(7))


def _nll(
    y: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    squares: str = "right",
    log: str = "right",
    constant: str = "right",
    factor: str = "right",
    reduce: str = "right",
) -> Tensor:
    """Return the negative log-likelihood, or what comes of the mistakes that the keywords name."""
    gap = y - mean
    first = {
        "right": gap**2 / variance,
        "root": gap**2 / variance.sqrt(),
        "square": gap**2 / variance**2,
        "absolute": gap.abs() / variance.sqrt(),
        "none": gap**2,
    }[squares]
    second = {
        "right": variance.log(),
        "none": torch.zeros_like(variance),
        "minus": -variance.log(),
        "deviation": 0.5 * variance.log(),
        "base 10": variance.log10(),
        "base 2": variance.log2(),
        "double": 2 * variance.log(),
    }[log]
    third = {
        "right": math.log(2 * math.pi),
        "none": 0.0,
        "pi": math.log(math.pi),
        "root": 0.5 * math.log(2 * math.pi),
        "two pi": 2 * math.pi,
    }[constant]
    each = {
        "right": 0.5 * (first + second + third),
        "whole": first + second + third,
        "minus": -0.5 * (first + second + third),
        "first only": 0.5 * first + second + third,
    }[factor]
    return {
        "right": each.mean,
        "sum": each.sum,
        "median": each.median,
        "density": lambda: -(-each).exp().mean().log(),
        "root": lambda: each.sum() / len(y) ** 0.5,
    }[reduce]()


_KNOWN_NLLS = combined(
    _nll,
    {
        "squares": {
            "root": "The squared error is divided by the standard deviation. Divide by the variance.",
            "square": "The squared error is divided by the square of the variance. The argument is a variance already.",
            "absolute": "The first term is the absolute error in standard deviations. Square it.",
            "none": "The squared error is not divided by the variance: an error of 1 is large where the answer claimed "
            "to be sure, and small where it did not.",
        },
        "log": {
            "none": "log of the variance is missing. Without it, an infinite variance would be the best answer.",
            "minus": "log of the variance has the wrong sign, so that wide bands are rewarded.",
            "deviation": "In the second term, the log of a variance is halved twice: ½ log σ² is log σ.",
            "base 10": "The logarithm of the variance has the base 10. Use torch.log.",
            "base 2": "The logarithm of the variance has the base 2. Use torch.log.",
            "double": "The log of the variance is taken twice. It is log σ², which is half as much, if σ² is the "
            "argument.",
        },
        "constant": {
            "none": "The constant log 2π is missing.",
            "pi": "The constant is log π. It should be log 2π.",
            "root": "The constant log 2π is halved twice.",
            "two pi": "The constant is 2π itself. It should be its logarithm.",
        },
        "factor": {
            "whole": "The factor ½ is missing.",
            "minus": "This is the log-likelihood. The page asks for minus that, so that smaller is better.",
            "first only": "The factor ½ stands before the first term only. It belongs to all three.",
        },
        "reduce": {
            "sum": "This is the sum over the measurements. The page asks for their mean.",
            "median": "This is the median over the measurements. The page asks for their mean.",
            "density": "The densities are averaged, and then the log is taken. Take the log of each one first.",
            "root": "The sum is divided by the root of the number of measurements. A mean divides by the number.",
        },
    },
)
NEGATIVE_LOG_LIKELIHOOD_MISTAKES = single(_KNOWN_NLLS)


def _examine_nll(attempt: Callable) -> None:
    agree(
        attempt,
        name="negative_log_likelihood",
        cases=NEGATIVE_LOG_LIKELIHOOD_CASES,
        right=solutions.negative_log_likelihood,
        numbers=_one("the negative log-likelihood"),
        mistakes=_KNOWN_NLLS,
        tolerance=1e-6,
    )


negative_log_likelihood = Exercise(
    answer=solutions.negative_log_likelihood,
    difficulty="easy",
    minutes=10,
    statement="Return the mean of minus the log density of measurements under normal answers, in nats.",
    hints=(
        "Write down the density of a normal distribution, and take minus its logarithm. A product becomes a sum.",
        "It has three terms: the squared error divided by the variance, the log of the variance, and log 2π. All have "
        "the factor ½.",
        "0.5 * ((y - mean) ** 2 / variance + torch.log(variance) + math.log(2 * math.pi)), and then the mean.",
    ),
    cases=NEGATIVE_LOG_LIKELIHOOD_CASES,
    examine=_examine_nll,
    imports="import math\n\nimport torch",
)


# coverage


def _coverage_case(count: int, share: float) -> Case:
    def make() -> tuple[Tensor, Tensor, Tensor, float]:
        return (*_answers_case(count).make(), share)

    sizes = {"the number of measurements": count, "share": share}
    return Case(what=f"{count} measurements and the share {share}", make=make, sizes=sizes)


COVERAGE_CASES = (_coverage_case(401, 0.5), _coverage_case(601, 0.9), _coverage_case(307, 0.8))


def _coverage(
    y: Tensor,
    mean: Tensor,
    variance: Tensor,
    share: float,
    *,
    reach: str = "right",
    spread: str = "right",
    inside: str = "right",
    reduce: str = "right",
) -> float:
    """Return the coverage, or what comes of the mistakes that the keywords name."""

    def quantile(p: float) -> float:
        return torch.special.ndtri(torch.tensor(p, dtype=torch.float64)).item()

    width = {
        "right": quantile((1 + share) / 2),
        "one-sided": quantile(share),
        "1.96": 1.96,
        "1.645": 1.645,
        "0.674": quantile(0.75),
        "one": 1.0,
        "share": share,
        "half": quantile((1 + share / 2) / 2),
        "twice": 2 * quantile((1 + share) / 2),
        "full width": 0.5 * quantile((1 + share) / 2),
    }[reach]
    scale = {"right": variance.sqrt(), "variance": variance, "mean": variance.mean().sqrt(), "none": 1.0}[spread]
    gap = (y - mean) / scale
    hit = {
        "right": gap.abs() <= width,
        "outside": gap.abs() > width,
        "below": gap <= width,
        "above": gap >= -width,
    }[inside]
    return {
        "right": lambda: hit.double().mean().item(),
        "count": lambda: hit.sum().item(),
        "percent": lambda: 100 * hit.double().mean().item(),
        "gap": lambda: hit.double().mean().item() - share,
    }[reduce]()


_REACH = (
    "An interval that leaves out (1 − share) has half of that on each side, so that its end is the (1 + share) / 2 "
)
_KNOWN_COVERAGES = combined(
    _coverage,
    {
        "reach": {
            "one-sided": f"It reaches to the `share` quantile. {_REACH}quantile.",
            "1.96": "It reaches to 1.96 standard deviations, whatever the share is. That is right for 95 % only.",
            "1.645": "It reaches to 1.645 standard deviations, whatever the share is. That is right for 90 % only.",
            "0.674": "It reaches to 0.674 standard deviations, whatever the share is. That is right for 50 % only.",
            "one": "It reaches to one standard deviation, whatever the share is.",
            "share": "It reaches to `share` standard deviations. How far an interval reaches is a quantile of the "
            "normal distribution: torch.special.ndtri.",
            "half": f"The quantile belongs to half of the share. {_REACH}quantile.",
            "twice": "The interval is twice as wide as it should be: the quantile reaches from the middle to one end.",
            "full width": "The interval is half as wide as it should be: the quantile reaches from the middle to one "
            "end.",
        },
        "spread": {
            "variance": "The quantile is multiplied by the variance. Multiply by its root, the standard deviation.",
            "mean": "All measurements have the same band. Each one has a variance of its own.",
            "none": "The variance is not used. The interval is the quantile times the standard deviation.",
        },
        "inside": {
            "outside": "This is the share that lies outside of the interval.",
            "below": "Only the upper end is looked at. A central interval has two ends.",
            "above": "Only the lower end is looked at. A central interval has two ends.",
        },
        "reduce": {
            "count": "This is a count. Divide by the number of measurements.",
            "percent": "This is in percent. The page asks for a share, between 0 and 1.",
            "gap": "This is the coverage minus the share. The page asks for the coverage itself.",
        },
    },
)
COVERAGE_MISTAKES = single(_KNOWN_COVERAGES)


def _examine_coverage(attempt: Callable) -> None:
    agree(
        attempt,
        name="coverage",
        cases=COVERAGE_CASES,
        right=solutions.coverage,
        numbers=_one("the coverage"),
        mistakes=_KNOWN_COVERAGES,
        tolerance=1e-6,
    )


coverage = Exercise(
    answer=solutions.coverage,
    difficulty="medium",
    minutes=10,
    statement="Return the share of the measurements that lie in the central interval of a given probability.",
    hints=(
        "A measurement is inside if its distance from the mean is at most so many standard deviations. How many "
        "depends on the share alone.",
        "Above and below, the interval leaves out (1 - share) / 2 each. Its upper end is therefore the quantile "
        "(1 + share) / 2, by torch.special.ndtri of a tensor.",
        "reach = torch.special.ndtri(torch.tensor((1 + share) / 2)); then the mean of (y - mean).abs() <= reach * "
        "variance.sqrt(), as decimal numbers.",
    ),
    cases=COVERAGE_CASES,
    examine=_examine_coverage,
    imports="import torch",
)


# variance_after


def _question_case(candidates: int, size: int, noise: float) -> Case:
    def make() -> tuple[Tensor, Tensor, float]:
        return _covariance(size, size + 70), _draw(candidates, size, seed=candidates), noise

    sizes = {"the number of candidates": candidates, "the number of weights": size, "noise": noise}
    return Case(what=f"{candidates} candidates and {size} weights", make=make, sizes=sizes)


VARIANCE_AFTER_CASES = (_question_case(5, 3, 0.6), _question_case(8, 4, 0.9))


def _after(
    covariance: Tensor,
    features: Tensor,
    noise: float,
    *,
    divisor: str = "right",
    learned: str = "right",
    sign: str = "right",
    reduce: str = "right",
) -> Tensor:
    """Return the mean variances, or what comes of the mistakes that the keywords name."""
    shared = features @ covariance @ features.T  # [asked, judged]
    own = shared.diagonal()
    scale = {
        "right": own + noise**2,
        "no noise": own,
        "not squared": own + noise,
        "noise alone": torch.full_like(own, noise**2),
        "judged": own + noise**2,
    }[divisor]
    gain = {
        "right": shared**2,
        "first power": shared,
        "diagonal": torch.diag(own**2),
        "no covariance": (features @ features.T) ** 2,
        "absolute": shared.abs(),
    }[learned] / (scale if divisor == "judged" else scale[:, None])
    after = {"right": own - gain, "plus": own + gain, "alone": gain, "before": own.expand_as(gain)}[sign]
    return {
        "right": after.mean(1),
        "sum": after.sum(1),
        "largest": after.amax(1),
        "own": after.diagonal(),
        "noise too": after.mean(1) + noise**2,
        "root": after.clamp(min=0).sqrt().mean(1),
        "wrong axis": after.mean(0),
        "median": after.median(1).values,
    }[reduce]


_LEARNED = "Measuring c takes (φᵀ S φ_c)² / (φ_cᵀ S φ_c + σ²) from the variance at φ."
_KNOWN_AFTERS = combined(
    _after,
    {
        "divisor": {
            "no noise": f"The noise is missing: a measurement would tell the value exactly. {_LEARNED}",
            "not squared": f"The noise is added as it is. Variances are added, so square it. {_LEARNED}",
            "noise alone": f"It divides by the variance of the noise alone. {_LEARNED}",
            "judged": "It divides by the variance at the candidate that is judged. It should be that of the candidate "
            f"that is measured. {_LEARNED}",
        },
        "learned": {
            "first power": f"What is learned is not squared. {_LEARNED}",
            "diagonal": "Measuring a candidate teaches something about this candidate only. Others share weights with "
            f"it. {_LEARNED}",
            "no covariance": f"The covariance is missing: features @ features.T in place of φᵀ S φ. {_LEARNED}",
            "absolute": f"What is learned is an absolute value in place of a square. {_LEARNED}",
        },
        "sign": {
            "plus": "The measurement makes the variance larger. It makes it smaller: subtract.",
            "alone": "This is how much variance a measurement takes away. The page asks for what is left.",
            "before": "This is the mean variance before any measurement, for every candidate.",
        },
        "reduce": {
            "sum": "This is the sum over the candidates. The page asks for their mean.",
            "largest": "This is the largest variance that is left. The page asks for the mean over the candidates.",
            "own": "This is the variance that is left at the measured candidate itself. The page asks for the mean "
            "over all of them.",
            "noise too": "This is the variance of measurements, with the noise. The page asks for that of the "
            "function.",
            "root": "This is the mean standard deviation. The page asks for the mean variance.",
            "wrong axis": "The mean is taken over the measured candidate, and should be taken over the judged one.",
            "median": "This is the median over the candidates. The page asks for their mean.",
        },
    },
)
VARIANCE_AFTER_MISTAKES = single(_KNOWN_AFTERS)


def _variances(result: Any, arguments: tuple) -> Numbers:
    if (
        isinstance(result, Sequence)
        and not isinstance(result, str | bytes)
        and all(isinstance(part, Tensor) and part.dim() == 0 for part in result)
    ):
        result = torch.stack(list(result)) if result else result
    if isinstance(result, str | bytes | dict) or not hasattr(result, "__len__"):
        raise Wrong(
            f"It should return {len(arguments[1])} numbers, one for each candidate; yours is {describe(result)}."
        )
    return {"the mean variances": _tensor(result, "The result")}


def _examine_after(attempt: Callable) -> None:
    agree(
        attempt,
        name="variance_after",
        cases=VARIANCE_AFTER_CASES,
        right=solutions.variance_after,
        numbers=_variances,
        mistakes=_KNOWN_AFTERS,
    )


variance_after = Exercise(
    answer=solutions.variance_after,
    difficulty="hard",
    minutes=20,
    statement="For each candidate, return the mean variance over all candidates once this one has been measured.",
    hints=(
        "The covariance after a measurement does not depend on its outcome. So you could call update with any y, once "
        "for each candidate, and look at the covariance that comes out.",
        "shared = features @ covariance @ features.T holds φᵀ S φ' for each pair of candidates; its diagonal holds the "
        "variances before.",
        "own = shared.diagonal(); after = own - shared**2 / (own + noise**2)[:, None] has a row for each measured "
        "candidate. Then take the mean of each row.",
    ),
    cases=VARIANCE_AFTER_CASES,
    examine=_examine_after,
)
