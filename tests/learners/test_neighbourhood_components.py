"""Neighbourhood components against a loop over drawings."""

import pytest
import torch
from test_prototypical import problem

from metalab.learners import NeighbourhoodComponents, PrototypicalNet


def plain_loss(z, labels):
    """One episode as the paper states it: how likely each drawing is to choose a neighbour of its class."""
    terms = []
    for i, a in enumerate(z):
        weight = {j: torch.exp(-((a - b) ** 2).sum()) for j, b in enumerate(z) if j != i}
        fellows = sum(w for j, w in weight.items() if labels[j] == labels[i])
        terms.append(-torch.log(fellows / sum(weight.values())))
    return torch.stack(terms).mean()


def test_meta_gradient_equals_the_plain_loop():
    plain, params, episode = problem()
    learner = NeighbourhoodComponents(plain.net)
    leaves = {name: p.clone().requires_grad_() for name, p in params.items()}
    losses = []
    for t in range(episode.tasks):
        pictures = torch.cat([episode.support_x[t], episode.query_x[t]])
        z = learner.net({name: p[None] for name, p in leaves.items()}, pictures[None])[0]
        losses.append(plain_loss(z, torch.cat([episode.support_y[t], episode.query_y[t]]).tolist()))
    loss = torch.stack(losses).mean()
    theirs = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
    ours, metrics = learner.meta_gradient(params, episode)
    for name in params:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-8, atol=1e-12)
    assert metrics["loss"].item() == pytest.approx(loss.item(), rel=1e-10)


def test_it_answers_as_a_prototypical_network():
    plain, params, episode = problem()
    learner = NeighbourhoodComponents(plain.net, stats=plain.stats)
    assert torch.equal(learner.predict(params, episode), plain.predict(params, episode))
    accuracy = learner.meta_gradient(params, episode)[1]["accuracy"]
    assert accuracy == PrototypicalNet(plain.net).meta_gradient(params, episode)[1]["accuracy"]
