"""Learning in context with pictures: against a loop over tasks and queries, finite differences, and perturbations."""

from dataclasses import replace

import noise
import pytest
import torch
import torch.nn.functional as F
from problems import seeded

from metalab.learners import CausalTransformer, ConditionalNeuralProcess, ReadsPictures, RecurrentLearner
from metalab.nets import Conv4, for_tasks
from metalab.tasks import Episode

WAYS, WIDTH = 3, 6
READERS = {
    "set encoder": ConditionalNeuralProcess(WIDTH, WAYS, width=8),
    "recurrent": RecurrentLearner(WIDTH, WAYS, width=8),
    "transformer": CausalTransformer(WIDTH, WAYS, width=8, layers=2),
}
every_reader = pytest.mark.parametrize("reader", READERS.values(), ids=READERS)


def problem(reader):
    """A learner with statistics, its parameters, and two tasks in double precision."""
    characters = noise.noise(8, 6, seed=0)
    learner = ReadsPictures(Conv4(channels=WIDTH), reader)
    params = {name: p.double() for name, p in learner.init(seeded()).items()}
    episode = characters.sample(2, WAYS, 2, 2, seeded(1)).to(torch.float64)
    images = characters.batch(20, seeded(2))[0].double()
    return learner.with_statistics(params, images), params, episode


@every_reader
def test_answers_are_those_of_a_loop_over_tasks_and_queries(reader):
    learner, params, episode = problem(reader)
    found = learner.predict(params, episode)
    inner = {name[7:]: p for name, p in params.items() if name[:7] == "reader."}
    for t in range(2):

        def embedded(pictures):
            return learner.net(for_tasks(params, 1), pictures[None], stats=learner.stats)

        z, labels = embedded(episode.support_x[t]), F.one_hot(episode.support_y[t], WAYS).double()[None]
        for q in range(WAYS * 2):
            one = reader.read(inner, z, labels, embedded(episode.query_x[t, q : q + 1]))[1]
            torch.testing.assert_close(found[t, q], one[0, 0])


@every_reader
def test_the_gradient_is_that_of_finite_differences(reader):
    learner, params, episode = problem(reader)
    gradient, metrics = learner.meta_gradient(params, episode)

    def loss(theta):
        return learner.meta_gradient(theta, episode)[1]["loss"]

    direction = {n: torch.randn(p.shape, generator=seeded(3), dtype=p.dtype) for n, p in params.items()}
    ends = [loss({n: p + step * direction[n] for n, p in params.items()}) for step in (1e-8, -1e-8)]
    along = sum((gradient[n] * direction[n]).sum() for n in params)
    torch.testing.assert_close((ends[0] - ends[1]) / 2e-8, along, rtol=1e-5, atol=1e-6)
    assert 0 <= metrics["accuracy"] <= 1


@every_reader
def test_labels_are_read_and_the_queries_own_are_not(reader):
    learner, params, episode = problem(reader)
    found = learner.predict(params, episode)
    turned = replace(episode, support_y=(episode.support_y + 1) % WAYS)
    assert (learner.predict(params, turned) != found).flatten(1).any(1).all()
    asked = replace(episode, query_y=(episode.query_y + 1) % WAYS)
    assert torch.equal(learner.predict(params, asked), found)


@every_reader
def test_queries_do_not_see_one_another(reader):
    learner, params, episode = problem(reader)
    found = learner.predict(params, episode)
    other = episode.query_x.clone()
    other[:, 0] = 1 - other[:, 0]
    moved = learner.predict(params, replace(episode, query_x=other))
    torch.testing.assert_close(moved[:, 1:], found[:, 1:], rtol=1e-12, atol=1e-12)
    assert (moved[:, 0] != found[:, 0]).any(1).all()


def test_what_does_not_fit_is_named():
    with pytest.raises(TypeError, match="reader=3 must be a learner such as"):
        ReadsPictures(Conv4(), 3)
    learner, params, episode = problem(READERS["set encoder"])
    with pytest.raises(ValueError, match="stats=None"):
        replace(learner, stats=None).predict(params, episode)
    four = Episode(episode.support_x, episode.support_y, episode.query_x, episode.query_y, ways=4)
    with pytest.raises(ValueError, match="the network has only 3 outputs"):
        learner.predict(params, four)
