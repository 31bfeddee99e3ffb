"""Does the second order matter? MAML of both orders, and what came after it, trained side by side with several seeds.

python -m metalab orders                                      # writes build/orders.json; goes on where it was stopped
python -m metalab orders --first-seed 100 --out FILE.json     # the same, measured anew with other seeds

Trainings are short, so that all of them take half an hour on one core: they compare algorithms, and are no match for
published numbers. Every outer learning rate falls to zero in a straight line over its training, which makes short
trainings comparable. What is the same for a seed: the first parameters and, between both orders, every task.

"Equal time" is not taken from a clock, which on a busy machine says little: steps of all algorithms are timed in turn,
and their medians say how many steps take as long as the given number of second-order ones.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..checkpoint import replace_file
from ..learners.maml import GATE, RATE
from ..nets import Params
from ..tasks import Characters
from ..train import Diverged, Trainer
from . import machine, scoring
from .settings import Settings
from .timing import medians_in_turn

ORDERS = {1: "fomaml", 2: "maml"}
EVERYONE = ("maml", "fomaml", "anil", "metasgd", "sparse", "reptile")
TIMED = 25  # rounds in which every algorithm takes its turn
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MARGIN = 1.2  # two errors within this factor of each other count as equal
STUDENT = (  # the 97.5 % quantile of Student's t with 1, 2, … degrees of freedom
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093),
)


@dataclass(frozen=True)
class Comparison:
    """Algorithms on the same tasks. `given` is what differs from the papers' settings; Reptile keeps its own inner
    and outer loop, but for what `everybody` is given."""

    title: str
    tasks: str
    algorithms: tuple[str, ...]
    steps: int  # of second-order MAML
    everybody: dict[str, Any]
    given: dict[str, Any] = field(default_factory=dict)

    def settings(self, algorithm: str, steps: int, seed: int) -> Settings:
        given = self.everybody | ({} if algorithm == "reptile" else self.given)
        return Settings.of(self.tasks, algorithm, **given, steps=steps, seed=seed)


LITTLE = {"shots": 1, "channels": 32}
COMPARISONS = {
    "sine": Comparison(
        "Sine, 10 shots, 1 inner step of 0.01",
        "sine",
        EVERYONE,
        6000,
        {"shots": 10},
        {"inner_lr": 0.01, "inner_steps": 1, "outer_lr": 3e-3},
    ),
    "sine, small steps": Comparison(
        "Sine, 10 shots, 5 inner steps of 0.001",
        "sine",
        ("maml", "fomaml"),
        3000,
        {"shots": 10},
        {"inner_lr": 0.001, "inner_steps": 5, "outer_lr": 3e-3},
    ),
    "omniglot": Comparison(
        "Omniglot 5-way 1-shot, 1 inner step of 0.4",
        "omniglot",
        EVERYONE,
        500,
        LITTLE,
        {"inner_lr": 0.4, "inner_steps": 1, "outer_lr": 1e-2, "meta_batch": 8},
    ),
    "omniglot, several steps": Comparison(
        "Omniglot 5-way 1-shot, 3 inner steps of 0.1",
        "omniglot",
        ("maml", "fomaml"),
        500,
        LITTLE,
        {"inner_lr": 0.1, "inner_steps": 3, "outer_lr": 1e-2, "meta_batch": 8},
    ),
    "omniglot, large steps": Comparison(
        "Omniglot 5-way 1-shot, 1 inner step of 2",
        "omniglot",
        ("maml", "fomaml"),
        500,
        LITTLE,
        {"inner_lr": 2.0, "inner_steps": 1, "outer_lr": 1e-2, "meta_batch": 8},
    ),
}


# Measuring


@cache
def characters(split: str | None) -> Characters | None:
    """What is trained on, read once; None for sines."""
    return Settings.of("omniglot", split=split).characters()[0] if split else None


def trainer(settings: Settings) -> Trainer:
    """A training whose outer learning rate falls to zero."""
    return Trainer(
        settings.learner(),
        settings.sampler(characters(settings.split)),
        outer_lr=lambda step: settings.outer_lr * (1 - (step - 1) / settings.steps),
        optimizer=settings.optimizer(),
        seed=settings.seed,
    )


def step_times(comparison: Comparison) -> dict[str, float]:
    """By algorithm: the median time of a meta-step, sampling and all, on one thread, in milliseconds."""
    trainers = {name: trainer(comparison.settings(name, comparison.steps, 0)) for name in comparison.algorithms}
    steps = {name: each.step for name, each in trainers.items()}
    return medians_in_turn(steps, rounds=TIMED, clock=time.process_time)


def plan(comparison: Comparison, step_ms: dict[str, float], seeds: range) -> Iterator[dict[str, Any]]:
    """The trainings, seed by seed: each algorithm for equal steps, and first order for equal time too."""
    for seed in seeds:
        for name in comparison.algorithms:
            yield {"algorithm": name, "equal": "steps", "steps": comparison.steps, "seed": seed}
            if name == ORDERS[1]:
                steps = round(comparison.steps * step_ms["maml"] / step_ms[name])
                yield {"algorithm": name, "equal": "time", "steps": steps, "seed": seed}


def measure(comparison: Comparison, planned: dict[str, Any]) -> dict[str, Any]:
    """Train as planned, and test after as many inner steps as were trained (Reptile: after its paper's).

    Returns:
        The plan with the test's error (MSE, or 1 − accuracy), the test's protocol, what was learned of the inner step,
        and the step at which the loss was not finite any more, if it came to that.
    """
    settings = comparison.settings(planned["algorithm"], planned["steps"], planned["seed"])
    training = trainer(settings)
    found: dict[str, Any] = {}
    start = time.process_time()
    try:
        training.step(settings.steps)
    except Diverged:
        found["diverged_after"] = training.steps  # and is tested with the parameters it had then
    seconds = time.process_time() - start
    results = list(scoring.results(settings, training.params))
    as_trained = [result for result in results if result.protocol["inner steps"] == settings.inner_steps]
    result = results[-1] if settings.algorithm == "reptile" else as_trained[0]
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
        **learned(training.params),
    }


def learned(params: Params) -> dict[str, Any]:
    """Meta-SGD's rates by parameter, as QUANTILES; sparse-MAML's by the share of gates that are open."""
    levels = torch.tensor(QUANTILES)
    rates = {
        name.removeprefix(RATE): [float(f"{q:.4g}") for q in p.flatten().quantile(levels).tolist()]
        for name, p in params.items()
        if name.startswith(RATE)
    }
    gates = {
        name.removeprefix(GATE): round((p >= 0).float().mean().item(), 4)
        for name, p in params.items()
        if name.startswith(GATE)
    }
    return ({"rates": rates} if rates else {}) | ({"open": gates} if gates else {})


# What it says


@dataclass(frozen=True)
class Interval:
    """A mean over seeds, and the 95 % interval by Student's t."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Interval:
        half = STUDENT[len(values) - 2] * statistics.stdev(values) / len(values) ** 0.5
        return cls(statistics.mean(values), statistics.mean(values) - half, statistics.mean(values) + half)


def errors(measured: dict[str, Any], algorithm: str, equal: str) -> dict[int, float]:
    """The test errors of an algorithm in one of the file's comparisons, by seed."""
    return {r["seed"]: r["error"] for r in measured["runs"] if (r["algorithm"], r["equal"]) == (algorithm, equal)}


def ratio(measured: dict[str, Any], equal: str) -> Interval:
    """First order's error as a multiple of second order's: the geometric mean over pairs of the same seed."""
    first, second = errors(measured, ORDERS[1], equal), errors(measured, ORDERS[2], "steps")
    logs = Interval.of([math.log(first[seed] / second[seed]) for seed in sorted(first.keys() & second.keys())])
    return Interval(*(math.exp(value) for value in (logs.mean, logs.low, logs.high)))


def verdict(found: Interval) -> str:
    """What an interval of the ratio says: a tie is an interval within MARGIN both ways, not merely one around 1."""
    if found.low > MARGIN:
        return "first order clearly loses"
    if found.high < 1 / MARGIN:
        return "first order clearly wins"
    if found.low > 1 / MARGIN and found.high < MARGIN:
        return "a tie"
    return "undecided"


def table(measured: dict[str, Any]) -> str:
    """One comparison in lines of text."""
    measure = measured["runs"][0]["measure"]
    unit, scale = ("MSE", 1) if measure == "MSE" else ("error %", 100)
    lines = [f"{measured['title']}: {unit}, mean and 95 % interval over seeds"]
    for name, ms in measured["step_ms"].items():
        for equal in ("steps", "time"):
            if len(values := list(errors(measured, name, equal).values())) > 1:
                found = Interval.of(values)
                interval = f"{scale * found.mean:7.3g}  ({scale * found.low:.3g} … {scale * found.high:.3g})"
                lines.append(f"  {name:8} equal {equal:5}  {interval:28} {ms:7.2f} ms a step, {len(values)} seeds")
    for equal in ("steps", "time"):
        if len(errors(measured, ORDERS[1], equal)) > 1:
            found = ratio(measured, equal)
            words = f"{found.mean:.2f} ({found.low:.2f} … {found.high:.2f}) times second order's: {verdict(found)}"
            lines.append(f"  at equal {equal}, first order's error is {words}")
    return "\n".join(lines)


# The command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m metalab orders`."""
    parser.add_argument("--only", nargs="+", choices=list(COMPARISONS), default=list(COMPARISONS), help="default: all")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each kind (default: %(default)s)")
    parser.add_argument("--first-seed", type=int, default=0, help="the seeds count from here (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/orders.json"), help="default: %(default)s")


def run(options: argparse.Namespace) -> int:
    """Measure what the file does not hold yet, and write it after every training.

    Raises:
        ValueError: a number of seeds that cannot be, or the file is of other settings.
    """
    if not 2 <= options.seeds <= len(STUDENT) + 1:
        raise ValueError(f"--seeds {options.seeds} must be 2 … {len(STUDENT) + 1}: one gives no interval")
    if options.first_seed < 0:
        raise ValueError(f"--first-seed {options.first_seed} must be at least 0")
    torch.set_num_threads(1)
    data = start(options.out)
    for name in options.only:
        comparison, measured = COMPARISONS[name], data["comparisons"].get(name)
        if measured is None:
            measured = data["comparisons"][name] = about(comparison) | {"step_ms": step_times(comparison), "runs": []}
        kept = ("algorithm", "equal", "seed")
        done = {tuple(r[key] for key in kept) for r in measured["runs"]}
        seeds = range(options.first_seed, options.first_seed + options.seeds)
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
    return 0


def about(comparison: Comparison) -> dict[str, Any]:
    """What a comparison is, as the file has it."""
    return {
        "title": comparison.title,
        "tasks": comparison.tasks,
        "steps": comparison.steps,
        "everybody": comparison.everybody,
        "given": comparison.given,
    }


def start(path: Path) -> dict[str, Any]:
    """What the file holds so far, or an empty one for this machine.

    Raises:
        ValueError: it is damaged, or of other settings.
    """
    if not path.exists():
        return {
            "command": "python -m metalab orders",
            "machine": machine.name("cpu"),
            "threads": 1,
            "metalab": __version__,
            "torch": torch.__version__,
            "quantiles": list(QUANTILES),
            "comparisons": {},
        }
    try:
        data = json.loads(path.read_bytes())
        found = {
            name: {key: measured[key] for key in about(COMPARISONS[name])}
            for name, measured in data["comparisons"].items()
        }
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged, or not of this command: name another --out file") from error
    for name, measured in found.items():
        if measured != about(COMPARISONS[name]):
            raise ValueError(f"{path} holds {name!r} with other settings: name another --out file")
    return data
