r"""The learned rates of MAML++ (Antoniou, Edwards & Storkey 2019, section 4): one for each layer and each inner step.

    θ_{k+1} = θ_k − α_k ⊙ ∇L_S(θ_k),    ∂L_Q/∂α_{k, l} = − Σ over the weights of l of ∇L_S(θ_k) ⊙ v_{k+1}

It is Meta-SGD with one rate for a whole tensor of parameters l instead of one for each of its numbers, but with another
one in each step. A learned rate may become negative.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..nets import Params
from .maml import Rates
from .meta_sgd import MetaSGD


@dataclass(frozen=True)
class PerStepRates(MetaSGD):
    """MAML with the learned rates of MAML++, and MAML's arguments. All rates start at `inner_lr`.

    A test may take more steps than the training did: `replace(learner, inner_steps=10)`. It needs the rates of K steps
    all the same, and takes the surplus steps with the rate of the last one.
    """

    def rates(self, params: Params, step: int = 0) -> Rates:
        """Return the rate of each parameter of the network in an inner step, counted from 0, by its name."""
        learned = {name: params[self._prefix + name] for name in self.weights(params)}
        return {name: rate[min(step, len(rate) - 1)] for name, rate in learned.items()}

    def _start(self, like: Tensor, generator: torch.Generator) -> Tensor:
        return torch.full((self.inner_steps,), self.inner_lr, dtype=like.dtype, device=like.device)

    def _slope(self, slope: Tensor, step: int) -> Tensor:
        total = slope.flatten(1).sum(1, keepdim=True)  # [T, 1]
        return F.pad(total, (step, self.inner_steps - 1 - step))
