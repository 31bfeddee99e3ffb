r"""A recurrent network that plays bandits: RL² (Duan et al. 2016; Wang et al. 2016). The learner in context acts.

Before each pull, the gated recurrent unit of `recurrent.py` reads what it has just done, and what that paid: the arm
a_{k−1} as A numbers of which one is 1, and the reward r_{k−1} (before the first pull, zeros). From its state s_k come
the probabilities π(a | s_k) of the arms. The state starts at 0 for a new bandit and is kept throughout its K pulls.
With the rewards to come, R_k = r_k + … + r_K, their mean b_k over the bandits, and the entropy H, training descends

    L = mean over the bandits of Σ_k [ −log π(a_k | s_k) (R_k − b_k) − c_H H(π(· | s_k)) ]

The gradient of the first term is the score-function gradient of the expected reward, with b_k as its baseline. (The
mean contains the bandit's own R_k, which shortens the gradient by the factor 1 − 1 / T.) The second term keeps the
network from settling too early on few arms. The authors train with trust regions, and with a learned baseline.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import arguments
from ..nets import Params, normal
from ..tasks.bandits import ARMS, Bandits
from .learner import check_params
from .recurrent import next_state


@dataclass(frozen=True)
class Game:
    """What a network did with T bandits, in K pulls each.

    Args:
        arms: the arms that it pulled [T, K].
        rewards: what they paid [T, K].
        log_p: the logarithms of the probabilities of all arms before each pull [T, K, A].
        states: the states from which it chose [T, K, width].
    """

    arms: Tensor
    rewards: Tensor
    log_p: Tensor
    states: Tensor


@dataclass(frozen=True)
class RecurrentPolicy:
    """A gated recurrent unit that chooses arms. Its batch is `Bandits`, and not an episode.

    Args:
        arms: A.
        width: the number of units of the state.
        entropy: c_H.

    Raises:
        TypeError, ValueError: a whole number is less than 1, or the factor is negative.
    """

    arms: int = ARMS
    width: int = 48
    entropy: float = 0.05

    def __post_init__(self) -> None:
        arguments.whole(arms=self.arms, width=self.width)
        arguments.real(least=0, entropy=self.entropy)

    def init(self, generator: torch.Generator) -> Params:
        """Draw fresh parameters. At first, all arms have the same probability.

        Raises:
            TypeError: `generator` is no generator.
        """
        arguments.generator(generator)
        n_in, width = self.arms + 1, self.width
        return {
            "input": normal(n_in, 3 * width, fan_in=n_in, gain=1.0, generator=generator),
            "state": normal(width, 3 * width, fan_in=width, gain=1.0, generator=generator),
            "bias": torch.zeros(3 * width, device=generator.device),
            "out": torch.zeros(width, self.arms, device=generator.device),
            "out_bias": torch.zeros(self.arms, device=generator.device),
        }

    def play(self, params: Params, bandits: Bandits, *, surest: bool = False) -> Game:
        """Play all pulls of the bandits.

        Args:
            params: the parameters.
            bandits: T bandits, with the luck that decides everything random.
            surest: pull the arm with the largest probability, instead of one at random.

        Raises:
            TypeError, ValueError: parameters and bandits do not fit this learner.
        """
        self._check(params, bandits)
        arguments.flag(surest=surest)
        chances = bandits.chances
        state, read = chances.new_zeros(len(chances), self.width), chances.new_zeros(len(chances), self.arms + 1)
        steps = []
        for number in range(bandits.pulls):
            state = next_state(params, read @ params["input"] + params["bias"], state)
            log_p = (state @ params["out"] + params["out_bias"]).log_softmax(1)
            arm = log_p.argmax(1) if surest else bandits.choose(log_p.detach().exp(), number)
            reward = bandits.pull(arm, number)
            read = torch.cat([F.one_hot(arm, self.arms).to(reward.dtype), reward[:, None]], 1)
            steps.append((arm, reward, log_p, state))
        return Game(*(torch.stack(parts, 1) for parts in zip(*steps, strict=True)))

    def meta_gradient(self, params: Params, bandits: Bandits) -> tuple[Params, dict[str, Tensor]]:
        """Return the gradient of L, and the metrics: "loss", and the mean "reward" of a whole game.

        Raises:
            TypeError, ValueError: parameters and bandits do not fit this learner.
        """
        self._check(params, bandits)
        leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
        with torch.enable_grad():
            game = self.play(leaves, bandits)
            to_come = game.rewards.flip(1).cumsum(1).flip(1)
            chosen = game.log_p.gather(2, game.arms[:, :, None])[:, :, 0]
            entropy = -(game.log_p.exp() * game.log_p).sum(2)
            loss = -(chosen * (to_come - to_come.mean(0)) + self.entropy * entropy).sum(1).mean()
            gradient = torch.autograd.grad(loss, list(leaves.values()))
        metrics = {"loss": loss.detach(), "reward": game.rewards.sum(1).mean()}
        return dict(zip(leaves, gradient, strict=True)), metrics

    @torch.no_grad()
    def predict(self, params: Params, bandits: Bandits) -> Tensor:
        """Return the chances of the arms that the surest play pulls [T, K]: each pull's expected reward.

        Raises:
            TypeError, ValueError: parameters and bandits do not fit this learner.
        """
        arms = self.play(params, bandits, surest=True).arms
        return bandits.chances.gather(1, arms)

    def _check(self, params: Params, bandits: Bandits) -> None:
        if arguments.is_trusted():
            return
        if not isinstance(bandits, Bandits):
            raise TypeError(f"bandits={arguments.shown(bandits)} must be Bandits")
        if bandits.arms != self.arms:
            raise ValueError(f"bandits have {bandits.arms} arms; this learner plays those of arms={self.arms}")
        check_params(self, params, bandits.chances)
