r"""Domains: sources of pictures that differ in kind, and tasks of varying ways and shots from any of them.

Triantafillou et al. 2020 ("Meta-Dataset: a dataset of datasets for learning to learn from few examples") ask two things
of a few-shot learner that the usual benchmark does not ask. The classes of a test come from *domains* that the training
never saw, and tasks differ in their number of ways and in their shots, which need not be the same for all classes of a
task. This module does the same in small, with pictures of 28 × 28 pixels:

    changed copies   `changed(characters, "inverted")`, and so on: the same characters in other ink
    digits           `digits()`: 10 digits by many people, 8 × 8 pixels of grey, made larger
    glyphs           `glyphs.draw(seed=1)`: characters that our own code invents

The digits are the test part of "Optical recognition of handwritten digits" (Alpaydin & Kaynak 1998, UCI Machine
Learning Repository, licence CC BY 4.0), as scikit-learn has them too. They lie next to this file, as a picture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from .. import arguments
from .characters import Characters, Groups
from .distortions import warp
from .episode import Episode

SIZE = 28  # pixels
CHANGES = ("inverted", "thick", "noisy", "turned")
NOISE = 0.6  # the standard deviation of a noisy pixel, where paper is 0 and ink is 1
REACH = 2  # pixels by which a thick stroke grows on each side
DIGIT, EACH = 8, 174  # pixels of a digit; drawings of each, the most that every digit has


@lru_cache(1)
def digits() -> Characters:
    """Return the 10 digits with 174 drawings each, made 28 × 28 by bilinear interpolation. Each counts as a character.

    The drawings are in the order of the data set. All digits but 8 have a few drawings more there, which are left out.
    """
    with Image.open(Path(__file__).with_name("digits.png")) as picture:
        grey = torch.from_numpy(np.array(picture))
    small = grey.view(10, DIGIT, EACH, DIGIT).transpose(1, 2) * (255 / 240)  # [10, 174, 8, 8]; the file goes to 240
    images = F.interpolate(small, size=(SIZE, SIZE), mode="bilinear")
    alphabet = torch.zeros(10, dtype=torch.int64)
    return Characters(images.round().to(torch.uint8), alphabet, ("digits",), "digits")


def changed(characters: Characters, change: str, strength: float = 1.0, seed: int = 0) -> Characters:
    """Return a changed copy of characters, whose pictures are of another domain.

    Args:
        characters: what is changed.
        change: one of CHANGES. Between 0 and 1, "inverted" mixes a picture with its negative, so that all contrast is
            lost at 0.5; "thick" mixes it with one whose strokes grow by 2 pixels on each side; "noisy" adds normal
            noise of standard deviation 0.6 · strength to each pixel; and "turned" turns it by 90° · strength.
        strength: how much of the change is made, in 0 … 1.
        seed: the seed of the noise. A drawing keeps its noise, however often it is drawn from the copy.

    Raises:
        TypeError: `characters` is no `Characters`, `strength` is no number, or `seed` is no whole number.
        ValueError: there is no such change, the strength is outside 0 … 1, or the seed is below 0.
    """
    if not isinstance(characters, Characters):
        raise TypeError(f"characters={arguments.shown(characters)} must be Characters")
    arguments.one_of(CHANGES, change=change)
    arguments.real(least=0, most=1, strength=strength)
    arguments.whole(least=0, seed=seed)
    images = characters.images.flatten(0, 1).unsqueeze(1).float() / 255  # [C·D, 1, H, W]
    if change == "inverted":
        images = images.lerp(1 - images, strength)
    elif change == "thick":
        images = images.lerp(F.max_pool2d(images, 2 * REACH + 1, stride=1, padding=REACH), strength)
    elif change == "noisy":
        generator = torch.Generator(images.device).manual_seed(seed)
        noise = torch.randn(images.shape, generator=generator, device=images.device)
        images = (images + NOISE * strength * noise).clamp(0, 1)
    else:
        angle = torch.tensor(strength * torch.pi / 2, device=images.device)
        matrix = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(1, 2, 2)
        images = warp(images, matrix.expand(len(images), 2, 2), images.new_zeros(len(images), 2))
    pixels = (255 * images).round().to(torch.uint8).view(characters.images.shape)
    return replace(characters, images=pixels)


@dataclass(frozen=True)
class Varying:
    """A sampler of tasks with varying ways and shots from one domain (Triantafillou et al. 2020, section 3, in small).

    The number of ways is uniform between two bounds, and the shots of each class are, independently of one another. All
    tasks of one call have the same ways and shots, so that they are one batch; the next call draws others. Because a
    task's classes are drawn at random, no class has more shots than others on average.

        sample = Varying(domain, ways=(3, 10), shots=(1, 5), queries=5)
        episode = sample(20, generator)  # 20 tasks

    Args:
        source: the domain.
        ways: the smallest and the largest number of classes of a task.
        shots: the smallest and the largest number of support pictures of a class.
        queries: the number of query pictures of each class.

    Raises:
        TypeError: the source is no `Characters`, or a number is no whole number.
        ValueError: a bound is less than 1, or more than the source has, or the first of a pair is above the second.
    """

    source: Characters
    ways: tuple[int, int] = (3, 10)
    shots: tuple[int, int] = (1, 5)
    queries: int = 5

    def __post_init__(self) -> None:
        if not isinstance(self.source, Characters):
            raise TypeError(f"source={arguments.shown(self.source)} must be Characters")
        arguments.whole(queries=self.queries)
        for name, bounds in {"ways": self.ways, "shots": self.shots}.items():
            if not isinstance(bounds, tuple) or len(bounds) != 2:
                raise TypeError(f"{name}={arguments.shown(bounds)} must be a pair of whole numbers, like (1, 5)")
            arguments.whole(**{f"{name}[0]": bounds[0], f"{name}[1]": bounds[1]})
            if bounds[0] > bounds[1]:
                raise ValueError(f"{name}={bounds} must be in order, the smaller number first")
        Groups(self.source, self.ways[1], self.shots[1] + self.queries)  # raises if the source is too small

    def __call__(self, tasks: int, generator: torch.Generator) -> Episode:
        """Draw T tasks.

        Returns:
            An episode with support_x [T, S, 1, H, W] float32 in [0, 1] and support_y [T, S] int64, where S is the sum
            of the classes' shots, and with N·Q queries; both are ordered class by class.

        Raises:
            TypeError, ValueError: `tasks` is no whole number of at least 1, or the generator is on another device.
        """
        arguments.whole(tasks=tasks)
        arguments.generator(generator, self.source.images.device)
        device = self.source.images.device
        ways = int(_between(self.ways, (), generator))  # waits for the device, as shapes need it
        shots = _between(self.shots, (ways,), generator)
        groups = Groups(self.source, ways, self.shots[1] + self.queries)(tasks, generator)  # [T, N, K+Q, 1, H, W]
        most = self.shots[1]
        kept = torch.arange(most, device=device) < shots[:, None]  # [N, K]: the first pictures, as many as the shots
        label = torch.arange(ways, device=device)[:, None]
        support_y, query_y = label.expand(ways, most)[kept], label.expand(ways, self.queries).flatten()
        return Episode(
            support_x=groups[:, :, :most][:, kept],
            support_y=support_y.expand(tasks, -1),
            query_x=groups[:, :, most:].flatten(1, 2),
            query_y=query_y.expand(tasks, -1),
            ways=ways,
        )


def _between(bounds: tuple[int, int], shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw whole numbers between two bounds, both of which may come, on the generator's device."""
    return torch.randint(bounds[0], bounds[1] + 1, shape, generator=generator, device=generator.device)
