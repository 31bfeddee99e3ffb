import pytest
import torch
from naive_maml import flat, naive_meta_gradient, relative_error, slope
from problems import PROBLEMS, character_problem, seeded, sparse_maml_problem

from metalab.learners import MAML, SparseMAML
from metalab.losses import mse
from metalab.nets import MLP


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("inner_steps", [1, 3])
def test_equals_the_naive_loop(problem, order, inner_steps):
    """The witness differentiates the step as if its slope were 1."""
    learner, params, episode = sparse_maml_problem(PROBLEMS[problem], order=order, inner_steps=inner_steps)
    ours, metrics = learner.meta_gradient(params, episode)
    theirs, loss = naive_meta_gradient(learner, params, episode)
    assert list(ours) == list(params)
    assert relative_error(ours, theirs) < 1e-12
    learned = [n for n in params if n.startswith("gate.")]
    assert len(learned) == len(params) / 2
    # They are a small part of the whole gradient, which the line above might not see.
    assert relative_error({n: ours[n] for n in learned}, {n: theirs[n] for n in learned}) < 1e-12
    assert metrics["loss"].item() == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_equals_finite_differences(problem):
    """Of the network's own parameters: the loss has no slope along a gate."""
    learner, params, episode = sparse_maml_problem(PROBLEMS[problem], inner_steps=2)
    ours, _ = learner.meta_gradient(params, episode)
    direction = {
        n: torch.randn(p.shape, generator=seeded(4), dtype=torch.float64) * (not n.startswith("gate."))
        for n, p in params.items()
    }
    along = sum((ours[n] * direction[n]).sum() for n in ours).item()
    assert slope(learner, params, episode, direction) == pytest.approx(along, rel=1e-5)


def test_gates_start_half_open_and_say_what_adapts():
    learner, params, episode = sparse_maml_problem(character_problem, inner_steps=2)
    fresh = learner.init(seeded())
    gates = [name for name in fresh if name.startswith("gate.")]
    assert gates == [f"gate.{name}" for name in params if not name.startswith("gate.")]
    assert all(fresh[name].shape == fresh[name.removeprefix("gate.")].shape for name in gates)
    values = flat({name: fresh[name] for name in gates})
    assert values.abs().max() <= 0.1
    assert (values >= 0).double().mean().item() == pytest.approx(0.5, abs=0.1)
    before, *_, after = learner.adapt(params, episode)
    for name in gates:
        closed = params[name] < 0
        assert 0 < closed.sum() < closed.numel() or closed.numel() < 10
        name = name.removeprefix("gate.")
        moved = (after[name] != before[name]).any(0)
        assert not moved[closed].any()
        assert moved[~closed].double().mean() > 0.9


def test_rates_are_what_an_inner_step_multiplies_the_gradient_by():
    learner, params, episode = sparse_maml_problem()
    weights = {name: p for name, p in params.items() if "." not in name}
    assert list(learner.weights(params)) == list(learner.rates(params)) == list(weights)
    before, after = learner.adapt(params, episode)
    plain_before, plain_after = MAML(learner.net, mse, inner_lr=1.0).adapt(weights, episode)
    for name, rate in learner.rates(params).items():
        assert set(rate.flatten().tolist()) <= {0, 0.05}
        torch.testing.assert_close(before[name] - after[name], rate * (plain_before[name] - plain_after[name]))


def test_without_inner_steps_it_predicts_as_it_started_and_learns_nothing():
    learner, params, episode = sparse_maml_problem(inner_steps=0)
    plain = MAML(learner.net, mse, inner_steps=0)
    torch.testing.assert_close(learner.predict(params, episode), plain.predict(learner.weights(params), episode))
    with pytest.raises(ValueError, match="inner_steps=0 must be 1 or more: without a step nothing is learned about it"):
        learner.meta_gradient(params, episode)


def test_bad_options_are_named():
    with pytest.raises(ValueError, match="order=3 must be 1"):
        SparseMAML(MLP(), mse, order=3)
