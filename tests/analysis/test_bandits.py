"""Policies for bandits: against brute force, drawn posteriors, published indices, and one another."""

import functools

import pytest
import torch

from metalab.analysis import bandits as rivals
from metalab.tasks import bandits

POLICIES = {
    "uniform": rivals.uniform,
    "greedy": rivals.greedy,
    "greedy, least pulled": rivals.greedy_least_pulled,
    "thompson": rivals.thompson,
    "ucb1": rivals.UCB1(),
    "ucb1 with prior": rivals.UCB1(0.01, prior=True),
    "gittins": rivals.Gittins(5),
    "optimal": rivals.Optimal(3, 5),
}


def brute_force(arms, pulls, policy=None):
    """The expected reward of a game by plain recursion: of the best play, or of a policy."""

    @functools.cache
    def value(wins, losses):
        left = pulls - sum(wins) - sum(losses)
        if not left:
            return 0.0
        q = []
        for a in range(arms):
            m = (wins[a] + 1) / (wins[a] + losses[a] + 2)
            won = (*wins[:a], wins[a] + 1, *wins[a + 1 :])
            lost = (*losses[:a], losses[a] + 1, *losses[a + 1 :])
            q.append(m * (1 + value(won, losses)) + (1 - m) * value(wins, lost))
        if policy is None:
            return max(q)
        shares = policy(torch.tensor(wins).double(), torch.tensor(losses).double(), left)
        return sum(p * v for p, v in zip(shares.tolist(), q, strict=True))

    return value((0,) * arms, (0,) * arms)


@pytest.mark.parametrize(("arms", "pulls"), [(1, 3), (2, 6), (3, 4)])
def test_the_optimal_play_is_that_of_brute_force(arms, pulls):
    best = rivals.Optimal(arms, pulls)
    assert best.value == pytest.approx(brute_force(arms, pulls), rel=1e-12)
    assert rivals.expected_rewards(best, arms, pulls).sum().item() == pytest.approx(best.value, rel=1e-12)


@pytest.mark.parametrize("name", POLICIES)
def test_expected_rewards_are_those_of_brute_force_and_of_many_games(name):
    policy = POLICIES[name]
    exact = rivals.expected_rewards(policy, 3, 5)
    assert exact.sum().item() == pytest.approx(brute_force(3, 5, policy), rel=1e-12)
    games = bandits.sample(20_000, torch.Generator().manual_seed(0), arms=3, pulls=5, dtype=torch.float64)
    rewards = rivals.play(policy, games)[1]
    error = rewards.std(0) / 20_000**0.5
    assert ((rewards.mean(0) - exact).abs() < 4.5 * error).all()


def test_nobody_beats_the_optimal_play():
    best = rivals.Optimal(3, 5).value
    assert all(rivals.expected_rewards(p, 3, 5).sum() <= best + 1e-12 for p in POLICIES.values())


def test_thompson_is_what_drawing_from_the_posteriors_does():
    wins, losses = torch.tensor([2.0, 0.0, 5.0]).double(), torch.tensor([1.0, 0.0, 4.0]).double()
    torch.manual_seed(0)
    draws = torch.distributions.Beta(wins + 1, losses + 1).sample((200_000,))
    share = torch.bincount(draws.argmax(1), minlength=3) / 200_000
    exact = rivals.thompson(wins, losses, 1)
    assert exact.sum().item() == pytest.approx(1, abs=1e-12)
    assert ((share - exact).abs() < 0.005).all()


@pytest.mark.parametrize(("discount", "published"), [(0.9, 0.7029), (0.95, 0.7614)])
def test_gittins_index_is_the_published_one(discount, published):
    """Gittins, Glazebrook & Weber 2011, for the uniform prior; after 250 pulls hardly anything is left to come."""
    assert rivals.Gittins(250, discount).table(250)[0, 0].item() == pytest.approx(published, abs=6e-5)


def test_gittins_index_is_where_the_best_play_changes_to_the_safe_arm():
    """With one arm and a safe one, the best play of a finite game pulls the arm exactly if its index is larger."""

    def best(w, n, left, safe):
        if not left:
            return 0.0, 0.0
        m = (w + 1) / (w + n + 2)
        later_won, later_lost = max(best(w + 1, n, left - 1, safe)), max(best(w, n + 1, left - 1, safe))
        return m * (1 + later_won) + (1 - m) * later_lost, safe + max(best(w, n, left - 1, safe))

    table = rivals.Gittins(8).table(5)
    for w, n in ((0, 0), (1, 0), (0, 2), (2, 1)):
        index = table[w, n].item()
        for safe, arm_is_better in ((index - 0.01, True), (index + 0.01, False)):
            arm, other = best(w, n, 5, safe)
            assert (arm > other + 1e-9) == arm_is_better


def test_what_the_lesson_says_of_gittins_index():
    for pulls, least, most in ((10, -1e-9, 1e-9), (12, 5e-4, 2e-3)):
        loss = rivals.Optimal(5, pulls).value - rivals.expected_rewards(rivals.Gittins(pulls), 5, pulls).sum().item()
        assert least < loss < most


def test_ucb1_by_hand():
    wins, losses = torch.tensor([[1.0, 0.0, 2.0]]).double(), torch.tensor([[0.0, 1.0, 2.0]]).double()
    # shares 1, 0, 1/2, and bonuses √(2 ln 6 / 1), √(2 ln 6 / 1), √(2 ln 6 / 4)
    assert rivals.UCB1()(wins, losses, 1).tolist() == [[1, 0, 0]]
    assert rivals.UCB1()(wins, torch.tensor([[0.0, 1.0, 0.0]]).double() * 0, 1).tolist() == [[0, 1, 0]]  # not tried yet


def test_ties_of_greedy_play_go_to_any_arm_or_to_one_that_was_pulled_least():
    wins, losses = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).double(), torch.tensor([[1.0, 0.0, 0.0, 1.0]]).double()
    third = pytest.approx(1 / 3)
    assert rivals.greedy(wins, losses, 1)[0].tolist() == [third, third, third, 0]
    assert rivals.greedy_least_pulled(wins, losses, 1)[0].tolist() == [0, 0.5, 0.5, 0]


def test_ucb1_with_the_prior_by_hand():
    wins, losses = torch.tensor([[3.0, 0.0, 0.0]]).double(), torch.tensor([[1.0, 0.0, 0.0]]).double()
    # means 4/6, 1/2, 1/2, and bonuses √(c ln 5 / 5), √(c ln 5), √(c ln 5)
    assert rivals.UCB1(0.01, prior=True)(wins, losses, 1).tolist() == [[1, 0, 0]]
    assert rivals.UCB1(1.0, prior=True)(wins, losses, 1).tolist() == [[0, 0.5, 0.5]]


def test_ties_are_split():
    assert rivals.greedy(torch.zeros(2, 4), torch.zeros(2, 4), 1).tolist() == [[0.25] * 4] * 2


def test_counts_that_do_not_fit_are_named():
    zeros = torch.zeros(3)
    with pytest.raises(ValueError, match="wins and losses must be those of 3 arms after 2 pulls"):
        rivals.Optimal(3, 5)(zeros, zeros, 3)
    with pytest.raises(ValueError, match="more than 1,000,000 counts"):
        rivals.Optimal(5, 30)
    with pytest.raises(ValueError, match="left=6"):
        rivals.Gittins(5)(zeros, zeros, 6)
