"""Learners that read examples: against naive loops over tasks and examples, and by perturbing what they may not see."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from metalab.learners import CausalTransformer, ConditionalNeuralProcess, RecurrentLearner
from metalab.learners.causal_transformer import sequence_mask
from metalab.tasks import sine
from metalab.train import Trainer

KINDS = {
    "set encoder": ConditionalNeuralProcess(2, 3, width=16),
    "recurrent": RecurrentLearner(2, 3, width=16),
    "transformer": CausalTransformer(2, 3, width=16, layers=2, heads=2),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def problem(kind, tasks=3, examples=4, queries=5):
    """A learner with two inputs and three outputs; parameters, examples and queries in double precision."""
    learner = KINDS[kind]
    params = {name: p.double() for name, p in learner.init(seeded()).items()}
    params = {name: p + 0.1 * torch.randn(p.shape, generator=seeded(1), dtype=p.dtype) for name, p in params.items()}
    x, y, query_x = (
        torch.randn(tasks, count, size, generator=seeded(2 + size + count), dtype=torch.float64)
        for count, size in ((examples, 2), (examples, 3), (queries, 2))
    )
    return learner, params, x, y, query_x


def dense(params, name, z):
    """The layers of one vector, with explicit sums."""
    i = 1
    while f"{name}.w{i}" in params:
        if i > 1:
            z = torch.clamp(z, min=0)
        z = (z[:, None] * params[f"{name}.w{i}"]).sum(0) + params[f"{name}.b{i}"]
        i += 1
    return z


def naive_set_encoder(learner, params, x, y, query):
    """One task, one query."""
    codes = [dense(params, "encode", torch.cat([a, b])) for a, b in zip(x, y, strict=True)]
    r = sum(codes) / len(codes) if codes else torch.zeros(learner.width, dtype=torch.float64)
    return dense(params, "decode", torch.cat([r, query]))


def naive_recurrent(learner, params, x, y, query):
    """One task, one query, by PyTorch's own cell, whose gates are called r, z and n."""
    cell = torch.nn.GRUCell(5, learner.width, dtype=torch.float64)
    width = learner.width
    order = torch.cat([torch.arange(width, 2 * width), torch.arange(width), torch.arange(2 * width, 3 * width)])
    with torch.no_grad():
        cell.weight_ih.copy_(params["input"].T[order])
        cell.weight_hh.copy_(params["state"].T[order])
        cell.bias_ih.copy_(params["bias"][order])
        cell.bias_hh.zero_()
        state = torch.zeros(1, width, dtype=torch.float64)
        for a, b in zip(x, y, strict=True):
            state = cell(torch.cat([a, b])[None], state)
    return dense(params, "decode", torch.cat([state[0], query]))


def naive_transformer(learner, params, x, y, query):
    """One task, one query: the sequence is cut after the question, and tokens are computed one after another."""
    tokens = []
    for a, b in zip(x, y, strict=True):
        tokens += [torch.cat([a, 0 * b, -torch.ones(1)]), torch.cat([a, b, torch.ones(1)])]
    tokens.append(torch.cat([query, torch.zeros(3), -torch.ones(1)]))
    h = [token.double() @ params["token"] for token in tokens]
    size = learner.width // learner.heads
    for i in range(1, learner.layers + 1):
        normal = [F.layer_norm(one, one.shape) for one in h]
        q, k, v = zip(*((one @ params[f"attend{i}"]).chunk(3) for one in normal), strict=True)
        read = []
        for t in range(len(h)):
            parts = []
            for head in range(learner.heads):
                part = slice(head * size, (head + 1) * size)
                scores = torch.stack([q[t][part] @ k[j][part] / size**0.5 for j in range(t + 1)])
                weights = scores.exp() / scores.exp().sum()
                parts.append(sum(w * v[j][part] for j, w in enumerate(weights)))
            read.append(torch.cat(parts) @ params[f"mix{i}"])
        h = [one + more for one, more in zip(h, read, strict=True)]
        for t, one in enumerate(h):
            hidden = F.layer_norm(one, one.shape) @ params[f"up{i}"] + params[f"up_bias{i}"]
            h[t] = one + hidden.clamp(min=0) @ params[f"down{i}"] + params[f"down_bias{i}"]
    return F.layer_norm(h[-1], h[-1].shape) @ params["out"] + params["bias"]


NAIVE = {"set encoder": naive_set_encoder, "recurrent": naive_recurrent, "transformer": naive_transformer}


@every_kind
def test_answers_are_those_of_a_loop_over_tasks_and_queries(kind):
    learner, params, x, y, query_x = problem(kind)
    before, answers = learner.read(params, x, y, query_x)
    for t in range(len(x)):
        for q in range(query_x.shape[1]):
            torch.testing.assert_close(answers[t, q], NAIVE[kind](learner, params, x[t], y[t], query_x[t, q]))
        for k in range(x.shape[1]):  # each example is a query after those before it
            torch.testing.assert_close(before[t, k], NAIVE[kind](learner, params, x[t, :k], y[t, :k], x[t, k]))


@every_kind
def test_what_comes_later_changes_nothing(kind):
    """Perturb an example: only answers after it may move, and its own y must not move its own prediction."""
    learner, params, x, y, query_x = problem(kind)
    before, answers = learner.read(params, x, y, query_x)
    for k in range(x.shape[1]):
        later_y = y.clone()
        later_y[:, k] += 1.0
        moved, moved_answers = learner.read(params, x, later_y, query_x)
        assert torch.equal(moved[:, : k + 1], before[:, : k + 1])
        assert k + 1 == x.shape[1] or (moved[:, k + 1 :] != before[:, k + 1 :]).flatten(1).any(1).all()
        assert (moved_answers != answers).flatten(1).any(1).all()
        later_x = x.clone()
        later_x[:, k] += 1.0
        moved, _ = learner.read(params, later_x, y, query_x)
        assert torch.equal(moved[:, :k], before[:, :k])


@every_kind
def test_queries_do_not_see_one_another(kind):
    learner, params, x, y, query_x = problem(kind)
    _, answers = learner.read(params, x, y, query_x)
    other = query_x.clone()
    other[:, 2] += 1.0
    _, moved = learner.read(params, x, y, other)
    kept = [0, 1, 3, 4]
    assert torch.equal(moved[:, kept], answers[:, kept])
    assert (moved[:, 2] != answers[:, 2]).any(1).all()


@every_kind
def test_only_the_set_encoder_ignores_the_order_by_construction(kind):
    learner, params, x, y, query_x = problem(kind)
    order = torch.tensor([2, 0, 3, 1])
    first, second = (learner.read(params, a, b, query_x)[1] for a, b in ((x, y), (x[:, order], y[:, order])))
    assert torch.allclose(first, second, rtol=1e-12, atol=1e-12) == (kind == "set encoder")


@every_kind
def test_the_gradient_is_that_of_finite_differences(kind):
    learner = replace(KINDS[kind], inputs=1, outputs=1)
    params = {n: p.double() for n, p in learner.init(seeded()).items()}
    episode = sine.sample(3, 4, 2, seeded(1), noise=0.1).to(torch.float64)
    gradient, metrics = learner.meta_gradient(params, episode)

    def loss(theta):
        before, answers = learner.read(theta, episode.support_x, episode.support_y, episode.query_x)
        errors = [(before - episode.support_y) ** 2, (answers - episode.query_y) ** 2]
        return torch.cat(errors, 1).mean()

    torch.testing.assert_close(metrics["loss"], loss(params))
    direction = {n: torch.randn(p.shape, generator=seeded(3), dtype=p.dtype) for n, p in params.items()}
    ends = [loss({n: p + step * direction[n] for n, p in params.items()}) for step in (1e-5, -1e-5)]
    along = sum((gradient[n] * direction[n]).sum() for n in params)
    torch.testing.assert_close((ends[0] - ends[1]) / 2e-5, along, rtol=1e-6, atol=1e-9)


@every_kind
def test_a_short_training_learns_to_use_the_examples(kind):
    learner = replace(KINDS[kind], inputs=1, outputs=1, width=32)
    trainer = Trainer(learner, lambda g: sine.sample(32, 10, 2, g), outer_lr=3e-3)
    first = trainer.step(5).metrics["loss"]
    trainer.step(200)
    assert trainer.step(5).metrics["loss"] < 0.7 * first


def test_the_mask_by_hand():
    assert sequence_mask(1, 2).int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 0, 1]]


@every_kind
def test_answers_have_no_step_at_zero(kind):
    """A question's token that is x times a vector would leave its sign alone to the normalisation."""
    learner, params, x, y, query_x = problem(kind)
    ends = torch.cat([1e-3 * query_x, -1e-3 * query_x], 1)
    first, second = learner.read(params, x, y, ends)[1].chunk(2, 1)
    assert (first - second).abs().max() < 0.02


def test_more_examples_than_in_training_can_be_read():
    learner, params, x, y, query_x = problem("transformer", examples=40)
    assert learner.read(params, x, y, query_x)[1].isfinite().all()


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="width=9 must be a multiple of heads=2"):
        CausalTransformer(width=9)
    with pytest.raises(ValueError, match="layers=0 must be a whole number of at least 1"):
        CausalTransformer(layers=0)
    learner = ConditionalNeuralProcess(inputs=2)
    with pytest.raises(ValueError, match="support_x has the shape"):
        learner.predict(learner.init(seeded()), sine.sample(2, 3, 2, seeded()))
