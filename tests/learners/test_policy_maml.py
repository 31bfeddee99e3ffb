"""MAML for acting: its gradients next to finite differences and naive loops."""

import math

import pytest
import torch

from metalab.learners import PolicyMAML
from metalab.learners.policy_maml import advantages, rewards_to_go
from metalab.nets import for_tasks
from metalab.tasks import navigation


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def double(params):
    return {name: p.double() for name, p in params.items()}


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_the_meta_gradient_is_that_of_finite_differences_with_common_random_numbers(steps):
    learner = PolicyMAML(width=5, inner_steps=steps, longest=1e9)
    attempts = navigation.sample(3, 4, 3, seeded(), steps=6, dtype=torch.float64)
    params = double(learner.init(seeded(1)))
    gradient, _metrics = learner.meta_gradient(params, attempts)
    direction = {name: torch.randn(p.shape, generator=seeded(2), dtype=p.dtype) for name, p in params.items()}

    def loss(h):
        moved = {name: p + h * direction[name] for name, p in params.items()}
        theta = {name: p.clone().requires_grad_() for name, p in for_tasks(moved, 3).items()}
        return learner.loss(theta, attempts).mean().item()

    h = 1e-6
    slope = sum((gradient[name] * direction[name]).sum().item() for name in params)
    assert math.isclose(slope, (loss(h) - loss(-h)) / (2 * h), rel_tol=1e-4)


def test_the_inner_gradient_is_that_of_a_naive_loop():
    learner = PolicyMAML(width=4)
    attempts = navigation.sample(2, 3, 1, seeded(), steps=5, dtype=torch.float64)
    params = double(learner.init(seeded(1)))
    theta = for_tasks(params, 2)
    with torch.no_grad():
        walked = attempts.walk(learner.policy(theta))
    found, worth = learner.inner_gradient(theta, walked), advantages(walked)
    for task in range(2):
        own = {name: p.clone().requires_grad_() for name, p in params.items()}
        total = 0
        for trial in range(3):
            for t in range(5):
                h = walked.states[task, trial, t]
                for i in (1, 2, 3):
                    h = (h.tanh() if i > 1 else h) @ own[f"w{i}"] + own[f"b{i}"]
                normal = torch.distributions.Normal(h, own["log_deviation"].exp())
                total = total + normal.log_prob(walked.actions[task, trial, t]).sum() * worth[task, trial, t] / 15
        total.backward()
        for name, g in found.items():
            torch.testing.assert_close(g[task], own[name].grad)


def test_rewards_to_go_are_those_of_a_loop():
    rewards = torch.randn(2, 3, 4, generator=seeded())
    want = torch.stack([sum(0.9**k * rewards[:, :, t + k] for k in range(4 - t)) for t in range(4)], 2)
    torch.testing.assert_close(rewards_to_go(rewards, 0.9), want)


def test_a_walk_is_that_of_a_loop_over_tasks_and_ends_at_the_goal():
    attempts = navigation.sample(3, 2, 1, seeded(), steps=30)
    goal = attempts.goal

    def policy(s):
        return 5 * (goal[:, None] - s), torch.full((3, 1, 2), 0.2)

    walked = attempts.walk(policy)
    for task in range(3):
        for trial in range(2):
            state, total, ended = torch.zeros(2), 0.0, False
            for t in range(30):
                assert walked.under_way[task, trial, t] == (not ended)
                if not ended:
                    action = 5 * (goal[task] - state) + 0.2 * attempts.noise[task, 0, trial, t]
                    state = state + 0.1 * action.clamp(-1, 1)
                    total -= (state - goal[task]).norm().item()
                    ended = bool(((state - goal[task]).abs() < 0.01).all())
            assert math.isclose(walked.returns()[task, trial].item(), total, rel_tol=1e-4)
    assert walked.under_way.min() == 0


def test_attempts_that_do_not_fit_are_told():
    learner = PolicyMAML(width=4)
    params = learner.init(seeded())
    with pytest.raises(ValueError, match="attempts has 1 rounds"):
        learner.meta_gradient(params, navigation.sample(2, 3, 1, seeded(), steps=4))
    with pytest.raises(TypeError, match="attempts=None"):
        learner.predict(params, None)


def test_the_inner_gradient_of_training_is_that_of_adaptation():
    """While it trains, the trajectories depend on θ. The score is the derivative where they are held fixed."""
    learner = PolicyMAML(width=8)
    attempts = navigation.sample(3, 4, 1, torch.Generator().manual_seed(0), steps=6, dtype=torch.float64)
    params = {name: p.double() for name, p in learner.init(torch.Generator().manual_seed(1)).items()}
    theta = {name: p.clone().requires_grad_() for name, p in for_tasks(params, 3).items()}
    walked = attempts.walk(learner.policy(theta), ends=False)
    training = learner.inner_gradient(theta, walked, create_graph=True)
    adaptation = learner.inner_gradient(theta, walked)
    for name, gradient in adaptation.items():
        assert gradient.abs().max() > 1e-6, name
        torch.testing.assert_close(training[name].detach(), gradient)


def test_later_steps_have_their_share_of_the_rate():
    """The first step is the same with any share; with none, the second one changes nothing."""
    attempts = navigation.sample(2, 3, 3, seeded(), steps=6)
    params = PolicyMAML(width=4).init(seeded(1))
    whole, half, none = (PolicyMAML(width=4, later=share).adapt(params, attempts)[0] for share in (1.0, 0.5, 0.0))
    for name in params:
        torch.testing.assert_close(half[1][name], whole[1][name])
        torch.testing.assert_close(half[2][name] - half[1][name], (whole[2][name] - whole[1][name]) / 2)
        torch.testing.assert_close(none[2][name], none[1][name])
    assert (whole[2]["w3"] - whole[1]["w3"]).abs().max() > 1e-4


def test_a_later_share_below_0_is_refused():
    with pytest.raises(ValueError, match=r"later=-0.5 must be a finite number, at least 0"):
        PolicyMAML(later=-0.5)
