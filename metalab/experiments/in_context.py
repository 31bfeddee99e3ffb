"""Networks that learn in context, next to MAML and to the limit, with several seeds.

python -m metalab.experiments.in_context --json build/in_context.json    # some five minutes a seed on one core

On lesson 1's sines, measured with noise, it trains three networks that read examples (a conditional neural process, a
recurrent learner and a causal transformer), MAML, and one network for all tasks. Each is tested on the same new waves,
after 1 to 20 examples. The exact Bayesian answer for the family, which nobody can beat, and the nearest neighbour are
tested too. On linear functions, it trains the transformer as Garg et al. 2022 do, at a toy size, and then shifts the
tasks: larger inputs, noise, and more examples than in training.

What is finished is in the file, and is not trained again when the command is called again.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import __version__, checkpoint
from ..analysis.sine_bayes import SinePosterior
from ..arguments import shown, whole
from ..files import check_replaceable, replace_file
from ..learners import MAML, CausalTransformer, ConditionalNeuralProcess, RecurrentLearner
from ..losses import mse
from ..nets import MLP, Params
from ..tasks import Episode, linear, sine
from ..train import Trainer
from . import machine

NOISE = 0.1  # standard deviation of the examples' noise on sines
EXAMPLES = 10  # of each task in training
SHOTS = (1, 2, 3, 4, 5, 7, 10, 15, 20)  # examples in the test
TASKS, QUERIES, TEST_SEED = 600, 50, 1
IN_CONTEXT = {
    "set encoder": (ConditionalNeuralProcess(), 3000),
    "recurrent": (RecurrentLearner(), 2500),
    "transformer": (CausalTransformer(), 1000),
    "transformer, longer": (CausalTransformer(), 5000),
}  # the learners, and their training steps: all but the last train for 10 to 40 seconds, by the machine
LONGEST = "transformer, longer"
BATCH, OUTER_LR, WARM_UP = 64, 2e-3, 100
GRADIENT = {"MAML": 1, "joint": 0}  # inner steps in training
GRADIENT_STEPS, GRADIENT_LR, INNER_LR = 20_000, 1e-2, 0.01
INNER_STEPS = (1, 5, 10)  # in the test
FAILED = 100.0  # a task with a larger error, or none, has failed: its inner steps diverged
LINEAR = CausalTransformer(inputs=linear.DIMENSIONS)
LINEAR_STEPS = 2500
LINEAR_SHOTS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 30)
SHIFTS: dict[str, dict[str, float]] = {
    "none": {},
    "inputs × 0.5": {"scale": 0.5},
    "inputs × 2": {"scale": 2.0},
    "inputs × 3": {"scale": 3.0},
    "noise 1": {"noise": 1.0},
}


def rate(step: int, steps: int, highest: float, warm_up: int = 0) -> float:
    """Return the outer learning rate of a step, counted from 1: it rises for a while, and falls to 0 in a line."""
    return highest * min(1.0, step / warm_up if warm_up else 1.0) * (1 - (step - 1) / steps)


def draw_sequences(generator: torch.Generator) -> Episode:
    """Draw what a learner in context trains on: 64 waves with 10 noisy examples and two queries each."""
    return sine.sample(BATCH, EXAMPLES, 2, generator, noise=NOISE)


def draw_episodes(generator: torch.Generator) -> Episode:
    """Draw what MAML trains on: 25 waves with 1 to 10 noisy examples, the same number for all, and 10 queries."""
    shots = int(torch.randint(1, EXAMPLES + 1, (), generator=generator, device=generator.device))
    return sine.sample(25, shots, 10, generator, noise=NOISE)


def draw_linear(generator: torch.Generator) -> Episode:
    """Draw linear functions in 5 dimensions: 64 of them, with 10 examples and a query, which makes 11 points."""
    return linear.sample(BATCH, EXAMPLES, 1, generator)


def test_episode(shots: int) -> Episode:
    """Return the test waves with so many noisy examples. All methods are tested on the same ones."""
    return sine.sample(TASKS, shots, QUERIES, torch.Generator().manual_seed(TEST_SEED + shots), noise=NOISE)


def summary(answers: Tensor, episode: Episode) -> dict[str, Any]:
    """Return the mean and the median error of the tasks, and how many failed. The mean is None if one has no number."""
    errors = mse(answers, episode.query_y).double()
    mean = errors.mean().item()
    return {
        "mean": round(mean, 6) if mean < FAILED else None,
        "median": round(errors.nan_to_num(math.inf).median().item(), 6),
        "failed": int((~(errors < FAILED)).sum()),
    }


def nearest(episode: Episode) -> Tensor:
    """Answer each query with the y of the nearest example: [T, Q, 1]."""
    index = (episode.query_x - episode.support_x.mT).abs().argmin(2, keepdim=True)
    return episode.support_y.gather(1, index)


def least_squares(episode: Episode) -> Tensor:
    """Answer by the linear function of least squared error, and of least norm where several have it: [T, Q, 1]."""
    x, y = episode.support_x.double(), episode.support_y.double()
    return (episode.query_x.double() @ torch.linalg.pinv(x) @ y).to(episode.query_x.dtype)


def averaging(episode: Episode) -> Tensor:
    """Answer by the mean of y_k x_k as weights, which is right for normal inputs and many examples: [T, Q, 1]."""
    return episode.query_x @ (episode.support_x.mT @ episode.support_y) / episode.support_x.shape[1]


def three_nearest(episode: Episode) -> Tensor:
    """Answer by the mean y of the three nearest examples, or of all if there are fewer: [T, Q, 1]."""
    distance = torch.cdist(episode.query_x, episode.support_x)
    index = distance.topk(min(3, distance.shape[2]), largest=False).indices  # [T, Q, 3]
    return episode.support_y[:, :, 0].unsqueeze(1).expand_as(distance).gather(2, index).mean(2, keepdim=True)


LINEAR_RIVALS: dict[str, Callable[[Episode], Tensor]] = {
    "least squares": least_squares,
    "averaging": averaging,
    "3 nearest": three_nearest,
}


def linear_errors(answer: Callable[[Episode], Tensor], shift: str) -> dict[str, float]:
    """Return the mean squared error by the number of examples, divided by the variance of the queries' y.

    That is the number of dimensions times the square of the scale: an answer of 0 has the error 1.
    """
    found = {}
    for shots in LINEAR_SHOTS:
        episode = linear.sample(TASKS, shots, 10, torch.Generator().manual_seed(TEST_SEED + shots), **SHIFTS[shift])
        error = (answer(episode) - episode.query_y).square().mean().item()
        found[str(shots)] = round(error / (linear.DIMENSIONS * SHIFTS[shift].get("scale", 1.0) ** 2), 6)
    return found


def limits() -> dict[str, Any]:
    """Return the errors of what is not trained: on sines the exact answer, which is the limit, and the neighbour."""
    found: dict[str, Any] = {"exact": {}, "nearest": {}, "linear": {}}
    for shots in SHOTS:
        episode = test_episode(shots)
        posterior = SinePosterior.of(episode.support_x, episode.support_y, noise=NOISE)
        found["exact"][str(shots)] = summary(posterior.mean(episode.query_x), episode)
        found["nearest"][str(shots)] = summary(nearest(episode), episode)
    for shift in SHIFTS:
        found["linear"][shift] = {name: linear_errors(answer, shift) for name, answer in LINEAR_RIVALS.items()}
    return found


def trainer(method: str, seed: int, quick: int = 1) -> tuple[Trainer, int]:
    """Return a training that has not begun, and its number of steps; `quick` divides them."""
    if method in IN_CONTEXT:
        (learner, steps), draw, highest, warm_up = IN_CONTEXT[method], draw_sequences, OUTER_LR, WARM_UP
    elif method == "linear":
        learner, steps, draw, highest, warm_up = LINEAR, LINEAR_STEPS, draw_linear, OUTER_LR, WARM_UP
    else:
        learner = MAML(MLP(), mse, inner_lr=INNER_LR, inner_steps=GRADIENT[method])
        steps, draw, highest, warm_up = GRADIENT_STEPS, draw_episodes, GRADIENT_LR, 0
    steps = max(1, steps // quick)
    return Trainer(learner, draw, outer_lr=lambda n: rate(n, steps, highest, warm_up), seed=seed), steps


def order_matters(learner: Any, params: Params) -> float:
    """Return how far the answers move when 10 examples are reversed, as a share of their error: root mean squares."""
    episode = test_episode(EXAMPLES)
    other = replace(episode, support_x=episode.support_x.flip(1), support_y=episode.support_y.flip(1))
    first, second = learner.predict(params, episode), learner.predict(params, other)
    return ((first - second).square().mean() / (first - episode.query_y).square().mean()).sqrt().item()


def measure(method: str, seed: int, quick: int = 1) -> tuple[dict[str, Any], Params]:
    """Train once, and return the errors by the number of examples, and the parameters."""
    training, steps = trainer(method, seed, quick)
    start = time.process_time()
    training.step(steps)
    seconds = time.process_time() - start
    learner, params = training.learner, training.params
    row: dict[str, Any] = {
        "method": method,
        "seed": seed,
        "steps": steps,
        "seconds": round(seconds, 2),
        "parameters": sum(p.numel() for p in params.values()),
    }
    if method == "linear":
        row["errors"] = {shift: linear_errors(lambda e: learner.predict(params, e), shift) for shift in SHIFTS}
    elif method in IN_CONTEXT:
        row["errors"] = {str(s): summary(learner.predict(params, test_episode(s)), test_episode(s)) for s in SHOTS}
        row["reversed"] = round(order_matters(learner, params), 6)
    else:
        row["errors"] = {
            str(inner): {
                str(s): summary(replace(learner, inner_steps=inner).predict(params, test_episode(s)), test_episode(s))
                for s in SHOTS
            }
            for inner in (0, *INNER_STEPS)
        }
    return row, params


def plan(seeds: int) -> list[tuple[str, int]]:
    """Return the trainings by method and seed: seed by seed, but the long ones and those on linear functions last."""
    methods = [*IN_CONTEXT, *GRADIENT, "linear"]
    every = [(method, seed) for seed in range(seeds) for method in methods]
    last = (LONGEST, "linear")
    return sorted(every, key=lambda training: last.index(training[0]) if training[0] in last else -1)


def _read(path: Path, protocol: dict[str, Any]) -> dict[str, Any]:
    """Return the content of the file so far, or that of a new one."""
    if not path.exists():
        return {
            "command": "python -m metalab.experiments.in_context",
            "machine": machine.name("cpu"),
            "metalab": __version__,
            "torch": torch.__version__,
            "protocol": protocol,
            "runs": [],
        }
    try:
        data = json.loads(path.read_bytes())
        same = data["protocol"] == protocol and isinstance(data["runs"], list)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"--json {path} is damaged, or not of this command: name another file") from error
    if not same:
        raise ValueError(f"--json {path} holds trainings with other settings: name another file")
    return data


def protocol(quick: int = 1) -> dict[str, Any]:
    """Return what decides how the trainings go, as the file keeps it."""
    steps = {name: steps for name, (_learner, steps) in IN_CONTEXT.items()}
    steps |= {name: GRADIENT_STEPS for name in GRADIENT} | {"linear": LINEAR_STEPS}
    return {
        "noise": NOISE,
        "examples": EXAMPLES,
        "tasks": TASKS,
        "batch": BATCH,
        "outer_lr": OUTER_LR,
        "gradient_lr": GRADIENT_LR,
        "inner_lr": INNER_LR,
        "steps": {name: max(1, number // quick) for name, number in steps.items()},
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m metalab.experiments.in_context", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds, from 0 on (default: %(default)s)")
    parser.add_argument("--json", type=Path, default=Path("build/in_context.json"), help="the file (%(default)s)")
    parser.add_argument("--params", type=Path, help="where to keep the linear transformer of seed 0, in half precision")
    parser.add_argument("--quick", action="store_true", help="measure nothing: try out the command in seconds")
    options = parser.parse_args(arguments)
    quick = 1000 if options.quick else 1
    try:
        whole(least=1, most=20, **{"--seeds": options.seeds})
        check_replaceable(options.json)
        data = _read(options.json, protocol(quick))
    except (TypeError, ValueError, OSError) as error:
        parser.error(str(error))
    torch.set_num_threads(1)
    options.json.parent.mkdir(parents=True, exist_ok=True)

    def write() -> None:
        replace_file(options.json, f"{json.dumps(data, ensure_ascii=False)}\n".encode())

    if "limits" not in data:
        data["limits"] = limits()
        write()
    done = {(run["method"], run["seed"]) for run in data["runs"]}
    for method, seed in plan(options.seeds):
        if (method, seed) in done:
            continue
        row, params = measure(method, seed, quick)
        data["runs"].append(row)
        write()
        print(f"seed {seed}, {method}: {row['seconds']} s, {shown(row['errors'])}", flush=True)
        if method == "linear" and seed == 0 and options.params:
            note = {"command": data["command"], "seed": 0, "steps": row["steps"], "metalab": __version__}
            checkpoint.save(options.params, {name: p.half() for name, p in params.items()}, note)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
