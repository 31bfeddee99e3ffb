"""Lesson 3's comparison over training seeds: the losses that learn a distance, and repairs of those that fall behind.

python -m benchmarks distances --json metalab/lessons/siamese_contrastive_loss/measured.json

All of them have one network and as many steps, of 60 characters with 2 drawings each. The outer learning rate of each
is chosen on the validation alphabets, by one training with each of three rates and a seed of its own. Then each is
trained with several other seeds. The accuracies on the validation alphabets are for the lesson's comparison, and those
on the test alphabets for its end; nothing is chosen by them. With the same file it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metalab.evaluate import evaluate
from metalab.experiments import machine
from metalab.files import check_replaceable, replace_file
from metalab.learners import Contrastive, Koch, MatchingNet, PrototypicalNet, SupervisedContrastive, Triplet
from metalab.nets import Conv4, Params
from metalab.tasks import Characters, Groups, as_episode, distort, omniglot

from .speedrun import WIDE, Data, Sampler, Setting, cosine, groups, tasks

NET = Conv4(channels=WIDE)
STEPS = 800
RATES = (3e-3, 1e-2, 3e-2)  # of the first step; it falls to 0 along half a cosine
TUNING_SEED = 99
KINDS = {"5-way, any": (5, False), "20-way, any": (20, False), "5-way, one": (5, True), "20-way, one": (20, True)}
CHOSEN_BY = "20-way, any"
EPISODES = 300
QUICK = {"steps": 4, "episodes": 4}


def distorted(draw: Callable[[Characters], Sampler]) -> Callable[[Characters], Sampler]:
    """Return what makes a sampler of groups whose drawings are distorted as in Koch's paper."""

    def of(source: Characters) -> Sampler:
        sample = draw(source)
        return lambda generator: distort(sample(generator), generator)

    return of


PAIRS = groups(60, 2)
LEARNERS: dict[str, tuple[Any, Callable[[Characters], Sampler]]] = {
    "contrastive": (Contrastive(NET, margin=2.0, hardest=5), PAIRS),
    "contrastive, all pairs": (Contrastive(NET, margin=2.0), PAIRS),
    "triplet, hard": (Triplet(NET), PAIRS),
    "triplet, semi-hard": (Triplet(NET, mining="semi-hard"), PAIRS),
    "supervised contrastive": (SupervisedContrastive(NET), PAIRS),
    "prototypical": (PrototypicalNet(NET), tasks(1, 60, 1)),
    "matching": (MatchingNet(NET), tasks(1, 60, 1)),
    "matching, learnt temperature": (MatchingNet(NET, first_scale=10.0), tasks(1, 60, 1)),
    "Koch": (Koch(NET), PAIRS),
    "Koch, distortions": (Koch(NET), distorted(PAIRS)),
    "Koch, hard pairs": (Koch(NET, hardest=5), PAIRS),
    "Koch, both": (Koch(NET, hardest=5), distorted(PAIRS)),
}


def scores(learner: Any, params: Params, pictures: Tensor, characters: Characters, episodes: int) -> dict[str, float]:
    """Return a trained network's accuracies on 1-shot episodes, always the same, by ways and by who the others are."""
    tested = learner.with_statistics(params, pictures)
    found = {}
    for kind, (ways, within) in KINDS.items():
        deal = Groups(characters, ways, 2, within_alphabet=within)
        found[kind] = evaluate(
            partial(tested.predict, params),
            lambda count, generator, deal=deal: as_episode(deal(count, generator), shots=1),
            episodes=episodes if ways == 5 else -(-episodes // 2),  # an episode of 20 ways has four times the queries
            seed=1,
            device=pictures.device,
        ).mean
    return found


def measure(name: str, data: Data, seed: int, rate: float, *, steps: int, episodes: int, test: bool) -> dict[str, Any]:
    """Train once, and return the rate, the seconds and the accuracies; those on the test alphabets if they are due."""
    learner, draw = LEARNERS[name]
    start = time.perf_counter()
    trainer = Setting(learner, draw, cosine(rate), steps).trainer(data.train, seed, data.pictures.device)
    trainer.step(steps)
    found: dict[str, Any] = {"learner": name, "seed": seed, "rate": rate, "seconds": time.perf_counter() - start}
    if "log_scale" in trainer.params:
        found["scale"] = trainer.params["log_scale"].exp().item()
    parts = {"validation": data.validation, "test": data.test} if test else {"validation": data.validation}
    for part, characters in parts.items():
        found[part] = scores(learner, trainer.params, data.pictures, characters, episodes)
    return found


def best_rate(tuning: list[dict[str, Any]], name: str) -> float:
    """Return the rate whose training did best on the validation alphabets."""
    return max((run for run in tuning if run["learner"] == name), key=lambda run: run["validation"][CHOSEN_BY])["rate"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m benchmarks distances`."""
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each learner (default 5)")
    parser.add_argument("--learner", nargs="+", choices=list(LEARNERS), help="only these (default: all)")
    parser.add_argument("--threads", type=int, default=1, help="processor cores to use (default 1)")
    parser.add_argument("--quick", action="store_true", help="a few steps and tasks: tries the command out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measurements there, after each training")


def run(options: argparse.Namespace) -> int:
    """Choose the rates, train seed by seed, the learners in turn, and leave out what the file has already.

    Raises:
        ValueError: there are fewer than 1 seeds or threads, or the file holds something else.
        OSError: the file cannot be written.
    """
    for name in ("seeds", "threads"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name} {getattr(options, name)} must be at least 1")
    torch.set_num_threads(options.threads)
    size = QUICK if options.quick else {"steps": STEPS, "episodes": EPISODES}
    found: dict[str, Any] = {"machine": machine.about("cpu"), **size, "rates": RATES, "tuning": [], "runs": []}
    if options.json:
        check_replaceable(options.json)
        if options.json.exists():
            before = json.loads(options.json.read_text())
            if any(before.get(name) != value for name, value in size.items()):
                raise ValueError(f"--json {options.json} was measured in another way: name another file")
            found = before
    data = Data.of(*omniglot.load(), torch.device("cpu"))
    found["validation alphabets"] = data.validation.names
    names = options.learner or list(LEARNERS)

    def keep(part: str, made: dict[str, Any]) -> None:
        found[part].append(made)
        print(describe(made), flush=True)
        if options.json:
            replace_file(options.json, f"{json.dumps(found, indent=1, ensure_ascii=False)}\n".encode())

    tuned = {(run["learner"], run["rate"]) for run in found["tuning"]}
    for name in names:
        for rate in RATES:
            if (name, rate) not in tuned:
                keep("tuning", measure(name, data, TUNING_SEED, rate, **size, test=False))
    done = {(run["learner"], run["seed"]) for run in found["runs"]}
    for seed in range(options.seeds):
        for name in names:
            if (name, seed) not in done:
                keep("runs", measure(name, data, seed, best_rate(found["tuning"], name), **size, test=True))
    return 0


def describe(run: dict[str, Any]) -> str:
    """Return one training in a line."""
    accuracies = ", ".join(f"{kind} {accuracy:.1%}" for kind, accuracy in run["validation"].items())
    return f"{run['learner']}, seed {run['seed']}, rate {run['rate']}: {run['seconds']:.0f} s; validation: {accuracies}"
