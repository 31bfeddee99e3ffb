"""The characters that lessons use: where they come from, and which drawing of which character a picture is."""

from __future__ import annotations

from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor

from ...tasks import Characters, glyphs, omniglot
from .exercise import Wrong
from .figures import plural


def load_characters() -> tuple[Characters, Characters]:
    """Training and test characters: real Omniglot where it can be had, glyphs otherwise; says which.

    Raises:
        OmniglotRefused: METALAB_DATA names damaged data; that is for the reader to mend, not to be passed over.
    """
    try:
        train, test = omniglot.load()
    except omniglot.OmniglotNotFound as reason:
        print(f"Omniglot could not be had, so this lesson runs on glyphs, drawn by our own code.\n{reason}")
        train, test = glyphs.draw(alphabets=30, seed=0), glyphs.draw(alphabets=20, seed=1)
        # Test glyphs are named on from the training glyphs: they are other alphabets.
        test = replace(test, names=tuple(f"glyphs {len(train.names) + i + 1}" for i in range(len(test.names))))
    for name, characters in {"train on": train, "test on": test}.items():
        alphabets = plural(len(characters.names), "alphabet")
        print(f"{name:8} {len(characters):4} characters of {alphabets} ({characters.source})")
    return train, test


def recognise(x: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """Which character each row of x [..., rows, pixels] is, and which drawing in `images` [C, D, H, W]: [..., rows].

    It is the one that points the same way, so that a rescaled drawing is recognised too.

    Raises:
        Wrong: a row is none of them.
    """
    drawings = images.shape[1]
    known = F.normalize(images.flatten(2).flatten(0, 1), dim=1)  # [C * D, pixels]
    likeness, index = (F.normalize(x.float(), dim=2) @ known.T).max(dim=2)
    if likeness.min() < 0.999:
        raise Wrong(
            "Some rows are no drawings of `images`: their pixels are mixed up. A network cannot learn shapes from "
            "them. Is an axis merged or moved by a reshape, view or transpose that should only have been indexed?"
        )
    return index // drawings, index % drawings
