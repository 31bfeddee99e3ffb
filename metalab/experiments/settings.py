"""What a training run is: one dataclass gives the papers' defaults, the command line and a checkpoint's note."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from ..learners.contrastive import Contrastive
from ..learners.koch import Koch
from ..learners.maml import MAML
from ..learners.matching import MatchingNet
from ..learners.prototypical import PrototypicalNet
from ..learners.reptile import Reptile
from ..learners.siamese import Siamese
from ..learners.triplet import Triplet
from ..losses import cross_entropy, mse
from ..nets import MLP, Conv4
from ..tasks import Characters, Episode, omniglot, sine
from ..tasks.distort import distort
from ..tasks.episode import as_episode
from ..tasks.pairs import Groups
from ..train import Adam, Descent, Learner, Optimizer

METRIC = ("protonet", "matching", "contrastive", "triplet", "koch")  # learn a distance, and adapt nothing
ALGORITHMS = {
    "sine": ("maml", "fomaml", "anil", "metasgd", "sparse", "reptile", "joint"),
    "omniglot": ("maml", "fomaml", "anil", "metasgd", "sparse", "reptile", *METRIC),
}
LATER = {"margin", "hardest", "distort", "within"}  # checkpoints written before there were these do not name them
UNLIMITED = ("halve_every", "minutes")  # None means never
HEAD = {"sine": ("w3", "b3"), "omniglot": ("head", "bias")}  # what ANIL adapts
REPTILE_SHOTS = {"sine": 50, "omniglot": 10}  # Reptile trains with these, whatever the shots of its test


def option(kind: type, help: str, *, zero: bool = False, choices: tuple[str, ...] | None = None) -> Any:
    """A setting as the command line needs to know it; `zero` says that it may be 0."""
    return field(metadata={"type": kind, "help": help, "zero": zero, "choices": choices})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that decides how a run goes. None: does not apply to these tasks or this algorithm, or has no limit.

    Raises:
        ValueError: a number that cannot be, by the name it has on the command line.
    """

    tasks: str = option(str, "sine, or omniglot")
    algorithm: str = option(str, "; ".join(f"{tasks}: {', '.join(known)}" for tasks, known in ALGORITHMS.items()))
    ways: int | None = option(int, "characters per training task")
    shots: int = option(int, "support examples per class")
    queries: int | None = option(int, "query examples per class")
    inner_lr: float | None = option(float, "of the adaptation, for a mean loss; Meta-SGD starts there", zero=True)
    inner_steps: int | None = option(int, "gradient steps of the adaptation")
    outer_lr: float = option(float, "Adam's learning rate; the first meta-step of Reptile, which falls to 0")
    halve_every: int | None = option(int, "halve the outer learning rate every so many meta-steps")
    meta_batch: int = option(int, "tasks per meta-step")
    steps: int = option(int, "meta-steps")
    minutes: float | None = option(float, "stop after so many minutes of training, and save")
    pool: str | None = option(str, "how the network halves its pictures", choices=("stride", "max"))
    channels: int | None = option(int, "of the convolutional network")
    margin: float | None = option(float, "of the contrastive or the triplet loss")
    hardest: int | None = option(int, "different pairs of each drawing that count, the nearest; 0: all", zero=True)
    distort: float | None = option(float, "strength of the distortions of training drawings; 1: Koch's", zero=True)
    within: int | None = option(int, "tasks of a meta-step whose characters are of one alphabet", zero=True)
    split: str | None = option(str, "alphabets is the author's, random most papers'", choices=("alphabets", "random"))
    device: str = option(str, "cpu, or cuda")
    seed: int = option(int, "of the first parameters and of all that is sampled", zero=True)
    save_every: float = option(float, "seconds between checkpoints", zero=True)

    @classmethod
    def of(cls, tasks: str, algorithm: str = "maml", **given: Any) -> Settings:
        """The paper's settings for this algorithm, but for those that are given.

        Raises:
            ValueError: the algorithm is not known for these tasks, or a setting does not apply to it.
        """
        if tasks not in ALGORITHMS:
            raise ValueError(f"{tasks} is not known: choose one of {', '.join(ALGORITHMS)}")
        if algorithm not in ALGORITHMS[tasks]:
            known = ", ".join(ALGORITHMS[tasks])
            raise ValueError(f"--algorithm {algorithm} is not known for {tasks}: choose one of {known}")
        settings = paper(tasks, algorithm, ways=given.get("ways"), shots=given.get("shots"))
        for name in given:
            if settings[name] is None and name not in UNLIMITED:
                raise ValueError(f"{_flag(name)} does not apply to {algorithm} on {tasks}: leave it out")
        return cls(tasks=tasks, algorithm=algorithm, **settings | given)

    @classmethod
    def from_note(cls, note: dict[str, Any]) -> Settings:
        """The settings among the entries of a checkpoint's note."""
        try:
            usual = paper(note["tasks"], note["algorithm"], ways=note["ways"], shots=note["shots"])
            known = {name: usual[name] for name in LATER} | note
            return cls(**{f.name: known[f.name] for f in fields(cls)})
        except KeyError as name:
            raise ValueError(f"its note does not say {name}: write it by `python -m metalab train`") from name

    def __post_init__(self) -> None:
        for f in fields(self):
            value, zero = getattr(self, f.name), f.metadata["zero"]
            if isinstance(value, int | float) and not (0 < value < 2**63 or (value == 0 and zero)):
                raise ValueError(f"{_flag(f.name)} {value} must be {'at least' if zero else 'above'} 0, and below 2^63")
        if self.within is not None and self.within > self.meta_batch:
            raise ValueError(f"--within {self.within} is more than the {self.meta_batch} tasks of --meta-batch")

    def rate(self, step: int) -> float:
        """The outer learning rate of meta-step `step`, counted from 1."""
        if self.algorithm == "reptile":
            return self.outer_lr * (1 - (step - 1) / self.steps)
        return self.outer_lr * 0.5 ** ((step - 1) // self.halve_every) if self.halve_every else self.outer_lr

    def optimizer(self) -> type[Optimizer]:
        return Descent if self.algorithm == "reptile" else Adam

    def learner(self) -> Learner:
        if self.algorithm in METRIC:
            net = Conv4(channels=self.channels, pool=self.pool)
            return {
                "protonet": lambda: PrototypicalNet(net),
                "matching": lambda: MatchingNet(net),
                "contrastive": lambda: Contrastive(net, margin=self.margin, hardest=self.hardest or None),
                "triplet": lambda: Triplet(net, margin=self.margin),
                "koch": lambda: Koch(net),
            }[self.algorithm]()
        if self.tasks == "sine":
            net, loss = MLP(), mse
        else:
            net, loss = Conv4(self.ways, channels=self.channels, pool=self.pool), cross_entropy
        if self.algorithm == "reptile":
            batch = 10 if (self.ways or 1) < 20 else 20
            return Reptile(net, loss, inner_lr=self.inner_lr, inner_steps=self.inner_steps, inner_batch=batch)
        return MAML(
            net,
            loss,
            inner_lr=self.inner_lr,
            inner_steps=self.inner_steps or 0,
            order=1 if self.algorithm == "fomaml" else 2,
            adapts=HEAD[self.tasks] if self.algorithm == "anil" else None,
            learn_rates=self.algorithm == "metasgd",
            learn_gates=self.algorithm == "sparse",
        )

    def characters(self) -> tuple[Characters, Characters] | None:
        """Omniglot to train on, with rotations as classes of their own, and to test on, upright; on the CPU."""
        if self.tasks == "sine":
            return None
        train, test = omniglot.load(self.split)
        return train.with_rotations(), test

    def sampler(self, train: Characters | None) -> Callable[[torch.Generator], Episode | Tensor]:
        """Draws meta-batches; `train` are the characters, on the device of the generator.

        A Siamese learner gets groups [G, P, K, 1, 28, 28] of as many drawings as a task has shots and queries.
        """
        learner = self.learner()
        reptile = isinstance(learner, Reptile)
        shots, queries = (REPTILE_SHOTS[self.tasks], 1) if reptile else (self.shots, self.queries)
        if train is None:

            def sample(generator: torch.Generator) -> Episode:
                episode = sine.sample(self.meta_batch, shots, queries, generator)
                return learner.stream(episode, generator) if reptile else episode

            return sample

        characters, drawings = train.images.shape[:2]
        if self.ways > characters:
            raise ValueError(f"--ways {self.ways} is more than the {characters} characters there are")
        if shots + queries > drawings:
            raise ValueError(f"--shots {shots} and --queries {queries}: a character has only {drawings} drawings")
        parts = [
            (count, Groups(train, self.ways, shots + queries, within_alphabet=within))
            for count, within in ((self.within, True), (self.meta_batch - self.within, False))
            if count
        ]

        def sample(generator: torch.Generator) -> Episode | Tensor:
            groups = torch.cat([draw(count, generator) for count, draw in parts])
            if self.distort:
                groups = distort(groups, generator, strength=self.distort)
            if isinstance(learner, Siamese):
                return groups
            episode = as_episode(groups, shots)
            return learner.stream(episode, generator) if reptile else episode

        return sample


def paper(tasks: str, algorithm: str, *, ways: int | None = None, shots: int | None = None) -> dict[str, Any]:
    """The paper's value for every setting but tasks and algorithm; None for what does not apply."""
    common = {"outer_lr": 1e-3, "halve_every": None, "minutes": None, "device": "cpu", "seed": 0, "save_every": 30.0}
    common |= {"margin": None, "hardest": None, "distort": None, "within": None}
    if tasks == "sine":
        # Finn et al. 2017, section 5.1; their code takes 25 tasks, and as many query points as shots.
        shots = shots or 5
        inner = {"inner_lr": 0.01, "inner_steps": None if algorithm == "joint" else 1}
        task = {"ways": None, "shots": shots, "queries": shots, "meta_batch": 25, "steps": 70_000}
        if algorithm == "reptile":
            # Nichol et al. have no such table for sines: 50 points and the rest as for their characters.
            inner = {"inner_lr": 0.01, "inner_steps": 5, "outer_lr": 1.0}
            task |= {"queries": None, "meta_batch": 5}
        return common | inner | task | {"pool": None, "channels": None, "split": None}

    shots = shots or 1
    common |= {"shots": shots, "channels": 64, "split": "alphabets", "distort": 0.0, "within": 0}
    if algorithm in METRIC:
        # Snell et al. 2017, section 3.1. They stop by validation; 20,000 episodes are ten halvings.
        common |= {"inner_lr": None, "inner_steps": None, "halve_every": 2000, "pool": "max"}
        common |= {"ways": ways or 60, "queries": 5, "meta_batch": 1, "steps": 20_000}
        # The others have no published settings for this network, and are trained as a prototypical one is.
        if algorithm == "contrastive":
            return common | {"margin": 2.0, "hardest": 5}
        if algorithm == "triplet":
            return common | {"margin": 0.2}  # Hermans et al. 2017
        if algorithm == "koch":
            return common | {"distort": 1.0}  # Koch et al. 2015, section 3.2
        return common

    ways = ways or 5
    large = ways >= 20
    if algorithm == "reptile":
        # Nichol et al. 2018, as their code's commands have it: one set of numbers for 5-way, another for 20-way.
        inner = {"inner_lr": 5e-4 if large else 1e-3, "inner_steps": 10 if large else 5, "outer_lr": 1.0}
        steps = 200_000 if large else 100_000
        return common | inner | {"ways": ways, "queries": None, "meta_batch": 5, "steps": steps, "pool": "stride"}
    # Finn et al. 2017, section 5.2, likewise.
    inner = {"inner_lr": 0.1 if large else 0.4, "inner_steps": 5 if large else 1}
    if algorithm == "metasgd":
        inner["inner_steps"] = 1
    return (
        common
        | inner
        | {"ways": ways, "queries": shots, "meta_batch": 16 if large else 32, "steps": 60_000, "pool": "stride"}
    )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
