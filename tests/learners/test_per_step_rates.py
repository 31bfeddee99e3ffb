from dataclasses import replace

import pytest
import torch
from naive_maml import naive_meta_gradient, relative_error, slope
from problems import PROBLEMS, seeded

from metalab.learners import MAML, PerStepRates
from metalab.learners.meta_sgd import RATE


def per_step_problem(of, **options):
    """A problem of three steps; its rates differ between steps and layers, and some of them are negative."""
    learner, params, episode = of(PerStepRates, inner_steps=3, **options)
    some = {RATE + n: torch.rand(3, generator=seeded(i), dtype=torch.float64) - 0.2 for i, n in enumerate(params)}
    return learner, params | {name: learner.inner_lr * rate for name, rate in some.items()}, episode


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("order", [1, 2])
def test_equals_the_naive_loop(problem, order):
    learner, params, episode = per_step_problem(PROBLEMS[problem], order=order)
    ours, metrics = learner.meta_gradient(params, episode)
    theirs, loss = naive_meta_gradient(learner, params, episode)
    assert relative_error(ours, theirs) < 1e-12
    learned = [n for n in params if n.startswith(RATE)]
    assert relative_error({n: ours[n] for n in learned}, {n: theirs[n] for n in learned}) < 1e-12
    assert metrics["loss"].item() == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_slopes_of_the_rates_equal_finite_differences(problem):
    learner, params, episode = per_step_problem(PROBLEMS[problem])
    ours, _ = learner.meta_gradient(params, episode)
    for step in range(3):
        direction = {n: torch.zeros_like(p) for n, p in params.items()}
        for name in params:
            if name.startswith(RATE):
                direction[name][step] = 1.0
        along = sum((ours[n] * direction[n]).sum() for n in ours).item()
        assert slope(learner, params, episode, direction) == pytest.approx(along, rel=1e-5)


def test_rates_start_at_the_inner_rate_and_equal_rates_are_maml():
    learner, params, episode = PROBLEMS["sine"](PerStepRates, inner_steps=3)
    fresh = learner.init(seeded())
    assert [n for n in fresh if n.startswith(RATE)] == [RATE + n for n in params]
    assert all(fresh[RATE + n].tolist() == pytest.approx([learner.inner_lr] * 3) for n in params)
    own = params | {RATE + n: torch.full((3,), learner.inner_lr, dtype=torch.float64) for n in params}
    plain = MAML(learner.net, learner.loss, learner.inner_lr, 3)
    torch.testing.assert_close(learner.predict(own, episode), plain.predict(params, episode))


def test_surplus_steps_of_a_test_take_the_last_rate():
    learner, params, _episode = per_step_problem(PROBLEMS["sine"])
    longer = replace(learner, inner_steps=5)
    assert all(torch.equal(rate, params[RATE + n][2]) for n, rate in longer.rates(params, 4).items())
    assert len(longer.rates(params, 0)) == len(params) / 2
