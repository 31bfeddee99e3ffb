"""The exercises on training and on comparing trainings: fine-tune a layer, take a step, and compare two methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...analysis.paired import t_quantile
from ..kit.comparing import Case, Numbers, Wrong, agree, combined, describe, number, single
from ..kit.exercise import Exercise
from ..kit.training_step import STEP_MISTAKES, Embedding, take_step, taken_step
from . import solutions


def _shuffled_labels(ways: int, each: int, generator: torch.Generator) -> Tensor:
    """Return labels 0 … ways - 1, each of them `each` times, in random order."""
    order = torch.randperm(ways * each, generator=generator)
    return torch.arange(ways).repeat(each)[order]


# fine_tune


def _fine_tune_case(ways: int, shots: int, size: int, steps: int, lr: float) -> Case:
    def make() -> tuple[Tensor, Tensor, int, int, float]:
        generator = torch.Generator().manual_seed(ways)
        support_z = torch.randn(ways * shots, size, generator=generator, dtype=torch.float32).abs()
        return support_z, _shuffled_labels(ways, shots, generator), ways, steps, lr

    return Case(
        what=f"{ways} ways, {shots} shots, {steps} steps and lr={lr}",
        make=make,
        sizes={"the number of drawings": ways * shots, "the number of steps": steps, "lr": lr},
    )


FINE_TUNE_CASES = (_fine_tune_case(4, 3, 9, 7, 0.15), _fine_tune_case(5, 4, 32, 5, 0.04))


def _tuned(
    support_z: Tensor,
    support_y: Tensor,
    ways: int,
    steps: int,
    lr: float,
    *,
    loss: str = "mean",
    sign: int = -1,
    moved: str = "both",
    count: str = "steps",
    how: str = "plain",
    rows: str = "right",
) -> tuple[Tensor, Tensor]:
    """Return the trained layer, or what comes of the mistakes that the keywords name."""
    z = {
        "right": lambda: support_z,
        "unit": lambda: F.normalize(support_z, dim=1),
        "centred": lambda: support_z - support_z.mean(0),
    }.get(rows, lambda: support_z)()
    y = torch.arange(ways).repeat_interleave(len(support_y) // ways) if rows == "sorted" else support_y
    layer = [torch.zeros(z.shape[1], ways), torch.zeros(ways)]
    for part in layer:
        part.requires_grad_()
    optimizers: dict[str, Callable[[], torch.optim.Optimizer]] = {
        "adam": lambda: torch.optim.Adam(layer, lr),
        "momentum": lambda: torch.optim.SGD(layer, lr, momentum=0.9),
    }
    optimizer = optimizers.get(how, lambda: torch.optim.SGD(layer, lr))()
    times = {"steps": steps, "one": 1, "one less": steps - 1, "one more": steps + 1}[count]
    pieces = [slice(i, i + 1) for i in range(len(z))] if how == "one by one" else [slice(None)]
    for piece in pieces * times:
        if how != "accumulated":
            optimizer.zero_grad()
        (-sign * _loss_of(z[piece] @ layer[0] + layer[1], y[piece], ways, loss)).backward()
        if moved != "both":
            layer[1 if moved == "weight" else 0].grad = None
        optimizer.step()
    return layer[0].detach(), layer[1].detach()


def _loss_of(logits: Tensor, y: Tensor, ways: int, loss: str) -> Tensor:
    target = F.one_hot(y, ways).to(logits.dtype)
    return {
        "mean": lambda: F.cross_entropy(logits, y),
        "sum": lambda: F.cross_entropy(logits, y, reduction="sum"),
        "softmax twice": lambda: F.cross_entropy(logits.softmax(1), y),
        "mse": lambda: F.mse_loss(logits, target),
        "brier": lambda: F.mse_loss(logits.softmax(1), target),
        "bce": lambda: F.binary_cross_entropy_with_logits(logits, target),
        "probability": lambda: -(logits.softmax(1) * target).sum(1).mean(),
        "over numbers": lambda: F.cross_entropy(logits, y) / ways,
        "margin": lambda: F.multi_margin_loss(logits, y),
    }[loss]()


_EXACT = "The page asks for plain gradient descent on the mean cross-entropy."
_KNOWN_TUNED = combined(
    _tuned,
    {
        "loss": {
            "sum": "The loss is the sum over the support drawings, not their mean, so that a step becomes longer when "
            f"there are more of them. {_EXACT}",
            "softmax twice": "A softmax is applied before cross_entropy, which applies its own. The probabilities are "
            "then far too even, and so are the gradients. Hand the logits over as they are.",
            "mse": f"The loss is the squared difference of the logits and the one-hot labels. {_EXACT}",
            "brier": f"The loss is the squared difference of the probabilities and the one-hot labels. {_EXACT}",
            "bce": "The loss is a binary cross-entropy for each class by itself. The classes exclude one another, so "
            "one softmax over all of them belongs there: cross_entropy.",
            "probability": "The loss is minus the probability of the right class; its logarithm is missing. A drawing "
            "that is quite wrong then has almost no gradient.",
            "over numbers": "The loss is divided by the number of ways as well. cross_entropy takes the mean over the "
            "drawings already.",
            "margin": f"The loss is a margin loss, as of a support vector machine. {_EXACT}",
        },
        "sign": {
            1: "It climbs: the steps go along the gradient, so that the loss grows. Subtract lr times the gradient."
        },
        "moved": {
            "weight": "The bias stays at zero: only the weight is moved. Both belong to the layer.",
            "bias": "The weight stays at zero: only the bias is moved, and it knows nothing of the drawings.",
        },
        "count": {
            "one": "It takes a single step, however many `steps` asks for. Does the `return` stand inside the loop?",
            "one less": "It takes one step too few. Does the loop begin at 1?",
            "one more": "It takes one step too many. Does the loop run to `steps` inclusive?",
        },
        "how": {
            "adam": "The steps are those of Adam, which scales every number of the gradient by itself. " + _EXACT,
            "momentum": f"The steps carry a momentum of 0.9 from one to the next. {_EXACT}",
            "accumulated": "The gradients add up from step to step, because the old ones are not cleared: backward() "
            "adds to .grad. Call zero_grad() before it, or use torch.autograd.grad.",
            "one by one": "It takes a step for each drawing by itself. One step uses the mean loss of the whole "
            "support set.",
        },
        "rows": {
            "unit": "The embeddings are scaled to length 1 first. The layer should be trained on them as they are.",
            "centred": "The mean of all embeddings is subtracted first. The layer should be trained on them as they "
            "are, because the queries will come as they are.",
            "sorted": "It takes the rows to be sorted by class, and does not look at support_y. The rows may stand in "
            "any order.",
        },
    },
)
FINE_TUNE_MISTAKES = single(_KNOWN_TUNED)


def _layer(result: Any, arguments: tuple) -> Numbers:
    """Return the weight and the bias by name, and raise `Wrong` for what is no layer."""
    support_z, _support_y, ways, *_ = arguments
    size = support_z.shape[1]
    if not isinstance(result, tuple | list) or len(result) != 2 or not all(isinstance(p, Tensor) for p in result):
        raise Wrong(
            f"It should return two tensors, the weight [E, ways] and the bias [ways]; yours is {describe(result)}."
        )
    weight, bias = (part.detach() for part in result)
    if list(weight.shape) == [ways, size]:
        raise Wrong(
            "The weight is transposed: it has the shape [ways, E], as in torch.nn.Linear. The page asks for [E, ways], "
            "so that the logits are support_z @ weight + bias."
        )
    if list(weight.shape) == [ways] and list(bias.shape) == [size, ways]:
        raise Wrong("The bias comes first. The page asks for the weight, and then for the bias.")
    if list(weight.shape) == [len(support_z), ways]:
        raise Wrong(
            "The first tensor has a row for each support drawing. Are these the logits? The weight is [E, ways]."
        )
    for name, part, shape in (("weight", weight, [size, ways]), ("bias", bias, [ways])):
        if list(part.shape) != shape:
            raise Wrong(f"The {name} has the shape {list(part.shape)}; it should be {shape}.")
    return {"the weight": weight, "the bias": bias}


def _examine_fine_tune(attempt: Callable) -> None:
    torch.optim.SGD([torch.zeros(1)], lr=1.0)  # the first optimizer loads seconds of PyTorch, no fault of the answer
    agree(
        attempt,
        name="fine_tune",
        cases=FINE_TUNE_CASES,
        right=solutions.fine_tune,
        numbers=_layer,
        mistakes=_KNOWN_TUNED,
    )


fine_tune = Exercise(
    answer=solutions.fine_tune,
    difficulty="medium",
    minutes=10,
    statement=(
        "Train a linear layer on the embeddings of a support set, from zero, by plain gradient descent on the mean "
        "cross-entropy, and return its weight and its bias."
    ),
    hints=(
        "It is the loop that you know from training any network: compute the logits, the loss, its gradient, and move.",
        "weight = torch.zeros(support_z.shape[1], ways, requires_grad=True), a bias like it, and the logits are "
        "support_z @ weight + bias.",
        "torch.optim.SGD([weight, bias], lr=lr) is plain gradient descent: zero_grad(), backward(), step(), and that "
        "`steps` times.",
    ),
    cases=FINE_TUNE_CASES,
    examine=_examine_fine_tune,
)


# train_step


def _train_step_case(ways: int, shots: int, queries: int, side: int) -> Case:
    def make() -> tuple:
        generator = torch.Generator().manual_seed(ways)
        embed = Embedding(side * side, 2 * ways, height=0.7)
        sets = []
        for each in (shots, queries):
            y = _shuffled_labels(ways, each, generator)
            sets += [torch.rand(len(y), 1, side, side, generator=generator, dtype=torch.float32), y]
        return embed, torch.optim.SGD(embed.parameters(), lr=0.5), *sets, ways

    return Case(
        what=f"{ways} ways, {shots} shots and {queries} queries of each",
        make=make,
        sizes={"the number of ways": ways, "the number of queries": ways * queries},
    )


TRAIN_STEP_CASES = (_train_step_case(4, 3, 2, 5), _train_step_case(6, 1, 4, 7))


def _stepped(
    embed: Embedding,
    optimizer: torch.optim.Optimizer,
    support_x: Tensor,
    support_y: Tensor,
    query_x: Tensor,
    query_y: Tensor,
    ways: int,
    *,
    called: str = "once",
    asked: str = "query",
    logits: str = "right",
    reduction: str = "mean",
    **how: Any,
) -> Tensor:
    """Take the step, or do what the mistakes do that the keywords name, and return the loss."""

    def compute() -> Tensor:
        if called == "once":
            z = embed(torch.cat([support_x, query_x]))
            support_z, query_z = z[: len(support_x)], z[len(support_x) :]
        else:
            support_z, query_z = embed(support_x), embed(query_x)
        z, y = (support_z, support_y) if asked == "support" else (query_z, query_y)
        if asked == "both":
            z, y = torch.cat([support_z, query_z]), torch.cat([support_y, query_y])
        squared = -solutions.prototype_logits(support_z, support_y, z, ways)
        made = {
            "right": lambda: -squared,
            "sign": lambda: squared,
            "softmax": lambda: (-squared).softmax(1),
            "root": lambda: -(squared + 1e-12).sqrt(),
        }[logits]()
        if reduction == "one minus":
            return 1 - made.softmax(1).gather(1, y[:, None]).mean()
        return F.cross_entropy(made, y, reduction=reduction)

    return take_step(compute, optimizer, **how)


_KNOWN_STEPS = combined(
    _stepped,
    {
        "clear": STEP_MISTAKES["clear"],
        "called": {
            "apart": "Support and query drawings are embedded in two calls, so batch norm normalises each set by its "
            "own statistics, and a query is compared with prototypes that were measured on another scale. Embed "
            "them in one call.",
        },
        "asked": {
            "support": "The loss is that of the support drawings. Their distance to their own prototype is small "
            "whatever the network does, so it learns nothing for new drawings. The queries should be asked.",
            "both": "The loss is that of support and query drawings together. Only the queries should be asked, "
            "because the support drawings have made the prototypes themselves.",
        },
        "logits": {
            "sign": "The logits have the wrong sign, so that the farthest prototype wins, and training pushes the "
            "drawings of a class apart.",
            "softmax": "A softmax is applied before cross_entropy, which applies its own. The probabilities are then "
            "far too even.",
            "root": "The distances are not squared. prototype_logits returns the squared ones.",
        },
        "reduction": {
            "sum": "The loss is the sum over the queries, not their mean, so that the step becomes longer when there "
            "are more of them.",
            "one minus": "The loss is one minus the mean probability of the right class. The page asks for the mean "
            "cross-entropy, which has a logarithm.",
        },
        "step": STEP_MISTAKES["step"],
        "returned": STEP_MISTAKES["returned"],
    },
)
_CUT = [
    (
        f"No gradient flows through the {name} embeddings, so the network learns only by the other ones. Look for "
        "no_grad, detach, data or a new tensor.",
        lambda *arguments, called=called: _cut(*arguments, called=called),
    )
    for name, called in (("support", "support cut"), ("query", "query cut"))
]


def _cut(embed: Embedding, optimizer: torch.optim.Optimizer, *rest: Any, called: str) -> Tensor:
    """Take a step in which no gradient flows through one of the two sets, which are embedded in one call."""
    support_x, support_y, query_x, query_y, ways = rest
    z = embed(torch.cat([support_x, query_x]))
    support_z, query_z = z[: len(support_x)], z[len(support_x) :]
    if called == "support cut":
        support_z = support_z.detach()
    else:
        query_z = query_z.detach()
    loss = F.cross_entropy(solutions.prototype_logits(support_z, support_y, query_z, ways), query_y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


TRAIN_STEP_MISTAKES = [*single(_KNOWN_STEPS), *_CUT]


def _examine_train_step(attempt: Callable) -> None:
    agree(
        attempt,
        name="train_step",
        cases=TRAIN_STEP_CASES,
        right=solutions.train_step,
        numbers=taken_step,
        mistakes=[*TRAIN_STEP_MISTAKES, *_KNOWN_STEPS],
    )


train_step = Exercise(
    answer=solutions.train_step,
    difficulty="medium",
    minutes=10,
    statement=(
        "Embed an episode's drawings in one call, take the mean cross-entropy of its queries, let the optimizer take "
        "one step on it, and return this loss as a number."
    ),
    hints=(
        "In order: embed, split into support and query, logits, loss; then the three lines that end every training "
        "step in PyTorch.",
        "z = embed(torch.cat([support_x, query_x])) embeds all drawings in one call. The first len(support_x) rows of "
        "z are the support embeddings.",
        "loss = torch.nn.functional.cross_entropy(prototype_logits(…), query_y), then optimizer.zero_grad(), "
        "loss.backward(), optimizer.step(), and return loss.item().",
    ),
    cases=TRAIN_STEP_CASES,
    examine=_examine_train_step,
)


# paired_difference


def student() -> Tensor:
    """Return a table [11]: entry k is the 97.5 % quantile of Student's t with k degrees of freedom; for 0, infinity.

    It has three decimals, as tables in books have, so that who looks a number up gets the same result.
    """
    quantiles = (round(t_quantile(0.975, k), 3) for k in range(1, 11))
    return torch.tensor([torch.inf, *quantiles], dtype=torch.float64)


def _paired_difference_case(seeds: int, gap: float) -> Case:
    def make() -> tuple[Tensor, Tensor, Tensor]:
        generator = torch.Generator().manual_seed(10 * seeds)
        draw = torch.rand(3, seeds, generator=generator, dtype=torch.float64)
        common = 0.8 + 0.1 * draw[0]  # both methods have good and bad seeds together
        return common + gap + 0.03 * draw[1] ** 2, common - 0.03 * draw[2], student()

    return Case(what=f"{seeds} seeds", make=make, sizes={"the number of seeds": seeds})


PAIRED_DIFFERENCE_CASES = (_paired_difference_case(5, 0.01), _paired_difference_case(8, -0.02))


def _paired(
    a: Tensor,
    b: Tensor,
    student: Tensor,
    *,
    centre: str = "mean",
    spread: str = "paired",
    divisor: str = "root",
    quantile: str = "S - 1",
    order: str = "right",
) -> tuple[Tensor, Tensor]:
    """Return the difference and the half width, or what comes of the mistakes that the keywords name."""
    d, seeds = a - b, len(a)
    middle = {
        "mean": lambda: d.mean(),
        "reversed": lambda: -d.mean(),
        "absolute": lambda: d.abs().mean(),
        "median": lambda: d.median(),
        "first": lambda: a[0] - b[0],
        "sum": lambda: d.sum(),
        "ratio": lambda: a.mean() / b.mean(),
        "relative": lambda: (a.mean() - b.mean()) / b.mean(),
        "best": lambda: a.max() - b.max(),
        "of a": lambda: a.mean(),
    }[centre]()
    s = {
        "paired": lambda: d.std(),
        "E": lambda: d.std(correction=0),
        "variance": lambda: d.var(),
        "unpaired": lambda: (a.var() + b.var()).sqrt(),
        "sum of both": lambda: a.std() + b.std(),
        "of a": lambda: a.std(),
        "of b": lambda: b.std(),
        "of all": lambda: torch.cat([a, b]).std(),
        "difference": lambda: (a.std() - b.std()).abs(),
        "range": lambda: d.max() - d.min(),
        "of absolute": lambda: d.abs().std(),
    }[spread]()
    t = {
        "S - 1": lambda: student[seeds - 1],
        "S": lambda: student[seeds],
        "S - 2": lambda: student[seeds - 2],
        "normal": lambda: 1.96,
        "last": lambda: student[-1],
        "first": lambda: student[1],
        "one": lambda: 1.0,
        "both": lambda: 2 * student[seeds - 1],
    }[quantile]()
    n = {"root": seeds**0.5, "one": 1.0, "S": seeds, "root of S - 1": (seeds - 1) ** 0.5, "of both": (2 * seeds) ** 0.5}
    half = torch.as_tensor(t * s / n[divisor])
    orders: dict[str, tuple[Tensor, Tensor]] = {
        "right": (middle, half),
        "swapped": (half, middle),
        "ends": (middle - half, middle + half),
        "percent": (100 * middle, 100 * half),
    }
    return orders[order]


_T = "The half width is t s / √S, with t for S - 1 degrees of freedom."
_KNOWN_PAIRED = combined(
    _paired,
    {
        "centre": {
            "reversed": "The difference has the wrong sign: it is b - a. Above 0 should mean that a is better.",
            "absolute": "The absolute differences are averaged, so two equal methods would seem to differ. A seed on "
            "which b is better should count against a.",
            "median": "The first number is the median difference. The interval belongs to the mean.",
            "first": "Only the first seed counts. The mean over all seeds is asked for.",
            "sum": "The first number is the sum of the differences; the division by the number of seeds is missing.",
            "ratio": "The first number is a ratio. The page asks for the difference a - b.",
            "relative": "The first number is a relative difference. The page asks for a - b itself.",
            "best": "The first number compares the best seeds. The best of several is a lucky one; compare the means.",
            "of a": "The first number is the mean of a. The mean of a - b is asked for.",
        },
        "spread": {
            "E": "The standard deviation divides by S, not by S - 1. With so few seeds that makes it too small, and "
            "Student's t counts on S - 1.",
            "variance": f"The half width is made of the variance. Its root is s. {_T}",
            "unpaired": "It adds the variances of both methods, as for seeds that have nothing in common. But both "
            "methods were trained with the same seeds, so take the difference seed by seed first.",
            "sum of both": "It adds the two standard deviations. Take the difference seed by seed first, and then its "
            "standard deviation.",
            "of a": "The half width is that of a alone. The interval belongs to the difference.",
            "of b": "The half width is that of b alone. The interval belongs to the difference.",
            "of all": "It takes the spread of all accuracies together, as if both methods were one. Take the "
            "difference seed by seed first.",
            "difference": "It subtracts the two standard deviations. The standard deviation of the differences is "
            "another number: take the difference seed by seed first.",
            "range": f"It takes the range of the differences for s, which grows with the number of seeds. {_T}",
            "of absolute": "It takes the spread of the absolute differences. Their signs belong to them.",
        },
        "divisor": {
            "one": "The division by √S is missing. This is the spread of single seeds; a mean of S of them is surer.",
            "S": f"It divides by S, not by its root. {_T}",
            "root of S - 1": f"It divides by √(S - 1). The standard deviation counts on S - 1 already. {_T}",
            "of both": "It divides by √(2S), as if there were twice as many differences. There is one for each seed.",
        },
        "quantile": {
            "S": f"It takes t for S degrees of freedom. {_T} One is used up by the mean.",
            "S - 2": f"It takes t for S - 2 degrees of freedom. {_T}",
            "normal": "It takes 1.96, which holds for hundreds of values. With so few seeds the standard deviation is "
            f"itself uncertain, and the interval has to be wider. {_T}",
            "last": f"It takes the last entry of the table, whatever the number of seeds is. {_T}",
            "first": f"It takes t for one degree of freedom, whatever the number of seeds is. {_T}",
            "one": f"The factor t is missing, so this is the standard error. {_T}",
            "both": "This is the whole width of the interval. The half width is asked for.",
        },
        "order": {
            "swapped": "The two numbers are exchanged: the difference comes first.",
            "ends": "These are the two ends of the interval. The page asks for its middle and for half its width.",
            "percent": "These are percentages. The unit should be that of the accuracies.",
        },
    },
)
PAIRED_DIFFERENCE_MISTAKES = single(_KNOWN_PAIRED)


def _pair(result: Any, _arguments: tuple) -> Numbers:
    """Return the difference and the half width by name, and raise `Wrong` for what are not two numbers."""
    if isinstance(result, Tensor) and result.dim() == 1:
        result = list(result)
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Wrong(
            f"It should return two numbers, the mean difference and the half width; yours is {describe(result)}."
        )
    names = ("the difference", "the half width")
    return {
        name: torch.tensor(number(part, name.capitalize()), dtype=torch.float64)
        for name, part in zip(names, result, strict=True)
    }


def _examine_paired_difference(attempt: Callable) -> None:
    agree(
        attempt,
        name="paired_difference",
        cases=PAIRED_DIFFERENCE_CASES,
        right=solutions.paired_difference,
        numbers=_pair,
        mistakes=_KNOWN_PAIRED,
        tolerance=3e-5,
    )


paired_difference = Exercise(
    answer=solutions.paired_difference,
    difficulty="easy",
    minutes=5,
    statement=(
        "From the accuracies of two methods that were trained with the same S seeds, compute the mean difference and "
        "half the width of its 95 % confidence interval, by Student's t."
    ),
    hints=(
        "Seed by seed, how much better is a than b? You then have S numbers, and one question: how sure is their mean?",
        "That is Exercise 2 again, with the differences in place of the accuracies, and with Student's t in place of "
        "1.96.",
        "student[k] is t for k degrees of freedom, and S values have S - 1: student[len(a) - 1] * (a - b).std() / "
        "len(a) ** 0.5.",
    ),
    cases=PAIRED_DIFFERENCE_CASES,
    examine=_examine_paired_difference,
)
