"""The package's own learners as patients of `examinations`, to compare a reader's learner with a sound one.

print(examine(lambda: patient_of(MAML(MLP(), mse, inner_lr=0.01), lambda g: sine.sample(4, 10, 10, g))))
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..arguments import function, shapes, whole
from ..learners import MAML, Learner, MatchingNet, MultiStepLoss, Reptile, SparseMAML, SupervisedContrastive
from ..losses import mse
from ..nets import MLP, Params
from ..optim import Adam, Optimizer
from ..tasks import Episode, Pairs, as_episode
from ..train import Trainer
from .diagnosis import Task
from .examinations import Patient

Sampler = Callable[[torch.Generator], Any]


def patient_of(
    learner: Learner,
    sample: Sampler,
    *,
    tasks: Callable[[torch.Generator], Episode] | None = None,
    pictures: Tensor | None = None,
    seed: int = 0,
    outer_lr: float | Callable[[int], float] = 1e-3,
    optimizer: Callable[[Tensor], Optimizer] = Adam,
    params: Params | None = None,
    steps: int = 0,
) -> Patient:
    """Return a learner of this package as a patient, with what an examination may ask of it.

    It is trained by a `Trainer`. Its loss and its gradient, which are compared with each other, are computed in double
    precision. The gradient is not meant to be the loss's slope for first-order MAML, Reptile, and sparse-MAML, whose
    gates have none. Reptile never looks at queries while it trains, so that its loss is taken on its support set.

    Args:
        learner: the learner.
        sample: draws what it trains on, as for `Trainer`: an episode, an ordered episode, groups, or pictures with
            their labels.
        tasks: draws the episodes that it is asked about, of which the first task is taken; None: by `sample`. It is
            needed where the learner trains on pictures with their labels.
        pictures: training pictures [B, 1, H, W] for the statistics of batch norm, where the learner needs them; None:
            those of a batch of `sample`.
        seed, outer_lr, optimizer, params: as for `Trainer`.
        steps: the number of meta-steps it is trained for before it is examined.

    Raises:
        TypeError, ValueError: an argument cannot be used, or `tasks` is needed.
    """
    function(sample=sample)
    whole(least=0, steps=steps)
    if pictures is not None:
        shapes(pictures=(pictures, "B 1 H W"))
    trainer = Trainer(learner, sample, outer_lr=outer_lr, optimizer=optimizer, seed=seed, params=params)
    if steps:
        trainer.step(steps)
    drawn = sample(torch.Generator().manual_seed(seed))
    if tasks is not None:
        function(tasks=tasks)
    elif not isinstance(drawn, Episode | Tensor):
        raise ValueError("tasks=None must be a function that draws episodes, because sample draws no tasks")
    if pictures is None and hasattr(learner, "with_statistics"):
        pictures = _pictures(drawn)

    def batch(generator: torch.Generator) -> Any:
        drawn = sample(generator)
        if isinstance(learner, Reptile) and isinstance(drawn, Episode):
            return replace(drawn, query_x=drawn.support_x, query_y=drawn.support_y)
        return drawn

    def in_double(batch: Any) -> tuple[Params, Any]:
        params = {name: p.double() for name, p in trainer.params.items()}
        if isinstance(batch, Episode | Tensor):
            return params, batch.to(torch.float64)
        images, labels = batch
        return params, (images.double(), labels)

    def loss(batch: Any) -> Tensor:
        params, batch = in_double(batch)
        if not isinstance(learner, MAML):
            return learner.meta_gradient(params, batch)[1]["loss"]
        trajectory = learner.adapt(params, batch)
        counts = [1.0]
        if isinstance(learner, MultiStepLoss):
            steps = learner.inner_steps
            counts = [1 / steps] * steps if learner.importance is None else learner.importance.tolist()
        judged = [learner.loss(learner.answer(theta, batch), batch.query_y) for theta in trajectory[-len(counts) :]]
        return sum(count * each.mean() for count, each in zip(counts, judged, strict=True))

    def gradient(batch: Any) -> Params:
        found, _metrics = learner.meta_gradient(*in_double(batch))
        return {name: g.float() for name, g in found.items()}

    def step(batch: Any) -> float:
        trainer.sample = lambda _generator: batch
        return trainer.step().metrics["loss"]

    def predict(support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        ready = learner if pictures is None else learner.with_statistics(trainer.params, pictures)
        labelled = not support_y.is_floating_point()
        query_y = support_y.new_zeros(len(query_x), *support_y.shape[1:])
        ways = int(support_y.max()) + 1 if labelled else 1
        return ready.predict(
            trainer.params, Episode(*(t[None] for t in (support_x, support_y, query_x, query_y)), ways)
        )[0]

    def task(generator: torch.Generator) -> Task:
        episode = _episode((tasks or sample)(generator))
        return tuple(part[0] for part in (episode.support_x, episode.support_y, episode.query_x, episode.query_y))

    slope = getattr(learner, "order", 2) == 2 and not isinstance(learner, Reptile | SparseMAML)
    compares = hasattr(learner, "compare") and isinstance(drawn, Tensor)
    return Patient(
        parameters=trainer.params,
        step=step,
        batch=batch,
        loss=loss,
        gradient=gradient,
        predict=predict,
        task=task,
        meta_loss=_asked_about_sines(learner) if type(learner) is MAML and learner.inner_steps else None,
        order=2 if slope else 1,
        distance=(lambda a, b: _distance(learner, trainer.params, pictures, a, b)) if compares else None,
        pairs=(lambda generator: _pairs(sample(generator))) if compares else None,
        transductive=getattr(learner, "transductive", False),
        adapts=getattr(learner, "inner_steps", 1) > 0,
        floor=_floor(learner, drawn),
    )


def _episode(drawn: object) -> Episode:
    """Return an episode, which is made of groups if need be.

    Raises:
        TypeError: it can be made of neither.
    """
    if isinstance(drawn, Tensor):
        return as_episode(drawn, 1)
    if not isinstance(drawn, Episode):
        raise TypeError(f"tasks returned {type(drawn).__name__}; it must return an Episode")
    return drawn


def _pictures(drawn: Any) -> Tensor:
    """Return the pictures of a batch: [B, 1, H, W]."""
    if isinstance(drawn, Episode):
        return torch.cat([drawn.support_x.flatten(0, 1), drawn.query_x.flatten(0, 1)])
    return drawn.flatten(0, 2) if isinstance(drawn, Tensor) else drawn[0]


def _pairs(groups: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return pairs of groups [G, P, K, 1, H, W]: the two first drawings of each character, and of each and the next."""
    first, second = groups[:, :, 0], groups[:, :, 1]
    a = torch.cat([first, first]).flatten(0, 1)
    b = torch.cat([second, second.roll(1, 1)]).flatten(0, 1)
    return a, b, torch.arange(len(a)) < len(a) // 2


def _distance(learner: Any, params: dict[str, Tensor], pictures: Tensor | None, a: Tensor, b: Tensor) -> Tensor:
    """Return how unlike the two drawings of each pair are: [B]."""
    pairs = Pairs(a, b, torch.ones(len(a), dtype=torch.bool))
    return -learner.with_statistics(params, pictures).compare(params, pairs)


def _asked_about_sines(learner: MAML) -> Callable[[Sequence[Tensor], Sequence[Task], float], list[Tensor]]:
    """Return the learner's meta-gradient as a function that `diagnose` can ask."""

    def meta_gradient(params: Sequence[Tensor], tasks: Sequence[Task], inner_lr: float) -> list[Tensor]:
        weights = params[::2]
        sizes = (len(weights[0]), *(w.shape[1] for w in weights))
        named = {
            f"{kind}{i}": p
            for i, pair in enumerate(zip(weights, params[1::2], strict=True), 1)
            for kind, p in zip("wb", pair, strict=True)
        }
        asked = replace(learner, net=MLP(sizes), loss=mse, inner_lr=inner_lr)
        episode = Episode(*(torch.stack(part) for part in zip(*tasks, strict=True)))
        gradient, _metrics = asked.meta_gradient({name: p.detach() for name, p in named.items()}, episode)
        return [gradient[name] for name in named]

    return meta_gradient


def _floor(learner: Learner, drawn: Any) -> float:
    """Return the lowest loss that there can be.

    A matching network's cosines are from 0 to 1. A supervised contrastive loss shares its attention among the K − 1
    other drawings of a character.
    """
    if isinstance(learner, MatchingNet) and learner.first_scale is None and isinstance(drawn, Episode):
        return math.log1p((drawn.ways - 1) / math.e)
    if isinstance(learner, SupervisedContrastive) and isinstance(drawn, Tensor):
        return math.log(drawn.shape[2] - 1)
    return 0.0
