"""Handwritten characters as few-shot tasks: episodes are drawn on whatever device the drawings lie on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .episode import Episode, as_episode


@dataclass(frozen=True)
class Characters:
    """C characters with D drawings each; in Omniglot D = 20, one drawing by each of 20 people."""

    images: Tensor  # [C, D, H, W] uint8, 0 = paper, 255 = ink
    alphabet: Tensor  # [C] int64, index into `names`
    names: tuple[str, ...]  # the alphabets
    source: str  # "Omniglot" or "glyphs": every figure says which

    def __len__(self) -> int:
        return self.images.shape[0]

    def alphabet_sizes(self) -> Tensor:
        """How many characters each alphabet has: [A] int64."""
        alphabets = torch.arange(len(self.names), device=self.alphabet.device)
        return (self.alphabet == alphabets[:, None]).sum(1)

    @property
    def largest_alphabet(self) -> int:
        """How many characters the largest alphabet has; waits for the device."""
        return int(self.alphabet_sizes().max())

    def to(self, device: torch.device | str) -> Characters:
        return replace(self, images=self.images.to(device), alphabet=self.alphabet.to(device))

    def select(self, index: Tensor) -> Characters:
        """Only the characters at `index` ([n] int64, or a [C] mask)."""
        return replace(self, images=self.images[index], alphabet=self.alphabet[index])

    def with_rotations(self) -> Characters:
        """Four times as many characters and alphabets: each turned by 0, 90, 180 and 270 degrees is one of its own.

        The usual training augmentation (Santoro et al. 2016; Snell et al. 2017). Test characters stay upright.
        """
        turns = range(4)
        names = [f"{name}, turned by {90 * k}°" if k else name for k in turns for name in self.names]
        turned = torch.cat([torch.rot90(self.images, k, (2, 3)) for k in turns])
        alphabet = torch.cat([self.alphabet + k * len(self.names) for k in turns])
        return replace(self, images=turned, alphabet=alphabet, names=tuple(names))

    def sample(self, tasks: int, ways: int, shots: int, queries: int, generator: torch.Generator) -> Episode:
        """Draw episodes: `ways` distinct characters per task, `shots` + `queries` distinct drawings of each.

        Args:
            tasks: T, how many independent tasks.
            ways: N, characters per task.
            shots: K, support drawings per character.
            queries: Q, query drawings per character, never one of the support drawings.
            generator: source of randomness, on the device of the images.

        Returns:
            Episode with support_x [T, N*K, 1, H, W] float32 in [0, 1] (1 = ink), support_y [T, N*K] int64, and
            query_x, query_y of N*Q rows likewise, rows ordered class by class.

        Raises:
            ValueError: more ways than characters, or shots + queries above the number of drawings.
        """
        characters, drawings = self.images.shape[:2]
        for name, value in {"tasks": tasks, "ways": ways, "shots": shots, "queries": queries}.items():
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        if ways > characters:
            raise ValueError(f"ways={ways} is more than the {characters} characters there are")
        if shots + queries > drawings:
            left = max(drawings - shots, 0)
            raise ValueError(f"shots={shots} leaves {left} of {drawings} drawings for {queries} queries")

        device = self.images.device
        # The largest of C random numbers, N times: N distinct characters in random order, so labels are dealt anew.
        chance = torch.rand(tasks, characters, generator=generator, device=device)
        character = chance.topk(ways, dim=1).indices  # [T, N]
        chance = torch.rand(tasks, ways, drawings, generator=generator, device=device)
        drawing = chance.argsort(dim=2)[:, :, : shots + queries]  # [T, N, K+Q]
        images = self.images[character[:, :, None], drawing]  # [T, N, K+Q, H, W]
        return as_episode(images.unsqueeze(3).float() / 255, shots)

    def batch(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`size` drawings of any characters: [size, 1, H, W] float32 in [0, 1], and their classes [size] int64."""
        device = self.images.device
        character = torch.randint(len(self), (size,), generator=generator, device=device)
        drawing = torch.randint(self.images.shape[1], (size,), generator=generator, device=device)
        return self.images[character, drawing].unsqueeze(1).float() / 255, character
