"""What a training run is: one dataclass holds the papers' defaults, the command line's options and a run's note."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from ..arguments import shown
from ..learners import Learner
from ..tasks import Characters, Episode, Groups, as_episode, distort, omniglot, sine
from .recipes import MINIBATCH_SHOTS, RECIPES, TASKS, Recipe, paper

LATER = ("schedule", "network", "side")  # settings that the notes of older checkpoints do not have


class BadSetting(ValueError):
    """A setting that cannot be used. The message names the argument; `for_the_command_line` names the flag.

    Args:
        text: the complaint, with {name} where an argument is spoken of.
        values: the arguments by name; None for one that is mentioned without its value.
    """

    def __init__(self, text: str, /, **values: Any) -> None:
        arguments = {name: name if value is None else f"{name}={value}" for name, value in values.items()}
        super().__init__(text.format(**arguments))
        self._text, self._values = text, values

    def for_the_command_line(self) -> str:
        """Return the message in terms of flags: `--inner-lr 0.1` instead of `inner_lr=0.1`."""
        flags = {name: flag(name) if value is None else f"{flag(name)} {value}" for name, value in self._values.items()}
        if "tasks" in flags:
            flags["tasks"] = self._values["tasks"]  # it is given without a flag
        return self._text.format(**flags)


def flag(name: str) -> str:
    """Return the flag of a setting: `--inner-lr` of `inner_lr`."""
    return "--" + name.replace("_", "-")


def option(kind: type, help: str, *, zero: bool = False, choices: tuple[str, ...] | None = None) -> Any:
    """Describe a setting for the command line; `zero` says that it may be 0."""
    return field(metadata={"type": kind, "help": help, "zero": zero, "choices": choices})


def algorithms(tasks: str) -> list[str]:
    """Return the algorithms that can be trained on such tasks."""
    return [name for name, recipe in RECIPES.items() if tasks in recipe.papers]


def _text(value: object) -> str:
    return value if isinstance(value, str) and len(value) <= 80 and value.isprintable() else shown(value)


def _check_algorithm(tasks: str, algorithm: str) -> None:
    if not isinstance(tasks, str) or tasks not in TASKS:
        raise BadSetting("{tasks} is not known: choose one of " + ", ".join(TASKS), tasks=_text(tasks))
    if not isinstance(algorithm, str) or algorithm not in algorithms(tasks):
        known = ", ".join(algorithms(tasks))
        raise BadSetting(f"{{algorithm}} is not known for {tasks}: choose one of {known}", algorithm=_text(algorithm))


def _is(kind: type, value: object) -> bool:
    """Tell whether a value is of a setting's type: True is no number, and a whole number may stand for any number."""
    return not isinstance(value, bool) and isinstance(value, (int, float) if kind is float else kind)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that decides how a run goes. None means that a setting does not apply, or that there is no limit.

    Raises:
        BadSetting: the algorithm is not known for these tasks, or a setting does not apply to it, is missing, is of
            another type, or is out of its range.
    """

    tasks: str = option(str, "sine, or omniglot")
    algorithm: str = option(str, "for " + "; for ".join(f"{tasks}: {', '.join(algorithms(tasks))}" for tasks in TASKS))
    ways: int | None = option(int, "characters per training task")
    shots: int = option(int, "support examples per class")
    queries: int | None = option(int, "query examples per class; maml takes as many as --shots")
    inner_lr: float | None = option(
        float, "inner learning rate for a mean loss; Meta-SGD's rates start at it", zero=True
    )
    inner_steps: int | None = option(int, "gradient steps of the adaptation")
    outer_lr: float = option(
        float, "learning rate of Adam; for Reptile the rate of the first step, which then falls to 0"
    )
    halve_every: int | None = option(int, "halve the outer learning rate each time this many meta-steps are done")
    schedule: str | None = option(
        str,
        "how the outer learning rate falls: halving, by --halve-every; or cosine, along half a cosine to 0 at --steps",
        choices=("halving", "cosine"),
    )
    meta_batch: int = option(int, "tasks per meta-step")
    steps: int = option(int, "meta-steps")
    minutes: float | None = option(float, "stop after this many minutes of training, and save")
    pool: str | None = option(str, "how the network halves its pictures", choices=("stride", "max"))
    network: str | None = option(
        str, "what embeds the pictures: conv4, or a residual network of 9 convolutions", choices=("conv4", "residual")
    )
    channels: int | None = option(int, "channels of the convolutional network; of a residual one, in its first stage")
    side: int | None = option(int, f"pixels of a picture's side, at most {omniglot.SIDE}")
    margin: float | None = option(float, "margin of the contrastive or the triplet loss")
    hardest: int | None = option(int, "how many of the nearest negative pairs of each drawing count; 0: all", zero=True)
    distort: float | None = option(
        float, "strength of the distortions of training drawings; 1: as in Koch's paper", zero=True
    )
    within: int | None = option(
        int, "how many tasks of a meta-step have the characters of one alphabet; at most --meta-batch", zero=True
    )
    split: str | None = option(
        str,
        "alphabets (the author's split), random (the split of most papers), or one of the author's minimal sets",
        choices=omniglot.SPLITS,
    )
    device: str = option(str, "where to train: cpu, cuda, or one GPU of several, like cuda:1")
    seed: int = option(int, "seed of the first parameters and of all that is sampled", zero=True)
    save_every: float = option(float, "seconds between checkpoints", zero=True)

    @classmethod
    def of(cls, tasks: str, algorithm: str = "maml", **given: Any) -> Settings:
        """Return the paper's settings for an algorithm on such tasks, with those that are given in their place.

        Raises:
            BadSetting: the algorithm is not known for these tasks, or a setting does not apply to it.
        """
        _check_algorithm(tasks, algorithm)
        told = {name: given[name] for name in ("ways", "shots") if _is(int, given.get(name))}
        settings = paper(tasks, algorithm, **told)
        absent = dict.fromkeys(f.name for f in fields(cls))
        if unknown := [name for name in given if name not in absent]:
            raise BadSetting(f"{{{unknown[0]}}} is no setting: leave it out", **{unknown[0]: None})
        return cls(**absent | settings | given | {"tasks": tasks, "algorithm": algorithm})

    @classmethod
    def from_note(cls, note: dict[str, Any]) -> Settings:
        """Return the settings in a checkpoint's note.

        Raises:
            ValueError: the note lacks one of them, or one of them cannot be.
        """
        try:
            _check_algorithm(note["tasks"], note["algorithm"])
            usual = paper(note["tasks"], note["algorithm"])
            note = {name: usual.get(name) for name in LATER} | note
            return cls(**{f.name: note[f.name] for f in fields(cls)})
        except KeyError as name:
            raise ValueError(f"its note does not say {name}: write it by `python -m metalab train`") from name
        except BadSetting as fault:
            raise ValueError(f"its note is damaged: {fault}") from fault

    def __post_init__(self) -> None:
        _check_algorithm(self.tasks, self.algorithm)
        applies = {"tasks": True, "algorithm": True} | paper(self.tasks, self.algorithm)
        for f in fields(self):
            value, kind, choices = getattr(self, f.name), f.metadata["type"], f.metadata["choices"]
            if value is None and applies.get(f.name) is not None:
                raise BadSetting(f"{{{f.name}}} is missing: it must be given", **{f.name: None})
            if value is None:
                continue
            if f.name not in applies:
                text = f"{{{f.name}}} does not apply to {self.algorithm} on {self.tasks}: leave it out"
                raise BadSetting(text, **{f.name: None})
            if not _is(kind, value):
                what = {int: "a whole number", float: "a number", str: "text"}[kind]
                raise BadSetting(f"{{{f.name}}} must be {what}", **{f.name: _text(value)})
            if choices and value not in choices:
                raise BadSetting(f"{{{f.name}}} must be {' or '.join(choices)}", **{f.name: _text(value)})
            if kind is not str and not (0 < value < 2**63 or (value == 0 and f.metadata["zero"])):
                least = "at least" if f.metadata["zero"] else "above"
                raise BadSetting(f"{{{f.name}}} must be {least} 0, and below 2^63", **{f.name: _text(value)})
        if self.side is not None and self.side > omniglot.SIDE:
            raise BadSetting(f"{{side}} is more than the {omniglot.SIDE} pixels of a drawing", side=self.side)
        if self.within is not None and self.within > self.meta_batch:
            tasks = f"{{within}} is more than the {self.meta_batch} tasks of {{meta_batch}}"
            raise BadSetting(tasks, within=self.within, meta_batch=None)

    def check_memory(self, there_is: int) -> None:
        """Check that a training with these settings can fit into memory, before anything is allocated.

        Args:
            there_is: the memory of the machine or the GPU, in bytes.

        Raises:
            BadSetting: it cannot. The message names the setting that asks for too much.
        """
        if (need := self._least_bytes()) <= there_is:
            return
        usual = paper(self.tasks, self.algorithm)
        sizes = [f.name for f in fields(self) if f.metadata["type"] is int and usual.get(f.name)]
        most = max(sizes, key=lambda name: getattr(self, name) / usual[name])
        text = f"{{{most}}} is too large: it needs {need / 2**30:.3g} GiB of memory at least, and there are only "
        raise BadSetting(f"{text}{there_is / 2**30:.3g}", **{most: getattr(self, most)})

    def _least_bytes(self) -> int:
        """Return how much memory a meta-step needs at least: that of a batch, of the parameters and their copies."""
        minibatches = self.recipe.draws == "minibatches"
        shots, queries = (MINIBATCH_SHOTS[self.tasks], 1) if minibatches else (self.shots, self.queries)
        examples = (self.ways or 1) * (shots + queries)  # of a task
        trajectory = self.inner_steps or 0
        if self.tasks == "sine":
            picture, activations, params = 2, 80 * examples, 1761
        else:
            picture, activations = self.side**2, (self.side // 2) ** 2 * self.channels * examples
            params = 9 * self.channels + 27 * self.channels**2
        # The vector, its gradient, two moments, and two copies of the vector and the moments for a divergence.
        return 4 * (self.meta_batch * examples * picture + activations + (10 + trajectory) * params)

    @property
    def recipe(self) -> Recipe:
        """The row of the table for this algorithm."""
        return RECIPES[self.algorithm]

    def rate(self, step: int) -> float:
        """Return the outer learning rate of meta-step `step`, counted from 1."""
        return self.recipe.rate(self, step)

    def learner(self) -> Learner:
        """Return the learner that these settings describe."""
        return self.recipe.learner(self)

    def characters(self) -> tuple[Characters, Characters] | None:
        """Return Omniglot on the CPU: to train on, with rotations as characters of their own; to test on, upright."""
        if self.tasks == "sine":
            return None
        train, test = omniglot.load(self.split, side=self.side)
        return train.with_rotations(), test

    def sampler(self, train: Characters | None) -> Callable[[torch.Generator], Episode | Tensor]:
        """Return a function that draws meta-batches from a generator.

        Args:
            train: the characters to draw from, on the device of the generator; None for sines.

        Raises:
            BadSetting: a task needs more characters or drawings than there are.
        """
        draws, learner = self.recipe.draws, self.learner()
        shots, queries = (MINIBATCH_SHOTS[self.tasks], 1) if draws == "minibatches" else (self.shots, self.queries)
        if train is not None:
            self._check_that_there_are_enough(train, shots, queries)
            parts = [
                (count, Groups(train, self.ways, shots + queries, within_alphabet=within))
                for count, within in ((self.within, True), (self.meta_batch - self.within, False))
                if count
            ]

        def sample(generator: torch.Generator) -> Episode | Tensor:
            if train is None:
                episode = sine.sample(self.meta_batch, shots, queries, generator)
            else:
                groups = torch.cat([draw(count, generator) for count, draw in parts])
                if self.distort:
                    groups = distort(groups, generator, strength=self.distort)
                if draws == "groups":
                    return groups
                episode = as_episode(groups, shots)
            return learner.stream(episode, generator) if draws == "minibatches" else episode

        return sample

    def _check_that_there_are_enough(self, train: Characters, shots: int, queries: int) -> None:
        characters, drawings = train.images.shape[:2]
        if self.ways > characters:
            raise BadSetting(f"{{ways}} is more than the {characters} characters of the set", ways=self.ways)
        if shots + queries > drawings:
            text = f"{{shots}} and {{queries}}: a character has only {drawings} drawings"
            raise BadSetting(text, shots=shots, queries=queries)
