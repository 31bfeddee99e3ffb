"""The exercises of the Siamese lesson: the contrastive loss, the pairs it learns from, and one-shot answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..kit.characters import recognise
from ..kit.exercise import Exercise, Misconception, Wrong, compare, describe
from . import solutions

__all__ = ["contrastive_loss", "draw_pairs", "one_shot_answers"]


# contrastive_loss

MARGIN = 1.5  # not 1, because then m² would be m


def _contrastive_loss_inputs() -> tuple[Tensor, Tensor, float]:
    """Return four pairs of each kind. Of the pairs of two characters, one coincides and one is beyond the margin."""
    distance = torch.tensor([0.3, 1.9, 0.8, 0.0, 2.6, 1.1, 1.3, 0.5])
    same = torch.tensor([True, True, False, False, False, True, False, True])
    return distance.requires_grad_(), same, MARGIN


def _by_kind(alike: Callable[[Tensor, float], Tensor], apart: Callable[[Tensor, float], Tensor]) -> Callable:
    """Return a loss that is alike(d, m) for pairs of one character and apart(d, m) for pairs of two."""
    return lambda d, same, m: torch.where(same, alike(d, m), apart(d, m))


def _square(d: Tensor, m: float) -> Tensor:
    return d**2


def _hinge(d: Tensor, m: float) -> Tensor:
    return (m - d).relu() ** 2


CONTRASTIVE_LOSS_MISTAKES: list[Misconception] = [
    (
        "The convention is flipped: pairs of one character are pushed apart and pairs of two are pulled together. The "
        "original paper writes Y = 0 for a similar pair; here same is True, y = 1, for one character. Which term does "
        "y belong to?",
        _by_kind(_hinge, _square),
    ),
    (
        "This is the formula as Hadsell, Chopra & LeCun (2006) print it: with Y = 0 for a similar pair, and ½ before "
        "both terms. But here same is True, y = 1, for one character, so your network would learn to keep what is "
        "alike apart. Put 1 - y for their Y, and drop the ½.",
        _by_kind(lambda d, m: _hinge(d, m) / 2, lambda d, m: d**2 / 2),
    ),
    (
        "Right but for a factor ½, as in Hadsell, Chopra & LeCun (2006). It only halves the learning rate, so nothing "
        "is lost, but the numbers do not compare with this lesson's. Leave the ½ out.",
        _by_kind(lambda d, m: d**2 / 2, lambda d, m: _hinge(d, m) / 2),
    ),
    (
        "The hinge is missing: two characters that are farther apart than the margin are punished for it and pulled "
        "back until they are exactly m apart. A square is never negative, so a max(0, ·) around it changes nothing. "
        "What must be cut off at 0 before it is squared?",
        _by_kind(_square, lambda d, m: (m - d) ** 2),
    ),
    (
        "Nothing is squared. The pull on a pair is then as strong when it nearly coincides as when it is far apart, so "
        "training never comes to rest. Square the distance, and what lacks to the margin.",
        _by_kind(lambda d, m: d, lambda d, m: (m - d).relu()),
    ),
    (
        "The distance of a pair of one character is not squared. All such pairs are pulled equally hard, those that "
        "are already close too, and the few that lie far apart get no more. Which power has d in the first term?",
        _by_kind(lambda d, m: d, _hinge),
    ),
    (
        "What lacks to the margin is not squared. A pair of two characters just short of the margin is pushed as hard "
        "as one that coincides. Which power has the second term?",
        _by_kind(_square, lambda d, m: (m - d).relu()),
    ),
    (
        "The margin is inside the square: max(0, m² - d²) in place of max(0, m - d)². Where two embeddings coincide "
        "its slope is 0, so the pairs that most need it are not pushed apart at all. Subtract first, square last.",
        _by_kind(_square, lambda d, m: (m**2 - d**2).relu()),
    ),
    (
        "It takes the margin from the squared distance: max(0, m - d²) in place of max(0, m - d)². The margin is then "
        "no distance any more, and where two embeddings coincide nothing pushes them apart. Subtract first, square "
        "last.",
        _by_kind(_square, lambda d, m: (m - d**2).relu()),
    ),
    (
        "The distance of two characters is squared once too often: max(0, m - d²)² in place of max(0, m - d)². The "
        "margin is then no distance any more, and where two embeddings coincide nothing pushes them apart. The "
        "margin is compared with d itself.",
        _by_kind(_square, lambda d, m: (m - d**2).relu() ** 2),
    ),
    (
        "The hinge is turned around: two characters are punished for being farther apart than the margin, and not for "
        "being nearer. The embedding would shrink to a point, where this loss is 0. Which difference should be "
        "positive when a pair is too near?",
        _by_kind(_square, lambda d, m: (d - m).relu() ** 2),
    ),
    (
        "The hinge is on the wrong term: drawings of one character are pulled together only as far as the margin, "
        "and two characters are pulled back to it. Nothing then makes the one nearer than the other. Which of the two "
        "should be left alone beyond the margin?",
        _by_kind(lambda d, m: (d - m).relu() ** 2, lambda d, m: (m - d) ** 2),
    ),
    (
        "There is a hinge on both terms: drawings of one character may lie as far apart as the margin without any "
        "pull, just where two characters may begin to lie. No threshold then separates them well. Which term has "
        "none?",
        _by_kind(lambda d, m: (d - m).relu() ** 2, _hinge),
    ),
    (
        "The second term is subtracted. The loss then sinks when two characters come closer, below zero even, so all "
        "embeddings fall into one point. Which sign stands between the terms?",
        _by_kind(_square, lambda d, m: -_hinge(d, m)),
    ),
    (
        "`~same` was taken of whole numbers, where it is -1 - y and not 1 - y: the second term counts with -2 and -1. "
        "The loss then rewards two characters for lying together. Use ~ while same is still bool, or write 1 - y.",
        lambda d, same, m: _square(d, m) * same - _hinge(d, m) * (1 + same.float()),
    ),
    (
        "Only pairs of one character count; the other term is missing. The best embedding is then a single point for "
        "all drawings, with a loss of 0. What keeps different characters apart?",
        _by_kind(_square, lambda d, m: 0 * d),
    ),
    (
        "Only pairs of two characters count; the other term is missing. Any embedding that spreads far enough has a "
        "loss of 0, though it scatters each character as well. What holds a character together?",
        _by_kind(lambda d, m: 0 * d, _hinge),
    ),
    (
        "The margin is always 1, whatever is asked for. The slider would move nothing, and an embedding of another "
        "scale gets the wrong margin. Which argument have you not used?",
        lambda d, same, m: solutions.contrastive_loss(d, same, 1.0),
    ),
]


def _examine_contrastive_loss(attempt: Callable) -> None:
    arguments = _contrastive_loss_inputs()
    distance = arguments[0]
    try:
        loss = attempt(*arguments)
    except Wrong as stopped:
        if "bool tensor" not in str(stopped):
            raise
        raise Wrong(
            f"{stopped}. That is because `same` holds True and False, of which torch takes no differences. Take y = "
            "same.float() and 1 - y, or ~same for the other kind."
        ) from None
    if not isinstance(loss, Tensor):
        raise Wrong(f"It should return one tensor with the loss of each pair, [B]; yours is {describe(loss)}.")
    if loss.numel() == 1:
        raise Wrong(
            "It returns one number for the whole batch, not the loss of each pair. The lesson weighs the two kinds of "
            "pairs and looks for the worst ones, which a mean or a sum hides. Leave the reduction to the caller."
        )
    right = solutions.contrastive_loss(*arguments)
    trial = "exercises.contrastive_loss.inputs()"
    mistakes = ((message, {"the loss": wrong(*arguments).detach()}) for message, wrong in CONTRASTIVE_LOSS_MISTAKES)
    compare({"the loss": loss.detach()}, {"the loss": right.detach()}, mistakes=mistakes, inputs=trial)

    if not loss.requires_grad:
        raise Wrong(
            "The losses are right, but cut off from the distances: no gradient flows back, so no network could learn "
            "from them. Look for no_grad, detach, tensor(), item or numpy."
        )

    def slope(values: Tensor) -> dict[str, Tensor]:
        return {"the slope of the loss": torch.autograd.grad(values.sum(), distance, materialize_grads=True)[0]}

    compare(slope(loss), slope(right), mistakes=[], inputs=trial)


contrastive_loss = Exercise(
    answer=solutions.contrastive_loss,
    difficulty="easy",
    minutes=10,
    statement=(
        "Compute the contrastive loss of each pair from its distance: d² for two drawings of one character, and "
        "max(0, m - d)² for two characters."
    ),
    hints=(
        "Two terms, of which each pair has one. Write both for all pairs, then let `same` choose.",
        "A hinge max(0, a) of a tensor is a.clamp(min=0) or torch.relu(a). It comes before the square.",
        "torch.where(same, a, b) takes a where same is True and b elsewhere. Or multiply: y = same.float(), then "
        "y * a + (1 - y) * b.",
    ),
    inputs=_contrastive_loss_inputs,
    examine=_examine_contrastive_loss,
    in_place=(
        "It changes the distances or labels it is given, and autograd, the histograms and the threshold would go on "
        "with the changed ones. Make new tensors: a.clamp(min=0), not a.clamp_(min=0) or a[a < 0] = 0."
    ),
)


# draw_pairs

CHARACTERS, DRAWINGS = 12, 20
PAIRS = 30  # how many pairs a batch has
BATCHES = 80


def _draw_pairs_inputs() -> tuple[Tensor, int, torch.Generator]:
    generator = torch.Generator().manual_seed(0)
    # The images are noise, so that each picture reveals which drawing of which character it is.
    return torch.rand(CHARACTERS, DRAWINGS, 28, 28, generator=generator), PAIRS, generator


class _Side(NamedTuple):
    """The characters and the drawings on one side of the pairs, each [BATCHES, PAIRS]."""

    character: Tensor
    drawing: Tensor


def _examine_draw_pairs(attempt: Callable) -> None:
    images, *_ = _draw_pairs_inputs()

    def draw(count: int) -> list[Tensor]:
        """Return first, second and same of `count` batches."""
        generator = torch.Generator().manual_seed(0)
        batches = [_three_tensors(attempt(images, PAIRS, generator)) for _ in range(count)]
        return [torch.stack(part) for part in zip(*batches, strict=True)]

    drawn = draw(BATCHES)
    first, second, same = _Side(*recognise(drawn[0], images)), _Side(*recognise(drawn[1], images)), drawn[2]
    _expect_true_labels(first, second, same)
    _expect_halves(same)
    if not all(torch.equal(part, whole[:2]) for part, whole in zip(draw(2), drawn, strict=True)):
        raise Wrong(
            "It draws from somewhere else than the generator it is given: the same seed gives other pairs each time. "
            "A training that cannot be repeated cannot be compared. Where can the random function be told its source?"
        )
    _expect_variety(first, second, same)


def _three_tensors(pairs: Any) -> list[Tensor]:
    """Return first and second as [PAIRS, pixels], and same as [PAIRS]."""
    if not isinstance(pairs, tuple | list) or len(pairs) != 3:
        raise Wrong(f"It should return first, second, same; yours is {describe(pairs)}.")
    names = ("first", "second", "same")
    for name, part in zip(names, pairs, strict=True):
        if not isinstance(part, Tensor):
            raise Wrong(f"{name} should be one tensor, as a network wants it; yours is {describe(part)}.")
        if part.numel() != PAIRS * (1 if name == "same" else 28 * 28):
            what = "labels" if name == "same" else "drawings of 28 × 28"
            raise Wrong(f"With count = {PAIRS}, {name} should hold {PAIRS} {what}; yours is {describe(part)}.")
    if pairs[2].dtype != torch.bool:
        raise Wrong(
            f"same has the dtype {pairs[2].dtype}. It answers a question with yes or no, and the lesson picks the "
            "other pairs by ~same, which of numbers gives other numbers. A comparison with == gives torch.bool."
        )
    return [part.reshape(PAIRS, -1).squeeze(1) for part in pairs]


def _expect_true_labels(first: _Side, second: _Side, same: Tensor) -> None:
    one_character = first.character == second.character
    if (same == ~one_character).all():
        raise Wrong(
            "The labels are the wrong way round: same is True for two characters. The network would learn to keep "
            "together what is different. Which kind does True stand for?"
        )
    false_same, false_different = (same & ~one_character).any(), (~same & one_character).any()
    if false_same and false_different:
        raise Wrong(
            "Labels and pairs are out of step: there are pairs of two characters with the label True, and pairs of "
            "one with the label False. Nothing can be learned from chance. Were the pairs put in another order than "
            "their labels?"
        )
    if false_same:
        raise Wrong(
            "Some pairs with the label True show two characters. The network is told to find different things alike. "
            "Take both drawings of such a pair from one character."
        )
    if false_different:
        raise Wrong(
            'A "different" pair can show the same character: nothing keeps the second draw from hitting the first '
            "one's character again. The network is then told to push apart what belongs together. Draw the two "
            "without replacement."
        )
    if (same & (first.drawing == second.drawing)).any():
        raise Wrong(
            "A positive pair can be one drawing twice. Its distance is 0 whatever the network does, so it teaches "
            "nothing, and it makes accuracies look better than they are. Draw the two drawings without replacement."
        )


def _expect_halves(same: Tensor) -> None:
    counts = same.sum(dim=1)  # [BATCHES]
    share = same.float().mean()
    if share in (0, 1):
        kind = "one character" if share else "two characters"
        raise Wrong(
            f"All pairs are of {kind}. With one answer for everything the loss goes to 0, and nothing is learned. "
            "Where does the other half come from?"
        )
    if share < 0.25:
        raise Wrong(
            f"Only {share:.0%} of the pairs are of one character: two drawings taken at random rarely are, one time "
            f'in {CHARACTERS} here and one in 964 for Omniglot\'s training characters. "Always different" is then a '
            "good answer. Decide the kind first, then draw a pair of it."
        )
    if (counts != PAIRS // 2).any() and 0.45 < share < 0.55:
        raise Wrong(
            f"Half of the pairs are of one character on average, but in one batch it was {counts.min()} and in "
            f"another {counts.max()} of {PAIRS}, as if coins were tossed. That is noise in every step, and easy to "
            "avoid. How do you get labels of which exactly half are True?"
        )
    if (counts != PAIRS // 2).any():
        raise Wrong(
            f"It should be half of each kind, but {share:.0%} of the pairs are of one character. The threshold that "
            "the network learns shifts with that share. How many of `count` pairs is half?"
        )


def _expect_variety(first: _Side, second: _Side, same: Tensor) -> None:
    """Raise `Wrong` if something that must vary over the batches does not.

    A right function fails less than once in 10^10 times.
    """
    sides = (*first, *second)
    if all((part == part[:1]).all() for part in sides):
        raise Wrong(
            "Every batch is the same one. A network that sees the same few pairs learns them by heart. Does it seed a "
            "generator anew on each call?"
        )
    one_each_batch = [
        len(pairs.unique()) == 1 for batch, kind in zip(first.character, same, strict=True) for pairs in [batch[kind]]
    ]
    if all(one_each_batch):
        raise Wrong(
            "Within a batch, all pairs of one character are of the same one. A step then pulls on one character only. "
            "Draw the character anew for each pair, inside the loop."
        )
    for kind, name in ((same, "of one character"), (~same, "of two characters")):
        seen = torch.cat([first.character[kind], second.character[kind]]).unique()
        if len(seen) < CHARACTERS:
            raise Wrong(
                f"Only {len(seen)} of the {CHARACTERS} characters ever come up in pairs {name}. What the network "
                "learns about the others it learns by luck. Is the range of the random numbers too short?"
            )
        seen = torch.cat([first.drawing[kind], second.drawing[kind]]).unique()
        if len(seen) < DRAWINGS:
            raise Wrong(
                f"Only {len(seen)} of the {DRAWINGS} drawings of a character ever come up in pairs {name}. The more "
                "hands the network sees, the better it does with new ones. Draw from all of them."
            )
    if (first.drawing == second.drawing)[~same].all():
        raise Wrong(
            "Both drawings of a negative pair have the same number, and drawing k of every character of an Omniglot "
            "alphabet is by the same hand. As that is never so in a positive pair, the hand gives away the answer. "
            "Draw the two numbers differently."
        )
    for kind, of, size, phrase in (
        (~same, "character", CHARACTERS, "of characters come up in negative pairs"),
        (same, "drawing", DRAWINGS, "of drawings come up in positive pairs"),
    ):
        a, b = getattr(first, of)[kind], getattr(second, of)[kind]
        seen, all_pairs = _unordered(a, b), size * (size - 1) // 2
        if (((a - b) % size == 1) | ((b - a) % size == 1)).all():
            raise Wrong(
                f"Only neighbours make a pair: {of} k goes with {of} k + 1. Of all {all_pairs} combinations {phrase} "
                f"only {seen}, and the network is never asked about the rest. Draw the second one at random too."
            )
        if seen < 0.8 * all_pairs:  # with 1200 pairs, a right function meets nearly all combinations
            raise Wrong(
                f"Of all {all_pairs} combinations {phrase} only {seen}. The network is never asked about the rest. "
                "Draw both at random, each from all that there are."
            )


def _unordered(a: Tensor, b: Tensor) -> int:
    """Count the different pairs of numbers, in whichever order the two come."""
    return len((torch.minimum(a, b) * 100 + torch.maximum(a, b)).unique())


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
        "torch.randperm(n, generator=generator)[:2] are two different numbers out of 0 … n-1: once for the characters, "
        "once for the drawings.",
        "With characters a, b and drawings i, j: first is images[a, i], and second is images[a, j] for a pair of one "
        "character, images[b, j] for one of two. Collect them in lists and torch.stack these at the end.",
    ),
    inputs=_draw_pairs_inputs,
    examine=_examine_draw_pairs,
    in_place=(
        "It changes `images` in place, so the next pairs are drawn from altered drawings. Indexing with a tensor "
        "makes a copy: work on that."
    ),
)


# one_shot_answers


def _one_shot_answers_inputs() -> tuple[Tensor, Tensor]:
    """Return points in the plane, [5, 2] and [8, 2]. Queries 1, 2, 5 and 6 have 2, 4, 2 and 2 nearest supports."""
    support_z = torch.tensor([[5.0, 5], [1, 1], [5, 1], [1, 5], [13, 8]])
    query_z = torch.tensor([[2.0, 1], [3, 1], [3, 3], [5, 4], [8, 8], [1, 3], [6, 3], [13, 12]])
    return support_z, query_z


def _far_away(z: Tensor) -> Tensor:
    """Return the same picture, but small and far from the origin.

    No coordinate is rounded. But ‖a‖² + ‖b‖² - 2ab is rounded, and it is below 0 for a third of the distances, in
    whatever order its terms are summed.
    """
    return 3842.5 + z / 64


def _distances(support_z: Tensor, query_z: Tensor) -> Tensor:
    return (query_z[:, None] - support_z).norm(dim=2)  # [Q, N]


def _equal_to_best(scores: Tensor, dim: int = 1) -> Tensor:
    """Return 1 where a score equals the largest one along `dim`, and 0 elsewhere."""
    return (scores == scores.amax(dim, keepdim=True)).float()


def _shared(nearest: Tensor, dim: int = 1) -> Tensor:
    return nearest / nearest.sum(dim, keepdim=True)


def _without_ties(nearest: Tensor) -> Tensor:
    return nearest * (nearest.sum(dim=1, keepdim=True) == 1)


DISTANCES = (
    "These are the distances, not the answers. They are all it takes, but whoever counts right answers needs to know "
    "whom the query chose. Where in each row is the smallest one?"
)

ONE_SHOT_ANSWERS_MISTAKES: list[Misconception] = [
    (
        "It chooses the farthest support: large distances win. A perfect embedding would then score 0 %. Which end of "
        "a row of distances is the best match?",
        lambda s, q: _shared(_equal_to_best(_distances(s, q))),
    ),
    (
        "It chooses by dot product: a support with a long vector wins against nearer ones. The contrastive loss has "
        "trained distances, so judge by them: how far do query and support lie apart?",
        lambda s, q: _shared(_equal_to_best(q @ s.T)),
    ),
    (
        "It chooses by the cosine: only directions count, not how far the points lie apart. The contrastive loss has "
        "trained distances, so judge by them. What is the length of a difference?",
        lambda s, q: _shared(_equal_to_best(F.normalize(q, dim=1) @ F.normalize(s, dim=1).T)),
    ),
    (
        "It adds up absolute differences, the L1 distance that Koch's network weighs. The contrastive loss has "
        "trained the Euclidean one, and the two do not always agree about who is nearest. What comes before the sum?",
        lambda s, q: _shared(_equal_to_best(-(q[:, None] - s).abs().sum(dim=2))),
    ),
    (
        "The minimum is taken over the queries: each support chooses its nearest query. Some queries then get several "
        "answers and some get none. Which dimension of [Q, N] runs over the classes?",
        lambda s, q: _shared(_equal_to_best(-_distances(s, q), dim=0), dim=0),
    ),
    (
        "Each of several nearest classes gets a whole 1. Then a network that maps everything to one point is right "
        "every time, having named all classes at once. A query has one answer to give: what must its row add up to?",
        lambda s, q: _equal_to_best(-_distances(s, q)),
    ),
    (
        "In a tie nobody gets anything. A learner who guesses among k equals is right one time in k, so the accuracy "
        "comes out too low. What is each one's share?",
        lambda s, q: _without_ties(_equal_to_best(-_distances(s, q))),
    ),
    (DISTANCES, _distances),
    (DISTANCES, lambda s, q: -_distances(s, q)),
    (DISTANCES, lambda s, q: _distances(s, q) ** 2),
    (DISTANCES, lambda s, q: -(_distances(s, q) ** 2)),
]


def _examine_one_shot_answers(attempt: Callable) -> None:
    support_z, query_z = _one_shot_answers_inputs()

    def answers(support_z: Tensor, query_z: Tensor) -> Tensor:
        shares = attempt(support_z, query_z)
        if not isinstance(shares, Tensor):
            raise Wrong(f"It should return one tensor of shares [Q, N]; yours is {describe(shares)}.")
        if shares.shape == (len(support_z), len(query_z)):
            raise Wrong(
                "The shares are transposed: a row a class, a column a query. Whoever asks for query 3 would get the "
                "column of class 3. It should be [Q, N]: one row for each query."
            )
        if shares.shape == (len(query_z),):
            raise Wrong(
                "It returns one number for each query, as argmin does. That has no room for a tie: the query that is "
                "equally near to two classes has to name one of them. Return a row of shares for each query, [Q, N]."
            )
        return shares.detach().double()

    shares = answers(support_z, query_z)
    right = solutions.one_shot_answers(support_z, query_z).double()
    nearest = right > 0
    if shares.shape == right.shape:
        if (shares > 0).all() and torch.allclose(shares.sum(dim=1), torch.ones(len(query_z), dtype=torch.float64)):
            raise Wrong(
                "These are probabilities, as from a softmax: every class gets a part, the far ones too. Half of a "
                "right answer would then count as half right, though the nearest class is what is named. Give it all "
                "to the nearest."
            )
        if torch.equal(shares, F.one_hot(nearest.int().argmax(dim=1), len(support_z)).double()):
            raise Wrong(
                "A tie goes to the first class, as argmin has it. A network that maps every drawing to the same point "
                "then always names class 0, and where the right class happens to be listed first its accuracy is "
                "100 %. A tie means that the query cannot tell: share it among all that are equally near."
            )
        if torch.equal(shares, shares.bool().double()) and (shares.sum(dim=1) == 1).all() and nearest[shares > 0].all():
            raise Wrong(
                "Of several nearest classes one gets everything: the last one, or one drawn by lot, or one that "
                "rounding prefers (F.pairwise_distance adds 1e-6 to every difference). The accuracy then depends on "
                "the order of the classes, or on luck. Share a tie among all that are equally near."
            )
    mistakes = ((message, {"the share": wrong(support_z, query_z)}) for message, wrong in ONE_SHOT_ANSWERS_MISTAKES)
    compare(
        {"the share": shares}, {"the share": right}, mistakes=mistakes, inputs="exercises.one_shot_answers.inputs()"
    )

    shares = answers(_far_away(support_z), _far_away(query_z))
    if shares.isnan().any():
        raise Wrong(
            "Right where embeddings lie well apart, but nan where they lie close together and far from the origin: "
            "‖a‖² + ‖b‖² - 2ab is then a small difference of large numbers, comes out below 0, and has no root. One "
            "such query ruins a whole mean. Subtract the embeddings first, then take the length."
        )
    if not torch.allclose(shares, right):
        raise Wrong(
            "Right where embeddings lie well apart, but not where they lie close together and far from the origin. "
            "There ‖a‖² + ‖b‖² - 2ab loses the distance to rounding, so ties are missed or made up; a generous "
            "tolerance for ties makes them up as well. Subtract the embeddings first, then compare exactly."
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
        "Two steps: the distance of every query to every support, [Q, N], then who in each row is as near as the "
        "nearest. Mind that argmin knows only one of them.",
        "query_z[:, None] - support_z has the shape [Q, N, E]; .norm(dim=2) makes distances of it. "
        ".min(dim=1, keepdim=True).values is the smallest of each row, [Q, 1].",
        "nearest = (distances == smallest).float() has a 1 for each of the nearest. Divide each row by its sum.",
    ),
    inputs=_one_shot_answers_inputs,
    examine=_examine_one_shot_answers,
    in_place=(
        "It changes the embeddings it is given, so the next question is asked about others. Subtract out of place: "
        "a - b, not a -= b."
    ),
)
