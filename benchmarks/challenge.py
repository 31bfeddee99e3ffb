"""Lake's one-shot challenge: how few errors can one network make, and what does each ingredient of its training buy?

python -m benchmarks challenge --device cuda --json build/challenge.json      # all parts, in the order below
python -m benchmarks challenge --quick                                        # tries the command out

    search     candidates for the recipe, for a short time, on 25 background alphabets     the 5 held-out alphabets
    final      the best of them, trained on the 30 background alphabets                    the challenge
    minimal    the recipe, trained on each of the author's minimal sets of 5 alphabets     the challenge
    ablation   the recipe, and the recipe without one ingredient, on the 25                the 5 held-out alphabets

Ingredients are judged by the held-out alphabets (`Characters.hold_out`) alone: the challenge is met by the networks of
the final recipe only. There, a test is as in the challenge: 20 characters of one alphabet, one person's drawings of
them as the support set, and another person's as the queries. All pairs of people are used.

A training takes as many steps as fit into its time; the rate of the steps is measured first. After each training, the
file is written, and with the same file the command goes on where it stopped. Beside it, each final network is saved in
half precision, as which it is scored.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metalab.experiments import machine
from metalab.experiments.challenge import Answering
from metalab.files import check_replaceable, replace_file
from metalab.learners import NPair
from metalab.nets import Conv4, Params
from metalab.optim import Adam, Averaged, Muon, Optimizer
from metalab.residual import Residual
from metalab.tasks import Characters, Groups, distort, omniglot
from metalab.train import Diverged, Trainer

from .speedrun import Sampler, clock

PARTS = ("search", "final", "minimal", "ablation")
WAYS = 20
SUBSETS = 10  # of 20 characters of each held-out alphabet
PICTURES = 1000  # training pictures that batch norm's statistics are measured on
WARM_UP = 100  # steps in which the rate rises to its full height
TRIAL, TIMED = 10, 20  # steps before the rate of the steps is measured, and steps that are timed
AT_ONCE = 10  # steps; then their loss is read, and a divergence is noticed


# The recipe


@dataclass(frozen=True)
class Training:
    """The whole recipe; each ingredient is a field.

    Args:
        side: the pixels of a side.
        residual: whether the network is a residual one, instead of the papers' Conv4 with max-pooling.
        widths: the channels of its stages.
        groups, drawings: of a step: groups of 20 characters, and drawings of each character.
        within: how many of these groups have the characters of one alphabet.
        same_drawers: whether the k-th drawings of such a group are by one person.
        temperature: of the N-pair loss.
        affine, elastic, strokes: the strengths of the distortions.
        muon: whether Muon takes the steps of the residual network, instead of Adam.
        rate: the highest outer learning rate.
        cosine: whether the rate falls along half a cosine, instead of staying the same.
        average: the decay of the averaged parameters that are tested; 0: the last ones are.
        views: how many views of a test picture are embedded and averaged: itself, and mild distortions.
    """

    side: int = 56
    residual: bool = True
    widths: tuple[int, ...] = (64, 128, 256, 256)
    groups: int = 8
    drawings: int = 4
    within: int = 6
    same_drawers: bool = True
    temperature: float = 0.1
    affine: float = 1.0
    elastic: float = 1.0
    strokes: float = 0.5
    muon: bool = True
    rate: float = 2e-2
    cosine: bool = True
    average: float = 0.99
    views: int = 16

    def learner(self, *, half: bool) -> NPair:
        """Return the learner; `half` says whether its convolutions are computed in bfloat16."""
        residual = Residual(self.widths, halve_first=self.side > 40, bfloat16=half)
        return NPair(residual if self.residual else Conv4(pool="max"), temperature=self.temperature)

    def sampler(self, source: Characters) -> Sampler:
        """Return what draws the groups of a step, distorted."""
        parts = [
            (count, Groups(source, WAYS, self.drawings, within_alphabet=within, same_drawers=self.same_drawers))
            for count, within in ((self.within, True), (self.groups - self.within, False))
            if count
        ]
        strengths = {"strength": self.affine, "elastic": self.elastic, "strokes": self.strokes}

        def sample(generator: torch.Generator) -> Tensor:
            return distort(torch.cat([draw(count, generator) for count, draw in parts]), generator, **strengths)

        return sample

    def optimizer(self, learner: NPair) -> Callable[[Tensor], Optimizer]:
        """Return what makes the optimizer."""
        of: Callable[[Tensor], Optimizer] = Adam
        if self.muon:
            layout = {name: p.shape for name, p in learner.init(torch.Generator()).items()}
            first = next(iter(layout))  # its rows are pixels
            hidden = [name for name in layout if name.startswith("conv") and name != first]
            of = partial(Muon, layout=layout, hidden=hidden, share=0.1)
        return partial(Averaged, of=of, decay=self.average)


CANDIDATES = {
    "Muon": Training(),
    "Muon, lower temperature": Training(temperature=0.05),
    "Muon, lower rate": Training(rate=7e-3),
    "Adam": Training(muon=False, rate=2e-3),
}
WITHOUT: dict[str, dict[str, Any]] = {  # what an ingredient is replaced by, in the order of what would be missed most
    "full recipe": {},
    "residual network": {"residual": False},
    "larger pictures": {"side": 28},
    "tasks within an alphabet": {"within": 0},
    "all distortions": {"affine": 0.0, "elastic": 0.0, "strokes": 0.0},
    "elastic distortions": {"elastic": 0.0},
    "cosine schedule": {"cosine": False},
    "tasks of one drawer": {"same_drawers": False},
    "strokes' width": {"strokes": 0.0},
}
QUICK = {"side": 28, "widths": (4, 4, 4, 4), "groups": 2, "within": 1, "drawings": 2, "views": 2}
QUICK_STEPS = 3
Loader = Callable[[str, int], tuple[Characters, Characters]]


def train(
    training: Training, source: Characters, *, seed: int, seconds: float, steps: int | None, record: bool = True
) -> tuple[Trainer, dict[str, Any]]:
    """Train from scratch on characters, for some seconds or for a number of steps.

    Args:
        training: the recipe.
        source: the characters, each of whose turns is a character. They decide on the device.
        seed: seed of the training.
        seconds: how long it takes once the rate of its steps is measured, if the number of steps is not given.
        steps: the number of steps.
        record: whether a GPU replays a recording of the step.

    Returns:
        The trainer, and the number of steps, the seconds of the training, the pictures in a second and the last loss.
    """
    device = source.images.device
    gpu = device.type == "cuda"
    learner = training.learner(half=gpu)
    total = steps or math.inf

    def rate(step: int) -> float:
        share = (step - 1) / total if training.cosine else 0.0
        return training.rate * min(1.0, step / WARM_UP) * (1 + math.cos(math.pi * share)) / 2

    torch.backends.cudnn.benchmark = gpu  # all steps have the same shapes; the tests have not
    start = clock(device)
    trainer = Trainer(
        learner,
        training.sampler(source.with_rotations()),
        outer_lr=rate,
        optimizer=training.optimizer(learner),
        seed=seed,
        device=device,
        recordings=1 if record else 0,
    )
    if not steps:
        trainer.step(TRIAL)  # libraries choose their kernels, and a GPU records the step
        before = clock(device)
        trainer.step(TIMED)
        total = TRIAL + TIMED + max(1, int(seconds / (clock(device) - before) * TIMED))
    for step in trainer.run(int(total) - trainer.steps, every=AT_ONCE):
        loss = step.metrics["loss"]
    took = clock(device) - start
    torch.backends.cudnn.benchmark = False
    pictures = trainer.steps * training.groups * WAYS * training.drawings / took
    return trainer, {"steps": trainer.steps, "seconds": took, "pictures per second": pictures, "last loss": loss}


# The tests


class Tested:
    """A trained network as it is tested: in half precision, with statistics of training pictures.

    Args:
        training: its recipe.
        params: its parameters.
        source: the characters it was trained on.
        views: how many views of a picture are embedded and averaged.
    """

    def __init__(self, training: Training, params: Params, source: Characters, views: int) -> None:
        half = {name: p.half().float() for name, p in params.items()}
        generator = torch.Generator(source.images.device).manual_seed(0)
        pictures, _labels = source.batch(PICTURES, generator)  # upright, as the test's
        learner = training.learner(half=False).with_statistics(half, pictures)
        self.network = Answering(learner, half, training.side)
        self.views = views

    def embed(self, images: Tensor) -> Tensor:
        """Embed pictures [..., 1, H, W], each by itself: [..., E], of length 1."""
        return self.network.embed(images, views=self.views)

    def challenge(self, evaluation: Characters) -> dict[str, Any]:
        """Return the errors in the challenge's 400 trials, and their share with its 95 % interval."""
        wrong = self.network.wrong(evaluation, views=self.views)
        return {"errors": int(wrong.sum()), "trials": wrong.numel(), **wilson(int(wrong.sum()), wrong.numel())}

    def held_out(self, validation: Characters, subsets: int = SUBSETS) -> dict[str, float]:
        """Return the share of errors on tasks as in the challenge, of each alphabet with at least 20 characters."""
        found = {}
        generator = torch.Generator().manual_seed(0)
        for i, name in enumerate(validation.names):
            images = validation.images[validation.alphabet == i]
            if len(images) < WAYS:
                continue
            z = self.embed(images.unsqueeze(2).float() / 255)  # [C, 20, E]
            others = ~torch.eye(z.shape[1], dtype=torch.bool, device=z.device)
            errors = []
            for _ in range(subsets):
                some = z[torch.randperm(len(z), generator=generator)[:WAYS].to(z.device)]
                nearest = torch.einsum("pke,qle->pklq", some, some).argmax(3)  # [20 queries, k, l]
                wrong = nearest != torch.arange(WAYS, device=z.device)[:, None, None]
                errors.append(wrong[:, others].double().mean())
            found[name] = torch.stack(errors).mean().item()
        return found | {"mean": sum(found.values()) / len(found)}

    def save(self, path: Path, note: dict[str, Any]) -> None:
        """Save the network with a note."""
        replace(self.network, about=note).save(path)


def wilson(errors: int, trials: int) -> dict[str, Any]:
    """Return a share of errors with its 95 % interval (Wilson 1927)."""
    share, z = errors / trials, 1.96
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    return {"share": share, "interval": [middle - half, middle + half]}


def ways_to_test(training: Training, trainer: Trainer) -> Iterator[tuple[str, Params, int]]:
    """Yield the parameters and the number of views: of the recipe, and without its last two ingredients."""
    yield "recipe", trainer.averaged(), training.views
    yield "without views", trainer.averaged(), 1
    yield "without averaged weights", trainer.params, training.views
    yield "without both", trainer.params, 1


# The command


def plan(parts: list[str], seeds: int) -> Iterator[tuple[str, str, int]]:
    """Return the trainings, each as its part, its name and its seed; what would be missed most comes first."""
    everything = [("search", name, 0) for name in CANDIDATES]
    everything += [("final", "alphabets", seed) for seed in range(seeds)]
    for seed in range(seeds):
        everything += [("minimal", name, seed) for name in omniglot.MINIMAL]
        everything += [("ablation", name, seed) for name in WITHOUT]
    return (training for training in everything if training[0] in parts)


def best(runs: list[dict[str, Any]]) -> str:
    """Return the candidate with the fewest errors on the held-out alphabets; the first one if there was no search."""
    found = {run["name"]: run["errors"]["recipe"]["mean"] for run in runs if run["part"] == "search" and run["errors"]}
    return min(found, key=found.__getitem__, default=next(iter(CANDIDATES)))


def measure(
    part: str, name: str, seed: int, full: Training, load: Loader, device: torch.device, options: argparse.Namespace
) -> dict[str, Any]:
    """Train once, and test."""
    training = {"search": CANDIDATES.get(name), "ablation": replace(full, **WITHOUT.get(name, {}))}.get(part) or full
    steps = options.steps
    if options.quick:
        training, steps = replace(training, **QUICK), QUICK_STEPS
    source, evaluation = load(name if part == "minimal" else "alphabets", training.side)
    tests = {"challenge": evaluation.to(device)}
    if part in ("search", "ablation"):
        source, held_out = source.hold_out()
        tests = {"held out": held_out.to(device)}
    source = source.to(device)
    found = {"part": part, "name": name, "seed": seed, "recipe": asdict(training), "errors": {}}
    try:
        trainer, took = train(
            training, source, seed=seed, seconds=seconds(part, options), steps=steps, record=not options.no_recording
        )
    except Diverged as fault:
        return found | {"diverged": str(fault)}
    found |= took
    for how, params, views in ways_to_test(training, trainer):
        tested = Tested(training, params, source, views)
        if "challenge" in tests:
            found["errors"][how] = tested.challenge(tests["challenge"])
        else:
            found["errors"][how] = tested.held_out(tests["held out"], 1 if options.quick else SUBSETS)
        if how == "recipe" and part in ("final", "minimal") and options.json:
            note = {key: value for key, value in found.items() if key != "errors"} | found["errors"][how]
            tested.save(options.json.with_name(f"challenge-{name}-seed{seed}.safetensors"), note)
    return found


def seconds(part: str, options: argparse.Namespace) -> float:
    """Return how long each training of a part takes: a quarter in a search, half in an ablation and a minimal set."""
    return options.seconds * {"search": 0.25, "final": 1.0}.get(part, 0.5)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m benchmarks challenge`."""
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS), help="only these parts (default: all)")
    parser.add_argument("--only", nargs="+", choices=list(WITHOUT), metavar="INGREDIENT", help="of the ablation")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each kind (default 3)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=40.0,
        help="of each final training (default 40); a quarter of it in the search, half in the other parts",
    )
    parser.add_argument("--steps", type=int, help="meta-steps of each training, instead of --seconds")
    parser.add_argument("--budget", type=float, default=math.inf, help="seconds after which no training could end")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda (default cpu)")
    parser.add_argument("--no-recording", action="store_true", help="do not record the step as a CUDA graph")
    parser.add_argument("--quick", action="store_true", help="a tiny network and a few steps: tries the command out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measurements there, after each training")


def run(options: argparse.Namespace) -> int:
    """Do the trainings of the plan that the file does not have already.

    Raises:
        ValueError: there is no such device, an option is out of its range, or the file holds something else.
        OSError: the file cannot be written.
    """
    start = time.perf_counter()
    try:
        device = torch.device(options.device)
    except RuntimeError as fault:
        raise ValueError(f"--device {options.device} is no device: it must be cpu or cuda") from fault
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"--device {options.device}: PyTorch finds no such GPU here; leave it out to train on the CPU")
    for name in ("seeds", "seconds", "steps", "budget"):
        if getattr(options, name) is not None and not getattr(options, name) > 0:
            raise ValueError(f"--{name} {getattr(options, name)} must be above 0")
    found: dict[str, Any] = {"machine": machine.about(device), "quick": options.quick, "runs": []}
    if options.json:
        check_replaceable(options.json)
        if options.json.exists():
            try:
                before = json.loads(options.json.read_text())
            except ValueError as fault:
                raise ValueError(f"--json {options.json} is damaged: {fault}") from fault
            if not isinstance(before, dict) or before.get("quick") != options.quick or "runs" not in before:
                raise ValueError(f"--json {options.json} was measured in another way: name another file")
            found = before
    load = cache(lambda split, side: omniglot.load(split, side=side))
    done = {(run["part"], run["name"], run["seed"]) for run in found["runs"]}
    for part, name, seed in plan(options.part, options.seeds):
        if (part, name, seed) in done or (part == "ablation" and options.only and name not in options.only):
            continue
        if time.perf_counter() - start + seconds(part, options) > options.budget:
            print(f"{part}, {name}, seed {seed}: left out, because it could not end within the budget")
            continue
        full = CANDIDATES[best(found["runs"])]
        found["runs"].append(measure(part, name, seed, full, load, device, options))
        print(describe(found["runs"][-1]), flush=True)
        if options.json:
            replace_file(options.json, f"{json.dumps(found, indent=1, ensure_ascii=False)}\n".encode())
    return 0


def describe(run: dict[str, Any]) -> str:
    """Return one training in a line."""
    if "diverged" in run:
        return f"{run['part']}, {run['name']}, seed {run['seed']}: {run['diverged']}"
    errors = {how: e["mean"] if "mean" in e else e["share"] for how, e in run["errors"].items()}
    what = f"without {run['name']}" if run["part"] == "ablation" and run["name"] != "full recipe" else run["name"]
    return (
        f"{run['part']}, {what}, seed {run['seed']}: {run['steps']} steps in {run['seconds']:.0f} s, "
        f"loss {run['last loss']:.3f}; errors: {', '.join(f'{how} {e:.2%}' for how, e in errors.items())}"
    )
