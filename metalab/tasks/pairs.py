"""Same or different? Groups of P characters with K drawings each, and the pairs and episodes that are made of them.

A metric learner is trained on whole groups: B = P·K drawings are embedded once each, and any two of them are a pair.
For tests, and for the eye, there are pairs one by one. Everything is drawn on the device, in fixed shapes:

    groups = Groups(train, characters=20, drawings=4)(1, generator)           # [1, 20, 4, 1, 28, 28]
    pairs = as_pairs(Groups(test, characters=2, drawings=2)(1000, generator))  # 500 of one character, 500 of two
    episode = as_episode(Groups(test, characters=20, drawings=2, within_alphabet=True)(50, generator), shots=1)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .characters import Characters


@dataclass(frozen=True)
class Groups:
    """Draws groups: P distinct characters, and K distinct drawings of each.

    Args:
        source: where the drawings come from.
        characters: P, in a group.
        drawings: K, of each character.
        within_alphabet: all characters of a group are of one alphabet (hard to tell apart), each alphabet that has P of
            them being as likely as another; a smaller one is never drawn. False: of any alphabets (mostly easy).

    Raises:
        ValueError: a group needs more characters or drawings than there are.
    """

    source: Characters
    characters: int
    drawings: int
    within_alphabet: bool = False

    def __post_init__(self) -> None:
        # Checked once, here: counting an alphabet's characters waits for the device, which a recorded step must not.
        most, place = len(self.source), "the source"
        if self.within_alphabet:
            most, place = self.source.largest_alphabet, "its largest alphabet"
        if not 1 <= self.characters <= most:
            raise ValueError(f"characters={self.characters} must be 1 … {most}, the characters of {place}")
        most = self.source.images.shape[1]
        if not 1 <= self.drawings <= most:
            raise ValueError(f"drawings={self.drawings} must be 1 … {most}, the drawings of a character")

    def __call__(self, groups: int, generator: torch.Generator) -> Tensor:
        """Pictures [G, P, K, 1, H, W] float32 in [0, 1], 1 = ink; the generator lives on the images' device."""
        if groups < 1:
            raise ValueError(f"groups={groups} must be at least 1")
        images = self.source.images
        chance = torch.rand(groups, len(self.source), generator=generator, device=images.device)  # [G, C]
        if self.within_alphabet:
            sizes = self.source.alphabet_sizes()  # [A]
            luck = torch.rand(groups, len(sizes), generator=generator, device=images.device)
            chosen = luck.masked_fill(sizes < self.characters, -1).argmax(1, keepdim=True)  # [G, 1]
            chance = chance.masked_fill(self.source.alphabet != chosen, -1)
        # The P largest of C random numbers: P distinct characters in random order.
        character = chance.topk(self.characters, dim=1).indices  # [G, P]
        chance = torch.rand(*character.shape, images.shape[1], generator=generator, device=images.device)
        drawing = chance.argsort(dim=2)[:, :, : self.drawings]  # [G, P, K]
        return images[character[:, :, None], drawing].unsqueeze(3).float() / 255


@dataclass(frozen=True)
class Pairs:
    """B pairs of drawings."""

    first: Tensor  # [B, 1, H, W]
    second: Tensor  # [B, 1, H, W]
    same: Tensor  # [B] bool: of one character


def as_pairs(groups: Tensor) -> Pairs:
    """One pair from each of B groups of two characters with two drawings, by turns of one character and of both.

    So there are as many of either kind, and a pair of one character is never one drawing twice.

    Raises:
        ValueError: groups are not [B, 2, 2, 1, H, W], or B is odd.
    """
    if groups.dim() != 6 or groups.shape[1:3] != (2, 2) or len(groups) % 2:
        raise ValueError(f"groups of shape {tuple(groups.shape)} must be [B, 2, 2, 1, H, W], B even")
    same = torch.arange(len(groups), device=groups.device) % 2 == 0
    second = torch.where(same[:, None, None, None], groups[:, 0, 1], groups[:, 1, 1])
    return Pairs(groups[:, 0, 0], second, same)
