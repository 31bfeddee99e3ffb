"""Lesson 3's comparison over training seeds: the losses that learn a distance, and repairs of those that fall behind.

python -m benchmarks distances --json metalab/lessons/siamese_contrastive_loss/measured.json

All of them have one network and as many steps, of 60 characters with 2 drawings each. The outer learning rate of each
is chosen on the validation alphabets, by one training with each of three or four rates and a seed of its own. (With
another temperature the supervised contrastive loss keeps its rate.) Then each is trained with several other seeds. The
accuracies on the validation alphabets are for the lesson's comparison, and those on the test alphabets for its end;
nothing is chosen by them. `MORE` are answers to the lesson's "More to try", with the rate of the contrastive loss, and
the last trainings are the lesson's panel, steered as its questions ask. With the same file it goes on where it stopped.
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
from metalab.lessons.kit import steering
from metalab.lessons.siamese_contrastive_loss import figures
from metalab.nets import Conv4, Params
from metalab.tasks import Characters, Groups, as_episode, distort, omniglot

from .speedrun import WIDE, Data, Sampler, Setting, cosine, groups, tasks

NET = Conv4(channels=WIDE)
STEPS = 800
RATES = (3e-3, 1e-2, 3e-2)  # of the first step; it falls to 0 along half a cosine
KOCH_RATES = (1e-2, 3e-2, 1e-1, 3e-1)  # Koch's head does best with larger ones than the others
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
    "supervised contrastive, τ=1/40": (SupervisedContrastive(NET, temperature=1 / 40), PAIRS),  # as matching learns it
    "prototypical": (PrototypicalNet(NET), tasks(1, 60, 1)),
    "matching": (MatchingNet(NET), tasks(1, 60, 1)),
    "matching, learned factor": (MatchingNet(NET, first_scale=10.0), tasks(1, 60, 1)),
    "Koch": (Koch(NET), PAIRS),
    "Koch, distortions": (Koch(NET), distorted(PAIRS)),
    "Koch, hard pairs": (Koch(NET, hardest=5), PAIRS),
    "Koch, both": (Koch(NET, hardest=5), distorted(PAIRS)),
}


def within(count: int, characters: int, *, alphabet: bool) -> Callable[[Characters], Sampler]:
    """Return what makes a sampler of `count` groups with 2 drawings of each character, of one alphabet or of any."""

    def of(source: Characters) -> Sampler:
        deal = Groups(source, characters, 2, within_alphabet=alphabet)
        return lambda generator: deal(count, generator)

    return of


LIVE = LEARNERS["contrastive"][0]
MORE = {
    "contrastive, 20 of any alphabets": (LIVE, within(3, 20, alphabet=False)),
    "contrastive, 20 of one alphabet": (LIVE, within(3, 20, alphabet=True)),
}
LEARNERS |= MORE


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


STEERED = {  # what the reader is asked to do with the lesson's panel, from which step on
    "no margin": {150: {"margin": 0.0}, 250: {"margin": 2.0}},
    "rate of 1": {150: {"outer_lr": 1.0}, 250: {"outer_lr": 1e-3}},
    "left alone": {},
}
MARKS = (150, 250, 350, 550)


def steer(
    train: Characters, validation: Characters, seed: int, script: dict[int, dict[str, float]], *, most: int
) -> dict[str, Any]:
    """Steer the training of the lesson's panel, and return what can be seen after so many steps of MARKS.

    That is the loss, a mean of the last 10 steps; how far apart the middles of two characters are in the picture; and
    the mean length of the filters of the second layer.
    """
    panel = figures.training_panel(train, validation, seed=seed)
    driver, shown = panel.driver, panel.view.picture.shown
    found: dict[str, Any] = {"seed": seed, "loss": {}, "apart": {}, "filters": {}, "went back": 0}
    while driver.steps < min(most, MARKS[-1]):
        for name, value in script.get(driver.steps, {}).items():
            driver.set(name, value)
        try:
            driver.step()
        except steering.WentBack:
            found["went back"] += 1
            break
        if driver.steps in MARKS:
            shown.add(driver.steps, driver.trainer.params)
            mark = str(driver.steps)
            found["loss"][mark], found["apart"][mark] = driver.loss, shown.spread()[1]
            found["filters"][mark] = driver.trainer.params["conv2"].norm(dim=0).mean().item()
    return found


def tuned_as(name: str) -> str:
    """Return the learner whose rate a learner has."""
    if name in MORE:
        return "contrastive"
    return "supervised contrastive" if name.startswith("supervised") else name


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
    found["steered"] = []
    if options.json:
        check_replaceable(options.json)
        if options.json.exists():
            before = json.loads(options.json.read_text())
            if any(before.get(name) != value for name, value in size.items()):
                raise ValueError(f"--json {options.json} was measured in another way: name another file")
            found = {"steered": [], **before}
    background, test = omniglot.load()
    data = Data.of(background, test, torch.device("cpu"))
    found["validation alphabets"] = data.validation.names
    names = options.learner or list(LEARNERS)

    def keep(part: str, made: dict[str, Any]) -> None:
        found[part].append(made)
        print(describe(made) if "learner" in made else made, flush=True)
        if options.json:
            replace_file(options.json, f"{json.dumps(found, indent=1, ensure_ascii=False)}\n".encode())

    tuned = {(run["learner"], run["rate"]) for run in found["tuning"]}
    for name in sorted({tuned_as(name) for name in names}, key=list(LEARNERS).index):
        for rate in KOCH_RATES if name.startswith("Koch") else RATES:
            if (name, rate) not in tuned:
                keep("tuning", measure(name, data, TUNING_SEED, rate, **size, test=False))
    done = {(run["learner"], run["seed"]) for run in found["runs"]}
    for seed in range(options.seeds):
        for name in names:
            if (name, seed) not in done:
                rate = best_rate(found["tuning"], tuned_as(name))
                keep("runs", measure(name, data, seed, rate, **size, test=True))
    done = {(run["script"], run["seed"]) for run in found["steered"]}
    for seed in range(options.seeds):
        for script, changes in STEERED.items():
            if (script, seed) not in done:
                made = steer(*background.hold_out(), seed, changes, most=10 if options.quick else MARKS[-1])
                keep("steered", {"script": script, **made})
    return 0


def describe(run: dict[str, Any]) -> str:
    """Return one training in a line."""
    accuracies = ", ".join(f"{kind} {accuracy:.1%}" for kind, accuracy in run["validation"].items())
    return f"{run['learner']}, seed {run['seed']}, rate {run['rate']}: {run['seconds']:.0f} s; validation: {accuracies}"
