r"""Which features forget less? A stream of classes, and a stream of waves, each seen once, over training seeds.

    python -m metalab.experiments.continual --json build/continual.json    # about 6 minutes on one core

**Characters.** Three representations are trained on Omniglot's background alphabets, apart from the validation
alphabets; the network is that of `metalab.experiments.domains`:

    prototypes           a prototypical network, as in that study
    OML                  from there on by OML (Javed & White 2019): streams of 20 classes, 5 drawings of each
    OML, shuffled        the same, but the drawings of a training's stream come in random order

The last two differ in one thing alone, the order of the stream that they are trained on. (The paper starts OML from
random parameters and takes many more steps.) The test is on classes of other alphabets. Their features are fixed, 15
drawings of each class come once, class by class, and 5 others are asked about at the end of the stream. Five learners
use the features:

    steps                a linear layer from 0 takes a gradient step on each drawing; its rate is chosen by streams of
                         the validation alphabets, for each representation and number of classes by itself
    steps, shuffled      the same with the same rate, and the drawings in random order
    steps, centred       the same in the order of the stream, on centred features: minus the mean of training pictures,
                         and then of length 1; their rate is chosen by itself
    running mean         the nearest class mean
    closed form          ALPaCA's posterior, with the prior N(0, σ² I / λ); λ is chosen as the rate is

**Waves.** The input is x and the number of a wave, one of ten, as in the paper; the waves come one after the other. The
features are trained by OML, with the stream in its order or shuffled, on new waves at each step (the paper has 400
waves, 6 layers of 300 units, and 2 layers after the features; here, there are 3 of 64, and 1 layer).

The file is written after each training. A second call with the same file goes on where the first one was cut.
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

from .. import __version__
from ..arguments import shapes, whole
from ..files import check_replaceable, replace_file
from ..learners import ALPaCA
from ..learners.alpaca import MEAN, ROOT
from ..learners.oml import OML, learn_online
from ..nets import Params, Tanh, for_tasks
from ..tasks import Characters, Episode, omniglot, sine
from ..train import Trainer
from . import domains, machine

CLASSES = (10, 20, 50, 100, 200)  # of a stream
SHOWN = 15  # of the 20 drawings of a class are in the stream; the others are asked about
DRAWS = 5  # of the classes, for each training
AGES = 10  # parts of a stream, by age, whose accuracies are kept
RATES = tuple(10 ** (k / 2) for k in range(-8, 1))
PRECISIONS = tuple(10.0**k for k in range(-3, 4))  # λ
OML_STEPS, OML_RATE, INNER_RATE = 600, 3e-3, 0.1
REPRESENTATIONS = ("prototypes", "OML", "OML, shuffled")

WAVES, POINTS, BATCH = 10, 32, 8  # of a stream of waves: 32 points of each, in steps of 8
WAVE_NET = Tanh((1 + WAVES, 64, 64, 64))
WAVE_TRAJECTORIES, WAVE_STEPS, WAVE_RATE, WAVE_INNER_RATE = 8, 2000, 3e-3, 0.03
WAVE_TESTS = 100  # streams
WAVE_ORDERS = ("OML", "OML, shuffled")


# Streams of classes


def in_random_order(episode: Episode, generator: torch.Generator) -> Episode:
    """Return the episode with its support set in random order, the same for all of its tasks."""
    examples = episode.support_x.shape[1]
    order = torch.randperm(examples, generator=generator, device=generator.device)
    return replace(episode, support_x=episode.support_x[:, order], support_y=episode.support_y[:, order])


def trained(name: str, source: Characters, seed: int, start: Params | None = None, steps: int | None = None) -> Params:
    """Return the parameters of an embedding after a whole training.

    Args:
        name: one of REPRESENTATIONS.
        source: the training characters.
        seed: of the training.
        start: the parameters that OML starts from.
        steps: how many; None: the training's own.
    """
    if name == "prototypes":
        training = domains.trainer(domains.TRAININGS["prototypical"], source, seed, steps)
        planned = steps or domains.TRAININGS["prototypical"].steps
    else:
        planned = steps or OML_STEPS

        def sample(generator: torch.Generator) -> Episode:
            stream = source.sample(1, 20, 5, 3, generator)
            return stream if name == "OML" else in_random_order(stream, generator)

        learner = OML(domains.EMBEDDING, inner_lr=INNER_RATE)
        rate = _falling(OML_RATE, planned)
        training = Trainer(learner, sample, outer_lr=rate, seed=seed, params=start, recordings=0)
    training.step(planned)
    return {key: p.clone() for key, p in training.params.items()}


def _falling(first: float, steps: int) -> Callable[[int], float]:
    return lambda number: first * max(0.0, 1 - (number - 1) / steps)


def centred(z: Tensor, mean: Tensor) -> Tensor:
    """Return features [..., E] without what they have in common, the mean of training pictures [E], at length 1."""
    return torch.nn.functional.normalize(z - mean, dim=-1)


@torch.no_grad()
def features(body: Params, source: Characters, stats: Params) -> Tensor:
    """Return the features of all drawings of all characters: [C, D, E]."""
    one = for_tasks(body, 1)
    parts = (source.images[:, :, None].float() / 255).split(25)
    z = [domains.EMBEDDING(one, part.flatten(0, 1)[None], stats=stats)[0] for part in parts]
    return torch.cat(z).unflatten(0, source.images.shape[:2])


def stream(z: Tensor, ways: int, seed: int, *, shuffled: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Return a stream of some classes, its labels, and what is asked at its end.

    Args:
        z: features [C, D, E] of all classes.
        ways: N, how many of them come.
        seed: of their choice and order; also of the drawings', if they are shuffled.
        shuffled: whether all drawings come in random order, instead of class by class.

    Returns:
        [N·15, E], [N·15] int64, and [N, D − 15, E].

    Raises:
        TypeError, ValueError: the features are no such tensor, or there are fewer classes or drawings.
    """
    sizes = shapes(z=(z, "C D E"))
    whole(most=sizes["C"], what="the classes", ways=ways)
    whole(least=SHOWN + 1, **{"the drawings of a class": sizes["D"]})
    generator = torch.Generator().manual_seed(seed)
    z = z[torch.randperm(len(z), generator=generator)[:ways]]
    shown, y = z[:, :SHOWN].flatten(0, 1), torch.arange(ways).repeat_interleave(SHOWN)
    if shuffled:
        order = torch.randperm(len(y), generator=generator)
        shown, y = shown[order], y[order]
    return shown, y, z[:, SHOWN:]


def right(scores: Tensor) -> Tensor:
    """Return the share of right answers of each class [N], from the scores [N, Q, N] of its queries."""
    return (scores.argmax(2) == torch.arange(len(scores))[:, None]).double().mean(1)


def by_steps(z: Tensor, y: Tensor, asked: Tensor, rate: float) -> Tensor:
    """Return the scores of a linear layer that took a gradient step on each example in turn."""
    return asked @ learn_online(z[None], y[None], len(asked), rate)[0]


def by_means(z: Tensor, y: Tensor, asked: Tensor) -> Tensor:
    """Return minus the distances from the class means."""
    member = torch.nn.functional.one_hot(y, len(asked)).to(z.dtype)
    return -torch.cdist(asked, member.T @ z / member.sum(0)[:, None])


def in_closed_form(z: Tensor, y: Tensor, asked: Tensor, precision: float) -> Tensor:
    """Return the mean answers of ALPaCA's posterior after the examples; the own class is 1, and all others are −1.

    It is made of two sums over the examples, of φφᵀ and of φyᵀ, so that examples may come one by one and in any order.
    """
    identity = torch.eye(z.shape[1], dtype=torch.float64)
    prior = {ROOT: math.sqrt(precision) * identity[None], MEAN: torch.zeros(1, z.shape[1], 1, dtype=torch.float64)}
    targets = 2 * torch.nn.functional.one_hot(y, len(asked)).double() - 1
    weights, _factor = ALPaCA(domains.EMBEDDING).posterior(prior, z[None].double(), targets[None])
    return asked.double() @ weights[0]


def chosen(
    held: Tensor, ways: int, scores: Callable[[Tensor, Tensor, Tensor, float], Tensor], among: tuple[float, ...]
) -> float:
    """Return the setting with the highest accuracy on streams of validation classes, the mean of three."""
    streams = [stream(held, min(ways, len(held)), seed) for seed in range(3)]
    accuracy = {value: sum(right(scores(*one, value)).mean().item() for one in streams) for value in among}
    return max(accuracy, key=accuracy.__getitem__)


def judged(held: Tensor, test: Tensor, mean: Tensor, classes: tuple[int, ...]) -> dict[str, Any]:
    """Return what the five learners make of features, by the number of classes; the means of DRAWS streams.

    Args:
        held: features of the validation characters [C', D, E].
        test: features of the test characters [C, D, E].
        mean: the mean of the features of training pictures [E].
        classes: the numbers of classes.

    Returns:
        for each number of classes, the chosen settings, the accuracy of each learner, and its accuracy "by age", in
        tenths of the stream from the oldest on.
    """
    found: dict[str, Any] = {}
    for ways in classes:
        rate, precision = chosen(held, ways, by_steps, RATES), chosen(held, ways, in_closed_form, PRECISIONS)
        other_rate = chosen(centred(held, mean), ways, by_steps, RATES)
        totals: dict[str, Any] = {}
        for seed in range(DRAWS):
            ordered, mixed = (stream(test, ways, seed, shuffled=shuffled) for shuffled in (False, True))
            accuracy = {
                "steps": by_steps(*ordered, rate),
                "steps, shuffled": by_steps(*mixed, rate),
                "steps, centred": by_steps(*stream(centred(test, mean), ways, seed), other_rate),
                "running mean": by_means(*ordered),
                "closed form": in_closed_form(*ordered, precision),
            }
            for learner, scores in accuracy.items():
                totals[learner] = totals.get(learner, 0) + right(scores) / DRAWS
        ages = {learner: [part.mean().item() for part in share.tensor_split(AGES)] for learner, share in totals.items()}
        found[str(ways)] = {
            "settings": {"rate": rate, "rate, centred": other_rate, "precision": precision},
            "accuracy": {learner: round(share.mean().item(), 4) for learner, share in totals.items()},
            "by age": {learner: [round(a, 4) for a in shares] for learner, shares in ages.items()},
        }
    return found


# Streams of waves


def wave_streams(trajectories: int, generator: torch.Generator) -> Episode:
    """Draw streams of ten waves, one wave after the other: support [T, 320, 11], and queries [T, 100, 11].

    The input is x, and a 1 at the number of its wave among ten numbers.
    """
    waves = sine.Sine.draw(trajectories * WAVES, generator).episode(POINTS, 10, generator)
    number = torch.eye(WAVES).repeat(trajectories, 1)[:, None]

    def together(x: Tensor) -> Tensor:
        return x.unflatten(0, (trajectories, WAVES)).flatten(1, 2)

    support_x, query_x = (
        together(torch.cat([x, number.expand(-1, x.shape[1], -1)], 2)) for x in (waves.support_x, waves.query_x)
    )
    return Episode(support_x, together(waves.support_y), query_x, together(waves.query_y))


def wave_learner() -> OML:
    """Return the learner of waves."""
    return OML(WAVE_NET, inner_lr=WAVE_INNER_RATE, batch=BATCH)


def trained_on_waves(name: str, seed: int, steps: int | None = None) -> Params:
    """Return the parameters of the network of waves after a whole training; the name is one of WAVE_ORDERS."""
    planned = steps or WAVE_STEPS

    def sample(generator: torch.Generator) -> Episode:
        waves = wave_streams(WAVE_TRAJECTORIES, generator)
        return waves if name == "OML" else in_random_order(waves, generator)

    training = Trainer(wave_learner(), sample, outer_lr=_falling(WAVE_RATE, planned), seed=seed, recordings=0)
    training.step(planned)
    return {key: p.clone() for key, p in training.params.items()}


@torch.no_grad()
def judged_on_waves(params: Params) -> dict[str, list[float]]:
    """Return the mean squared error at the end of the stream, by the wave's place in it, of three learners.

    They are "steps" in the order of the stream, "steps, shuffled", and "closed form", ALPaCA's posterior with the
    prior N(0, 1) and noise of standard deviation 0.1. "nothing" answers 0.
    """
    generator = torch.Generator().manual_seed(1_000_000)
    episode = wave_streams(WAVE_TESTS, generator)
    mixed = in_random_order(episode, generator)
    learner = wave_learner()
    closed = ALPaCA(WAVE_NET, noise=0.1)
    width = WAVE_NET.sizes[-1]
    prior = {MEAN: torch.zeros(width, 1), ROOT: closed.noise * torch.eye(width)}
    answers = {
        "steps": learner.predict(params, episode),
        "steps, shuffled": learner.predict(params, mixed),
        "closed form": closed.predict(params | prior, episode),
        "nothing": torch.zeros_like(episode.query_y),
    }
    places = {name: (answer - episode.query_y).square().unflatten(1, (WAVES, -1)) for name, answer in answers.items()}
    return {name: [round(e, 4) for e in error.mean((0, 2, 3)).tolist()] for name, error in places.items()}


# The command


class Study:
    """The trainings that the command makes, in a file that grows with each of them."""

    def __init__(self, path: Path, seeds: int, steps: int | None, classes: tuple[int, ...]) -> None:
        self.path, self.seeds, self.steps, self.classes = path, seeds, steps, classes
        background, self.test = omniglot.load()
        self.fit, self.held = background.hold_out()
        about = {
            "command": "python -m metalab.experiments.continual",
            "metalab": __version__,
            "torch": torch.__version__,
            "machine": machine.name("cpu"),
            "steps": steps,
            "classes": list(classes),
        }
        self.found: dict[str, Any] = about | {"runs": [], "waves": []}
        if path.exists():
            before = json.loads(path.read_text())
            if any(before.get(name) != about[name] for name in ("steps", "classes")):
                raise ValueError(f"{path} is of another study: name another file")
            self.found |= {name: before[name] for name in ("runs", "waves")}

    def run(self) -> None:
        """Make the trainings that are missing."""
        for seed in range(self.seeds):
            for name in WAVE_ORDERS:
                if not self._has("waves", name, seed):
                    self._add("waves", name, seed, lambda n=name, s=seed: self._waves(n, s))
            start: Params | None = None
            for name in REPRESENTATIONS:
                if not self._has("runs", name, seed):
                    start = start or trained("prototypes", self.fit, seed, steps=self.steps)
                    self._add("runs", name, seed, lambda n=name, s=seed, p=start: self._characters(n, s, p))

    def _characters(self, name: str, seed: int, start: Params) -> dict[str, Any]:
        body = start if name == "prototypes" else trained(name, self.fit, seed, start, self.steps)
        stats = domains.statistics(body, self.fit)
        held, test, known = (features(body, part, stats) for part in (self.held, self.test, self.fit))
        return {"classes": judged(held, test, known.mean((0, 1)), self.classes)}

    def _waves(self, name: str, seed: int) -> dict[str, Any]:
        return {"error": judged_on_waves(trained_on_waves(name, seed, self.steps))}

    def _has(self, part: str, name: str, seed: int) -> bool:
        return any((run["representation"], run["seed"]) == (name, seed) for run in self.found[part])

    def _add(self, part: str, name: str, seed: int, measure: Callable[[], dict[str, Any]]) -> None:
        start = time.process_time()
        run = {"representation": name, "seed": seed, **measure(), "seconds": round(time.process_time() - start, 1)}
        self.found[part].append(run)
        replace_file(self.path, (json.dumps(self.found) + "\n").encode())  # nothing is lost by an interrupt
        print(part, name, seed, run["seconds"], flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m metalab.experiments.continual", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds, from 0 on (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="steps of every training (default: each training's own)")
    parser.add_argument("--classes", type=int, nargs="+", default=CLASSES, help="of a stream (default: %(default)s)")
    parser.add_argument("--json", type=Path, default=Path("build/continual.json"), help="the file (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        whole(most=100, **{"--seeds": options.seeds})
        for number in options.classes:
            whole(**{"--classes": number})
        if options.steps is not None:
            whole(**{"--steps": options.steps})
        options.json.parent.mkdir(parents=True, exist_ok=True)
        check_replaceable(options.json)
        study = Study(options.json, options.seeds, options.steps, tuple(options.classes))
    except (TypeError, ValueError, OSError) as error:
        parser.error(str(error))
    torch.set_num_threads(1)
    study.run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
