"""Which learner carries over best to domains that it never saw? Methods over seeds, on seven domains.

    python -m metalab.experiments.domains --json build/domains.json    # about 12 minutes on one core

Everything is trained on Omniglot's background alphabets, apart from the validation alphabets, by which settings were
chosen. The classes of all tests are from other alphabets, and six of the seven domains differ in kind as well: the new
alphabets themselves, four changed copies of them, glyphs, and digits. Tasks have 3 to 10 ways, and 1 to 5 shots for
each class. Three networks are trained for each seed, each for about the same time on one core:

    classifier     tells all training characters apart; several methods use it
    prototypical   60 ways, 1 shot
    MAML           tasks as in the test; each batch of pictures is normalised by its own statistics

A method answers a query without seeing other queries, unless its name says "all pictures": batch norm has statistics of
training pictures, or of the task's support set. Methods that take
gradient steps in all layers cost most of the time, and are tested with the first seed alone.

The file is written after each training. A second call with the same file goes on where the first one was cut, and makes
a training again if a method that uses it has not been measured.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import __version__
from ..arguments import one_of, whole
from ..engine.derivatives import gradient
from ..files import check_replaceable, replace_file
from ..learners import MAML, FineTuning, Learner, PrototypicalNet
from ..learners.prototypical import prototype_logits
from ..losses import accuracy, cross_entropy
from ..nets import Conv4, Params, for_tasks
from ..tasks import Characters, Episode, glyphs, omniglot
from ..tasks.domains import CHANGES, Varying, changed, digits
from ..train import Trainer
from . import machine

CHANNELS = (16, 32, 64, 128)
EMBEDDING = Conv4(channels=CHANNELS)
WAYS, SHOTS, QUERIES = (3, 10), (1, 5), 5  # of a test task
TASKS, BATCH = 100, 10  # of a test of one domain; the tasks of a batch have the same ways and shots
PICTURES = 1000  # training pictures that batch norm's statistics are measured on
MAML_STEPS = 5  # at a test
Sampler = Callable[[torch.Generator], Any]
Answer = Callable[[Episode], Tensor]


# The domains


def domains(test: Characters) -> dict[str, Characters]:
    """Return the test domains by name, given characters of alphabets that no training has seen.

    Glyphs are a domain of their own only where the characters are not glyphs themselves.
    """
    found = {"new alphabets": test} | {change: changed(test, change, seed=1) for change in CHANGES}
    if test.source != "glyphs":
        found["glyphs"] = glyphs.draw(alphabets=20, seed=1)
    device = test.images.device
    return {name: domain.to(device) for name, domain in (found | {"digits": digits()}).items()}


# The trainings


@dataclass(frozen=True)
class Training:
    """How a network is trained.

    Args:
        title: its name.
        learner: makes the learner, given the number of training characters.
        draw: makes the sampler of one step from the training characters.
        outer_lr: the rate of the first step; it falls to 0 in a straight line.
        steps: the number of steps.
    """

    title: str
    learner: Callable[[int], Learner]
    draw: Callable[[Characters], Sampler]
    outer_lr: float
    steps: int


def batches(source: Characters) -> Sampler:
    """Return what draws 120 pictures of any characters."""
    return lambda generator: source.batch(120, generator)


def like_the_test(source: Characters) -> Sampler:
    """Return what draws 4 tasks of 3 to 10 ways and 1 to 5 shots."""
    sample = Varying(source, WAYS, SHOTS, queries=3)
    return lambda generator: sample(4, generator)


def sixty_ways(source: Characters) -> Sampler:
    """Return what draws a task of 60 ways, 1 shot and 1 query for each."""
    return lambda generator: source.sample(1, 60, 1, 1, generator)


TRAININGS = {
    "classifier": Training("classifier", lambda n: FineTuning(Conv4(n, CHANNELS)), batches, 1e-2, 1800),
    "prototypical": Training("prototypes", lambda _n: PrototypicalNet(EMBEDDING), sixty_ways, 1e-2, 2000),
    "maml": Training("MAML", lambda _n: MAML(Conv4(WAYS[1], CHANNELS), inner_lr=2.0), like_the_test, 1e-2, 900),
}


def trainer(training: Training, source: Characters, seed: int, steps: int | None = None) -> Trainer:
    """Return a training that has not begun, on the device of the characters.

    Args:
        training: one of TRAININGS.
        source: the training characters.
        seed: its seed.
        steps: the number of steps that the learning rate is planned for; None: the training's own.
    """
    planned = steps or training.steps

    def rate(number: int) -> float:
        return training.outer_lr * max(0.0, 1 - (number - 1) / planned)

    learner = training.learner(len(source))
    device = source.images.device
    return Trainer(learner, training.draw(source), outer_lr=rate, seed=seed, device=device, recordings=0)


# The methods: how a trained network answers a task


def statistics(body: Params, source: Characters) -> Params:
    """Return batch norm's statistics on training pictures, for an embedding's parameters."""
    generator = torch.Generator(source.images.device).manual_seed(0)
    return EMBEDDING.statistics(body, source.batch(PICTURES, generator)[0])


@torch.no_grad()
def embed(body: Params, episode: Episode, stats: Params | str) -> tuple[Tensor, Tensor]:
    """Return the embeddings of the support set [T, S, E] and of the queries [T, Q, E].

    Args:
        body: the embedding's parameters.
        episode: the tasks.
        stats: what batch norm normalises by: statistics that were measured before; "support", those of each task's
            support set; or "all", those of all its pictures, queries included.
    """
    support = episode.support_x.shape[1]
    pictures = torch.cat([episode.support_x, episode.query_x], 1)
    if isinstance(stats, dict):
        one = EMBEDDING(for_tasks(body, 1), pictures.flatten(0, 1)[None], stats=stats)
        z = one.view(*pictures.shape[:2], -1)
    else:
        one_of(("support", "all"), stats=stats)
        context = episode.support_x if stats == "support" else None
        z = EMBEDDING(for_tasks(body, episode.tasks), pictures, context=context)
    return z[:, :support], z[:, support:]


def nearest_mean(body: Params, episode: Episode, stats: Params | str) -> Tensor:
    """Answer by the nearest class mean of the embeddings: logits [T, Q, N]. `stats` is as in `embed`."""
    support, query = embed(body, episode, stats)
    return prototype_logits(support, episode.support_y, query, episode.ways)


def head_of_means(z: Tensor, y: Tensor, ways: int) -> tuple[Tensor, Tensor]:
    """Return the linear layer that is a nearest mean: with the means c, it has the weights 2 c and the biases −‖c‖².

    −‖z − c‖² is 2 c·z − ‖c‖² − ‖z‖², and the last term is the same for all classes (Snell et al. 2017, section 2.4).

    Args:
        z: embeddings of the support set [T, S, E].
        y: their labels [T, S]; the classes may have different numbers of pictures.
        ways: N.

    Returns:
        weights [T, E, N] and biases [T, N].
    """
    member = torch.nn.functional.one_hot(y, ways).to(z.dtype)  # [T, S, N]
    means = z.mT @ member / member.sum(1, keepdim=True)  # [T, E, N]
    return 2 * means, -means.square().sum(1)


def adapted(
    body: Params, episode: Episode, stats: Params | str, *, rate: float, steps: int, means: bool = True
) -> Tensor:
    """Fine-tune a pretrained embedding and a fresh last layer on each task's support set: logits [T, Q, N].

    Args:
        body: the embedding's parameters.
        episode: the tasks.
        stats: statistics measured before, or "support".
        rate: the learning rate of the steps.
        steps: their number; with 0 and `means`, this is `nearest_mean`.
        means: True starts the last layer as the nearest mean; False starts it at 0.
    """
    head = {"head": body["conv4"].new_zeros(episode.tasks, EMBEDDING.widths[-1], episode.ways)}
    head["bias"] = head["head"].new_zeros(episode.tasks, episode.ways)
    if means:
        z, _query = embed(body, episode, stats)
        head["head"], head["bias"] = head_of_means(z, episode.support_y, episode.ways)
    theta = for_tasks(body, episode.tasks) | head
    net = replace(EMBEDDING, outputs=episode.ways)
    fixed = {"stats": stats} if isinstance(stats, dict) else {}

    def support_loss(theta: Params) -> Tensor:
        return cross_entropy(net(theta, episode.support_x, **fixed), episode.support_y)

    for _ in range(steps):
        grads, _losses = gradient(support_loss, theta)
        theta = {name: p - rate * grads[name] for name, p in theta.items()}
    with torch.no_grad():
        return net(theta, episode.query_x, **(fixed or {"context": episode.support_x}))


def last_layer(
    body: Params,
    episode: Episode,
    stats: Params | str,
    *,
    rate: float = 0.5,
    steps: int = 100,
    centred: bool = False,
) -> Tensor:
    """Fit a fresh last layer alone, by gradient steps on embeddings that are computed once: logits [T, Q, N].

    If `centred`, the mean of the support set's embeddings is subtracted from all embeddings of the task before. What
    they have in common tells no class from another, but makes the steps small in all directions that do.
    """
    support, query = embed(body, episode, stats)
    if centred:
        mean = support.mean(1, keepdim=True)
        support, query = support - mean, query - mean
    support, query = (torch.cat([z, torch.ones_like(z[..., :1])], 2) for z in (support, query))  # 1 is for the bias
    target = torch.nn.functional.one_hot(episode.support_y, episode.ways).to(support.dtype)
    weight = support.new_zeros(episode.tasks, support.shape[2], episode.ways)
    for _ in range(steps):
        error = ((support @ weight).softmax(2) - target) / support.shape[1]
        weight = weight - rate * support.mT @ error
    return query @ weight


def maml(params: Params, episode: Episode, *, transductive: bool = False, steps: int = MAML_STEPS) -> Tensor:
    """Adapt MAML's network by its inner steps, and answer: logits [T, Q, N]. It has an output for each of 10 ways."""
    learner = MAML(Conv4(WAYS[1], CHANNELS), inner_lr=2.0, inner_steps=steps, transductive=transductive)
    return learner.predict(params, episode)[..., : episode.ways]


def pixels(episode: Episode) -> Tensor:
    """Answer by the nearest class mean of the pixels, without any network: logits [T, Q, N]."""
    support, query = episode.support_x.flatten(2), episode.query_x.flatten(2)
    return prototype_logits(support, episode.support_y, query, episode.ways)


FROM_ZERO, FROM_MEANS = {"rate": 0.1, "steps": 30}, {"rate": 0.02, "steps": 10}  # of fine-tuning all layers
SLOW = ("fine-tuning", "adapted", "adapted, support")  # they take nine tenths of the time: tested with seed 0 alone


WANTED = {  # the methods that are measured after each training
    "classifier": (
        *(f"nearest mean{how}" for how in ("", ", support", ", all pictures")),
        *("last layer", "last layer, centred", *SLOW, "pixels"),
    ),
    "prototypical": tuple(f"prototypes{how}" for how in ("", ", support", ", all pictures")),
    "maml": ("MAML", "MAML, all pictures"),
}


def methods(name: str, params: Params, source: Characters) -> dict[str, Answer]:
    """Return the methods that use a trained network, by name.

    Args:
        name: one of TRAININGS.
        params: the parameters after it.
        source: the training characters.

    Raises:
        TypeError, ValueError: there is no such training.
    """
    one_of([*TRAININGS], name=name)
    if name == "maml":
        return {
            "MAML": lambda e: maml(params, e),
            "MAML, all pictures": lambda e: maml(params, e, transductive=True),
        }
    body = {key: p for key, p in params.items() if key not in ("head", "bias")}
    stats = statistics(body, source)
    title = "prototypes" if name == "prototypical" else "nearest mean"
    found: dict[str, Answer] = {
        title: lambda e: nearest_mean(body, e, stats),
        f"{title}, support": lambda e: nearest_mean(body, e, "support"),
        f"{title}, all pictures": lambda e: nearest_mean(body, e, "all"),
    }
    if name == "prototypical":
        return found
    return found | {
        "last layer": lambda e: last_layer(body, e, stats),
        "last layer, centred": lambda e: last_layer(body, e, stats, centred=True),
        "fine-tuning": lambda e: adapted(body, e, stats, means=False, **FROM_ZERO),
        "adapted": lambda e: adapted(body, e, stats, **FROM_MEANS),
        "adapted, support": lambda e: adapted(body, e, "support", **FROM_MEANS),
    }


def exam(domain: Characters, tasks: int = TASKS, seed: int = 0, queries: int = QUERIES) -> list[Episode]:
    """Return test tasks of a domain, in batches of which each has ways and shots of its own; 3 to 10 and 1 to 5."""
    whole(tasks=tasks)
    whole(least=0, seed=seed)
    generator = torch.Generator(domain.images.device).manual_seed(100_000 + seed)
    sample = Varying(domain, WAYS, SHOTS, queries)
    return [sample(min(BATCH, tasks - start), generator) for start in range(0, tasks, BATCH)]


def score(answer: Answer, tasks: list[Episode]) -> float:
    """Return the mean accuracy over all tasks, in 0 … 1; each task counts the same."""
    return torch.cat([accuracy(answer(episode), episode.query_y) for episode in tasks]).mean().item()


# The command


class Study:
    """The trainings that the command makes, in a file that grows with each of them."""

    def __init__(self, path: Path, seeds: int, steps: int | None, tasks: int) -> None:
        self.path, self.seeds, self.tasks = path, seeds, tasks
        self.trainings = {
            name: training if steps is None else replace(training, steps=steps) for name, training in TRAININGS.items()
        }
        background, test = omniglot.load()
        self.fit, _validation = background.hold_out()
        self.exams = domains(test)
        about = {
            "command": "python -m metalab.experiments.domains",
            "metalab": __version__,
            "torch": torch.__version__,
            "machine": machine.name("cpu"),
            "tasks": tasks,
            "domains": list(self.exams),
            "steps": {name: training.steps for name, training in self.trainings.items()},
        }
        self.found: dict[str, Any] = about | {"runs": []}
        if path.exists():
            before = json.loads(path.read_text())
            if any(before.get(name) != about[name] for name in ("steps", "tasks", "domains")):
                raise ValueError(f"{path} is of another study: name another file")
            self.found["runs"] = before["runs"]

    def run(self) -> None:
        """Make the trainings that are missing."""
        for seed in range(self.seeds):
            for name in self.trainings:
                key = {"training": name, "seed": seed}
                run = next((run for run in self.found["runs"] if key.items() <= run.items()), None)
                wanted = {*WANTED[name]} - {*(SLOW if seed > 0 else ())} - {*(run["accuracy"] if run else ())}
                if wanted:
                    found = self._measure(name, seed, wanted)
                    if run is None:
                        self.found["runs"].append(key | found)
                    else:
                        for part in ("milliseconds", "accuracy"):
                            run[part] |= found[part]
                    self._save()
                    print(key, found["seconds"], flush=True)

    def _measure(self, name: str, seed: int, wanted: set[str]) -> dict[str, Any]:
        """Train once, and test methods on each domain. The seed decides the training, and the test tasks too."""
        start = time.process_time()
        training = trainer(self.trainings[name], self.fit, seed, self.trainings[name].steps)
        training.step(self.trainings[name].steps)
        seconds = time.process_time() - start
        answers = methods(name, training.params, self.fit) | {"pixels": pixels}
        answers = {method: answer for method, answer in answers.items() if method in wanted}
        scores: dict[str, dict[str, float]] = {method: {} for method in answers}
        cost = dict.fromkeys(answers, 0.0)
        for domain, characters in self.exams.items():
            tasks = exam(characters, self.tasks, seed)
            for method, answer in answers.items():
                start = time.process_time()
                scores[method][domain] = round(score(answer, tasks), 5)
                cost[method] += 1000 * (time.process_time() - start) / self.tasks / len(self.exams)
        costs = {method: round(milliseconds, 2) for method, milliseconds in cost.items()}
        return {"seconds": round(seconds, 1), "milliseconds": costs, "accuracy": scores}

    def _save(self) -> None:
        replace_file(self.path, (json.dumps(self.found) + "\n").encode())  # nothing is lost by an interrupt


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m metalab.experiments.domains", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds, from 0 on (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="steps of every training (default: each training's own)")
    parser.add_argument("--tasks", type=int, default=TASKS, help="test tasks of each domain (default: %(default)s)")
    parser.add_argument("--json", type=Path, default=Path("build/domains.json"), help="the file (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        whole(most=100, **{"--seeds": options.seeds})
        whole(**{"--tasks": options.tasks})
        if options.steps is not None:
            whole(**{"--steps": options.steps})
        options.json.parent.mkdir(parents=True, exist_ok=True)
        check_replaceable(options.json)
        study = Study(options.json, options.seeds, options.steps, options.tasks)
    except (TypeError, ValueError, OSError) as error:
        parser.error(str(error))
    torch.set_num_threads(1)
    study.run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
