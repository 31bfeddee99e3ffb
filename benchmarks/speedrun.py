"""How soon does a training reach 90, 93, 95 and 97 %? Each starts from scratch, on the CPU's cores or on a GPU.

python -m benchmarks speedrun --json build/speedrun.json

The task is 5-way 1-shot on Omniglot, with the author's split. Some background alphabets are not trained on
(`Characters.hold_out`): the curve of a training is its accuracy on tasks of these validation alphabets. The test
alphabets are met once, at the end, on 600 tasks. MAML answers one query per class, normalised by the query batch, after
three inner steps, as in its paper; the other learners are normalised by statistics of training pictures.

The clock runs while a training is made and while it steps, its first step included. It stands still while modules are
imported, drawings are loaded, and networks are tested.

A level counts as reached at the first test from which on all later tests of that training are at or above it, so that a
lucky test does not count.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metalab.evaluate import Score, evaluate
from metalab.experiments import machine
from metalab.files import check_replaceable, replace_file
from metalab.learners import MAML, Contrastive, Learner, NeighbourhoodComponents, PrototypicalNet
from metalab.nets import Conv4, Params
from metalab.optim import Adam, Muon, Optimizer
from metalab.tasks import Characters, Groups, as_episode, omniglot
from metalab.train import Trainer

LEVELS = (0.90, 0.93, 0.95, 0.97)
TESTS = 25  # during a training
TASKS = 600  # of each test
QUICK_STEPS = 4
PICTURES = 1000  # training pictures that batch norm's statistics are measured on
MAML_TEST_STEPS = 3
Sampler = Callable[[torch.Generator], Any]


# The settings


def straight(rate: float) -> Callable[[float], float]:
    """Return a schedule that falls from `rate` to 0 in a straight line, as a function of the share of steps taken."""
    return lambda share: rate * (1 - share)


def cosine(rate: float) -> Callable[[float], float]:
    """Return a schedule that falls from `rate` to 0 along half a cosine (Loshchilov & Hutter 2017)."""
    return lambda share: rate * (1 + math.cos(math.pi * share)) / 2


def tasks(count: int, ways: int, queries: int, *, within: bool = False) -> Callable[[Characters], Sampler]:
    """Return what makes a sampler of 1-shot episodes from training characters.

    Args:
        count, ways, queries: the tasks of an episode, their characters, and the query drawings of each character.
        within: whether the characters of a task are of one alphabet, which makes it harder and teaches more.
    """
    if not within:
        return lambda source: lambda generator: source.sample(count, ways, 1, queries, generator)

    def of(source: Characters) -> Sampler:
        deal = Groups(source, ways, 1 + queries, within_alphabet=True)
        return lambda generator: as_episode(deal(count, generator), 1)

    return of


def groups(characters: int, drawings: int) -> Callable[[Characters], Sampler]:
    """Return what makes a sampler of one group at a time from training characters."""

    def of(source: Characters) -> Sampler:
        deal = Groups(source, characters, drawings)
        return lambda generator: deal(1, generator)

    return of


def muon(learner: Learner) -> Callable[[Tensor], Optimizer]:
    """Return Muon for the convolutions of a learner's Conv4, but for the first, whose rows are pixels."""
    layout = {name: p.shape for name, p in learner.init(torch.Generator()).items()}
    return partial(Muon, layout=layout, hidden=("conv2", "conv3", "conv4"))


@dataclass(frozen=True)
class Setting:
    """How a learner is trained.

    Args:
        learner: the learner.
        draw: makes its sampler from the training characters, each of whose turns is a character.
        rate: the outer learning rate, by the share of the steps that are taken.
        steps: the number of meta-steps.
        optimizer: makes the optimizer of the learner's parameters.
        goals: levels, and the seconds on two cores in which each should be reached.
    """

    learner: Learner
    draw: Callable[[Characters], Sampler]
    rate: Callable[[float], float]
    steps: int
    optimizer: Callable[[Learner], Callable[[Tensor], Optimizer]] = lambda learner: Adam
    goals: dict[float, float] = field(default_factory=dict)

    def trainer(self, source: Characters, seed: int, device: torch.device) -> Trainer:
        """Return a new training on these characters."""

        def rate(step: int) -> float:
            return self.rate((step - 1) / self.steps)

        optimizer = self.optimizer(self.learner)
        return Trainer(self.learner, self.draw(source), outer_lr=rate, optimizer=optimizer, seed=seed, device=device)


WIDE = (16, 32, 64, 128)  # channels: about as much work as 32 in each block
PROTOTYPICAL = Setting(PrototypicalNet(Conv4(channels=WIDE)), tasks(1, 60, 1), cosine(5e-2), 1000, muon, {0.95: 12})
ALL_PAIRS = replace(PROTOTYPICAL, learner=NeighbourhoodComponents(Conv4(channels=WIDE)), goals={})
SECOND_ORDER = Setting(
    MAML(Conv4(5, channels=WIDE), inner_lr=2.0),
    tasks(8, 5, 3, within=True),
    cosine(1e-2),
    1500,
    goals={0.93: 30},
)
# "lessons": as the lessons trained when the search for better settings began, to compare with.
SETTINGS: dict[str, dict[str, Setting]] = {
    "prototypical": {
        "lessons": Setting(PrototypicalNet(Conv4(channels=32)), tasks(1, 60, 1), straight(3e-3), 1800),
        "best": PROTOTYPICAL,
        "best, longer": replace(PROTOTYPICAL, steps=5000, goals={0.97: 60}),
    },
    "neighbours": {  # a prototypical network, but for the loss it is trained with
        "best": ALL_PAIRS,
        "best, longer": replace(ALL_PAIRS, steps=5000),
    },
    "maml": {
        "lessons": Setting(MAML(Conv4(5, channels=32), inner_lr=0.4), tasks(8, 5, 3), straight(1e-2), 1500),
        "best": SECOND_ORDER,
        "best, longer": replace(SECOND_ORDER, steps=4800, goals={0.95: 90}),
    },
    "contrastive": {
        "lessons": Setting(Contrastive(Conv4(channels=32), margin=2.0, hardest=5), groups(60, 2), straight(3e-3), 2200),
        "best": Setting(
            Contrastive(Conv4(channels=WIDE), margin=2.0, hardest=5),
            groups(60, 2),
            cosine(5e-2),
            1500,
            muon,
            {0.95: 25},
        ),
    },
}


# One training


@dataclass(frozen=True)
class Data:
    """The characters of a speed run, on one device, and the pictures that batch norm's statistics are measured on."""

    train: Characters
    validation: Characters
    test: Characters
    pictures: Tensor

    @classmethod
    def of(cls, background: Characters, test: Characters, device: torch.device) -> Data:
        """Part the background alphabets, and turn those that are trained on."""
        train, validation = (part.to(device) for part in background.hold_out())
        pictures, _characters = train.batch(PICTURES, torch.Generator(device).manual_seed(0))
        return cls(train.with_rotations(), validation, test.to(device), pictures)


def score(learner: Learner, params: Params, characters: Characters, pictures: Tensor, *, episodes: int) -> Score:
    """Return the accuracy on 5-way 1-shot tasks, always the same ones, with one query per class."""
    if isinstance(learner, MAML):
        tested: Learner = replace(learner, inner_steps=MAML_TEST_STEPS)
    else:
        tested = learner.with_statistics(params, pictures)  # type: ignore[attr-defined]
    return evaluate(
        partial(tested.predict, params),
        lambda n, g: characters.sample(n, 5, 1, 1, g),
        episodes=episodes,
        seed=1,
        device=pictures.device,
    )


def train(setting: Setting, data: Data, seed: int, *, tests: int = TESTS, episodes: int = TASKS) -> dict[str, Any]:
    """Train from scratch, and test now and then while the clock stands still.

    Args:
        setting: how to train.
        data: the characters.
        seed: seed of the training.
        tests: how many times the validation alphabets are met, at even distances; the last time at the end.
        episodes: the number of tasks of each test.

    Returns:
        The curve, a list of [seconds, accuracy on the validation alphabets]; the seconds and the accuracy at the end,
        and the accuracy on the test alphabets with its 95 % interval; all accuracies are shares.
    """
    device = data.pictures.device
    start = clock(device)
    trainer = setting.trainer(data.train, seed, device)
    seconds = clock(device) - start
    curve = []
    for i in range(1, tests + 1):
        start = clock(device)
        trainer.step(setting.steps * i // tests - trainer.steps)
        seconds += clock(device) - start
        found = score(setting.learner, trainer.params, data.validation, data.pictures, episodes=episodes)
        curve.append([seconds, found.mean])
    test = score(setting.learner, trainer.params, data.test, data.pictures, episodes=episodes)
    return {"seconds": seconds, "validation": curve[-1][1], "test": test.mean, "ci95": test.ci95, "curve": curve}


def clock(device: torch.device) -> float:
    """Return the time in seconds, when the device has done all that it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def reached(curve: list[list[float]], level: float) -> float | None:
    """Return the seconds at the first test from which on every test is at or above a level; None if the last is not."""
    found = None
    for seconds, accuracy in reversed(curve):
        if accuracy < level:
            break
        found = seconds
    return found


# The command


def table(runs: list[dict[str, Any]]) -> str:
    """Return, for each learner and setting, the seconds to each level and the accuracies at the end: median (range)."""
    lines = []
    for (learner, setting), same in by_setting(runs).items():
        seconds = spread([run["seconds"] for run in same], "{:.1f}")
        lines.append(f"{learner}, {setting}: {same[0]['steps']:,} steps in {seconds} s")
        goals = SETTINGS[learner][setting].goals
        lines += [f"    {level:4.0%}  {to_level(same, level, goals.get(level))}" for level in LEVELS]
        for part in ("validation", "test"):
            lines.append(f"    {part} alphabets at the end: {spread([100 * run[part] for run in same], '{:.1f}')} %")
    return "\n".join(lines)


def by_setting(runs: list[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Return the runs of each learner and setting."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in runs:
        found.setdefault((run["learner"], run["setting"]), []).append(run)
    return found


def to_level(same: list[dict[str, Any]], level: float, goal: float | None) -> str:
    """Return in words after how many seconds runs of one setting reach a level, and whether that meets a goal."""
    times = [reached(run["curve"], level) for run in same]
    there = [t for t in times if t is not None]
    words = spread(there, "{:.1f}") if there else ""
    if len(there) < len(times):
        words += f"{', ' * bool(there)}not reached in {len(times) - len(there)} of {len(times)}"
    if goal is not None:  # a training that never got there is taken as one that gets there last
        median = statistics.median(math.inf if t is None else t for t in times)
        words += f"; goal {goal:g}: {'reached' if median <= goal else 'missed'}"
    return words


def spread(values: list[float], form: str) -> str:
    """Return the median and the range in words: `12.3 (11.9 … 13.0)`."""
    low, middle, high = (form.format(v) for v in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({low} … {high})" if len(values) > 1 else middle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m benchmarks speedrun`."""
    parser.add_argument("--learner", nargs="+", choices=list(SETTINGS), default=list(SETTINGS), help="default: all")
    parser.add_argument("--setting", choices=("lessons", "best"), help="only the lessons' settings, or the best ones")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each setting (default 5)")
    parser.add_argument("--first-seed", type=int, default=0, metavar="SEED", help="the first one's seed (default 0)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, help="processor cores to use (default: all)")
    parser.add_argument("--quick", action="store_true", help="a few steps and tasks: tries the command out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measurements there, after each training")


def run(options: argparse.Namespace) -> int:
    """Train seed by seed, the settings in turn, so that a disturbance of the machine affects all of them alike.

    Raises:
        ValueError: there is no GPU here, or there are fewer than 1 seeds or threads.
        OSError: the file cannot be written.
    """
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"--device {options.device}: PyTorch finds no such GPU here; leave it out to train on the CPU")
    if options.seeds < 1:
        raise ValueError(f"--seeds {options.seeds} must be at least 1")
    if options.threads is not None:
        if options.threads < 1:
            raise ValueError(f"--threads {options.threads} must be at least 1")
        torch.set_num_threads(options.threads)
    if options.json:
        check_replaceable(options.json)
    data = Data.of(*omniglot.load(), device)
    found: dict[str, Any] = {"machine": machine.about(device), "quick": options.quick, "runs": []}
    found["validation alphabets"] = data.validation.names
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for learner in options.learner:
            for name, setting in SETTINGS[learner].items():
                if options.setting and not name.startswith(options.setting):
                    continue
                steps, sizes = setting.steps, {}
                if options.quick:
                    steps, sizes = QUICK_STEPS, {"tests": 2, "episodes": 4}
                result = train(replace(setting, steps=steps), data, seed, **sizes)
                found["runs"].append({"learner": learner, "setting": name, "seed": seed, "steps": steps, **result})
                print(
                    f"{learner:12} {name:12} seed {seed}: {result['seconds']:6.1f} s, "
                    f"validation {result['validation']:.1%}, test {result['test']:.1%}",
                    flush=True,
                )
                if options.json:
                    replace_file(options.json, f"{json.dumps(found, indent=1)}\n".encode())
    print(table(found["runs"]))
    return 0
