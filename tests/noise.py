"""Little data in Omniglot's place."""

import torch

from metalab.tasks import Characters


def noise(classes: int, drawings: int, *, seed: int) -> Characters:
    """So many characters of random ink."""
    chance = torch.rand(classes, drawings, 28, 28, generator=torch.Generator().manual_seed(seed))
    ink = (chance < 0.15).to(torch.uint8) * 255
    return Characters(ink, torch.zeros(classes, dtype=torch.long), ("noise",), "noise")


def small_omniglot(split: str = "alphabets") -> tuple[Characters, Characters]:
    """8 characters to train on, other ones for the random split, and 21 to test on: `omniglot.load` for tests."""
    return noise(8, 6, seed=1 if split == "random" else 3), noise(21, 7, seed=2)
