"""The exercises: the support set's statistics, a nearest mean as a layer, ranks with ties, and two kinds of sums."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from ..kit.comparing import Case, Numbers, Wrong, agree, combined, describe, single, with_help
from ..kit.exercise import Exercise
from . import solutions

__all__ = ["head_of_means", "normalise_by_support", "ranks", "update_mean", "update_sums"]


def _draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _tensor(part: Any, name: str) -> Tensor:
    if not isinstance(part, Tensor):
        try:
            part = torch.as_tensor(part, dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError):
            raise Wrong(f"{name} should be a tensor; yours is {describe(part)}.") from None
    return part.detach().double()


def _tensors(parts: Iterable[Any], *names: str) -> list[Tensor]:
    """Return the parts in double precision, and raise `Wrong` for one that the lesson could not go on with."""
    for part, name in zip(parts, names, strict=True):
        if not isinstance(part, Tensor):
            raise Wrong(f"{name} should be a tensor, because the lesson goes on with it; yours is {describe(part)}.")
    return [part.detach().double() for part in parts]


def _one(name: str) -> Callable[[Any, tuple], Numbers]:
    return lambda result, _arguments: {name: _tensor(result, name.capitalize())}


# normalise_by_support


def _maps_case(support: int, queries: int, channels: int, side: int, *, single_precision: bool = False) -> Case:
    def make() -> tuple[Tensor, Tensor]:
        scale = 1 + 0.3 * torch.arange(channels, dtype=torch.float64).view(-1, 1, 1)
        maps = _draw(support + queries, channels, side, side, seed=side) * scale + scale.square()
        maps[support:] = 1.4 * maps[support:] - 0.5
        maps = maps.float() if single_precision else maps
        return maps[:support], maps[support:]

    sizes = {"the number of support pictures": support, "the number of queries": queries, "the side": side}
    return Case(what=f"{support} support pictures and {queries} queries", make=make, sizes=sizes)


MAPS_CASES = (_maps_case(3, 5, 4, 6), _maps_case(7, 4, 3, 5, single_precision=True))


def _normalise(
    support: Tensor,
    query: Tensor,
    *,
    source: str = "right",
    axes: str = "right",
    scale: str = "right",
    centre: str = "right",
    what: str = "right",
) -> Tensor:
    """Return the normalised queries, or what comes of the mistakes that the keywords name."""
    own = {"right": support, "query": query, "both": torch.cat([support, query])}[source]
    over = {"right": (0, 2, 3), "pictures": (0,), "places": (2, 3), "all": (0, 1, 2, 3)}[axes]
    mean = own.mean(over, keepdim=True)
    variance = (own - mean).square().mean(over, keepdim=True)
    if axes == "places":  # each support picture has its own; their mean is the nearest guess
        mean, variance = mean.mean(0, keepdim=True), variance.mean(0, keepdim=True)
    divisor = {
        "right": (variance + 1e-3).sqrt(),
        "no root": variance + 1e-3,
        "none": torch.ones_like(variance),
        "unbiased": (own.var(over, keepdim=True) + 1e-3).sqrt() if axes != "places" else variance.sqrt(),
        "outside": variance.sqrt() + 1e-3,
        "no epsilon": variance.sqrt(),
    }[scale]
    shown = {"right": query, "support": support}[what]
    return (shown if centre == "none" else shown - mean) / divisor


_KNOWN_NORMALISED = combined(
    _normalise,
    {
        "source": {
            "query": "The statistics are the queries' own. Then a query sees the other queries; take them from the "
            "support set.",
            "both": "The statistics are of the support set and the queries together. Then a query sees the other "
            "queries; take them from the support set alone.",
        },
        "axes": {
            "pictures": "Each place has a mean of its own. Batch norm has one for each channel: take the mean over "
            "pictures, rows and columns, the axes 0, 2 and 3.",
            "places": "The statistics are taken for each picture by itself. Batch norm takes them over all support "
            "pictures at once: the axes 0, 2 and 3.",
            "all": "All channels share one mean. Batch norm has one for each channel: the axes 0, 2 and 3.",
        },
        "scale": {
            "no root": "It divides by the variance. Divide by its square root.",
            "none": "The division by the standard deviation is missing.",
            "unbiased": "The variance divides by the count minus 1, as var does by default. Batch norm divides by the "
            "count: correction=0.",
            "outside": "1e-3 belongs under the root: add it to the variance.",
            "no epsilon": "The small number 1e-3, which is added to the variance, is missing.",
        },
        "centre": {"none": "The mean is not subtracted."},
        "what": {"support": "It returns the support set's maps. Return the queries'."},
    },
)
NORMALISE_BY_SUPPORT_MISTAKES = single(_KNOWN_NORMALISED)


def _examine_normalised(attempt: Callable) -> None:
    agree(
        attempt,
        name="normalise_by_support",
        cases=MAPS_CASES,
        right=solutions.normalise_by_support,
        numbers=_one("the normalised maps"),
        mistakes=_KNOWN_NORMALISED,
        tolerance=1e-6,
    )


normalise_by_support = Exercise(
    answer=solutions.normalise_by_support,
    difficulty="easy",
    minutes=10,
    statement="Normalise the queries' maps, channel by channel, by the mean and variance of the support set's maps.",
    hints=(
        "Which shape must the mean have, so that it can be subtracted from maps [Q, C, H, W]?",
        "support.mean((0, 2, 3), keepdim=True) has the shape [1, C, 1, 1], so that it can be subtracted.",
        "mean = support.mean((0, 2, 3), keepdim=True); variance = support.var((0, 2, 3), correction=0, keepdim=True); "
        "return (query - mean) / (variance + 1e-3).sqrt()",
    ),
    cases=MAPS_CASES,
    examine=_examine_normalised,
)


# head_of_means


def _means_case(shots: tuple[int, ...], width: int, *, single_precision: bool = False) -> Case:
    def make() -> tuple[Tensor, Tensor, int]:
        y = torch.tensor([n for n, count in enumerate(shots) for _ in range(count)])
        order = torch.randperm(len(y), generator=torch.Generator().manual_seed(width))
        z = _draw(len(y), width, seed=len(y)) + 0.7
        return (z.float() if single_precision else z), y[order], len(shots)

    sizes = {"the number of classes": len(shots), "the number of pictures": sum(shots), "the width": width}
    return Case(what=f"{len(shots)} classes", make=make, sizes=sizes)


MEANS_CASES = (_means_case((4, 1, 2), 5), _means_case((1, 3, 5, 2), 6, single_precision=True))


def _head(
    z: Tensor, y: Tensor, ways: int, *, mean: str = "right", weight: str = "right", bias: str = "right"
) -> tuple[Tensor, Tensor]:
    """Return weights and biases, or what comes of the mistakes that the keywords name."""
    member = torch.nn.functional.one_hot(y, ways).to(z.dtype)
    count = {"right": member.sum(0), "sum": 1.0, "equal": len(y) / ways, "all": float(len(y))}[mean]
    means = z.T @ member / count
    weights = {"right": 2 * means, "once": means, "minus": -2 * means}[weight]
    square = means.square().sum(0)
    biases = {
        "right": -square,
        "plus": square,
        "half": -square / 2,
        "root": -square.sqrt(),
        "zero": torch.zeros_like(square),
        "mean": -means.square().mean(0),
    }[bias]
    return weights, biases


_KNOWN_HEADS = combined(
    _head,
    {
        "mean": {
            "sum": "The class sums are not divided by the number of pictures.",
            "equal": "Every class's sum is divided by the same number. The classes have different numbers of pictures.",
            "all": "The class sums are divided by the number of all pictures. Divide by that of each class.",
        },
        "weight": {
            "once": "The factor 2 of the weights is missing: −‖z − c‖² contains 2 c·z.",
            "minus": "The weights have the wrong sign: −‖z − c‖² contains + 2 c·z.",
        },
        "bias": {
            "plus": "The biases have the wrong sign: a class whose mean is far out would get more, not less.",
            "half": "The biases are half of what they should be: −‖c‖² goes with the weights 2 c.",
            "root": "The biases are lengths; they should be squared lengths.",
            "zero": "The biases are zero. Then the class with the longest mean wins too often.",
            "mean": "The biases have the mean of the squares. The squared length is their sum.",
        },
    },
)
HEAD_OF_MEANS_MISTAKES = single(_KNOWN_HEADS)


def _head_numbers(result: Any, arguments: tuple) -> Numbers:
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Wrong(f"It should return two things, the weights and the biases; yours is {describe(result)}.")
    z, _y, ways = arguments
    weights, biases = _tensors(result, "The weights", "The biases")
    if weights.shape == (ways,) and biases.shape == (z.shape[1], ways):
        raise Wrong("It returns the biases first. Return the weights first, and then the biases.")
    if weights.shape == (ways, z.shape[1]):
        raise Wrong("The weights have the shape [N, E]; they should be [E, N], so that z @ weights is [S, N].")
    return {"the weights": weights, "the biases": biases}


def _examine_head(attempt: Callable) -> None:
    agree(
        attempt,
        name="head_of_means",
        cases=MEANS_CASES,
        right=solutions.head_of_means,
        numbers=_head_numbers,
        mistakes=_KNOWN_HEADS,
        tolerance=1e-5,
    )


head_of_means = Exercise(
    answer=solutions.head_of_means,
    difficulty="medium",
    minutes=15,
    statement="From embeddings and labels, return the weights and biases of the linear layer that is a nearest mean.",
    hints=(
        "Which pictures belong to class n, if the classes have different numbers of them? z[y == n] picks them.",
        "The weights of class n are 2 times its mean, and its bias is minus the squared length of its mean. The mean "
        "of the pictures of class n is z[y == n].mean(0).",
        "means = torch.stack([z[y == n].mean(0) for n in range(ways)], 1); return 2 * means, -(means**2).sum(0)",
    ),
    cases=MEANS_CASES,
    examine=_examine_head,
    imports="from torch.nn.functional import one_hot",
)


# ranks


def _ranks_case(rows: list[list[float]], t: float) -> Case:
    sizes = {"the number of methods": len(rows), "the number of seeds": len(rows[0])}
    return Case(
        what=f"{len(rows)} methods and {len(rows[0])} seeds",
        make=lambda: (torch.tensor(rows, dtype=torch.float64), t),
        sizes=sizes,
    )


RANKS_CASES = (
    _ranks_case(
        [
            [0.60, 0.80, 0.70, 0.90, 0.65],
            [0.625, 0.822, 0.724, 0.921, 0.673],
            [0.50, 0.93, 0.61, 0.80, 0.78],
            [0.40, 0.61, 0.52, 0.70, 0.47],
        ],
        2.776,
    ),
    _ranks_case([[0.7, 0.8, 0.9], [0.71, 0.79, 0.92], [0.45, 0.56, 0.64], [0.72, 0.811, 0.929]], 4.303),
    _ranks_case([[0.70, 0.80, 0.90, 0.75, 0.72, 0.81], [0.72, 0.81, 0.93, 0.78, 0.73, 0.85]], 2.571),
    _ranks_case(  # the root of 4 and the root of 3 decide otherwise; and small differences may be sure
        [[0.60, 0.70, 0.80, 0.65], [0.605, 0.717, 0.817, 0.679], [0.603, 0.7032, 0.8028, 0.653]], 3.182
    ),
)


def _ranked(
    accuracy: Tensor,
    t: float,
    *,
    pairs: str = "right",
    spread: str = "right",
    start: str = "right",
    direction: str = "right",
) -> Tensor:
    """Return the ranks, or what comes of the mistakes that the keywords name."""
    gaps = accuracy[None] - accuracy[:, None]
    seeds = accuracy.shape[1]
    if pairs == "own":
        half = t * (accuracy.var(1)[None] + accuracy.var(1)[:, None]).sqrt() / seeds**0.5
    elif pairs == "overlap":
        half = t * (accuracy.std(1)[None] + accuracy.std(1)[:, None]) / seeds**0.5
    else:
        half = t * gaps.std(2) / seeds**0.5
    half = {
        "right": half,
        "none": 0 * half,
        "no root": half * seeds**0.5,
        "no t": half / t,
        "one less": half * (seeds / (seeds - 1)) ** 0.5,
        "biased": half * (1 - 1 / seeds) ** 0.5,
    }[spread]
    low = gaps.mean(2) - half > 0
    high = gaps.mean(2) + half < 0
    better = {"right": low, "reversed": high, "undecided": gaps.mean(2) + half > 0, "either": low | high}[direction]
    return (1 if start == "right" else 0) + better.sum(1)


_KNOWN_RANKS = combined(
    _ranked,
    {
        "pairs": {
            "own": "The interval is that of two independent means. The seeds are pairs: take the difference for each "
            "seed first, and then its standard deviation.",
            "overlap": "It asks whether two intervals overlap. The seeds are pairs: take the interval of the "
            "difference.",
        },
        "spread": {
            "none": "It compares means alone, so that no two methods share a rank. Count a method only if the interval "
            "of the difference is above 0.",
            "no root": "The standard deviation is not divided by the root of the number of seeds.",
            "biased": "It ranks as if the standard deviation divided by the number of seeds. Divide by that number "
            "minus 1, as std does by default.",
            "no t": "It ranks as if the factor t were missing, or were smaller than the argument: the interval is the "
            "mean ± t s / √seeds.",
            "one less": "It ranks as if the standard deviation were divided by the root of the number of seeds minus "
            "1. Divide by the root of their number.",
        },
        "start": {"zero": "The ranks begin at 0. The best method has the rank 1."},
        "direction": {
            "reversed": "It counts the methods that are worse. The best method would have the largest number.",
            "either": "It counts methods that differ in either direction. Count only those that are better.",
            "undecided": "It counts methods that may be better. Count those that surely are.",
        },
    },
)
RANKS_MISTAKES = single(_KNOWN_RANKS)


def _examine_ranks(attempt: Callable) -> None:
    agree(
        attempt,
        name="ranks",
        cases=RANKS_CASES,
        right=solutions.ranks,
        numbers=_one("the ranks"),
        mistakes=_KNOWN_RANKS,
    )


ranks = Exercise(
    answer=solutions.ranks,
    difficulty="medium",
    minutes=15,
    statement="Rank methods by accuracies over paired seeds, so that methods that cannot be told apart share a rank.",
    hints=(
        "For two methods a and b, the differences accuracy[b] - accuracy[a] are one number for each seed.",
        "b is surely better than a if mean - t * std / seeds**0.5 of these differences is above 0. A method's rank is "
        "1 plus the number of methods that are surely better.",
        "gaps = accuracy[None] - accuracy[:, None]; better = gaps.mean(2) - t * gaps.std(2) / gaps.shape[2]**0.5 > 0; "
        "return 1 + better.sum(1)",
    ),
    cases=RANKS_CASES,
    examine=_examine_ranks,
    imports="import torch",
)


# update_mean


def _stream_case(width: int, count: int, *, single_precision: bool = False) -> Case:
    def make() -> tuple[Tensor, int, Tensor]:
        mean, z = _draw(2, width, seed=width) + 1.5
        mean = mean if count else torch.zeros_like(mean)
        return (mean.float(), count, z.float()) if single_precision else (mean, count, z)

    sizes = {"the count": count, "the width": width} if count else {"the width": width}
    return Case(what=f"a count of {count} and {width} features", make=make, sizes=sizes)


STREAM_CASES = (_stream_case(5, 7), _stream_case(6, 3, single_precision=True), _stream_case(4, 0))


def _updated(mean: Tensor, count: int, z: Tensor, *, value: str = "right", number: str = "right") -> tuple[Tensor, int]:
    """Return the new mean and count, or what comes of the mistakes that the keywords name."""
    new = {
        "right": mean + (z - mean) / (count + 1),
        "old count": mean + (z - mean) / count,
        "guarded": mean + (z - mean) / max(count, 1),
        "half": (mean + z) / 2,
        "added": mean + z,
        "unweighted": (mean + z) / (count + 1),
        "sum": count * mean + z,
        "away": mean - (z - mean) / (count + 1),
        "newest": z,
        "old": mean,
    }[value]
    return new, {"right": count + 1, "old": count, "features": count + len(z)}[number]


_OLD_COUNT = (
    "The step towards the example is divided by the old count. Divide by count + 1, because the example counts too."
)
_KNOWN_UPDATES = combined(
    _updated,
    {
        "value": {
            "old count": _OLD_COUNT,
            "guarded": _OLD_COUNT,
            "half": "The old mean and the example have the same weight. The old mean stands for count examples, and "
            "the new one for 1.",
            "added": "The example is added to the mean. A mean is a sum divided by a number.",
            "unweighted": "The old mean is added as if it were one example. It stands for count examples: multiply it "
            "by count.",
            "sum": "It is the sum of all examples. Divide by their number, count + 1.",
            "away": "The mean moves away from the example. It should move towards it.",
            "newest": "The mean is the newest example alone, so that all others are forgotten.",
            "old": "The mean stays as it was, so that the example teaches nothing.",
        },
        "number": {
            "old": "The count stays as it was. It grows by 1 with each example.",
            "features": "The count grows by the number of features. It counts examples: add 1.",
        },
    },
)
UPDATE_MEAN_MISTAKES = single(_KNOWN_UPDATES)


def _updated_numbers(result: Any, arguments: tuple) -> Numbers:
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Wrong(f"It should return two things, the new mean and the new count; yours is {describe(result)}.")
    mean, count = _tensor(result[0], "The new mean"), _tensor(result[1], "The new count")
    if mean.ndim == 0 and count.shape == arguments[0].shape:
        raise Wrong("It returns the count first. Return the mean first, and then the count.")
    return {"the new mean": mean, "the new count": count}


def _examine_update(attempt: Callable) -> None:
    agree(
        with_help(attempt, {"division by zero": "A class begins with a count of 0. Divide by count + 1."}),
        name="update_mean",
        cases=STREAM_CASES,
        right=solutions.update_mean,
        numbers=_updated_numbers,
        mistakes=_KNOWN_UPDATES,
        tolerance=1e-6,
    )


update_mean = Exercise(
    answer=solutions.update_mean,
    difficulty="easy",
    minutes=10,
    statement="From a class's mean, its number of examples and one more example, return the new mean and number.",
    hints=(
        "The old mean times the old count is the sum of all examples so far.",
        "The new sum is count * mean + z, and the new number is count + 1.",
        "return (count * mean + z) / (count + 1), count + 1",
    ),
    cases=STREAM_CASES,
    examine=_examine_update,
)


# update_sums


def _sums_case(width: int, ways: int, n: int, *, single_precision: bool = False) -> Case:
    def make() -> tuple[Tensor, Tensor, Tensor, int]:
        root, z = _draw(width, width, seed=width), _draw(width, seed=ways) + 0.5
        parts = root @ root.T + torch.eye(width), _draw(width, ways, seed=n), z
        precision, moment, z = (part.float() if single_precision else part for part in parts)
        return precision, moment, z, n

    sizes = {"the width": width, "the number of classes": ways}
    return Case(what=f"{width} features and {ways} classes", make=make, sizes=sizes)


SUMS_CASES = (_sums_case(5, 4, 2), _sums_case(6, 3, 0, single_precision=True))


def _summed(
    precision: Tensor, moment: Tensor, z: Tensor, n: int, *, square: str = "right", product: str = "right"
) -> tuple[Tensor, Tensor]:
    """Return the new sums, or what comes of the mistakes that the keywords name."""
    outer = torch.outer(z, z)
    squares = {
        "right": precision + outer,
        "dot": precision + z @ z,
        "diagonal": precision + torch.diag(z.square()),
        "rows": precision + z,
        "minus": precision - outer,
        "alone": outer,
        "old": precision,
    }[square]
    y = torch.full_like(moment[0], -1.0)
    y[n] = 1.0
    own = (y + 1) / 2
    products = {
        "right": moment + torch.outer(z, y),
        "own": moment + torch.outer(z, own),
        "all": moment + z[:, None],
        "minus": moment - torch.outer(z, y),
        "alone": torch.outer(z, y),
        "old": moment,
        "solved": moment + torch.linalg.solve(precision + outer, torch.outer(z, y)),
    }[product]
    return squares, products


_KNOWN_SUMS = combined(
    _summed,
    {
        "square": {
            "dot": "It adds the number z·z to every entry. Add the matrix z zᵀ, whose entry (i, j) is z_i z_j.",
            "diagonal": "It adds only the squares on the diagonal. The matrix z zᵀ has the products z_i z_j as well.",
            "rows": "It adds z to each row. Add the matrix z zᵀ, whose entry (i, j) is z_i z_j.",
            "minus": "It subtracts z zᵀ from the precision. An example makes it larger.",
            "alone": "The old precision is forgotten. Add z zᵀ to it.",
            "old": "The precision stays as it was. Add z zᵀ to it.",
        },
        "product": {
            "own": "The other classes' columns stay as they were. Their target is −1, so z is subtracted from them.",
            "all": "It adds z to every column. The target is 1 for the own class, and −1 for all others.",
            "minus": "The targets have the wrong sign: 1 is for the own class, and −1 for all others.",
            "alone": "The old products are forgotten. Add z yᵀ to them.",
            "old": "The products stay as they were. Add z yᵀ to them.",
            "solved": "It divides the new product by the precision. The division comes at the end of the stream, once.",
        },
    },
)
UPDATE_SUMS_MISTAKES = single(_KNOWN_SUMS)


def _summed_numbers(result: Any, arguments: tuple) -> Numbers:
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Wrong(
            f"It should return two things, the new precision and the new products; yours is {describe(result)}."
        )
    precision, moment = _tensors(result, "The new precision", "The new products")
    if precision.shape == arguments[1].shape and moment.shape == arguments[0].shape:
        raise Wrong("It returns the products first. Return the precision first, and then the products.")
    return {"the new precision": precision, "the new products": moment}


def _examine_sums(attempt: Callable) -> None:
    agree(
        attempt,
        name="update_sums",
        cases=SUMS_CASES,
        right=solutions.update_sums,
        numbers=_summed_numbers,
        mistakes=_KNOWN_SUMS,
        tolerance=1e-6,
    )


update_sums = Exercise(
    answer=solutions.update_sums,
    difficulty="medium",
    minutes=10,
    statement="Add one example to the two sums that ALPaCA's posterior is made of.",
    hints=(
        "Both sums grow by a product of two vectors: z zᵀ, and z yᵀ with the targets y of all classes.",
        "y is −1 everywhere, and 1 at n. torch.outer(a, b) has the entries a_i b_j.",
        "y = -torch.ones(products.shape[1], dtype=z.dtype); y[n] = 1; "
        "return precision + torch.outer(z, z), products + torch.outer(z, y)",
    ),
    cases=SUMS_CASES,
    examine=_examine_sums,
    imports="import torch",
)
