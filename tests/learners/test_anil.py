import pytest
import torch
from naive_maml import naive_meta_gradient, relative_error, slope
from problems import PROBLEMS, character_problem, seeded, sine_problem

from metalab.learners import ANIL, MAML
from metalab.losses import mse
from metalab.nets import MLP

# The heads, and other layers in their place.
HEADS = [("sine", ("w3", "b3")), ("sine", ("w1", "b2")), ("conv4", ("head", "bias")), ("conv4", ("conv3", "head"))]


@pytest.mark.parametrize(("problem", "head"), HEADS)
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("inner_steps", [0, 1, 3])
def test_equals_the_naive_loop(problem, head, order, inner_steps):
    learner, params, episode = PROBLEMS[problem](ANIL, head=head, order=order, inner_steps=inner_steps)
    ours, metrics = learner.meta_gradient(params, episode)
    theirs, loss = naive_meta_gradient(learner, params, episode)
    assert list(ours) == list(params)
    assert relative_error(ours, theirs) < 1e-12
    assert metrics["loss"].item() == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize(("problem", "head"), HEADS)
def test_equals_finite_differences(problem, head):
    learner, params, episode = PROBLEMS[problem](ANIL, head=head, inner_steps=2)
    ours, _ = learner.meta_gradient(params, episode)
    direction = {n: torch.randn(p.shape, generator=seeded(4), dtype=torch.float64) for n, p in params.items()}
    along = sum((ours[n] * direction[n]).sum() for n in ours).item()
    assert slope(learner, params, episode, direction) == pytest.approx(along, rel=1e-5)


def test_the_head_alone_adapts():
    learner, params, episode = character_problem(ANIL, inner_steps=2)
    before, *_, after = learner.adapt(params, episode)
    assert [name for name in params if not torch.equal(before[name], after[name])] == ["head", "bias"]


def test_its_rates_are_the_inner_rate_and_0():
    learner, params, episode = sine_problem(ANIL, head=("w3", "b3"))
    assert learner.rates(params) == {"w1": 0, "b1": 0, "w2": 0, "b2": 0, "w3": 0.05, "b3": 0.05}
    before, after = learner.adapt(params, episode)
    plain_before, plain_after = MAML(learner.net, mse, inner_lr=1.0).adapt(params, episode)
    for name, rate in learner.rates(params).items():
        torch.testing.assert_close(before[name] - after[name], rate * (plain_before[name] - plain_after[name]))


def test_the_whole_network_as_head_is_maml():
    learner, params, episode = sine_problem(ANIL, head=("w1", "b1", "w2", "b2", "w3", "b3"), inner_steps=2)
    maml = MAML(learner.net, mse, inner_lr=0.05, inner_steps=2)
    assert relative_error(learner.meta_gradient(params, episode)[0], maml.meta_gradient(params, episode)[0]) < 1e-12


def test_parameters_that_are_not_there_cannot_adapt():
    message = r"head=\('head', 'w2'\) names \['head'\]; the network's parameters are \['w1', 'b1'"
    with pytest.raises(ValueError, match=message):
        ANIL(MLP(), mse, head=("head", "w2")).init(seeded())
