"""Does an examination ever call a sound learner ill? All learners of the table of recipes are examined, over seeds.

python -m benchmarks false-alarms --json results/false-alarms.json    # an hour on one core; goes on where it stopped

Each is examined by every examination that it allows (`patient_of`): with even seeds as it is drawn, with odd ones after
a few meta-steps. The networks are small: 4 channels, tasks of three glyphs, or four sines.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch

from metalab.analysis.examinations import Patient, examine
from metalab.analysis.patients import patient_of
from metalab.experiments import machine
from metalab.experiments.recipes import RECIPES
from metalab.experiments.settings import Settings
from metalab.files import check_replaceable, replace_file
from metalab.tasks import Characters, glyphs
from metalab.train import Trainer

STEPS = (0, 20)  # meta-steps before the examination, of even and of odd seeds
SMALL: dict[str, dict[str, Any]] = {
    "sine": {"meta_batch": 4},
    "omniglot": {"meta_batch": 2, "channels": 4, "ways": 3, "shots": 1},
}


@cache
def characters() -> Characters:
    """Return what stands in for Omniglot."""
    return glyphs.draw(alphabets=3, characters=8, drawings=12)


def settings(tasks: str, algorithm: str) -> Settings:
    """Return the paper's settings for a learner, made small."""
    queries = {"queries": 2} if tasks == "omniglot" and RECIPES[algorithm].draws != "minibatches" else {}
    hardest = {"hardest": 2} if algorithm == "contrastive" else {}
    return Settings.of(tasks, algorithm, **SMALL[tasks], **queries, **hardest)


def sound(tasks: str, algorithm: str, seed: int, steps: int) -> Patient:
    """Return a learner of the table as a patient that has been trained for so many meta-steps."""
    of = settings(tasks, algorithm)
    sample = of.sampler(None if tasks == "sine" else characters())
    rates: dict[str, Any] = {"outer_lr": of.outer_lr, "optimizer": of.recipe.optimizer, "seed": seed}
    return patient_of(of.learner(), sample, **rates, params=_trained(tasks, algorithm, seed, steps))


@cache
def _trained(tasks: str, algorithm: str, seed: int, steps: int) -> dict[str, torch.Tensor]:
    of = settings(tasks, algorithm)
    sample = of.sampler(None if tasks == "sine" else characters())
    trainer = Trainer(of.learner(), sample, outer_lr=of.outer_lr, optimizer=of.recipe.optimizer, seed=seed)
    if steps:
        trainer.step(steps)
    return {name: p.clone() for name, p in trainer.params.items()}


def learners() -> Iterator[tuple[str, str]]:
    """Yield the tasks and the name of every learner of the table."""
    for name, recipe in RECIPES.items():
        for tasks in recipe.papers:
            yield tasks, name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m benchmarks false-alarms`."""
    parser.add_argument("--seeds", type=int, default=20, help="seeds of each learner (default 20)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the findings there, after each learner")


def run(options: argparse.Namespace) -> int:
    """Examine seed by seed, the learners in turn, and leave out what the file has already. Print a table.

    Raises:
        ValueError: there are fewer than 1 seeds.
        OSError: the file cannot be written.
    """
    if options.seeds < 1:
        raise ValueError(f"--seeds {options.seeds} must be at least 1")
    torch.set_num_threads(1)
    found: dict[str, Any] = {"machine": machine.about("cpu"), "steps": STEPS, "runs": []}
    if options.json:
        check_replaceable(options.json)
        if options.json.exists():
            found = json.loads(options.json.read_text())
    done = {(run["tasks"], run["learner"], run["seed"], run["steps"]) for run in found["runs"]}
    for seed in range(options.seeds):
        for tasks, name in learners():
            steps = STEPS[seed % 2]
            if (tasks, name, seed, steps) in done:
                continue
            report = examine(lambda of=(tasks, name, seed, steps): sound(*of))
            judged = {finding.examination: finding.state for finding in report}
            alarms = {finding.examination: finding.says for finding in report if finding.state == "ill"}
            found["runs"].append(
                {"tasks": tasks, "learner": name, "seed": seed, "steps": steps, "states": judged, "alarms": alarms}
            )
            for examination, says in alarms.items():
                print(f"{name} on {tasks}, seed {seed}, {steps} steps: {examination}: {says}", flush=True)
            if options.json:
                replace_file(options.json, f"{json.dumps(found, indent=None, ensure_ascii=False)}\n".encode())
    print(table(found["runs"]))
    return 0


def states(runs: list[dict[str, Any]]) -> dict[str, Counter[str]]:
    """Return how often each examination found learners "well", "open" and "ill"."""
    counts: dict[str, Counter[str]] = {}
    for one in runs:
        for examination, state in one["states"].items():
            counts.setdefault(examination, Counter())[state] += 1
    return counts


def table(runs: list[dict[str, Any]]) -> str:
    """Return how often each examination found learners well, could not tell, and raised an alarm, as a table."""
    count = len({(one["tasks"], one["learner"]) for one in runs})
    seeds, alarms = len({one["seed"] for one in runs}), sum(bool(one["alarms"]) for one in runs)
    learner = "learner" if count == 1 else "learners"
    lines = [f"{count} {learner}, seeds of each: {seeds}, patients: {len(runs)}, alarms: {alarms}"]
    lines.append(f"{'':24}  well   open  ill")
    lines += [f"{name:24} {c['well']:5d}  {c['open']:5d} {c['ill']:4d}" for name, c in states(runs).items()]
    return "\n".join(lines)
