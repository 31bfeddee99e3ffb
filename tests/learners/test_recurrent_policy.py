"""The recurrent policy: against PyTorch's own cell, against finite differences of the exact reward, and by training."""

import itertools

import pytest
import torch

from metalab.learners import RecurrentPolicy
from metalab.tasks import bandits
from metalab.train import Trainer


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def problem(arms=2, width=4):
    """A learner, and parameters in double precision of which none is 0."""
    learner = RecurrentPolicy(arms=arms, width=width, entropy=0.0)
    params = {n: p.double() for n, p in learner.init(seeded()).items()}
    return learner, {n: p + 0.3 * torch.randn(p.shape, generator=seeded(1), dtype=p.dtype) for n, p in params.items()}


def log_p_naively(params, arms, width, pulled, paid):
    """The log-probabilities of all arms before each pull of one game, by PyTorch's own cell (gates r, z, n)."""
    cell = torch.nn.GRUCell(arms + 1, width, dtype=torch.float64)
    order = torch.cat([torch.arange(width, 2 * width), torch.arange(width), torch.arange(2 * width, 3 * width)])
    with torch.no_grad():
        cell.weight_ih.copy_(params["input"].T[order])
        cell.weight_hh.copy_(params["state"].T[order])
        cell.bias_ih.copy_(params["bias"][order])
        cell.bias_hh.zero_()
        state, read, found = torch.zeros(1, width).double(), torch.zeros(1, arms + 1).double(), []
        for arm, reward in zip(pulled, paid, strict=True):
            state = cell(read, state)
            found.append((state @ params["out"] + params["out_bias"]).log_softmax(1)[0])
            read = torch.zeros(1, arms + 1).double()
            read[0, arm], read[0, -1] = 1, reward
    return torch.stack(found)


def test_a_game_is_that_of_a_loop_over_tasks_and_pulls():
    learner, params = problem(arms=3)
    games = bandits.sample(5, seeded(2), arms=3, pulls=6, dtype=torch.float64)
    game = learner.play(params, games)
    for t in range(5):
        naive = log_p_naively(params, 3, 4, game.arms[t].tolist(), game.rewards[t].tolist())
        torch.testing.assert_close(game.log_p[t], naive)
        for k in range(6):
            arm = int(game.arms[t, k])
            ends = naive[k].exp().cumsum(0)
            assert ends[arm] >= games.choice[t, k] >= (ends[arm - 1] if arm else 0)
            assert game.rewards[t, k] == float(games.luck[t, k] < games.chances[t, arm])


def exact_reward(params, chances, pulls, width=4):
    """The expected reward on one bandit: the sum over all courses of a game, each with its probability."""
    total = 0.0
    for pulled in itertools.product(range(len(chances)), repeat=pulls):
        for paid in itertools.product((0, 1), repeat=pulls):
            log_p = log_p_naively(params, len(chances), width, pulled, paid)
            probability = 1.0
            for k, (arm, reward) in enumerate(zip(pulled, paid, strict=True)):
                probability *= log_p[k, arm].exp().item() * (chances[arm] if reward else 1 - chances[arm])
            total += probability * sum(paid)
    return total


def test_the_gradient_is_that_of_the_exact_expected_reward():
    """Its mean over many games of one bandit, against finite differences of the exact reward."""
    learner, params = problem()
    chances, pulls = [0.9, 0.2], 3
    directions = [
        {n: torch.randn(p.shape, generator=seeded(s), dtype=p.dtype) for n, p in params.items()} for s in (5, 6)
    ]
    parts = []
    for seed in range(20):
        drawn = bandits.sample(5000, seeded(100 + seed), arms=2, pulls=pulls, dtype=torch.float64)
        games = bandits.Bandits(torch.tensor([chances]).double().repeat(5000, 1), drawn.luck, drawn.choice)
        gradient, _metrics = learner.meta_gradient(params, games)
        parts.append([sum((gradient[n] * d[n]).sum().item() for n in params) for d in directions])
    mean, error = torch.tensor(parts).mean(0), torch.tensor(parts).std(0) / 20**0.5
    for i, d in enumerate(directions):
        up, down = (exact_reward({n: p + h * d[n] for n, p in params.items()}, chances, pulls) for h in (1e-4, -1e-4))
        along = -(up - down) / 2e-4  # training descends
        assert abs(along) > 10 * error[i]
        assert mean[i].item() == pytest.approx(along, abs=4.5 * error[i].item())


def test_the_entropy_counts():
    learner, params = problem()
    games = bandits.sample(50, seeded(), arms=2, pulls=3, dtype=torch.float64)
    without, with_it = (RecurrentPolicy(2, 4, entropy=c).meta_gradient(params, games)[1]["loss"] for c in (0.0, 0.5))
    log_p = learner.play(params, games).log_p
    entropy = -(log_p.exp() * log_p).sum((1, 2)).mean()
    torch.testing.assert_close(without - with_it, 0.5 * entropy)


def test_at_first_all_arms_have_the_same_probability_and_training_changes_that():
    learner = RecurrentPolicy(arms=2, width=16)
    training = Trainer(learner, lambda g: bandits.sample(128, g, arms=2, pulls=5), outer_lr=1e-2)
    games = bandits.sample(4000, seeded(9), arms=2, pulls=5)
    assert learner.play(training.params, games).log_p.exp().allclose(torch.tensor(0.5))
    training.step(250)
    assert learner.predict(training.params, games).sum(1).mean() > 2.7  # any arm: 2.5


def test_what_does_not_fit_is_named():
    learner = RecurrentPolicy(arms=3)
    with pytest.raises(ValueError, match="bandits have 5 arms"):
        learner.play(learner.init(seeded()), bandits.sample(2, seeded()))
    with pytest.raises(TypeError, match="bandits=3 must be Bandits"):
        learner.play(learner.init(seeded()), 3)
