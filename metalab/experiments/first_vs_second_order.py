"""Does the second order matter? MAML of both orders is trained alike in several settings, with several seeds.

The trainings are short, so that all of them together take half an hour on one core. They compare the orders with each
other, and their scores cannot be compared with published numbers. Every outer learning rate falls to zero in a straight
line over its training, which makes short trainings comparable. Trainings with the same seed start from the same
parameters and see the same tasks. MAML's variants are compared in `variants`.

"Equal time" is not measured during the trainings, because the clock says little on a busy machine. Instead, steps of
both orders are timed in turn, and the medians of these times say how many first-order steps take as long as the given
number of second-order steps.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from .. import __version__
from ..analysis.paired import Interval, Verdict, compare
from ..arguments import one_of, real, whole
from ..files import check_replaceable, replace_file
from ..tasks import Characters
from ..train import Diverged, Trainer
from . import machine, scoring
from .settings import Settings
from .timing import medians_in_turn

FIRST, SECOND = ALGORITHMS = ("fomaml", "maml")
TIMED = 25  # rounds of timing; either order takes one step in each
MOST_SEEDS = 20


@dataclass(frozen=True)
class Comparison:
    """Both orders on the same tasks, with settings that differ from the paper's.

    Args:
        title: the name of the comparison.
        tasks: "sine" or "omniglot".
        steps: the number of meta-steps of second-order MAML.
        given: the settings of both.
    """

    title: str
    tasks: str
    steps: int
    given: dict[str, Any]

    def settings(self, algorithm: str, steps: int, seed: int) -> Settings:
        """Return the settings of one training."""
        return Settings.of(self.tasks, algorithm, **self.given, steps=steps, seed=seed)


CHARACTERS = {"shots": 1, "channels": 32, "outer_lr": 1e-2, "meta_batch": 8}
COMPARISONS = {
    "sine": Comparison(
        "Sine, 10 shots, 1 inner step of 0.01",
        "sine",
        6000,
        {"shots": 10, "inner_lr": 0.01, "inner_steps": 1, "outer_lr": 3e-3},
    ),
    "sine, small steps": Comparison(
        "Sine, 10 shots, 5 inner steps of 0.001",
        "sine",
        3000,
        {"shots": 10, "inner_lr": 0.001, "inner_steps": 5, "outer_lr": 3e-3},
    ),
    "omniglot": Comparison(
        "Omniglot 5-way 1-shot, 1 inner step of 0.4", "omniglot", 500, CHARACTERS | {"inner_lr": 0.4, "inner_steps": 1}
    ),
    "omniglot, several steps": Comparison(
        "Omniglot 5-way 1-shot, 3 inner steps of 0.1", "omniglot", 500, CHARACTERS | {"inner_lr": 0.1, "inner_steps": 3}
    ),
    "omniglot, large steps": Comparison(
        "Omniglot 5-way 1-shot, 1 inner step of 2", "omniglot", 500, CHARACTERS | {"inner_lr": 2.0, "inner_steps": 1}
    ),
}


# The measurement


@cache
def characters(split: str | None) -> Characters | None:
    """Return the training characters of Omniglot, which are read only once; None for sines, which have no split."""
    return Settings.of("omniglot", split=split).characters()[0] if split else None


def trainer(settings: Settings) -> Trainer:
    """Return a training whose outer learning rate falls to zero in a straight line."""
    return Trainer(
        settings.learner(),
        settings.sampler(characters(settings.split)),
        outer_lr=lambda step: settings.outer_lr * (1 - (step - 1) / settings.steps),
        seed=settings.seed,
    )


def step_times(comparison: Comparison) -> dict[str, float]:
    """Return the median time of a meta-step of either order, sampling included, in milliseconds of one thread."""
    steps = max(comparison.steps, 2 * TIMED)  # a rate that falls to 0 at the end of a training must not end before
    trainers = {name: trainer(comparison.settings(name, steps, 0)) for name in ALGORITHMS}
    return medians_in_turn({name: each.step for name, each in trainers.items()}, rounds=TIMED, clock=time.process_time)


def plan(comparison: Comparison, step_ms: dict[str, float], seeds: range) -> Iterator[dict[str, Any]]:
    """Yield the trainings, seed by seed: both orders for equal steps, and first order also for equal time."""
    longer = round(comparison.steps * step_ms[SECOND] / step_ms[FIRST])
    for seed in seeds:
        for name, equal, steps in (
            (SECOND, "steps", comparison.steps),
            (FIRST, "steps", comparison.steps),
            (FIRST, "time", longer),
        ):
            yield {"algorithm": name, "equal": equal, "steps": steps, "seed": seed}


def measure(comparison: Comparison, planned: dict[str, Any]) -> dict[str, Any]:
    """Train as planned, and test with as many inner steps as in training.

    Returns:
        The plan together with the error of the test (the MSE, or 1 − accuracy) and its protocol, and, if the loss
        ceased to be finite, the last step at which it was known to be finite.
    """
    settings = comparison.settings(planned["algorithm"], planned["steps"], planned["seed"])
    training = trainer(settings)
    found: dict[str, Any] = {}
    start = time.process_time()
    try:
        for _ in training.run(settings.steps, every=1):
            pass
    except Diverged:
        found["diverged_after"] = training.steps  # it is tested with the parameters it had then
    seconds = time.process_time() - start
    tested = scoring.results(settings, training.params)
    result = next(result for result in tested if result.protocol["inner steps"] == settings.inner_steps)
    error = result.score.mean if result.measure == "MSE" else 1 - result.score.mean
    return {
        **planned,
        "error": round(error, 6),
        "ci95": round(result.score.ci95, 6),  # over the test tasks
        "measure": result.measure,
        "protocol": {name: what for name, what in result.protocol.items() if name != "seed"},
        "test_seed": result.protocol["seed"],
        "seconds": round(seconds, 1),
        **found,
    }


# The findings


def errors(measured: dict[str, Any], algorithm: str, equal: str) -> dict[int, float]:
    """Return the test errors of an algorithm in one of the file's comparisons, by seed."""
    return {r["seed"]: r["error"] for r in measured["runs"] if (r["algorithm"], r["equal"]) == (algorithm, equal)}


def verdict(measured: dict[str, Any], equal: str) -> Verdict:
    """Compare first order's error with second order's, over pairs of the same seed."""
    return compare(errors(measured, FIRST, equal), errors(measured, SECOND, "steps"))


def table(measured: dict[str, Any]) -> str:
    """Return one comparison as lines of text."""
    measure = measured["runs"][0]["measure"]
    unit, scale = ("MSE", 1) if measure == "MSE" else ("error %", 100)
    lines = [f"{measured['title']}: {unit}, mean and 95 % interval over seeds"]
    for name, ms in measured["step_ms"].items():
        for equal in ("steps", "time"):
            if len(values := list(errors(measured, name, equal).values())) > 1:
                found = Interval.of(values)
                interval = f"{scale * found.mean:7.3g}  ({scale * found.low:.3g} … {scale * found.high:.3g})"
                lines.append(f"  {name:11} equal {equal:5}  {interval:28} {ms:7.2f} ms a step, {len(values)} seeds")
    for equal in ("steps", "time"):
        if len(errors(measured, FIRST, equal)) > 1:
            found = verdict(measured, equal)
            lines.append(f"  at equal {equal}, first order's error is {found.ratio} times second order's: {found}")
    return "\n".join(lines)


# The command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m metalab orders`."""
    names = ", ".join(f'"{name}"' for name in COMPARISONS)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=list(COMPARISONS),
        default=list(COMPARISONS),
        metavar="NAME",
        help=f"the comparisons to measure, of {names} (default: all)",
    )
    most = MOST_SEEDS
    parser.add_argument(
        "--seeds",
        type=int,
        default=5,
        metavar="N",
        help=f"how many trainings of each kind; a whole number from 2 to {most} (default: %(default)s)",
    )
    parser.add_argument(
        "--first-seed",
        type=int,
        default=0,
        metavar="N",
        help="the first of the seeds; a whole number of at least 0 (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("build/orders.json"),
        metavar="FILE",
        help="the file to write; one that was begun before is continued (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Measure what the file does not contain yet, and write the file after every training.

    Raises:
        ValueError: the number of seeds or the first seed is out of range, the file is damaged or of other settings, or
            another process is writing it.
        OSError: the file cannot be written.
    """
    if not 2 <= options.seeds <= MOST_SEEDS:
        raise ValueError(f"--seeds {options.seeds} must be 2 … {MOST_SEEDS}: one seed gives no interval")
    if not 0 <= options.first_seed < 2**62:
        raise ValueError(f"--first-seed {options.first_seed} must be at least 0, and below 2^62")
    check_replaceable(options.out)
    if options.out.exists() and not options.out.is_file():
        raise ValueError(f"--out {options.out} is no regular file, which could be read and continued: name a file")
    out = Path(os.path.realpath(options.out))  # a link's file has one lock, whatever it is called
    try:
        lock = FileLock(out.with_name(f".{out.name}.lock")).acquire(timeout=0)
    except Timeout:
        text = "wait for it, or name another file"
        raise ValueError(f"another process is writing --out {options.out}: {text}") from None
    with lock:
        _measure(options)
    return 0


def _measure(options: argparse.Namespace) -> None:
    """Measure what the file does not contain yet."""
    torch.set_num_threads(1)
    data = start(options.out)
    for name in options.only:
        comparison, measured = COMPARISONS[name], data["comparisons"].get(name)
        if measured is None:
            measured = data["comparisons"][name] = about(comparison) | {"step_ms": step_times(comparison), "runs": []}
        kept = ("algorithm", "equal", "seed")
        done = {tuple(r[key] for key in kept) for r in measured["runs"]}
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        if (count := len({r["seed"] for r in measured["runs"]} | set(seeds))) > MOST_SEEDS:
            most = f"{MOST_SEEDS} are the most"
            raise ValueError(f"{options.out} would have {count} seeds: {most}; name another --out file")
        for planned in plan(comparison, measured["step_ms"], seeds):
            if tuple(planned[key] for key in kept) in done:
                continue
            measured["runs"].append(found := measure(comparison, planned))
            data["comparisons"] = {key: data["comparisons"][key] for key in COMPARISONS if key in data["comparisons"]}
            text = json.dumps(data, indent=1, ensure_ascii=False)
            replace_file(options.out, f"{text}\n".encode())
            what = "{algorithm}, equal {equal}, {steps} steps, seed {seed}".format(**found)
            print(f"{name}: {what}: error {found['error']:.4g} in {found['seconds']:.0f} s", flush=True)
        print(table(measured), flush=True)
    print(f"written to {options.out}")


def about(comparison: Comparison) -> dict[str, Any]:
    """Return the settings of a comparison, as the file contains them."""
    return {
        "title": comparison.title,
        "tasks": comparison.tasks,
        "steps": comparison.steps,
        "given": comparison.given,
    }


def start(path: Path) -> dict[str, Any]:
    """Return the content of the file so far, or an empty content for this machine if there is no file.

    Raises:
        ValueError: the file is damaged, or of other settings.
    """
    if not path.exists():
        return {
            "command": "python -m metalab orders",
            "machine": machine.name("cpu"),
            "threads": 1,
            "metalab": __version__,
            "torch": torch.__version__,
            "comparisons": {},
        }
    try:
        data = json.loads(path.read_bytes())
        found = {
            name: {key: measured[key] for key in about(COMPARISONS[name])}
            for name, measured in data["comparisons"].items()
        }
        for name, measured in data["comparisons"].items():
            real(above=0, **{f"step_ms of {name}": ms for ms in measured["step_ms"].values()})
            for row in measured["runs"]:
                whole(least=0, seed=row["seed"])
                real(error=row["error"])
                one_of([*measured["step_ms"]], algorithm=row["algorithm"])
                one_of(("steps", "time"), equal=row["equal"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged, or not of this command: name another --out file") from error
    for name, measured in found.items():
        if measured != about(COMPARISONS[name]):
            raise ValueError(f"{path} holds {name!r} with other settings: name another --out file")
    return data
