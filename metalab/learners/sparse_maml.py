r"""sparse-MAML (von Oswald, Zhao, Kobayashi, Schug, Caccia, Zucchet & Sacramento 2021): learn *which* weights adapt.

Every parameter has a gate m. It adapts where its gate is open,

    θ_{k+1} = θ_k − α 1[m ≥ 0] ⊙ ∇L_S(θ_k),    ∂L_Q/∂m = − α Σ_k ∇L_S(θ_k) ⊙ v_{k+1}

where the gradient of m is taken as if the step function 1[·] had slope 1 (a straight-through estimate), and v is as in
MAML's recursion. It is Meta-SGD with α 1[m ≥ 0] in place of α.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .meta_sgd import MetaSGD

GATE = "gate."  # the gate of the parameter "w1" is the parameter "gate.w1"
WITHIN = 0.1  # gates start uniform in ±0.1, half of them open: √(6 / (9 · 64)), as for Conv4 in the authors' code


@dataclass(frozen=True)
class SparseMAML(MetaSGD):
    """sparse-MAML, with MAML's arguments. The authors' code takes order 1 by default; here it is MAML's, 2."""

    _prefix = GATE

    def _start(self, like: Tensor, generator: torch.Generator) -> Tensor:
        return WITHIN * (2 * torch.rand(like.shape, generator=generator, device=like.device) - 1)

    def _rate(self, learned: Tensor) -> Tensor:
        return self.inner_lr * (learned >= 0).to(learned.dtype)

    def _slope(self, slope: Tensor, step: int) -> Tensor:
        return self.inner_lr * slope
