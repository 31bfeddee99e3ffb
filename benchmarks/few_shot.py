"""Lesson 2's comparisons over training seeds: which learner wins, what batch norm tells, and what MAML's settings buy.

python -m benchmarks few-shot --json metalab/lessons/omniglot_few_shot/measured.json

The lesson trains each network once, which cannot tell a better method from a luckier training. This command trains
each of them with several seeds, with the lesson's settings for a CPU, and keeps the accuracies on the validation and on
the test alphabets. Everything was chosen by the validation alphabets. With the same file it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from metalab.evaluate import evaluate
from metalab.experiments import machine
from metalab.files import check_replaceable, replace_file
from metalab.learners import MAML, FineTuning, PrototypicalNet
from metalab.nets import Conv4, Params
from metalab.tasks import Characters, omniglot

from .speedrun import MAML_TEST_STEPS, WIDE, Data, Setting, cosine, tasks

EMBEDDING = Conv4(channels=WIDE)
PICTURES = 120  # of a step: 60 ways with one support and one query drawing each
HEAD, WHOLE = {"inner_lr": 2.0, "inner_steps": 20, "body": False}, {"inner_lr": 0.1, "inner_steps": 10}
QUICK = {"steps": 4, "episodes": 4}
SECOND_ORDER = MAML(Conv4(5, channels=WIDE), inner_lr=2.0)
OF_ONE_ALPHABET, OF_ANY = (tasks(8, 5, 3, within=within) for within in (True, False))
FEW = 3  # seeds for what MAML's settings buy; everything else has all of them


def settings(characters: int) -> dict[str, Setting]:
    """Return the trainings by name, given the number of training characters, each of whose turns counts."""

    def maml(learner: MAML = SECOND_ORDER, draw: Any = OF_ONE_ALPHABET) -> Setting:
        return Setting(learner, draw, cosine(1e-2), 1500)

    return {
        "classifier": Setting(
            FineTuning(Conv4(characters, channels=WIDE)),
            lambda source: lambda generator: source.batch(PICTURES, generator),
            cosine(1e-2),
            1200,
        ),
        "prototypical": Setting(PrototypicalNet(EMBEDDING), tasks(1, 60, 1), cosine(1e-2), 1200),
        "MAML": maml(),
        "MAML, inductive": maml(replace(SECOND_ORDER, transductive=False)),
        "MAML, α = 0.4": maml(replace(SECOND_ORDER, inner_lr=0.4)),
        "MAML, characters of any alphabets": maml(draw=OF_ANY),
        "MAML, 32 filters in each convolution": maml(replace(SECOND_ORDER, net=Conv4(5, channels=32))),
    }


def scores(
    name: str, setting: Setting, params: Params, data: Data, characters: Characters, episodes: int
) -> dict[str, float]:
    """Return the accuracies of a trained network on 5-way 1-shot tasks, always the same ones, by how it is tested."""

    def score(predict: Callable, queries: int = 5) -> float:
        def sample(count: int, generator: torch.Generator) -> Any:
            return characters.sample(count, 5, 1, queries, generator)

        device = data.pictures.device
        return evaluate(partial(predict, params), sample, episodes=episodes, seed=1, device=device).mean

    learner: Any = setting.learner
    if isinstance(learner, MAML):
        tested = replace(learner, inner_steps=MAML_TEST_STEPS)
        transductive, inductive = (replace(tested, transductive=flag) for flag in (True, False))
        return {
            "transductive, 1 query a class": score(transductive.predict, 1),
            "transductive, 5 queries a class": score(transductive.predict),
            "inductive": score(inductive.predict),
        }
    body = {name: p for name, p in params.items() if name not in ("head", "bias")}
    mean = PrototypicalNet(EMBEDDING).with_statistics(body, data.pictures)
    found = {"nearest mean": score(lambda _params, episode: mean.predict(body, episode))}
    if isinstance(learner, FineTuning):
        for how, options in {"last layer fine-tuned": HEAD, "all layers fine-tuned": WHOLE}.items():
            tuned = replace(learner, **options).with_statistics(params, data.pictures)
            found[how] = score(tuned.predict)
    return found


def measure(name: str, setting: Setting, data: Data, seed: int, episodes: int) -> dict[str, Any]:
    """Train once, and return the seconds of the training and the accuracies."""
    start = time.perf_counter()
    trainer = setting.trainer(data.train, seed, data.pictures.device)
    trainer.step(setting.steps)
    found: dict[str, Any] = {"training": name, "seed": seed, "steps": setting.steps}
    found["seconds"] = time.perf_counter() - start
    for part, characters in {"validation": data.validation, "test": data.test}.items():
        found[part] = scores(name, setting, trainer.params, data, characters, episodes)
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m benchmarks few-shot`."""
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each kind (default 5)")
    parser.add_argument("--first-seed", type=int, default=100, metavar="SEED", help="the first seed (default 100)")
    parser.add_argument("--threads", type=int, default=1, help="processor cores to use (default 1)")
    parser.add_argument("--quick", action="store_true", help="a few steps and tasks: tries the command out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measurements there, after each training")


def run(options: argparse.Namespace) -> int:
    """Train seed by seed, the kinds in turn, and leave out what the file has already.

    Raises:
        ValueError: there are fewer than 1 seeds or threads, or the file holds something else.
        OSError: the file cannot be written.
    """
    for name in ("seeds", "threads"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name} {getattr(options, name)} must be at least 1")
    torch.set_num_threads(options.threads)
    episodes = QUICK["episodes"] if options.quick else 1000
    found: dict[str, Any] = {"machine": machine.about("cpu"), "quick": options.quick, "episodes": episodes, "runs": []}
    if options.json:
        check_replaceable(options.json)
        if options.json.exists():
            before = json.loads(options.json.read_text())
            if (before.get("quick"), before.get("episodes")) != (options.quick, episodes):
                raise ValueError(f"--json {options.json} was measured in another way: name another file")
            found = before
    data = Data.of(*omniglot.load(), torch.device("cpu"))
    found["validation alphabets"] = data.validation.names
    done = {(run["training"], run["seed"]) for run in found["runs"]}
    for number in range(options.seeds):
        seed = options.first_seed + number
        for name, setting in settings(len(data.train)).items():
            if (name, seed) in done or ("," in name and name != "MAML, inductive" and number >= FEW):
                continue
            if options.quick:
                setting = replace(setting, steps=QUICK["steps"])
            found["runs"].append(measure(name, setting, data, seed, episodes))
            print(describe(found["runs"][-1]), flush=True)
            if options.json:
                replace_file(options.json, f"{json.dumps(found, indent=1, ensure_ascii=False)}\n".encode())
    return 0


def describe(run: dict[str, Any]) -> str:
    """Return one training in a line."""
    accuracies = ", ".join(f"{how} {accuracy:.1%}" for how, accuracy in run["validation"].items())
    return f"{run['training']}, seed {run['seed']}: {run['seconds']:.0f} s; validation: {accuracies}"
