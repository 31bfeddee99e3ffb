"""What all learners promise, whatever they are: see metalab.learners.learner."""

from dataclasses import is_dataclass

import noise
import pytest
import torch
from problems import seeded

from metalab import learners
from metalab.learners import (
    ANIL,
    MAML,
    Contrastive,
    FineTuning,
    Koch,
    MatchingNet,
    MetaSGD,
    PrototypicalNet,
    Reptile,
    SparseMAML,
    Triplet,
)
from metalab.nets import Conv4

CLASSES, WAYS, TASKS, QUERIES = 9, 4, 3, 2
NET, EMBEDDING = Conv4(WAYS, channels=5), Conv4(channels=5, pool="max")
LEARNERS = {
    "MAML": MAML(NET),
    "ANIL": ANIL(NET),
    "MetaSGD": MetaSGD(NET),
    "SparseMAML": SparseMAML(NET),
    "Reptile": Reptile(NET),
    "PrototypicalNet": PrototypicalNet(EMBEDDING),
    "MatchingNet": MatchingNet(EMBEDDING),
    "Contrastive": Contrastive(EMBEDDING),
    "Triplet": Triplet(EMBEDDING),
    "Koch": Koch(EMBEDDING),
    "FineTuning": FineTuning(Conv4(CLASSES, channels=5), inner_steps=2),
}


def test_all_learners_are_tested_here():
    exported = {name for name, value in vars(learners).items() if isinstance(value, type)}
    assert exported - {"Learner"} == LEARNERS.keys()
    assert all(type(learner).__name__ == name and is_dataclass(learner) for name, learner in LEARNERS.items())


@pytest.mark.parametrize("name", LEARNERS)
def test_predictions_are_an_answer_to_each_query_and_change_nothing(name):
    learner, characters = LEARNERS[name], noise.noise(CLASSES, 6, seed=0)
    params = learner.init(seeded())
    if hasattr(learner, "with_statistics"):
        learner = learner.with_statistics(params, characters.batch(30, seeded(1))[0])
    episode = characters.sample(TASKS, WAYS, 2, QUERIES, seeded(2))
    kept = {n: p.clone() for n, p in params.items()}
    drawings = episode.support_x.clone(), episode.query_x.clone()

    answers = learner.predict(params, episode)
    assert answers.shape == (TASKS, WAYS * QUERIES, WAYS)
    assert answers.is_floating_point()
    assert answers.isfinite().all()
    assert not answers.requires_grad
    assert answers.flatten(0, 1).std(0).min() > 0, "the same answer to every query is none"
    assert list(params) == list(kept)
    assert all(torch.equal(params[n], kept[n]) and not params[n].requires_grad for n in params)
    assert torch.equal(episode.support_x, drawings[0])
    assert torch.equal(episode.query_x, drawings[1])
    assert torch.equal(learner.predict(params, episode), answers), "the same question, the same answer"
