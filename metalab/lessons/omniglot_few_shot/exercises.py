"""The exercises of the characters lesson: deal an episode, classify by prototypes, and tell how sure a result is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..kit.characters import recognise
from ..kit.exercise import Exercise, Misconception, Wrong, compare, describe, number
from . import solutions

__all__ = ["confidence_interval", "deal_episode", "prototype_logits"]


# deal_episode

CHARACTERS, DRAWINGS = 12, 20
WAYS, SHOTS, QUERIES = 5, 2, 3
EPISODES = 100


def _deal_episode_inputs() -> tuple[Tensor, int, int, int, torch.Generator]:
    generator = torch.Generator().manual_seed(0)
    # The images are noise, so that each row of an episode reveals which drawing of which character it is.
    images = torch.rand(CHARACTERS, DRAWINGS, 28, 28, generator=generator)
    return images, WAYS, SHOTS, QUERIES, generator


class _Dealt(NamedTuple):
    """The characters, drawings and labels of the rows of EPISODES support sets or query sets, each [EPISODES, rows]."""

    character: Tensor
    drawing: Tensor
    label: Tensor


def _examine_deal_episode(attempt: Callable) -> None:
    images, *_ = _deal_episode_inputs()

    def deal(count: int) -> list[Tensor]:
        """Return support_x, support_y, query_x and query_y of `count` episodes."""
        generator = torch.Generator().manual_seed(0)
        episodes = [_four_tensors(attempt(images, WAYS, SHOTS, QUERIES, generator)) for _ in range(count)]
        return [torch.stack(part) for part in zip(*episodes, strict=True)]

    dealt = deal(EPISODES)
    support, query = (_Dealt(*recognise(x, images), y) for x, y in (dealt[:2], dealt[2:]))
    _expect_labels_that_fit(support, query)
    _expect_distinct_drawings(support, query)
    if not all(torch.equal(first, second[:2]) for first, second in zip(deal(2), dealt, strict=True)):
        raise Wrong(
            "It draws from somewhere else than the generator it is given: the same seed gives other episodes each "
            "time. Two learners can only be compared on the same episodes. Where can the random function be told its "
            "source?"
        )
    _expect_fresh_draws(support, query)


def _four_tensors(episode: Any) -> list[Tensor]:
    """Return support_x and query_x as [rows, pixels], and support_y and query_y as [rows]."""
    if not isinstance(episode, tuple | list) or len(episode) != 4:
        raise Wrong(f"It should return support_x, support_y, query_x, query_y; yours is {describe(episode)}.")
    names = ("support_x", "support_y", "query_x", "query_y")
    parts = []
    for name, part, each in zip(names, episode, (SHOTS, SHOTS, QUERIES, QUERIES), strict=True):
        if not isinstance(part, Tensor):
            raise Wrong(f"{name} should be one tensor, as a network wants it; yours is {describe(part)}.")
        rows, pixels = WAYS * each, 28 * 28 if name.endswith("x") else 1
        if part.numel() != rows * pixels:
            what = f"{rows} drawings of 28 × 28" if name.endswith("x") else f"{rows} labels"
            raise Wrong(
                f"With {WAYS} ways, {SHOTS} shots and {QUERIES} queries, {name} should hold {what}; yours is "
                f"{describe(part)}."
            )
        if name.endswith("y") and part.dtype != torch.int64:
            raise Wrong(
                f"{name} has the dtype {part.dtype}. Labels are class numbers: cross_entropy wants torch.int64."
            )
        parts.append(part.reshape(rows, pixels).squeeze(1))
    return parts


def _clash(a: _Dealt, b: _Dealt, same: str, other: str) -> bool:
    """Tell whether in some episode a row of `a` and a row of `b` agree in `same` although they differ in `other`."""
    shared = getattr(a, same)[:, :, None] == getattr(b, same)[:, None]
    return bool((shared & (getattr(a, other)[:, :, None] != getattr(b, other)[:, None])).any())


def _expect_labels_that_fit(support: _Dealt, query: _Dealt) -> None:
    if (support.label == support.character).all():
        raise Wrong(
            "The labels are the numbers of the characters in `images`. A network could learn those by heart and never "
            "have to look at the support set; and it has only as many outputs as ways. What should labels run over?"
        )
    low, high = min(support.label.min(), query.label.min()), max(support.label.max(), query.label.max())
    if low < 0 or high >= WAYS:
        raise Wrong(
            f"The labels run from {low} to {high}, but a network with {WAYS} outputs knows 0 … {WAYS - 1} only. "
            "Number the characters of the episode, from zero."
        )
    if any(_clash(part, part, "label", "character") for part in (support, query)):
        raise Wrong(
            "Labels and drawings are out of step: one label stands for several characters, and such a support set "
            "teaches nothing. Were the drawings put in another order than their labels?"
        )
    if any(_clash(part, part, "character", "label") for part in (support, query)):
        raise Wrong(
            "The same character can come twice in an episode, under two labels. No learner can tell those two apart, "
            "so part of every accuracy is luck. Draw the characters without replacement."
        )
    if not (query.character[:, :, None] == support.character[:, None]).any(dim=2).all():
        raise Wrong(
            "The query set asks about characters that the support set does not show. Nothing learned there can answer "
            "that. Draw the characters of an episode once, then take both sets from them."
        )
    if _clash(support, query, "character", "label"):
        raise Wrong(
            "A character has one label in the support set and another in the query set, so that a perfect learner "
            "would be marked wrong. Deal the labels once and use them in both."
        )
    for name, part, each in (("support_y", support, SHOTS), ("query_y", query, QUERIES)):
        if (F.one_hot(part.label, WAYS).sum(dim=1) != each).any():
            raise Wrong(
                f"In {name} some labels come more often than others. Five-way two-shot means two support drawings of "
                "each character: with fewer, a class is harder to learn. Split the drawings of each character by "
                "itself."
            )


def _expect_distinct_drawings(support: _Dealt, query: _Dealt) -> None:
    support_id, query_id = (part.character * DRAWINGS + part.drawing for part in (support, query))
    if (support_id[:, :, None] == query_id[:, None]).any():
        raise Wrong(
            "The same drawing can be support and query. Recognising a drawing one has just been shown is no "
            "generalisation, and accuracies come out too high. Draw both sets of a character in one go, then split."
        )
    for rows in (support_id, query_id):
        ordered = rows.sort(dim=1).values
        if (ordered[:, 1:] == ordered[:, :-1]).any():
            raise Wrong(
                "A drawing can come twice in the same set, so a two-shot episode sometimes shows one drawing only and "
                "is harder than it says. Draw the drawings without replacement."
            )


def _expect_fresh_draws(support: _Dealt, query: _Dealt) -> None:
    """Raise `Wrong` if something that must vary over EPISODES episodes does not.

    A right function fails less than once in 10^20 times.
    """
    if all((part == part[:1]).all() for part in support):
        raise Wrong(
            "Every episode is the same one. A learner that sees one task learns that task, not how to learn. Does it "
            "seed a generator anew on each call?"
        )
    seen = support.character.unique().tolist()
    if len(seen) == WAYS:
        raise Wrong(
            f"Every episode uses the same {WAYS} characters. Meta-learning needs many different tasks; with one set "
            "of classes this is ordinary classification. Draw the characters anew from all of them."
        )
    if len(seen) < CHARACTERS:
        raise Wrong(
            f"Only {len(seen)} of the {CHARACTERS} characters ever come up. The others are lost as training tasks. Is "
            "the range of the random numbers one too short?"
        )
    by_label = support.character.gather(1, support.label.argsort(dim=1))  # [EPISODES, WAYS * SHOTS]
    steps = by_label.diff(dim=1)
    if (steps >= 0).all() or (steps <= 0).all():
        raise Wrong(
            "The labels follow the order of the characters in `images`: of two characters the same one always gets "
            "the lower label. A network can use that instead of the support set. Labels must be dealt anew each time."
        )
    if len(support.drawing.unique()) == SHOTS:
        raise Wrong(
            f"The support set always shows the same {SHOTS} drawings of a character. The other drawings never serve "
            "as examples, so the learner sees far fewer tasks than there are. Put the drawings in random order "
            "before you split them."
        )
    if any(len(part.drawing.unique()) < DRAWINGS for part in (support, query)):
        raise Wrong(
            f"Some of the {DRAWINGS} drawings of a character never come up in one of the two sets. The learner sees "
            "fewer tasks than there are. Draw from all of them, in random order."
        )


deal_episode = Exercise(
    answer=solutions.deal_episode,
    difficulty="medium",
    minutes=15,
    statement=(
        "Deal an episode: `ways` different characters, of each `shots` drawings as support and `queries` other "
        "drawings as query, with the labels 0 … ways-1 dealt anew."
    ),
    hints=(
        "Two draws without replacement: first the characters of the episode, then, for each of them, its drawings.",
        "torch.randperm(n, generator=generator)[:k] draws k of n numbers without replacement and in random order. The "
        "place of a character in that order can be its label.",
        "For each character draw shots + queries drawings at once, then give the first `shots` to the support set and "
        "the rest to the query set. torch.cat joins the drawings; label.repeat_interleave(shots) goes with them.",
    ),
    inputs=_deal_episode_inputs,
    examine=_examine_deal_episode,
    in_place=(
        "It changes `images` in place, so the next episode is dealt from altered drawings. Indexing with a tensor "
        "makes a copy: work on that."
    ),
)


# prototype_logits

Z_WAYS, Z_SHOTS, Z_QUERIES, Z_SIZE = 4, 3, 6, 5


def _prototype_logits_inputs() -> tuple[Tensor, Tensor, Tensor, int]:
    generator = torch.Generator().manual_seed(0)
    support_y = torch.arange(Z_WAYS).repeat(Z_SHOTS)[torch.randperm(Z_WAYS * Z_SHOTS, generator=generator)]
    support_z = torch.randn(Z_WAYS * Z_SHOTS, Z_SIZE, generator=generator).requires_grad_()
    query_z = torch.randn(Z_QUERIES, Z_SIZE, generator=generator).requires_grad_()
    return support_z, support_y, query_z, Z_WAYS


def _prototypes(support_z: Tensor, support_y: Tensor, ways: int) -> Tensor:
    return torch.stack([support_z[support_y == way].mean(dim=0) for way in range(ways)])  # [N, E]


def _transformed(transform: Callable[[Tensor], Tensor]) -> Callable:
    """Return a wrong function that applies `transform` to the right logits."""
    return lambda *arguments: transform(solutions.prototype_logits(*arguments))


def _similarity(similar: Callable[[Tensor, Tensor], Tensor]) -> Callable:
    """Return a wrong function whose logits are similar(queries [Q, 1, E], prototypes [N, E]) -> [Q, N]."""
    return lambda sz, sy, qz, ways: similar(qz[:, None], _prototypes(sz, sy, ways))


def _to_each_support(sz: Tensor, sy: Tensor, qz: Tensor, ways: int) -> Tensor:
    """Return the squared distances of each query to each support embedding of each class: [Q, N, K]."""
    by_class = torch.stack([sz[sy == way] for way in range(ways)])  # [N, K, E]
    return ((qz[:, None, None] - by_class) ** 2).sum(dim=3)


PROTOTYPE_LOGITS_MISTAKES: list[Misconception] = [
    (
        "The sign is missing: a large distance gives a large logit, so the class that is farthest away wins. Training "
        "would push drawings of a class apart. Which should score higher, near or far?",
        _transformed(lambda logits: -logits),
    ),
    (
        "The distance is not squared. Prototypical networks square it because then the class mean is the point nearest "
        "to all drawings of the class (Snell et al. 2017). Did a norm or cdist take a square root on the way?",
        _similarity(lambda q, c: -(q - c).norm(dim=2)),
    ),
    (
        "The prototypes are sums of the support embeddings, not means, so they move away as the number of shots "
        "grows. A learner trained with one shot would fail with five. What should a sum be divided by?",
        lambda sz, sy, qz, ways: -((qz[:, None] - Z_SHOTS * _prototypes(sz, sy, ways)) ** 2).sum(dim=2),
    ),
    (
        "It takes the support rows to be sorted by class and does not look at support_y. Here they come shuffled, so "
        "each prototype mixes several classes. Which rows belong to class 0?",
        lambda sz, sy, qz, ways: solutions.prototype_logits(sz, sy.sort().values, qz, ways),
    ),
    (
        "It takes the support rows to come class after class in turn and does not look at support_y. Here they are "
        "shuffled, so each prototype mixes several classes. Which rows belong to class 0?",
        lambda sz, sy, qz, ways: solutions.prototype_logits(sz, torch.arange(len(sz)) % ways, qz, ways),
    ),
    (
        "The logits are cosine similarities: only the direction of an embedding counts, not how far it lies. That is "
        "nearer to matching networks, and for prototypes it did worse (Snell et al. 2017). Measure the distance "
        "instead.",
        _similarity(lambda q, c: F.cosine_similarity(q, c, dim=2)),
    ),
    (
        "The logits are dot products: a prototype with a long vector wins against nearer ones. A mean is the natural "
        "representative for distances, not for dot products. Measure how far query and prototype lie apart.",
        _similarity(lambda q, c: (q * c).sum(dim=2)),
    ),
    (
        "These are probabilities: a softmax is applied already. cross_entropy applies it again, which flattens the "
        "probabilities and makes the gradients tiny. Return what goes into the softmax.",
        _transformed(lambda logits: logits.softmax(dim=1)),
    ),
    (
        "These are log-probabilities: a log_softmax is applied already. cross_entropy does that itself, and the "
        "distances can no longer be read from them. Return what goes into the softmax.",
        _transformed(lambda logits: logits.log_softmax(dim=1)),
    ),
    (
        "The squared differences are averaged over the embedding, not added up: every logit is too small by the same "
        "factor, so the probabilities are too even and training is slower. A squared distance is a sum over "
        "dimensions.",
        _transformed(lambda logits: logits / Z_SIZE),
    ),
    (
        "The logits are halved, as for a Gaussian's exponent. The probabilities come out more even than in the paper. "
        "Take the squared distance as it is.",
        _transformed(lambda logits: logits / 2),
    ),
    (
        "It averages the distances to the support drawings instead of measuring the distance to their average. "
        "Classes whose drawings differ much are then punished for it. First the prototype, then one distance.",
        lambda *arguments: -_to_each_support(*arguments).mean(dim=2),
    ),
    (
        "It measures the distance to the nearest support drawing of a class: a nearest neighbour, without prototypes. "
        "One odd drawing can then decide. Average the drawings of a class first.",
        lambda *arguments: -_to_each_support(*arguments).min(dim=2).values,
    ),
    (
        "The squared length of the query is left out. That is the same for all classes, so the probabilities are "
        "right, but these are not distances: a query far from everything looks like any other. Which term is missing?",
        _similarity(lambda q, c: 2 * (q * c).sum(dim=2) - (c**2).sum(dim=1)),
    ),
]


def _examine_prototype_logits(attempt: Callable) -> None:
    arguments = _prototype_logits_inputs()
    support_z, _, query_z, _ = arguments
    logits = attempt(*arguments)
    if not isinstance(logits, Tensor):
        raise Wrong(f"It should return one tensor of logits [Q, ways]; yours is {describe(logits)}.")
    if logits.shape == (Z_WAYS, Z_QUERIES):
        raise Wrong(
            "The logits are transposed: a row a class, a column a query. cross_entropy would take queries for "
            "classes. It wants [Q, ways]: one row for each query."
        )
    right = solutions.prototype_logits(*arguments)
    trial = "exercises.prototype_logits.inputs()"
    mistakes = ((message, {"the logit": wrong(*arguments).detach()}) for message, wrong in PROTOTYPE_LOGITS_MISTAKES)
    compare({"the logit": logits.detach()}, {"the logit": right.detach()}, mistakes=mistakes, inputs=trial)

    for name, z in {"support": support_z, "query": query_z}.items():
        if (
            not logits.requires_grad
            or torch.autograd.grad(logits.sum(), z, allow_unused=True, retain_graph=True)[0] is None
        ):
            raise Wrong(
                f"The logits are right, but cut off from the {name} embeddings: no gradient flows back, so the "
                "network that makes them could not be trained through it. Look for no_grad, detach, tensor(), item "
                "or numpy."
            )


prototype_logits = Exercise(
    answer=solutions.prototype_logits,
    difficulty="medium",
    minutes=10,
    statement=(
        "Turn embeddings into logits: minus the squared Euclidean distance of each query to each class's prototype, "
        "the mean of its support embeddings."
    ),
    hints=(
        "Two steps: one prototype for each class, [ways, E], then the distance of every query to every prototype.",
        "support_z[support_y == way] are the embeddings of one class, wherever they stand; take their mean over dim=0.",
        "query_z[:, None] - prototypes has the shape [Q, ways, E]: square it, sum over the last dimension, and mind "
        "the sign.",
    ),
    inputs=_prototype_logits_inputs,
    examine=_examine_prototype_logits,
)


# confidence_interval


def _confidence_interval_inputs() -> tuple[Tensor]:
    """Draw the accuracies of 600 episodes, as many as in the MAML paper, with 75 queries each."""
    generator = torch.Generator().manual_seed(0)
    spread = 0.85 + 0.08 * torch.randn(600, generator=generator)
    return ((spread.clamp(0, 1) * 75).round() / 75,)


def _interval(half_width: Callable[[Tensor], Tensor]) -> Callable:
    return lambda accuracies: (accuracies.mean(), half_width(accuracies))


CONFIDENCE_INTERVAL_MISTAKES: list[Misconception] = [
    (
        "This is the spread of single episodes: it does not shrink when there are more of them. Asked is how sure the "
        "mean is, which is why papers test on hundreds of episodes. What does averaging E values do to their spread?",
        _interval(lambda a: 1.96 * a.std()),
    ),
    (
        "The standard deviation itself comes back. It says how much episodes differ, not how sure their mean is, and "
        "it is no 95 % interval. Two factors are missing: one for the number of episodes, one for the 95 %.",
        _interval(lambda a: a.std()),
    ),
    (
        "It uses the variance in place of the standard deviation. The variance is in squared units, so for accuracies "
        "below 1 the interval comes out far too narrow, and chance would look like progress. Which one has a root?",
        _interval(lambda a: 1.96 * a.var() / len(a) ** 0.5),
    ),
    (
        "This is the standard error, the 68 % interval: the factor for 95 % is missing. Published intervals are 95 %, "
        "and yours would look twice as sure. How many standard errors does a normal distribution need for 95 %?",
        _interval(lambda a: a.std() / len(a) ** 0.5),
    ),
    (
        "It divides by the number of episodes, not by its root, so the interval is far too narrow. Differences that "
        "are mere luck would look proven. The variance of a mean shrinks with E; and its standard deviation?",
        _interval(lambda a: 1.96 * a.std() / len(a)),
    ),
    (
        "This is the full width of the interval; what follows the ± is half of it. Results would look twice as "
        "uncertain as they are. How far is it from the mean to one end?",
        _interval(lambda a: 2 * 1.96 * a.std() / len(a) ** 0.5),
    ),
    (
        "It treats each episode as one coin flip, as p(1 - p) does. An episode's accuracy is an average of many "
        "queries, so episodes differ less than coins, and the interval is too wide. Measure their spread instead.",
        _interval(lambda a: 1.96 * (a.mean() * (1 - a.mean()) / len(a)) ** 0.5),
    ),
    (
        "The factor is 2 in place of 1.96. That is a good rule of thumb, but a reader who recomputes a published "
        "interval gets another number. Use the usual two decimals.",
        _interval(lambda a: 2 * a.std() / len(a) ** 0.5),
    ),
    (
        "These are the two ends of the interval. Tables print mean ± half width, and the mean is what learners are "
        "compared by. Return the middle, and the distance from it to an end.",
        lambda a: (a.mean() - 1.96 * a.std() / len(a) ** 0.5, a.mean() + 1.96 * a.std() / len(a) ** 0.5),
    ),
    (
        "Right, but a hundred times as large: per cent instead of fractions. Code that mixes the two reports an "
        "accuracy of 8500 %. Give back the unit you were given.",
        lambda a: (100 * a.mean(), 100 * 1.96 * a.std() / len(a) ** 0.5),
    ),
    (
        "The two numbers are swapped: the half width comes first. A table would show a tiny accuracy with an enormous "
        "uncertainty. The mean comes first.",
        lambda a: (1.96 * a.std() / len(a) ** 0.5, a.mean()),
    ),
]


def _examine_confidence_interval(attempt: Callable) -> None:
    (accuracies,) = _confidence_interval_inputs()

    def named(result: Any) -> dict[str, Tensor]:
        if not isinstance(result, tuple | list | Tensor) or len(result) != 2:
            raise Wrong(f"It should return two numbers, the mean and the half width; yours is {describe(result)}.")
        names = ("the mean", "the half width")
        return {name: torch.tensor(number(value, name)) for name, value in zip(names, result, strict=True)}

    # 0.4 % accepts what is a matter of taste (dividing by E or E - 1, Student's 1.964 for 1.96), but not 2 for 1.96.
    compare(
        named(attempt(accuracies)),
        named(solutions.confidence_interval(accuracies)),
        mistakes=((message, named(wrong(accuracies))) for message, wrong in CONFIDENCE_INTERVAL_MISTAKES),
        inputs="exercises.confidence_interval.inputs()",
        tolerance=0.004,
    )


confidence_interval = Exercise(
    answer=solutions.confidence_interval,
    difficulty="easy",
    minutes=5,
    statement=(
        "From the accuracies of E test episodes compute their mean and half the width of its 95 % confidence "
        "interval, the number behind the ±."
    ),
    hints=(
        "How sure is a mean? Less sure when the episodes differ much, more sure when there are many of them.",
        "The standard error of a mean is s / √E, with s the standard deviation of the E values.",
        "95 % of a normal distribution lie within 1.96 standard errors of its middle. Tensors have mean() and std().",
    ),
    inputs=_confidence_interval_inputs,
    examine=_examine_confidence_interval,
)
