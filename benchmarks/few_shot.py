"""Lesson 2's comparisons over training seeds: which learner wins, what batch norm tells, and what MAML's settings buy.

python -m benchmarks few-shot --json metalab/lessons/omniglot_few_shot/measured.json

The lesson trains each network once, which cannot tell a better method from a luckier training. This command trains
each of them with several seeds, with the lesson's settings for a CPU, and keeps the accuracies on the validation
alphabets. The test alphabets are left to the lesson. With the same file it goes on where it stopped.
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
import torch.nn.functional as F
from torch import Tensor

from metalab.evaluate import evaluate
from metalab.experiments import machine
from metalab.files import check_replaceable, replace_file
from metalab.learners import MAML, FineTuning, PrototypicalNet
from metalab.nets import Conv4, Params, for_tasks
from metalab.tasks import Episode, omniglot

from .speedrun import MAML_TEST_STEPS, WIDE, Data, Setting, cosine, tasks

EMBEDDING = Conv4(channels=WIDE)
PICTURES = 120  # of a step: 60 ways with one support and one query drawing each
HEAD_LR, HEAD_STEPS = 0.5, 20  # of fine-tuning the last layer alone
WHOLE = {"inner_lr": 0.1, "inner_steps": 10}  # of fine-tuning all layers
EPISODES = 600
QUICK = {"steps": 4, "episodes": 4}
SECOND_ORDER = MAML(Conv4(5, channels=WIDE), inner_lr=2.0)
OF_ONE_ALPHABET, OF_ANY = (tasks(8, 5, 3, within=within) for within in (True, False))


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
    }


def scores(setting: Setting, params: Params, data: Data, episodes: int) -> dict[str, float]:
    """Return a trained network's accuracies on 5-way 1-shot validation tasks, always the same, by how it is tested."""

    def score(predict: Callable[[Episode], Tensor], queries: int = 5) -> float:
        def sample(count: int, generator: torch.Generator) -> Episode:
            return data.validation.sample(count, 5, 1, queries, generator)

        return evaluate(predict, sample, episodes=episodes, seed=1, device=data.pictures.device).mean

    learner: Any = setting.learner
    if isinstance(learner, MAML):
        tested = replace(learner, inner_steps=MAML_TEST_STEPS)
        transductive, inductive = (
            partial(replace(tested, transductive=flag).predict, params) for flag in (True, False)
        )
        return {"transductive, 1 query a class": score(transductive, 1), "inductive": score(inductive)}
    body = {name: p for name, p in params.items() if name not in ("head", "bias")}
    stats = EMBEDDING.statistics(body, data.pictures)
    mean = PrototypicalNet(EMBEDDING, stats=stats)
    found = {"nearest mean": score(partial(mean.predict, body))}
    if isinstance(learner, FineTuning):
        found["last layer fine-tuned"] = score(partial(last_layer, body, stats))
        tuned = replace(learner, **WHOLE, stats=stats)
        found["all layers fine-tuned"] = score(partial(tuned.predict, params))
    return found


def last_layer(body: Params, stats: Params, episode: Episode) -> Tensor:
    """Fine-tune a fresh last layer on embeddings that are computed once: the logits [T, Q, N] of `FineTuning`.

    `FineTuning(body=False)` gives the same, but computes the embeddings anew in each step.
    """
    images = torch.cat([episode.support_x, episode.query_x], 1)
    z = EMBEDDING(for_tasks(body, 1), images.flatten(0, 1)[None], stats=stats)[0].view(*images.shape[:2], -1)
    z = torch.cat([z, torch.ones_like(z[..., :1])], 2)  # the last number belongs to the bias
    support, query = z.detach().split([episode.support_x.shape[1], episode.query_x.shape[1]], 1)
    target = F.one_hot(episode.support_y, episode.ways).to(z.dtype)
    weight = z.new_zeros(episode.tasks, z.shape[2], episode.ways)
    for _ in range(HEAD_STEPS):
        error = ((support @ weight).softmax(2) - target) / support.shape[1]
        weight = weight - HEAD_LR * support.mT @ error
    return query @ weight


def measure(name: str, setting: Setting, data: Data, seed: int, episodes: int) -> dict[str, Any]:
    """Train once, and return the seconds of the training and the accuracies."""
    start = time.perf_counter()
    trainer = setting.trainer(data.train, seed, data.pictures.device)
    trainer.step(setting.steps)
    found: dict[str, Any] = {"training": name, "seed": seed, "steps": setting.steps}
    found["seconds"] = time.perf_counter() - start
    found["validation"] = scores(setting, trainer.params, data, episodes)
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m benchmarks few-shot`."""
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each kind (default 3)")
    parser.add_argument("--first-seed", type=int, default=100, metavar="SEED", help="the first seed (default 100)")
    parser.add_argument("--training", nargs="+", choices=list(settings(1)), help="only these kinds (default: all)")
    parser.add_argument("--threads", type=int, default=1, help="processor cores to use (default 1)")
    parser.add_argument("--quick", action="store_true", help="a few steps and tasks: tries the command out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measurements there, after each training")
    parser.add_argument("--speedrun", type=Path, metavar="FILE", help="copy MAML's seeds from what `speedrun` wrote")


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
    episodes = QUICK["episodes"] if options.quick else EPISODES
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
    if options.speedrun:
        found["speedrun"] = before_and_after(json.loads(options.speedrun.read_text()))
    done = {(run["training"], run["seed"]) for run in found["runs"]}
    kinds = settings(len(data.train))
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for name in options.training or kinds:
            if (name, seed) in done:
                continue
            setting = replace(kinds[name], steps=QUICK["steps"]) if options.quick else kinds[name]
            found["runs"].append(measure(name, setting, data, seed, episodes))
            print(describe(found["runs"][-1]), flush=True)
            if options.json:
                replace_file(options.json, f"{json.dumps(found, indent=1, ensure_ascii=False)}\n".encode())
    return 0


def before_and_after(speedrun: dict[str, Any]) -> dict[str, list[float]]:
    """Return MAML's validation accuracies by seed, from `python -m benchmarks speedrun`, which tests as this does.

    "lessons" is how the lessons trained MAML before the search for better settings, and "best" is how they do since.
    """
    runs = sorted((run for run in speedrun["runs"] if run["learner"] == "maml"), key=lambda run: run["seed"])
    return {name: [run["validation"] for run in runs if run["setting"] == name] for name in ("lessons", "best")}


def describe(run: dict[str, Any]) -> str:
    """Return one training in a line."""
    accuracies = ", ".join(f"{how} {accuracy:.1%}" for how, accuracy in run["validation"].items())
    return f"{run['training']}, seed {run['seed']}: {run['seconds']:.0f} s; validation: {accuracies}"
