"""Little data in Omniglot's place."""

import torch

from metalab.tasks import Characters


def noise(classes: int, drawings: int, *, seed: int, side: int = 28) -> Characters:
    """So many characters of random ink."""
    chance = torch.rand(classes, drawings, side, side, generator=torch.Generator().manual_seed(seed))
    ink = (chance < 0.15).to(torch.uint8) * 255
    return Characters(ink, torch.zeros(classes, dtype=torch.long), ("noise",), "noise")


def small_omniglot(split: str = "alphabets", *, side: int = 28) -> tuple[Characters, Characters]:
    """8 characters to train on, other ones for the random split, and 21 to test on: `omniglot.load` for tests."""
    return noise(8, 6, seed=1 if split == "random" else 3, side=side), noise(21, 7, seed=2, side=side)
