"""The exercises of the characters lesson: deal an episode, classify by prototypes, and tell how sure a result is.

Those on training and on comparing trainings are in `training`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..kit.comparing import Case, Misconception, Numbers, Wrong, agree, call_in, combined, describe, number, single
from ..kit.exercise import Exercise
from . import solutions
from .training import FINE_TUNE_MISTAKES as FINE_TUNE_MISTAKES
from .training import PAIRED_DIFFERENCE_MISTAKES as PAIRED_DIFFERENCE_MISTAKES
from .training import TRAIN_STEP_MISTAKES as TRAIN_STEP_MISTAKES
from .training import fine_tune, paired_difference, train_step

__all__ = ["confidence_interval", "deal_episode", "fine_tune", "paired_difference", "prototype_logits", "train_step"]


# deal_episode

EPISODES = 400  # of each case that has a choice
IMPROBABLE = 30  # what happens to a right function is less likely than exp(-30), 10^-13, for any one of its numbers


class _Sizes(NamedTuple):
    characters: int
    drawings: int
    ways: int
    shots: int
    queries: int

    def shapes(self) -> dict[str, list[int]]:
        support, query = self.ways * self.shots, self.ways * self.queries
        return {
            "support_x": [support, 28, 28],
            "support_y": [support],
            "query_x": [query, 28, 28],
            "query_y": [query],
        }


def _deal_episode_case(sizes: _Sizes, dtype: torch.dtype) -> Case:
    def make() -> tuple[Tensor, int, int, int, torch.Generator]:
        generator = torch.Generator().manual_seed(0)
        # The images are noise, so that each row of an episode reveals which drawing of which character it is.
        images = torch.rand(sizes.characters, sizes.drawings, 28, 28, generator=generator)
        if dtype == torch.uint8:
            images = (images * 256).to(dtype)
        return images, sizes.ways, sizes.shots, sizes.queries, generator

    queries = "1 query" if sizes.queries == 1 else f"{sizes.queries} queries"
    shots = "1 shot" if sizes.shots == 1 else f"{sizes.shots} shots"
    what = f"{sizes.characters} characters of {sizes.drawings} drawings each, {sizes.ways} ways, {shots} and {queries}"
    return Case(what=what, make=make)


# In the last one there is no choice of characters or drawings, and one shot.
DEAL_EPISODE_SIZES = (_Sizes(12, 20, 5, 2, 3), _Sizes(7, 9, 4, 3, 1), _Sizes(3, 6, 3, 1, 5))
DEAL_EPISODE_CASES = tuple(
    _deal_episode_case(sizes, dtype)
    for sizes, dtype in zip(DEAL_EPISODE_SIZES, (torch.float32, torch.uint8, torch.float32), strict=True)
)


class _Dealt(NamedTuple):
    """The characters, drawings and labels of the rows of E support sets or query sets, each [E, rows]."""

    character: Tensor
    drawing: Tensor
    label: Tensor


def _examine_deal_episode(attempt: Callable) -> None:
    for case, sizes in zip(DEAL_EPISODE_CASES, DEAL_EPISODE_SIZES, strict=True):
        episode = call_in(case, attempt, case.make(), first=DEAL_EPISODE_CASES[0])
        try:
            _expect_shapes(attempt, _four(episode), case, sizes)
        except Wrong as wrong:
            if case is DEAL_EPISODE_CASES[0]:
                raise
            raise Wrong(f"Right with {DEAL_EPISODE_CASES[0].what}, but not with {case.what}. {wrong}") from None
        try:
            _examine_deals(attempt, case, sizes)
        except Wrong as wrong:
            says = str(wrong)
            if case is DEAL_EPISODE_CASES[0] or says.startswith("It stopped"):
                raise
            # Chance may hide in the first case what comes to light here, so the first case need not be right.
            raise Wrong(f"With {case.what}, {says[0].lower()}{says[1:]}") from None


def _examine_deals(attempt: Callable, case: Case, sizes: _Sizes) -> None:
    choice = sizes.ways < sizes.characters
    support, query = _deals(attempt, case, sizes, EPISODES if choice else 20)
    again = _deals(attempt, case, sizes, 4)
    _expect_many_episodes(support, query, sizes)
    _expect_labels_that_fit(support, query, sizes)
    _expect_distinct_drawings(support, query, sizes)
    _expect_the_same_again((support, query), again)
    if choice:
        characters, support_drawings = _by_label(support, sizes.ways)
        _same_characters, query_drawings = _by_label(query, sizes.ways)
        _expect_all_characters(characters, sizes)
        _expect_all_labels(characters, sizes)
        _expect_all_drawings(characters, support_drawings, query_drawings, sizes)
        _expect_even_drawings(support_drawings, query_drawings, sizes)


# What it returns


def _four(episode: Any) -> list[Tensor]:
    """Return the four tensors of an episode, of any shape."""
    if not isinstance(episode, tuple | list) or len(episode) != 4:
        raise Wrong(
            "It should return the four tensors support_x, support_y, query_x and query_y; yours is "
            f"{describe(episode)}."
        )
    for name, part in zip(_Sizes(1, 1, 1, 1, 1).shapes(), episode, strict=True):
        if not isinstance(part, Tensor):
            what = "a NumPy array" if isinstance(part, np.ndarray) else describe(part)
            raise Wrong(f"{name} should be one tensor, because a network takes tensors; yours is {what}.")
    return [part.detach() for part in episode]


def _shapes(episode: Sequence[Tensor]) -> list[list[int]]:
    return [list(part.shape) for part in episode]


def _expect_shapes(attempt: Callable, episode: Sequence[Tensor], case: Case, sizes: _Sizes) -> None:
    """Raise `Wrong` unless the tensors of an episode have the right shapes, and its labels are integers."""
    names, want = list(sizes.shapes()), list(sizes.shapes().values())
    got = _shapes(episode)
    if got != want:
        _tell_order(got, want)
        part = next(part for part in range(4) if got[part] != want[part])
        says = f"With {case.what}, {names[part]} has the shape {got[part]}; it should be {want[part]}."
        if case is not DEAL_EPISODE_CASES[0]:
            says = f"{names[part]} has the shape {got[part]}; it should be {want[part]}."
            if sizes.ways == sizes.characters:
                raise Wrong(f"{says} Here all characters are needed, and all drawings of each.")
            raise Wrong(f"{says} Does the code contain a number that belongs to the arguments?")
        others = []
        try:
            arguments = case.make()
            for _ in range(20):
                if _shapes(_four(attempt(*arguments)))[part] != got[part]:
                    raise Wrong(_changing_shape(names[part], want[part]))
            others = [_shapes(_four(attempt(*other.make())))[part] for other in DEAL_EPISODE_CASES[1:]]
        except Wrong as wrong:
            if str(wrong).startswith("The shape"):
                raise
        raise Wrong(f"{says} {_why_that_shape(part, [got[part], *others])}".strip())
    for name, part in zip(names[1::2], episode[1::2], strict=True):
        if part.is_floating_point() or part.is_complex() or part.dtype == torch.bool:
            raise Wrong(
                f"{name} has the dtype {part.dtype}. Labels are class numbers, so they should be integers: a loss such "
                "as cross_entropy picks one output with each of them."
            )


def _changing_shape(name: str, want: list[int]) -> str:
    return (
        f"The shape of {name} is not the same in every episode; it should be {want}. Can it happen that too few or too "
        "many are drawn at random?"
    )


def _tell_order(got: list[list[int]], want: list[list[int]]) -> None:
    """Raise `Wrong` if the four tensors only come in another order."""
    for order in itertools.permutations(range(4)):
        if [got[i] for i in order] != want:
            continue
        if order == (2, 3, 0, 1):
            raise Wrong(
                "The support set has as many rows as the query set should have, and the other way round. `shots` "
                "drawings of each character belong to the support set, which is returned first, and `queries` of "
                "them to the query set."
            )
        names = ("support_x", "support_y", "query_x", "query_y")
        raise Wrong(
            "The four tensors come in another order than the page asks for: support_x, support_y, query_x, query_y. "
            f"By their shapes, yours are {', '.join(names[order.index(i)] for i in range(4))}."
        )


def _why_that_shape(part: int, got: Sequence[list[int]]) -> str:
    """Return a sentence on a wrong shape of one of the four parts, of which `got` has the shapes in several cases."""
    sizes = DEAL_EPISODE_SIZES[0]
    each = sizes.shots if part < 2 else sizes.queries
    shape, rows, pixels = got[0], sizes.ways * each, [28, 28] if part in (0, 2) else []
    if shape == [sizes.ways, each, *pixels]:
        return "One row for each drawing is asked for, so the axes of the ways and of the drawings should be one."
    if pixels and shape in ([rows, 1, 28, 28], [rows, 28, 28, 1]):
        return "There is an axis for channels, which the page does not ask for."
    if pixels and shape == [rows, 28 * 28]:
        return "The pixels of a drawing should stay in their rows and columns."
    if not pixels and shape == [rows, sizes.ways]:
        return "Labels should be one class number a row, not one-hot vectors."
    if not pixels and shape == [rows, 1]:
        return "One class number for each row is asked for, without a further axis."
    if math.prod(shape) == math.prod([rows, *pixels]):
        return ""
    if shape and shape[0] == rows and shape[1:] != pixels:
        return ""
    meanings: dict[str, Callable[[_Sizes, int], int]] = {
        "one row for each way, however many drawings are asked for": lambda s, _each: s.ways,
        "the drawings of one character only": lambda _s, each: each,
        "all the drawings that were drawn, so the two sets are not split": lambda s, _e: s.ways * (s.shots + s.queries),
        "drawings of all characters, not of `ways` of them": lambda s, each: s.characters * each,
        "all the drawings of the characters, not `shots` or `queries` of them": lambda s, _each: s.ways * s.drawings,
        "all the drawings that are not in the support set": lambda s, _each: s.ways * (s.drawings - s.shots),
        "`queries` drawings of each character, not `shots`": lambda s, _each: s.ways * s.queries,
        "`shots` drawings of each character, not `queries`": lambda s, _each: s.ways * s.shots,
        "one character too few": lambda s, each: (s.ways - 1) * each,
        "one character too many": lambda s, each: (s.ways + 1) * each,
        "one drawing of each character too few": lambda s, each: s.ways * (each - 1),
        "one drawing of each character too many": lambda s, each: s.ways * (each + 1),
        "`queries - shots` drawings of each character": lambda s, _each: s.ways * max(0, s.queries - s.shots),
    }
    for meaning, count in meanings.items():
        expected = [count(s, s.shots if part < 2 else s.queries) for s in DEAL_EPISODE_SIZES[: len(got)]]
        if len(got) > 1 and [s[0] if s else 1 for s in got] == expected:
            return f"It holds {meaning}." if pixels else f"That is the length of {meaning}."
    same = len(got) > 1 and all(other == shape for other in got)
    return "It has this shape whatever the arguments are." if same else ""


def _deals(attempt: Callable, case: Case, sizes: _Sizes, count: int) -> tuple[_Dealt, _Dealt]:
    """Return the support sets and the query sets of `count` episodes of one case."""
    images, *numbers, generator = case.make()
    known = images.flatten(2).flatten(0, 1).float()  # [characters * drawings, pixels]
    parts: list[list[Tensor]] = []
    for _ in range(count):
        episode = _four(attempt(images, *numbers, generator))
        for part, (name, shape) in zip(episode, sizes.shapes().items(), strict=True):
            if list(part.shape) != shape:
                raise Wrong(_changing_shape(name, shape))
        rows = torch.cat([episode[0], episode[2]]).flatten(1).float()
        index = torch.cdist(rows[:, :9], known[:, :9]).argmin(dim=1)  # nine pixels are enough to recognise noise
        if not torch.equal(rows, known[index]):
            changed = ~torch.isclose(rows, known[index], rtol=1e-3, atol=1e-3).all(dim=1)
            of_support, of_query = changed.split([len(episode[0]), len(episode[2])])
            for name, x, odd in (("support_x", episode[0], of_support), ("query_x", episode[2], of_query)):
                if odd.any():
                    _tell_changed_drawings(x[odd], images, name)
        parts.append([*index.split([len(episode[0]), len(episode[2])]), episode[1].long(), episode[3].long()])
    support, query, support_y, query_y = (torch.stack(part) for part in zip(*parts, strict=True))
    drawings = sizes.drawings
    return (
        _Dealt(support // drawings, support % drawings, support_y),
        _Dealt(query // drawings, query % drawings, query_y),
    )


def _tell_changed_drawings(odd: Tensor, images: Tensor, name: str) -> None:
    """Raise `Wrong` for rows of `name` that are not drawings of `images`, and say what they are."""
    odd, known = odd.double(), images.flatten(2).flatten(0, 1).double()

    def recognised(rows: Tensor, centred: bool = False) -> bool:
        """Tell whether all rows point in a drawing's direction, or when centred in its opposite direction."""
        rows, drawings = rows.flatten(1), known
        if centred:
            rows, drawings = rows - rows.mean(dim=1, keepdim=True), drawings - drawings.mean(dim=1, keepdim=True)
        similarity = F.normalize(rows, dim=1) @ F.normalize(drawings, dim=1).T
        return bool(((similarity.abs() if centred else similarity).amax(dim=1) > 0.999).all())

    if not odd.isfinite().all():
        raise Wrong(f"Some pixels of {name} are not finite numbers. The drawings should be those of `images`.")
    if (odd.flatten(1) == 0).all(dim=1).any():
        raise Wrong(
            f"Some rows of {name} are all zeros, so they show no drawing. Either these rows were never filled, or "
            "their pixels were rounded down to 0 by an integer dtype."
        )
    if recognised(odd):
        if odd.amax() > 0.99 * known.amax() and odd.amax() < 1.01 * known.amax():
            raise Wrong(
                f"The pixels in {name} are a little different from those of `images`, as after rounding. The page asks "
                "for the drawings as they are."
            )
        raise Wrong(
            f"The drawings in {name} are scaled: their pixels are not those of `images` but smaller or larger, as "
            "after a division by 255. The page asks for the drawings as they are."
        )
    if recognised(odd, centred=True):
        raise Wrong(
            f"Each row of {name} shows a drawing, but its pixels are shifted or inverted. The page asks for the "
            "drawings as they are in `images`."
        )
    turned = [mirrored.rot90(k, (1, 2)) for mirrored in (odd, odd.flip(2)) for k in range(4)]
    if any(map(recognised, turned)):
        raise Wrong(
            f"The drawings in {name} are turned or mirrored. The page asks for them as they are in `images`. Were the "
            "two axes of the pixels exchanged?"
        )
    raise Wrong(
        f"Some rows of {name} are no drawings of `images`: their pixels were mixed, moved or changed. A network "
        "cannot learn shapes from them. Indexing returns drawings as they are. What happens to them after that?"
    )


# Whether one episode is a fair task


def _expect_many_episodes(support: _Dealt, query: _Dealt, sizes: _Sizes) -> None:
    def rows(part: _Dealt) -> Tensor:
        return ((part.label * sizes.characters + part.character) * sizes.drawings + part.drawing).sort(dim=1).values

    episodes, different = len(support.label), len(torch.cat([rows(support), rows(query)], dim=1).unique(dim=0))
    if different == 1:
        raise Wrong(
            "Every call deals the same episode. A learner that sees one task learns that task, not how to learn. Is "
            "nothing drawn at random, or is a generator made, copied or seeded inside the function?"
        )
    if different < 0.9 * episodes:
        shown = torch.cat([part.character * sizes.drawings + part.drawing for part in (support, query)], dim=1)
        characters, both = len(shown.div(sizes.drawings, rounding_mode="floor").unique()), sizes.shots + sizes.queries
        if characters > sizes.ways and len(shown.unique()) == characters * both < characters * sizes.drawings:
            raise Wrong(_same_drawings(both))
        raise Wrong(
            f"In {episodes} calls it deals {different} different episodes only, so the same ones come again and "
            "again. Far more are possible. Is a seed drawn from a small range, or is too little drawn at random?"
        )
    seen = support.character.unique()
    if len(seen) <= sizes.ways < sizes.characters:
        which = "only one character, always the same" if len(seen) == 1 else f"the same {len(seen)} characters"
        raise Wrong(
            f"Every episode uses {which}. Meta-learning needs many different tasks; with one set of classes this "
            "is ordinary classification. The characters should be drawn anew from all of them in each call."
        )


def _same_drawings(both: int) -> str:
    return (
        f"A character always shows the same {both} drawings. The others are never used, so the learner sees far fewer "
        "tasks than there are. The drawings should be drawn at random, too."
    )


def _clash(a: _Dealt, b: _Dealt, same: str, other: str) -> bool:
    """Tell whether in some episode a row of `a` and a row of `b` agree in `same` although they differ in `other`."""
    shared = getattr(a, same)[:, :, None] == getattr(b, same)[:, None]
    return bool((shared & (getattr(a, other)[:, :, None] != getattr(b, other)[:, None])).any())


def _expect_labels_that_fit(support: _Dealt, query: _Dealt, sizes: _Sizes) -> None:
    sets = {"support": support, "query": query}
    if all((part.label == part.character).all() for part in sets.values()):
        raise Wrong(
            "The labels are the numbers of the characters in `images`. A network could learn those by heart and never "
            "look at the support set, and it has only `ways` outputs. Labels should be 0 … ways - 1, dealt anew."
        )
    if all((part.label == part.drawing).all() for part in sets.values()):
        raise Wrong(
            "The labels are the numbers of the drawings. A label should say which of the characters of this episode a "
            "drawing shows, from 0 to ways - 1."
        )
    for name, part in sets.items():
        if part.label.min() == part.label.max():
            raise Wrong(
                f"All labels in {name}_y are {part.label.min()}, so they do not tell the characters apart. Each "
                "character of the episode should have a label of its own, from 0 to ways - 1."
            )
        if (part.label == torch.arange(part.label.shape[1])).all() and part.label.shape[1] > sizes.ways:
            raise Wrong(
                f"In {name}_y the rows are numbered, so each drawing has a label of its own. A label belongs to a "
                "character, and all drawings of that character share it."
            )
    low, high = min(support.label.min(), query.label.min()), max(support.label.max(), query.label.max())
    if low < 0 or high >= sizes.ways:
        raise Wrong(
            f"The labels run from {low} to {high}, but a network with {sizes.ways} outputs knows 0 … {sizes.ways - 1} "
            "only. The characters of an episode should be numbered from zero."
        )
    for name, part in sets.items():
        if not _clash(part, part, "label", "character"):
            continue
        each = part.label.shape[1] // sizes.ways
        pairs = (part.character * 1000 + part.label).sort(dim=1).values
        if 1 < each == part.label.max() + 1 and (pairs.diff(dim=1) > 0).all():
            raise Wrong(
                f"In the {name} set, the labels number the drawings of each character. A label should say which of the "
                "characters of the episode a drawing shows, so all drawings of a character have the same one."
            )
        if not _clash(part, part, "character", "label"):
            raise Wrong(
                f"In the {name} set, two characters can have the same label. Their drawings then count as one class, "
                "and no drawing has one of the other labels. Each character needs a label of its own."
            )
        raise Wrong(
            f"In the {name} set, labels and drawings are out of step: drawings of different characters have the same "
            "label, so a label does not say what a drawing shows. In which order do the rows stand, and in which order "
            "do the labels?"
        )
    if any(_clash(part, part, "character", "label") for part in sets.values()):
        raise Wrong(
            "The same character can come twice in an episode, with two labels. No learner can tell those two apart, "
            "so part of every accuracy is luck. The characters should be drawn without replacement."
        )
    if not (query.character[:, :, None] == support.character[:, None]).any(dim=2).all():
        raise Wrong(
            "The query set shows characters that the support set does not show. Nothing learned there can name them. "
            "The characters of an episode should be drawn once, and both sets taken from them."
        )
    if _clash(support, query, "character", "label"):
        raise Wrong(
            "A character has one label in the support set and another one in the query set, so a perfect learner "
            "would be marked wrong. The labels should be dealt once and used in both sets."
        )
    for name, part, each in (("support_y", support, sizes.shots), ("query_y", query, sizes.queries)):
        if (F.one_hot(part.label, sizes.ways).sum(dim=1) != each).any():
            raise Wrong(
                f"In {name} some labels come more often than others. With {sizes.ways} ways and {each} drawings of "
                f"each, every label should come {each} times, or some classes are harder than others. The drawings of "
                "each character should be split by themselves."
            )


def _expect_distinct_drawings(support: _Dealt, query: _Dealt, sizes: _Sizes) -> None:
    support_id, query_id = (part.character * sizes.drawings + part.drawing for part in (support, query))
    if (support_id[:, :, None] == query_id[:, None]).any():
        raise Wrong(
            "The same drawing can be in the support set and in the query set. To recognise a drawing that was just "
            "shown is no generalisation, so accuracies come out too high. Both sets of a character should be drawn "
            "together and then split."
        )
    for name, rows in (("support", support_id), ("query", query_id)):
        ordered = rows.sort(dim=1).values
        if (ordered[:, 1:] == ordered[:, :-1]).any():
            raise Wrong(
                f"The same drawing can come twice in the {name} set, which then shows fewer drawings of a character "
                "than it should. The drawings should be drawn without replacement."
            )


def _expect_the_same_again(first: Sequence[_Dealt], again: Sequence[_Dealt]) -> None:
    """Raise `Wrong` unless the episodes that were dealt with the same seed again are the first ones."""

    def differ(what: Callable[[_Dealt], Tensor]) -> bool:
        return any(not torch.equal(what(a)[: len(b.label)], what(b)) for a, b in zip(first, again, strict=True))

    aspects: dict[str, Callable[[_Dealt], Tensor]] = {
        "other characters": lambda part: part.character.sort(dim=1).values,
        "other drawings": lambda part: (part.character * 1000 + part.drawing).sort(dim=1).values,
        "other labels": lambda part: (part.character * 1000 + part.label).sort(dim=1).values,
        "another order of the rows": lambda part: part.character * 1000 + part.drawing,
    }
    for what, aspect in aspects.items():
        if differ(aspect):
            raise Wrong(
                f"When `generator` has the same seed again, the episodes have {what}, so some random numbers do not "
                "come from it. Two learners can only be compared on the same episodes. Is each random function told "
                "its generator?"
            )


# Whether all episodes are equally likely


def _improbable(counts: Tensor, trials: int, chance: float) -> Tensor:
    """Tell which counts a right function has with a probability below exp(-IMPROBABLE), by Chernoff's bound.

    A check looks at some thousand counts, so a right function fails less than once in 10^9 times.
    """
    share = counts.double() / trials
    divergence = torch.xlogy(share, share / chance) + torch.xlogy(1 - share, (1 - share) / (1 - chance))
    return trials * divergence > IMPROBABLE


def _by_label(part: _Dealt, ways: int) -> tuple[Tensor, Tensor]:
    """Return the character of each label [E, ways], and its drawings in the order of the rows [E, ways, each]."""
    order = part.label.argsort(dim=1, stable=True)
    character, drawing = (rows.gather(1, order).unflatten(1, (ways, -1)) for rows in (part.character, part.drawing))
    return character[:, :, 0], drawing


def _together(a: Tensor, b: Tensor) -> Tensor:
    """Count how often the flags [..., A] and the flags [..., B] are set together: [A, B]."""
    return a.flatten(0, -2).double().T @ b.flatten(0, -2).double()


def _expect_all_characters(characters: Tensor, sizes: _Sizes) -> None:
    episodes, count, ways = len(characters), sizes.characters, sizes.ways
    drawn = F.one_hot(characters, count).sum(dim=1)  # [E, characters] 0 or 1
    times = drawn.sum(dim=0)
    never = (times == 0).nonzero().flatten().tolist()
    if never:
        raise Wrong(
            f"Only {count - len(never)} of the {count} characters ever come up; number {never[-1]}, for one, never "
            "does. The others are lost as training tasks. Are the characters drawn from too short a range?"
        )
    if ((F.one_hot(characters, count).sum(dim=0) > 0).sum(dim=0) == 1).all():
        raise Wrong(
            "A character keeps its label from episode to episode. A network can then learn the labels by heart and "
            "need not look at the support set. The labels should be dealt anew in each episode."
        )
    place = characters.sort(dim=1).values
    gaps = torch.cat([place.diff(dim=1), place[:, :1] + count - place[:, -1:]], dim=1)  # around the circle
    if ((gaps == 1).sum(dim=1) >= ways - 1).all():
        raise Wrong(
            "The characters of an episode always stand next to one another in `images`, so they are mostly of one "
            "alphabet, and most combinations never come up. Draw each character from all that are left, not only a "
            "random start."
        )
    if _improbable(times, episodes, ways / count).any():
        raise Wrong(
            f"Some characters come up more often than others: in {episodes} episodes one came {times.max()} times "
            f"and another one {times.min()} times; about {episodes * ways / count:.0f} would be fair. The page asks "
            "for all choices to be equally likely."
        )
    pairs = _together(drawn, drawn)[~torch.eye(count, dtype=torch.bool)]
    if _improbable(pairs, episodes, ways * (ways - 1) / (count * (count - 1))).any():
        raise Wrong(
            "The characters of an episode are not drawn independently: some pairs of characters come together far "
            "more often than others, or never. After the first character, all others should be equally likely."
        )


def _expect_all_labels(characters: Tensor, sizes: _Sizes) -> None:
    episodes, count, ways = len(characters), sizes.characters, sizes.ways
    label_of = F.one_hot(characters, count).sum(dim=0)  # [ways, characters]: how often each has each label
    ranks = characters.argsort(dim=1).argsort(dim=1)  # [E, ways]: the place of each label's character among the chosen
    if (ranks == ranks[:1]).all():
        raise Wrong(
            "The labels follow the order of the characters in `images`, in the same way in every episode, as after "
            "sorting. A network can use that order in place of the support set. Labels should be dealt anew each time."
        )
    labels = ranks.argsort(dim=1)  # [E, ways]: the label of each chosen character, in their order in `images`
    lower = torch.stack([(labels[:, i] < labels[:, j]).sum() for i in range(ways) for j in range(i + 1, ways)])
    places = F.one_hot(labels, ways).sum(dim=0)
    uneven = (
        _improbable(label_of, episodes, 1 / count).any()
        or _improbable(lower, episodes, 1 / 2).any()
        or _improbable(places, episodes, 1 / ways).any()
    )
    if uneven:
        raise Wrong(
            "The labels are not dealt evenly: some characters get some labels more often than others, or always in "
            "the same order around a circle. Each way to give the labels to the characters should be equally likely."
        )


def _expect_all_drawings(characters: Tensor, support: Tensor, query: Tensor, sizes: _Sizes) -> None:
    drawings, shots, queries, both = sizes.drawings, sizes.shots, sizes.queries, sizes.shots + sizes.queries
    chosen = torch.cat([support, query], dim=2)  # [E, ways, shots + queries]
    in_support, in_query, in_both = (F.one_hot(part, drawings).sum(dim=2) for part in (support, query, chosen))

    def kinds(flags: Tensor) -> Tensor:
        """Count how many of its drawings each character ever shows: [characters]."""
        return (_together(F.one_hot(characters, sizes.characters), flags) > 0).sum(dim=1)

    if (kinds(in_both) == both).all():
        raise Wrong(_same_drawings(both))
    for name, flags, each in (("support", in_support, shots), ("query", in_query, queries)):
        if (kinds(flags) == each).all():
            number_of = "one drawing" if each == 1 else f"same {each} drawings"
            raise Wrong(
                f"The {name} set always shows the {number_of} of a character, so the learner sees far fewer tasks than "
                "there are. The drawings should be in random order before they are split."
            )
    used = int((in_both.sum(dim=(0, 1)) > 0).sum())
    if used < drawings:
        shape = ", as many as there are characters" if used == sizes.characters else ""
        raise Wrong(
            f"Only {used} of the {drawings} drawings of a character ever come up{shape}. The learner sees fewer tasks "
            "than there are. Are the drawings drawn from too short a range?"
        )
    place = chosen.sort(dim=2).values
    gaps = torch.cat([place.diff(dim=2), place[:, :, :1] + drawings - place[:, :, -1:]], dim=2)
    if ((gaps == 1).sum(dim=2) >= both - 1).all():
        raise Wrong(
            "The drawings of a character always stand next to one another in `images`, so most combinations of "
            "drawings never come up. Draw each one from all that are left, not only a random start."
        )
    in_order = (support.amax(dim=2) < query.amin(dim=2)).all() or (query.amax(dim=2) < support.amin(dim=2)).all()
    in_one = [int((flags.sum(dim=(0, 1)) > 0).sum()) for flags in (in_support, in_query)]
    if in_order and max(in_one) > drawings / 2:
        raise Wrong(
            "The support drawings always come all before, or all after, the query drawings in `images`, so the two "
            "sets do not show the same mix of people. Were the numbers of the drawings sorted before they were split?"
        )
    if min(in_one) < drawings:
        raise Wrong(
            f"Of the {drawings} drawings of a character, the support set shows {in_one[0]} and the query set "
            f"{in_one[1]} over many episodes; some drawings are only ever used in one of the two. Each drawing should "
            "have the same chance in both."
        )
    for name, part in (("support", support), ("query", query)):
        ordered = part.sort(dim=2).values
        if (ordered == ordered[:, :1]).all():
            raise Wrong(
                f"In the {name} set of an episode, all characters show the drawings of the same numbers, so one draw "
                "was used for all of them, and most combinations never come up. The drawings should be drawn for each "
                "character by itself."
            )


def _expect_even_drawings(support: Tensor, query: Tensor, sizes: _Sizes) -> None:
    """Raise `Wrong` unless all drawings [E, ways, shots] and [E, ways, queries] come equally often, and together."""
    episodes, ways, drawings = len(support), sizes.ways, sizes.drawings
    shots, queries, both = sizes.shots, sizes.queries, sizes.shots + sizes.queries
    chosen = torch.cat([support, query], dim=2)
    in_support, in_query, in_both = (F.one_hot(part, drawings).sum(dim=2) for part in (support, query, chosen))
    trials, pairs = episodes * ways, drawings * (drawings - 1)
    for name, part, each in (("support", in_support, shots), ("query", in_query, queries)):
        times = part.sum(dim=(0, 1))
        if _improbable(times, trials, each / drawings).any():
            raise Wrong(
                f"In the {name} set some drawings come up more often than others: one {times.max()} times and another "
                f"one {times.min()} times, where about {trials * each / drawings:.0f} would be fair. All choices of "
                "drawings should be equally likely."
            )
    others = ~torch.eye(drawings, dtype=torch.bool)
    if (
        _improbable(_together(in_both, in_both)[others], trials, both * (both - 1) / pairs).any()
        or _improbable(_together(in_support, in_query)[others], trials, shots * queries / pairs).any()
    ):
        raise Wrong(
            "The drawings of a character are not drawn independently: some pairs of drawings come together far more "
            "often than others, or never. After the first drawing, all others should be equally likely."
        )
    place = chosen.sort(dim=2).values
    gaps = torch.cat([place.diff(dim=2), place[:, :, :1] + drawings - place[:, :, -1:]], dim=2)  # around the circle
    apart = (gaps > 1).all(dim=2).sum()
    if 2 * both <= drawings:
        chance = drawings / (drawings - both) * math.comb(drawings - both, both) / math.comb(drawings, both)
        if _improbable(apart, trials, chance).any():
            often = "too often" if apart < trials * chance else "too rarely"
            raise Wrong(
                f"Among the drawings of a character, neighbours in `images` come together {often}, as if a drawing "
                "that is taken already were replaced by the next one. After the first drawing, all others should be "
                "equally likely."
                if often == "too often"
                else f"Among the drawings of a character, neighbours in `images` come together {often}. After the "
                "first drawing, all others should be equally likely."
            )
    flags = in_both.double()
    strangers = (torch.einsum("eid, ejd -> eij", flags, flags) == 0).sum(dim=0)  # pairs with no number in common
    strangers = strangers[~torch.eye(sizes.ways, dtype=torch.bool)]
    chance = math.comb(sizes.drawings - both, both) / math.comb(sizes.drawings, both)
    if _improbable(strangers, len(support), chance).any():
        raise Wrong(
            "In an episode, the drawings of one character depend on those of another one: the same numbers come "
            "together too often or too rarely. The drawings should be drawn for each character by itself."
        )


deal_episode = Exercise(
    answer=solutions.deal_episode,
    difficulty="medium",
    minutes=15,
    statement=(
        "Deal an episode: `ways` different characters, of each `shots` drawings as support and `queries` other "
        "drawings as query, with the labels 0 … ways - 1 dealt anew."
    ),
    hints=(
        "There are two kinds of draws without replacement: first the characters of the episode, then, for each of "
        "them, its drawings.",
        "torch.randperm(n, generator=generator)[:k] draws k of n numbers without replacement and in random order. The "
        "place of a character in that order can be its label.",
        "For each character draw shots + queries drawings at once, then give the first `shots` to the support set and "
        "the rest to the query set. torch.cat joins the drawings; label.repeat_interleave(shots) goes with them.",
    ),
    cases=DEAL_EPISODE_CASES,
    examine=_examine_deal_episode,
    in_place=(
        "It changes `images` in place, so the next episode is dealt from altered drawings. Indexing with a tensor "
        "makes a copy, and that copy may be changed."
    ),
)


# prototype_logits


def _prototype_logits_case(ways: int, shots: int, queries: int, size: int) -> Case:
    def make() -> tuple[Tensor, Tensor, Tensor, int]:
        generator = torch.Generator().manual_seed(ways)
        order = torch.randperm(ways * shots, generator=generator)
        support_y = torch.arange(ways).repeat(shots)[order]
        support_z = torch.randn(ways * shots, size, generator=generator).requires_grad_()
        query_z = torch.randn(queries, size, generator=generator).requires_grad_()
        return support_z, support_y, query_z, ways

    return Case(
        what=f"{ways} ways, {shots} shot{'s' * (shots > 1)} and {queries} quer{'ies' if queries > 1 else 'y'}",
        make=make,
        sizes={"the number of ways": ways, "the number of shots": shots, "the size of the embedding": size},
    )


# The second one is as in the lesson, with one shot; in the last one there is one query.
PROTOTYPE_LOGITS_CASES = (
    _prototype_logits_case(3, 4, 6, 8),
    _prototype_logits_case(5, 1, 10, 32),
    _prototype_logits_case(4, 2, 1, 9),
)


def _from_one(groups: Tensor) -> Tensor:
    """Return the prototypes of the classes 1 … ways, of which the last one has no drawings."""
    return torch.cat([groups.mean(dim=1)[1:], torch.full_like(groups[:1, 0], torch.nan)])


def _running(groups: Tensor, prototypes: Tensor) -> Tensor:
    """Return what prototypes become if each drawing of a class in turn is averaged with what was there before."""
    for drawing in groups.unbind(dim=1):
        prototypes = (prototypes + drawing) / 2
    return prototypes


# What the prototypes can be: of the embeddings by class [ways, shots, E], of support_z, and of support_y.
_PROTOTYPES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "mean": lambda groups, z, y: groups.mean(dim=1),
    "sum": lambda groups, z, y: groups.sum(dim=1),
    "over ways": lambda groups, z, y: groups.sum(dim=1) / len(groups),
    "over all": lambda groups, z, y: groups.sum(dim=1) / len(z),
    "first": lambda groups, z, y: groups[:, 0],
    "last": lambda groups, z, y: groups[:, -1],
    "median": lambda groups, z, y: groups.median(dim=1).values,
    "half way": lambda groups, z, y: groups.quantile(0.5, dim=1),
    "largest": lambda groups, z, y: groups.amax(dim=1),
    "global": lambda groups, z, y: z.mean(dim=0).expand(len(groups), -1),
    "blocks": lambda groups, z, y: z.view(len(groups), -1, z.shape[1]).mean(dim=1),
    "turns": lambda groups, z, y: z.view(-1, len(groups), z.shape[1]).mean(dim=0),
    "rows": lambda groups, z, y: z[: len(groups)],
    "from one": lambda groups, z, y: _from_one(groups),
    "without last": lambda groups, z, y: F.pad(groups.mean(dim=1)[:-1], (0, 0, 0, 1)),
    "without first": lambda groups, z, y: F.pad(groups.mean(dim=1)[1:], (0, 0, 1, 0)),
    "one more": lambda groups, z, y: groups.sum(dim=1) / (groups.shape[1] + 1),
    "one less": lambda groups, z, y: groups.sum(dim=1) / (groups.shape[1] - 1),
    "half new": lambda groups, z, y: _running(groups, torch.zeros_like(groups[:, 0])),
    "over five": lambda groups, z, y: groups.sum(dim=1) / 5,
    "one number": lambda groups, z, y: groups.mean(dim=(1, 2))[:, None].expand(-1, z.shape[1]),
    "minus mean": lambda groups, z, y: groups.mean(dim=1) - z.mean(dim=0),
    "label rows": lambda groups, z, y: z[y].view(len(groups), -1, z.shape[1]).mean(dim=1),
    "unit": lambda groups, z, y: F.normalize(groups.mean(dim=1), dim=1),
    "of units": lambda groups, z, y: F.normalize(groups, dim=2).mean(dim=1),
}


def _each(q: Tensor, groups: Tensor) -> Tensor:
    """Return the squared distance of each query to each support embedding: [Q, ways, shots]."""
    return ((q[:, :, None] - groups) ** 2).sum(dim=3)


# What the distances can be: of the queries [Q, 1, E], the prototypes [ways, E] and the embeddings by class.
_DISTANCES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "squared": lambda q, c, groups: ((q - c) ** 2).sum(dim=2),
    "root": lambda q, c, groups: (q - c).norm(dim=2),
    "fourth": lambda q, c, groups: ((q - c) ** 2).sum(dim=2) ** 2,
    "absolute": lambda q, c, groups: (q - c).abs().sum(dim=2),
    "mean absolute": lambda q, c, groups: (q - c).abs().mean(dim=2),
    "absolute, squared": lambda q, c, groups: (q - c).abs().sum(dim=2) ** 2,
    "largest": lambda q, c, groups: (q - c).abs().amax(dim=2),
    "largest, squared": lambda q, c, groups: (q - c).abs().amax(dim=2) ** 2,
    "mean": lambda q, c, groups: ((q - c) ** 2).mean(dim=2),
    "root of mean": lambda q, c, groups: ((q - c) ** 2).mean(dim=2).sqrt(),
    "over root": lambda q, c, groups: ((q - c) ** 2).sum(dim=2) / q.shape[2] ** 0.5,
    "half": lambda q, c, groups: ((q - c) ** 2).sum(dim=2) / 2,
    "not squared": lambda q, c, groups: (q - c).sum(dim=2),
    "sum, squared": lambda q, c, groups: (q - c).sum(dim=2) ** 2,
    "of lengths": lambda q, c, groups: (q.norm(dim=2) - c.norm(dim=1)) ** 2,
    "difference of squares": lambda q, c, groups: (q**2).sum(dim=2) - (c**2).sum(dim=1),
    "cosine": lambda q, c, groups: -F.cosine_similarity(q, c, dim=2),
    "cosine distance": lambda q, c, groups: 1 - F.cosine_similarity(q, c, dim=2),
    "units": lambda q, c, groups: 2 - 2 * F.cosine_similarity(q, c, dim=2),
    "unit query": lambda q, c, groups: ((F.normalize(q, dim=2) - c) ** 2).sum(dim=2),
    "angle": lambda q, c, groups: F.cosine_similarity(q, c, dim=2).clamp(-1, 1).acos(),
    "dot": lambda q, c, groups: -(q * c).sum(dim=2),
    "plus": lambda q, c, groups: ((q + c) ** 2).sum(dim=2),
    "one product": lambda q, c, groups: (q**2).sum(dim=2) - (q * c).sum(dim=2) + (c**2).sum(dim=1),
    "no product": lambda q, c, groups: (q**2).sum(dim=2) + (c**2).sum(dim=1),
    "no query": lambda q, c, groups: (c**2).sum(dim=1) - 2 * (q * c).sum(dim=2),
    "no prototype": lambda q, c, groups: (q**2).sum(dim=2) - 2 * (q * c).sum(dim=2),
    "each, mean": lambda q, c, groups: _each(q, groups).mean(dim=2),
    "each, mean of roots": lambda q, c, groups: _each(q, groups).sqrt().mean(dim=2),
    "each, sum": lambda q, c, groups: _each(q, groups).sum(dim=2),
    "each, nearest": lambda q, c, groups: _each(q, groups).amin(dim=2),
    "each, nearest root": lambda q, c, groups: _each(q, groups).amin(dim=2).sqrt(),
    "each, median": lambda q, c, groups: _each(q, groups).median(dim=2).values,
    "each, softly": lambda q, c, groups: -(-_each(q, groups)).logsumexp(dim=2),
    "each, farthest": lambda q, c, groups: _each(q, groups).amax(dim=2),
}

# What can be made of minus the distances: [Q, ways].
_OUTPUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "logits": lambda logits: logits,
    "softmax": lambda logits: logits.softmax(dim=1),
    "softmax over queries": lambda logits: logits.softmax(dim=0),
    "log_softmax": lambda logits: logits.log_softmax(dim=1),
    "log_softmax over queries": lambda logits: logits.log_softmax(dim=0),
    "negative log": lambda logits: -logits.log_softmax(dim=1),
    "exp": lambda logits: logits.exp(),
    "sigmoid": lambda logits: logits.sigmoid(),
    "inverse": lambda logits: -1 / logits,
    "inverse root": lambda logits: 1 / (-logits).sqrt(),
    "one plus": lambda logits: 1 / (1 - logits),
    "one plus root": lambda logits: 1 / (1 + (-logits).sqrt()),
    "log": lambda logits: -(-logits).log(),
    "log of one plus": lambda logits: -(1 - logits).log(),
    "shares": lambda logits: logits / logits.sum(dim=1, keepdim=True),
    "shifted": lambda logits: logits - logits.amax(dim=1, keepdim=True),
    "centred": lambda logits: logits - logits.mean(dim=1, keepdim=True),
}


def _logits_variant(
    support_z: Tensor,
    support_y: Tensor,
    query_z: Tensor,
    ways: int,
    *,
    prototype: str = "mean",
    distance: str = "squared",
    sign: int = -1,
    output: str = "logits",
) -> Tensor:
    """Return the logits, or what comes of the mistakes that the keywords name."""
    groups = torch.stack([support_z[support_y == way] for way in range(ways)])  # [ways, shots, E]
    prototypes = _PROTOTYPES[prototype](groups, support_z, support_y)
    return _OUTPUTS[output](sign * _DISTANCES[distance](query_z[:, None], prototypes, groups))


_FEWER_SHOTS = (
    "With several shots, a prototype should be the mean of all the drawings of its class, because a mean varies less "
    "than one drawing."
)
_NOT_BY_LABEL = (
    "The rows of a class may stand anywhere, so the prototypes mix classes here. The labels say which rows belong to "
    "class 0."
)
_SQUARED = (
    "Prototypical networks use the squared Euclidean distance, because then the class mean is the point nearest to "
    "all drawings of the class (Snell et al. 2017)."
)
_MEAN_FIRST = "The prototype should be computed first, as the mean of the class, and then one distance for each class."
_EXPANDED = "In ‖q - c‖² = ‖q‖² - 2 q·c + ‖c‖², all three terms are needed."
_BEFORE_SOFTMAX = "cross_entropy applies softmax itself and takes what goes into it: minus the squared distances."

_SIGN = {
    "sign": {
        1: "The sign is missing: a large distance gives a large logit, so the class that is farthest away wins, "
        "and training would push the drawings of a class apart. The nearest class should have the largest logit."
    }
}
_OF_DISTANCES = {
    "distance": {
        "root": f"The distance is not squared. {_SQUARED} Does a norm or cdist take a square root on the way?",
        "fourth": f"The distance is squared twice. {_SQUARED} One square is enough.",
        "absolute": f"The absolute differences are added up, which is another distance, the L1 norm. {_SQUARED}",
        "mean absolute": f"These are means of absolute differences over the embedding. {_SQUARED}",
        "absolute, squared": f"The absolute differences are added up before the square is taken. {_SQUARED}",
        "largest": f"Only the largest difference of each pair of points counts, the maximum norm. {_SQUARED}",
        "largest, squared": f"Only the largest difference counts, the maximum norm, squared. {_SQUARED}",
        "mean": "The squared differences are averaged over the embedding, not added up. All logits are then "
        "smaller by the size of the embedding, so the probabilities are too even. A squared distance is a sum "
        "over the dimensions.",
        "root of mean": "These are roots of mean squared differences. A squared distance is a sum over the "
        "dimensions of the embedding, without a division and without a root.",
        "over root": "The squared distances are divided by the root of the embedding's size, as attention does "
        "with dot products. Here the squared distance itself is the logit.",
        "half": "The logits are half as large as they should be, as in a Gaussian's exponent. The probabilities "
        "come out more even than in the paper. The squared distance itself is asked for.",
        "not squared": "The differences are added up without a square, so positive and negative ones cancel, and "
        "two points far apart can have the distance 0. Each difference should be squared before the sum.",
        "sum, squared": "The differences are added up before they are squared, so positive and negative ones "
        "cancel. Each difference should be squared first, and then the sum taken.",
        "of lengths": "Only the lengths of the two vectors are compared, so two points in opposite directions "
        "count as near. The distance is the length of the difference of query and prototype.",
        "difference of squares": "The squares are subtracted, ‖q‖² - ‖c‖², in place of the square of the "
        "difference, ‖q - c‖². Two points far apart can then have the distance 0.",
        "cosine": "The logits are cosine similarities, so only the direction of an embedding counts, not how far "
        "it lies. That did worse for prototypes (Snell et al. 2017). The squared distance is asked for.",
        "cosine distance": "The distance is 1 minus the cosine similarity, so only the direction of an embedding "
        "counts. That did worse for prototypes (Snell et al. 2017). The squared Euclidean distance is asked for.",
        "units": "Query and prototype are both scaled to length 1 before they are compared, so that only their "
        "directions count. The distance should be measured between the points as they are.",
        "unit query": "The queries are scaled to length 1, the prototypes are not, so they are compared at "
        "different scales. The distance should be measured between the points as they are.",
        "angle": "The distance is the angle between the two vectors, so only their directions count. The squared "
        "Euclidean distance is asked for.",
        "dot": "The logits are dot products, so a prototype with a long vector wins against nearer ones. The "
        "squared distance of query and prototype is asked for.",
        "plus": "Query and prototype are added, not subtracted, before the square is taken. The logit then says "
        "how far the query is from minus the prototype.",
        "one product": f"The product q·c is taken once; it belongs there twice. {_EXPANDED}",
        "no product": f"The product q·c is missing, so every query prefers the same class. {_EXPANDED}",
        "no query": "The squared length of the query is left out. It is the same for all classes, so the "
        f"probabilities are right, but the logits do not tell how far the query lies. {_EXPANDED}",
        "no prototype": "The squared length of the prototype is left out, so a class whose prototype is a long "
        f"vector wins too often. {_EXPANDED}",
        "each, mean": "It averages the squared distances to the support drawings. That punishes a class whose "
        f"drawings differ much. {_MEAN_FIRST}",
        "each, mean of roots": f"It averages the distances to the support drawings. {_MEAN_FIRST} The distance "
        "should be squared, too.",
        "each, sum": f"It adds up the squared distances to the support drawings of a class. {_MEAN_FIRST}",
        "each, nearest": "It measures the squared distance to the nearest support drawing of a class, without a "
        f"prototype. One odd drawing can then decide. {_MEAN_FIRST}",
        "each, nearest root": "It measures the distance to the nearest support drawing of a class, without a "
        f"prototype and without a square. {_MEAN_FIRST}",
        "each, median": f"It takes the median of the squared distances to the support drawings. {_MEAN_FIRST}",
        "each, softly": "It takes a logsumexp over the support drawings of a class, without a prototype. "
        + _MEAN_FIRST,
        "each, farthest": "It measures the squared distance to the farthest support drawing of a class, without a "
        f"prototype. {_MEAN_FIRST}",
    },
    "prototype": {
        "sum": "The prototypes are sums of the support embeddings, not means, so they move away from zero as the "
        "number of shots grows. A learner trained with one shot would fail with five.",
        "over ways": "The sum of a class is divided by the number of ways, not by the number of its drawings. A "
        "prototype should be the mean of its class.",
        "over all": "The sum of a class is divided by the number of all support drawings, not by the number of "
        "its own, so all prototypes are too near to zero. A prototype should be the mean of its class.",
        "first": f"Only the first support drawing of each class counts. {_FEWER_SHOTS}",
        "last": f"Only the last support drawing of each class counts; earlier ones are overwritten or left out. "
        f"{_FEWER_SHOTS}",
        "median": "The prototypes are medians of the support embeddings, number by number. With the squared "
        "distance it is the mean that lies nearest to all drawings of a class.",
        "half way": "The prototypes are medians of the support embeddings, number by number. With the squared "
        "distance it is the mean that lies nearest to all drawings of a class.",
        "largest": "The prototypes hold the largest number of the class in each dimension. A prototype should be "
        "the mean of its class.",
        "global": "All classes have the same prototype, the mean of all support drawings, so all logits of a query "
        "are equal. The mean should be taken over the drawings of one class at a time.",
        "blocks": "It takes the support rows to be sorted by class and does not look at support_y. " + _NOT_BY_LABEL,
        "turns": "It takes the support rows to come one of each class in turn and does not look at support_y. "
        + _NOT_BY_LABEL,
        "rows": "The prototypes are the first rows of support_z, one for each class, whatever support_y says. A "
        "prototype should be the mean of the rows where support_y is the number of its class.",
        "from one": "The classes are counted from 1: column 0 is class 1, and the last column belongs to a class "
        "without drawings, so it is no number. The labels are 0 … ways - 1.",
        "without last": "The prototype of the last class is zero, because nothing was put there. Does a loop end one "
        "class early?",
        "without first": "The prototype of class 0 is zero, because nothing was put there. Does a loop begin at 1?",
        "one more": "The sum of a class is divided by one more than the number of its drawings. A prototype should be "
        "the mean of its class.",
        "one less": "The sum of a class is divided by one less than the number of its drawings, as for a variance. A "
        "prototype should be the mean of its class.",
        "half new": "Each drawing in turn is averaged with what was there before, so the last drawings of a class "
        "count most. A mean divides the sum of all the drawings by their number, once.",
        "over five": "The sum of a class is divided by 5, whatever the number of its drawings is. A prototype should "
        "be the mean of its class.",
        "one number": "The mean of a class is taken over the embedding as well, so a prototype is the same number in "
        "every dimension. The mean should run over the drawings of the class only, dim=0.",
        "minus mean": "The mean of all support embeddings is subtracted from the prototypes, but not from the queries, "
        "so all distances are wrong. The embeddings should be taken as they are.",
        "label rows": "The labels are used as row numbers, as in support_z[support_y], so only the first rows of "
        "support_z count. `support_y == way` tells which rows belong to a class.",
        "unit": "The prototypes are scaled to length 1, the queries are not, so they are compared at different "
        "scales. The distance should be measured between the points as they are.",
        "of units": "The support embeddings are scaled to length 1 before their mean is taken, so they are "
        "compared with the queries at different scales. The embeddings should be taken as they are.",
    },
}
_SOFTMAX = {
    "output": {
        "softmax": "These are probabilities: a softmax was applied already. A second one, in cross_entropy, makes "
        f"them far too even. {_BEFORE_SOFTMAX}",
        "log_softmax": "These are log-probabilities: a log_softmax was applied already, so the distances can no longer "
        f"be read from them. {_BEFORE_SOFTMAX}",
        "exp": f"The exponential is taken, which is the first half of a softmax. {_BEFORE_SOFTMAX}",
    }
}
_OTHER_OUTPUTS = {
    "output": {
        "softmax over queries": "A softmax over the queries was applied, so each column adds up to 1. "
        + _BEFORE_SOFTMAX,
        "log_softmax over queries": f"A log_softmax over the queries was applied. {_BEFORE_SOFTMAX}",
        "negative log": f"These are negative log-probabilities, a loss for each class. {_BEFORE_SOFTMAX}",
        "sigmoid": f"A sigmoid is taken. {_BEFORE_SOFTMAX}",
        "inverse": f"The distances are inverted, 1/d², in place of a change of sign. {_BEFORE_SOFTMAX}",
        "inverse root": f"The distances are inverted, 1/d, in place of a change of sign. {_BEFORE_SOFTMAX}",
        "one plus root": f"The distances are turned into 1/(1 + d), in place of a change of sign. {_BEFORE_SOFTMAX}",
        "log": f"A logarithm of the squared distances is taken. {_BEFORE_SOFTMAX}",
        "log of one plus": f"The logarithm of 1 + d² is taken. {_BEFORE_SOFTMAX}",
        "one plus": f"The distances are turned into 1/(1 + d²), in place of a change of sign. {_BEFORE_SOFTMAX}",
        "shares": "Each row is divided by its sum, so the logits of a query add up to 1. The squared distances should "
        "stay as they are, because softmax needs their scale.",
        "shifted": "The largest logit of each query is subtracted from its row, as inside a softmax. The probabilities "
        "are right, but the distances can no longer be read. Minus the squared distance is asked for.",
        "centred": "The mean of each row is subtracted. The probabilities are right, but the distances can no longer "
        "be read. Minus the squared distance itself is asked for.",
    }
}
_SIMILARITIES: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    lambda q, z: q @ z.T,
    lambda q, z: F.normalize(q, dim=1) @ F.normalize(z, dim=1).T,
    lambda q, z: -(torch.cdist(q, z) ** 2),
    lambda q, z: -torch.cdist(q, z),
)
_ATTENTION = (
    "The support drawings are weighted by a softmax over all of them, as in a matching network, and the results are "
    f"shares. {_MEAN_FIRST}"
)


def _attention(similar: Callable[[Tensor, Tensor], Tensor]) -> Callable:
    """Return a wrong function that adds up the attention of each query to the support drawings of each class."""
    return lambda z, y, q, ways: similar(q, z).softmax(dim=1) @ F.one_hot(y, ways).to(z.dtype)


_ALL_UNITS = "All embeddings are scaled to length 1 first, so that only their directions count; take them as they are."


def _of_all_units(support_z: Tensor, support_y: Tensor, query_z: Tensor, ways: int) -> Tensor:
    return _logits_variant(F.normalize(support_z, dim=1), support_y, F.normalize(query_z, dim=1), ways)


def _of_sums_of_blocks(support_z: Tensor, _support_y: Tensor, query_z: Tensor, ways: int) -> Tensor:
    return -((query_z[:, None] - support_z.view(ways, -1, support_z.shape[1]).sum(dim=1)) ** 2).sum(dim=2)


_KNOWN_LOGITS = [
    (_ALL_UNITS, _of_all_units),
    (
        f"Two things are wrong. First: {_OF_DISTANCES['prototype']['sum']} Second: "
        f"{_OF_DISTANCES['prototype']['blocks']}",
        _of_sums_of_blocks,
    ),
    *((_ATTENTION, _attention(similar)) for similar in _SIMILARITIES),
    *combined(_logits_variant, _SIGN | _OF_DISTANCES | _SOFTMAX),
    *combined(_logits_variant, _OTHER_OUTPUTS),
]
PROTOTYPE_LOGITS_MISTAKES = single(_KNOWN_LOGITS)
_TRANSPOSED = (
    "The logits are transposed: each row is a class and each column a query. cross_entropy would take queries for "
    "classes. The shape should be [Q, ways], with one row for each query."
)


def _tell_shape(logits: Tensor, arguments: tuple) -> None:
    """Raise `Wrong` if the logits have a wrong shape of which the reason is known."""
    support_z, _support_y, query_z, ways = arguments
    shape, (queries, size), (supports, _size) = tuple(logits.shape), query_z.shape, support_z.shape
    if shape == (ways, queries):
        raise Wrong(_TRANSPOSED)
    if shape == (queries,) and not logits.is_floating_point():
        raise Wrong(
            "It returns one class for each query. A decision has no gradient, so nothing could be trained through it. "
            "The logits of all classes are asked for, [Q, ways], also those of the classes that lose."
        )
    reasons = {
        (queries, ways, 1): "There is one axis too many.",
        (queries, 1, ways): "There is one axis too many.",
        (1, queries, ways): "There is one axis too many.",
        (queries, ways, size): "The squared differences should be added up over the embedding, the last dimension.",
        (queries, size): "There is one column for each dimension of the embedding; there should be one for each class. "
        "The sum should run over the embedding, not over the classes.",
        (queries, supports): "There is one column for each support drawing. Each class should have one prototype, and "
        "one column.",
        (queries, 5): "There are five columns, but the number of classes is the argument `ways`.",
        (queries, ways - 1): "One class is missing.",
        (queries, ways + 1): "There is one class too many.",
        (queries,): "There is one number for each query; there should be one for each class as well.",
        (ways,): "There is one number for each class; there should be one for each query as well. Is a norm or a sum "
        "taken over all queries at once?",
        (ways, size): "These look like prototypes; the distances of the queries to them are asked for.",
        (): "It is one number only. Is a norm or a sum taken over everything at once, or was a loss computed?",
    }
    if queries == 1 and shape in ((ways,), (1, 1, ways)):
        reason = "An axis was removed, as by squeeze." if shape == (ways,) else "There is one axis too many."
        raise Wrong(f"With one query, the logits have the shape {list(shape)}; it should be {[1, ways]}. {reason}")
    if shape != (queries, ways) and queries > 1 and shape in reasons:
        raise Wrong(f"The logits have the shape {list(shape)}; it should be {[queries, ways]}. {reasons[shape]}")


def _logits(result: Any, arguments: tuple) -> Numbers:
    """Return the logits by name, and raise `Wrong` for what is no tensor of logits."""
    if isinstance(result, np.ndarray):
        raise Wrong(
            "It returns a NumPy array. No gradient can flow back through it, so the network that makes the embeddings "
            "could not be trained. It should return one tensor of logits [Q, ways]."
        )
    if not isinstance(result, Tensor):
        raise Wrong(f"It should return one tensor of logits [Q, ways]; yours is {describe(result)}.")
    _tell_shape(result, arguments)
    if not result.is_floating_point():
        raise Wrong(
            f"The logits have the dtype {result.dtype}. They should be floating-point numbers, as distances are; whole "
            "numbers have no gradient either."
        )
    return {"the logit": result.detach()}


def _expect_telling_logits(logits: Any, arguments: tuple) -> None:
    """Raise `Wrong` for logits that say so little that several mistakes would explain them, or that are nearly right.

    The logits are those of the first case.
    """
    if not isinstance(logits, Tensor) or logits.dim() != 2 or not logits.is_floating_point():
        return
    if not logits.isfinite().any():
        raise Wrong("None of the logits is a finite number. Is something divided by zero, or a mean taken of nothing?")
    if ((logits == 0) | (logits == 1)).all() and (logits.sum(dim=1) == 1).all():
        raise Wrong(
            "These are decisions, 1 for one class and 0 for the others, through which no gradient can flow. "
            + _BEFORE_SOFTMAX
        )
    if (logits == logits[0, 0]).all():
        raise Wrong(
            f"All the logits are the same number, {logits[0, 0].item():.4g}, so no class is preferred. They should "
            "depend on how far each query lies from each prototype."
        )
    if len(logits) > 1 and (logits == logits[:1]).all():
        raise Wrong(
            "All queries have the same logits. Each row should hold the distances of one query. Does a sum or a norm "
            "run over all queries, or does only one of them count?"
        )
    right = solutions.prototype_logits(*arguments)
    if logits.shape != right.shape:
        return
    gap, scale = (logits - right).abs().max(), right.abs().max()
    if 1e-4 * scale < gap < 3e-3 * scale:
        raise Wrong(
            "The logits are nearly right, but agree with ours to a few digits only. Is something computed in half "
            "precision, rounded, or is a small number added?"
        )
    for what, ours, yours in (("rows", right, logits), ("columns", right.T, logits.T)):
        match = (ours[:, None] - yours).abs().amax(dim=2) < 1e-4 * scale  # [ours, yours]
        if gap > 1e-4 * scale and (match.sum(dim=0) == 1).all() and (match.sum(dim=1) == 1).all():
            order = ", ".join(str(i) for i in match.T.int().argmax(dim=1).tolist())
            belongs = "row i belongs to query i" if what == "rows" else "column n belongs to class n"
            raise Wrong(
                f"The {what} are right, but they stand in another order: ours with the numbers {order}. The page asks "
                f"for an order in which {belongs}."
            )


def _examine_prototype_logits(attempt: Callable) -> None:
    arguments = PROTOTYPE_LOGITS_CASES[0].make()
    _expect_telling_logits(attempt(*arguments), arguments)
    called = agree(
        attempt,
        name="prototype_logits",
        cases=PROTOTYPE_LOGITS_CASES,
        right=solutions.prototype_logits,
        numbers=_logits,
        mistakes=_KNOWN_LOGITS,
    )
    for (arguments, logits), case in zip(called, PROTOTYPE_LOGITS_CASES, strict=True):
        _expect_gradients(logits, arguments, case)


def _expect_gradients(logits: Tensor, arguments: tuple, case: Case) -> None:
    """Raise `Wrong` unless the gradients of right logits are right, too."""
    names = {"support": 0, "query": 2}
    weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(0)).to(logits)

    def gradients(of: Tensor, inputs: Sequence[Tensor]) -> list[Tensor | None]:
        if not of.requires_grad:
            return [None for _ in inputs]
        return list(torch.autograd.grad((of * weights.to(of)).sum(), inputs, allow_unused=True))

    ours = case.make()
    want = gradients(solutions.prototype_logits(*ours), [ours[i] for i in names.values()])
    got = gradients(logits, [arguments[i] for i in names.values()])
    cut = [name for name, gradient in zip(names, got, strict=True) if gradient is None or not gradient.any()]
    if cut:
        both = len(cut) == 2
        raise Wrong(
            f"The logits are right, but cut off from the {' and the '.join(cut)} embeddings: no gradient flows back to "
            f"{'either of them' if both else 'these'}, so the network that makes them could not be trained through "
            f"{'this function' if both else 'them'}. Look for no_grad, detach, data, item, tolist, numpy or a new "
            "tensor."
        )
    for name, a, b in zip(names, got, want, strict=True):
        if not torch.allclose(a, b, rtol=0, atol=1e-3 * b.abs().max().item()):
            raise Wrong(
                f"The logits are right, but the gradient that flows back to the {name} embeddings is not, so training "
                "would follow wrong directions. Is a part of the computation cut off, as by detach, data, no_grad or "
                "a new tensor?"
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
        "There are two steps: one prototype for each class, [ways, E], then the distance of every query to every "
        "prototype.",
        "support_z[support_y == way] are the embeddings of one class, wherever they stand. Take their mean over dim=0.",
        "query_z[:, None] - prototypes has the shape [Q, ways, E]: square it, sum over the last dimension, and mind "
        "the sign.",
    ),
    cases=PROTOTYPE_LOGITS_CASES,
    examine=_examine_prototype_logits,
)


# confidence_interval


def _confidence_interval_case(episodes: int, middle: float, queries: int) -> Case:
    """Return a case of skewed accuracies, whose mean is no median, each a share of some queries."""

    def make() -> tuple[Tensor]:
        generator = torch.Generator().manual_seed(episodes)
        miss = (1 - middle) * torch.randn(episodes, 3, generator=generator).square().mean(dim=1)
        return (((1 - miss).clamp(0, 1) * queries).round() / queries,)

    return Case(what=f"{episodes} episodes", make=make, sizes={"the number of episodes": episodes})


# The first one is as in the MAML paper; in the second one, E and E - 1 differ.
# In the third one, mean + half width is larger than 1.
CONFIDENCE_INTERVAL_CASES = (
    _confidence_interval_case(600, 0.8, 75),
    _confidence_interval_case(9, 0.65, 40),
    Case(
        what="5 episodes",
        make=lambda: (torch.tensor([1.0, 1.0, 0.6, 1.0, 0.9]),),
        sizes={"the number of episodes": 5},
    ),
)
INTERVAL_TOLERANCE = 3e-5  # 1.959964 is as good as 1.96
_STUDENT = {600: 1.963939, 9: 2.306004, 5: 2.776445}  # Student's t for E - 1 degrees of freedom

_CENTRES: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda a: a.mean(),
    "median": lambda a: a.median(),
    "middle": lambda a: (a.max() + a.min()) / 2,
    "largest": lambda a: a.max(),
    "smallest": lambda a: a.min(),
    "sum": lambda a: a.sum(),
    "root of mean square": lambda a: a.square().mean().sqrt(),
    "first": lambda a: a[0],
    "last": lambda a: a[-1],
    "mode": lambda a: a.mode().values,
    "E - 1": lambda a: a.sum() / (len(a) - 1),
    "trimmed": lambda a: a.sort().values[1:-1].mean(),
}
_SPREADS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "s": lambda a, correction: a.std(correction=correction),
    "variance": lambda a, correction: a.var(correction=correction),
    "E + 1": lambda a, correction: a.std(correction=-1),
    "root": lambda a, correction: a.std(correction=correction).sqrt(),
    "absolute": lambda a, correction: (a - a.mean()).abs().mean(),
    "about zero": lambda a, correction: a.square().mean().sqrt(),
    "coin": lambda a, correction: (a.mean() * (1 - a.mean())).sqrt(),
    "range": lambda a, correction: a.max() - a.min(),
    "mean": lambda a, correction: a.mean(),
    "relative": lambda a, correction: a.std(correction=correction) / a.mean(),
    "median deviation": lambda a, correction: (a - a.median()).abs().median(),
    "largest deviation": lambda a, correction: (a - a.mean()).abs().max(),
    "about the median": lambda a, correction: (a - a.median()).square().mean().sqrt(),
    "quartiles": lambda a, correction: a.quantile(0.75) - a.quantile(0.25),
}
_DIVISORS: dict[str, Callable[[int], float]] = {
    "root": lambda e: e**0.5,
    "one": lambda e: 1.0,
    "E": lambda e: e,
    "E - 1": lambda e: e - 1,
    "root of E - 1": lambda e: (e - 1) ** 0.5,
    "times root": lambda e: e**-0.5,
    "times E": lambda e: 1 / e,
    "fourth root": lambda e: e**0.25,
    "third root": lambda e: e ** (1 / 3),
    "log": lambda e: math.log(e),
    "log of E + 1": lambda e: math.log(e + 1),
    "E / 2": lambda e: e / 2,
}
_ORDERS: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "right": lambda mean, half: (mean, half),
    "swapped": lambda mean, half: (half, mean),
    "ends": lambda mean, half: (mean - half, mean + half),
    "ends, upper first": lambda mean, half: (mean + half, mean - half),
    "lower end": lambda mean, half: (mean, mean - half),
    "upper end": lambda mean, half: (mean, mean + half),
    "minus": lambda mean, half: (mean, -half),
    "lower end first": lambda mean, half: (mean - half, mean),
    "upper end first": lambda mean, half: (mean + half, mean),
}


def _interval_variant(
    accuracies: Tensor,
    *,
    centre: str = "mean",
    spread: str = "s",
    divisor: str = "root",
    factor: float | str = 1.96,
    unit: float = 1.0,
    order: str = "right",
    correction: int = 1,
) -> tuple[Tensor, Tensor]:
    """Return the mean and the half width, or what comes of the mistakes that the keywords name.

    `correction` is no mistake: the page leaves it open whether s divides by E (0) or by E - 1 (1).
    """
    a, episodes = accuracies.double(), len(accuracies)
    times = _STUDENT[episodes] if factor == "student" else factor
    width = times * _SPREADS[spread](a, correction) / _DIVISORS[divisor](episodes)
    mean, half = _ORDERS[order](_CENTRES[centre](a), width)
    return unit * mean, unit * half


def _same_message(values: Sequence[float], message: str) -> dict[float, str]:
    return dict.fromkeys(values, message)


_HALF_WIDTH: dict[str, dict[Any, str]] = {
    "divisor": {
        "one": "A division is missing, by √E or, under a root, by E, so this does not shrink when there are more "
        "episodes. The question is how sure their mean is, and a mean is surer when there are more of them.",
        **_same_message(
            ["E", "E - 1"],
            "It divides by the number of episodes (or by one less), not by the root, so the interval is far too "
            "narrow, and mere luck would look like progress. The variance of a mean shrinks with E; its standard "
            "deviation shrinks with √E.",
        ),
        "root of E - 1": "It divides by √(E - 1), but the standard deviation was computed with E - 1 already, as "
        "std() does, so the correction is made twice. With few episodes the difference shows. The divisor is √E.",
        "times root": "The half width grows with √E, where it should shrink: √E is multiplied in place of dividing, or "
        "a sum of squares is not divided by the number of episodes. The mean of many episodes is surer than that of a "
        "few.",
        "times E": "It multiplies by the number of episodes, so the interval grows when there are more of them. The "
        "mean of many episodes is surer than the mean of a few: divide by √E.",
        "third root": "It divides by the third root of the number of episodes. The half width is 1.96 s / √E.",
        "log": "It divides by the logarithm of the number of episodes. The half width is 1.96 s / √E.",
        "log of E + 1": "It divides by the logarithm of E + 1. The half width is 1.96 s / √E.",
        "E / 2": "The half width is 1.96 s divided by E / 2, not by √E. Python reads E ** 1/2 as (E ** 1) / 2 = E / 2; "
        "the root is E ** 0.5 or math.sqrt(E).",
        "fourth root": "It divides by the root of √E: a root is taken twice. The half width is 1.96 s / √E.",
    },
    "factor": {
        1.0: "The factor 1.96 is missing. One standard error on each side covers 68 %, not the 95 % of published "
        "intervals, so results would look twice as sure as they are.",
        2.0: "The factor is 2 in place of 1.96. That is a good rule of thumb, but a reader who recomputes a published "
        "interval would get another number.",
        **_same_message(
            [1.645, 1.64, 1.65, 1.6449],
            "The factor is that of a 90 % interval, about 1.645. It leaves 5 % out on each side. A 95 % interval "
            "leaves 2.5 % out on each side, and its factor is 1.96.",
        ),
        **_same_message(
            [2.576, 2.58, 2.5758],
            "The factor is that of a 99 % interval, about 2.58, so results would look less sure than those of others. "
            "Papers print 95 %, with the factor 1.96.",
        ),
        3.0: "The factor is 3, as of a 99.7 % interval. Papers print 95 %, with the factor 1.96.",
        3.92: "This is the full width of the interval, 2 · 1.96 s / √E. After the ± stands half of it, the distance "
        "from the mean to one end.",
        4.0: "The factor is 4, as of a full width with 2 in place of 1.96. After the ± stands half the width, with "
        "the factor 1.96.",
        0.98: "The half width is divided by 2 once more. 1.96 s / √E is the distance from the mean to one end already.",
        196.0: "The half width is a hundred times as large, as in per cent, beside a mean that is not in per cent. "
        "Both should be in the unit of the accuracies.",
        1.4: "The factor is √1.96 = 1.4 in place of 1.96. It must not stand under a root.",
        3.8416: "The factor 1.96 is squared. It should be taken once: 1.96 s / √E.",
        **_same_message(
            [0.95, 0.975],
            "It multiplies by the probability (0.95 or 0.975), not by the number of standard errors that belongs to "
            "it. In a normal distribution 95 % lie within 1.96 standard errors of the middle.",
        ),
        **_same_message(
            [1.9639, 1.964],
            "The factor is 1.964, Student's for 600 episodes. The page asks for 1.96, as papers use it for any number "
            "of episodes.",
        ),
        "student": "The factor is Student's, which depends on the number of episodes. With few episodes that is the "
        "better interval, but the page asks for 1.96, as papers use it, so that numbers can be compared.",
    },
    "spread": {
        "variance": "It uses the variance in place of the standard deviation. A variance is in squared units, so for "
        "accuracies below 1 the interval comes out far too narrow. The standard deviation is its root.",
        "E + 1": "The sum of the squared deviations is divided by E + 1. A variance divides it by E - 1, or by E.",
        "root": "It takes the root of the standard deviation, one root too many. std() is the root of the variance "
        "already.",
        "absolute": "It uses the mean absolute deviation from the mean, not the standard deviation. The factor 1.96 "
        "belongs to the standard deviation.",
        "about zero": "It takes the root of the mean square without subtracting the mean, so the size of the "
        "accuracies counts as spread. The standard deviation measures how far they lie from their mean.",
        "coin": "It treats each episode as one coin flip, with p(1 - p) as variance. An episode's accuracy is an "
        "average over several queries, so episodes differ less than that, and the interval is too wide. Their spread "
        "should be measured.",
        "range": "It uses the range, the largest minus the smallest accuracy, not the standard deviation. The range "
        "depends on two episodes only.",
        "mean": "It uses the mean accuracy in place of the standard deviation. The interval should say how much the "
        "episodes differ, not how good they are.",
        "relative": "The half width is divided by the mean, so it is relative. After the ± stands the half width "
        "itself, in the same unit as the mean.",
        "median deviation": "It uses the median absolute deviation, not the standard deviation. The factor 1.96 "
        "belongs to the standard deviation.",
        "largest deviation": "It uses the largest deviation from the mean, not the standard deviation. The largest "
        "one depends on one episode only.",
        "about the median": "The deviations are taken from the median, not from the mean. A standard deviation "
        "measures how far the accuracies lie from their mean.",
        "quartiles": "It uses the distance between the quartiles, not the standard deviation. The factor 1.96 belongs "
        "to the standard deviation.",
    },
}
_OTHERWISE: dict[str, dict[Any, str]] = {
    "order": {
        "swapped": "The two numbers are exchanged: the half width comes first. A table would show a tiny accuracy "
        "with an enormous uncertainty. The mean comes first.",
        **_same_message(
            ["ends", "ends, upper first"],
            "These are the two ends of the interval, mean - half width and mean + half width. The page asks for the "
            "mean and for the distance from it to an end, because tables print mean ± half width.",
        ),
        **_same_message(
            ["lower end", "upper end"],
            "The second number is one end of the interval. The page asks for half the width, the distance from the "
            "mean to an end, which stands after the ±.",
        ),
        **_same_message(
            ["lower end first", "upper end first"],
            "These are an end of the interval and the mean. The page asks for the mean first, and then for half the "
            "width, the distance from the mean to an end.",
        ),
        "minus": "The half width is negative. It is a distance, from the mean to one end, so it should be positive.",
    },
    "unit": {
        100.0: "Both numbers are a hundred times as large, as per cent in place of fractions. Code that mixes the two "
        "would report an accuracy of 8000 %. The unit should be that of the accuracies."
    },
    "centre": {
        "median": "The first number is the median, not the mean. A few very bad episodes do not move a median, but "
        "they count in a mean accuracy, which is what papers report.",
        "middle": "The first number lies half way between the smallest and the largest accuracy. It depends on two "
        "episodes only; the mean of all of them is asked for.",
        "largest": "The first number is the largest accuracy, that of the easiest episode. The mean of all episodes is "
        "asked for.",
        "smallest": "The first number is the smallest accuracy, that of the hardest episode. The mean of all episodes "
        "is asked for.",
        "sum": "The first number is the sum of the accuracies; the division by their number is missing. A mean "
        "accuracy lies between 0 and 1.",
        "root of mean square": "The first number is the root of the mean square of the accuracies, which is larger "
        "than the mean. The mean itself is asked for.",
        "first": "The first number is the accuracy of the first episode alone. The mean of all episodes is asked for.",
        "last": "The first number is the accuracy of the last episode alone. The mean of all episodes is asked for.",
        "mode": "The first number is the most frequent accuracy, the mode, not the mean. The mean of all episodes is "
        "asked for.",
        "trimmed": "The first number is the mean without the best and the worst episode. The mean of all episodes is "
        "asked for.",
        "E - 1": "The sum of the accuracies is divided by E - 1. That is for the variance; a mean divides by E.",
    },
}
_PERCENTILES = (
    "These numbers come from the percentiles of the accuracies, between which 95 % of single episodes lie. That does "
    "not shrink when there are more episodes. The question is how sure their mean is: 1.96 s / √E."
)


_FURTHER_INTERVALS: dict[str, list[Callable[[Tensor], tuple[Tensor, Tensor]]]] = {
    _PERCENTILES: [
        lambda a: (a.quantile(0.025), a.quantile(0.975)),
        lambda a: (a.mean(), (a.quantile(0.975) - a.quantile(0.025)) / 2),
        lambda a: (a.mean(), a.quantile(0.975) - a.quantile(0.025)),
        lambda a: (a.mean(), a.quantile(0.975) - a.mean()),
        lambda a: (a.mean(), a.mean() - a.quantile(0.025)),
        lambda a: (a.mean(), a.quantile(0.95) - a.mean()),
        lambda a: (a.quantile(0.5), (a.quantile(0.975) - a.quantile(0.025)) / 2),
    ],
    "The second number is the variance of the accuracies. Its root is the standard deviation s, and the half width is "
    "1.96 s / √E.": [lambda a: (a.mean(), a.var())],
    "The second number is s² / E, the square of the standard error. The half width is 1.96 times its root, "
    "1.96 s / √E.": [lambda a: (a.mean(), a.var() / len(a))],
    "The second number is the square of the half width: a root is missing. The half width is 1.96 s / √E.": [
        lambda a: (a.mean(), 1.96**2 * a.var() / len(a))
    ],
    "These are the mean minus and plus the standard deviation. The page asks for the mean and for half the width of "
    "its confidence interval, 1.96 s / √E, which shrinks when there are more episodes.": [
        lambda a: (a.mean() - a.std(), a.mean() + a.std())
    ],
    "These numbers come from the smallest and the largest accuracy, which are those of two episodes only. The page "
    "asks for the mean and for 1.96 s / √E.": [
        lambda a: (a.min(), a.max()),
        lambda a: ((a.min() + a.max()) / 2, (a.max() - a.min()) / 2),
        lambda a: (a.mean(), (a.max() - a.min()) / 2),
        lambda a: (a.mean(), a.max() - a.min()),
    ],
    "It divides by the standard deviation, so the interval is narrow where the episodes differ much. "
    "The half width is 1.96 s / √E.": [
        lambda a: (a.mean(), 1.96 / (a.std() * len(a) ** 0.5)),
        lambda a: (a.mean(), 1.96 * len(a) ** 0.5 / a.std()),
        lambda a: (a.mean(), len(a) ** 0.5 / (1.96 * a.std())),
    ],
    "1.96 is added to the standard error. It should be multiplied: 1.96 s / √E.": [
        lambda a: (a.mean(), 1.96 + a.std() / len(a) ** 0.5)
    ],
    "It divides by 1.96. The standard error should be multiplied by it: 1.96 s / √E.": [
        lambda a: (a.mean(), a.std() / len(a) ** 0.5 / 1.96)
    ],
    "The half width is that of Wilson's interval for a number of coin flips. An episode's accuracy is an average over "
    "several queries, no coin flip. The page asks for 1.96 s / √E.": [lambda a: _wilson(a.mean(), len(a))],
}


def _wilson(p: Tensor, n: int) -> tuple[Tensor, Tensor]:
    square = 1.96**2
    return p, 1.96 * (p * (1 - p) / n + square / (4 * n**2)).sqrt() / (1 + square / n)


def _in_double(function: Callable) -> Callable:
    return lambda accuracies: function(accuracies.double())


_PAGE_ASKS = "The page asks for 1.96 s / √E."
_CLAMPED = (
    "The interval is cut at 1: where mean + half width would be larger than 1, the half width comes out smaller. The "
    "page asks for 1.96 s / √E in any case, because readers expect the same formula everywhere."
)
_HALF_PRECISION = (
    "The numbers are nearly right, but come from half precision, which keeps two or three digits only. The accuracies "
    "are in single precision; compute in that, or in double."
)


def _cut_at_one(a: Tensor, correction: int, shared: bool) -> tuple[Tensor, Tensor]:
    mean, half = _interval_variant(a, correction=correction)
    above = half.clamp(max=1 - mean)
    return mean, (half + above) / 2 if shared else above


def _in_half(a: Tensor, dtype: torch.dtype, correction: int) -> tuple[Tensor, Tensor]:
    a = a.to(dtype)
    return a.mean(), 1.96 * a.std(correction=correction) / len(a) ** 0.5


def _in_half_at_first(a: Tensor, dtype: torch.dtype, correction: int) -> tuple[Tensor, Tensor]:
    return _interval_variant(a.to(dtype), correction=correction)


def _in_half_until_items(a: Tensor, dtype: torch.dtype, correction: int) -> tuple[Tensor, Tensor]:
    a = a.to(dtype)
    return a.mean().double(), 1.96 * a.std(correction=correction).double() / len(a) ** 0.5


def _with_a_constant(numbers: Numbers) -> list[Misconception]:
    """Return mistakes with a number in place of a part of the formula, which fit the numbers of the first case."""
    (a,) = CONFIDENCE_INTERVAL_CASES[0].make()
    half, root, found = numbers["the half width"].item(), len(a) ** 0.5, []
    if not 0 < half < math.inf:
        return []
    s = half * root / 1.96
    found.append(
        (
            f"The half width is 1.96 · {s:.4g} / √E, whatever the accuracies are. The standard deviation s should be "
            "computed from them, not written into the code.",
            lambda a: (a.double().mean(), torch.tensor(1.96 * s / len(a) ** 0.5)),
        )
    )
    for correction in (1, 0):
        spread = a.double().std(correction=correction).item()
        factor, divisor = half * root / spread, 1.96 * spread / half
        found += [
            (
                f"The half width is {factor:.4g} s / √E. The factor of a 95 % interval is 1.96: {_PAGE_ASKS}",
                partial(_interval_variant, factor=factor, correction=correction),
            ),
            (
                f"The half width is 1.96 s / {divisor:.4g}, however many episodes there are. The divisor should be √E, "
                "because a mean of more episodes is surer.",
                partial(_interval_variant, divisor="one", factor=1.96 / divisor, correction=correction),
            ),
        ]
    return found


_KNOWN_INTERVALS = combined(_interval_variant, _HALF_WIDTH | _OTHERWISE)
CONFIDENCE_INTERVAL_MISTAKES = [
    *single(_KNOWN_INTERVALS),
    *((says, _in_double(wrong)) for says, several in _FURTHER_INTERVALS.items() for wrong in several),
    *((_CLAMPED, partial(_cut_at_one, correction=c, shared=shared)) for c in (1, 0) for shared in (False, True)),
    *(
        (_HALF_PRECISION, partial(made, dtype=dtype, correction=c))
        for made in (_in_half, _in_half_at_first, _in_half_until_items)
        for dtype in (torch.float16, torch.bfloat16)
        for c in (1, 0)
    ),
]


def _interval(result: Any, arguments: tuple) -> Numbers:
    """Return the mean and the half width by name, and raise `Wrong` for what are not two numbers."""
    (accuracies,) = arguments
    mean, half = (float(part) for part in solutions.confidence_interval(accuracies.double()))
    if isinstance(result, np.ndarray | Tensor) and result.ndim:
        result = list(result)
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Wrong(
            f"It should return two numbers, the mean and the half width; yours is {_described(result, mean, half)}."
        )
    names = ("the mean", "the half width")
    values = [number(value, name.capitalize()) for value, name in zip(result, names, strict=True)]
    numbers = {name: torch.tensor(value).double() for name, value in zip(names, values, strict=True)}
    # The page leaves it open whether the standard deviation divides by E or by E - 1.
    other = 1.96 * accuracies.double().std(correction=0).item() / len(accuracies) ** 0.5
    if math.isclose(numbers["the half width"].item(), other, rel_tol=INTERVAL_TOLERANCE):
        numbers["the half width"] = torch.tensor(half).double()
    return numbers


def _described(result: Any, mean: float, half: float) -> str:
    """Describe what should have been two numbers, the mean and the half width."""

    def near(value: Any, wanted: float) -> bool:
        try:
            return math.isclose(float(value), wanted, rel_tol=0.01)
        except (TypeError, ValueError, RuntimeError):
            return False

    if isinstance(result, str | dict | set):
        return describe(result)
    if isinstance(result, tuple | list):
        if len(result) == 3 and near(result[0], mean) and near(result[1], mean - half) and near(result[2], mean + half):
            return "three, the mean and the two ends of the interval"
        return describe(result)
    if near(result, mean):
        return "one number, the mean; the half width is missing"
    if near(result, half):
        return "one number, the half width; the mean is missing"
    return describe(result)


def _expect_no_constants(first: Numbers, second: Numbers) -> None:
    """Raise `Wrong` if a number is the same in both cases."""
    for name in first:
        if torch.equal(first[name], second[name]) and first[name].isfinite():
            what = "zero" if first[name] == 0 else f"{first[name].item():.4g}"
            raise Wrong(
                f"{name.capitalize()} is {what}, both for 600 accuracies and for 9 other ones. It should be computed "
                "from the accuracies, so a number written into the code cannot be right."
            )


def _expect_no_rounding(numbers: Sequence[Numbers]) -> None:
    """Raise `Wrong` if the numbers of the first case are right but rounded, and those of the others rounded as well."""
    wanted = []
    for case in CONFIDENCE_INTERVAL_CASES:
        arguments = case.make()
        wanted.append(_interval(solutions.confidence_interval(*arguments), arguments))
    digits = {}
    for name, want in wanted[0].items():
        a, b = numbers[0][name].item(), want.item()
        if not math.isclose(a, b, rel_tol=INTERVAL_TOLERANCE):
            digits[name] = next((n for n in range(1, 7) if math.isclose(a, round(b, n), rel_tol=1e-6)), None)
    if not digits or None in digits.values():
        return
    for case, got, want in zip(CONFIDENCE_INTERVAL_CASES, numbers, wanted, strict=True):
        for name, n in digits.items():
            a, b = got[name].item(), want[name].item()
            if math.isclose(a, b, rel_tol=INTERVAL_TOLERANCE) or any(abs(a - round(b, m)) < 1e-6 for m in range(n, 7)):
                continue
            if abs(a - round(a, max(n, 4))) > 1e-6:
                return
            raise Wrong(
                f"The numbers are rounded, and something else is wrong as well: with {case.what}, {name} is {a:.6g}, "
                f"but {b:.6g} rounds to {round(b, n):.6g}. Return all the digits first, so that the check can say more."
            )
    raise Wrong(
        "The numbers are right, but rounded. Code that goes on computing with them needs all the digits. Numbers "
        "should be rounded only when they are printed."
    )


def _expect_no_half_precision(result: Any, numbers: Numbers) -> None:
    arguments = CONFIDENCE_INTERVAL_CASES[0].make()
    want = _interval(solutions.confidence_interval(*arguments), arguments)
    gaps = [abs(numbers[name].item() / want[name].item() - 1) for name in want]
    halves = any(getattr(part, "dtype", None) in (torch.float16, torch.bfloat16, np.float16) for part in result)
    if halves and INTERVAL_TOLERANCE < max(gaps) < 1.5e-3:
        raise Wrong(_HALF_PRECISION)


def _examine_confidence_interval(attempt: Callable) -> None:
    cases = CONFIDENCE_INTERVAL_CASES
    results = [call_in(case, attempt, case.make(), first=cases[0]) for case in cases]
    first, other, third = (_interval(result, case.make()) for result, case in zip(results, cases, strict=True))
    second = _interval(attempt(*cases[0].make()), cases[0].make())
    if any(not torch.equal(first[name], second[name]) and first[name].isfinite() for name in first):
        raise Wrong(
            "Two calls with the same accuracies return different numbers, so something is drawn at random, as by a "
            "bootstrap. Readers should be able to recompute an interval. " + _PAGE_ASKS
        )
    _expect_no_constants(first, other)
    _expect_no_half_precision(results[0], first)
    _expect_no_rounding([first, other, third])
    agree(
        attempt,
        name="confidence_interval",
        cases=CONFIDENCE_INTERVAL_CASES,
        right=lambda accuracies: solutions.confidence_interval(accuracies.double()),
        numbers=_interval,
        mistakes=[
            *CONFIDENCE_INTERVAL_MISTAKES,
            *_KNOWN_INTERVALS,
            *combined(partial(_interval_variant, correction=0), _HALF_WIDTH | _OTHERWISE),
            *_with_a_constant(first),
        ],
        tolerance=INTERVAL_TOLERANCE,
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
        "How sure is a mean? It is less sure when the episodes differ much, and surer when there are many of them.",
        "The standard error of a mean is s / √E, with s the standard deviation of the E values.",
        "95 % of a normal distribution lie within 1.96 standard errors of its middle. Tensors have mean() and std().",
    ),
    cases=CONFIDENCE_INTERVAL_CASES,
    examine=_examine_confidence_interval,
)
