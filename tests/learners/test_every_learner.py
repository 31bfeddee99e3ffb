"""What all learners promise, whatever they are: see metalab.learners.learner."""

import inspect
from dataclasses import is_dataclass, replace

import noise
import pytest
import torch
from problems import seeded

from metalab import learners
from metalab.experiments.recipes import RECIPES
from metalab.experiments.settings import Settings
from metalab.learners import (
    CausalTransformer,
    FineTuning,
    Learner,
    MatchingNet,
    PolicyMAML,
    PrototypicalNet,
    ReadsPictures,
    RecurrentPolicy,
    Triplet,
)
from metalab.learners.in_context import InContext
from metalab.nets import Conv4
from metalab.tasks import sine

CLASSES, WAYS, TASKS, QUERIES = 9, 4, 3, 2
NETS = {
    "answers by its outputs": Conv4(WAYS, channels=5),
    "embeds": Conv4(channels=5, pool="max"),
    "has an output for each class": Conv4(CLASSES, channels=5),
}
ACT = {PolicyMAML, RecurrentPolicy}  # instead of answering queries: they have no episodes, and tests of their own
EXPORTED = {
    name: kind
    for name, kind in vars(learners).items()
    if inspect.isclass(kind) and kind is not Learner and kind not in ACT
}


def made(kind):
    """A small learner of a kind, with the kind of network that it takes."""
    if issubclass(kind, InContext):
        return kind(width=8)
    if kind is ReadsPictures:
        return kind(NETS["embeds"], CausalTransformer(5, WAYS, width=8))
    if issubclass(kind, FineTuning):
        return kind(NETS["has an output for each class"], inner_steps=2)
    return kind(NETS["embeds" if hasattr(kind, "with_statistics") else "answers by its outputs"])


LEARNERS = {name: made(kind) for name, kind in EXPORTED.items()}


def test_every_learner_is_a_dataclass_under_its_own_name():
    assert len(LEARNERS) >= 11
    assert all(type(learner).__name__ == name and is_dataclass(learner) for name, learner in LEARNERS.items())


def test_every_recipe_makes_a_learner_that_is_exported():
    for name, recipe in RECIPES.items():
        for tasks in recipe.papers:
            assert type(Settings.of(tasks, name).learner()) in EXPORTED.values()


@pytest.mark.parametrize("name", LEARNERS)
def test_predictions_are_an_answer_to_each_query_and_change_nothing(name):
    learner, characters = LEARNERS[name], noise.noise(CLASSES, 6, seed=0)
    params = learner.init(seeded())
    if hasattr(learner, "with_statistics"):
        learner = learner.with_statistics(params, characters.batch(30, seeded(1))[0])
    episode, queries, outputs = characters.sample(TASKS, WAYS, 2, QUERIES, seeded(2)), WAYS * QUERIES, WAYS
    if isinstance(learner, InContext):  # it has a network of its own, for numbers
        episode, outputs = sine.sample(TASKS, 3, queries, seeded(2)), 1
    kept = {n: p.clone() for n, p in params.items()}
    drawings = episode.support_x.clone(), episode.query_x.clone()

    answers = learner.predict(params, episode)
    assert answers.shape == (TASKS, queries, outputs)
    assert answers.is_floating_point()
    assert answers.isfinite().all()
    assert not answers.requires_grad
    assert answers.flatten(0, 1).std(0).min() > 0, "the same answer to every query is none"
    assert list(params) == list(kept)
    assert all(torch.equal(params[n], kept[n]) and not params[n].requires_grad for n in params)
    assert torch.equal(episode.support_x, drawings[0])
    assert torch.equal(episode.query_x, drawings[1])
    assert torch.equal(learner.predict(params, episode), answers), "the same question, the same answer"


@pytest.mark.parametrize("kind", [PrototypicalNet, MatchingNet, Triplet])
def test_a_class_without_an_example_is_named(kind):
    characters = noise.noise(6, 4, seed=0)
    episode = characters.sample(2, 3, 1, 1, torch.Generator().manual_seed(0))
    learner = kind(Conv4(channels=4))
    params = learner.init(torch.Generator().manual_seed(0))
    learner = learner.with_statistics(params, episode.query_x[0])
    with pytest.raises(ValueError, match="support_y has no example of class 2 in task 0"):
        learner.predict(params, replace(episode, support_y=episode.support_y.clamp(max=1)))
