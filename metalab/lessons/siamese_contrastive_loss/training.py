"""The exercises on what is trained: a step on all pairs of a group, and the triplets that count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..kit.comparing import Case, Misconception, Numbers, Wrong, agree, combined, describe, single, with_help
from ..kit.exercise import Exercise
from ..kit.training_step import STEP_MISTAKES, Embedding, take_step, taken_step
from . import solutions

# train_on_group


SIDE, PATCH = 28, 6  # pixels: the page promises pictures of SIDE, which have ink in a patch in the middle only


def _train_on_group_case(characters: int, drawings: int, margin: float) -> Case:
    def make() -> tuple:
        generator = torch.Generator().manual_seed(characters)
        embed = Embedding(SIDE * SIDE, 3 + characters, height=0.5)
        group = torch.rand(characters, drawings, 1, PATCH, PATCH, generator=generator, dtype=torch.float32)
        group = group + torch.rand(characters, 1, 1, PATCH, PATCH, generator=generator, dtype=torch.float32)
        return embed, torch.optim.SGD(embed.parameters(), lr=0.5), F.pad(group, 4 * [(SIDE - PATCH) // 2]), margin

    return Case(
        what=f"{characters} characters with {drawings} drawings each and a margin of {margin}",
        make=make,
        sizes={"the number of characters": characters, "the number of drawings": characters * drawings},
    )


TRAIN_ON_GROUP_CASES = (_train_on_group_case(5, 3, 1.7), _train_on_group_case(4, 4, 1.3))


def _stepped(
    embed: Embedding,
    optimizer: torch.optim.Optimizer,
    group: Tensor,
    margin: float,
    *,
    called: str = "once",
    pairs: str = "right",
    weight: str = "halves",
    loss: str = "right",
    **how: Any,
) -> Tensor:
    """Take the step, or do what the mistakes do that the keywords name, and return the loss."""
    characters, drawings = group.shape[:2]

    def compute() -> Tensor:
        if called == "once":
            z = embed(group.flatten(0, 1))
        elif called == "by character":
            z = torch.cat([embed(each) for each in group])
        else:
            z = torch.stack([embed(each) for each in group.transpose(0, 1)], 1).flatten(0, 1)
        character = torch.arange(characters).repeat_interleave(drawings)
        if pairs == "interleaved":
            character = torch.arange(characters).repeat(drawings)
        elif pairs == "of the cell":
            character = torch.arange(60).repeat_interleave(2)
        everyone = torch.arange(len(z))
        i, j = torch.triu_indices(len(z), len(z), 0 if pairs == "itself" else 1)
        if pairs == "neighbours":
            i, j = everyone[:-1], everyone[1:]
        elif pairs == "table":
            i, j = torch.cartesian_prod(everyone, everyone).T
        other = z[j].detach() if pairs == "cut" else z[j]
        distance = (z[i] - other).square().sum(1).clamp(min=1e-12).sqrt()
        same = character[i] == character[j]
        if loss == "flipped":
            losses = solutions.contrastive_loss(distance, ~same, margin)
        elif loss == "squared":
            losses = solutions.contrastive_loss(distance**2, same, margin)
        else:
            losses = solutions.contrastive_loss(distance, same, 1.0 if loss == "margin 1" else margin)
        alike, unlike = losses[same], losses[~same]
        return {
            "halves": lambda: (alike.mean() + unlike.mean()) / 2,
            "both": lambda: alike.mean() + unlike.mean(),
            "half of one": lambda: alike.mean() + unlike.mean() / 2,
            "all": lambda: losses.mean(),
            "sum": lambda: losses.sum(),
            "sums": lambda: (alike.sum() + unlike.sum()) / 2,
            "same": lambda: alike.mean(),
            "different": lambda: unlike.mean(),
        }[weight]()

    return take_step(compute, optimizer, **how)


COPIED = (
    "The sizes have to come from the arguments, and not from the cell above (60, 2 and 120): P, K = group.shape[:2], "
    "and B = P * K."
)
_HELP_WITH_THE_STEP = {
    "embed takes a batch": "The group is [P, K, 1, H, W]. group.flatten(0, 1) makes one batch of it, [B, 1, H, W].",
    **dict.fromkeys(("is out of bounds for dimension 0", "[120", "(120)", "7140"), COPIED),
}
_KNOWN_STEPS = combined(
    _stepped,
    {
        "clear": STEP_MISTAKES["clear"],
        "called": {
            "by character": "Each character is embedded in a call of its own, so batch norm normalises it by its own "
            "statistics, and drawings of two characters are compared on different scales. Embed the group in one call.",
            "by drawing": "The first drawings of all characters are embedded in one call and the second ones in "
            "another, so batch norm normalises them by different statistics. Embed the group in one call.",
        },
        "pairs": {
            "interleaved": "The labels are in the wrong order. group.flatten(0, 1) puts the drawings of a character "
            "next to one another, so the characters are 0, 0, 1, 1, …: repeat_interleave, and not repeat.",
            "of the cell": "Every two drawings in a row count as one character, as in the cell above with its 60 "
            f"characters of 2 drawings. {COPIED}",
            "itself": "Each drawing is also paired with itself. Such a pair is at distance 0 whatever the network "
            "does, and makes the mean of the same pairs too small. torch.triu_indices(B, B, 1) leaves it out.",
            "table": "Every entry of a table [B, B] counts, also those on its diagonal, where each drawing is paired "
            "with itself. Such a pair is at distance 0 whatever the network does, and makes the mean of the same pairs "
            "too small. torch.triu_indices(B, B, 1) leaves it out.",
            "neighbours": "Only drawings that stand next to one another in the batch are compared. The group has many "
            "more pairs, and they cost nothing to embed.",
            "cut": "The gradient flows through only one of the two drawings of each pair. Look for detach, no_grad, "
            "data or a new tensor.",
        },
        "weight": {
            "all": "It takes the mean over all pairs alike. Nearly all pairs are different pairs, so the same pairs "
            "hardly count. Take the mean of each kind first, and then half of either.",
            "both": "It adds the two means. The page asks for half of their sum, so that your loss is the engine's.",
            "half of one": "Only the mean of the different pairs is halved: in a + b / 2 the division comes first. Put "
            "the sum of the two means in parentheses.",
            "sum": "It is the sum over all pairs, so it grows with the group, and nearly all of it comes from the "
            "different pairs. Take the mean of each kind, and half of either.",
            "sums": "It adds the sums of the two kinds. There are far more different pairs, so take the mean of each "
            "kind.",
            "same": "Only the same pairs count. Nothing pushes, so the embedding collapses into one point.",
            "different": "Only the different pairs count. Nothing pulls the drawings of a character together.",
        },
        "loss": {
            "flipped": "The label is turned round: `same` should be True for two drawings of one character.",
            "squared": "The distances are squared before contrastive_loss, which squares them itself. Pass d.",
            "margin 1": "The margin is 1 whatever `margin` says.",
        },
        "step": STEP_MISTAKES["step"],
        "returned": STEP_MISTAKES["returned"],
    },
)
TRAIN_ON_GROUP_MISTAKES = single(_KNOWN_STEPS)


def _examine_train_on_group(attempt: Callable) -> None:
    agree(
        with_help(attempt, _HELP_WITH_THE_STEP),
        name="train_on_group",
        cases=TRAIN_ON_GROUP_CASES,
        right=solutions.train_on_group,
        numbers=taken_step,
        mistakes=_KNOWN_STEPS,
    )


train_on_group = Exercise(
    answer=solutions.train_on_group,
    difficulty="medium",
    minutes=15,
    statement=(
        "Embed a group of drawings in one call, compare all pairs of them, take half the mean loss of the same pairs "
        "plus half the mean loss of the different ones, let the optimizer take one step on it, and return this loss."
    ),
    hints=(
        "In order: embed, form all pairs, their distances and labels, contrastive_loss, the two means; then the three "
        "lines that end every training step in PyTorch.",
        "z = embed(group.flatten(0, 1)) has the drawings of a character next to one another. i, j = "
        "torch.triu_indices(len(z), len(z), 1) are the two rows of each pair, and (z[i] - z[j]).norm(dim=1) is its "
        "distance.",
        "character = torch.arange(P).repeat_interleave(K) and same = character[i] == character[j]. The loss is "
        "(losses[same].mean() + losses[~same].mean()) / 2.",
    ),
    cases=TRAIN_ON_GROUP_CASES,
    examine=_examine_train_on_group,
)


# hardest_triplets


def _hardest_triplets_case(characters: int, drawings: int, margin: float) -> Case:
    def make() -> tuple[Tensor, Tensor, float]:
        generator = torch.Generator().manual_seed(characters)
        labels = torch.arange(characters).repeat(drawings)[torch.randperm(characters * drawings, generator=generator)]
        middles = torch.randn(characters, 3, generator=generator, dtype=torch.float32)
        z = middles[labels] + 0.6 * torch.randn(len(labels), 3, generator=generator, dtype=torch.float32)
        return torch.cdist(z, z).fill_diagonal_(0).requires_grad_(), labels, margin

    return Case(
        what=f"{characters * drawings} drawings of {characters} characters and a margin of {margin}",
        make=make,
        sizes={"the number of drawings": characters * drawings, "the margin": margin},
    )


HARDEST_TRIPLETS_CASES = (_hardest_triplets_case(4, 4, 0.7), _hardest_triplets_case(5, 3, 0.3))


def _of_triplets(
    distance: Tensor,
    character: Tensor,
    margin: float,
    *,
    positive: str = "farthest",
    negative: str = "nearest",
    inside: str = "right",
    hinge: str = "right",
) -> Tensor:
    """Return the loss of each anchor's triplet, or what comes of the mistakes that the keywords name."""
    if inside == "squares":
        distance = distance**2
    same = character[:, None] == character
    others = same & ~torch.eye(len(same), dtype=torch.bool)
    p = {
        "farthest": lambda: distance.masked_fill(~same, -torch.inf).amax(1),
        "nearest": lambda: distance.masked_fill(~others, torch.inf).amin(1),
        "itself": lambda: distance.masked_fill(~same, torch.inf).amin(1),
        "mean": lambda: (distance * others).sum(1) / others.sum(1),
        "of all": lambda: distance.amax(1),
    }[positive]()
    n = {
        "nearest": lambda: distance.masked_fill(same, torch.inf).amin(1),
        "farthest": lambda: distance.masked_fill(same, -torch.inf).amax(1),
        "mean": lambda: (distance * ~same).sum(1) / (~same).sum(1),
        "of all": lambda: distance.masked_fill(torch.eye(len(same), dtype=torch.bool), torch.inf).amin(1),
        "at 0": lambda: (distance * ~same).amin(1),
        "of the batch": lambda: distance.masked_fill(same, torch.inf).amin().expand(len(same)),
    }[negative]()
    gap = {
        "right": lambda: margin + p - n,
        "squares": lambda: margin + p - n,
        "turned": lambda: margin + n - p,
        "minus": lambda: p - n - margin,
        "no margin": lambda: p - n,
        "margin 1": lambda: 1.0 + p - n,
    }[inside]()
    return {
        "right": lambda: gap.clamp(min=0),
        "none": lambda: gap,
        "absolute": lambda: gap.abs(),
        "square": lambda: gap.clamp(min=0) ** 2,
        "at margin": lambda: gap.clamp(min=margin),
        "soft": lambda: torch.nn.functional.softplus(gap),
        "count": lambda: (gap > 0).float() + 0 * gap,
    }[hinge]()


_NO_TRIPLETS: list[Misconception] = [
    (
        "Every loss is 0. Is `same` True everywhere, so that no n is left? character == character compares each "
        "drawing with itself, and character[:, None] == character is the table. Or does it take the easiest triplets, "
        "with the nearest p and the farthest n? The hardest have the farthest p and the nearest n.",
        lambda distance, character, margin: 0 * distance.sum(1),
    ),
]
_KNOWN_TRIPLETS = _NO_TRIPLETS + combined(
    _of_triplets,
    {
        "positive": {
            "nearest": "It takes the nearest other drawing of the character, which is the easiest one. The hardest p "
            "is the farthest.",
            "itself": "The nearest drawing of the character is the anchor itself, at distance 0. Take the farthest: it "
            "is never the anchor.",
            "mean": "It takes the mean distance to the character's other drawings. The page asks for the farthest one.",
            "of all": "It takes the farthest of all drawings for p. Only those of the anchor's character may be p.",
        },
        "negative": {
            "farthest": "It takes the farthest drawing of another character, which is the easiest one. The hardest n "
            "is the nearest.",
            "mean": "It takes the mean distance to the drawings of other characters. The page asks for the nearest.",
            "of all": "It takes the nearest of all other drawings for n, whichever character they show. Leave out "
            "those of the anchor's character.",
            "at 0": "The n that it finds is at distance 0, which is the anchor itself, or an entry that a product with "
            "the mask has made 0. A minimum must not see the drawings of the anchor's character: "
            "distance.masked_fill(same, torch.inf).",
            "of the batch": "It takes the smallest distance of the whole batch for every anchor. Each anchor has its "
            "own nearest n: the minimum of its row.",
        },
        "inside": {
            "turned": "The difference is turned round: it is positive when n is farther than p, which is as it should "
            "be. Put d(a, p) minus d(a, n).",
            "minus": "The margin is subtracted. It should be added, so that n has to be farther than p by the margin.",
            "no margin": "The margin is missing: a triplet in which n is only just farther than p would cost nothing.",
            "margin 1": "The margin is 1 whatever `margin` says.",
            "squares": "The distances are squared. This lesson takes them as they are.",
        },
        "hinge": {
            "none": "The hinge is missing: a triplet that is right by more than the margin has a negative loss, so the "
            "easy ones outweigh the hard ones. max(0, …) is .clamp(min=0).",
            "absolute": "It takes the absolute value in place of max(0, …), so a triplet that is right by more than "
            "the margin is punished.",
            "square": "The hinge is squared. The triplet loss has no square.",
            "at margin": "The loss is cut off at the margin. It should be cut off at 0.",
            "soft": "The hinge is a softplus, which is never 0. The page asks for max(0, …).",
            "count": "It counts the triplets that cost something. Return what each of them costs.",
        },
    },
)
HARDEST_TRIPLETS_MISTAKES = single(_KNOWN_TRIPLETS)


def _triplets(result: Any, arguments: tuple) -> Numbers:
    """Return the loss of each anchor. Raise `Wrong` for what is no such tensor."""
    count = len(arguments[0])
    if not isinstance(result, Tensor):
        raise Wrong(f"It should return one tensor with the loss of each anchor, [B]; yours is {describe(result)}.")
    if result.numel() == 1:
        raise Wrong("It returns one number for the whole batch. Return the loss of each anchor, [B].")
    if list(result.shape) != [count]:
        why = " Does it have every triplet? Each anchor has one: its hardest." if result.numel() > count else ""
        raise Wrong(f"With {count} drawings, the loss has the shape {list(result.shape)}; it should be [{count}].{why}")
    if not result.is_floating_point():
        raise Wrong(f"The losses have the dtype {result.dtype}, which cannot hold them.")
    if result.isinf().any():
        raise Wrong(
            "Some of the losses are infinite, as when a maximum meets entries that were filled with torch.inf, or a "
            "minimum entries that were filled with -torch.inf. Fill with -torch.inf what a maximum should not see, and "
            "with torch.inf what a minimum should not see."
        )
    return {"the loss of each anchor": result.detach()}


def _examine_hardest_triplets(attempt: Callable) -> None:
    called = agree(
        attempt,
        name="hardest_triplets",
        cases=HARDEST_TRIPLETS_CASES,
        right=solutions.hardest_triplets,
        numbers=_triplets,
        mistakes=_KNOWN_TRIPLETS,
    )
    for case, (arguments, loss) in zip(HARDEST_TRIPLETS_CASES, called, strict=True):
        if not loss.requires_grad:
            raise Wrong(
                "The losses are right, but no gradient flows from them back to the distances, so no network can learn "
                "from them. Look for no_grad, detach, item() or a new tensor."
            )
        (slope,) = torch.autograd.grad(loss.sum(), arguments[0], allow_unused=True, materialize_grads=True)
        ours = case.make()
        (want,) = torch.autograd.grad(solutions.hardest_triplets(*ours).sum(), ours[0])
        if not torch.allclose(slope, want.to(slope.dtype), atol=1e-4):
            raise Wrong(
                "The losses are right, but not their slopes: each loss should grow with d(a, p), and fall as d(a, n) "
                "grows. A part of it was cut off from the distances, as by detach, item() or data."
            )


hardest_triplets = Exercise(
    answer=solutions.hardest_triplets,
    difficulty="medium",
    minutes=15,
    statement=(
        "Return each anchor's triplet loss with its hardest p, the farthest drawing of its character, and its hardest "
        "n, the nearest drawing of another character."
    ),
    hints=(
        "Every drawing is an anchor once: row a of `distance` has its distances to all drawings. Among the columns of "
        "its own character look for the largest, and among the others for the smallest.",
        "same = character[:, None] == character is a table [B, B] of who shows the same character. "
        "distance.masked_fill(~same, -torch.inf) leaves only the same ones to a maximum.",
        "farthest = distance.masked_fill(~same, -torch.inf).amax(dim=1), nearest = distance.masked_fill(same, "
        "torch.inf).amin(dim=1), and then max(0, margin + farthest - nearest) by .clamp(min=0).",
    ),
    cases=HARDEST_TRIPLETS_CASES,
    examine=_examine_hardest_triplets,
    in_place=(
        "It changes the distances that it is given, so whatever comes after would go on with other ones. "
        "masked_fill, without the underscore, makes a new tensor."
    ),
)
