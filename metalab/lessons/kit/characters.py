"""The characters that the lessons use: where they come from, and which of them a picture shows."""

from __future__ import annotations

from dataclasses import replace

import torch

from ...tasks import Characters, glyphs, omniglot
from .figures import plural

WITHOUT_OMNIGLOT = """\
Omniglot could not be loaded, so this lesson runs on glyphs: characters that our own
code draws. Numbers in the text that are Omniglot's come out differently on them.
To get Omniglot (16 MB), run `python -m metalab data` in a terminal with a network. If
that fails, it lists each place that was tried, and says what you can do."""


def load_characters(device: str | torch.device = "cpu") -> tuple[Characters, Characters]:
    """Return the training and the test characters on a device, and print what they are.

    They are the real Omniglot if it can be loaded, and glyphs that our own code draws otherwise. Which places were
    tried for Omniglot is not printed, because a page of addresses helps no reader; `python -m metalab data` prints it.

    Raises:
        OmniglotRefused: METALAB_DATA names damaged data. The reader has to repair it, so glyphs do not replace it.
    """
    try:
        train, test = omniglot.load()
    except omniglot.OmniglotNotFound:
        print(WITHOUT_OMNIGLOT)
        train, test = glyphs.draw(alphabets=30, seed=0), glyphs.draw(alphabets=20, seed=1)
        # The names of the test glyphs continue those of the training glyphs, because they are other alphabets.
        test = replace(test, names=tuple(f"glyphs {len(train.names) + i + 1}" for i in range(len(test.names))))
    for name, characters in {"train on": train, "test on": test}.items():
        alphabets = plural(len(characters.names), "alphabet")
        print(f"{name:8} {len(characters):4} characters of {alphabets} ({characters.source})")
    return train.to(device), test.to(device)
