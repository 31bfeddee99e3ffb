from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from metalab.learners.finetuning import FineTuning
from metalab.nets import Conv4
from metalab.tasks import Characters


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise():
    ink = (torch.rand(9, 4, 28, 28, generator=seeded(2)) < 0.15).to(torch.uint8) * 255
    return Characters(ink, torch.zeros(9, dtype=torch.long), ("noise",), "noise")


def problem(**options):
    """A learner of nine classes, and one new task of three."""
    learner = FineTuning(Conv4(outputs=9, channels=6), **options)
    params = {name: p.double() for name, p in learner.net.init(seeded()).items()}
    stats = learner.net.statistics(params, noise().batch(40, seeded(4))[0].double())
    episode = noise().sample(1, 3, 2, 2, seeded(3)).to(torch.float64)
    return replace(learner, stats=stats), params, episode


def test_training_is_ordinary_classification():
    learner, params, _episode = problem()
    images, labels = noise().batch(10, seeded(5))
    images = images.double()
    leaves = {name: p.clone().requires_grad_() for name, p in params.items()}
    logits = learner.net({name: p[None] for name, p in leaves.items()}, images[None])[0]
    loss = F.cross_entropy(logits, labels)
    theirs = torch.autograd.grad(loss, list(leaves.values()))
    ours, metrics = learner.meta_gradient(params, (images, labels))
    assert list(ours) == list(params)
    for mine, reference in zip(ours.values(), theirs, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-10, atol=1e-12)
    assert metrics["loss"].item() == pytest.approx(loss.item(), rel=1e-12)
    assert metrics["accuracy"].item() == pytest.approx((logits.argmax(1) == labels).double().mean().item(), rel=1e-6)


def test_the_last_layer_starts_afresh():
    learner, params, episode = problem(inner_steps=0)
    logits = learner.predict(params, episode)
    assert logits.shape == (1, 6, 3)
    assert (logits == 0).all(), "a fresh last layer knows nothing yet"


def test_a_frozen_body_makes_it_logistic_regression():
    learner, params, episode = problem(body=False, inner_lr=0.5, inner_steps=7)
    one = {name: p[None] for name, p in params.items()}
    body = Conv4(outputs=None, channels=6)
    z, query_z = (body(one, x, stats=learner.stats)[0] for x in (episode.support_x, episode.query_x))
    weight, bias = z.new_zeros(6, 3), z.new_zeros(3)
    for _ in range(7):
        error = (z @ weight + bias).softmax(1) - F.one_hot(episode.support_y[0], 3)
        weight, bias = weight - 0.5 * z.T @ error / len(z), bias - 0.5 * error.mean(0)
    ours = learner.predict(params, episode)[0]
    torch.testing.assert_close(ours, query_z @ weight + bias, rtol=1e-10, atol=1e-12)


def test_the_whole_network_is_tuned_by_plain_gradient_descent():
    learner, params, episode = problem(inner_lr=0.2, inner_steps=3)
    net = Conv4(outputs=3, channels=6)
    theta = {**params, "head": torch.zeros(6, 3).double(), "bias": torch.zeros(3).double()}
    theta = {name: p.clone()[None].requires_grad_() for name, p in theta.items()}
    for _ in range(3):
        loss = F.cross_entropy(net(theta, episode.support_x, stats=learner.stats)[0], episode.support_y[0])
        grads = torch.autograd.grad(loss, list(theta.values()))
        theta = {
            name: (p - 0.2 * g).detach().requires_grad_() for (name, p), g in zip(theta.items(), grads, strict=True)
        }
    expected = net(theta, episode.query_x, stats=learner.stats)
    torch.testing.assert_close(learner.predict(params, episode), expected, rtol=1e-10, atol=1e-12)


def test_the_support_is_learned():
    learner, params, episode = problem(inner_steps=200)
    itself = replace(episode, query_x=episode.support_x, query_y=episode.support_y)
    assert torch.equal(learner.predict(params, itself).argmax(2), episode.support_y)


def test_trained_parameters_are_left_as_they_were():
    learner, params, episode = problem()
    before = {name: p.clone() for name, p in params.items()}
    learner.predict(params, episode)
    learner.meta_gradient(params, (episode.query_x[0], episode.query_y[0]))
    assert list(params) == list(before)
    assert all(torch.equal(params[n], before[n]) and not params[n].requires_grad for n in params)


def test_each_task_is_tuned_by_itself():
    learner, params, _episode = problem(inner_steps=3)
    episode = noise().sample(3, 3, 2, 2, seeded(3)).to(torch.float64)
    together = learner.predict(params, episode)
    for t in range(3):
        alone = episode[t : t + 1]
        expected = learner.predict(params, alone)
        torch.testing.assert_close(together[t : t + 1], expected, rtol=1e-10, atol=1e-12)


def test_predictions_need_statistics():
    learner, params, episode = problem()
    with pytest.raises(ValueError, match="stats=None: batch norm has no statistics yet"):
        replace(learner, stats=None).predict(params, episode)
