"""Reptile against torch.optim.Adam, task by task."""

from dataclasses import replace

import noise
import pytest
import torch

from metalab.engine import cores
from metalab.learners.reptile import Reptile
from metalab.losses import cross_entropy, mse
from metalab.nets import MLP, Conv4
from metalab.optim import Descent
from metalab.tasks import Episode, sine
from metalab.train import Trainer


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def sine_problem(**options):
    learner = Reptile(MLP((1, 9, 8, 1)), mse, **{"inner_lr": 0.02, "inner_steps": 4, "inner_batch": 3} | options)
    params = {name: 60 * p.double() for name, p in learner.init(seeded()).items()}
    return learner, params, sine.sample(3, 7, 5, seeded(1)).to(torch.float64)


def character_problem(pool="stride", **options):
    learner = Reptile(Conv4(3, channels=4, pool=pool), **{"inner_steps": 3, "inner_batch": 4} | options)
    params = {name: p.double() for name, p in learner.init(seeded()).items()}
    return learner, params, noise.noise(8, 6, seed=2).sample(3, 3, 2, 1, seeded(3)).to(torch.float64)


PROBLEMS = {
    "sine": sine_problem,
    "conv4": character_problem,
    "conv4, max pooling": lambda **o: character_problem("max", **o),
}


def trained(learner, params, x, y):
    """One task's network after a plain loop of PyTorch's Adam over minibatches (x, y)."""
    theta = {name: p.clone()[None].requires_grad_() for name, p in params.items()}
    adam = torch.optim.Adam(theta.values(), lr=learner.inner_lr, betas=(0.0, 0.999))
    for start in range(0, len(x), learner.inner_batch):
        rows = slice(start, start + learner.inner_batch)
        adam.zero_grad()
        learner.loss(learner.net(theta, x[None, rows]), y[None, rows]).sum().backward()
        adam.step()
    return {name: p[0].detach() for name, p in theta.items()}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_equals_pytorchs_adam_on_each_task(problem):
    learner, params, episode = PROBLEMS[problem]()
    streamed = learner.stream(episode, seeded(4))
    ends = [trained(learner, params, streamed.support_x[t], streamed.support_y[t]) for t in range(3)]
    adapted = learner.adapt(params, streamed)
    grads, metrics = learner.meta_gradient(params, streamed)
    losses = []
    for name, p in params.items():
        together = torch.stack([end[name] for end in ends])
        torch.testing.assert_close(adapted[name], together, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(grads[name], p - together.mean(0), rtol=1e-10, atol=1e-12)
    for t, end in enumerate(ends):
        outputs = learner.net({name: p[None] for name, p in end.items()}, episode.query_x[t : t + 1])
        losses.append(learner.loss(outputs, episode.query_y[t : t + 1]))
    assert metrics["loss"].item() == pytest.approx(torch.cat(losses).mean().item(), rel=1e-10)


def test_a_stream_passes_over_the_support_set_again_and_again_in_new_orders():
    learner = Reptile(MLP(), mse, inner_steps=6, inner_batch=4)  # 24 rows of 7: three passes and three rows more
    x = torch.arange(14.0).view(2, 7, 1)
    episode = Episode(x, 10 * x, torch.zeros(2, 1, 1), torch.zeros(2, 1, 1), ways=1)
    streamed = learner.stream(episode, seeded())
    assert streamed.support_x.shape == (2, 24, 1)
    assert torch.equal(streamed.support_y, 10 * streamed.support_x)
    orders = []
    for t in range(2):
        rows = streamed.support_x[t].flatten().tolist()
        for start in (0, 7, 14):
            assert sorted(rows[start : start + 7]) == x[t].flatten().tolist()
            orders.append([row - 7 * t for row in rows[start : start + 7]])
        assert len(set(rows[21:])) == 3
    assert len({tuple(order) for order in orders}) == 6
    assert streamed.query_x is episode.query_x
    assert torch.equal(learner.stream(episode, seeded()).support_x, streamed.support_x)
    assert not torch.equal(learner.stream(episode, seeded(1)).support_x, streamed.support_x)


def test_defaults_are_the_papers():
    learner = Reptile(Conv4(5))
    assert (learner.loss, learner.inner_lr, learner.inner_steps, learner.inner_batch) == (cross_entropy, 1e-3, 5, 10)


def test_a_trainer_that_descends_interpolates():
    """θ + ε (mean θ̃ − θ), with ε falling from 1 to 0."""
    learner, params, _episode = sine_problem()
    streams = []

    def sample(generator):
        streams.append(learner.stream(sine.sample(3, 7, 5, generator).to(torch.float64), generator))
        return streams[-1]

    trainer = Trainer(learner, sample, outer_lr=lambda n: 1 - (n - 1) / 4, params=params, optimizer=Descent)
    for n in range(1, 5):
        trainer.step()
        ends = [trained(learner, params, streams[-1].support_x[t], streams[-1].support_y[t]) for t in range(3)]
        means = {name: torch.stack([end[name] for end in ends]).mean(0) for name in params}
        params = {name: p + (1 - (n - 1) / 4) * (means[name] - p) for name, p in params.items()}
        for name, p in params.items():
            torch.testing.assert_close(trainer.params[name], p, rtol=1e-9, atol=1e-11)


def test_parts_add_up_to_the_whole(monkeypatch):
    learner, params, episode = character_problem()
    streamed = learner.stream(episode, seeded())
    whole, whole_metrics = learner.meta_gradient(params, streamed)
    monkeypatch.setattr(cores, "IN_CACHE", 1)
    ours, metrics = learner.meta_gradient(params, streamed)
    for name in whole:
        torch.testing.assert_close(ours[name], whole[name], rtol=1e-10, atol=1e-13)
    assert {n: m.item() for n, m in metrics.items()} == pytest.approx({n: m.item() for n, m in whole_metrics.items()})


def test_prediction_is_that_of_the_adapted_networks():
    learner, params, episode = character_problem()
    theta = learner.adapt(params, learner.stream(episode, seeded(5)))
    answers = replace(learner, generator=seeded(5)).predict(params, episode)
    assert torch.equal(answers, learner.net(theta, episode.query_x))
    assert not answers.requires_grad
    inductive = replace(learner, transductive=False, generator=seeded(5)).predict(params, episode)
    assert torch.equal(inductive, learner.net(theta, episode.query_x, context=episode.support_x))
    assert not torch.allclose(inductive, answers)


def test_prediction_draws_from_the_generator_or_from_the_seed_0_anew():
    learner, params, episode = character_problem()
    first = learner.predict(params, episode)
    assert torch.equal(learner.predict(params, episode), first)
    assert torch.equal(replace(learner, generator=seeded(0)).predict(params, episode), first)
    given = replace(learner, generator=seeded(5))
    drawn, again = given.predict(params, episode), given.predict(params, episode)
    assert not torch.equal(drawn, first)
    assert not torch.equal(drawn, again), "a generator that is given goes on"


def test_inputs_are_left_as_they_were():
    learner, params, episode = sine_problem()
    before = {name: p.clone() for name, p in params.items()}
    rows = episode.support_x.clone()
    learner.meta_gradient(params, learner.stream(episode, seeded()))
    assert all(torch.equal(params[name], before[name]) for name in params)
    assert torch.equal(episode.support_x, rows)


def test_an_episode_that_is_no_stream_is_refused():
    learner, params, episode = sine_problem()
    with pytest.raises(ValueError, match=r"has 7 examples, but 4 minibatches of 3 take 12: order them by stream\("):
        learner.meta_gradient(params, episode)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inner_steps": 0}, "inner_steps=0 must be a whole number of at least 1"),
        ({"inner_batch": 0}, "inner_batch=0 must be a whole number of at least 1"),
        ({"inner_lr": 0.0}, "inner_lr=0.0 must be a finite number, above 0"),
        ({"inner_lr": float("nan")}, "inner_lr=nan must be a finite number, above 0"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Reptile(MLP(), mse, **options)
