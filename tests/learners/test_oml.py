"""OML, compared with a naive loop in which autograd takes the inner steps, and with finite differences."""

import pytest
import torch
import torch.nn.functional as F
from problems import character_problem, seeded

from metalab.learners import OML
from metalab.learners.oml import learn_online
from metalab.nets import Conv4, Tanh, for_tasks
from metalab.tasks import sine


def sines(batch=2):
    learner = OML(Tanh((1, 8, 6)), inner_lr=0.05, batch=batch)
    params = {name: p.double() for name, p in learner.init(seeded()).items()}
    return learner, params, sine.sample(3, 5, 6, seeded(1)).to(torch.float64)


def characters():
    _learner, _params, episode = character_problem()
    learner = OML(Conv4(channels=6), inner_lr=0.3)
    return learner, {name: p.double() for name, p in learner.init(seeded()).items()}, episode


def naive_loss(learner, params, episode):
    """The mean query loss, task by task and step by step, with torch.autograd.grad in the inner loop."""
    labelled = episode.support_y.dtype == torch.int64
    loss = F.cross_entropy if labelled else F.mse_loss
    total = 0
    for task in range(episode.tasks):
        x = torch.cat([episode.support_x[task], episode.query_x[task]])
        z = learner.net({name: p[None] for name, p in params.items()}, x[None])[0]
        count, outputs = len(episode.support_x[task]), episode.ways if labelled else episode.support_y.shape[2]
        weights = torch.zeros(z.shape[1], outputs, dtype=z.dtype, requires_grad=True)
        for start in range(0, count, learner.batch):
            step = slice(start, min(start + learner.batch, count))
            inner = loss(z[step] @ weights, episode.support_y[task, step])
            weights = weights - learner.inner_lr * torch.autograd.grad(inner, weights, create_graph=True)[0]
        total = total + loss(z[count:] @ weights, episode.query_y[task])
    return total / episode.tasks


@pytest.mark.parametrize("problem", [sines, characters])
def test_the_meta_gradient_is_that_of_a_naive_loop_and_of_finite_differences(problem):
    learner, params, episode = problem()
    gradient, metrics = learner.meta_gradient(params, episode)
    leaves = {name: p.clone().requires_grad_() for name, p in params.items()}
    loss = naive_loss(learner, leaves, episode)
    assert metrics["loss"].item() == pytest.approx(loss.item())
    naive = torch.autograd.grad(loss, list(leaves.values()))
    for name, witness in zip(leaves, naive, strict=True):
        torch.testing.assert_close(gradient[name], witness)
    ways = {name: torch.randn(p.shape, generator=seeded(5), dtype=p.dtype) for name, p in params.items()}
    ends = [
        learner.meta_gradient({n: p + sign * 1e-6 * ways[n] for n, p in params.items()}, episode)[1]["loss"]
        for sign in (1, -1)
    ]
    along = sum((gradient[name] * ways[name]).sum() for name in params)
    assert along.item() == pytest.approx(((ends[0] - ends[1]) / 2e-6).item(), rel=1e-5)


def test_predict_learns_online_with_the_statistics_that_were_measured():
    learner, params, episode = characters()
    learner = learner.with_statistics(params, episode.support_x[0])
    z = learner.net(for_tasks(params, 3), episode.query_x, stats=learner.stats)
    stream = learner.net(for_tasks(params, 3), episode.support_x, stats=learner.stats)
    weights = learn_online(stream, episode.support_y, 5, 0.3)
    torch.testing.assert_close(learner.predict(params, episode), z @ weights)


def test_the_order_of_a_stream_matters_to_gradient_steps():
    z, y = torch.randn(1, 12, 5, generator=seeded()), torch.arange(3).repeat_interleave(4)[None]
    order = torch.randperm(12, generator=seeded(1))
    one, other = (learn_online(z[:, rows], y[:, rows], 3, 0.5) for rows in (torch.arange(12), order))
    assert (one - other).abs().max() > 0.01


def test_arguments_that_cannot_be_used():
    with pytest.raises(ValueError, match="batch=0 must be"):
        OML(Conv4(), batch=0)
    with pytest.raises(ValueError, match="y"):
        learn_online(torch.zeros(1, 2, 3), torch.tensor([[0, 5]]), 3, 0.1)
