"""The meta-gradient against witnesses that share no code with it."""

import weakref
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from naive_maml import flat, naive_meta_gradient, relative_error, slope
from problems import PROBLEMS, character_problem, seeded, sine_problem

from metalab.learners import maml
from metalab.learners.maml import MAML
from metalab.losses import cross_entropy
from metalab.nets import MLP


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("inner_steps", [0, 1, 3])
def test_equals_the_naive_loop(problem, order, inner_steps):
    learner, params, episode = PROBLEMS[problem](order=order, inner_steps=inner_steps)
    ours, metrics = learner.meta_gradient(params, episode)
    theirs, loss = naive_meta_gradient(learner, params, episode)
    assert list(ours) == list(params)
    assert relative_error(ours, theirs) < 1e-12
    assert metrics["loss"].item() == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_equals_finite_differences(problem):
    learner, params, episode = PROBLEMS[problem](inner_steps=2)
    ours, _ = learner.meta_gradient(params, episode)
    # A smooth stretch of the loss is needed: a step that crosses a ReLU's kink would measure the kink.
    direction = {n: torch.randn(p.shape, generator=seeded(4), dtype=torch.float64) for n, p in params.items()}
    along = sum((ours[n] * direction[n]).sum() for n in ours).item()
    assert slope(learner, params, episode, direction) == pytest.approx(along, rel=1e-5)


def test_equals_higher():
    """The library `higher` (Grefenstette et al. 2019) runs the inner loop on an ordinary torch.nn model."""
    import higher

    for inner_steps in (1, 3):
        learner, params, episode = sine_problem(inner_steps=inner_steps)
        model = torch.nn.Sequential(
            torch.nn.Linear(1, 12), torch.nn.ReLU(), torch.nn.Linear(12, 12), torch.nn.ReLU(), torch.nn.Linear(12, 1)
        ).double()
        with torch.no_grad():
            for i, layer in enumerate([model[0], model[2], model[4]], start=1):
                layer.weight.copy_(params[f"w{i}"].T)
                layer.bias.copy_(params[f"b{i}"])
        optimizer = torch.optim.SGD(model.parameters(), lr=learner.inner_lr)
        for t in range(episode.tasks):
            with higher.innerloop_ctx(model, optimizer, copy_initial_weights=False) as (adapted, inner):
                for _ in range(inner_steps):
                    inner.step(F.mse_loss(adapted(episode.support_x[t]), episode.support_y[t]))
                (F.mse_loss(adapted(episode.query_x[t]), episode.query_y[t]) / episode.tasks).backward()
        theirs = {}
        for i, layer in enumerate([model[0], model[2], model[4]], start=1):
            theirs[f"w{i}"], theirs[f"b{i}"] = layer.weight.grad.T, layer.bias.grad
        assert relative_error(learner.meta_gradient(params, episode)[0], theirs) < 1e-12


@pytest.mark.parametrize("problem", PROBLEMS)
def test_first_order_differs_from_second(problem):
    learner, params, episode = PROBLEMS[problem](inner_steps=1)
    second, _ = learner.meta_gradient(params, episode)
    first, _ = replace(learner, order=1).meta_gradient(params, episode)
    assert relative_error(first, second) > 1e-2


def test_all_parameters_are_the_networks_and_have_one_rate():
    learner, params, _episode = character_problem()
    assert learner.weights(params) is params
    assert learner.rates(params) == maml.rate_of(learner.rates(params), "conv2") == 0.4
    fresh, theirs = learner.init(seeded(7)), learner.net.init(seeded(7))
    assert list(fresh) == list(theirs)
    assert torch.equal(flat(fresh), flat(theirs))


def test_a_rate_in_a_tensor_is_followed():
    """As a training captured on a GPU needs it: the tensor's content changes, the learner does not."""
    learner, params, episode = sine_problem(inner_steps=2)
    rate = torch.tensor(0.05, dtype=torch.float64)
    ours = replace(learner, inner_lr=rate)
    assert relative_error(ours.meta_gradient(params, episode)[0], learner.meta_gradient(params, episode)[0]) < 1e-14
    rate.fill_(0.02)
    other = replace(learner, inner_lr=0.02)
    assert relative_error(ours.meta_gradient(params, episode)[0], other.meta_gradient(params, episode)[0]) < 1e-14


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("problem", ["sine", "conv4", "conv4, max pooling"])
def test_what_is_kept_does_not_grow_with_inner_steps(problem, order, monkeypatch):
    """Beside the parameters' trajectory, two steps' worth at most: one being taken and the one before or the query."""
    torch.set_num_threads(1)  # each thread works on a part of the tasks, and keeps as much
    kept = weakref.WeakSet()
    most = []

    def watched(*arguments, **options):
        derivatives = differentiate(*arguments, **options)
        kept.add(derivatives)
        most.append(len(kept))
        return derivatives

    differentiate = maml.differentiate
    monkeypatch.setattr(maml, "differentiate", watched)
    for inner_steps in (1, 12):
        learner, params, episode = PROBLEMS[problem](order=order, inner_steps=inner_steps)
        learner.meta_gradient(params, episode)
        assert max(most) <= 2
    assert len(most) >= 12


def test_tasks_do_not_touch_each_other():
    """Every task starts from the same parameters, and its adaptation is the same whoever else is in the batch."""
    learner, params, episode = character_problem(inner_steps=2)
    together = learner.adapt(params, episode)
    for t in range(episode.tasks):
        alone = learner.adapt(params, episode[t : t + 1])
        for name in params:
            assert torch.equal(together[0][name][t], params[name])
            torch.testing.assert_close(together[-1][name][t], alone[-1][name][0], rtol=1e-12, atol=1e-14)


def test_predictions_are_the_adapted_networks_answers():
    learner, params, episode = character_problem(inner_steps=1)
    longer = replace(learner, inner_steps=3)
    trajectory = longer.adapt(params, episode)
    assert len(trajectory) == 4
    for steps in (0, 1, 3):
        answers = learner.net(trajectory[steps], episode.query_x)
        assert torch.equal(learner.answer(trajectory[steps], episode), answers)
        ours = replace(learner, inner_steps=steps).predict(params, episode)
        assert torch.equal(ours, answers)
        assert not ours.requires_grad
    assert not torch.allclose(longer.predict(params, episode), learner.predict(params, episode))


def test_inputs_are_left_as_they_were():
    learner, params, episode = sine_problem(inner_steps=2)
    before = {name: p.clone() for name, p in params.items()}
    learner.meta_gradient(params, episode)
    learner.predict(params, episode)
    assert all(torch.equal(params[n], before[n]) and not params[n].requires_grad for n in params)


def test_inductive_queries_do_not_see_each_other():
    learner, params, episode = character_problem(transductive=False)
    shorter = replace(episode, query_x=episode.query_x[:, :1], query_y=episode.query_y[:, :1])
    torch.testing.assert_close(learner.predict(params, shorter), learner.predict(params, episode)[:, :1])
    transductive = replace(learner, transductive=True)
    assert not torch.allclose(transductive.predict(params, shorter), transductive.predict(params, episode)[:, :1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": 3}, "order=3 must be 1"),
        ({"inner_steps": -1}, "inner_steps=-1 must be a whole number of at least 0"),
        ({"inner_lr": -0.1}, "inner_lr=-0.1 must be a finite number, at least 0"),
        ({"inner_lr": float("nan")}, "inner_lr=nan must be a finite number, at least 0"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        MAML(MLP(), cross_entropy, **options)
