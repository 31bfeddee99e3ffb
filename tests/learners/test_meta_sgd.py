import pytest
import torch
from naive_maml import naive_meta_gradient, relative_error, slope
from problems import PROBLEMS, meta_sgd_problem, seeded, sine_problem

from metalab.learners import MAML, MetaSGD
from metalab.losses import mse
from metalab.nets import MLP


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("inner_steps", [1, 3])
def test_equals_the_naive_loop(problem, order, inner_steps):
    learner, params, episode = meta_sgd_problem(PROBLEMS[problem], order=order, inner_steps=inner_steps)
    ours, metrics = learner.meta_gradient(params, episode)
    theirs, loss = naive_meta_gradient(learner, params, episode)
    assert list(ours) == list(params)
    assert relative_error(ours, theirs) < 1e-12
    learned = [n for n in params if n.startswith("rate.")]
    assert len(learned) == len(params) / 2
    # They are a small part of the whole gradient, which the line above might not see.
    assert relative_error({n: ours[n] for n in learned}, {n: theirs[n] for n in learned}) < 1e-12
    assert metrics["loss"].item() == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize("prefix", ["", "rate."], ids=["all", "rates"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_equals_finite_differences(problem, prefix):
    learner, params, episode = meta_sgd_problem(PROBLEMS[problem], inner_steps=2)
    ours, _ = learner.meta_gradient(params, episode)
    direction = {
        n: torch.randn(p.shape, generator=seeded(4), dtype=torch.float64) * n.startswith(prefix)
        for n, p in params.items()
    }
    along = sum((ours[n] * direction[n]).sum() for n in ours).item()
    assert slope(learner, params, episode, direction) == pytest.approx(along, rel=1e-5)


def test_rates_start_at_the_inner_rate_and_go_where_the_loss_falls():
    learner, params, episode = meta_sgd_problem(inner_steps=2)
    fresh = learner.init(seeded())
    rates = [name for name in fresh if name.startswith("rate.")]
    assert rates == [f"rate.{name}" for name in params if not name.startswith("rate.")]
    assert all((fresh[name] == learner.inner_lr).all() for name in rates)
    assert all(fresh[name].shape == fresh[name.removeprefix("rate.")].shape for name in rates)
    grads, metrics = learner.meta_gradient(params, episode)
    moved = params | {name: params[name] - 1e-4 * grads[name] for name in rates}
    assert learner.meta_gradient(moved, episode)[1]["loss"] < metrics["loss"]


def test_rates_are_what_an_inner_step_multiplies_the_gradient_by():
    learner, params, episode = meta_sgd_problem()
    weights = {name: p for name, p in params.items() if "." not in name}
    assert list(learner.weights(params)) == list(learner.rates(params)) == list(weights)
    before, after = learner.adapt(params, episode)
    plain_before, plain_after = MAML(learner.net, mse, inner_lr=1.0).adapt(weights, episode)
    for name, rate in learner.rates(params).items():
        assert torch.equal(rate, params[f"rate.{name}"])
        torch.testing.assert_close(before[name] - after[name], rate * (plain_before[name] - plain_after[name]))


def test_a_gradient_that_autograd_hands_out_as_a_view_of_one_number():
    """A parameter that is the output has a gradient of ones, expanded: it may be read, and not written to."""

    class Constant:
        def init(self, generator):
            return {"w": torch.ones(2, 1, dtype=torch.float64)}

        def chain(self, x):
            return None

        def __call__(self, params, x, *, context=None):
            return params["w"]

    _learner, _params, episode = sine_problem()
    learner = MetaSGD(Constant(), lambda z, y: z.sum((1, 2)), inner_lr=0.1)
    grads, _metrics = learner.meta_gradient({name: p.double() for name, p in learner.init(seeded()).items()}, episode)
    assert grads["w"].tolist() == [[1.0], [1.0]]
    assert grads["rate.w"].tolist() == [[-1.0], [-1.0]]


def test_without_inner_steps_it_predicts_as_it_started_and_learns_nothing():
    learner, params, episode = meta_sgd_problem(inner_steps=0)
    plain = MAML(learner.net, mse, inner_steps=0)
    torch.testing.assert_close(learner.predict(params, episode), plain.predict(learner.weights(params), episode))
    with pytest.raises(ValueError, match="inner_steps=0 must be 1 or more: without a step nothing is learned about it"):
        learner.meta_gradient(params, episode)


def test_bad_options_are_named():
    with pytest.raises(ValueError, match="order=3 must be 1"):
        MetaSGD(MLP(), mse, order=3)
