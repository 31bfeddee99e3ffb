r"""How to play a Bernoulli bandit whose arms pay with chances that are uniform in 0 … 1 beforehand.

After w payments and l failures, the chance of an arm is known up to a Beta distribution with the density proportional
to p^w (1 − p)^l, and its mean is m = (w + 1) / (w + l + 2). A policy maps these counts [..., A] and the number of pulls
that are left to the probabilities of the arms [..., A]. With n the number of pulls so far:

    greedy      pulls an arm with the largest m; of several, any, or one that was pulled least
    UCB1        pulls an arm with the largest  w / (w + l) + √(c ln n / (w + l)),  each arm once first;
                with the prior, it pulls one with the largest  m + √(c ln(n + 1) / (w + l + 1))
    Thompson    pulls an arm with the probability that it is the best,  ∫ f_a(p) Π_{b ≠ a} F_b(p) dp
    Gittins     pulls an arm with the largest index, which is a function of that arm alone
    optimal     pulls an arm with the largest expected reward of all pulls that are left, by dynamic programming:

        Q_a = m_a (1 + V(one payment of a more)) + (1 − m_a) V(one failure of a more),     V = max_a Q_a

f and F are the density and the distribution function of an arm's chance. Where several arms are equally good, each of
them has the same probability. The expected rewards of any such policy are computed without drawing a single bandit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from .. import arguments
from ..tasks.bandits import ARMS, PULLS, Bandits

Policy = Callable[[Tensor, Tensor, int], Tensor]
MOST = 1_000_000  # counts that a computation over all of them may have


def posterior_mean(wins: Tensor, losses: Tensor) -> Tensor:
    """Return the mean of each arm's chance after its payments and failures [..., A]."""
    return (wins + 1) / (wins + losses + 2)


def _best(scores: Tensor) -> Tensor:
    """Return probabilities that are even among the arms with the largest score [..., A]."""
    best = scores >= scores.amax(-1, keepdim=True) - 1e-12
    return best / best.sum(-1, keepdim=True, dtype=scores.dtype)


def uniform(wins: Tensor, losses: Tensor, left: int) -> Tensor:
    """Pull any arm: the same probability for each [..., A]."""
    _check(wins, losses, left)
    return torch.full_like(wins, 1 / wins.shape[-1])


def greedy(wins: Tensor, losses: Tensor, left: int) -> Tensor:
    """Pull an arm with the largest posterior mean: probabilities [..., A]."""
    _check(wins, losses, left)
    return _best(posterior_mean(wins, losses))


def greedy_least_pulled(wins: Tensor, losses: Tensor, left: int) -> Tensor:
    """Pull, among the arms with the largest posterior mean, one that was pulled least: probabilities [..., A]."""
    _check(wins, losses, left)
    return _best(posterior_mean(wins, losses) - 1e-6 * (wins + losses))


@dataclass(frozen=True)
class UCB1:
    """Upper confidence bounds (Auer, Cesa-Bianchi & Fischer 2002, figure 1).

    Args:
        c: the factor under the root; 2 in the paper, for which its bound on the regret is proved.
        prior: take the posterior mean, and count one pull more of each arm, so that no arm has to be pulled first. This
            is not in the paper.

    Raises:
        TypeError, ValueError: c is no number of at least 0.
    """

    c: float = 2.0
    prior: bool = False

    def __post_init__(self) -> None:
        arguments.real(least=0, c=self.c)
        arguments.flag(prior=self.prior)

    def __call__(self, wins: Tensor, losses: Tensor, left: int) -> Tensor:
        """Return the probabilities of the arms [..., A]."""
        _check(wins, losses, left)
        pulls = wins + losses
        if self.prior:
            bonus = (self.c * (pulls.sum(-1, keepdim=True) + 1).log() / (pulls + 1)).sqrt()
            return _best(posterior_mean(wins, losses) + bonus)
        bonus = (self.c * pulls.sum(-1, keepdim=True).clamp(min=1).log() / pulls).sqrt()
        return _best(torch.where(pulls > 0, wins / pulls + bonus, torch.inf).nan_to_num(posinf=1e9))


def thompson(wins: Tensor, losses: Tensor, left: int) -> Tensor:
    """Pull an arm with the probability that it is the best one (Thompson 1933): probabilities [..., A].

    Whoever draws a chance from each arm's posterior, and pulls the arm with the largest, does the same. The integrand
    is a polynomial, so that Gauss's rule is exact.
    """
    _check(wins, losses, left)
    arms, pulls = wins.shape[-1], (wins + losses).sum(-1)
    density, below, weights = _beta_table(int(pulls.max()), (int(pulls.max()) + arms) // 2 + 1)
    f, below = (table[wins.long().cpu(), losses.long().cpu()] for table in (density, below))  # [..., A, N]
    others = [below[..., [b for b in range(arms) if b != a], :].prod(-2) for a in range(arms)]
    return ((f * torch.stack(others, -2)) @ weights).to(wins)


@lru_cache(16)
def _beta_table(most: int, nodes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the densities and distribution functions [W, L, N] of all counts up to `most` at Gauss's nodes."""
    x, weights = (torch.from_numpy(part) / 2 for part in np.polynomial.legendre.leggauss(nodes))
    x = x + 0.5
    count = torch.arange(most + 1.0).double()
    wins, losses = count[:, None, None], count[:, None]
    ways = (torch.lgamma(wins + losses + 1) - torch.lgamma(wins + 1) - torch.lgamma(losses + 1)).exp()
    density = (wins + losses + 1) * ways * x**wins * (1 - x) ** losses
    return density, 1 - (ways * x**wins * (1 - x) ** (losses + 1)).cumsum(0), weights


@dataclass(frozen=True)
class Gittins:
    r"""Gittins' index (1979), which compares an arm with a safe one, for a finite number of pulls, or with a discount.

    The index of an arm is the payment λ of a safe arm, which always pays λ, at which it does not matter whether the
    next pull is of the arm or of the safe one. (After the first pull one may change to the safe arm at any time.) With
    γ the discount, the arm's advantage D over the safe one is

        D_n(w, l) = m − λ + γ [ m max(0, D_{n−1}(w + 1, l)) + (1 − m) max(0, D_{n−1}(w, l + 1)) ],     D_0 = 0

    and the index is the λ at which D_n is 0. It is found by bisection, for all counts at once. With a discount and
    without an end, pulling the arm of the largest index is optimal. With a finite number of pulls it is nearly so.

    Args:
        pulls: the largest number of pulls.
        discount: γ; a payment that is one pull later is worth so much less.

    Raises:
        TypeError, ValueError: the number of pulls is less than 1, or the discount is not above 0 and at most 1.
    """

    pulls: int = PULLS
    discount: float = 1.0

    def __post_init__(self) -> None:
        arguments.whole(pulls=self.pulls)
        arguments.real(above=0, most=1, discount=self.discount)

    def __call__(self, wins: Tensor, losses: Tensor, left: int) -> Tensor:
        """Return the probabilities of the arms [..., A]."""
        _check(wins, losses, left, self.pulls)
        return _best(self.table(left)[wins.long().cpu(), losses.long().cpu()].to(wins))

    def table(self, left: int) -> Tensor:
        """Return the indices after w payments and l failures, with `left` pulls left [W, L], w and l from 0."""
        arguments.whole(least=1, most=self.pulls, what="the pulls of a game", left=left)
        return _indices(left, self.pulls - left + 1, float(self.discount))


@lru_cache(256)
def _indices(left: int, size: int, discount: float) -> Tensor:
    low, high = torch.zeros(size, size).double(), torch.ones(size, size).double()
    for _ in range(45):
        middle = (low + high) / 2
        arm_is_better = _advantage(middle, left, discount) > 0
        low, high = torch.where(arm_is_better, middle, low), torch.where(arm_is_better, high, middle)
    return (low + high) / 2


def _advantage(safe: Tensor, left: int, discount: float) -> Tensor:
    """Return D_n for starts of w payments and l failures, each with a safe payment of its own [W, L]."""
    start = torch.arange(len(safe)).double()
    later = safe.new_zeros(*safe.shape, left + 1, left + 1)  # D after so many more payments and failures
    for n in range(1, left + 1):
        more = torch.arange(left - n + 1).double()
        wins = start[:, None, None, None] + more[:, None]
        losses = start[:, None, None] + more
        mean = (wins + 1) / (wins + losses + 2)
        kept = later.clamp(min=0)
        later = mean - safe[:, :, None, None] + discount * (mean * kept[..., 1:, :-1] + (1 - mean) * kept[..., :-1, 1:])
    return later[..., 0, 0]


@dataclass(frozen=True)
class Optimal:
    """The policy with the largest expected reward of K pulls, by dynamic programming over all counts.

    No policy has a larger expected reward on bandits whose chances are uniform. With 5 arms and 10 pulls there are
    184,756 counts.

    Args:
        arms: A.
        pulls: K.

    Raises:
        TypeError, ValueError: a number is less than 1, or there are more than a million counts.
    """

    arms: int = ARMS
    pulls: int = PULLS

    def __post_init__(self) -> None:
        _check_size(self.arms, self.pulls)

    def __call__(self, wins: Tensor, losses: Tensor, left: int) -> Tensor:
        """Return the probabilities of the arms [..., A]."""
        return _best(self.values(wins, losses, left)).to(wins)

    def values(self, wins: Tensor, losses: Tensor, left: int) -> Tensor:
        """Return Q: the expected reward of the pulls that are left if an arm is pulled next [..., A].

        Args:
            wins: the payments of each arm [..., A].
            losses: its failures [..., A].
            left: how many pulls are left, at least 1. Together with those that were made they are K.

        Raises:
            TypeError, ValueError: the counts are none, or of other numbers of arms or pulls.
        """
        _check(wins, losses, left, self.pulls)
        counts = torch.cat([wins, losses], -1).double().cpu()
        if wins.shape[-1] != self.arms or not (counts.sum(-1) == self.pulls - left).all():
            raise ValueError(
                f"wins and losses must be those of {self.arms} arms after {self.pulls - left} pulls, if left={left} "
                f"of {self.pulls} are left"
            )
        return _rewards_to_go(counts, *self._solution[self.pulls - left + 1], pulls=self.pulls).to(wins)

    @property
    def value(self) -> float:
        """The expected reward of a whole game."""
        return self._solution[0][1].item()

    @cached_property
    def _solution(self) -> list[tuple[Tensor, Tensor]]:
        """The numbers that stand for the counts after 0 … K pulls, in increasing order, and the values V of these."""
        numbers = [torch.zeros(1, dtype=torch.int64)]
        for _ in range(self.pulls):
            numbers.append(_one_more(numbers[-1], self.arms, self.pulls).unique())
        solution = [(numbers[-1], torch.zeros(len(numbers[-1])).double())]
        for of_level in reversed(numbers[:-1]):
            values = _rewards_to_go(_counts(of_level, self.arms, self.pulls), *solution[0], pulls=self.pulls)
            solution.insert(0, (of_level, values.amax(1)))
        return solution


def _rewards_to_go(counts: Tensor, numbers: Tensor, values: Tensor, pulls: int) -> Tensor:
    """Return Q [..., A] at counts [..., 2 A], from the values of the counts with one pull more."""
    arms = counts.shape[-1] // 2
    mean = posterior_mean(counts[..., :arms], counts[..., arms:])
    later = values[torch.searchsorted(numbers, _one_more(_number(counts, pulls), arms, pulls))]
    return mean * (1 + later[..., :arms]) + (1 - mean) * later[..., arms:]


# Counts of payments and failures, 2 A numbers from 0 to K, are the digits of a number with the base K + 1.


def _digits(arms: int, pulls: int) -> Tensor:
    return (pulls + 1) ** torch.arange(2 * arms)


def _number(counts: Tensor, pulls: int) -> Tensor:
    return (counts.long() * _digits(counts.shape[-1] // 2, pulls)).sum(-1)


def _counts(numbers: Tensor, arms: int, pulls: int) -> Tensor:
    return (numbers[:, None] // _digits(arms, pulls) % (pulls + 1)).double()


def _one_more(numbers: Tensor, arms: int, pulls: int) -> Tensor:
    """Return the numbers of the counts with one payment more of each arm, and then with one failure more [..., 2 A]."""
    return numbers[..., None] + _digits(arms, pulls)


def expected_rewards(policy: Policy, arms: int = ARMS, pulls: int = PULLS) -> Tensor:
    """Return the expected reward of each pull of a game [K] under a policy, without drawing any bandit.

    The probabilities of all counts after each pull are computed from those after the pull before.

    Args:
        policy: maps counts and the pulls that are left to probabilities.
        arms: A.
        pulls: K.

    Raises:
        TypeError, ValueError: the policy is no function, a number is less than 1, or there are too many counts.
    """
    arguments.function(policy=policy)
    _check_size(arms, pulls)
    numbers, share = torch.zeros(1, dtype=torch.int64), torch.ones(1).double()
    rewards = []
    for number in range(pulls):
        wins, losses = _counts(numbers, arms, pulls).chunk(2, 1)
        chosen = share[:, None] * policy(wins, losses, pulls - number)
        mean = posterior_mean(wins, losses)
        rewards.append((chosen * mean).sum())
        flow = torch.cat([chosen * mean, chosen * (1 - mean)], 1).flatten()
        reached = flow > 0
        numbers, place = _one_more(numbers, arms, pulls).flatten()[reached].unique(return_inverse=True)
        share = torch.zeros(len(numbers)).double().index_add(0, place, flow[reached])
    return torch.stack(rewards)


def play(policy: Policy, bandits: Bandits) -> tuple[Tensor, Tensor]:
    """Play all pulls of T bandits: the arms that were pulled, and what they paid, [T, K] each.

    Args:
        policy: maps counts and the pulls that are left to probabilities.
        bandits: the bandits, with the luck that decides everything random.

    Raises:
        TypeError: the policy is no function, or the bandits are none.
    """
    arguments.function(policy=policy)
    if not isinstance(bandits, Bandits):
        raise TypeError(f"bandits={arguments.shown(bandits)} must be Bandits")
    wins, losses = torch.zeros_like(bandits.chances), torch.zeros_like(bandits.chances)
    arms, rewards = [], []
    for number in range(bandits.pulls):
        arm = bandits.choose(policy(wins, losses, bandits.pulls - number), number)
        reward = bandits.pull(arm, number)
        pulled = torch.nn.functional.one_hot(arm, bandits.arms).to(wins.dtype)
        wins, losses = wins + pulled * reward[:, None], losses + pulled * (1 - reward[:, None])
        arms.append(arm)
        rewards.append(reward)
    return torch.stack(arms, 1), torch.stack(rewards, 1)


def _check_size(arms: int, pulls: int) -> None:
    arguments.whole(arms=arms, pulls=pulls)
    if arms > 12 or pulls > 60 or math.comb(pulls + 2 * arms, pulls) > MOST:
        raise ValueError(f"arms={arms} with pulls={pulls} have more than {MOST:,} counts: take fewer")


def _check(wins: Tensor, losses: Tensor, left: int, most: int = arguments.LARGEST) -> None:
    """Check that counts are whole numbers of at least 0, in tensors of floating-point numbers, and a pull is left."""
    arguments.whole(least=1, most=most, what="the pulls of a game", left=left)
    for name, counts in {"wins": wins, "losses": losses}.items():
        if not isinstance(counts, Tensor) or not counts.dim() or not counts.shape[-1]:
            raise TypeError(f"{name}={arguments.shown(counts)} must be a tensor [..., A] with a number for each arm")
        arguments.floats(**{name: counts})
        if not ((counts >= 0) & (counts == counts.floor())).all():
            raise ValueError(f"{name} must hold whole numbers of at least 0, one for each arm")
    if wins.shape != losses.shape:
        raise ValueError(f"losses has the shape {list(losses.shape)}, and wins {list(wins.shape)}: take the same")
