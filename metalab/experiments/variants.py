"""Which claims about MAML hold? MAML and its variants: tuned by one budget, trained with several seeds, and tested.

    python -m metalab.experiments.variants sine                    # some minutes on one core
    python -m metalab.experiments.variants omniglot --device cuda  # five minutes on a GPU

All methods take the same number of inner steps on the same network (but Reptile, which has an inner loop of its own).
First each is *tuned*: short trainings, one for every pair of an inner and an outer learning rate of its grid, all with
one seed, are judged on validation tasks, for characters those of alphabets that are held out. On sines, where a pair
that learns fastest at first may be unstable later, the best ones are then trained in full and judged once more. The
best pair is used for the trainings that count, on all the training alphabets and with several seeds. These are judged
on test tasks, which are the same for all of them. Every outer rate falls to zero in a straight line over its training.

On sines, meta-gradients that are longer than 1 are shortened to this length, for all methods but Reptile, whose outer
step is no gradient. Without this (`--unclipped`), single steps ruin trainings that learn rates or gates.

Methods are compared at equal *steps*, and at equal *time*. Times are not taken from the trainings, because the clock
says little on a busy machine. Steps of all methods are timed in turn, and the medians say how many steps of a method
take as long as MAML's. MAML is also trained for half of its steps, which shows whether a longer training would matter.

On a GPU, several trainings run next to one another, each on a stream of its own, because one alone does not fill it.
Before, the command checks that a training has the same result next to others as alone; if not, they take turns.

The file is written after each training. A second call with the same file goes on where the first one was cut.
"""

from __future__ import annotations

import argparse
import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import __version__
from ..arguments import real, whole
from ..evaluate import Score, evaluate
from ..files import check_replaceable, replace_file
from ..learners import MultiStepLoss
from ..learners.meta_sgd import RATE
from ..learners.multi_step_loss import annealed
from ..learners.sparse_maml import GATE
from ..losses import accuracy, mse
from ..nets import Params
from ..optim import Adam
from ..tasks import Characters, omniglot, sine
from ..train import Diverged, Trainer
from . import machine, scoring
from .settings import Settings
from .timing import medians_in_turn

METHODS = ("maml", "fomaml", "reptile", "anil", "meta_sgd", "sparse_maml", "multi_step", "per_step")
OTHER_TIME = ("fomaml", "reptile", "multi_step")  # methods whose step takes clearly more or less time than MAML's
INNER_STEPS = 3
SEEDS = 5
TUNING_SEED = 100  # no seed of the trainings that count
TUNING = 8  # a tuning takes this fraction of the steps
ANNEALED = 0.1  # over this share of a training the weights of the multi-step loss are annealed
PARTS = 20  # of a training's curve
SINE_QUERIES = 100  # points that a wave is judged on
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
TIMED, AT_A_TIME = 15, 10  # rounds of timing, and the steps that a method takes in each
SPLITS = {"validation": 2000, "test": 1000}  # the seeds of the tasks
PILOT = 100  # steps by which it is found out how long a training may be; lengths are multiples of it
CHECKED = 30  # steps after which a training next to others is compared with one alone


@dataclass(frozen=True)
class Problem:
    """What all methods are trained on.

    Args:
        title: its name.
        shared: settings that all methods are given.
        inner: the inner learning rates of the grid.
        outer: the outer learning rates of the grid.
        reptile: the two for Reptile, whose inner loop is Adam, and whose outer rate is a share of the way.
        steps: the meta-steps of a training, where they are not chosen by the time.
        finalists: how many pairs of the grid are tuned by whole trainings; 0: all pairs by short ones alone.
        longest: the length to which longer meta-gradients are shortened; None: none is.
        tasks_validated, tasks_tested: how many tasks a tuning and a training that counts are judged on.
    """

    title: str
    shared: dict[str, Any]
    inner: tuple[float, ...]
    outer: tuple[float, ...]
    reptile: tuple[tuple[float, ...], tuple[float, ...]]
    steps: int
    finalists: int = 0
    longest: float | None = None
    tasks_validated: int = 1000
    tasks_tested: int = 4000


PROBLEMS = {
    "sine": Problem(
        "sines, 10 shots",
        {"shots": 10, "meta_batch": 25},
        inner=(0.01, 0.03, 0.1),
        outer=(3e-3, 1e-2),
        reptile=((0.01, 0.03, 0.1), (0.5, 1.0)),
        steps=1500,
        finalists=2,
        longest=1.0,
    ),
    "omniglot": Problem(
        "Omniglot, 5-way 1-shot",
        {"ways": 5, "shots": 1, "channels": 32, "meta_batch": 16},
        inner=(0.1, 0.3, 1.0, 3.0),
        outer=(1e-3, 3e-3, 1e-2),
        reptile=((1e-3, 3e-3, 1e-2, 3e-2), (0.25, 0.5, 1.0)),
        steps=4000,
    ),
}
QUICK = {
    "sine": replace(PROBLEMS["sine"], inner=(0.01, 0.03), outer=(3e-3,), reptile=((0.01,), (0.5, 1.0)), steps=16),
    "omniglot": replace(
        PROBLEMS["omniglot"],
        shared=PROBLEMS["omniglot"].shared | {"channels": 4, "meta_batch": 2},
        inner=(0.3,),
        outer=(3e-3,),
        reptile=((1e-3,), (1.0,)),
        steps=8,
    ),
}
QUICK = {name: replace(problem, tasks_validated=20, tasks_tested=40) for name, problem in QUICK.items()}


class ClippedAdam(Adam):
    """Adam on gradients that are shortened to a length, if they are longer (Pascanu, Mikolov & Bengio 2013)."""

    def __init__(self, params: Tensor, longest: float) -> None:
        super().__init__(params)
        self._longest = longest

    def step(self, gradient: Tensor) -> None:
        """Make a step along the gradient [P], downhill, whose direction alone counts if it is too long."""
        super().step(gradient * (self._longest / gradient.norm()).clamp(max=1))


class Bench:
    """Where a method with one inner learning rate is trained again and again: on a GPU, its recording is kept.

    Args:
        problem: the name of the problem, "sine" or "omniglot".
        of: the problem.
        method: the name of the method.
        inner_lr: its inner learning rate.
        train: the characters to train on; None for sines.
        device: where to train.
    """

    def __init__(
        self, problem: str, of: Problem, method: str, inner_lr: float, train: Characters | None, device: str
    ) -> None:
        given: dict[str, Any] = of.shared | {"inner_lr": inner_lr, "device": device}
        if method != "reptile":
            given["inner_steps"] = INNER_STEPS
        self.method = method
        self.settings = Settings.of(problem, method, **given)
        self._learner, self._sample = self.settings.learner(), self.settings.sampler(train)
        if isinstance(self._learner, MultiStepLoss):
            self._learner = replace(self._learner, importance=annealed(0.0, INNER_STEPS).to(device))
        self._optimizer = self.settings.recipe.optimizer
        if of.longest and self._optimizer is Adam:  # Reptile's step is no gradient, and is not shortened
            self._optimizer = partial(ClippedAdam, longest=of.longest)
        self._stream = None if self.settings.device == "cpu" else torch.cuda.Stream()
        self._trainer = self._fresh(0)
        if self._stream:  # record it before other benches run
            self.step(1)
            torch.cuda.synchronize()

    def _beside(self) -> AbstractContextManager:
        """Let what follows run next to other benches on a GPU."""
        return torch.cuda.stream(self._stream) if self._stream else nullcontext()

    def _fresh(self, seed: int) -> Trainer:
        how: dict[str, Any] = {"optimizer": self._optimizer, "seed": seed, "device": self.settings.device}
        return Trainer(self._learner, self._sample, outer_lr=0.0, **how)

    def start(self, seed: int, outer_lr: float, steps: int) -> None:
        """Get ready for a training: fresh parameters, and a rate that falls to zero over so many steps."""

        def rate(number: int) -> float:
            if isinstance(self._learner, MultiStepLoss) and (number - 1) % max(1, steps // 100) == 0:
                progress = min(1.0, (number - 1) / (ANNEALED * steps))
                self._learner.importance.copy_(annealed(progress, INNER_STEPS))
            return outer_lr * (1 - (number - 1) / steps)

        with self._beside():
            self._trainer.load_state(self._fresh(seed).state())
        self._trainer.outer_lr = rate

    def step(self, count: int) -> dict[str, float]:
        """Take `count` meta-steps and return their mean metrics."""
        with self._beside():
            return self._trainer.step(count).metrics

    def train(self, seed: int, outer_lr: float, steps: int) -> dict[str, Any]:
        """Train, and return the curve of the training: numbers of steps, and the mean error since the last of them."""
        curve, found = [], {}
        with self._beside():
            self.start(seed, outer_lr, steps)
            try:
                for step in self._trainer.run(steps, every=math.ceil(steps / PARTS)):
                    wrong = 1 - step.metrics["accuracy"] if "accuracy" in step.metrics else step.metrics["loss"]
                    curve.append([step.number, round(wrong, 5)])
            except Diverged:
                found["diverged_after"] = self._trainer.steps  # it is tested with the parameters it had then
        return {"curve": curve, **found}

    @property
    def params(self) -> Params:
        """The current parameters."""
        return self._trainer.params

    def test(self, split: str, tasks: int, characters: Characters | None) -> Score:
        """Return the error on tasks of a split: the mean squared error, or the share of wrong answers.

        A method is tested with as many inner steps as it was trained with, and Reptile with as many as in its paper's
        tests (50 for characters, 10 for sines).
        """
        steps = self.settings.inner_steps
        if self.method == "reptile":
            steps = scoring.REPTILE_STEPS if characters else scoring.SINE_STEPS[-1]
        learner = scoring.tested(self.settings, steps, SPLITS[split])
        how: dict[str, Any] = {"episodes": tasks, "seed": SPLITS[split], "device": self.settings.device, "batch": 500}
        shots = self.settings.shots
        with self._beside():
            if characters is None:
                draw = lambda n, g: sine.sample(n, shots, SINE_QUERIES, g)  # noqa: E731
                return evaluate(partial(learner.predict, self.params), draw, measure=mse, **how)
            draw = lambda n, g: characters.sample(n, self.settings.ways, shots, shots, g)  # noqa: E731
            wrong = lambda answers, labels: 1 - accuracy(answers, labels)  # noqa: E731
            if self.settings.device == "cpu":
                how["batch"] = 50
            return evaluate(partial(learner.predict, self.params), draw, measure=wrong, **how)


def learned(method: str, params: Params) -> dict[str, Any]:
    """Return what was learned about the inner step, by parameter.

    For Meta-SGD these are the `QUANTILES` of the rates, for the rates of MAML++ the rates of the inner steps, and for
    sparse-MAML the shares of gates that are open.
    """
    levels, found = torch.tensor(QUANTILES), {}
    for name, p in params.items():
        values = p.detach().cpu().flatten()
        if name.startswith(RATE):
            numbers = values if method == "per_step" else values.quantile(levels)
            found[name.removeprefix(RATE)] = [float(f"{number:.4g}") for number in numbers.tolist()]
        elif name.startswith(GATE):
            found[name.removeprefix(GATE)] = round((values >= 0).float().mean().item(), 4)
    return {"learned": found} if found else {}


def chosen(tuned: list[dict[str, Any]], method: str) -> dict[str, Any]:
    """Return the training of a method that had the smallest error on the validation tasks, of the longest ones."""
    rows = [r for r in tuned if r["method"] == method and r["error"] is not None]
    most = max(row["steps"] for row in rows)
    return min((row for row in rows if row["steps"] == most), key=lambda row: row["error"])


class Comparison:
    """The measurements of one problem, and the file that holds them.

    Args:
        name: "sine" or "omniglot".
        options: the options of the command line.
    """

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        self.name, self.out, self.device = name, options.out, options.device
        self.problem = (QUICK if options.quick else PROBLEMS)[name]
        self._command = f"python -m metalab.experiments.variants {name}"
        if options.unclipped:
            self.problem, self._command = replace(self.problem, longest=None), f"{self._command} --unclipped"
        self.seeds, self._lock, self._begun = range(options.seeds), threading.Lock(), time.perf_counter()
        self._parts: dict[str, tuple[Characters | None, Characters | None]] = {}
        for split in SPLITS:
            self._parts[split] = None, None
        if name == "omniglot":
            background, evaluation = omniglot.load()
            train, held_out = background.hold_out()
            on = self.device
            self._parts["validation"] = train.with_rotations().to(on), held_out.to(on)
            self._parts["test"] = background.with_rotations().to(on), evaluation.to(on)
        self.data = self._read()
        self.together = options.together if self.device != "cpu" else 1
        self.minutes = options.minutes
        if options.steps:
            self.data.setdefault("steps", options.steps)

    def _read(self) -> dict[str, Any]:
        """Return the content of the file so far, or that of a new one."""
        protocol = json.loads(json.dumps(asdict(self.problem) | {"inner_steps": INNER_STEPS, "annealed": ANNEALED}))
        del protocol["steps"]
        if not self.out.exists():
            return {
                "command": self._command,
                "machine": machine.name(self.device),
                "metalab": __version__,
                "torch": torch.__version__,
                "protocol": protocol,
                "quantiles": list(QUANTILES),
                "tuned": [],
                "runs": [],
            }
        try:
            data = json.loads(self.out.read_bytes())
            same = data["protocol"] == protocol
            for run in data["runs"]:
                whole(least=0, seed=run["seed"])
                if run["error"] is not None:
                    real(least=0, error=run["error"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"--out {self.out} is damaged, or not of this command: name another file") from error
        if not same:
            raise ValueError(f"--out {self.out} holds trainings with other settings: name another file")
        return data

    def _write(self) -> None:
        replace_file(self.out, f"{json.dumps(self.data, ensure_ascii=False)}\n".encode())

    def _say(self, text: str) -> None:
        print(f"{time.perf_counter() - self._begun:6.1f} s  {text}", flush=True)

    def bench(self, method: str, inner_lr: float, split: str) -> Bench:
        """Return a bench whose training is judged on tasks of this split."""
        return Bench(self.name, self.problem, method, inner_lr, self._parts[split][0], self.device)

    def keep(self, rows: str, bench: Bench, planned: dict[str, Any], split: str, tasks: int) -> None:
        """Train as planned, test, and write the file."""
        start = time.perf_counter()
        found = bench.train(planned["seed"], planned["outer_lr"], planned["steps"])
        score = bench.test(split, tasks, self._parts[split][1])
        row = {
            **planned,
            "error": round(score.mean, 6) if math.isfinite(score.mean) else None,  # None: its inner loop diverges
            "ci95": round(score.ci95, 6) if math.isfinite(score.ci95) else None,  # over the tasks
            "seconds": round(time.perf_counter() - start, 2),
            **found,
        }
        if rows == "runs":
            row |= learned(bench.method, bench.params)
        else:
            del row["curve"]
        with self._lock:
            self.data[rows].append(row)
            self._write()
            self._say(f"{rows}: {planned} error {row['error']}")

    def all_at_once(self, jobs: list[Callable[[], None]]) -> None:
        """Do the jobs: `together` of them at a time."""
        if self.together == 1:
            for job in jobs:
                job()
            return
        with ThreadPoolExecutor(self.together, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for done in [pool.submit(job) for job in jobs]:
                done.result()

    # The parts of the measurement

    def time_steps(self) -> None:
        """Time a step of each method, check that trainings may run next to one another, and choose their length."""
        if "step_ms" in self.data and "steps" in self.data:
            return
        benches = {method: self.bench(method, self.problem.inner[0], "test") for method in METHODS}
        for bench in benches.values():
            bench.start(0, 1e-3, 10**6)
        actions = {method: partial(bench.step, AT_A_TIME) for method, bench in benches.items()}
        rounds = 2 if self.problem in QUICK.values() else TIMED
        clock = time.process_time if self.device == "cpu" else time.perf_counter
        times = medians_in_turn(actions, rounds=rounds, clock=clock)
        self.data["step_ms"] = {method: round(ms / AT_A_TIME, 5) for method, ms in times.items()}
        self._say(f"ms a step: {self.data['step_ms']}")
        if self.together > 1:
            self._check_side_by_side(benches)
        if "steps" not in self.data:
            self.data["steps"] = self._affordable(benches) if self.minutes else self.problem.steps
        self._say(f"{self.data['steps']} steps a training, {self.together} trainings at a time")
        self._write()

    def _check_side_by_side(self, benches: dict[str, Bench]) -> None:
        """Take turns if a training next to others has another result than alone."""
        first = next(iter(benches.values()))

        def trained() -> torch.Tensor:
            return torch.cat([p.flatten() for p in first.params.values()]).clone()

        def job(bench: Bench) -> None:
            bench.start(0, 1e-3, 10**6)
            bench.step(CHECKED)

        job(first)
        alone = trained()
        self.all_at_once([partial(job, bench) for bench in benches.values()])
        apart = (trained() - alone).abs().max().item()
        self._say(f"next to others, parameters differ by {apart:.2g} at most")
        self.data["apart"] = apart
        if not apart < 1e-5:
            self.together = 1

    def _affordable(self, benches: dict[str, Bench]) -> int:
        """Return how long the trainings may be."""
        step_ms = self.data["step_ms"]
        start = time.perf_counter()
        self.all_at_once([partial(bench.step, PILOT) for bench in benches.values()])
        of_step = (time.perf_counter() - start) / PILOT  # of one step of all methods
        more = (len(OTHER_TIME) + 0.5) * step_ms["maml"] / sum(step_ms.values())  # equal time, and half as long
        seed = of_step * (1 + more)
        grid = len(self.problem.inner) * len(self.problem.outer)
        left = 60 * self.minutes - (time.perf_counter() - self._begun)
        steps = 0.8 * left / (seed * len(self.seeds) + of_step * (grid / TUNING + self.problem.finalists))
        return PILOT * max(1, int(steps / PILOT))

    def tune(self) -> None:
        """Train shortly with each pair of rates, perhaps wholly with the best few, and judge on validation tasks."""
        short, pairs = max(1, self.data["steps"] // TUNING), {}
        for method in METHODS:
            inner, outer = self.problem.reptile if method == "reptile" else (self.problem.inner, self.problem.outer)
            pairs[method] = [(inner_lr, outer_lr) for inner_lr in inner for outer_lr in outer]
        self._tune(pairs, short)
        if self.problem.finalists:
            for method in METHODS:
                rows = [r for r in self.data["tuned"] if (r["method"], r["steps"]) == (method, short)]
                rows = sorted((r for r in rows if r["error"] is not None), key=lambda r: r["error"])
                pairs[method] = [(r["inner_lr"], r["outer_lr"]) for r in rows[: self.problem.finalists]]
            self._tune(pairs, self.data["steps"])

    def _tune(self, pairs: dict[str, list[tuple[float, float]]], steps: int) -> None:
        """Train each method with its pairs of rates, for so many steps."""
        done = {(r["method"], r["inner_lr"], r["outer_lr"]) for r in self.data["tuned"] if r["steps"] == steps}
        left: dict[tuple[str, float], list[float]] = {}
        for method, rates in pairs.items():
            for inner_lr, outer_lr in rates:
                if (method, inner_lr, outer_lr) not in done:
                    left.setdefault((method, inner_lr), []).append(outer_lr)
        self._say(f"tuning, {steps} steps each")
        benches = [self.bench(method, inner_lr, "validation") for method, inner_lr in left]

        def job(bench: Bench, outer: list[float]) -> None:
            for outer_lr in outer:
                rates = {"inner_lr": bench.settings.inner_lr, "outer_lr": outer_lr}
                planned = {"method": bench.method, **rates, "steps": steps, "seed": TUNING_SEED}
                self.keep("tuned", bench, planned, "validation", self.problem.tasks_validated)

        self.all_at_once([partial(job, bench, outer) for bench, outer in zip(benches, left.values(), strict=True)])

    def plan(self) -> Iterator[dict[str, Any]]:
        """Yield the trainings of one seed, the longest first."""
        steps, step_ms = self.data["steps"], self.data["step_ms"]
        rows = [{"method": method, "equal": "steps", "steps": steps} for method in METHODS]
        rows += [
            {"method": method, "equal": "time", "steps": round(steps * step_ms["maml"] / step_ms[method])}
            for method in OTHER_TIME
        ]
        rows.append({"method": "maml", "equal": "half", "steps": steps // 2})
        yield from sorted(rows, key=lambda row: -row["steps"] * step_ms[row["method"]])

    def train(self) -> None:
        """Train with the best rates: all methods with one seed, then with the next one."""
        done = {(r["method"], r["equal"], r["seed"]) for r in self.data["runs"]}
        planned = []
        for row in self.plan():
            best = chosen(self.data["tuned"], row["method"])
            planned.append(row | {"inner_lr": best["inner_lr"], "outer_lr": best["outer_lr"]})
        if all((row["method"], row["equal"], seed) in done for row in planned for seed in self.seeds):
            return
        benches = [self.bench(row["method"], row["inner_lr"], "test") for row in planned]
        for seed in self.seeds:
            self.all_at_once(
                [
                    partial(self.keep, "runs", bench, row | {"seed": seed}, "test", self.problem.tasks_tested)
                    for bench, row in zip(benches, planned, strict=True)
                    if (row["method"], row["equal"], seed) not in done
                ]
            )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m metalab.experiments.variants", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("part", choices=list(PROBLEMS), help="what to train on")
    parser.add_argument("--device", default="cpu", help="where to train: cpu, or cuda (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many seeds, from 0 on (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="meta-steps of a training (default: by the problem)")
    parser.add_argument("--minutes", type=float, help="choose --steps so that all takes about so long")
    parser.add_argument("--together", type=int, default=8, help="trainings at a time on a GPU (default: %(default)s)")
    parser.add_argument("--unclipped", action="store_true", help="leave long meta-gradients as they are")
    parser.add_argument("--quick", action="store_true", help="measure nothing: try out the command in seconds")
    parser.add_argument("--out", type=Path, help="the file to write (default: build/variants-PART.json)")
    options = parser.parse_args(arguments)
    options.out = options.out or Path(f"build/variants-{options.part}.json")
    try:
        whole(least=2, most=TUNING_SEED, **{"--seeds": options.seeds})
        whole(most=64, **{"--together": options.together})
        if options.steps is not None:
            whole(least=TUNING, **{"--steps": options.steps})
        if options.minutes is not None:
            real(above=0, **{"--minutes": options.minutes})
        check_replaceable(options.out)
        torch.set_num_threads(1)
        comparison = Comparison(options.part, options)
    except (TypeError, ValueError, OSError) as error:
        parser.error(str(error))
    comparison.time_steps()
    comparison.tune()
    comparison.train()
    print(f"written to {options.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
