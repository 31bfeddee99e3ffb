"""What a training run is: one dataclass holds the papers' defaults, the command line's options and a run's note."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from ..learners import Learner
from ..tasks import Characters, Episode, Groups, as_episode, distort, omniglot, sine
from .recipes import MINIBATCH_SHOTS, RECIPES, TASKS, Recipe, paper


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


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that decides how a run goes. None means that a setting does not apply, or that there is no limit.

    Raises:
        BadSetting: a number is out of its range.
    """

    tasks: str = option(str, "sine, or omniglot")
    algorithm: str = option(str, "; ".join(f"{tasks}: {', '.join(algorithms(tasks))}" for tasks in TASKS))
    ways: int | None = option(int, "characters per training task")
    shots: int = option(int, "support examples per class")
    queries: int | None = option(int, "query examples per class")
    inner_lr: float | None = option(
        float, "inner learning rate for a mean loss; Meta-SGD's rates start at it", zero=True
    )
    inner_steps: int | None = option(int, "gradient steps of the adaptation")
    outer_lr: float = option(
        float, "learning rate of Adam; for Reptile the rate of the first step, which then falls to 0"
    )
    halve_every: int | None = option(int, "halve the outer learning rate each time this many meta-steps are done")
    meta_batch: int = option(int, "tasks per meta-step")
    steps: int = option(int, "meta-steps")
    minutes: float | None = option(float, "stop after this many minutes of training, and save")
    pool: str | None = option(str, "how the network halves its pictures", choices=("stride", "max"))
    channels: int | None = option(int, "channels of the convolutional network")
    margin: float | None = option(float, "margin of the contrastive or the triplet loss")
    hardest: int | None = option(int, "negative pairs of each drawing that count, the nearest; 0: all", zero=True)
    distort: float | None = option(float, "strength of the distortions of training drawings; 1: Koch's", zero=True)
    within: int | None = option(int, "tasks of a meta-step whose characters are of one alphabet", zero=True)
    split: str | None = option(
        str, "alphabets (the author's split), or random (the split of most papers)", choices=("alphabets", "random")
    )
    device: str = option(str, "cpu, or cuda")
    seed: int = option(int, "seed of the first parameters and of all that is sampled", zero=True)
    save_every: float = option(float, "seconds between checkpoints", zero=True)

    @classmethod
    def of(cls, tasks: str, algorithm: str = "maml", **given: Any) -> Settings:
        """Return the paper's settings for an algorithm on such tasks, with those that are given in their place.

        Raises:
            BadSetting: the algorithm is not known for these tasks, or a setting does not apply to it.
        """
        if tasks not in TASKS:
            raise BadSetting("{tasks} is not known: choose one of " + ", ".join(TASKS), tasks=tasks)
        if algorithm not in algorithms(tasks):
            known = ", ".join(algorithms(tasks))
            raise BadSetting(f"{{algorithm}} is not known for {tasks}: choose one of {known}", algorithm=algorithm)
        settings = paper(tasks, algorithm, ways=given.get("ways"), shots=given.get("shots"))
        for name in given:
            if name not in settings:
                raise BadSetting(f"{{{name}}} does not apply to {algorithm} on {tasks}: leave it out", **{name: None})
        absent = dict.fromkeys(f.name for f in fields(cls))
        return cls(**absent | settings | given | {"tasks": tasks, "algorithm": algorithm})

    @classmethod
    def from_note(cls, note: dict[str, Any]) -> Settings:
        """Return the settings in a checkpoint's note.

        Raises:
            ValueError: the note lacks one of them, or its algorithm is not known.
        """
        try:
            if note["algorithm"] not in RECIPES:
                raise ValueError(
                    f"its note names the algorithm {note['algorithm']!r}: it must be one of {list(RECIPES)}"
                )
            return cls(**{f.name: note[f.name] for f in fields(cls)})
        except KeyError as name:
            raise ValueError(f"its note does not say {name}: write it by `python -m metalab train`") from name

    def __post_init__(self) -> None:
        for f in fields(self):
            value, zero = getattr(self, f.name), f.metadata["zero"]
            if isinstance(value, int | float) and not (0 < value < 2**63 or (value == 0 and zero)):
                least = "at least" if zero else "above"
                raise BadSetting(f"{{{f.name}}} must be {least} 0, and below 2^63", **{f.name: value})
        if self.within is not None and self.within > self.meta_batch:
            tasks = f"{{within}} is more than the {self.meta_batch} tasks of {{meta_batch}}"
            raise BadSetting(tasks, within=self.within, meta_batch=None)

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
        train, test = omniglot.load(self.split)
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
