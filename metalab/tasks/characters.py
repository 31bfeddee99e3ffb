"""Handwritten characters, and the groups and episodes that are drawn from them, on the device of the drawings."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .. import arguments
from .episode import Episode, as_episode


@dataclass(frozen=True)
class Characters:
    """C characters with D drawings each. In Omniglot D is 20, one drawing by each of 20 people.

    Raises:
        TypeError: `images` or `alphabet` is no tensor, `names` is no tuple of strings, or `source` is no string.
        ValueError: the shapes do not fit one another, the tensors hold numbers of a wrong type, or an alphabet has no
            name. (Whether it has one is not checked on a GPU.)
    """

    images: Tensor  # [C, D, H, W] uint8, 0 = paper, 255 = ink
    alphabet: Tensor  # [C] int64, index into `names`
    names: tuple[str, ...]  # the alphabets
    source: str  # "Omniglot" or "glyphs"; every figure says which of the two it shows

    def __post_init__(self) -> None:
        arguments.shapes(images=(self.images, "C D H W"), alphabet=(self.alphabet, "C"))
        if self.images.dtype != torch.uint8:
            raise ValueError(f"images has the dtype {self.images.dtype}; it must be torch.uint8, with 255 for ink")
        if not isinstance(self.names, tuple) or not all(isinstance(name, str) for name in self.names):
            raise TypeError(f"names={arguments.shown(self.names)} must be a tuple of strings")
        if not isinstance(self.source, str):
            raise TypeError(f"source={arguments.shown(self.source)} must be a string")
        arguments.labels(len(self.names), alphabet=self.alphabet)

    def __len__(self) -> int:
        return self.images.shape[0]

    def alphabet_sizes(self) -> Tensor:
        """Return how many characters each alphabet has: [A] int64."""
        alphabets = torch.arange(len(self.names), device=self.alphabet.device)
        return (self.alphabet == alphabets[:, None]).sum(1)

    @property
    def largest_alphabet(self) -> int:
        """The number of characters of the largest alphabet. Reading it waits for the device."""
        return int(self.alphabet_sizes().max())

    def to(self, device: torch.device | str) -> Characters:
        """Return the same characters on another device.

        Raises:
            TypeError: `device` is no device.
            ValueError: it is not there, or neither a CPU nor a GPU.
        """
        arguments.device(device=device)
        return replace(self, images=self.images.to(device), alphabet=self.alphabet.to(device))

    def select(self, index: Tensor) -> Characters:
        """Return only the characters at `index`, which is [n] int64 or a mask [C] bool.

        Raises:
            TypeError: `index` is no tensor.
            ValueError: it is of another shape or type, names a character that is not there, or selects none.
        """
        arguments.shapes(index=(index, "n"))
        if index.dtype == torch.bool:
            arguments.shapes(alphabet=(self.alphabet, "C"), index=(index, "C"))
            index = index.nonzero().squeeze(1)
        if not len(index):
            raise ValueError("index selects no character: it must select at least 1")
        # A GPU would end the process at a wrong index, so the values are checked where a wait does no harm.
        arguments.labels(len(self), index=index.cpu())
        return replace(self, images=self.images[index], alphabet=self.alphabet[index])

    def hold_out(self, every: int = 6) -> tuple[Characters, Characters]:
        """Part training characters by alphabet: train on the first part, choose settings by the second, the validation.

        The validation alphabets are the last of every `every` alphabets, in the order of their names: 5 of Omniglot's
        30 background alphabets. Settings that are chosen by the test alphabets would make their score too good.

        Raises:
            TypeError: `every` is no whole number.
            ValueError: it is less than 2 or more than the number of alphabets, so that a part would have none.
        """
        arguments.whole(least=2, most=len(self.names), what="the alphabets", every=every)
        held = torch.arange(len(self.names)) % every == every - 1
        return self._only(~held), self._only(held)

    def of(self, names: tuple[str, ...]) -> Characters:
        """Return only the characters of the alphabets with these names, in their order here.

        Raises:
            TypeError: `names` is no tuple of strings.
            ValueError: it is empty, or there is no alphabet of one of the names.
        """
        if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
            raise TypeError(f"names={arguments.shown(names)} must be a tuple of strings")
        if not names:
            raise ValueError("names=() selects no alphabet: it must name at least 1")
        for name in names:
            arguments.one_of(self.names, names=name)
        return self._only(torch.tensor([name in names for name in self.names]))

    def _only(self, alphabets: Tensor) -> Characters:
        """Return only the characters of the alphabets in a mask [A], which are counted anew."""
        alphabets = alphabets.to(self.alphabet.device)
        chosen = self.select(alphabets[self.alphabet])
        names = tuple(name for name, kept in zip(self.names, alphabets.tolist(), strict=True) if kept)
        return replace(chosen, alphabet=(alphabets.cumsum(0) - 1)[chosen.alphabet], names=names)

    def with_rotations(self) -> Characters:
        """Return four times as many characters: each turn by 0, 90, 180 or 270 degrees makes another character.

        The characters of an alphabet that are turned by the same angle are an alphabet of their own.

        This is the usual training augmentation (Santoro et al. 2016; Snell et al. 2017). Test characters stay upright.

        Raises:
            ValueError: the pictures are not square.
        """
        height, width = self.images.shape[2:]
        if height != width:
            raise ValueError(f"the pictures have {height} x {width} pixels; only square ones can be turned by 90°")
        turns = range(4)
        names = [f"{name}, turned by {90 * k}°" if k else name for k in turns for name in self.names]
        turned = torch.cat([torch.rot90(self.images, k, (2, 3)) for k in turns])
        alphabet = torch.cat([self.alphabet + k * len(self.names) for k in turns])
        return replace(self, images=turned, alphabet=alphabet, names=tuple(names))

    def sample(self, tasks: int, ways: int, shots: int, queries: int, generator: torch.Generator) -> Episode:
        """Draw an episode: `ways` distinct characters per task, and `shots` + `queries` distinct drawings of each.

        Args:
            tasks: T, the number of independent tasks.
            ways: N, the number of characters per task.
            shots: K, the number of support drawings per character.
            queries: Q, the number of query drawings per character. No drawing is both support and query.
            generator: source of randomness, on the device of the images.

        Returns:
            An episode with support_x [T, N*K, 1, H, W] float32 in [0, 1] (1 = ink) and support_y [T, N*K] int64;
            query_x and query_y have the same form, with N*Q examples. The examples are ordered class by class.

        Raises:
            TypeError: one of the numbers is no whole number, or `generator` is no generator.
            ValueError: one of the numbers is less than 1, there are fewer characters than `ways`, a character has
                fewer drawings than shots + queries, or the generator is on another device.
        """
        characters, drawings = self.images.shape[:2]
        arguments.whole(tasks=tasks, ways=ways, shots=shots, queries=queries)
        if ways > characters:
            raise ValueError(f"ways={ways} is more than the {characters} characters of the set")
        if shots + queries > drawings:
            left = max(drawings - shots, 0)
            raise ValueError(f"shots={shots} leaves {left} of {drawings} drawings for {queries} queries")

        return as_episode(Groups(self, ways, shots + queries)(tasks, generator), shots)

    def batch(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw `size` drawings of any characters: [size, 1, H, W] float32 in [0, 1], and their classes [size] int64.

        Raises:
            TypeError: `size` is no whole number, or `generator` is no generator.
            ValueError: `size` is less than 1, or the generator is on another device.
        """
        arguments.whole(size=size)
        arguments.generator(generator, self.images.device)
        device = self.images.device
        character = torch.randint(len(self), (size,), generator=generator, device=device)
        drawing = torch.randint(self.images.shape[1], (size,), generator=generator, device=device)
        return self.images[character, drawing].unsqueeze(1).float() / 255, character


@dataclass(frozen=True)
class Groups:
    """A sampler of groups, each of P distinct characters with K distinct drawings of each character.

    Siamese learners train on whole groups; `as_episode` makes few-shot tasks of them, and `as_pairs` makes pairs.
    Everything is drawn on the device of the images, in fixed shapes.

        groups = Groups(train, characters=20, drawings=4)(1, generator)  # [1, 20, 4, 1, 28, 28]

    Args:
        source: where the drawings come from.
        characters: P, the number of characters in a group.
        drawings: K, the number of drawings of each character.
        within_alphabet: True takes all characters of a group from one alphabet, so that they are hard to tell apart.
            Alphabets with at least P characters are equally likely; smaller ones are never drawn. False takes them from
            any alphabets, so that most of them are easy to tell apart.
        same_drawers: True takes the k-th drawings of all characters of a group from the same column of `images`. Within
            an alphabet of Omniglot, this is one person.

    Raises:
        TypeError: `source` is no `Characters`, a number is no whole number, or one of the flags is not True or False.
        ValueError: a group needs more characters or drawings than the source has, or none.
    """

    source: Characters
    characters: int
    drawings: int
    within_alphabet: bool = False
    same_drawers: bool = False

    def __post_init__(self) -> None:
        # This is checked here, once: counting an alphabet's characters waits for the device, which a step that is
        # recorded as a CUDA graph must not do.
        if not isinstance(self.source, Characters):
            raise TypeError(f"source={arguments.shown(self.source)} must be Characters")
        arguments.flag(within_alphabet=self.within_alphabet, same_drawers=self.same_drawers)
        most, place = len(self.source), "the source"
        if self.within_alphabet:
            most, place = self.source.largest_alphabet, "its largest alphabet"
        arguments.whole(most=most, what=f"the characters of {place}", characters=self.characters)
        most = self.source.images.shape[1]
        arguments.whole(most=most, what="the drawings of a character", drawings=self.drawings)

    def __call__(self, groups: int, generator: torch.Generator) -> Tensor:
        """Draw G groups: pictures [G, P, K, 1, H, W] float32 in [0, 1], 1 = ink. The generator is on their device.

        Raises:
            TypeError: `groups` is no whole number, or `generator` is no generator.
            ValueError: `groups` is less than 1, or the generator is on another device.
        """
        images = self.source.images
        arguments.whole(groups=groups)
        arguments.generator(generator, images.device)
        chance = torch.rand(groups, len(self.source), generator=generator, device=images.device)  # [G, C]
        if self.within_alphabet:
            sizes = self.source.alphabet_sizes()  # [A]
            luck = torch.rand(groups, len(sizes), generator=generator, device=images.device)
            chosen = luck.masked_fill(sizes < self.characters, -1).argmax(1, keepdim=True)  # [G, 1]
            chance = chance.masked_fill(self.source.alphabet != chosen, -1)
        # The positions of the P largest of C random numbers are P distinct characters in random order.
        character = chance.topk(self.characters, dim=1).indices  # [G, P]
        deals = 1 if self.same_drawers else self.characters
        chance = torch.rand(groups, deals, images.shape[1], generator=generator, device=images.device)
        drawing = chance.argsort(dim=2)[:, :, : self.drawings]  # [G, P, K], or [G, 1, K] for all characters
        return images[character[:, :, None], drawing].unsqueeze(3).float() / 255
