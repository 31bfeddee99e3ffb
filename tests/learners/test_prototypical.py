from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from metalab.learners.prototypical import PrototypicalNet, prototype_logits
from metalab.nets import Conv4
from metalab.tasks import Characters


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def problem(pool="max", **options):
    learner = PrototypicalNet(Conv4(channels=6, pool=pool), **options)
    ink = (torch.rand(9, 5, 28, 28, generator=seeded(2)) < 0.15).to(torch.uint8) * 255
    characters = Characters(ink, torch.zeros(9, dtype=torch.long), ("noise",), "noise")
    params = {name: p.double() for name, p in learner.net.init(seeded()).items()}
    episode = characters.sample(3, 4, 2, 3, seeded(3)).to(torch.float64)
    stats = learner.net.statistics(params, characters.batch(40, seeded(4))[0].double())
    return replace(learner, stats=stats), params, episode


def plain_logits(support_z, support_y, query_z, ways):
    """One task as the paper states it: a loop over queries and classes."""
    rows = []
    for z in query_z:
        centres = [support_z[support_y == n].mean(0) for n in range(ways)]
        rows.append(torch.stack([-((z - c) ** 2).sum() for c in centres]))
    return torch.stack(rows)


def embeddings(count, seed):
    return torch.randn(2, count, 5, generator=seeded(seed), dtype=torch.float64)


def test_logits_are_minus_the_squared_distances_to_the_means():
    support_z, query_z = embeddings(7, 0), embeddings(4, 1)
    support_y = torch.tensor([[0, 0, 0, 1, 2, 2, 2], [2, 0, 1, 1, 0, 2, 2]])  # as many of a class as there happen to be
    ours = prototype_logits(support_z, support_y, query_z, 3)
    for t in range(2):
        torch.testing.assert_close(ours[t], plain_logits(support_z[t], support_y[t], query_z[t], 3))


def test_the_order_of_the_support_does_not_matter():
    support_z, query_z = embeddings(6, 0), embeddings(4, 1)
    support_y = torch.tensor([[0, 0, 1, 1, 2, 2]] * 2)
    order = torch.tensor([5, 0, 3, 1, 4, 2])
    shuffled = prototype_logits(support_z[:, order], support_y[:, order], query_z, 3)
    torch.testing.assert_close(shuffled, prototype_logits(support_z, support_y, query_z, 3))


def test_a_query_on_a_prototype_is_sure_of_it():
    support_z = torch.tensor([[[0.0, 0.0], [2.0, 0.0], [0.0, 30.0]]])
    logits = prototype_logits(support_z, torch.tensor([[0, 0, 1]]), torch.tensor([[[1.0, 0.0], [0.0, 30.0]]]), 2)
    assert logits.tolist() == [[[0.0, -901.0], [-901.0, 0.0]]]
    assert logits.softmax(2).tolist() == [[[1.0, 0.0], [0.0, 1.0]]]


@pytest.mark.parametrize("pool", ["stride", "max"])
def test_meta_gradient_equals_the_plain_loop(pool):
    learner, params, episode = problem(pool)
    leaves = {name: p.clone().requires_grad_() for name, p in params.items()}
    losses, hits = [], []
    for t in range(episode.tasks):
        pictures = torch.cat([episode.support_x[t], episode.query_x[t]])
        z = learner.net({name: p[None] for name, p in leaves.items()}, pictures[None])[0]
        support = len(episode.support_x[t])
        logits = plain_logits(z[:support], episode.support_y[t], z[support:], 4)
        losses.append(F.cross_entropy(logits, episode.query_y[t]))
        hits.append((logits.argmax(1) == episode.query_y[t]).double().mean())
    loss = torch.stack(losses).mean()
    theirs = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
    ours, metrics = learner.meta_gradient(params, episode)
    assert list(ours) == list(params)
    for name in params:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-10, atol=1e-12)
    assert metrics["loss"].item() == pytest.approx(loss.item(), rel=1e-12)
    assert metrics["accuracy"].item() == pytest.approx(torch.stack(hits).mean().item(), rel=1e-6)


def test_inputs_are_left_as_they_were():
    learner, params, episode = problem()
    before = {name: p.clone() for name, p in params.items()}
    learner.meta_gradient(params, episode)
    learner.predict(params, episode)
    assert all(torch.equal(params[n], before[n]) and not params[n].requires_grad for n in params)


def test_inductive_prediction_needs_statistics():
    learner, params, episode = problem()
    message = r"stats=None: batch norm has no statistics yet\. Use learner\.with_statistics\(params, images\)"
    with pytest.raises(ValueError, match=message):
        replace(learner, stats=None).predict(params, episode)


def test_statistics_are_measured_at_the_parameters_on_the_pictures():
    learner, params, episode = problem()
    images = episode.support_x[0]
    measured = PrototypicalNet(learner.net).with_statistics(params, images)
    expected = learner.net.statistics(params, images)
    assert measured.stats.keys() == {f"{kind}{i}" for kind in ("mean", "variance") for i in range(1, 5)}
    assert all(torch.equal(measured.stats[name], expected[name]) for name in expected)
    assert not torch.allclose(measured.predict(params, episode), learner.predict(params, episode))


def test_inductive_prediction_uses_the_given_statistics():
    learner, params, episode = problem()
    ours = learner.predict(params, episode)
    assert ours.shape == (3, 12, 4)
    one = {name: p[None] for name, p in params.items()}
    for t in range(episode.tasks):
        support_z = learner.net(one, episode.support_x[t : t + 1], stats=learner.stats)[0]
        query_z = learner.net(one, episode.query_x[t : t + 1], stats=learner.stats)[0]
        expected = plain_logits(support_z, episode.support_y[t], query_z, 4)
        torch.testing.assert_close(ours[t], expected, rtol=1e-10, atol=1e-12)


def test_only_transductive_queries_see_each_other():
    learner, params, episode = problem()
    first = episode[:1]
    shorter = replace(first, query_x=first.query_x[:, :1], query_y=first.query_y[:, :1])
    torch.testing.assert_close(learner.predict(params, shorter), learner.predict(params, episode)[:1, :1])
    transductive = PrototypicalNet(learner.net, transductive=True)
    whole = transductive.predict(params, episode)
    assert not torch.allclose(transductive.predict(params, shorter), whole[:1, :1])
    # Even so, a task does not see the other tasks.
    torch.testing.assert_close(transductive.predict(params, first), whole[:1])
