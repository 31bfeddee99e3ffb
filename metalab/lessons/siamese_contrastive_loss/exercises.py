"""The exercises of the Siamese lesson: pairs, the contrastive loss, a step of training, one-shot answers, triplets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..kit.comparing import (
    Case,
    Misconception,
    Numbers,
    Trial,
    Wrong,
    agree,
    call_in,
    combined,
    compare,
    describe,
    with_help,
)
from ..kit.exercise import Exercise
from . import solutions
from .training import HARDEST_TRIPLETS_MISTAKES as HARDEST_TRIPLETS_MISTAKES
from .training import TRAIN_ON_GROUP_MISTAKES as TRAIN_ON_GROUP_MISTAKES
from .training import hardest_triplets as hardest_triplets
from .training import train_on_group as train_on_group

__all__ = ["contrastive_loss", "draw_pairs", "hardest_triplets", "one_shot_answers", "train_on_group"]


# What the checks share


def _distinct(
    mistakes: Sequence[Misconception], right: Callable, cases: Sequence[Case], numbers: Callable
) -> list[Misconception]:
    """Leave out each mistake whose numbers are right, or are those of a mistake before it: nobody could tell them."""
    kept, seen = [], set()
    for message, function in [("", right), *mistakes]:
        made = [(function(*arguments), arguments) for arguments in (case.make() for case in cases)]
        values = [value for result in made for named in numbers(*result).values() for value in named.flatten().tolist()]
        key = tuple("nan" if math.isnan(value) else str(round(value * 937.1, 0)) for value in values)
        if key not in seen:
            seen.add(key)
            kept.append((message, function))
    return kept[1:]


# contrastive_loss


def _pairs_at(distances: list[float], same: str, margin: float) -> tuple[Tensor, Tensor, float]:
    """Return the arguments for pairs at these distances. The pairs of one character are marked 1 in `same`."""
    return torch.tensor(distances).requires_grad_(), torch.tensor([mark == "1" for mark in same]), margin


# Each case has pairs of both kinds within the margin and beyond it, and in one case two characters coincide. The margin
# is not 1, because then m² would be m.
CONTRASTIVE_LOSS_CASES = (
    Case(
        what="9 pairs and a margin of 1.5",
        make=lambda: _pairs_at([0.3, 1.9, 0.8, 0.0, 2.6, 1.1, 1.3, 0.5, 0.6], "110001011", 1.5),
        sizes={"the number of pairs": 9, "the margin": 1.5},
    ),
    Case(
        what="7 pairs and a margin of 0.7",
        make=lambda: _pairs_at([0.9, 0.4, 0.1, 0.25, 0.15, 1.2, 0.45], "0100110", 0.7),
        sizes={"the number of pairs": 7, "the margin": 0.7},
    ),
)
SAME, DIFFERENT = "the loss of same pairs", "the loss of different pairs"


def _losses(result: Any, arguments: tuple[Tensor, Tensor, float]) -> Numbers:
    """Return the losses of either kind of pair, each as [B] with 0 for the pairs of the other kind."""
    distance, same, _margin = arguments
    count = len(distance)
    if not isinstance(result, Tensor):
        raise Wrong(f"It should return one tensor with the loss of each pair, [B]; yours is {describe(result)}.")
    if result.numel() == 1 < count:
        raise Wrong(
            "It returns one number for the whole batch, not the loss of each pair. The lesson weighs the two kinds of "
            "pairs and looks for the worst ones, which a mean or a sum hides. Leave the reduction to the caller."
        )
    shape = list(result.shape)
    if shape != [count]:
        raise Wrong(f"With {count} pairs, the loss has the shape {shape}; it should be [{count}]. {_why(shape, same)}")
    if not result.is_floating_point() or torch.finfo(result.dtype).bits < 32:
        raise Wrong(
            f"The losses have the dtype {result.dtype}, which cannot hold them exactly. They should be as precise as "
            "the distances: look for int(), long(), half(), or a comparison whose True and False were returned."
        )
    loss = result.detach()
    nothing = torch.zeros_like(loss)
    return {SAME: torch.where(same, loss, nothing), DIFFERENT: torch.where(same, nothing, loss)}


def _why(shape: list[int], same: Tensor) -> str:
    count, alike = len(same), int(same.sum())
    if shape == [count, count]:
        return f"A tensor [{count}, 1] next to one of shape [{count}] gives [{count}, {count}]."
    if shape in ([2, count], [count, 2]):
        return "Each pair has one loss: the first term if it is of one character, and the second term if it is of two."
    if shape in ([alike], [count - alike]):
        kind = "one character" if shape == [alike] else "two characters"
        return f"There are {shape[0]} pairs of {kind}. Where are the losses of the others?"
    return "Each pair has one loss, in the order of the pairs."


def _gap(d: Tensor, m: float) -> Tensor:
    """Return how much the distance falls short of the margin, and 0 beyond it."""
    return (m - d).relu()


# What can stand where a right loss has d², max(0, m - d)², their weights y and 1 - y, and the whole.
_FIRST = {
    "d²": lambda d, m: d**2,
    "d": lambda d, m: d,
    "2d": lambda d, m: 2 * d,
    "d⁴": lambda d, m: d**4,
    "d²/2": lambda d, m: d**2 / 2,
    "√d": lambda d, m: d.sqrt(),
    "d³": lambda d, m: d**3,
    "min(d, m)²": lambda d, m: d.clamp(max=m) ** 2,
    "d - m": lambda d, m: (d - m).relu() ** 2,
}
_SECOND = {
    "(m - d)²": lambda d, m: _gap(d, m) ** 2,
    "no hinge": lambda d, m: (m - d) ** 2,
    "m - d": _gap,
    "neither": lambda d, m: m - d,
    "|m - d|": lambda d, m: (m - d).abs(),
    "2(m - d)": lambda d, m: 2 * _gap(d, m),
    "(m - d)³": lambda d, m: _gap(d, m) ** 3,
    "(m - d)⁴": lambda d, m: _gap(d, m) ** 4,
    "half": lambda d, m: _gap(d, m) ** 2 / 2,
    "m² - d²": lambda d, m: (m**2 - d**2).relu(),
    "m - d²": lambda d, m: (m - d**2).relu(),
    "(m - d²)²": lambda d, m: (m - d**2).relu() ** 2,
    "(m² - d²)²": lambda d, m: (m**2 - d**2).relu() ** 2,
    "(m² - d)²": lambda d, m: _gap(d, m**2) ** 2,
    "(2m - d)²": lambda d, m: _gap(d, 2 * m) ** 2,
    "(m/2 - d)²": lambda d, m: _gap(d, m / 2) ** 2,
    "(d - m)²": lambda d, m: (d - m).relu() ** 2,
    "d - m": lambda d, m: (d - m).relu(),
    "m + d": lambda d, m: (m + d) ** 2,
    "m²": lambda d, m: torch.full_like(d, m * m),
    "smooth": lambda d, m: F.softplus(m - d) ** 2,
    "count": lambda d, m: (d < m).float(),
    "batch": lambda d, m: _gap(d, m).max().expand_as(d) ** 2,
}
_KINDS = {  # the weights of the two terms, from y
    "right": lambda y: (y, 1 - y),
    "flipped": lambda y: (1 - y, y),
    "minus": lambda y: (y, y - 1),
    "±1": lambda y: (2 * y - 1, 2 - 2 * y),
    "±1 in the first": lambda y: (2 * y - 1, 1 - y),
    "~int": lambda y: (y, -1 - y),
    "both": lambda y: (y * 0 + 1, y * 0 + 1),
    "first for all": lambda y: (y * 0 + 1, 1 - y),
    "second for all": lambda y: (y, y * 0 + 1),
    "both or none": lambda y: (y, y),
    "none or both": lambda y: (1 - y, 1 - y),
    "only first": lambda y: (y, y * 0),
    "only second": lambda y: (y * 0, 1 - y),
    "d² for all": lambda y: (y * 0 + 1, y * 0),
    "hinge for all": lambda y: (y * 0, y * 0 + 1),
}
_WHOLE = {
    "right": lambda loss, y: loss,
    "half": lambda loss, y: loss / 2,
    "mean": lambda loss, y: loss / len(y),
    "mean of its kind": lambda loss, y: loss / torch.where(y == 1, y.sum(), (1 - y).sum()),
}


def _bent_loss(
    distance: Tensor,
    same: Tensor,
    margin: float,
    *,
    first: str = "d²",
    second: str = "(m - d)²",
    kinds: str = "right",
    whole: str = "right",
) -> Tensor:
    """Return the contrastive loss [B], in which some parts may be wrong."""
    distance, y = distance.detach(), same.float()
    of_first, of_second = _KINDS[kinds](y)
    loss = of_first * _FIRST[first](distance, margin) + of_second * _SECOND[second](distance, margin)
    return _WHOLE[whole](loss, y)


_SEVERAL_PARTS: list[Misconception] = [
    (
        "This is the formula as Hadsell, Chopra & LeCun (2006) print it, with Y = 0 for a similar pair and ½ before "
        "both terms. Here y = 1 means one character, so a network would learn the opposite. Put 1 - y for Y, without "
        "½.",
        partial(_bent_loss, kinds="flipped", whole="half"),
    ),
    (
        "Nothing is squared, or a root undoes the squares. The pull on a pair is then as strong when it nearly "
        "coincides as when it is far apart, so training never comes to rest. Square the distance, and the gap to the "
        "margin.",
        partial(_bent_loss, first="d", second="m - d"),
    ),
    (
        "Two things are wrong. First: The convention is flipped: y = 1 means one character, and such pairs are pushed "
        "apart. Second: Nothing is squared, neither the distance nor the gap to the margin.",
        partial(_bent_loss, kinds="flipped", first="d", second="m - d"),
    ),
    (
        "The label is a sign inside the hinge, ±1, as in the loss of a classifier. Here y = 1 or 0 chooses one of two "
        "terms: d² for one character, and max(0, m - d)² for two.",
        lambda d, same, m: (m - torch.where(same, 1, -1) * d).relu().detach() ** 2,
    ),
    (
        "The label is a sign inside the hinge, ±1, as in the loss of a classifier, and nothing is squared. Here y = 1 "
        "or 0 chooses one of two terms: d² for one character, and max(0, m - d)² for two.",
        lambda d, same, m: (m - torch.where(same, 1, -1) * d).relu().detach(),
    ),
    (
        "Both terms have the third power. Where does the formula have a power, and which one?",
        partial(_bent_loss, first="d³", second="(m - d)³"),
    ),
    (
        "Both terms are doubled where they should be squared: 2d in place of d², and 2 max(0, m - d) in place of "
        "max(0, m - d)². The square is ** 2.",
        partial(_bent_loss, first="2d", second="2(m - d)"),
    ),
    (
        "Both terms are squared once too often: they have the fourth power. `distance` is d itself, not d².",
        partial(_bent_loss, first="d⁴", second="(m - d)⁴"),
    ),
    (
        "It treats `distance` as if it were d² already: the first term is d, and the second is max(0, m - √d)². But "
        "`distance` is d itself.",
        lambda d, same, m: torch.where(same, d, _gap(d.sqrt(), m) ** 2).detach(),
    ),
    (
        "The hinge is on the wrong term: drawings of one character are pulled together only as far as the margin, "
        "and two characters are pulled back to it. Which of the two kinds should be left alone beyond the margin?",
        partial(_bent_loss, first="d - m", second="no hinge"),
    ),
    (
        "The loss of every pair is 0. That happens, for example, when the two terms are multiplied: for each pair one "
        "of the weights y and 1 - y is 0. The terms are added.",
        lambda d, same, m: 0 * d.detach(),
    ),
    (
        "These are the distances that it was given, not the losses. Which of the two terms does each pair have?",
        lambda d, same, m: d.detach(),
    ),
]
# Mistakes that may come in pairs, and mistakes that would hide another one or rarely meet one.
_LIKELY = {
    "kinds": {
        "flipped": (
            "The convention is flipped: pairs of one character are pushed apart, and pairs of two are pulled together. "
            "The original paper writes Y = 0 for a similar pair; here same is True, y = 1, for one character. Which "
            "term does y belong to?"
        ),
        "minus": (
            "The second term is subtracted. The loss then sinks, even below zero, when two characters come closer, so "
            "all embeddings would fall into one point. Which sign stands between the terms?"
        ),
        "both": (
            "It adds both terms for every pair. Each pair should have only one of them: pairs of one character are "
            "not to be pushed apart, and pairs of two are not to be pulled together. What do y and 1 - y do in the "
            "formula?"
        ),
    },
    "first": {
        "d": (
            "The distance of a pair of one character is not squared. All such pairs are then pulled equally hard, "
            "however close they are already. Which power does d have in the first term?"
        ),
        "2d": "In the first term, the distance is doubled where it should be squared: 2d in place of d².",
        "d²/2": (
            "The first term has a factor ½. The original paper has it before both terms; the formula in this lesson "
            "has none, so that the numbers can be compared. Leave it out."
        ),
    },
    "second": {
        "no hinge": (
            "The hinge is missing: two characters that are farther apart than the margin are pulled back to it. A "
            "square is never negative, so a max(0, ·) or an absolute value around it changes nothing. What must be "
            "cut off at 0 before it is squared?"
        ),
        "m - d": (
            "The gap to the margin is not squared. A pair of two characters just short of the margin is then pushed "
            "as hard as one that coincides. Which power does the second term have?"
        ),
        "neither": (
            "The second term is m - d, with neither the hinge nor the square. Beyond the margin it is negative, so "
            "that pushing two characters farther and farther apart always pays."
        ),
        "m² - d²": (
            "The squares are inside the hinge: max(0, m² - d²) in place of max(0, m - d)². Where two embeddings "
            "coincide its slope is 0, so the pairs that most need it are not pushed apart. Subtract first, square last."
        ),
        "m - d²": (
            "It takes the margin from the squared distance: max(0, m - d²) in place of max(0, m - d)². The margin is "
            "then no distance any more, and where two embeddings coincide nothing pushes them apart. Subtract first, "
            "square last."
        ),
        "(m - d²)²": (
            "The distance is squared once too often: max(0, m - d²)² in place of max(0, m - d)². The margin is then no "
            "distance any more, and where two embeddings coincide nothing pushes them apart. Compare the margin with "
            "d itself."
        ),
        "(d - m)²": (
            "The hinge is turned around: two characters are punished for being farther apart than the margin, and not "
            "for being nearer. The embedding would shrink to a point, where this loss is 0. Which difference is "
            "positive when a pair is too near?"
        ),
        "half": (
            "The second term has a factor ½. The original paper has it before both terms; the formula in this lesson "
            "has none, so that the numbers can be compared. Leave it out."
        ),
        "|m - d|": (
            "The second term is |m - d|: it lacks the hinge and the square. An absolute value punishes two characters "
            "beyond the margin as well. Cut m - d off at 0, then square."
        ),
    },
    "whole": {
        "half": (
            "There is a factor ½ before both terms, as in Hadsell, Chopra & LeCun (2006). It only halves the learning "
            "rate, so nothing is lost, but the numbers do not compare with this lesson's. Leave it out."
        ),
        "mean": (
            "Each loss is divided by the number of pairs, as for a mean. What is asked for is the loss of each pair; "
            "the caller takes the mean."
        ),
    },
}
_RARE = {
    "kinds": {
        "±1": (
            "It gives pairs of two characters the weight -1 in the first term and 2 in the second, as when y is -1 for "
            "them. Here y = 0 for two characters, so that each pair has one term. Is y same.float()?"
        ),
        "~int": (
            "It gives the second term the weights -1 and -2, which is what ~y is for the whole numbers 0 and 1. The "
            "loss then rewards two characters for lying together. Use ~ while same is still bool, or write 1 - y."
        ),
        "first for all": (
            "The first term counts for every pair, so two different characters are pulled together as well as pushed "
            "apart. Only pairs of one character should have it. Where does the formula have y?"
        ),
        "second for all": (
            "The second term counts for every pair, so drawings of one character are pushed apart as well as pulled "
            "together. Only pairs of two characters should have it. Where does the formula have 1 - y?"
        ),
        "both or none": (
            "Pairs of one character have both terms, and pairs of two characters have none. One of the weights "
            "should be y and the other one 1 - y."
        ),
        "none or both": (
            "Pairs of two characters have both terms, and pairs of one character have none. One of the weights "
            "should be y and the other one 1 - y."
        ),
        "only first": (
            "Only pairs of one character count; the second term is missing. The best embedding is then a single point "
            "for all drawings, with a loss of 0. What keeps different characters apart?"
        ),
        "only second": (
            "Only pairs of two characters count; the first term is missing. Any embedding that spreads far enough has "
            "a loss of 0, though it scatters each character as well. What holds a character together?"
        ),
        "d² for all": (
            "Every pair has the first term, whether it is of one character or of two. Everything would be pulled into "
            "one point. `same` has to choose the term for each pair separately."
        ),
        "hinge for all": (
            "Every pair has the second term, whether it is of one character or of two. Everything would be pushed "
            "apart. `same` has to choose the term for each pair separately."
        ),
        "±1 in the first": (
            "Pairs of two characters have -d² next to their own term, as when y is -1 for them. Here y = 0 for two "
            "characters, so that each pair has one term. Is y same.float()?"
        ),
    },
    "first": {
        "d⁴": "In the first term, the distance is squared twice: d⁴ in place of d². `distance` is d itself, not d².",
        "d - m": (
            "The first term has a hinge: drawings of one character may lie as far apart as the margin without any "
            "pull, which is where two characters may begin to lie. No threshold then separates them well. The first "
            "term is d² alone."
        ),
        "√d": "In the first term, d has the power ½: it is a root and not a square.",
        "d³": "In the first term, d has the third power. It should have the second one.",
        "min(d, m)²": (
            "The first term is cut off at the margin: it is m² beyond it, so drawings of one character that lie "
            "farther apart than that are not pulled together. The first term is d² at every distance."
        ),
    },
    "second": {
        "2(m - d)": "In the second term, the gap to the margin is doubled where it should be squared.",
        "(m - d)⁴": "In the second term, the gap to the margin is squared twice: it has the fourth power.",
        "(m² - d²)²": (
            "The margin and the distance are squared once too often: max(0, m² - d²)² in place of max(0, m - d)². "
            "Where two embeddings coincide its slope is 0. Subtract first, square last."
        ),
        "d - m": (
            "The second term is max(0, d - m): the hinge is turned around, and its square is missing. Two characters "
            "are punished for being farther apart than the margin, and not for being nearer."
        ),
        "m + d": (
            "The second term is (m + d)²: the distance is added to the margin. It should be subtracted, so that the "
            "term gets smaller as two characters move apart."
        ),
        "m²": (
            "The second term is m² at every distance, so nothing moves two characters apart. It should be the gap "
            "m - d, cut off at 0 and squared. Is 0 the bound of your hinge?"
        ),
        "smooth": (
            "The hinge is a softplus, which is above 0 at every distance. Two characters are then pushed on beyond "
            "the margin. The formula has max(0, ·), which is exactly 0 there."
        ),
        "count": (
            "The second term is 1 for each pair of two characters within the margin, and 0 beyond it. A count has no "
            "slope, so nothing pushes. It should be the gap m - d, squared."
        ),
        "batch": (
            "The second term is the same for all pairs: that of the pair with the largest gap to the margin. A maximum "
            "was taken over the batch. Compare each pair's gap with 0."
        ),
        "(m - d)³": "In the second term, the gap to the margin has the third power. It should have the second one.",
        "(m² - d)²": (
            "The margin is squared before the distance is subtracted: max(0, m² - d)². Only the gap m - d is squared."
        ),
        "(2m - d)²": "The margin is doubled: max(0, 2m - d)². Two characters are to be pushed as far apart as m.",
        "(m/2 - d)²": "The margin is halved: max(0, m/2 - d)². Two characters are to be pushed as far apart as m.",
    },
    "whole": {
        "mean of its kind": (
            "Each loss is divided by the number of pairs of its kind. Such a balance is a good idea for a mean, but "
            "what is asked for is the loss of each pair by itself."
        ),
    },
}

_ALONE = [mistake for part, values in _RARE.items() for mistake in combined(_bent_loss, {part: values})]

CONTRASTIVE_LOSS_MISTAKES = _distinct(
    [*_SEVERAL_PARTS, *_ALONE, *combined(_bent_loss, _LIKELY)],
    solutions.contrastive_loss,
    CONTRASTIVE_LOSS_CASES,
    _losses,
)

_HELP_WITH_THE_LOSS = {
    "bool tensor": (
        "That is because `same` holds True and False, which torch does not subtract. Take y = same.float() and 1 - y, "
        "or ~same for the other kind."
    ),
    "(operator.invert)": "For numbers the opposite of y is 1 - y. Only a bool tensor has ~.",
    "bitwise_not": "For numbers the opposite of y is 1 - y. Only a bool tensor has ~.",
    "is ambiguous": (
        "That is because Python's `if`, `not`, `and`, `max` and `min` want one answer, and here every pair has its "
        "own. For whole tensors there are torch.where(same, a, b) and a.clamp(min=0)."
    ),
    "max() received an invalid": "torch.max compares two tensors, and 0 is none. Take a.clamp(min=0) or torch.relu(a).",
    "maximum(): argument": "torch.maximum compares two tensors, and 0 is none. Take a.clamp(min=0) or torch.relu(a).",
    "Can't call numpy()": (
        "The losses must be computed with torch from beginning to end, because numpy knows no gradients, and the "
        "network learns from the gradient of the loss. torch.where does what numpy.where does."
    ),
    "torch.return_types.max": (
        "torch.max(a, 0) does not compare with 0: it takes the maximum along dimension 0. Take a.clamp(min=0) or "
        "torch.relu(a)."
    ),
    "a leaf Variable that requires grad": (
        "A tensor that requires a gradient cannot be changed in place, whether it is `distance` itself or was made "
        "with requires_grad=True. Make a new tensor, for example with torch.where or torch.zeros_like."
    ),
    "cannot be converted to Scalar": "There is one number for each pair, and item() is for a single number.",
    "only one element tensors": "There is one number for each pair, and float() is for a single number.",
}


def _observations(attempt: Callable) -> list[Misconception]:
    """Return what can be seen in losses that no known mistake gives, by calling the function with other arguments.

    Each observation comes with a function that returns the reader's own losses if the observation holds.
    """

    def called(distance: Tensor, same: Tensor, margin: float) -> Tensor:
        """Return the reader's losses, or -inf if they are of no use."""
        try:
            losses = attempt(distance, same, margin)
        except Wrong:
            return torch.full_like(distance, -math.inf)
        useful = isinstance(losses, Tensor) and losses.numel() == len(distance) and bool(losses.isfinite().all())
        return losses.detach().flatten() if useful else torch.full_like(distance, -math.inf)

    def in_another_order(distance: Tensor, same: Tensor, margin: float) -> Tensor:
        losses, right = called(distance, same, margin), solutions.contrastive_loss(distance, same, margin)
        equal = torch.allclose(losses.sort().values, right.sort().values.to(losses.dtype), atol=1e-5)
        return losses if equal else torch.full_like(distance, -math.inf)

    def other_alone(distance: Tensor, same: Tensor, margin: float) -> Tensor:
        losses = called(distance, same, margin)
        alone = [called(d, y, margin) for d, y in zip(distance.split(1), same.split(1), strict=True)]
        equal = torch.allclose(losses, torch.cat(alone).to(losses.dtype), atol=1e-5)
        return losses if not equal else torch.full_like(distance, -math.inf)

    def wrong_beyond_the_margin(distance: Tensor, same: Tensor, margin: float) -> Tensor:
        right = solutions.contrastive_loss(distance, same, margin)
        return torch.where(~same & (distance > margin), called(distance, same, margin), right.double())

    def off_by_a_constant(distance: Tensor, same: Tensor, margin: float) -> Tensor:
        losses, right = called(distance, same, margin), solutions.contrastive_loss(distance, same, margin)
        return right + (losses - right).mean()

    return [
        (
            "The losses are right, except for pairs of two characters beyond the margin. There the loss should be "
            "exactly 0, so that nothing moves such a pair. Does something stand in place of max(0, ·)?",
            wrong_beyond_the_margin,
        ),
        (
            "Every loss is off by the same amount. Is something added to the losses that the formula does not have?",
            off_by_a_constant,
        ),
        (
            "The losses are right, but they do not stand in the order of the pairs, as happens when the pairs of one "
            "kind come first. Nobody can tell any more which loss belongs to which pair.",
            in_another_order,
        ),
        (
            "The losses stay the same when `same` is turned round, so it makes no difference of which kind a pair is. "
            "Each kind should have its own term. Which argument chooses between them?",
            lambda d, same, m: called(d, ~same, m),
        ),
        (
            "The margin that it is given makes no difference to the losses. The slider below would move nothing. Is "
            "there a fixed number in its place, or is the second term missing?",
            lambda d, same, m: called(d, same, m + 1),
        ),
        (
            "The loss of a pair depends on the other pairs of its batch: alone, a pair has another loss. Is there a "
            "sum, a mean, a maximum or an index over the batch where each pair should be by itself?",
            other_alone,
        ),
    ]


def _examine_contrastive_loss(attempt: Callable) -> None:
    called = agree(
        with_help(attempt, _HELP_WITH_THE_LOSS),
        name="contrastive_loss",
        cases=CONTRASTIVE_LOSS_CASES,
        right=solutions.contrastive_loss,
        numbers=_losses,
        mistakes=[*CONTRASTIVE_LOSS_MISTAKES, *_observations(attempt)],
        tolerance=1e-5,
    )
    for arguments, loss in called:
        _expect_slopes(loss, arguments)
    _expect_the_panel_to_work(attempt)


def _expect_slopes(loss: Tensor, arguments: tuple[Tensor, Tensor, float]) -> None:
    """Raise `Wrong` unless the gradient that flows from the right losses to the distances is right too."""
    distance, same, margin = arguments
    cut_off = (
        "The losses are right, but they are cut off from the distances: no gradient flows back, so no network could "
        "learn from them. Look for no_grad, detach, data, torch.tensor(), item or numpy."
    )
    if not loss.requires_grad:
        raise Wrong(cut_off)
    got = torch.autograd.grad(loss.sum(), distance, materialize_grads=True)[0]
    if not got.any():
        raise Wrong(cut_off)
    want = torch.where(same, 2 * distance, -2 * _gap(distance, margin)).detach()
    if got.isnan().any():
        raise Wrong(
            f"The losses are right, but the slope is nan for the pair at distance {distance[got.isnan()][0].item():g}. "
            "One nan ruins a whole network. A root or a division has an infinite slope at 0, and torch.where does not "
            "keep it out. Is there a way without?"
        )
    for alike, term, formula in ((True, "first", "d²"), (False, "second", "max(0, m - d)²")):
        kind = (same == alike) & (distance > 0)  # at 0 some right formulas have a kink
        if not torch.allclose(got[kind], want[kind], atol=1e-4):
            how = "no gradient flows" if not got[kind].any() else "only part of the gradient flows"
            raise Wrong(
                f"The losses are right, but {how} from the {term} term, {formula}, back to the distances. Its pairs "
                "would not teach the network what they should. Look for detach, data, item or torch.tensor() there."
            )


def _expect_the_panel_to_work(attempt: Callable) -> None:
    """Raise `Wrong` unless the lesson's panel can draw the function, which it calls with one kind of pair at a time."""
    for distance in (torch.linspace(0, 3, 301), torch.tensor([0.5])):
        for kind, name in ((True, "one character"), (False, "two characters")):
            for margin in (0.0, 1.0):
                count = len(distance)
                what = f"With {count} pair{'s' if count > 1 else ''}, all of {name}, and a margin of {margin:g}, as in "
                arguments = distance, torch.full((count,), kind), margin
                try:
                    loss = attempt(*arguments)
                except Wrong as problem:
                    raise Wrong(f"{what}the panel below: {problem}") from None
                right = solutions.contrastive_loss(*arguments)
                if isinstance(loss, Tensor) and loss.requires_grad:
                    raise Wrong(
                        f"{what}the panel below, the losses require a gradient though the distances do not, so the "
                        "panel cannot draw them. Is requires_grad set inside the function?"
                    )
                loss = loss.flatten().double() if isinstance(loss, Tensor) else torch.zeros(0)
                if loss.shape != right.shape or not torch.allclose(loss, right.double(), atol=1e-4):
                    raise Wrong(
                        f"{what}the panel below, its losses are not right, though they are for batches with pairs of "
                        "both kinds. The loss of a pair must not depend on the other pairs."
                    )


contrastive_loss = Exercise(
    answer=solutions.contrastive_loss,
    difficulty="easy",
    minutes=10,
    statement=(
        "Compute the contrastive loss of each pair from its distance: d² for two drawings of one character, and "
        "max(0, m - d)² for two characters."
    ),
    hints=(
        "There are two terms, and each pair has one of them. Write both for all pairs, then let `same` choose.",
        "A hinge max(0, a) of a tensor is a.clamp(min=0) or torch.relu(a). It comes before the square.",
        "torch.where(same, a, b) takes a where same is True and b elsewhere. Or multiply: y = same.float(), then "
        "y * a + (1 - y) * b.",
    ),
    cases=CONTRASTIVE_LOSS_CASES,
    examine=_examine_contrastive_loss,
    in_place=(
        "It changes the distances or labels that it is given, and autograd, the histograms and the threshold would go "
        "on with the changed ones. Make new tensors: a.clamp(min=0), not a.clamp_(min=0) or a[a < 0] = 0."
    ),
)


# draw_pairs


def _draw_pairs_arguments(characters: int, drawings: int, count: int) -> tuple[Tensor, int, torch.Generator]:
    generator = torch.Generator().manual_seed(0)
    # The images are noise, so that each picture reveals which drawing of which character it is.
    return torch.rand(characters, drawings, 28, 28, generator=generator), count, generator


def _draw_pairs_case(characters: int, drawings: int, count: int) -> Case:
    return Case(
        what=f"{characters} characters of {drawings} drawings and count = {count}",
        make=partial(_draw_pairs_arguments, characters, drawings, count),
    )


DRAW_PAIRS_CASES = (  # more pairs than characters, fewer pairs, and the fewest there can be
    _draw_pairs_case(5, 8, 30),
    _draw_pairs_case(9, 4, 8),
    _draw_pairs_case(2, 2, 2),
)
BATCHES = (100, 100, 20)  # how many batches are drawn in each case
FEW = 4  # so few pairs can be drawn from the first case without meeting a character or a drawing again


class _Side(NamedTuple):
    """The characters and the drawings on one side of the pairs, each [batches, count]."""

    character: Tensor
    drawing: Tensor


class _Kind(NamedTuple):
    """The pairs of one kind: the characters and the drawings on both sides, each [batches, count / 2]."""

    name: str
    characters: tuple[Tensor, Tensor]
    drawings: tuple[Tensor, Tensor]


def _examine_draw_pairs(attempt: Callable) -> None:
    _expect_count_pairs(attempt)
    for case, batches in zip(DRAW_PAIRS_CASES, BATCHES, strict=True):
        try:
            _examine_draws(attempt, case, batches)
        except Wrong as problem:
            if case is DRAW_PAIRS_CASES[0]:
                raise
            question = " Does the code contain a size?" if str(problem).startswith("It stopped") else ""
            raise Wrong(f"With {case.what}: {_ended(problem)}{question}") from None


def _examine_draws(attempt: Callable, case: Case, batches: int) -> None:
    def draw(batches: int) -> list[Tensor]:
        """Return first, second and same of some batches."""
        images, count, generator = case.make()
        drawn = [_three_tensors(attempt(images, count, generator), count) for _ in range(batches)]
        return [torch.stack(part) for part in zip(*drawn, strict=True)]

    images = case.make()[0]
    drawn = draw(batches)
    first, second, same = _recognised("first", drawn[0], images), _recognised("second", drawn[1], images), drawn[2]
    _expect_kinds(first, second, same, images)
    if not all(torch.equal(part, whole[:2]) for part, whole in zip(draw(2), drawn, strict=True)):
        raise Wrong(
            "At least part of the randomness does not come from the generator that it is given: the same seed gives "
            "other pairs each time. A training that cannot be repeated cannot be compared. Each random function of "
            "torch takes generator=generator."
        )
    if images.shape[0] > 2:
        _expect_variety(first, second, same, images)


def _ended(problem: Wrong) -> str:
    """Return a message as a sentence that ends."""
    return str(problem) if str(problem).endswith((".", "?")) else f"{problem}."


def _expect_count_pairs(attempt: Callable) -> None:
    """Raise `Wrong` if a batch has the wrong form, and say so if the form is right for a few pairs only."""
    images, count, generator = DRAW_PAIRS_CASES[0].make()
    try:
        _three_tensors(attempt(images, count, generator), count)
    except Wrong as problem:
        images, _count, generator = DRAW_PAIRS_CASES[0].make()
        try:
            for _ in range(20):  # a function that works now and then does not work
                _three_tensors(attempt(images, FEW, generator), FEW)
        except Wrong:
            raise problem from None
        raise Wrong(
            f"It works with count = {FEW}, but not with count = {count}. {_ended(problem)} There are fewer characters, "
            f"{images.shape[0]}, and fewer drawings, {images.shape[1]}, than pairs. They may come up in several pairs, "
            "so draw them anew for each pair."
        ) from None


NAMES = ("first", "second", "same")


def _three_tensors(pairs: Any, count: int) -> list[Tensor]:
    """Return first and second as [count, 28, 28] float32, and same as [count] bool."""
    if not isinstance(pairs, tuple | list) or len(pairs) != 3:
        raise Wrong(f"It should return the three tensors first, second and same; yours is {describe(pairs)}.")
    for name, part in zip(NAMES, pairs, strict=True):
        if not isinstance(part, Tensor):
            raise Wrong(
                f"{name} should be one tensor, as a network needs it; yours is {describe(part)}.{_maker(name, part)}"
            )
    shapes, wanted = [list(part.shape) for part in pairs], [[count, 28, 28], [count, 28, 28], [count]]
    if shapes != wanted and sorted(shapes) == sorted(wanted):
        raise Wrong("The three tensors come in another order. Return first, then second, then same.")
    for name, got, want in zip(NAMES, shapes, wanted, strict=True):
        if got != want:
            raise Wrong(f"With count = {count}, {name} has the shape {got}; it should be {want}. {_shape(got, want)}")
    if pairs[2].dtype != torch.bool:
        raise Wrong(
            f"same has the dtype {pairs[2].dtype}; it should be torch.bool. With ~same one picks the pairs of two "
            "characters, and that works with bool alone. A comparison with == gives torch.bool."
        )
    return [pairs[0].detach().float(), pairs[1].detach().float(), pairs[2]]


def _maker(name: str, part: Any) -> str:
    """Say what makes a tensor of a list, as a sentence to append."""
    if not isinstance(part, list | tuple):
        return ""
    if name == "same":
        return " torch.tensor makes one of a list of True and False."
    return " torch.stack makes one of a list of drawings."


def _shape(got: list[int], want: list[int]) -> str:
    count = want[0]
    if got[1:] == want[1:]:
        return "`count` is the number of all pairs of both kinds."
    if len(want) == 1:
        return "Each pair has one label."
    if math.prod(got) == math.prod(want):
        return "The drawings should keep the shape that they have in `images`."
    if got[:1] == [count] and len(got) < 3:
        return "Return the drawings themselves, images[character, drawing], and not their numbers."
    return "Each pair has one drawing in `first` and one in `second`."


def _recognised(name: str, rows: Tensor, images: Tensor) -> _Side:
    """Tell which drawing of which character each row [batches, count, 28, 28] shows, by its first pixel.

    Raises:
        Wrong: a row is none of the drawings.
    """
    known = images.flatten(0, 1)
    order = known[:, 0, 0].argsort()
    place = torch.searchsorted(known[order, 0, 0], rows[..., 0, 0].contiguous())
    index = order[place.clamp(max=len(order) - 1)]
    altered = (known[index] != rows).flatten(2).any(dim=2)
    if altered.any():
        raise Wrong(_alteration(name, rows[altered], known))
    return _Side(index // images.shape[1], index % images.shape[1])


def _alteration(name: str, rows: Tensor, known: Tensor) -> str:
    """Say what was done to drawings, so that they are not among those known."""

    def as_directions(x: Tensor) -> Tensor:
        return F.normalize(x.flatten(1), dim=1)

    def shown_by(known: Tensor) -> bool:
        return bool(((as_directions(rows) @ as_directions(known).T).amax(dim=1) > 0.999).all())

    if not rows.isnan().any() and shown_by(known):
        return (
            f"The drawings in `{name}` can be recognised, but their pixels are not exactly those of `images`. Were "
            "they rescaled, rounded, or overlaid with noise? Return the drawings as they are."
        )
    if not rows.isnan().any() and shown_by(known.transpose(1, 2)):
        return (
            f"The drawings in `{name}` are transposed: their rows and columns are exchanged. Index only, as they are."
        )
    return (
        f"Some rows of `{name}` are no drawings of `images`: their pixels were changed, or mixed up by a reshape, view "
        "or transpose, or never filled in. A network cannot learn shapes from them. images[character, drawing] is a "
        "whole drawing."
    )


def _expect_kinds(first: _Side, second: _Side, same: Tensor, images: Tensor) -> None:
    """Raise `Wrong` if labels are false, if a kind is not a half, or if a drawing is paired with itself."""
    one = first.character == second.character
    if (same == ~one).all():
        raise Wrong(
            "The labels are the wrong way round: same is True for pairs of two characters. The network would learn to "
            "keep together what is different. Which kind does True stand for?"
        )
    wrong_true, wrong_false = same & ~one, ~same & one
    if wrong_true.any() and wrong_false.any():
        raise Wrong(
            "Labels and pairs are out of step: there are pairs of two characters with the label True, and pairs of "
            "one character with the label False. Was one of them put in another order, or drawn without regard to the "
            "other?"
        )
    problems = [_false_true(wrong_true, same), _false_false(wrong_false, same, images)]
    if not any(problems):
        problems.append(_not_halves(same, images))
    problems.append(_one_drawing_twice(same & one, first.drawing == second.drawing, images))
    _raise_first_two(problems)


def _raise_first_two(problems: Sequence[str | None]) -> None:
    """Raise `Wrong` with the first two of the problems, if there are any."""
    said = [problem for problem in problems if problem]
    if len(said) == 1:
        raise Wrong(said[0])
    if said:
        raise Wrong(f"Two things are wrong. First: {said[0]} Second: {said[1]}")


def _false_true(wrong: Tensor, same: Tensor) -> str | None:
    if not wrong.any():
        return None
    if same.all():
        return "All labels are True, though there are pairs of two characters. same should be False for those."
    return (
        f"Of {same.sum()} pairs with the label True, {wrong.sum()} show two characters. The network is told to find "
        "different things alike. Take both drawings of such a pair from one character."
    )


def _false_false(wrong: Tensor, same: Tensor, images: Tensor) -> str | None:
    if not wrong.any():
        return None
    characters = images.shape[0]
    if not same.any():
        return "All labels are False, though there are pairs of one character. same should be True for those."
    says = f"Of {(~same).sum()} pairs with the label False, {wrong.sum()} show one character. "
    if 0.6 < wrong.sum() / (~same).sum() * characters < 1.6:
        says += f"That is 1 in {characters}, as when the second character is drawn without regard to the first. "
    return f"{says}The network is then told to push apart what belongs together. Draw the two without replacement."


def _one_drawing_twice(one: Tensor, equal: Tensor, images: Tensor) -> str | None:
    drawings, twice = images.shape[1], (one & equal).sum()
    if not twice:
        return None
    if twice == one.sum():
        return (
            "Every pair of one character is one drawing twice. Its distance is 0 whatever the network does, so it "
            "teaches nothing. Take two different drawings of the character."
        )
    says = f"Now and then a pair of one character is one drawing twice: {twice} of {one.sum()} pairs. "
    if 0.6 < twice / one.sum() * drawings < 1.6:
        says += f"That is 1 in {drawings}, as when the second is drawn without regard to the first. "
    return f"{says}Its distance is always 0, which teaches nothing. Draw the two without replacement."


def _not_halves(same: Tensor, images: Tensor) -> str | None:
    counts, count = same.sum(dim=1), same.shape[1]  # how many pairs of each batch are of one character
    share = same.float().mean()
    if share in (0, 1):
        kind = "one character" if share else "two characters"
        return (
            f"All pairs are of {kind}. With one answer for everything the loss goes to 0, and nothing is learned. "
            "Where does the other half come from?"
        )
    if (counts == count // 2).all():
        return None
    if counts.min() == counts.max():
        return (
            f"In each batch {counts[0]} of the {count} pairs are of one character. It should be exactly half, "
            f"{count // 2}, because the threshold that the network learns shifts with that share."
        )
    if share < 0.25:
        return (
            f"Only {100 * share:.0f} % of the pairs are of one character. Two drawings taken at random rarely are: one "
            f"time in {images.shape[0]} here, and one in 806 with Omniglot's training characters. Decide the kind of a "
            "pair first, then draw a pair of that kind."
        )
    return (
        f"The number of pairs of one character changes from batch to batch, here from {counts.min()} to "
        f"{counts.max()} of {count}. It should be exactly half, {count // 2}. A coin for each pair gives half on "
        "average only. How do you get labels of which exactly half are True?"
    )


def _expect_variety(first: _Side, second: _Side, same: Tensor, images: Tensor) -> None:
    """Raise `Wrong` if something that must vary does not, or if it varies too little.

    The numbers of batches are such that a right function fails less than once in 10^10 times.
    """
    if all((part == part[:1]).all() for part in (*first, *second)):
        raise Wrong(
            "Every batch is the same one. A network that sees the same few pairs learns them by heart. Is a generator "
            "made or seeded anew on each call, or does nothing draw from the one that is given?"
        )
    kinds = []
    for mask, name in ((same, "pairs of one character"), (~same, "pairs of two characters")):
        halves = [part[mask].view(len(same), -1) for part in (*first, *second)]
        kinds.append(_Kind(name, (halves[0], halves[2]), (halves[1], halves[3])))
    _expect_variety_within_batches(kinds)
    for kind in kinds:
        _expect_all_to_come_up(kind, images)
    _expect_hands_to_tell_nothing(kinds[1], images)
    one, two = kinds
    _expect_all_combinations(two.name, "character", *two.characters, images.shape[0])
    _expect_all_combinations(one.name, "drawing", *one.drawings, images.shape[1])
    _expect_all_combinations(two.name, "drawing", *two.drawings, images.shape[1])
    for kind in kinds:
        sides = kind.characters if kind is two else kind.characters[:1]  # the other side shows the same character
        _expect_equal_chances(kind.name, "character", torch.stack(sides), images.shape[0])
        _expect_equal_chances(kind.name, "drawing", torch.stack(kind.drawings), images.shape[1])


def _fixed(a: Tensor, b: Tensor) -> int:
    """Tell how many of the two numbers of a pair are the same in all pairs of a batch, but not in all batches."""
    low, high = torch.minimum(a, b), torch.maximum(a, b)

    def fixed(numbers: Tensor) -> bool:
        return bool((numbers == numbers[:, :1]).all())

    if fixed(low) and fixed(high):
        return 0 if (low == low[0, 0]).all() and (high == high[0, 0]).all() else 2
    return int(any(fixed(side) and not (side == side[0, 0]).all() for side in (a, b)))


def _expect_variety_within_batches(kinds: Sequence[_Kind]) -> None:
    one, two = kinds
    problems = []
    if _fixed(*one.characters):
        problems.append(
            "Within a batch, all pairs of one character show the same character. A step then pulls on one character "
            "only. Draw the character anew for each pair."
        )
    if fixed := _fixed(*two.characters):
        which = "show the same two characters" if fixed == 2 else "have one of their two characters in common"
        problems.append(
            f"Within a batch, all pairs of two characters {which}. A step then pushes these few only. Draw both "
            "characters anew for each pair."
        )
    by_kind = [_fixed(*kind.drawings) for kind in kinds]
    if any(by_kind):
        names = " and all ".join(kind.name for kind, fixed in zip(kinds, by_kind, strict=True) if fixed)
        which = "the same two drawing numbers" if max(by_kind) == 2 else "the same drawing number on one side"
        problems.append(
            f"Within a batch, all {names} have {which}, and a number stands for one hand that drew it. Hands should "
            "differ from pair to pair. Draw the numbers anew for each pair."
        )
    _raise_first_two(problems)


def _expect_all_to_come_up(kind: _Kind, images: Tensor) -> None:
    characters, drawings = images.shape[:2]
    missing = _missing(torch.cat(kind.characters), characters)
    if missing:
        raise Wrong(
            f"Only {characters - len(missing)} of the {characters} characters ever come up in {kind.name}."
            f"{_never('Character', missing)} What the network learns about the others it learns by luck. Do the "
            f"random numbers go from 0 to {characters - 1}?"
        )
    missing = _missing(torch.cat(kind.drawings), drawings)
    if missing:
        raise Wrong(
            f"Only {drawings - len(missing)} of the {drawings} drawings of a character ever come up in {kind.name}."
            f"{_never('Drawing', missing)} The more hands the network sees, the better it does with new ones. Draw "
            "from all of them."
        )
    seen = len((torch.cat(kind.characters) * drawings + torch.cat(kind.drawings)).unique())
    if seen < 0.8 * characters * drawings:
        raise Wrong(
            f"Of all {characters * drawings} images only {seen} ever come up in {kind.name}, though every character "
            "and every drawing number does. The number of the drawing depends on the character. Draw the two "
            "separately."
        )


def _missing(numbers: Tensor, size: int) -> list[int]:
    return sorted(set(range(size)) - set(numbers.unique().tolist()))


def _never(what: str, missing: list[int]) -> str:
    return f" {what} {missing[0]} never does." if len(missing) == 1 else ""


def _expect_hands_to_tell_nothing(two: _Kind, images: Tensor) -> None:
    equal = (two.drawings[0] == two.drawings[1]).float()
    share, chance = equal.mean().item(), 1 / images.shape[1]
    if share > chance and _unlikely(share, chance, equal.numel()):
        how_many = "all" if share == 1 else f"{100 * share:.0f} % of the"
        raise Wrong(
            f"In {how_many} pairs of two characters, both drawings have the same number, and in Omniglot they are by "
            "the same hand. That never happens in a pair of one character, so the hand gives the answer away. Draw "
            "the two numbers separately."
        )


def _expect_all_combinations(name: str, what: str, a: Tensor, b: Tensor, size: int) -> None:
    """Raise `Wrong` if many combinations of two different numbers never come up.

    There are so many pairs that a right function meets nearly all combinations.
    """
    a, b = a[a != b], b[a != b]
    every = size * (size - 1) // 2
    seen = len((torch.minimum(a, b) * size + torch.maximum(a, b)).unique())
    if seen >= 0.8 * every:
        return
    only = f"of all {every} combinations of {what}s only {seen} ever come up in {name}"
    if (((a - b) % size == 1) | ((b - a) % size == 1)).all():
        raise Wrong(
            f"Only neighbours make a pair: {what} k goes with {what} k + 1, so {only}. The network is never asked "
            "about the rest. Draw the second one at random too."
        )
    raise Wrong(
        f"{only[0].upper()}{only[1:]}. The network is never asked about the rest. Draw both at random, each from all "
        "that there are."
    )


def _expect_equal_chances(name: str, what: str, numbers: Tensor, size: int) -> None:
    """Raise `Wrong` if some of the numbers 0 … size - 1 come up far too often or too rarely."""
    shares = torch.bincount(numbers.flatten(), minlength=size) / numbers.numel()
    rarest, commonest = int(shares.argmin()), int(shares.argmax())
    if any(_unlikely(shares[k].item(), 1 / size, numbers.numel()) for k in (rarest, commonest)):
        raise Wrong(
            f"Not every {what} is equally likely in {name}. Of the places there, {what} {rarest} has "
            f"{100 * shares[rarest]:.1f} % and {what} {commonest} has {100 * shares[commonest]:.1f} %, where each "
            f"should have about {100 / size:.1f} %. Which random function gives each number the same chance?"
        )


def _unlikely(share: float, chance: float, count: int) -> bool:
    """Tell whether a share of `count` draws cannot be luck.

    By Chernoff's bound, luck does it less than once in 10^15 times. That holds for draws without replacement too.
    """
    parts = ((share, chance), (1 - share, 1 - chance))
    return count * sum(p * math.log(p / q) for p, q in parts if p) > 35


draw_pairs = Exercise(
    answer=solutions.draw_pairs,
    difficulty="medium",
    minutes=15,
    statement=(
        "Draw `count` pairs of drawings: one half two different drawings of one character, the other half drawings of "
        "two different characters."
    ),
    hints=(
        "Decide the kind of each pair first: a tensor of `count` labels of which exactly half are True. Then draw a "
        "pair of that kind.",
        "torch.randperm(n, generator=generator)[:2] are two different numbers out of 0 … n-1. Use it once for the "
        "characters and once for the drawings, anew for each pair.",
        "With characters a, b and drawings i, j: first is images[a, i], and second is images[a, j] for a pair of one "
        "character, images[b, j] for one of two. Collect them in lists and torch.stack these at the end.",
    ),
    cases=DRAW_PAIRS_CASES,
    examine=_examine_draw_pairs,
    in_place=(
        "It changes `images` in place, so the next pairs are drawn from altered drawings. Indexing with a tensor "
        "makes a copy, which you may change."
    ),
)


# one_shot_answers


def _points_in_the_plane() -> tuple[Tensor, Tensor]:
    """Return points [5, 2] and [9, 2]. The first three queries have 2, 4, 2 nearest supports; the last one is one."""
    support_z = [[6, -3], [-2, -7], [-2, 9], [-3, 9], [-9, 0]]
    query_z = [[3, -7], [-1, 1], [-4, -2], [-2, -2], [3, 4], [-7, -4], [3, 3], [-7, -1], [-3, 9]]
    return torch.tensor(support_z).float(), torch.tensor(query_z).float()


def _points_in_space() -> tuple[Tensor, Tensor]:
    """Return points [7, 3] and [6, 3]. The first two queries have 3 (and a fourth nearly) and 2 nearest supports."""
    support_z = [[7, -10, -8], [-3, -4, 5], [-20, 8, -10], [12, -1, 18], [-14, -12, 19], [-14, -12, 18], [9, 11, 7]]
    query_z = [[-19, 17, 18], [-7, -19, 6], [1, 0, -12], [12, -19, 5], [-5, 5, -19], [-17, 9, 7]]
    return torch.tensor(support_z) / 8, torch.tensor(query_z) / 8


# Every coordinate is so round that ‖a‖² + ‖b‖² - 2ab is exact too. By other measures of distance others are nearest.
ONE_SHOT_ANSWERS_CASES = (
    Case(
        what="5 classes and 9 queries in 2 dimensions",
        make=_points_in_the_plane,
        sizes={"the number of classes": 5, "the number of queries": 9},
    ),
    Case(
        what="7 classes and 6 queries in 3 dimensions",
        make=_points_in_space,
        sizes={"the number of classes": 7, "the number of queries": 6},
    ),
)
SHARE = "the share"


def _distances(support_z: Tensor, query_z: Tensor) -> Tensor:
    return (query_z[:, None] - support_z).norm(dim=2)  # [Q, N]


def _shares(result: Any, arguments: tuple[Tensor, Tensor]) -> Numbers:
    """Return the shares [Q, N] in double precision."""
    if hasattr(result, "values") and hasattr(result, "indices") and not isinstance(result, Tensor):
        raise Wrong(
            "It returns a pair of values and indices, as min(dim=1) and topk do. It should return one tensor of "
            "shares, [Q, N]."
        )
    if not isinstance(result, Tensor):
        raise Wrong(f"It should return one tensor of shares, [Q, N]; yours is {describe(result)}.")
    support_z, query_z = arguments
    if result.shape != (len(query_z), len(support_z)):
        raise Wrong(_what_it_has_instead(result.detach(), support_z, query_z))
    if result.is_complex():
        raise Wrong(f"The shares have the dtype {result.dtype}; they should be real numbers.")
    return {SHARE: result.detach().double()}


def _what_it_has_instead(result: Tensor, support_z: Tensor, query_z: Tensor) -> str:
    """Say what a result is that has the wrong shape."""
    (n, e), q, shape = support_z.shape, len(query_z), list(result.shape)
    says = f"With {n} classes and {q} queries, the result has the shape {shape}; it should be [Q, N], [{q}, {n}]. "
    if shape == [n, q]:
        if _chooses(result.T, _distances(support_z, query_z)):
            return (
                f"{says}It is transposed, with one row for each class. Someone who looks up query 3 would find the "
                "answers for class 3."
            )
        if _chooses(result, _distances(query_z, support_z)):
            return f"{says}Queries and supports are exchanged: each support chooses among the queries."
        return f"{says}One row belongs to each query, and one column to each class."
    if shape in ([q], [q, 1]):
        return (
            f"{says}One number for each query, such as the index that argmin gives, has no room for a tie between "
            "classes."
        )
    if shape in ([n], [n, 1], [1, n]):
        return f"{says}It has one number for each class. Every query has an answer of its own."
    if not math.prod(shape) - 1:
        return f"{says}It has one number altogether. Every query has an answer of its own, so return all the shares."
    if shape[-1] == e:
        return f"{says}Its last axis is as long as an embedding, {e}. A distance adds up over that axis."
    if math.prod(shape) == q * n:
        return f"{says}It has as many numbers as it should, with another number of axes."
    return f"{says}One row belongs to each query, and one column to each class."


def _chooses(result: Tensor, distances: Tensor) -> bool:
    """Tell whether each row has numbers above 0 for some of those at the smallest distance, and for no others."""
    chosen, nearest = result > 0, distances == distances.amin(dim=1, keepdim=True)
    return bool(chosen.any(dim=1).all() and nearest[chosen].all())


_SCORES = {  # how near each support is to each query [Q, N], the nearest having the largest
    "euclidean": lambda s, q: -_distances(s, q),
    "farthest": _distances,
    "L1": lambda s, q: -(q[:, None] - s).abs().sum(dim=2),
    "Chebyshev": lambda s, q: -(q[:, None] - s).abs().amax(dim=2),
    "cubes": lambda s, q: -((q[:, None] - s).abs() ** 3).sum(dim=2),
    "dot": lambda s, q: q @ s.T,
    "smallest dot": lambda s, q: -(q @ s.T),
    "cosine": lambda s, q: F.normalize(q, dim=1) @ F.normalize(s, dim=1).T,
    "smallest cosine": lambda s, q: -(F.normalize(q, dim=1) @ F.normalize(s, dim=1).T),
    "lengths": lambda s, q: -(q.norm(dim=1)[:, None] - s.norm(dim=1)).abs(),
    "signed": lambda s, q: -(q[:, None] - s).sum(dim=2),
    "signed the other way": lambda s, q: (q[:, None] - s).sum(dim=2),
    "sum before square": lambda s, q: -((q[:, None] - s).sum(dim=2) ** 2),
    "nearest coordinate": lambda s, q: -(q[:, None] - s).abs().amin(dim=2),
    "first coordinate": lambda s, q: -(q[:, None, 0] - s[:, 0]).abs(),
    "sum": lambda s, q: -(q[:, None] + s).norm(dim=2),
    "product once": lambda s, q: q @ s.T - (s**2).sum(dim=1),
}
_TIES = {  # the answers [Q, N], from who is nearest [Q, N], 1 or 0
    "shared": lambda nearest: nearest / nearest.sum(dim=1, keepdim=True),
    "first": lambda nearest: F.one_hot(nearest.argmax(dim=1), nearest.shape[1]).double(),
    "last": lambda nearest: F.one_hot(nearest.flip(1).argmax(dim=1), nearest.shape[1]).flip(1).double(),
    "whole": lambda nearest: nearest,
    "nobody": lambda nearest: nearest * (nearest.sum(dim=1, keepdim=True) == 1),
    "1/N each": lambda nearest: torch.where(_tied(nearest), nearest / nearest.shape[1], nearest),
    "everybody 1/N": lambda nearest: torch.where(_tied(nearest), nearest * 0 + 1 / nearest.shape[1], nearest),
    "half": lambda nearest: torch.where(_tied(nearest), nearest / 2, nearest),
    "always 1/N": lambda nearest: nearest / nearest.shape[1],
    "columns": lambda nearest: nearest / nearest.sum(dim=0),
    "columns, but not 0/0": lambda nearest: nearest / nearest.sum(dim=0).clamp(min=1),
    "total": lambda nearest: nearest / nearest.sum(),
    "of others": lambda nearest: (1 - nearest) / (1 - nearest).sum(dim=1, keepdim=True),
    "not": lambda nearest: 1 - nearest / nearest.sum(dim=1, keepdim=True),
    "±1": lambda nearest: 2 * nearest - 1,
    "times k": lambda nearest: nearest * nearest.sum(dim=1, keepdim=True),
}


def _tied(nearest: Tensor) -> Tensor:
    return nearest.sum(dim=1, keepdim=True) > 1


def _best(scores: Tensor, dim: int | None = 1) -> Tensor:
    """Return 1 where a score equals the largest one along `dim`, or of all, and 0 elsewhere."""
    largest = scores.max() if dim is None else scores.amax(dim, keepdim=True)
    return (scores == largest).double()


def _bent_answers(support_z: Tensor, query_z: Tensor, *, score: str = "euclidean", tie: str = "shared") -> Tensor:
    """Return answers [Q, N], in which the score or what is made of the nearest may be wrong."""
    return _TIES[tie](_best(_SCORES[score](support_z, query_z)))


DISTANCES = (
    "These are distances, not answers. They are nearly all it takes, but to count right answers one needs to know "
    "which class each query chose. Where in each row is the smallest one?"
)
RANKS = (
    "These are the numbers that argsort gives, the order of the classes by their distances, and not answers. A row of "
    "answers has 1 for the nearest class and 0 for the others."
)
LIKENESSES = (
    "These numbers say how much each query resembles each class, and not which class it chose. A row of answers has 1 "
    "for the nearest class and 0 for the others."
)
SIGNED = (
    "The differences are added up with their signs, so that they cancel: a support can lie far away in two directions "
    "and have the sum 0. What comes before the sum in a Euclidean distance?"
)
OVER_QUERIES = (
    "The minimum is taken over the queries: each support chooses its nearest query. Some queries then get several "
    "answers and some get none. Which dimension of [Q, N] runs over the classes?"
)
OF_ALL = (
    "The minimum is taken over the whole table, so that only the queries at the very smallest distance get an answer. "
    "Each query, each row, has a minimum of its own: min(dim=1, keepdim=True)."
)
DIVIDED_BY_COLUMNS = (
    "The nearest classes are right, but the shares are divided by the sums of the columns. What has to add up to 1 is "
    "the row of each query. Which dimension of [Q, N] runs over the classes?"
)
_NO_ANSWERS: list[Misconception] = [
    (DISTANCES, _distances),
    (DISTANCES, lambda s, q: -_distances(s, q)),
    (DISTANCES, lambda s, q: _distances(s, q) ** 2),
    (DISTANCES, lambda s, q: -(_distances(s, q) ** 2)),
    (DISTANCES, lambda s, q: (q[:, None] - s).abs().sum(dim=2)),
    (RANKS, lambda s, q: _distances(s, q).argsort(dim=1)),
    (RANKS, lambda s, q: _distances(s, q).argsort(dim=1).argsort(dim=1)),
    (
        "The nearest classes are right, but each has its distance where its share should be. Where k classes are "
        "equally near, the share of each is 1/k.",
        lambda s, q: _distances(s, q) * _best(-_distances(s, q)),
    ),
    (LIKENESSES, _SCORES["dot"]),
    (LIKENESSES, _SCORES["cosine"]),
    (LIKENESSES, lambda s, q: (-_distances(s, q)).exp()),
    (LIKENESSES, lambda s, q: (-(_distances(s, q) ** 2)).exp()),
    (LIKENESSES, lambda s, q: 1 / (1 + _distances(s, q))),
    (LIKENESSES, lambda s, q: 1 / _distances(s, q)),
    (LIKENESSES, lambda s, q: 1 - _distances(s, q) / _distances(s, q).sum(dim=1, keepdim=True)),
    (
        "All shares are 0, so that no class is chosen. No distance is smaller than the smallest one: is there a < "
        "where == or <= belongs?",
        lambda s, q: 0 * _distances(s, q),
    ),
    (OVER_QUERIES, lambda s, q: _TIES["shared"](_best(-_distances(s, q), dim=0))),
    (OVER_QUERIES, lambda s, q: _TIES["columns"](_best(-_distances(s, q), dim=0))),
    (OVER_QUERIES, lambda s, q: _best(-_distances(s, q), dim=0)),
    (OVER_QUERIES, lambda s, q: F.one_hot(_distances(s, q).argmin(dim=0), len(q)).T),
    (OF_ALL, lambda s, q: _TIES["shared"](_best(-_distances(s, q), dim=None))),
    (OF_ALL, lambda s, q: _best(-_distances(s, q), dim=None)),
]
_BENT = {
    "score": {
        "farthest": (
            "It chooses the farthest support: large distances win. A perfect embedding would then score 0 %. Which end "
            "of a row of distances is the best match?"
        ),
        "L1": (
            "It compares sums of absolute differences, the L1 distance. The contrastive loss has trained the Euclidean "
            "one, and the two do not always agree about who is nearest. What comes before the sum?"
        ),
        "Chebyshev": (
            "It compares the largest differences of a coordinate, the Chebyshev distance. The contrastive loss has "
            "trained the Euclidean one, to which all coordinates contribute. Square the differences and add them up."
        ),
        "cubes": (
            "It compares sums of cubes, the distance with p = 3. The contrastive loss has trained the Euclidean one, "
            "with p = 2, and the two do not always agree about who is nearest."
        ),
        "dot": (
            "It chooses by dot product: a support with a long vector wins against nearer ones. The contrastive loss "
            "has trained distances, so judge by them. How far do query and support lie apart?"
        ),
        "smallest dot": (
            "It chooses the smallest dot product, as if that were a distance. It is largest, not smallest, for vectors "
            "of one direction. The contrastive loss has trained Euclidean distances, so judge by them."
        ),
        "cosine": (
            "Only the directions of the embeddings count, as with the cosine, and not how far they lie apart. The "
            "contrastive loss has trained distances, so judge by them. What is the length of a difference?"
        ),
        "smallest cosine": (
            "It chooses the smallest cosine, as if that were a distance. It is 1 for one direction and -1 for the "
            "opposite one. The contrastive loss has trained Euclidean distances, so judge by them."
        ),
        "lengths": (
            "It compares the lengths of the embeddings. Two embeddings of the same length can lie on opposite sides of "
            "the origin. The distance is the length of their difference: subtract first."
        ),
        "signed": SIGNED,
        "signed the other way": SIGNED,
        "sum before square": (
            "The differences are added up first and squared, or made positive, afterwards, so that they cancel. In a "
            "Euclidean distance each difference is squared, and then they are added up."
        ),
        "nearest coordinate": (
            "It compares the smallest differences of a coordinate: a support that agrees in one coordinate wins, "
            "however far it lies away in the others. All coordinates contribute to a Euclidean distance."
        ),
        "first coordinate": (
            "It compares the first coordinates alone. All coordinates of the embeddings contribute to a Euclidean "
            "distance. Is there an index 0 where the whole vector should be?"
        ),
        "sum": (
            "The sign is wrong: it compares the lengths of q + s and not those of q - s. In ‖q‖² + ‖s‖² - 2qs the "
            "product is subtracted."
        ),
        "product once": "The factor 2 is missing: the squared distance is ‖q‖² + ‖s‖² - 2qs, and not … - qs.",
    },
    "tie": {
        "first": (
            "A tie goes to the first class, as with argmin. A network that maps every drawing to the same point then "
            "always names class 0, which scores 100 % where class 0 is right. Share a tie among all that are equally "
            "near."
        ),
        "whole": (
            "Each of several nearest classes gets a whole 1 (True counts as 1). A network that maps everything to one "
            "point is then always right, having named all classes at once. What must each row add up to?"
        ),
    },
}
_RARE_TIES = {
    "tie": {
        "last": (
            "A tie goes to the last of the nearest classes. The accuracy then depends on the order of the classes. "
            "Share a tie among all that are equally near."
        ),
        "nobody": (
            "In a tie, no class gets anything. A guess among k equals is right one time in k, so the accuracy would "
            "come out too low. What is each one's share?"
        ),
        "1/N each": (
            "In a tie, each of the nearest classes gets 1/N, and so the row adds up to less than 1. Divide by k, the "
            "number of the classes that are equally near, and not by the number of all classes."
        ),
        "everybody 1/N": (
            "In a tie, all N classes get 1/N, the far ones too. Only the k classes that are equally near share, and "
            "each of them gets 1/k."
        ),
        "half": (
            "In every tie each of the nearest classes gets ½. That is right for two of them only. How many are equally "
            "near in this row?"
        ),
        "always 1/N": (
            "Every nearest class gets 1/N, where N is the number of all classes. Divide by k, the number of the "
            "classes that are equally near in this row; it is 1 where there is no tie."
        ),
        "columns": DIVIDED_BY_COLUMNS,
        "columns, but not 0/0": DIVIDED_BY_COLUMNS,
        "total": (
            "The nearest classes are right, but the shares are divided by the sum of the whole table. What has to add "
            "up to 1 is the row of each query: sum(dim=1, keepdim=True)."
        ),
        "of others": (
            "The shares are turned around: the classes that are not nearest share among themselves, and the nearest "
            "one gets 0. Is a comparison the wrong way round?"
        ),
        "not": (
            "The shares are turned around: the nearest class has 0, and the others have 1. Each share should be "
            "1 minus what it is."
        ),
        "±1": (
            "The classes that are not nearest get -1, and each of the nearest gets a whole 1. What the others get is "
            "0, and several of the nearest share one 1."
        ),
        "times k": (
            "In a tie of k classes each of them gets k, where it should get 1/k: the row's sum is multiplied and not "
            "divided by."
        ),
    },
}

ONE_SHOT_ANSWERS_MISTAKES = _distinct(
    [*_NO_ANSWERS, *combined(_bent_answers, _RARE_TIES), *combined(_bent_answers, _BENT)],
    solutions.one_shot_answers,
    ONE_SHOT_ANSWERS_CASES,
    _shares,
)


class _Table(NamedTuple):
    """Answers that are not right, with what is known about them, each [Q, N]."""

    shares: Tensor
    distances: Tensor
    nearest: Tensor  # whether the class is one of the nearest to the query

    def sums_to_one(self, dim: int) -> bool:
        """Tell whether the numbers are shares: none is negative, and along `dim` they add up to 1."""
        sums = self.shares.sum(dim)
        return bool((self.shares >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-4)

    def is_even(self) -> bool:
        """Tell whether all classes of a row that get a share get the same one."""
        highest = self.shares.amax(dim=1, keepdim=True)
        return bool(((self.shares < 1e-4 * highest) | (self.shares > 0.999 * highest)).all())

    def rises(self) -> bool:
        """Tell whether the shares of each row rise with the distance."""
        sorted_shares = self.shares.gather(1, self.distances.argsort(dim=1))
        return bool((sorted_shares.diff(dim=1) > -1e-4).all())


def _is_of_logarithms(table: _Table) -> bool:
    return _Table(table.shares.exp(), table.distances, table.nearest).sums_to_one(1)


def _is_from_the_wrong_end(table: _Table) -> bool:
    return table.sums_to_one(1) and table.rises() and not table.is_even()


def _is_graded(table: _Table) -> bool:
    return table.sums_to_one(1) and not table.is_even()


def _is_graded_by_columns(table: _Table) -> bool:
    return table.sums_to_one(0) and not table.is_even()


def _is_even_for_all(table: _Table) -> bool:
    return table.sums_to_one(1) and bool((table.shares.std(dim=1) < 1e-4).all())


def _names_one_of_the_nearest(table: _Table) -> bool:
    chosen = table.shares > 0.5
    return bool((chosen.sum(dim=1) == 1).all()) and table.sums_to_one(1) and bool(table.nearest[chosen].all())


def _forgets_some_of_the_nearest(table: _Table) -> bool:
    return table.sums_to_one(1) and table.is_even() and bool(table.nearest[table.shares > 1e-4].all())


def _takes_some_for_nearest(table: _Table) -> bool:
    return table.sums_to_one(1) and table.is_even() and bool((table.shares > 1e-4)[table.nearest].all())


def _has_rows_of_nan(table: _Table) -> bool:
    nan = table.shares.isnan()
    return bool(nan.any() and (nan.all(dim=1) == nan.any(dim=1)).all())


def _is_of_reciprocals(table: _Table) -> bool:
    """Tell whether shares are graded, and nan only for a query that lies on a support."""
    nan, on_support = table.shares.isnan().any(dim=1), (table.distances == 0).any(dim=1)
    return bool((nan == on_support).all()) and _is_graded(_Table(*(part[~nan] for part in table)))


def _has_one_number_of_shares(table: _Table) -> bool:
    counts = (table.shares > 1e-4).sum(dim=1)
    return table.sums_to_one(1) and bool((counts == counts[0]).all() and counts[0] > 1)


def _is_graded_over_all(table: _Table) -> bool:
    rows = table.shares.sum(dim=1)
    return _Table(*(part.flatten()[None] for part in table)).sums_to_one(1) and bool(rows.max() - rows.min() > 1e-3)


def _has_equal_rows(table: _Table) -> bool:
    return bool(table.shares.any() and (table.shares == table.shares[0]).all())


# What can be seen in answers that no known mistake gives. The first observation that holds in all cases is told.
OBSERVATIONS: list[tuple[str, Callable[[_Table], bool]]] = [
    (
        "These are logarithms of probabilities, as from log_softmax. What is asked for are shares: 1 for the class "
        "that is nearest, 0 for the others, and equal parts in a tie.",
        _is_of_logarithms,
    ),
    (
        "All classes have the same share, whatever the distances. Only the classes that are equally near, and nearer "
        "than all others, share.",
        _is_even_for_all,
    ),
    (
        "Every query gets the same row of answers. Each row should depend on that query's own distances. Is one query "
        "used for all of them?",
        _has_equal_rows,
    ),
    (
        "In every row the same number of classes share, whether there is a tie or not. Are several of the nearest "
        "taken, as with topk? Only classes at the very smallest distance share.",
        lambda table: table.is_even() and _has_one_number_of_shares(table),
    ),
    (
        "All the numbers of the table together add up to 1, as after a softmax over the whole table. What has to add "
        "up to 1 is the row of each query.",
        _is_graded_over_all,
    ),
    (
        "These are graded shares that rise with the distance, as from a softmax of the distances without a minus. And "
        "they should not be graded: the nearest class gets 1 and the others 0.",
        _is_from_the_wrong_end,
    ),
    (
        "These are probabilities, as from a softmax: classes that are farther away get a part too. Half of a right "
        "answer would then count as half right, though the nearest class is what is named. Give 1 to the nearest, "
        "and 0 to the others.",
        _is_graded,
    ),
    (
        "Each column adds up to 1, as after a softmax over the queries. What has to add up to 1 is the row of each "
        "query, and the nearest class gets 1 where there is no tie.",
        _is_graded_by_columns,
    ),
    (
        "Of several nearest classes only one gets everything. The accuracy then depends on the order of the classes, "
        "on luck, or on rounding (F.pairwise_distance adds 1e-6 to each difference). Share a tie among all that are "
        "equally near.",
        _names_one_of_the_nearest,
    ),
    (
        "Some ties are missed: not all of the classes that are equally near get a share. Distances that are computed "
        "in two ways can differ by rounding (and F.pairwise_distance adds 1e-6 to each difference). Compare them with "
        "the minimum of the very same tensor.",
        _forgets_some_of_the_nearest,
    ),
    (
        "Classes that are not among the nearest share as well. A tie means that the distances are equal. Is there a "
        "generous tolerance, are the distances rounded, or are several of the nearest taken?",
        _takes_some_for_nearest,
    ),
    (
        "These are graded shares, from weights that fall with the distance, such as 1/d: infinite where the distance "
        "is 0. They should not be graded: the nearest class gets 1 and the others 0.",
        _is_of_reciprocals,
    ),
    (
        "All shares are nan in some rows, as when 0 is divided by 0 because no class was found to be nearest. Is the "
        "minimum compared with the distances that it comes from, by == or <=?",
        _has_rows_of_nan,
    ),
]

_HELP_WITH_THE_ANSWERS = {
    "at non-singleton dimension 0": (
        "Each query is to be compared with each support, and there are not equally many of both. query_z[:, None] is "
        "[Q, 1, E]; minus support_z it gives all differences, [Q, N, E]."
    ),
    "'bool' object": (
        "Python answered == with a single True or False, as for a tensor next to the pair that min(dim=1) returns. Its "
        ".values are the minima, and so is amin(dim=1, keepdim=True)."
    ),
    "at non-singleton dimension 1": (
        "If a row's minimum or sum is to meet a table [Q, N], it needs the shape [Q, 1]: keepdim=True leaves it so."
    ),
}


def _examine_one_shot_answers(attempt: Callable) -> None:
    call = with_help(attempt, _HELP_WITH_THE_ANSWERS)
    trials, tables = [], []
    for number, case in enumerate(ONE_SHOT_ANSWERS_CASES):
        arguments, ours = case.make(), case.make()
        got = _shares(call_in(case, call, arguments, first=ONE_SHOT_ANSWERS_CASES[0]), arguments)
        want = _shares(solutions.one_shot_answers(*ours), ours)
        code = f"exercises.one_shot_answers.inputs({number or ''})"
        trials.append(Trial(case.what, code, got, want, sizes=case.sizes, tolerance=1e-4))
        tables.append(_Table(got[SHARE], _distances(*ours).double(), want[SHARE] > 0))

    def explanations() -> Iterator[tuple[str, Iterator[Numbers]]]:
        for message, mistake in ONE_SHOT_ANSWERS_MISTAKES:
            yield message, (_shares(mistake(*case.make()), case.make()) for case in ONE_SHOT_ANSWERS_CASES)
        wrong = [table for table, trial in zip(tables, trials, strict=True) if trial.differing()]
        for message, holds in OBSERVATIONS:
            if all(map(holds, wrong)):
                yield message, (trial.got for trial in trials)

    compare(trials, explanations())
    _expect_answers_to_embeddings(attempt)


def _expect_answers_to_embeddings(attempt: Callable) -> None:
    """Raise `Wrong` unless the function works on embeddings like those of the lesson, whose numbers are not round."""
    generator = torch.Generator().manual_seed(0)
    support_z, query_z = (torch.randn(20, 32, generator=generator) for _ in range(2))
    query_z = support_z + 0.5 * query_z
    what = "Right for round numbers, but with 20 embeddings of 32 random numbers, like those of the lesson, "
    try:
        shares = _shares(attempt(support_z, query_z), (support_z, query_z))[SHARE]
    except Wrong as problem:
        raise Wrong(f"{what}this happens: {problem}") from None
    right = solutions.one_shot_answers(support_z, query_z).double()
    if not torch.allclose(shares, right, atol=1e-4):
        wrong = int(((shares - right).abs().amax(dim=1) > 1e-4).sum() + shares.isnan().any(dim=1).sum())
        raise Wrong(
            f"{what}{wrong} of the 20 rows are wrong. Distances that are computed in two ways differ by rounding: find "
            "the minimum in the same tensor that it is compared with."
        )


one_shot_answers = Exercise(
    answer=solutions.one_shot_answers,
    difficulty="medium",
    minutes=10,
    statement=(
        "Name the class of each query: 1 for the class whose support embedding is nearest, 0 for the others, and equal "
        "shares where several are equally near."
    ),
    hints=(
        "There are two steps. First compute the distance of every query to every support, [Q, N]. Then find which "
        "classes in each row are as near as the nearest; argmin finds only one of them.",
        "query_z[:, None] - support_z has the shape [Q, N, E]; .norm(dim=2) makes distances of it. "
        ".min(dim=1, keepdim=True).values is the smallest of each row, [Q, 1].",
        "nearest = (distances == smallest).float() has a 1 for each of the nearest. Divide each row by its sum.",
    ),
    cases=ONE_SHOT_ANSWERS_CASES,
    examine=_examine_one_shot_answers,
    in_place=(
        "It changes the embeddings that it is given, so the next question is asked about other ones. Subtract out of "
        "place: a - b, not a -= b."
    ),
)
