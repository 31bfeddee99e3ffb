"""Do fast learners know what they do not know? Bands judged on sines over several seeds, and over numbers of tasks.

    python -m metalab.experiments.uncertainty --json build/uncertainty.json    # about half an hour on one core

Every measurement has normal noise of standard deviation 0.1. A method answers each query with a mean and a variance,
and is judged as if its answer were normal: by the mean squared error, by the negative log-likelihood, and by how often
the measurement lies in the central interval of some probability. All methods meet the same 600 waves, in three ways:

    in range       support and queries in −5 … 5, where all of them were trained
    out of range   support and queries in −5 … 10, as Patacchiola et al. (2020) test
    beyond         support in −5 … 5, queries in 5 … 10

The second part trains on few waves: 10, 100 or 1,000, of which only 20 measurements each are known. A training draws
its support sets and queries from these. It is tested on new waves, and on new points of the waves that it has seen.

The file is written after each training. A second call with the same file goes on where the first one was cut.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import __version__, checkpoint
from ..analysis.sine_bayes import SinePosterior
from ..arguments import one_of, whole
from ..files import check_replaceable, replace_file
from ..gaussian import log_density
from ..learners import MAML, ALPaCA, DeepKernelTransfer, Learner
from ..losses import mse
from ..nets import MLP, Params, Tanh
from ..optim import Adam
from ..tasks import Episode, sine
from ..train import Trainer
from . import machine
from .variants import ClippedAdam

NOISE = 0.1  # σ, in units of y
TASKS, QUERIES = 600, 50  # of a test
SHOTS = (1, 2, 3, 5, 10)  # support points in range; in the other ways there are 5
RANGES = {"in range": ((-5, 5), (-5, 5)), "out of range": ((-5, 10), (-5, 10)), "beyond": ((-5, 5), (5, 10))}
LEVELS = tuple(n / 10 for n in range(1, 10))  # probabilities of central intervals
META_BATCH = 25
MEMBERS = 5  # of an ensemble
INNER_STEPS = 10  # of MAML, at a test
FEW = (10, 100, 1000)  # training tasks of the second part
POINTS = 20  # that are known of each of these
TEST_SEED = 1
FAILED = 100.0  # a task with a larger error is left out and counted
Sampler = Callable[[torch.Generator], Episode]
Predictive = Callable[[Episode], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Method:
    """How a method is trained.

    Args:
        title: its name.
        learner: the learner.
        steps: meta-steps.
        outer_lr: the rate of the first step; it falls to 0 in a straight line.
        points: support points and queries of a training task; 0 support points: 1 to 10 of them, drawn for each step.
        longest: the length to which longer meta-gradients are shortened, which MAML needs to be stable; None: none is.
    """

    title: str
    learner: Learner
    steps: int
    outer_lr: float
    points: tuple[int, int]
    longest: float | None = None


METHODS = {
    "alpaca": Method("ALPaCA", ALPaCA(Tanh((1, 64, 64, 32)), noise=NOISE), 2000, 3e-3, (0, 10)),
    "dkt": Method("deep kernel transfer", DeepKernelTransfer(Tanh((1, 40, 40, 2)), mixtures=2), 1500, 1e-2, (5, 5)),
    "spectral": Method("GP, spectral kernel", DeepKernelTransfer(None, mixtures=2), 800, 3e-2, (5, 5)),
    "rbf": Method("GP, RBF kernel", DeepKernelTransfer(None, "rbf"), 600, 3e-2, (5, 5)),
    "maml": Method("MAML", MAML(MLP(), mse, inner_lr=0.03, inner_steps=3), 2500, 1e-2, (5, 10), longest=1.0),
}
JUDGED = ("alpaca", "dkt", "spectral", "rbf")  # and an ensemble of MAMLs
TASK_METHODS = ("alpaca", "dkt", "maml")  # in the second part


def measured(episode: Episode, generator: torch.Generator, noise: float = NOISE) -> Episode:
    """Return the episode with noise of standard deviation `noise` in all its y, queries included."""

    def with_noise(y: Tensor) -> Tensor:
        return y + noise * torch.randn(y.shape, generator=generator, device=y.device, dtype=y.dtype)

    support_y, query_y = with_noise(episode.support_y), with_noise(episode.query_y)
    return Episode(episode.support_x, support_y, episode.query_x, query_y)


def shots_of(method: Method, generator: torch.Generator) -> int:
    """Return the number of support points of a step."""
    return method.points[0] or int(torch.randint(1, 11, (), generator=generator, device=generator.device))


def fresh(method: Method) -> Sampler:
    """Return a sampler of new waves for each step."""

    def sample(generator: torch.Generator) -> Episode:
        return measured(sine.sample(META_BATCH, shots_of(method, generator), method.points[1], generator), generator)

    return sample


def few(method: Method, tasks: int, seed: int) -> tuple[Sampler, sine.Sine]:
    """Return a sampler of few waves, of each of which POINTS measurements are known, and these waves."""
    generator = torch.Generator().manual_seed(10_000 + seed)
    waves = sine.Sine.draw(tasks, generator)
    known = measured(waves.episode(POINTS, 1, generator), generator)

    def sample(generator: torch.Generator) -> Episode:
        which = torch.randint(tasks, (META_BATCH,), generator=generator)
        shots = shots_of(method, generator)
        order = torch.rand(META_BATCH, POINTS, generator=generator).argsort(1)[:, : shots + method.points[1], None]
        x, y = known.support_x[which].gather(1, order), known.support_y[which].gather(1, order)
        return Episode(x[:, :shots], y[:, :shots], x[:, shots:], y[:, shots:])

    return sample, waves


def trainer(method: Method, sample: Sampler, seed: int, device: str | torch.device = "cpu") -> Trainer:
    """Return a training that has not begun. Nothing is recorded on a GPU, because the number of points changes."""

    def rate(number: int) -> float:
        return method.outer_lr * max(0.0, 1 - (number - 1) / method.steps)

    optimizer = partial(ClippedAdam, longest=method.longest) if method.longest else Adam
    return Trainer(method.learner, sample, outer_lr=rate, optimizer=optimizer, seed=seed, device=device, recordings=0)


def trained(method: Method, sample: Sampler, seed: int) -> Params:
    """Return the parameters after a whole training."""
    training = trainer(method, sample, seed)
    training.step(method.steps)
    return {name: p.clone() for name, p in training.params.items()}


def predictive(method: str, params: Params) -> Predictive:
    """Return what maps an episode to the mean and the variance of new measurements at its queries."""
    learner = METHODS[method].learner
    if method == "maml":
        return ensemble([params])
    return lambda episode: learner.predictive(params, episode)  # type: ignore[attr-defined]


def ensemble(members: list[Params], steps: int = INNER_STEPS) -> Predictive:
    """Return the answer of MAMLs that were trained from other seeds (Lakshminarayanan et al. 2017, section 2.4).

    Each adapts by itself. The mean is the mean of their answers, and the variance is that of their answers, and the
    noise.
    """
    learner = replace(METHODS["maml"].learner, inner_steps=steps)  # type: ignore[type-var]

    def answer(episode: Episode) -> tuple[Tensor, Tensor]:
        answers = torch.stack([learner.predict(params, episode) for params in members])
        return answers.mean(0), answers.var(0, correction=0) + NOISE**2

    return answer


def exact(episode: Episode) -> tuple[Tensor, Tensor]:
    """Return the mean and the variance of the exact Bayesian answer for the family."""
    posterior = SinePosterior.of(episode.support_x, episode.support_y, noise=NOISE)
    return posterior.mean(episode.query_x), posterior.variance(episode.query_x) + NOISE**2


def exam(way: str, shots: int, *, waves: sine.Sine | None = None, tasks: int = TASKS) -> Episode:
    """Return test tasks, always the same ones.

    Args:
        way: one of RANGES.
        shots: support points of each.
        waves: the waves; None: new ones, which no training has seen.
        tasks: how many.

    Raises:
        TypeError, ValueError: there is no such way, or a number is less than 1.
    """
    one_of([*RANGES], way=way)
    whole(shots=shots, tasks=tasks)
    generator = torch.Generator().manual_seed(TEST_SEED)
    if waves is None:
        waves = sine.Sine.draw(tasks, generator)
    else:
        which = torch.arange(tasks) % len(waves.amplitude)
        waves = sine.Sine(waves.amplitude[which], waves.phase[which])
    (low, high), (first, last) = RANGES[way]
    # The points come last and in the order of the support set, so that with more shots the first ones are the same.
    query_x = first + (last - first) * torch.rand(tasks, QUERIES, 1, generator=generator)
    query_noise = NOISE * torch.randn(tasks, QUERIES, 1, generator=generator)
    support_x = low + (high - low) * torch.rand(tasks, max(SHOTS), 1, generator=generator)[:, :shots]
    support_noise = NOISE * torch.randn(tasks, max(SHOTS), 1, generator=generator)[:, :shots]
    return Episode(support_x, waves(support_x) + support_noise, query_x, waves(query_x) + query_noise)


def half_width(level: float) -> float:
    """Return how many standard deviations a normal variable's central interval of a probability reaches either way."""
    return float(torch.special.ndtri(torch.tensor((1 + level) / 2, dtype=torch.float64)))


def judge(answer: Predictive, episode: Episode) -> dict[str, Any]:
    """Return how good the means and variances are, over all queries of all tasks.

    Returns:
        "error": the mean squared error from the measurements, noise included; "nll": the mean negative log-likelihood
        in nats; "coverage": for each of LEVELS, the share of the measurements in the interval; "failed": how many tasks
        are left out of the three, because the error is above FAILED or no number, as where gradient steps diverge.
    """
    mean, variance = answer(episode)
    good = (mean - episode.query_y).square().mean((1, 2)) < FAILED
    y, mean, variance = episode.query_y[good], mean[good], variance[good]
    off = ((y - mean) / variance.sqrt()).abs()
    return {
        "error": round((y - mean).square().mean().item(), 5),
        "nll": round(-log_density(y, mean, variance).mean().item(), 4),
        "coverage": [round((off <= half_width(level)).double().mean().item(), 4) for level in LEVELS],
        "failed": int((~good).sum()),
    }


def judged_everywhere(answer: Predictive) -> dict[str, Any]:
    """Return what `judge` finds in each way of RANGES: in range by the number of support points, else with 5."""
    found = {f"in range, {shots}": judge(answer, exam("in range", shots)) for shots in SHOTS}
    return found | {way: judge(answer, exam(way, 5)) for way in list(RANGES)[1:]}


# The command


class Study:
    """The trainings that the command makes, in a file that grows with each of them."""

    def __init__(self, path: Path, seeds: int, steps: int | None) -> None:
        self.path, self.seeds = path, seeds
        self.methods = {
            name: method if steps is None else Method(**vars(method) | {"steps": steps})
            for name, method in METHODS.items()
        }
        about = {
            "command": "python -m metalab.experiments.uncertainty",
            "metalab": __version__,
            "torch": torch.__version__,
            "machine": machine.name("cpu"),
            "noise": NOISE,
            "tasks": TASKS,
            "steps": {name: method.steps for name, method in self.methods.items()},
        }
        self.found: dict[str, Any] = about | {"exact": None, "runs": [], "few": []}
        if path.exists():
            before = json.loads(path.read_text())
            if before.get("steps") != about["steps"] or before.get("noise") != NOISE:
                raise ValueError(f"{path} is of another study: name another file")
            self.found |= {name: before[name] for name in ("exact", "runs", "few")}

    def run(self, members: Path | None) -> None:
        """Make the trainings that are missing. The members of the first ensemble are saved if a file is named."""
        if not self.found["exact"]:
            self.found["exact"] = judged_everywhere(exact)
            self._save()
        for seed in range(self.seeds):
            for name in JUDGED:
                if not self._has("runs", method=name, seed=seed):
                    params = trained(self.methods[name], fresh(self.methods[name]), seed)
                    self._add("runs", {"method": name, "seed": seed, **judged_everywhere(predictive(name, params))})
            for name in TASK_METHODS:
                for tasks in (*FEW, None):
                    if not self._has("few", method=name, seed=seed, tasks=tasks):
                        self._add("few", self._with_few(name, tasks, seed))
            if not self._has("runs", method="ensemble", seed=seed):
                maml = self.methods["maml"]
                params = [trained(maml, fresh(maml), MEMBERS * seed + member) for member in range(MEMBERS)]
                if seed == 0 and members:
                    halves = {name: torch.stack([p[name] for p in params]).half() for name in params[0]}
                    about = {"what": "5 MAMLs, 5 shots, noise 0.1", "command": self.found["command"]}
                    checkpoint.save(members, halves, about)
                self._add("runs", {"method": "ensemble", "seed": seed, **judged_everywhere(ensemble(params))})

    def _with_few(self, name: str, tasks: int | None, seed: int) -> dict[str, Any]:
        method = self.methods[name]
        sample, waves = (fresh(method), None) if tasks is None else few(method, tasks, seed)
        answer = predictive(name, trained(method, sample, seed))
        found = {"method": name, "tasks": tasks, "seed": seed, "new": judge(answer, exam("in range", 5))}
        if waves:
            found["seen"] = judge(answer, exam("in range", 5, waves=waves))
        return found

    def _has(self, part: str, **key: Any) -> bool:
        return any(all(run[name] == value for name, value in key.items()) for run in self.found[part])

    def _add(self, part: str, run: dict[str, Any]) -> None:
        self.found[part].append(run)
        self._save()
        key = {name: value for name, value in run.items() if not isinstance(value, dict)}
        print(key, (run.get("new") or run.get("in range, 5"))["error"], flush=True)

    def _save(self) -> None:
        replace_file(self.path, (json.dumps(self.found) + "\n").encode())  # nothing is lost by an interrupt


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m metalab.experiments.uncertainty", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seeds", type=int, default=4, help="how many seeds, from 0 on (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="meta-steps of every training (default: each method's own)")
    parser.add_argument("--json", type=Path, default=Path("build/uncertainty.json"), help="the file (%(default)s)")
    parser.add_argument("--members", type=Path, help="save the first ensemble of MAMLs here (default: do not)")
    options = parser.parse_args(arguments)
    try:
        whole(most=100, **{"--seeds": options.seeds})
        if options.steps is not None:
            whole(**{"--steps": options.steps})
        options.json.parent.mkdir(parents=True, exist_ok=True)
        for path in filter(None, (options.json, options.members)):
            check_replaceable(path)
        study = Study(options.json, options.seeds, options.steps)
    except (TypeError, ValueError, OSError) as error:
        parser.error(str(error))
    torch.set_num_threads(1)
    study.run(options.members)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
