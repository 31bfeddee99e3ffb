"""Each score is the one that the learner's own `predict` gives on the same episodes."""

from dataclasses import replace

import noise
import pytest
import torch

from metalab.evaluate import Score
from metalab.experiments import scoring
from metalab.experiments.recipes import RECIPES
from metalab.experiments.settings import Settings
from metalab.learners import MAML
from metalab.losses import accuracy, mse
from metalab.nets import MLP
from metalab.tasks import Groups, as_episode, omniglot, one_shot_challenge, sine

BY_DISTANCE = [name for name, recipe in RECIPES.items() if recipe.tested == "by distance"]
NAMES = ["w1", "b1", "w2", "b2", "w3", "b3"]  # of the parameters that are the network's own


@pytest.fixture
def small_omniglot(monkeypatch):
    monkeypatch.setattr(omniglot, "load", noise.small_omniglot)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def checkpoint(settings):
    """What a checkpoint holds: parameters, and a state that is none of them."""
    params = settings.learner().init(seeded(3))
    return params, {**params, "trainer.mean": torch.zeros(9), "trainer.generator": seeded(0).get_state()}


@pytest.mark.parametrize("algorithm", ["maml", "anil", "meta_sgd", "sparse_maml", "joint"])
def test_sine_is_scored_after_the_paper_s_numbers_of_steps(algorithm):
    settings = Settings.of("sine", algorithm, shots=10)
    params, tensors = checkpoint(settings)
    found = list(scoring.results(settings, tensors, episodes=12, seed=4))
    episode = sine.sample(12, 10, 100, seeded(4))
    for result, steps in zip(found, (0, 1, 5, 10), strict=True):
        if steps:
            answers = replace(settings.learner(), inner_steps=steps).predict(params, episode)
        else:
            answers = MAML(MLP(), mse, inner_steps=0).predict({name: params[name] for name in NAMES}, episode)
        errors = (answers - episode.query_y).square().mean((1, 2))
        assert result.score.mean == pytest.approx(errors.mean().item(), rel=1e-6)
        assert result.protocol == {
            "inner steps": steps, "test tasks": 12, "seed": 4, "shots": 10, "query points": 100,
        }  # fmt: skip
        assert result.row(found[0]) == f"  {steps:<11}  {result.score}"


@pytest.mark.parametrize(("inner_steps", "tested"), [(1, [1, 3]), (3, [3]), (5, [5])])
def test_maml_is_scored_after_its_own_steps_and_the_paper_s(inner_steps, tested, small_omniglot):
    settings = Settings.of("omniglot", "anil", ways=4, shots=2, inner_steps=inner_steps, channels=4)
    params, tensors = checkpoint(settings)
    found = list(scoring.results(settings, tensors, episodes=6, seed=5))
    episode = noise.noise(21, 7, seed=2).sample(6, 4, 2, 2, seeded(5))
    for result, steps in zip(found, tested, strict=True):
        right = accuracy(replace(settings.learner(), inner_steps=steps).predict(params, episode), episode.query_y)
        assert result.score.mean == pytest.approx(right.mean().item(), rel=1e-6)
        assert result.protocol == {
            "ways": 4, "inner steps": steps, "test tasks": 6, "seed": 5, "shots": 2,
            "split": "the author's, by alphabet", "rotations": "none",
            "queries per class": 2, "batch norm": "transductive (each query batch by its own)",
        }  # fmt: skip


@pytest.mark.parametrize(("ways", "batch"), [(5, 5), (20, 10)])
def test_reptile_is_scored_after_50_steps_of_its_own(ways, batch, small_omniglot):
    settings = Settings.of("omniglot", "reptile", ways=ways, channels=2)
    params, tensors = checkpoint(settings)
    (result,) = scoring.results(settings, tensors, episodes=2, seed=5)
    episode = noise.noise(21, 7, seed=2).sample(2, ways, 1, 1, seeded(5))
    learner = replace(settings.learner(), inner_steps=50, inner_batch=batch, generator=seeded(5))
    right = accuracy(learner.predict(params, episode), episode.query_y)
    assert result.score.mean == pytest.approx(right.mean().item(), rel=1e-6)
    assert result.protocol.items() >= {"ways": ways, "inner steps": 50, "shots": 1, "queries per class": 1}.items()


def test_reptile_on_sines_takes_the_whole_support_set_each_step():
    settings = Settings.of("sine", "reptile")
    params, tensors = checkpoint(settings)
    found = list(scoring.results(settings, tensors, episodes=3, seed=5))
    assert [result.protocol["inner steps"] for result in found] == [1, 5, 10]
    episode = sine.sample(3, 5, 100, seeded(5))
    learner = replace(settings.learner(), inner_steps=10, inner_batch=5, generator=seeded(0))
    errors = (learner.predict(params, episode) - episode.query_y).square()
    assert found[-1].score.mean == pytest.approx(errors.mean().item(), rel=1e-4)  # whatever the order of the points


@pytest.mark.parametrize("algorithm", BY_DISTANCE)
def test_learnt_distances_are_scored_by_statistics_of_the_training_characters(algorithm, small_omniglot):
    settings = Settings.of("omniglot", algorithm, ways=6, channels=4, split="random", seed=9)
    params, tensors = checkpoint(settings)
    found = list(scoring.results(settings, tensors, episodes=6, seed=5))
    pictures, _labels = noise.noise(8, 6, seed=1).with_rotations().batch(1000, seeded(9))
    learner = replace(settings.learner(), stats=settings.learner().net.statistics(params, pictures))
    for result, (ways, within) in zip(found, [(5, False), (5, True), (20, False), (20, True)], strict=True):
        groups = Groups(noise.noise(21, 7, seed=2), ways, 6, within_alphabet=within)
        episode = as_episode(groups(6, seeded(5)), 1)
        right = accuracy(learner.predict(params, episode), episode.query_y)
        assert result.score.mean == pytest.approx(right.mean().item(), rel=1e-6)
        assert result.protocol == {
            "ways": ways, "characters of": "one alphabet" if within else "any alphabets", "test tasks": 6,
            "seed": 5, "shots": 1, "split": "random characters", "rotations": "none",
            "queries per class": 5, "batch norm": "inductive (statistics of 1000 training pictures)",
        }  # fmt: skip
        assert result.as_json() == {
            "measure": "accuracy", "mean": result.score.mean, "ci95": result.score.ci95, "episodes": 6,
            "protocol": result.protocol,
        }  # fmt: skip


@pytest.mark.parametrize("algorithm", ["maml", "reptile", "prototypical"])
def test_shots_that_leave_few_drawings_have_fewer_queries(algorithm, small_omniglot):
    settings = Settings.of(
        "omniglot", algorithm, ways=4, shots=5, queries=1 if algorithm != "reptile" else None, channels=2
    )
    for result in scoring.results(settings, checkpoint(settings)[1], episodes=2):
        assert result.protocol["queries per class"] == 2  # of 7 drawings


def test_large_tasks_are_scored_a_few_at_a_time(monkeypatch, small_omniglot):
    drawn = []
    sample = type(noise.noise(2, 2, seed=0)).sample

    def counted(characters, tasks, *arguments):
        drawn.append(tasks)
        return sample(characters, tasks, *arguments)

    monkeypatch.setattr(type(noise.noise(2, 2, seed=0)), "sample", counted)
    monkeypatch.setattr(scoring, "EXAMPLES", 90)
    settings = Settings.of("omniglot", ways=20, shots=1, inner_steps=3, channels=2)
    list(scoring.results(settings, checkpoint(settings)[1], episodes=5))
    assert drawn == [2, 2, 1]  # with 40 pictures each


def test_sines_with_many_points_are_scored_a_few_at_a_time(monkeypatch):
    drawn, sample = [], sine.sample
    monkeypatch.setattr(sine, "sample", lambda tasks, *arguments: drawn.append(tasks) or sample(tasks, *arguments))
    monkeypatch.setattr(scoring, "SINE_POINTS", 250)
    settings = Settings.of("sine")
    next(scoring.results(settings, checkpoint(settings)[1], episodes=5))
    assert drawn == [2, 2, 1]  # with 105 points each


def test_a_network_that_broke_down_is_refused():
    settings = Settings.of("sine")
    _params, tensors = checkpoint(settings)
    tensors["b2"] = tensors["b2"] + float("inf")
    with pytest.raises(ValueError, match="b2 of checkpoint has numbers that are not finite"):
        next(scoring.results(settings, tensors))


def result(measure="accuracy", **protocol):
    return scoring.Result(measure, Score(0.9876, 0.0043, 600), protocol)


def test_a_table_says_once_what_its_rows_share_and_below_a_row_what_differs():
    shared = {"test tasks": 600, "seed": 1000, "shots": 1, "split": "random characters", "queries per class": 5}
    first = result(ways=5, **{"characters of": "any alphabets"}, **shared)
    last = result(ways=20, **{"characters of": "one alphabet: the author's challenge"}, **shared | {"test tasks": 20})
    assert first.heading().splitlines() == [
        "  split              random characters",
        "  shots              1",
        "  queries per class  5",
        "  test tasks         600",
        "  seed               1000",
        "",
        "  ways  characters of                         accuracy, mean ± 95 % interval",
    ]
    assert first.row(first) == "  5     any alphabets                         98.8 ± 0.4 %"
    assert last.row(first).splitlines() == [
        "  20    one alphabet: the author's challenge  98.8 ± 0.4 %",
        "        (test tasks: 20)",
    ]


def test_ways_stand_above_the_table_where_they_do_not_vary():
    line = result(ways=5, **{"inner steps": 3, "seed": 7}).heading().splitlines()[0]
    assert line == "  ways               5"


def test_on_real_omniglot_the_challenge_is_scored_too():
    try:
        _train, test = omniglot.load()
    except omniglot.OmniglotNotFound:
        pytest.skip("Omniglot cannot be had here")
    settings = Settings.of("omniglot", "contrastive", channels=2)
    params, tensors = checkpoint(settings)
    *_, last = scoring.results(settings, tensors, episodes=2, seed=5)
    pictures, _labels = settings.characters()[0].batch(1000, seeded(0))
    learner = settings.learner()
    learner = replace(learner, stats=learner.net.statistics(params, pictures))
    trial = one_shot_challenge(test)
    right = accuracy(learner.predict(params, trial), trial.query_y)
    assert last.score.mean == pytest.approx(right.mean().item(), rel=1e-6)
    assert last.score.episodes == 20
    assert last.protocol["characters of"] == "one alphabet: the author's challenge"


def test_ways_that_no_alphabet_has_are_left_out_within_alphabets(monkeypatch):
    train, test = noise.small_omniglot()
    halves = replace(test, alphabet=torch.arange(len(test)) % 2, names=("a", "b"))  # of 11 and 10 characters
    monkeypatch.setattr(omniglot, "load", lambda split, side: (train, halves))
    settings = Settings.of("omniglot", "prototypical", ways=6, channels=2, split="random")
    found = list(scoring.results(settings, checkpoint(settings)[1], episodes=2, seed=5))
    kinds = [(result.protocol["ways"], result.protocol["characters of"]) for result in found]
    assert kinds == [(5, "any alphabets"), (5, "one alphabet"), (20, "any alphabets")]
