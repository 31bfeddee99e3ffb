"""The one-shot challenge of Omniglot's author: 20 runs of 20 trials, each 20-way within one alphabet.

The challenge is that of Lake, Salakhutdinov & Tenenbaum 2015, `all_runs.zip` in the author's repository. In each run,
one person's drawings of 20 characters are the support, and another person's drawings of them are the queries. All the
800 pictures are drawings of the evaluation set, pixel for pixel, so this table of who drew what is the whole challenge.
To compare with the published errors, train on the 30 background alphabets only.
"""

from __future__ import annotations

import torch

from ..arguments import shown
from .characters import Characters
from .episode import Episode, as_episode
from .omniglot import DRAWERS, EVALUATION

# For each alphabet: its characters in the author's order, and for each of its two runs the person who drew the support
# and the person who drew the queries. All these numbers count from 1, as in the author's file names.
RUNS = {
    "Atlantean": ((1, 2, 3, 4, 5, 7, 8, 9, 10, 13, 14, 16, 19, 20, 21, 22, 23, 24, 25, 26), ((5, 8), (3, 2))),
    "Ge_ez": ((1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 14, 15, 16, 17, 18, 20, 21, 23, 24, 25), ((3, 7), (4, 2))),
    "Glagolitic": ((1, 2, 3, 5, 6, 7, 14, 17, 18, 19, 20, 21, 26, 28, 31, 34, 36, 37, 40, 43), ((6, 4), (3, 2))),
    "Gurmukhi": ((3, 6, 7, 8, 9, 13, 14, 15, 16, 17, 31, 22, 25, 26, 29, 32, 33, 38, 43, 44), ((5, 2), (8, 3))),
    "Kannada": ((1, 3, 5, 8, 11, 12, 13, 14, 19, 20, 21, 23, 25, 26, 27, 28, 33, 35, 40, 41), ((2, 1), (8, 3))),
    "Malayalam": ((2, 4, 5, 9, 13, 14, 15, 16, 17, 19, 20, 21, 22, 25, 27, 29, 30, 37, 43, 46), ((3, 7), (4, 2))),
    "Manipuri": ((3, 4, 6, 8, 9, 11, 12, 13, 15, 17, 19, 21, 22, 25, 29, 33, 35, 36, 37, 39), ((8, 4), (7, 3))),
    "Old_Church_Slavonic_(Cyrillic)": (
        (2, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 23, 24, 25, 30, 33, 41, 44, 45),
        ((4, 8), (1, 2)),
    ),
    "Tengwar": ((1, 2, 4, 5, 7, 8, 9, 10, 11, 12, 13, 16, 18, 19, 20, 21, 22, 23, 24, 25), ((1, 4), (8, 7))),
    "Tibetan": ((1, 2, 3, 5, 6, 7, 8, 9, 11, 13, 14, 15, 21, 22, 24, 33, 35, 36, 38, 41), ((1, 3), (8, 5))),
}


def one_shot_challenge(evaluation: Characters) -> Episode:
    """Return the challenge as an episode of 20 tasks, so that the accuracy over it is an accuracy over 400 trials.

    Support and queries are [20, 20, 1, H, W] float32 in [0, 1], 1 = ink. The queries are ordered class by class, as
    in every episode, instead of in the author's shuffled order.

    Args:
        evaluation: Omniglot's whole evaluation set, the second part of `omniglot.load()`; the episode is on its device.

    Raises:
        TypeError: `evaluation` is no `Characters`.
        ValueError: the characters are not those of Omniglot's evaluation set, in its order.
    """
    if not isinstance(evaluation, Characters):
        raise TypeError(f"evaluation={shown(evaluation)} must be Characters, the second part of omniglot.load()")
    names = tuple(EVALUATION.alphabets)
    counts = torch.tensor([count for _first, count in EVALUATION.alphabets.values()])
    total = len(in_order := torch.arange(len(counts)).repeat_interleave(counts))
    if evaluation.names != names or evaluation.images.shape[:2] != (total, DRAWERS):
        characters, drawings = evaluation.images.shape[:2]
        raise ValueError(
            f"evaluation has {characters} characters × {drawings} drawings of {evaluation.source}: the challenge is "
            f"made of all {total} × {DRAWERS} of Omniglot's evaluation set, the second part of omniglot.load()"
        )
    if not torch.equal(evaluation.alphabet.cpu(), in_order):
        raise ValueError("evaluation has its characters in another order than omniglot.load() gives them")
    support, query = [], []
    for alphabet, (numbers, drawers) in RUNS.items():
        before = int(counts[: names.index(alphabet)].sum())
        rows = [before + number - 1 for number in numbers]
        for support_drawer, query_drawer in drawers:
            support.append(evaluation.images[rows, support_drawer - 1])
            query.append(evaluation.images[rows, query_drawer - 1])
    groups = torch.stack([torch.stack(support), torch.stack(query)], 2)  # [20, 20, 2, H, W]
    return as_episode(groups.unsqueeze(3).float() / 255, shots=1)
