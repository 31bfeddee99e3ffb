"""The exercises of the lesson on learning in context: two exact answers, a set encoder, attention and its mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..kit.comparing import Case, Misconception, Numbers, Wrong, agree, combined, describe, single
from ..kit.exercise import Exercise
from . import solutions

__all__ = ["attention", "causal_mask", "linear_answer", "posterior_mean", "set_answer"]


def _draw(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def _tensor(name: str) -> Callable[[Any, tuple], Numbers]:
    """Return a function that takes a result as a tensor of floating-point numbers, or raises `Wrong`."""

    def numbers(result: Any, _arguments: tuple) -> Numbers:
        if not isinstance(result, Tensor) or not result.is_floating_point():
            of = f" of {result.dtype}" if isinstance(result, Tensor) else ""
            raise Wrong(
                f"It should return {name} as one tensor of floating-point numbers; yours is {describe(result)}{of}."
            )
        return {name: result.detach()}

    return numbers


def _expect_gradients(called: list[tuple[tuple, Any]], sources: Callable[[tuple], dict[str, Tensor]]) -> None:
    """Raise `Wrong` unless a gradient flows from the results to every source, as the training below asks for.

    Args:
        called: the arguments and the result of each call.
        sources: maps arguments to the tensors that a gradient should reach, each by what a message calls it.
    """
    for arguments, result in called:
        tensors = sources(arguments)
        if not result.requires_grad:
            raise Wrong(
                "The numbers are right, but no gradient can flow through them, and the training below needs it. Does "
                "something detach, convert to NumPy or lists, or run under no_grad?"
            )
        try:
            slopes = torch.autograd.grad(result.sum(), list(tensors.values()), retain_graph=True, allow_unused=True)
        except RuntimeError:
            raise Wrong(
                "The numbers are right, but autograd cannot go back through them. Does a step change a tensor in place "
                "that the gradient still needs, as w /= … or masked_fill_ may do? Make a new tensor."
            ) from None
        if lost := [name for name, slope in zip(tensors, slopes, strict=True) if slope is None]:
            raise Wrong(
                f"The numbers are right, but no gradient flows back to {' and '.join(lost)}, so that the training "
                "below would never change what they come from. Does something detach there, or run under no_grad?"
            )


# posterior_mean


def _posterior_case(waves: int, points: int, queries: int, noise: float) -> Case:
    def make() -> tuple[Tensor, Tensor, Tensor, float]:
        # All waves are near the points, so that many of them have some weight.
        y = _draw(points, seed=waves)
        at_points = y + 1.5 * noise * _draw(waves, points, seed=waves + 1)
        return at_points, y, 2 + _draw(waves, queries, seed=waves + 2), noise

    return Case(
        what=f"{waves} waves, {points} points and {queries} queries",
        make=make,
        sizes={"the number of waves": waves, "the number of points": points, "the noise": noise},
    )


def _far_waves() -> Case:
    """Return a case in which each wave misses each of four points by about 11 σ.

    A point's own factor, exp(−60), is above zero in single precision. The product of all four, exp(−242), is not.
    """

    def make() -> tuple[Tensor, Tensor, Tensor, float]:
        y, noise = _draw(4, seed=11), 0.1
        at_points = y + 11 * noise + 0.1 * noise * _draw(20, 4, seed=12)
        return at_points, y, 2 + _draw(20, 3, seed=13), noise

    return Case(what="waves that are far from the points", make=make)


POSTERIOR_MEAN_CASES = (_posterior_case(40, 3, 5, 0.3), _posterior_case(70, 4, 6, 0.7), _far_waves())


def _posterior(
    at_points: Tensor,
    y: Tensor,
    at_queries: Tensor,
    noise: float,
    *,
    miss: str = "squared",
    over: str = "sum",
    width: str = "2 σ²",
    sign: str = "minus",
    weigh: str = "softmax",
) -> Tensor:
    """Return the weighted mean, or what comes of the mistakes that the keywords name."""
    gap = at_points - y
    misses = {"squared": gap**2, "absolute": gap.abs(), "signed": gap, "y alone": (at_points * y)}[miss]
    total = {
        "sum": misses.sum(1),
        "mean": misses.mean(1),
        "first": misses[:, 0],
        "last": misses[:, -1],
        "root": misses.sum(1).abs().sqrt(),
        "max": misses.amax(1),
    }[over]
    by = {
        "2 σ²": 2 * noise**2,
        "σ²": noise**2,
        "2 σ": 2 * noise,
        "σ": noise,
        "1": 1.0,
        "2": 2.0,
        "σ² / 2": noise**2 / 2,
        "(2 σ)²": (2 * noise) ** 2,
    }[width]
    exponent = -total / by if sign == "minus" else total / by
    if weigh == "plain":
        return torch.exp(exponent) @ at_queries
    if weigh == "mean":
        return (torch.exp(exponent)[:, None] * at_queries).mean(0)
    if weigh == "best":
        return at_queries[exponent.argmax()]
    if weigh == "prior":
        return at_queries.mean(0)
    if weigh == "linear":
        return (exponent / exponent.sum()) @ at_queries
    if weigh == "inverse":
        return (1 / total / (1 / total).sum()) @ at_queries
    if weigh == "norm":
        return (torch.exp(exponent) / torch.exp(exponent).norm()) @ at_queries
    if weigh == "median":
        return at_queries[exponent >= exponent.median()].mean(0)
    return torch.softmax(exponent, 0) @ at_queries


_WIDTH = "The exponent is −Σ (difference)² / (2 σ²)."
_KNOWN_POSTERIORS = combined(
    _posterior,
    {
        "miss": {
            "absolute": f"It adds absolute differences, which is the noise of another distribution. {_WIDTH}",
            "signed": "The differences are not squared, so that a wave far below the points seems to fit best.",
            "y alone": "It multiplies the waves by y. How well a wave fits is told by the *difference*.",
        },
        "over": {
            "mean": "It takes the mean over the points. Probabilities of independent points are multiplied, so their "
            "logarithms are *added*: more points should make the answer surer.",
            "first": "Only the first point counts. All points should.",
            "last": "Only the last point counts. All points should.",
            "root": f"It takes the root of the sum of squares, a distance. {_WIDTH}",
            "max": "Only the largest difference counts. Add the squares of all.",
        },
        "width": {
            "σ²": f"The factor 2 is missing in the divisor. {_WIDTH}",
            "2 σ": f"The noise is not squared. {_WIDTH}",
            "σ": f"The divisor is the noise itself. {_WIDTH}",
            "1": f"The division by 2 σ² is missing. {_WIDTH}",
            "2": f"The noise does not count. {_WIDTH}",
            "σ² / 2": f"The 2 is on the wrong side of the fraction. {_WIDTH}",
            "(2 σ)²": f"The 2 is squared too. {_WIDTH}",
        },
        "sign": {"plus": "The sign is wrong: the waves that fit worst have the largest weights."},
        "weigh": {
            "plain": "The weights do not add up to 1. Divide them by their sum, as softmax does.",
            "mean": "The weights are divided by the number of waves. Divide them by their own sum, as softmax does.",
            "best": "This is the one wave that fits best. With few points, many waves fit nearly as well, and their "
            "mean has the smaller expected error.",
            "prior": "All waves count the same, as if there were no points.",
            "linear": "The exponents themselves are the weights. Take exp of them first, as softmax does.",
            "inverse": "The weights are one over the sum of squares. Bayes' theorem with normal noise asks for exp.",
            "norm": "The weights are divided by their norm. Divide them by their sum.",
            "median": "It averages the better half of the waves alike. Weigh each by its probability.",
        },
    },
)
POSTERIOR_MEAN_MISTAKES = single(_KNOWN_POSTERIORS)


def _examine_posterior_mean(attempt: Callable) -> None:
    *near, far = POSTERIOR_MEAN_CASES
    compared = {"name": "posterior_mean", "right": solutions.posterior_mean, "numbers": _tensor("the mean")}
    agree(attempt, cases=near, mistakes=_KNOWN_POSTERIORS, **compared)
    try:
        agree(attempt, cases=[far], tolerance=1e-3, **compared)
    except Wrong as wrong:
        if str(wrong).startswith("It stopped with"):
            raise
        raise Wrong(
            "Right where some wave is near the points. Where all miss them by 11 times the noise, the exponents are "
            "about −242, and exp of that is 0 in the computer: all weights are 0, and 0 / 0 is not a number (or what "
            "is added against that decides). Only the differences between the exponents count, so subtract the largest "
            "one from all before exp, as torch.softmax does."
        ) from None


posterior_mean = Exercise(
    answer=solutions.posterior_mean,
    difficulty="medium",
    minutes=10,
    statement=(
        "Weigh each of G waves by its probability given the points, and return their mean at the queries. Compute the "
        "weights in a way in which they cannot all be 0."
    ),
    hints=(
        "All waves are equally probable before the points. Afterwards a wave's weight is exp of minus its sum of "
        "squares, divided by 2 σ²; then all weights are divided by their sum.",
        "squares = ((at_points - y) ** 2).sum(dim=1) has one number for each wave. torch.softmax(z, dim=0) takes exp "
        "of z and divides by the sum.",
        "weights = torch.softmax(-squares / (2 * noise**2), dim=0), and the mean at the queries is weights @ "
        "at_queries.",
    ),
    cases=POSTERIOR_MEAN_CASES,
    examine=_examine_posterior_mean,
)


# set_answer


def _set_case(tasks: int, points: int, queries: int, width: int) -> Case:
    def make() -> tuple[Callable, Callable, Tensor, Tensor, Tensor]:
        first = (0.4 * _draw(2, width, seed=width)).requires_grad_()
        second = (0.4 * _draw(width + 1, width, seed=width + 1)).requires_grad_()
        third = _draw(width, 1, seed=width + 2)

        def encode(pairs: Tensor) -> Tensor:
            return torch.tanh(pairs @ first + 0.3)

        def decode(inputs: Tensor) -> Tensor:
            return torch.tanh(inputs @ second) @ third

        encode.weights, decode.weights = first, second  # whose gradients the check looks at
        x, y, query_x = (
            _draw(tasks, count, 1, seed=100 * width + seed) for seed, count in enumerate((points, points, queries))
        )
        return encode, decode, x, y, query_x

    return Case(
        what=f"{tasks} tasks, {points} points and {queries} queries",
        make=make,
        sizes={"the number of tasks": tasks, "the number of points": points},
    )


SET_ANSWER_CASES = (_set_case(3, 4, 5, 6), _set_case(7, 5, 3, 8))


def _set(
    encode: Callable,
    decode: Callable,
    x: Tensor,
    y: Tensor,
    query_x: Tensor,
    *,
    pairs: str = "xy",
    pool: str = "mean",
    join: str = "r, x",
) -> Tensor:
    """Return the answers, or what comes of the mistakes that the keywords name."""
    points, queries = x.shape[1], query_x.shape[1]
    z = {
        "xy": lambda: torch.cat([x, y], 2),
        "yx": lambda: torch.cat([y, x], 2),
        "xx": lambda: torch.cat([x, x], 2),
        "yy": lambda: torch.cat([y, y], 2),
        "zero": lambda: torch.cat([x, torch.zeros_like(y)], 2),
        "first mean": lambda: torch.cat([x, y], 2).mean(1, keepdim=True),
        "sum": lambda: torch.cat([x + y, x + y], 2),
    }[pairs]()
    codes = encode(z)
    r = {
        "mean": lambda: codes.mean(1, keepdim=True),
        "sum": lambda: codes.sum(1, keepdim=True),
        "max": lambda: codes.amax(1, keepdim=True),
        "min": lambda: codes.amin(1, keepdim=True),
        "median": lambda: codes.median(1, keepdim=True).values,
        "first": lambda: codes[:, :1],
        "last": lambda: codes[:, -1:],
        "tasks": lambda: codes.mean((0, 1), keepdim=True).expand(len(x), 1, -1),
        "units": lambda: codes.mean((1, 2), keepdim=True).expand(-1, 1, codes.shape[2]),
        "without last": lambda: codes[:, :-1].mean(1, keepdim=True),
        "one more": lambda: codes.sum(1, keepdim=True) / (points + 1),
        "by queries": lambda: codes.sum(1, keepdim=True) / queries,
        "softmax": lambda: torch.softmax(codes.mean(1, keepdim=True), 2),
        "zero": lambda: torch.zeros_like(codes[:, :1]),
    }[pool]()
    r = r.expand(-1, queries, -1)
    if join == "x, r":
        return decode(torch.cat([query_x, r], 2))
    if join == "zero":
        return decode(torch.cat([r, torch.zeros_like(query_x)], 2))
    if join == "mean x":
        return decode(torch.cat([r, query_x.mean(1, keepdim=True).expand_as(query_x)], 2))
    if join == "each":  # one answer for each example, and their mean
        each = codes[:, :, None].expand(-1, -1, queries, -1)
        return decode(torch.cat([each, query_x[:, None].expand(-1, points, -1, -1)], 3)).mean(1)
    return decode(torch.cat([r, query_x], 2))


_KNOWN_SETS = combined(
    _set,
    {
        "pairs": {
            "yx": "The encoder is given y first and then x. The page asks for x, then y.",
            "xx": "The encoder never sees y: x is joined with itself.",
            "yy": "The encoder never sees x: y is joined with itself.",
            "zero": "The encoder sees 0 in place of y.",
            "first mean": "It averages the points first and encodes their mean. Encode each point by itself, and "
            "average the codes: the mean point of a wave says hardly anything.",
            "sum": "x and y are added before they are encoded. Join them by torch.cat.",
        },
        "pool": {
            "sum": "The codes are added. Divide by the number of points: with more points than in training, a sum "
            "would have a size that the decoder has never met.",
            "max": "It takes the largest of the codes. The page asks for their mean.",
            "min": "It takes the smallest of the codes. The page asks for their mean.",
            "median": "It takes the median of the codes. The page asks for their mean.",
            "first": "Only the first point is used.",
            "last": "Only the last point is used.",
            "tasks": "The mean runs over the tasks too, so that all tasks get the same r. It should run over the "
            "points of each task alone.",
            "units": "The mean runs over the units of the code too, so that only one number of it is left.",
            "without last": "The last point is left out.",
            "one more": "It divides by the number of points plus 1.",
            "by queries": "It divides by the number of queries. Divide by the number of points.",
            "softmax": "A softmax is applied to the mean. The page asks for the mean itself.",
            "zero": "The points are not used at all: r is zero.",
        },
        "join": {
            "x, r": "The decoder is given the query first and then r. The page asks for r, then the query.",
            "zero": "The decoder does not see the query's x.",
            "mean x": "The decoder sees the mean of the queries. Each query should have its own answer.",
            "each": "It answers from each point alone and averages the answers. Average the codes, and decode their "
            "mean: only together do the points tell the wave.",
        },
    },
)
SET_ANSWER_MISTAKES = single(_KNOWN_SETS)


def _examine_set_answer(attempt: Callable) -> None:
    called = agree(
        attempt,
        name="set_answer",
        cases=SET_ANSWER_CASES,
        right=solutions.set_answer,
        numbers=_tensor("the answers"),
        mistakes=_KNOWN_SETS,
    )
    _expect_gradients(
        called,
        lambda arguments: {
            f"the weights of `{name}`": part.weights
            for name, part in zip(("encode", "decode"), arguments[:2], strict=True)
        },
    )


set_answer = Exercise(
    answer=solutions.set_answer,
    difficulty="medium",
    minutes=10,
    statement="Encode each point (x, y), average the codes of each task, and decode the mean with each query.",
    hints=(
        "Three steps: join x and y and encode them; average over the points, which is axis 1; join the mean with each "
        "query and decode.",
        "encode(torch.cat([x, y], dim=2)) has the shape [T, K, W]. Its mean over dim=1 with keepdim=True is [T, 1, W].",
        "r.expand(-1, query_x.shape[1], -1) repeats r for each query, [T, Q, W]; then decode(torch.cat([r, query_x], "
        "dim=2)).",
    ),
    cases=SET_ANSWER_CASES,
    examine=_examine_set_answer,
)


# attention


def _attention_case(batch: tuple[int, ...], tokens: int, size: int) -> Case:
    def make() -> tuple[Tensor, Tensor, Tensor, Tensor]:
        q, k, v = (_draw(*batch, tokens, size, seed=10 * tokens + i).requires_grad_() for i in range(3))
        may_look = _draw(tokens, tokens, seed=tokens) > 0.3
        return q, k, v, may_look | torch.eye(tokens, dtype=torch.bool)

    words = f"{tokens} tokens of {size} numbers"
    return Case(
        what=f"{' × '.join(map(str, batch))} times {words}" if batch else words,
        make=make,
        sizes={"the number of tokens": tokens, "the size of a token": size},
    )


def _far_case() -> Case:
    """Return a case in which two tokens may look only where their scores are about −80, and forbidden ones near 0.

    An exp that nothing is subtracted from stays above zero there, and so does a softmax that is masked afterwards.
    """

    def make() -> tuple[Tensor, Tensor, Tensor, Tensor]:
        q, k, v = (0.5 * _draw(2, 4, 3, seed=80 + i) for i in range(3))
        q[..., 0], k[..., 0] = 12.0, torch.tensor([-12.0, -12.0, 0.0, 0.0])
        may_look = torch.ones(4, 4, dtype=torch.bool)
        may_look[:2, 2:] = False
        return q.requires_grad_(), k.requires_grad_(), v.requires_grad_(), may_look

    return Case(what="scores down to −80", make=make)


ATTENTION_CASES = (_attention_case((), 5, 7), _attention_case((3, 2), 6, 4), _far_case())


def _attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    may_look: Tensor,
    *,
    scale: str = "root",
    score: str = "q k",
    mask: str = "right",
    weigh: str = "rows",
    read: str = "v",
) -> Tensor:
    """Return what the tokens read, or what comes of the mistakes that the keywords name."""
    size, tokens = q.shape[-1], q.shape[-2]
    product = {
        "q k": lambda: q @ k.mT,
        "k q": lambda: k @ q.mT,
        "q q": lambda: q @ q.mT,
        "k k": lambda: k @ k.mT,
        "q v": lambda: q @ v.mT,
        "distance": lambda: -(torch.cdist(q, k) ** 2),
        "minus": lambda: -q @ k.mT,
    }[score]()
    divisor = {"root": size**0.5, "none": 1.0, "size": size, "inverse": size**-0.5, "tokens": tokens**0.5}[scale]
    scores = product / divisor
    allowed = {"turned": may_look.mT, "inverse": ~may_look, "none": torch.ones_like(may_look)}.get(mask, may_look)
    if mask in ("zero", "after"):
        weights = torch.softmax(scores if mask == "after" else scores * may_look, -1)
        weights = weights * may_look if mask == "after" else weights
    elif mask == "ones":
        weights = torch.softmax(scores + may_look, -1)
    else:
        scores = scores.masked_fill(~allowed, -torch.inf)
        weights = {
            "rows": lambda: torch.softmax(scores, -1),
            "columns": lambda: torch.softmax(scores, -2),
            "plain": lambda: scores.exp(),
            "sigmoid": lambda: scores.sigmoid(),
            "best": lambda: torch.nn.functional.one_hot(scores.argmax(-1), tokens).to(v.dtype),
            "even": lambda: allowed.to(v.dtype).expand_as(scores) / allowed.sum(-1, keepdim=True),
            "linear": lambda: product.masked_fill(~allowed, 0) / divisor,
            "all": lambda: scores.flatten(-2).softmax(-1).view_as(scores),
        }[weigh]()
    return {
        "v": lambda: weights @ v,
        "k": lambda: weights @ k,
        "turned": lambda: weights.mT @ v,
        "residual": lambda: v + weights @ v,
    }[read]()


_KNOWN_ATTENTION = combined(
    _attend,
    {
        "scale": {
            "none": "The scores are not divided by √d. With long tokens they would be so large that the softmax looks "
            "at one token only.",
            "size": "The scores are divided by d. The page divides by its root.",
            "inverse": "The scores are multiplied by √d. Divide by it.",
            "tokens": "The scores are divided by the root of the number of tokens. d is the size of a token, the last "
            "axis.",
        },
        "score": {
            "k q": "Row and column of the scores are exchanged: row i should hold q_i · k_j for all j.",
            "q q": "The questions q are compared with themselves. Compare them with the keys k.",
            "k k": "The keys k are compared with themselves. Compare the questions q with them.",
            "q v": "The questions are compared with the values v. Compare them with the keys k.",
            "distance": "The score is minus a squared distance. The page asks for the product q_i · k_j.",
            "minus": "The sign of the scores is wrong: it looks most at what fits least.",
        },
        "mask": {
            "turned": "The mask is transposed. Row i of may_look says what token i may look at.",
            "inverse": "The mask is turned around: it looks exactly where it may not.",
            "none": "The mask is not used.",
            "zero": "Forbidden scores become 0, and exp(0) is 1: they still get weight. Their score has to be minus "
            "infinity.",
            "after": "The mask is applied after the softmax, so that the weights of a row no longer add up to 1.",
            "ones": "The mask is added to the scores as 0 and 1. A forbidden score has to be minus infinity.",
        },
        "weigh": {
            "columns": "The softmax runs over the columns. The weights of each *row* should add up to 1: dim=-1.",
            "plain": "The weights are exp of the scores, but are not divided by their sum.",
            "sigmoid": "A sigmoid takes the place of the softmax, so that the weights do not add up to 1.",
            "best": "Each token looks only at the best one. The softmax weighs all of them.",
            "even": "All allowed tokens get the same weight. The scores should decide.",
            "linear": "The softmax is missing: the scores themselves are the weights.",
            "all": "The softmax runs over all pairs. Each row has a softmax of its own: dim=-1.",
        },
        "read": {
            "k": "The weights are applied to the keys. They belong to the values v.",
            "turned": "The weights are transposed before they are applied to v.",
            "residual": "It adds v itself. The page asks for the weighted sum alone.",
        },
    },
)
ATTENTION_MISTAKES = single(_KNOWN_ATTENTION)


def _agree_on_attention(attempt: Callable, *cases: Case, mistakes: list[Misconception]) -> list[tuple[tuple, Any]]:
    return agree(
        attempt,
        name="attention",
        cases=cases,
        right=solutions.attention,
        numbers=_tensor("the result"),
        mistakes=mistakes,
        tolerance=2e-4,
    )


def _is_right_attention(attempt: Callable, case: Case) -> bool:
    try:
        _agree_on_attention(attempt, case, mistakes=[])
    except Wrong:
        return False
    return True


def _examine_attention(attempt: Callable) -> None:
    flat, stacked, far = ATTENTION_CASES
    try:
        called = _agree_on_attention(attempt, flat, stacked, mistakes=_KNOWN_ATTENTION)
    except Wrong as wrong:
        of_the_same_size = _attention_case((), 6, 4)
        if not (_is_right_attention(attempt, flat) and _is_right_attention(attempt, of_the_same_size)):
            raise
        stopped, says = str(wrong).partition(f" With {flat.what} it does not stop.")[:2]
        raise Wrong(
            "It is right for q, k and v of shape [n, d], but not with further axes in front of them, as the page "
            "allows. Count the axes from the end: k.mT in place of k.T or transpose(0, 1), q.shape[-1], dim=-1, and @."
            + (f" {stopped}" if says else "")
        ) from None
    _expect_gradients(called, lambda arguments: dict(zip("qkv", arguments[:3], strict=True)))
    try:
        _agree_on_attention(attempt, far, mistakes=[])
    except Wrong as wrong:
        if str(wrong).startswith("It stopped with"):
            raise
        if "not finite" in str(wrong):
            raise Wrong(
                "Right with small scores; but where all scores that a token may look at are about −80, some of the "
                "numbers are not finite. Does exp become 0 there, or infinite? torch.softmax first subtracts the "
                "largest score from all of them, which leaves the weights as they are."
            ) from None
        raise Wrong(
            "Right with small scores; but where all scores that a token may look at are about −80, the forbidden ones "
            "still get weight. Is a number such as −20 put in their place, or added to them? Minus infinity, "
            "-torch.inf, gives them the weight 0, whatever the other scores are."
        ) from None


attention = Exercise(
    answer=solutions.attention,
    difficulty="medium",
    minutes=12,
    statement="Let each token read the values of the tokens that it may look at, weighed by a softmax of q · k / √d.",
    hints=(
        "Four steps: all products q_i · k_j, divided by √d; minus infinity where a token may not look; a softmax along "
        "each row; the weighted sum of the values.",
        "q @ k.mT has all products, also with leading axes. scores.masked_fill(~may_look, -torch.inf) forbids.",
        "scores = q @ k.mT / q.shape[-1] ** 0.5; mask them; return torch.softmax(scores, dim=-1) @ v.",
    ),
    cases=ATTENTION_CASES,
    examine=_examine_attention,
)


# causal_mask


def _mask_case(examples: int, queries: int) -> Case:
    return Case(
        what=f"{examples} examples and {queries} queries",
        make=lambda: (examples, queries),
        sizes={"the number of examples": examples, "the number of queries": queries},
    )


CAUSAL_MASK_CASES = (_mask_case(3, 4), _mask_case(5, 2), _mask_case(1, 3))


def _mask_variant(examples: int, queries: int, *, told: str = "causal", asked: str = "right") -> Tensor:
    """Return the mask, or what comes of the mistakes that the keywords name."""
    n, k = 2 * examples + queries, 2 * examples
    row, column = torch.arange(n)[:, None], torch.arange(n)
    mask = {
        "causal": column <= row,
        "strict": column < row,
        "turned": column >= row,
        "all": torch.ones(n, n, dtype=torch.bool),
        "own answer": column <= row + 1,
        "pairs": column // 2 <= row // 2,
        "examples": (column % 2 == 1) & (column <= row) | (column == row),
        "questions": (column % 2 == 0) & (column <= row) | (column == row),
        "itself": column == row,
        "last": (column <= row) & (column >= row - 1),
        "before last": column < row - 1,
    }[told].clone()
    own = torch.eye(queries, dtype=torch.bool)
    mask[k:] = {
        "right": lambda: torch.cat([torch.ones(queries, k, dtype=torch.bool), own], 1),
        "causal": lambda: torch.ones(n, n, dtype=torch.bool).tril()[k:],
        "all": lambda: torch.ones(queries, n, dtype=torch.bool),
        "blind": lambda: torch.cat([torch.ones(queries, k, dtype=torch.bool), own & ~own], 1),
        "alone": lambda: torch.cat([torch.zeros(queries, k, dtype=torch.bool), own], 1),
        "examples": lambda: torch.cat([(torch.arange(k) % 2 == 1).expand(queries, k), own], 1),
        "others": lambda: torch.cat([torch.ones(queries, k, dtype=torch.bool), ~own], 1),
        "nothing": lambda: torch.zeros(queries, n, dtype=torch.bool),
        "without last": lambda: torch.cat([(torch.arange(k) < k - 2).expand(queries, k), own], 1),
    }[asked]()
    mask[:k, k:] = mask[:k, k:] & (told == "all")
    return mask


def _wholly(value: Callable[[int], Tensor]) -> Callable:
    return lambda examples, queries: value(2 * examples + queries)


_SEEN = "The rows of the queries are not right: "
_KNOWN_MASKS: list[Misconception] = [
    (
        "Everything after a query is visible, and nothing before: the whole mask is transposed. Row i holds what "
        "token i may look at.",
        lambda examples, queries: solutions.causal_mask(examples, queries).mT,
    ),
    (
        "True and False are exchanged: it is True where a token may *not* look.",
        lambda examples, queries: ~solutions.causal_mask(examples, queries),
    ),
    (
        "Every token may look at every other one, also at the answers that it is asked for.",
        _wholly(lambda n: torch.ones(n, n, dtype=torch.bool)),
    ),
    *combined(
        _mask_variant,
        {
            "told": {
                "strict": "The tokens of the examples may not look at themselves. The first one could then look at "
                "nothing, and a softmax over nothing is not a number.",
                "turned": "The examples' part is turned around: a token may look at those after it.",
                "all": "The examples' tokens may look at everything, so that each question sees its own answer.",
                "own answer": "A token may also look at the one after it. After a question comes its example, with "
                "the answer in it.",
                "pairs": "A question may look at its own example, and the answer is in that. It may look only at "
                "tokens before it, and at itself.",
                "examples": "The examples' tokens may look at examples only. They may look at all tokens before them, "
                "the questions too.",
                "questions": "The examples' tokens may look at questions only, so that nobody ever sees an answer.",
                "itself": "The examples' tokens may look at themselves only.",
                "last": "The examples' tokens may look at the one before them only. They may look at all before them.",
                "before last": "The token just before, and the token itself, are hidden from the examples' tokens.",
            },
            "asked": {
                "causal": f"{_SEEN}a later query may look at those before it. Queries are asked independently: each "
                "may look at all examples, and among the queries at itself only.",
                "all": f"{_SEEN}all queries may look at one another. Each may look at itself only.",
                "blind": f"{_SEEN}a query may not look at itself. Then it does not know what it is asked.",
                "alone": f"{_SEEN}a query may not look at the examples. Then it cannot learn from them.",
                "examples": f"{_SEEN}a query may look at the examples only, and not at their questions. It may look "
                "at all tokens before the queries.",
                "others": f"{_SEEN}a query may look at the *other* queries and not at itself.",
                "nothing": f"{_SEEN}they are all False.",
                "without last": f"{_SEEN}the last example is hidden from them.",
            },
        },
    ),
]
CAUSAL_MASK_MISTAKES = single(_KNOWN_MASKS)


def _mask(result: Any, arguments: tuple) -> Numbers:
    """Return the mask as numbers, and raise `Wrong` for what is none."""
    examples, queries = arguments
    n = 2 * examples + queries
    if not isinstance(result, Tensor):
        raise Wrong(f"It should return a tensor of True and False; yours is {describe(result)}.")
    if result.shape != (n, n):
        says = f"With {examples} examples and {queries} queries the mask has the shape {list(result.shape)}"
        if result.shape == (examples + queries,) * 2:
            raise Wrong(f"{says}: each example has two tokens, so it should be [{n}, {n}].")
        raise Wrong(f"{says}; it should be [{n}, {n}], for {2 * examples} tokens of examples and {queries} of queries.")
    if result.dtype != torch.bool:
        raise Wrong(
            f"The mask holds {result.dtype}. It should hold True and False, so that ~may_look is what is forbidden: "
            "use .bool(), or a comparison."
        )
    return {"the mask": result.float()}


def _examine_causal_mask(attempt: Callable) -> None:
    agree(
        attempt,
        name="causal_mask",
        cases=CAUSAL_MASK_CASES,
        right=solutions.causal_mask,
        numbers=_mask,
        mistakes=_KNOWN_MASKS,
        tolerance=0.5,
    )


causal_mask = Exercise(
    answer=solutions.causal_mask,
    difficulty="medium",
    minutes=10,
    statement="Say which of the 2 K + Q tokens may look at which: examples in turn, and queries at the end.",
    hints=(
        "Start with the rule for all tokens, 'itself and those before it', which is a triangle. Then correct the "
        "corner where queries would see other queries.",
        "torch.ones(n, n).tril().bool() is the triangle, with the diagonal. The corner is "
        "may_look[2 * examples :, 2 * examples :].",
        "In the corner each query sees only itself: may_look[told:, told:] = torch.eye(queries).bool(), with "
        "told = 2 * examples.",
    ),
    cases=CAUSAL_MASK_CASES,
    examine=_examine_causal_mask,
)


# linear_answer


def _linear_case(tasks: int, points: int, size: int, queries: int, noise: float) -> Case:
    def make() -> tuple[Tensor, Tensor, Tensor, float]:
        x, w, query_x = (
            _draw(*shape, seed=10 * points + i, dtype=torch.float64)
            for i, shape in enumerate(((tasks, points, size), (tasks, size, 1), (tasks, queries, size)))
        )
        return x, x @ w + 0.3 * _draw(tasks, points, 1, seed=points, dtype=torch.float64), query_x, noise

    return Case(
        what=f"{tasks} tasks, {points} points in {size} dimensions and the noise {noise}",
        make=make,
        sizes={"the number of points": points, "the number of dimensions": size, "the noise": noise},
    )


LINEAR_ANSWER_CASES = (_linear_case(4, 7, 3, 5, 0.7), _linear_case(3, 4, 6, 2, 1.6))


def _linear(
    x: Tensor,
    y: Tensor,
    query_x: Tensor,
    noise: float,
    *,
    ridge: str = "σ²",
    matrix: str = "xᵀx",
    weights: str = "solve",
) -> Tensor:
    """Return the answers, or what comes of the mistakes that the keywords name."""
    points, size = x.shape[-2:]
    one = torch.eye(size, dtype=x.dtype)
    amount = {
        "σ²": noise**2,
        "σ": noise,
        "2 σ²": 2 * noise**2,
        "K σ²": points * noise**2,
        "σ² / K": noise**2 / points,
        "1": 1.0,
        "1 / σ²": noise**-2,
        "minus": -(noise**2),
        "everywhere": noise**2,
    }.get(ridge, 0.0)
    if ridge == "none":
        return query_x @ torch.linalg.pinv(x) @ y
    a = x.mT @ x + amount * (torch.ones_like(one) if ridge == "everywhere" else one)
    if matrix == "pooled":
        a = (x.mT @ x).sum(0) + amount * one
    elif matrix == "first":
        a = x[:, :1].mT @ x[:, :1] + amount * one
    elif matrix == "mean":
        a = x.mT @ x / points + amount * one
    b = x.mT @ y
    w = {
        "solve": lambda: torch.linalg.solve(a, b),
        "average": lambda: b / points,
        "multiply": lambda: a @ b,
        "divide": lambda: b / a.diagonal(dim1=-2, dim2=-1)[..., None],
        "elementwise": lambda: (1 / a) @ b,
        "sum": lambda: b,
        "pooled": lambda: torch.linalg.solve(a, b).mean(0, keepdim=True).expand(len(x), -1, -1),
        "minus": lambda: -torch.linalg.solve(a, b),
        "root": lambda: torch.linalg.solve(torch.linalg.cholesky(a), b),
        "last": lambda: torch.linalg.solve(a, x[:, -1:].mT @ y[:, -1:]),
    }[weights]()
    return query_x @ w


_RIDGE = "The matrix is XᵀX + σ² 1."
_KNOWN_LINEAR = combined(
    _linear,
    {
        "ridge": {
            "none": "The noise does not count: this is plain least squares. With noisy points, or with fewer points "
            f"than dimensions, the prior has to hold w back. {_RIDGE}",
            "σ": f"The noise is not squared. {_RIDGE}",
            "2 σ²": f"The noise counts twice. {_RIDGE}",
            "K σ²": f"The noise is multiplied by the number of points. {_RIDGE}",
            "σ² / K": f"The noise is divided by the number of points, and XᵀX is not. {_RIDGE}",
            "1": f"1 is added to the diagonal, whatever the noise. {_RIDGE}",
            "1 / σ²": f"It adds 1 / σ² to the diagonal. {_RIDGE}",
            "minus": f"σ² is subtracted. {_RIDGE}",
            "everywhere": f"σ² is added to all numbers of the matrix, and not to its diagonal alone. {_RIDGE}",
        },
        "matrix": {
            "pooled": "The matrix is added up over the tasks. Each task has a matrix of its own.",
            "first": "Only the first point is in the matrix.",
            "mean": "XᵀX is divided by the number of points, and Xᵀy is not.",
        },
        "weights": {
            "average": "w is the mean of y_k x_k. It has to be solved for: the inputs are not independent of each "
            "other.",
            "multiply": "It multiplies by the matrix. Multiply by its inverse: torch.linalg.solve.",
            "divide": "It divides by the diagonal alone. The whole matrix has to be inverted: torch.linalg.solve.",
            "elementwise": "It takes 1 divided by each number of the matrix. That is not the inverse matrix.",
            "sum": "w is Xᵀy itself. The matrix is not used.",
            "pooled": "It takes the mean of w over the tasks. Each task has its own.",
            "minus": "The sign is wrong.",
            "root": "It solves with the Cholesky factor once. That is half of the inverse: torch.cholesky_solve does "
            "both halves.",
            "last": "Only the last point is in Xᵀy.",
        },
    },
)
LINEAR_ANSWER_MISTAKES = single(_KNOWN_LINEAR)


def _examine_linear_answer(attempt: Callable) -> None:
    agree(
        attempt,
        name="linear_answer",
        cases=LINEAR_ANSWER_CASES,
        right=solutions.linear_answer,
        numbers=_tensor("the answers"),
        mistakes=_KNOWN_LINEAR,
        tolerance=1e-5,
    )


linear_answer = Exercise(
    answer=solutions.linear_answer,
    difficulty="easy",
    minutes=8,
    statement="Return the posterior mean of a linear function at the queries, from noisy points.",
    hints=(
        "Solve (XᵀX + σ² 1) w = Xᵀy for w, and multiply the queries by it.",
        "x.mT @ x is XᵀX of all tasks. torch.eye(n, dtype=x.dtype) is 1, with as many rows as x has dimensions.",
        "w = torch.linalg.solve(x.mT @ x + noise**2 * torch.eye(x.shape[-1], dtype=x.dtype), x.mT @ y); return "
        "query_x @ w.",
    ),
    cases=LINEAR_ANSWER_CASES,
    examine=_examine_linear_answer,
)
