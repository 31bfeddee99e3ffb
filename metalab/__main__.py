"""The commands behind the lessons' longer results.

python -m metalab train sine --shots 5              # MAML at the paper's protocol
python -m metalab train sine --algorithm joint      # the baseline: one network for all tasks
python -m metalab train omniglot --algorithm protonet
python -m metalab evaluate FILE                     # mean ± 95 % CI, and the protocol
python -m metalab data                              # fetch Omniglot, say where it was found
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from . import checkpoint
from .evaluate import Score, evaluate
from .learners.maml import MAML
from .learners.prototypes import PrototypicalNet
from .losses import cross_entropy, mse
from .nets import MLP, Conv4, Params
from .tasks import Characters, omniglot, sine
from .tasks.omniglot import OmniglotNotFound
from .train import Diverged, Learner, Trainer


@dataclass(frozen=True)
class Defaults:
    """What the papers use where the command line says nothing."""

    inner_lr: float
    inner_steps: int
    meta_batch: int
    steps: int
    queries: int | None  # None: as many as shots
    ways: int = 5


DEFAULTS = {
    ("sine", "maml"): Defaults(0.01, 1, 25, 70_000, None),
    ("omniglot", "maml"): Defaults(0.4, 1, 32, 60_000, None),
    ("omniglot", "protonet"): Defaults(0.0, 0, 1, 20_000, 5, ways=60),
}
DEFAULTS["sine", "fomaml"] = DEFAULTS["sine", "joint"] = DEFAULTS["sine", "maml"]
DEFAULTS["omniglot", "fomaml"] = DEFAULTS["omniglot", "maml"]


def build(settings: dict[str, Any]) -> Learner:
    """The learner that a checkpoint's settings describe."""
    algorithm = settings["algorithm"]
    if algorithm == "protonet":
        return PrototypicalNet(Conv4(pool=settings["pool"]))
    net, loss = (MLP(), mse) if settings["tasks"] == "sine" else (Conv4(settings["ways"]), cross_entropy)
    steps = 0 if algorithm == "joint" else settings["inner_steps"]
    return MAML(net, loss, settings["inner_lr"], steps, order=1 if algorithm == "fomaml" else 2)


def chosen(option: int | None, default: int) -> int:
    return default if option is None else option


def train(options: argparse.Namespace) -> None:
    key = (options.tasks, options.algorithm or "maml")
    if key not in DEFAULTS:
        known = ", ".join(a for t, a in DEFAULTS if t == options.tasks)
        raise ValueError(f"--algorithm {options.algorithm} is not known for {options.tasks}: choose one of {known}")
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"--device {options.device}: PyTorch finds no such GPU here; leave it out to train on the CPU")
    d = DEFAULTS[key]
    settings: dict[str, Any] = {
        "tasks": options.tasks,
        "algorithm": key[1],
        "shots": options.shots,
        "ways": chosen(options.ways, d.ways),
        "queries": chosen(options.queries, d.queries or options.shots),
        "inner_lr": d.inner_lr if options.inner_lr is None else options.inner_lr,
        "inner_steps": d.inner_steps if options.inner_steps is None else options.inner_steps,
        "outer_lr": options.outer_lr,
        "halve_every": options.halve_every,
        "meta_batch": chosen(options.meta_batch, d.meta_batch),
        "steps": chosen(options.steps, d.steps),
        "seed": options.seed,
        "pool": options.pool,
    }
    if options.tasks == "sine":
        torch.set_num_threads(1)  # these networks are too small to be shared among cores
        characters = None

        def sample(generator: torch.Generator) -> Any:
            return sine.sample(settings["meta_batch"], settings["shots"], settings["queries"], generator)
    else:
        characters = omniglot.load()[0].with_rotations().to(options.device)

        def sample(generator: torch.Generator) -> Any:
            return characters.sample(
                settings["meta_batch"], settings["ways"], settings["shots"], settings["queries"], generator
            )

    for name in ("steps", "halve_every"):
        if settings[name] is not None and settings[name] < 1:
            raise ValueError(f"--{name.replace('_', '-')} {settings[name]} must be at least 1")
    learner = build(settings)
    halve = settings["halve_every"]
    trainer = Trainer(
        learner,
        sample,
        outer_lr=(lambda n: options.outer_lr * 0.5 ** (n // halve)) if halve else options.outer_lr,
        seed=options.seed,
        device=options.device,
    )
    out = options.out or Path("build") / f"{options.tasks}_{key[1]}_{options.shots}shot.safetensors"
    start = time.monotonic()
    every = max(1, settings["steps"] // 20)
    try:
        for step in trainer.run(settings["steps"]):
            if step.number % every == 0:
                seconds = time.monotonic() - start
                metrics = "  ".join(f"{name} {value:.3f}" for name, value in step.metrics.items())
                print(f"step {step.number}  {metrics}  {step.number / seconds:.0f} steps/s", flush=True)
    except (Diverged, KeyboardInterrupt) as reason:
        print(f"Stopped at step {trainer.steps}: {str(reason) or 'interrupted'}", file=sys.stderr)
    params = dict(trainer.params)
    if isinstance(learner, PrototypicalNet):
        images, _labels = characters.batch(1000, torch.Generator(options.device).manual_seed(options.seed))
        params |= {f"stats.{name}": s for name, s in learner.net.statistics(params, images).items()}
    seconds = round(time.monotonic() - start)
    checkpoint.save(out, params, {**settings, "steps": trainer.steps, "seconds": seconds})
    print(f"{trainer.steps} meta-steps in {seconds} s: {out}")


def scores(params: Params, about: dict[str, Any], *, episodes: int, seed: int) -> dict[str, Score]:
    """Score a checkpoint on test tasks never trained on, by what the test was: `after 1 step`, and the like."""
    learner = build(about)
    if about["tasks"] == "sine":

        def draw(tasks: int, generator: torch.Generator) -> Any:
            return sine.sample(tasks, about["shots"], 100, generator)

        return {
            f"after {steps} step{'s' * (steps != 1)}": evaluate(
                lambda e, steps=steps: learner.predict(params, e, steps=steps),
                draw,
                episodes=episodes,
                batch=episodes,
                seed=seed,
                measure=mse,
            )
            for steps in (0, 1, 5, 10)
        }
    test: Characters = omniglot.load()[1]
    if about["algorithm"] == "protonet":
        stats = {name.removeprefix("stats."): p for name, p in params.items() if name.startswith("stats.")}
        return {
            f"{ways}-way, inductive": evaluate(
                lambda e: learner.predict(params, e, stats=stats),
                lambda n, g, ways=ways: test.sample(n, ways, about["shots"], 5, g),
                episodes=episodes,
                seed=seed,
            )
            for ways in (5, 20)
        }
    return {
        f"{about['ways']}-way, transductive, after {steps} steps": evaluate(
            lambda e, steps=steps: learner.predict(params, e, steps=steps),
            lambda n, g: test.sample(n, about["ways"], about["shots"], about["shots"], g),
            episodes=episodes,
            seed=seed,
        )
        for steps in (1, 3)
    }


def evaluate_command(options: argparse.Namespace) -> None:
    params, about = checkpoint.load(options.file)
    if "tasks" not in about:
        raise ValueError(f"{options.file} does not say what it was trained on: write it by `python -m metalab train`")
    print(", ".join(f"{name}={value}" for name, value in about.items()))
    where = "the family's own" if about["tasks"] == "sine" else "the author's evaluation alphabets, upright"
    print(f"test tasks: {options.episodes}, {where}; seed {options.seed}; mean ± 95 % confidence interval")
    for name, score in scores(params, about, episodes=options.episodes, seed=options.seed).items():
        print(f"{name}: {f'MSE {score}' if about['tasks'] == 'sine' else score.percent()}")


def data_command(_options: argparse.Namespace) -> None:
    train_set, test_set = omniglot.load()
    print(f"Omniglot: {len(train_set)} training and {len(test_set)} test characters, from {omniglot.where()}")


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m metalab", description="Train and evaluate outside the lessons.")
    commands = top.add_subparsers(required=True)
    p = commands.add_parser("train", help="meta-train and save the parameters; defaults are the papers'")
    p.add_argument("tasks", choices=["sine", "omniglot"])
    p.add_argument("--algorithm", help="sine: maml, fomaml, joint; omniglot: maml, fomaml, protonet")
    p.add_argument("--ways", type=int, help="characters per training task")
    p.add_argument("--shots", type=int, default=5)
    p.add_argument("--queries", type=int, help="query examples per class")
    p.add_argument("--inner-lr", type=float)
    p.add_argument("--inner-steps", type=int)
    p.add_argument("--outer-lr", type=float, default=1e-3)
    p.add_argument("--halve-every", type=int, help="halve the outer learning rate every so many steps")
    p.add_argument("--meta-batch", type=int, help="tasks per meta-step")
    p.add_argument("--steps", type=int, help="meta-steps")
    p.add_argument("--pool", choices=["stride", "max"], default="max", help="of protonet's network")
    p.add_argument("--device", default="cpu")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--out", type=Path, help="the file to write")
    p.set_defaults(run=train)
    p = commands.add_parser("evaluate", help="mean ± 95 %% confidence interval of a saved file")
    p.add_argument("file", type=Path)
    p.add_argument("--episodes", type=int, default=600)
    p.add_argument("--seed", type=int, default=1000)
    p.set_defaults(run=evaluate_command)
    p = commands.add_parser("data", help="fetch Omniglot if need be, and say what there is")
    p.set_defaults(run=data_command)
    return top


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, OmniglotNotFound, FileNotFoundError) as error:
        print(f"metalab: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
