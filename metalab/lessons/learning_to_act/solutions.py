"""Our solutions, which `solution()` prints as they are. They are notebook code, so they have no type hints."""

import torch


def reward_to_go(rewards):
    """The sum of the rewards [N, H] from each step on: [N, H]."""
    return rewards.flip(1).cumsum(1).flip(1)


def score_gradient(actions, mean, deviation, weights):
    """The score-function estimate of the return's gradient with respect to the mean: [2]."""
    score = (actions - mean) / deviation**2  # the gradient of log π with respect to the mean
    return (score * weights[:, :, None]).sum(1).mean(0)


def inner_step(theta, objective, rate):
    """Parameters after a step that climbs the objective; the step can be differentiated."""
    (gradient,) = torch.autograd.grad(objective(theta), theta, create_graph=True)
    return theta + rate * gradient
