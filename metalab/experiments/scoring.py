"""Tests of a trained network: the test tasks, how the learner meets them, and what it scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch

from ..arguments import tensors as check_tensors
from ..evaluate import Score, evaluate
from ..learners import Learner
from ..losses import accuracy, mse
from ..nets import Params
from ..tasks import Characters, Groups, as_episode, one_shot_challenge, sine
from ..train import STATE
from . import machine
from .settings import BadSetting, Settings

SINE_QUERIES = 100  # query points of each test task
SINE_BATCH, CHARACTER_BATCH = 1000, 50  # test tasks at once
SINE_POINTS, EXAMPLES = 1_000_000, 10_000  # points or pictures at once, which bound the memory
SINE_STEPS = (0, 1, 5, 10)  # gradient steps for which the MAML paper's table gives the error
REPTILE_STEPS = 50  # steps of Adam on a task of characters
LEAST_STEPS = 3  # a network trained with fewer steps on Omniglot is also tested with 3, as in the MAML paper
WAYS = (5, 20)  # of the test tasks for a learned distance, which need not have the ways of its training
PICTURES = 1000  # drawings of training characters, on which batch norm's statistics are measured
QUERIES = 5  # queries per class, for a learned distance
SHARED = ("split", "ways", "shots", "queries per class", "query points", "test tasks", "seed")  # above a table first
COVERS = (
    "The interval covers the choice of the test tasks, for this one network. It says nothing about the spread between "
    "trainings with other seeds."
)


@dataclass(frozen=True)
class Result:
    """A score, and the protocol, without which it cannot be compared with another score."""

    measure: str  # "accuracy" or "MSE"
    score: Score
    protocol: dict[str, Any]

    def heading(self) -> str:
        """Return the lines above a table whose first row is this result: what its rows share, and its columns."""
        varies = self._varies()
        shared = [name for name in (*SHARED, *self.protocol) if name in self.protocol and name not in varies]
        lines = [f"  {name:17}  {self.protocol[name]}" for name in dict.fromkeys(shared)]
        columns = "".join(f"{name:{width}}  " for name, width in varies.items())
        return "\n".join([*lines, "", f"  {columns}{self.measure}, mean ± 95 % interval"])

    def row(self, first: Result) -> str:
        """Return the line of the table for this result. Below it stands what differs from the first row's protocol."""
        value = self.score.percent() if self.measure == "accuracy" else str(self.score)
        varies = self._varies()
        cells = "".join(f"{self.protocol[name]!s:{width}}  " for name, width in varies.items())
        differs = [
            f"{name}: {what}"
            for name, what in self.protocol.items()
            if name not in varies and what != first.protocol.get(name)
        ]
        return f"  {cells}{value}" + (f"\n        ({', '.join(differs)})" if differs else "")

    def _varies(self) -> dict[str, int]:
        """Return the names of what varies between the rows of a table, and the widths of their columns."""
        return {"ways": 4, "characters of": 36} if "characters of" in self.protocol else {"inner steps": 11}

    def as_json(self) -> dict[str, Any]:
        """Return the result as a dict that can be written as JSON."""
        return {"measure": self.measure, **asdict(self.score), "protocol": self.protocol}


def results(settings: Settings, tensors: Params, *, episodes: int = 600, seed: int = 1000) -> Iterator[Result]:
    """Test the parameters in a checkpoint on tasks never trained on, by the protocols of the papers.

    Args:
        settings: the run's settings.
        tensors: the tensors of its checkpoint, on `settings.device`.
        episodes: the number of test tasks.
        seed: seed of the test tasks.

    Raises:
        ValueError: there are fewer than 2 episodes, or so many that their scores do not fit into memory; the seed is
            out of range; or the tensors are not those of a learner with these settings, or are not finite.
    """
    if episodes < 2:
        raise BadSetting("{episodes} gives no confidence interval: at least 2 are needed", episodes=episodes)
    if not 0 <= seed < 2**63:
        raise BadSetting("{seed} must be at least 0, and below 2^63", seed=seed)
    if 8 * episodes > (there_is := machine.memory("cpu")):
        text = f"{{episodes}} is too large: their scores alone need {8 * episodes / 2**30:.3g} GiB of memory"
        raise BadSetting(f"{text}, and there are only {there_is / 2**30:.3g}", episodes=episodes)
    params = {name: p for name, p in tensors.items() if not name.startswith(STATE)}
    check_tensors(settings.learner().init(torch.Generator(settings.device)), finite=True, checkpoint=params)
    common = {"test tasks": episodes, "seed": seed, "shots": settings.shots}
    how = {"episodes": episodes, "seed": seed, "device": settings.device}
    if settings.tasks == "sine":
        yield from _sine(settings, params, common, how)
    elif settings.recipe.tested == "by distance":
        yield from _by_distance(settings, params, common, how)
    else:
        yield from _adapted_to_characters(settings, params, common, how)


def _sine(settings: Settings, params: Params, common: dict[str, Any], how: dict[str, Any]) -> Iterator[Result]:
    """Yield the mean squared error after several numbers of inner steps, or after reading the support in context."""
    if settings.recipe.tested == "in context":
        score = evaluate(
            partial(settings.learner().predict, params),
            lambda n, g: sine.sample(n, settings.shots, SINE_QUERIES, g),
            measure=mse,
            **how,
        )
        yield Result("MSE", score, {"inner steps": 0, **common, "query points": SINE_QUERIES})
        return
    for steps in SINE_STEPS[1:] if settings.recipe.tested == "on minibatches" else SINE_STEPS:
        score = evaluate(
            partial(tested(settings, steps, how["seed"]).predict, params),
            lambda n, g: sine.sample(n, settings.shots, SINE_QUERIES, g),
            batch=_at_once(min(how["episodes"], SINE_BATCH), settings.shots + SINE_QUERIES, SINE_POINTS),
            measure=mse,
            **how,
        )
        yield Result("MSE", score, {"inner steps": steps, **common, "query points": SINE_QUERIES})


def _adapted_to_characters(
    settings: Settings, params: Params, common: dict[str, Any], how: dict[str, Any]
) -> Iterator[Result]:
    """Yield the accuracy after as many inner steps as in training, and after at least as many as in the paper."""
    _train, upright = (part.to(settings.device) for part in settings.characters())
    queries = queries_left(settings, upright)
    common |= _split(settings)
    several = sorted({settings.inner_steps, max(settings.inner_steps, LEAST_STEPS)})
    for steps in [REPTILE_STEPS] if settings.recipe.tested == "on minibatches" else several:
        score = evaluate(
            partial(tested(settings, steps, how["seed"]).predict, params),
            lambda n, g: upright.sample(n, settings.ways, settings.shots, queries, g),
            batch=_at_once(CHARACTER_BATCH, settings.ways * (settings.shots + queries), EXAMPLES),
            **how,
        )
        protocol = {"ways": settings.ways, "inner steps": steps, **common, "queries per class": queries}
        yield Result("accuracy", score, protocol | {"batch norm": "transductive (each query batch by its own)"})


def _by_distance(settings: Settings, params: Params, common: dict[str, Any], how: dict[str, Any]) -> Iterator[Result]:
    """Yield the accuracy on characters of any alphabets, on those of one alphabet, and on the author's challenge."""
    train, upright = (part.to(settings.device) for part in settings.characters())
    queries = queries_left(settings, upright)
    split = _split(settings)
    common |= split
    pictures, _labels = train.batch(PICTURES, torch.Generator(settings.device).manual_seed(settings.seed))
    predict = partial(settings.learner().with_statistics(params, pictures).predict, params)
    norm = {"batch norm": f"inductive (statistics of {PICTURES} training pictures)"}
    for ways in WAYS:
        for within, whence in ((False, "any alphabets"), (True, "one alphabet")):
            if within and upright.largest_alphabet < ways:
                continue  # in the random split, no alphabet has 20 test characters
            groups = Groups(upright, ways, settings.shots + queries, within_alphabet=within)
            score = evaluate(predict, lambda n, g, groups=groups: as_episode(groups(n, g), settings.shots), **how)
            protocol = {"ways": ways, "characters of": whence, **common, "queries per class": queries}
            yield Result("accuracy", score, protocol | norm)
    if upright.source == "Omniglot" and settings.split != "random" and settings.shots == 1:
        trial = one_shot_challenge(upright)
        score = Score.of(accuracy(predict(trial), trial.query_y))
        protocol = {"ways": 20, "characters of": "one alphabet: the author's challenge", "test tasks": trial.tasks}
        yield Result("accuracy", score, protocol | {"shots": 1, **split, "queries per class": 1} | norm)


def queries_left(settings: Settings, test: Characters) -> int:
    """Return the queries per class of a test: as many as the protocol has, or as many drawings as the shots leave.

    Args:
        settings: the settings of a run on characters.
        test: the test characters.

    Raises:
        BadSetting: the test cannot be drawn, because there are too few characters or drawings.
    """
    characters, drawings = test.images.shape[:2]
    by_distance = settings.recipe.tested == "by distance"
    if not by_distance and settings.ways > characters:
        raise BadSetting(f"{{ways}} cannot be tested: there are only {characters} test characters", ways=settings.ways)
    if settings.shots >= drawings:
        text = f"{{shots}} cannot be tested: a character's {drawings} drawings would leave no query"
        raise BadSetting(text, shots=settings.shots)
    return min(QUERIES if by_distance else settings.shots, drawings - settings.shots)


def _at_once(usual: int, examples: int, most: int) -> int:
    """Return how many test tasks are scored at once: as usual, or so few that they have `most` examples together."""
    return max(1, min(usual, most // examples))


def _split(settings: Settings) -> dict[str, str]:
    """Return how the test characters were chosen, in the words of a protocol."""
    named = {"alphabets": "the author's, by alphabet", "random": "random characters"}
    split = named.get(settings.split, f"the author's minimal set {settings.split}, by alphabet")
    return {"split": split, "rotations": "none"}


def tested(settings: Settings, steps: int, seed: int) -> Learner:
    """Return the learner as it is tested, with `steps` inner steps.

    Reptile takes its steps on minibatches (Nichol et al. 2018), which are drawn from a generator with this seed. For
    sines, a minibatch is the whole support set. For characters, it has as many drawings as there are ways, or half as
    many where there are 20 ways or more.
    """
    learner = settings.learner()
    if settings.recipe.tested != "on minibatches":
        return replace(learner, inner_steps=steps)
    if settings.tasks == "sine":
        batch = settings.shots
    elif settings.ways < 20:
        batch = settings.ways
    else:
        batch = settings.ways // 2
    generator = torch.Generator(settings.device).manual_seed(seed)
    return replace(learner, inner_steps=steps, inner_batch=batch, generator=generator)
