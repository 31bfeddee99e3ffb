"""How much does first-order MAML leave out, and does MAML look for large curvature? Measured over batches and seeds.

python -m metalab.experiments.order_over_training --out build/order.json    # half an hour on one core

The term that first order leaves out, αH∇L_Q(θ'), differs from batch to batch, from the beginning of a training to its
end, and from seed to seed. So several networks are trained, and at the start, in the middle and at the end of each
training the two meta-gradients are compared on many fresh batches of training tasks. Networks that were trained by
first order, and (on sines) jointly, are looked at in the same way, because a statement about what MAML does to a
network needs networks that were trained without it. With the same seed, all methods start from the same parameters.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import __version__
from ..arguments import whole
from ..engine.derivatives import Derivatives, differentiate
from ..files import check_replaceable, replace_file
from ..learners.maml import MAML, descend
from ..nets import Conv4, Params, for_tasks
from ..tasks import Characters, Episode, omniglot
from ..train import Trainer
from . import machine, sine_over_seeds

BATCHES = 100  # batches of tasks that a network is looked at with
QUANTILES = (0.05, 0.5, 0.95)
POWER = 30  # iterations for the largest curvature
CURVED = 10  # batches for which it is looked for, because it costs so many Hessian-vector products
SEEDS = {"sine": 10, "omniglot": 5}
STEPS = {"sine": sine_over_seeds.STEPS, "omniglot": 1000}  # meta-steps
METHODS = {"sine": ("joint training", "first-order MAML", "MAML"), "omniglot": ("first-order MAML", "MAML")}
INNER_LR = {"sine": sine_over_seeds.INNER_LR, "omniglot": 0.4}
CHANNELS, TASKS, OUTER_LR = 32, 8, 1e-2  # of the trainings on characters


@dataclass(frozen=True)
class Seen:
    """What one batch of tasks shows of the two meta-gradients. Lengths are those of the means over the tasks.

    Args:
        share: the length of the term that first order leaves out, divided by that of the second-order meta-gradient.
        of_first: the same length, divided by that of the first-order meta-gradient.
        angle: the angle between the two meta-gradients, in degrees.
        along: α times the curvature of the support loss along a task's own query gradient, the mean over the tasks.
        agree: the cosine between a task's gradients of support and query loss at the start, the mean over the tasks.
        others: the same with the query loss of another task of the batch.
    """

    share: float
    of_first: float
    angle: float
    along: float
    agree: float
    others: float


def look(learner: MAML, params: Params, episode: Episode) -> Seen:
    """Return what a batch of tasks shows, for a learner with one inner step.

    Raises:
        ValueError: the learner takes another number of inner steps.
    """
    if learner.inner_steps != 1:
        raise ValueError(f"inner_steps={learner.inner_steps} must be 1: the curvature is that of one step")
    support = _support(learner, params, episode)
    adapted = descend(for_tasks(params, episode.tasks), learner.inner_lr, support.gradient())
    query = differentiate(learner.net, learner.loss, adapted, episode.query_x, episode.query_y)
    v = query.gradient()
    product = flat(support.hessian_vector(v))  # H v of each task: [T, P]
    v = flat(v)
    term = learner.inner_lr * product
    first, left_out = v.mean(0), term.mean(0)
    second = first - left_out
    cosine = torch.cosine_similarity(first, second, dim=0).clamp(-1, 1)
    along = (v * term).sum(1) / v.square().sum(1)
    theta = for_tasks(params, episode.tasks)
    at_start = differentiate(learner.net, learner.loss, theta, episode.query_x, episode.query_y)
    g_support, g_query = flat(support.gradient()), flat(at_start.gradient())
    return Seen(
        share=(left_out.norm() / second.norm()).item(),
        of_first=(left_out.norm() / first.norm()).item(),
        angle=cosine.acos().rad2deg().item(),
        along=along.mean().item(),
        agree=torch.cosine_similarity(g_support, g_query).mean().item(),
        others=torch.cosine_similarity(g_support, g_query.roll(1, 0)).mean().item(),
    )


def largest_curvature(learner: MAML, params: Params, episode: Episode, generator: torch.Generator) -> Tensor:
    """Return α times the largest eigenvalue (by size) of each task's Hessian at the start, by power iteration: [T]."""
    support = _support(learner, params, episode)
    theta = for_tasks(params, episode.tasks)
    v = {name: torch.randn(p.shape, generator=generator, dtype=p.dtype) for name, p in theta.items()}
    for _ in range(POWER):
        length = flat(v).norm(dim=1)
        v = {name: p / length.view(-1, *[1] * (p.dim() - 1)) for name, p in v.items()}
        product = support.hessian_vector(v)
        value = (flat(v) * flat(product)).sum(1)
        v = product
    return learner.inner_lr * value


def flat(params: Params) -> Tensor:
    """Return the parameters of T tasks as vectors: [T, P]."""
    return torch.cat([p.flatten(1) for p in params.values()], 1)


def _support(learner: MAML, params: Params, episode: Episode) -> Derivatives:
    theta = for_tasks(params, episode.tasks)
    return differentiate(learner.net, learner.loss, theta, episode.support_x, episode.support_y)


def measure(learner: MAML, params: Params, draw: Callable[[torch.Generator], Episode]) -> dict[str, Any]:
    """Return the quantiles of everything in `Seen` over fresh batches, and of α times the largest curvature over tasks.

    The same batches are drawn each time, so that networks can be compared batch by batch.
    """
    generator = torch.Generator().manual_seed(1)
    seen = [look(learner, params, draw(generator)) for _ in range(BATCHES)]
    largest = torch.cat([largest_curvature(learner, params, draw(generator), generator) for _ in range(CURVED)])
    values = {name: torch.tensor([getattr(each, name) for each in seen]) for name in vars(seen[0])}
    values["largest"] = largest.float()
    return {name: _quantiles(each) for name, each in values.items()}


def _quantiles(values: Tensor) -> list[float]:
    return [float(f"{q:.4g}") for q in values.quantile(torch.tensor(QUANTILES)).tolist()]


def trainings(tasks: str, seed: int, turned: Characters | None) -> Iterator[tuple[str, Trainer, MAML, Callable]]:
    """Yield for each method its training, the learner to look through, and what draws its batches of tasks.

    Args:
        tasks: "sine" or "omniglot".
        seed: the seed of the trainings.
        turned: the characters to train on; None for sines.
    """
    for method in METHODS[tasks]:
        if tasks == "sine":
            training, draw = sine_over_seeds.trainer(method, seed), sine_over_seeds.draw
            learner = sine_over_seeds.trainer("MAML", seed).learner
        else:
            net = Conv4(5, channels=CHANNELS)
            learner = MAML(net, inner_lr=INNER_LR[tasks])

            def draw(generator: torch.Generator) -> Episode:
                return turned.sample(TASKS, 5, 1, 1, generator)

            trained = MAML(net, inner_lr=INNER_LR[tasks], order=2 if method == "MAML" else 1)
            training = Trainer(
                trained, draw, outer_lr=lambda step: OUTER_LR * (1 - (step - 1) / STEPS["omniglot"]), seed=seed
            )
        yield method, training, learner, draw


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m metalab.experiments.order_over_training", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--tasks", nargs="+", choices=list(SEEDS), default=list(SEEDS), help="default: both")
    parser.add_argument("--seeds", type=int, help="how many seeds, from 0 on: default 10 for sines, 5 for characters")
    parser.add_argument("--out", type=Path, default=Path("build/order.json"), help="the file to write: %(default)s")
    options = parser.parse_args(arguments)
    try:
        if options.seeds is not None:
            whole(most=20, **{"--seeds": options.seeds})
        check_replaceable(options.out)
        turned = omniglot.load()[0].with_rotations() if "omniglot" in options.tasks else None
    except (TypeError, ValueError, OSError) as error:
        parser.error(str(error))
    torch.set_num_threads(1)
    found: dict[str, Any] = {
        "command": "python -m metalab.experiments.order_over_training",
        "machine": machine.name("cpu"),
        "metalab": __version__,
        "torch": torch.__version__,
        "batches": BATCHES,
        "curved": CURVED,
        "quantiles": QUANTILES,
        "steps": STEPS,
        "inner_lr": INNER_LR,
        "seen": [],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for tasks in options.tasks:
        for seed in range(options.seeds or SEEDS[tasks]):
            for method, training, learner, draw in trainings(tasks, seed, turned):
                for when, steps in {"start": 0, "middle": STEPS[tasks] // 2, "end": STEPS[tasks]}.items():
                    if steps > training.steps:
                        training.step(steps - training.steps)
                    measured = measure(learner, training.params, draw)
                    found["seen"].append({"tasks": tasks, "method": method, "seed": seed, "when": when} | measured)
                    print(f"{tasks}, seed {seed}, {method}, {when}: {measured}", flush=True)
            text = json.dumps(found, separators=(",", ":")).replace('{"tasks"', '\n{"tasks"')
            replace_file(options.out, f"{text}\n".encode())  # nothing is lost by an interrupt
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
