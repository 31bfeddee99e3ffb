"""How a trained run is tested: which tasks, how the network meets them, and what it scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..evaluate import Score, evaluate
from ..losses import accuracy, mse
from ..nets import Params
from ..tasks import Episode, sine
from ..tasks.challenge import one_shot_challenge
from ..tasks.episode import as_episode
from ..tasks.pairs import Groups
from ..train import STATE
from .settings import METRIC, Settings

SINE_QUERIES = 100  # points of each test task
SINE_STEPS = (0, 1, 5, 10)  # gradient steps at which the MAML paper's table gives the error
REPTILE_STEPS = 50  # of Adam on a character task
LEAST_STEPS = 3  # Omniglot networks trained with fewer are also tested with 3, as in the MAML paper
WAYS = (5, 20)  # of test tasks for a learnt distance, which is not bound to those it was trained on
PICTURES = 1000  # of the training characters, to measure batch norm's statistics on
QUERIES = 5  # per class, for a learnt distance


@dataclass(frozen=True)
class Result:
    """A score, and the protocol without which it cannot be compared with another."""

    measure: str  # accuracy, or MSE
    score: Score
    protocol: dict[str, Any]

    def __str__(self) -> str:
        value = self.score.percent() if self.measure == "accuracy" else str(self.score)
        return f"{self.measure} {value}: " + ", ".join(f"{name} {what}" for name, what in self.protocol.items())

    def as_json(self) -> dict[str, Any]:
        return {"measure": self.measure, **asdict(self.score), "protocol": self.protocol}


def results(settings: Settings, tensors: Params, *, episodes: int = 600, seed: int = 1000) -> Iterator[Result]:
    """Score what a checkpoint holds on tasks never trained on, under the protocols of the papers.

    Args:
        settings: of the run.
        tensors: of its checkpoint, on `settings.device`.
        episodes: number of test tasks.
        seed: of the test tasks.

    Raises:
        ValueError: fewer than 2 episodes.
    """
    learner = settings.learner()
    params = {name: p for name, p in tensors.items() if not name.startswith(STATE)}
    common = {"test tasks": episodes, "seed": seed, "shots": settings.shots}
    how = {"episodes": episodes, "seed": seed, "device": settings.device}
    if settings.tasks == "sine":
        for steps in SINE_STEPS[1:] if settings.algorithm == "reptile" else SINE_STEPS:
            score = evaluate(
                _adapted(settings, params, steps, seed),
                lambda n, g: sine.sample(n, settings.shots, SINE_QUERIES, g),
                batch=episodes,
                measure=mse,
                **how,
            )
            yield Result("MSE", score, {"inner steps": steps, **common, "query points": SINE_QUERIES})
        return

    train, upright = (part.to(settings.device) for part in settings.characters())
    split = {"alphabets": "the author's, by alphabet", "random": "random characters"}[settings.split]
    common |= {"split": split, "rotations": "none"}
    if settings.algorithm in METRIC:
        pictures, _labels = train.batch(PICTURES, torch.Generator(settings.device).manual_seed(settings.seed))
        stats = learner.net.statistics(params, pictures)
        norm = {"batch norm": f"inductive (statistics of {PICTURES} training pictures)"}

        def predict(episode: Episode) -> Tensor:
            return learner.predict(params, episode, stats=stats)

        for ways in WAYS:
            for within, whence in ((False, "any alphabets"), (True, "one alphabet")):
                if within and upright.largest_alphabet < ways:
                    continue  # of the random split's test characters, no 20 are of one alphabet
                groups = Groups(upright, ways, settings.shots + QUERIES, within_alphabet=within)
                score = evaluate(predict, lambda n, g, groups=groups: as_episode(groups(n, g), settings.shots), **how)
                protocol = {"ways": ways, "characters of": whence, **common, "queries per class": QUERIES}
                yield Result("accuracy", score, protocol | norm)
        if upright.source == "Omniglot" and settings.split == "alphabets" and settings.shots == 1:
            trial = one_shot_challenge(upright)
            score = Score.of(accuracy(predict(trial), trial.query_y))
            protocol = {"ways": 20, "characters of": "one alphabet: the author's challenge", "test tasks": trial.tasks}
            protocol |= {"shots": 1, "split": split, "rotations": "none", "queries per class": 1}
            yield Result("accuracy", score, protocol | norm)
        return
    several = sorted({settings.inner_steps, max(settings.inner_steps, LEAST_STEPS)})
    for steps in [REPTILE_STEPS] if settings.algorithm == "reptile" else several:
        score = evaluate(
            _adapted(settings, params, steps, seed),
            lambda n, g: upright.sample(n, settings.ways, settings.shots, settings.shots, g),
            **how,
        )
        protocol = {"ways": settings.ways, "inner steps": steps, **common, "queries per class": settings.shots}
        yield Result("accuracy", score, protocol | {"batch norm": "transductive (each query batch by its own)"})


def _adapted(settings: Settings, params: Params, steps: int, seed: int) -> Callable[[Episode], Tensor]:
    """Predicts after so many inner steps; Reptile's are on minibatches: for sines the whole support set, for
    characters as many drawings as there are ways, or half as many of 20 ways and more (Nichol et al. 2018)."""
    learner = settings.learner()
    if settings.algorithm != "reptile":
        return lambda e: learner.predict(params, e, steps=steps)
    if settings.tasks == "sine":
        batch = settings.shots
    elif settings.ways < 20:
        batch = settings.ways
    else:
        batch = settings.ways // 2
    tested = replace(learner, inner_steps=steps, inner_batch=batch)
    generator = torch.Generator(settings.device).manual_seed(seed)
    return lambda e: tested.predict(params, e, generator=generator)
