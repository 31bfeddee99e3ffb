from dataclasses import replace

import noise
import pytest
import torch
import torch.nn.functional as F
from on_device import OnDevice
from torch import nn

from metalab.learners.matching import MatchingNet, matching_logits
from metalab.losses import accuracy
from metalab.nets import Conv4
from metalab.tasks import Groups, as_episode
from metalab.train import Trainer


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def embeddings(count, seed):
    return torch.randn(2, count, 5, generator=seeded(seed), dtype=torch.float64)


def plain_probabilities(support_z, support_y, query_z, ways):
    """One task as the paper states it; torch's cosine embedding loss of a matching pair is 1 − cos."""
    rows = []
    for z in query_z:
        cosine = [1 - nn.CosineEmbeddingLoss()(z[None], s[None], torch.ones(1)) for s in support_z]
        total = sum(torch.exp(c) for c in cosine)
        p = [torch.zeros((), dtype=z.dtype) for _ in range(ways)]
        for c, label in zip(cosine, support_y.tolist(), strict=True):
            p[label] = p[label] + torch.exp(c) / total
        rows.append(torch.stack(p))
    return torch.stack(rows)


def problem():
    learner = MatchingNet(Conv4(channels=6, pool="max"))
    source = noise.noise(9, 5, seed=2)
    params = {name: p.double() for name, p in learner.init(seeded()).items()}
    episode = as_episode(Groups(source, 4, 5)(3, seeded(3)).double(), shots=2)
    stats = learner.net.statistics(params, source.batch(40, seeded(4))[0].double())
    return replace(learner, stats=stats), params, episode


def test_logits_are_the_logs_of_the_attention_to_each_class():
    support_z, query_z = embeddings(7, 0), embeddings(4, 1)
    support_y = torch.tensor([[0, 0, 0, 1, 2, 2, 2], [2, 0, 1, 1, 0, 2, 2]])
    ours = matching_logits(support_z, support_y, query_z, 3)
    torch.testing.assert_close(ours.exp().sum(2), torch.ones(2, 4).double())
    for t in range(2):
        torch.testing.assert_close(ours[t].exp(), plain_probabilities(support_z[t], support_y[t], query_z[t], 3))


def test_only_directions_count():
    support_z, query_z = embeddings(6, 0), embeddings(4, 1)
    support_y = torch.tensor([[0, 0, 1, 1, 2, 2]] * 2)
    ours = matching_logits(support_z, support_y, query_z, 3)
    torch.testing.assert_close(matching_logits(7 * support_z, support_y, 0.1 * query_z, 3), ours)


def test_gradients_are_those_of_finite_differences():
    support_y = torch.tensor([[0, 1, 1]] * 2)
    parts = embeddings(3, 0).requires_grad_(), embeddings(2, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda s, q: matching_logits(s, support_y, q, 2), parts)


def test_embeddings_that_are_zero_or_equal_give_finite_gradients_and_ties():
    support_y = torch.tensor([[0, 1, 2]])
    for value in (0.0, 1.0):
        support_z, query_z = (torch.full((1, 3, 4), value, requires_grad=True) for _ in range(2))
        logits = matching_logits(support_z, support_y, query_z, 3)
        assert accuracy(logits.detach(), support_y).item() == pytest.approx(1 / 3)
        slopes = torch.autograd.grad(logits[..., 0].sum(), (support_z, query_z))
        assert all(slope.isfinite().all() for slope in slopes)


def test_an_embedding_of_zero_has_a_bounded_slope():
    support_z, query_z = embeddings(3, 0), torch.zeros(2, 1, 5, dtype=torch.float64, requires_grad=True)
    logits = matching_logits(support_z, torch.tensor([[0, 1, 2]] * 2), query_z, 3)
    (slope,) = torch.autograd.grad(logits[..., 0].sum(), query_z)
    assert 0 < slope.abs().max() < 2000  # two directions, of length 1, over the shortest length


def test_embeddings_of_two_widths_are_named():
    with pytest.raises(ValueError, match=r"query_z has the shape .* with .*E = 5"):
        matching_logits(embeddings(3, 0), torch.tensor([[0, 1, 2]] * 2), embeddings(3, 0)[..., :4], 3)


def test_meta_gradient_equals_the_plain_loop():
    learner, params, episode = problem()
    leaves = {name: p.clone().requires_grad_() for name, p in params.items()}
    losses, hits = [], []
    for t in range(episode.tasks):
        pictures = torch.cat([episode.support_x[t], episode.query_x[t]])
        z = learner.net({name: p[None] for name, p in leaves.items()}, pictures[None])[0]
        p = plain_probabilities(z[:8], episode.support_y[t], z[8:], 4)
        losses.append(F.nll_loss(p.log(), episode.query_y[t]))
        hits.append((p.argmax(1) == episode.query_y[t]).double().mean())
    loss = torch.stack(losses).mean()
    theirs = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
    ours, metrics = learner.meta_gradient(params, episode)
    assert list(ours) == list(params)
    for name in params:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-9, atol=1e-12)
    assert metrics["loss"].item() == pytest.approx(loss.item(), rel=1e-12)
    assert metrics["accuracy"].item() == pytest.approx(torch.stack(hits).mean().item(), rel=1e-6)


def test_prediction_uses_the_given_statistics():
    learner, params, episode = problem()
    ours = learner.predict(params, episode)
    one = {name: p[None] for name, p in params.items()}
    for t in range(episode.tasks):
        support_z, query_z = (
            learner.net(one, x[t : t + 1], stats=learner.stats)[0] for x in (episode.support_x, episode.query_x)
        )
        expected = plain_probabilities(support_z, episode.support_y[t], query_z, 4).log()
        torch.testing.assert_close(ours[t], expected, rtol=1e-9, atol=1e-12)


def test_a_training_step_never_waits_for_the_device(monkeypatch):
    # On a CPU, and only there, one_hot reads the labels to check them.
    monkeypatch.setattr(F, "one_hot", lambda labels, ways: (labels[..., None] == torch.arange(ways)).long())
    groups = Groups(noise.noise(8, 6, seed=0), 3, 2, within_alphabet=True)
    trainer = Trainer(MatchingNet(Conv4(channels=4)), lambda generator: as_episode(groups(2, generator), shots=1))
    trainer.step()
    with OnDevice():
        trainer._meta_step()


# The learned factor


def scaled_problem(factor=7.0):
    learner, params, episode = problem()
    learner = replace(learner, first_scale=factor)
    return learner, {**params, "log_scale": torch.tensor(factor).log().double()}, episode


def test_the_factor_starts_as_told_and_a_factor_of_1_changes_nothing():
    plain, params, episode = problem()
    learner = replace(plain, first_scale=10.0)
    started = learner.init(seeded())
    assert started["log_scale"].exp().item() == pytest.approx(10)
    assert started.keys() - {"log_scale"} == plain.init(seeded()).keys()
    one = {**params, "log_scale": torch.zeros((), dtype=torch.float64)}
    torch.testing.assert_close(learner.predict(one, episode), plain.predict(params, episode))


def test_the_factor_multiplies_the_cosines():
    learner, params, episode = scaled_problem()
    one = {name: p[None] for name, p in params.items()}
    for t in range(episode.tasks):
        support_z, query_z = (
            learner.net(one, x[t : t + 1], stats=learner.stats)[0] for x in (episode.support_x, episode.query_x)
        )
        cosine = F.cosine_similarity(query_z[:, None], support_z[None], dim=2)
        attention = (7 * cosine).exp() / (7 * cosine).exp().sum(1, keepdim=True)
        p = torch.stack([attention[:, episode.support_y[t] == n].sum(1) for n in range(episode.ways)], 1)
        torch.testing.assert_close(learner.predict(params, episode)[t].exp(), p, rtol=1e-6, atol=1e-9)


def test_the_slope_of_the_factor_is_that_of_finite_differences():
    learner, params, episode = scaled_problem()
    grads, _metrics = learner.meta_gradient(params, episode)
    step, losses = 1e-5, []
    for sign in (1, -1):
        moved = {**params, "log_scale": params["log_scale"] + sign * step}
        losses.append(learner.meta_gradient(moved, episode)[1]["loss"].item())
    assert grads["log_scale"].item() == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=1e-5)
    assert abs(grads["log_scale"].item()) > 1e-6


def test_a_large_factor_gives_finite_losses():
    learner, params, episode = scaled_problem(1000.0)
    grads, metrics = learner.meta_gradient(params, episode)
    assert metrics["loss"].isfinite()
    assert all(g.isfinite().all() for g in grads.values())
