"""Is MAML a better start than joint training on sines, whatever the seed? Lesson 1's trainings, with several seeds.

python -m metalab.experiments.sine_over_seeds --out build/sine.json    # some ten minutes on one core

One training shows what one network does. A statement about *methods* needs several trainings, and their spread. With
the same seed, all methods start from the same parameters.

Each start is fine-tuned to new tasks by gradient descent. The test tasks are the same for all trainings, and so are the
validation tasks, on which an inner learning rate may be chosen.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import __version__
from ..arguments import one_of, real, whole
from ..engine.derivatives import differentiate
from ..files import check_replaceable, replace_file
from ..learners.maml import MAML, descend
from ..losses import mse
from ..nets import MLP, Params, for_tasks
from ..tasks import Episode, sine
from ..train import Trainer
from . import machine

METHODS = {"joint training": 0, "MAML": 2, "first-order MAML": 1}  # the order of the meta-gradient; 0: no inner step
SHOTS, QUERIES = 10, 100  # of each task that a start is tested on
TASKS = 600
SPLITS = {"test": 1, "validation": 2}  # the seeds from which the tasks are drawn
STEPS = 5000  # meta-steps
OUTER_LR = 1e-2  # at the first meta-step; it falls to 0 in a straight line. With 3e-3, one joint training in ten stalls
INNER_LR = 0.01
MARKS = (0, 1, 5, 10, 100)  # after so many gradient steps the errors are measured
RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)  # among which a rate is chosen
TUNED = (1, 5, 10)  # after so many gradient steps a chosen rate is tested
OUTER = [(0.001, 2), (0.01, 2), (0.1, 2), (0.001, 1)]  # rate and order of short trainings; the rate stays as it is
FAILED = 100.0  # a task whose error is above this, or no number, has failed: its steps diverged
SHORT, LAST = 2000, 50  # their meta-steps, and how many of the last losses are averaged


def falling(number: int) -> float:
    """Return the outer learning rate of meta-step `number`, counted from 1."""
    return OUTER_LR * (1 - (number - 1) / STEPS)


def draw(generator: torch.Generator) -> Episode:
    """Draw the tasks of a meta-step: 25 waves, with 10 support and 10 query points each."""
    return sine.sample(25, 10, 10, generator)


def draw_points(generator: torch.Generator) -> Episode:
    """Draw a batch for joint training: 25 waves with 20 points each, as many as MAML sees. All of them are queries."""
    return sine.sample(25, 1, 20, generator)


def trainer(method: str, seed: int, outer_lr: float | Callable[[int], float] = falling, **options: Any) -> Trainer:
    """Return a training of a method of METHODS that has not begun.

    Raises:
        TypeError, ValueError: there is no such method, or the trainer cannot have these options.
    """
    one_of([*METHODS], method=method)
    order = METHODS[method]
    learner = MAML(MLP(), mse, inner_lr=INNER_LR, inner_steps=1 if order else 0, order=order or 2)
    return Trainer(learner, draw if order else draw_points, outer_lr=outer_lr, seed=seed, **options)


def errors_after(
    params: Params,
    steps: Iterable[int],
    inner_lr: float = INNER_LR,
    *,
    split: str = "test",
    shots: int = SHOTS,
    support_range: tuple[float, float] = sine.X_RANGE,
    tasks: int = TASKS,
) -> dict[int, Tensor]:
    """Fine-tune a start to many new tasks, and return each one's mean squared error after some numbers of steps.

    Starts that are tested with the same arguments meet the same tasks, so that their errors can be subtracted.

    Args:
        params: the start.
        steps: after so many gradient steps the errors are measured.
        inner_lr: the learning rate of the steps.
        split: "test" or "validation": which tasks.
        shots: how many points of a task the steps see.
        support_range: where these points lie. The errors are measured on QUERIES points of the whole range.
        tasks: how many tasks.

    Returns:
        The errors [tasks] by the number of steps. Where the steps diverge they are inf or nan.

    Raises:
        TypeError, ValueError: an argument cannot be used.
    """
    marks = set(steps)
    whole(least=0, **{f"steps: {mark}": mark for mark in marks})
    real(least=0, inner_lr=inner_lr)
    one_of([*SPLITS], split=split)
    whole(shots=shots, tasks=tasks)
    net, device = MLP(), next(iter(params.values())).device
    generator = torch.Generator(device).manual_seed(SPLITS[split])
    episode = sine.Sine.draw(tasks, generator).episode(shots, QUERIES, generator, support_range=support_range)
    theta, errors = for_tasks(params, tasks), {}
    for step in range(max(marks, default=0) + 1):
        if step in marks:
            with torch.no_grad():
                errors[step] = mse(net(theta, episode.query_x), episode.query_y).cpu()
        support = differentiate(net, mse, theta, episode.support_x, episode.support_y)
        theta = descend(theta, inner_lr, support.gradient())
    return errors


def mean_error(params: Params, steps: int, inner_lr: float, split: str) -> float:
    """Return a start's mean error on the tasks of a split after some gradient steps; errors as in `errors_after`."""
    return errors_after(params, [steps], inner_lr, split=split)[steps].mean().item()


def measure(method: str, seed: int) -> dict[str, Any]:
    """Train once and return the errors on the test tasks, with the lesson's inner rate and with chosen ones."""
    training = trainer(method, seed)
    training.step(STEPS)
    tested = errors_after(training.params, MARKS)
    tuned = {}
    for steps in TUNED:
        found = {rate: mean_error(training.params, steps, rate, "validation") for rate in RATES}
        best = min((rate for rate in RATES if math.isfinite(found[rate])), key=found.__getitem__)
        tuned[steps] = {"rate": best, "error": mean_error(training.params, steps, best, "test")}
    return {
        "method": method,
        "seed": seed,
        "errors": {steps: error.mean().item() for steps, error in tested.items()},
        "typical": {steps: error.nan_to_num(math.inf).median().item() for steps, error in tested.items()},
        "failed": {steps: int((~(error < FAILED)).sum()) for steps, error in tested.items()},
        "tuned": tuned,
    }


def measure_short(outer_lr: float, order: int, seed: int) -> dict[str, Any]:
    """Train for a short time with a constant outer rate, and return the mean of the last losses."""
    method = next(name for name, of in METHODS.items() if of == order)
    losses = [step.metrics["loss"] for step in trainer(method, seed, outer_lr).run(SHORT)]
    return {"outer_lr": outer_lr, "order": order, "seed": seed, "loss": sum(losses[-LAST:]) / LAST}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m metalab.experiments.sine_over_seeds", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seeds", type=int, default=10, help="how many seeds, from 0 on: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("build/sine.json"), help="the file to write: %(default)s")
    options = parser.parse_args(arguments)
    try:
        whole(most=20, **{"--seeds": options.seeds})
        check_replaceable(options.out)
    except (TypeError, ValueError, OSError) as error:
        parser.error(str(error))
    torch.set_num_threads(1)
    found: dict[str, Any] = {
        "command": "python -m metalab.experiments.sine_over_seeds",
        "machine": machine.name("cpu"),
        "metalab": __version__,
        "torch": torch.__version__,
        "steps": STEPS,
        "outer_lr": OUTER_LR,
        "inner_lr": INNER_LR,
        "rates": RATES,
        "runs": [],
        "short": [],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for seed in range(options.seeds):
        found["runs"] += [measure(method, seed) for method in METHODS]
        found["short"] += [measure_short(outer_lr, order, seed) for outer_lr, order in OUTER]
        replace_file(options.out, (json.dumps(found, indent=1) + "\n").encode())  # nothing is lost by an interrupt
        for run in found["runs"][-len(METHODS) :]:
            print(f"seed {seed}, {run['method']}: {run['errors']}, failed {run['failed']}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
