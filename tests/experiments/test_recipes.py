"""The settings of the papers, and the learners that they make."""

from dataclasses import fields

import pytest

from metalab.experiments.recipes import RECIPES, TASKS, paper
from metalab.experiments.settings import Settings
from metalab.learners import (
    ANIL,
    MAML,
    Contrastive,
    Koch,
    MatchingNet,
    MetaSGD,
    PrototypicalNet,
    Reptile,
    SparseMAML,
    Triplet,
)
from metalab.losses import cross_entropy, mse
from metalab.nets import MLP, Conv4
from metalab.optim import Adam, Descent

EVERY = [(tasks, name) for tasks in TASKS for name, recipe in RECIPES.items() if tasks in recipe.papers]


def chosen(settings, *names):
    return tuple(getattr(settings, name) for name in names)


@pytest.mark.parametrize(("ways", "inner_lr", "inner_steps", "meta_batch"), [(5, 0.4, 1, 32), (20, 0.1, 5, 16)])
@pytest.mark.parametrize("shots", [1, 5])
def test_omniglot_is_as_in_the_maml_paper(ways, inner_lr, inner_steps, meta_batch, shots):
    s = Settings.of("omniglot", ways=ways, shots=shots)
    assert chosen(s, "inner_lr", "inner_steps", "meta_batch") == (inner_lr, inner_steps, meta_batch)
    assert chosen(s, "steps", "outer_lr", "queries", "channels", "pool") == (60_000, 1e-3, shots, 64, "stride")


def test_sine_is_as_in_the_maml_paper():
    s = Settings.of("sine", shots=10)
    assert chosen(s, "shots", "queries", "inner_lr", "inner_steps", "meta_batch") == (10, 10, 0.01, 1, 25)
    assert chosen(s, "steps", "outer_lr", "halve_every", "ways", "pool") == (70_000, 1e-3, None, None, None)


def test_protonet_is_as_in_its_paper():
    s = Settings.of("omniglot", "prototypical")
    assert chosen(s, "ways", "shots", "queries", "meta_batch", "outer_lr", "pool") == (60, 1, 5, 1, 1e-3, "max")
    assert [s.rate(step) for step in (1, 2000, 2001, 4000, 4001)] == [1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4]


def test_without_halving_the_rate_stays():
    assert Settings.of("sine").rate(10**6) == 1e-3


@pytest.mark.parametrize(
    ("ways", "inner_lr", "inner_steps", "inner_batch", "steps"),
    [(5, 1e-3, 5, 10, 100_000), (20, 5e-4, 10, 20, 200_000)],
)
def test_reptile_is_as_in_its_paper(ways, inner_lr, inner_steps, inner_batch, steps):
    s = Settings.of("omniglot", "reptile", ways=ways)
    assert s.learner() == Reptile(Conv4(ways), inner_lr=inner_lr, inner_steps=inner_steps, inner_batch=inner_batch)
    assert chosen(s, "meta_batch", "steps", "shots", "queries") == (5, steps, 1, None)
    assert [s.rate(step) for step in (1, steps // 2 + 1, steps)] == [1, 0.5, pytest.approx(1 / steps)]
    assert s.recipe.optimizer is Descent
    assert Settings.of("omniglot", ways=ways).recipe.optimizer is Adam


@pytest.mark.parametrize("tasks", ["sine", "omniglot"])
def test_sparse_maml_differs_from_maml_in_its_gates_alone(tasks):
    sparse, maml = (Settings.of(tasks, algorithm).learner() for algorithm in ("sparse_maml", "maml"))
    assert type(sparse) is SparseMAML
    assert all(getattr(sparse, f.name) == getattr(maml, f.name) for f in fields(maml))


@pytest.mark.parametrize(
    ("tasks", "algorithm", "kind", "differs"),
    [
        ("sine", "maml", MAML, {"inner_steps": 1}),
        ("sine", "fomaml", MAML, {"inner_steps": 1, "order": 1}),
        ("sine", "anil", ANIL, {"inner_steps": 1, "head": ("w3", "b3")}),
        ("sine", "meta_sgd", MetaSGD, {"inner_steps": 1}),
        ("sine", "joint", MAML, {"inner_steps": 0}),
        ("omniglot", "maml", MAML, {"inner_steps": 5}),
        ("omniglot", "fomaml", MAML, {"inner_steps": 5, "order": 1}),
        ("omniglot", "anil", ANIL, {"inner_steps": 5, "head": ("head", "bias")}),
        ("omniglot", "meta_sgd", MetaSGD, {"inner_steps": 1}),
        ("omniglot", "sparse_maml", SparseMAML, {"inner_steps": 5}),
    ],
)
def test_each_algorithm_is_what_its_name_says(tasks, algorithm, kind, differs):
    ways = {} if tasks == "sine" else {"ways": 20}
    settings = Settings.of(tasks, algorithm, **ways)
    net, loss = (MLP(), mse) if tasks == "sine" else (Conv4(20), cross_entropy)
    expected = kind(net, loss, **{"inner_lr": 0.01 if tasks == "sine" else 0.1, "order": 2} | differs)
    assert settings.learner() == expected  # and of the same class


def test_the_network_is_the_one_asked_for():
    assert Settings.of("omniglot", channels=8, pool="max").learner().net == Conv4(5, channels=8, pool="max")
    protonet = Settings.of("omniglot", "prototypical", channels=8, pool="stride").learner()
    assert protonet == PrototypicalNet(Conv4(channels=8, pool="stride"))


@pytest.mark.parametrize(
    ("algorithm", "learner"),
    [
        ("prototypical", PrototypicalNet(Conv4(pool="max"))),
        ("matching", MatchingNet(Conv4(pool="max"))),
        ("contrastive", Contrastive(Conv4(pool="max"), margin=2.0, hardest=5)),
        ("triplet", Triplet(Conv4(pool="max"), margin=0.2)),
        ("koch", Koch(Conv4(pool="max"))),
    ],
)
def test_the_metric_family_has_one_protocol(algorithm, learner):
    settings = Settings.of("omniglot", algorithm)
    assert settings.learner() == learner
    assert chosen(settings, "ways", "shots", "queries", "steps") == (60, 1, 5, 20_000)
    assert settings.distort == (1.0 if algorithm == "koch" else 0.0)


def test_without_a_number_of_hardest_pairs_all_of_them_count():
    assert Settings.of("omniglot", "contrastive", hardest=0).learner().hardest is None


@pytest.mark.parametrize(("tasks", "algorithm"), EVERY)
def test_what_does_not_apply_is_left_out(tasks, algorithm):
    """Only "no limit" is None in a paper's settings, so that what is not there can be refused."""
    settings = paper(tasks, algorithm)
    assert {name for name, value in settings.items() if value is None} <= {"halve_every", "minutes"}
    assert settings.keys() <= {f.name for f in fields(Settings)} - {"tasks", "algorithm"}
    assert ("ways" in settings) == ("pool" in settings) == ("split" in settings) == (tasks == "omniglot")
    adapts = algorithm != "joint" and RECIPES[algorithm].tested not in ("by distance", "in context")
    assert ("inner_steps" in settings) == adapts
    assert ("queries" in settings) == (algorithm != "reptile")
    assert ("margin" in settings) == (algorithm in ("contrastive", "triplet"))


def test_every_recipe_has_a_title_of_its_own():
    assert len({recipe.title for recipe in RECIPES.values()}) == len(RECIPES)
