r"""ANIL, "almost no inner loop" (Raghu, Raghu, Bengio & Vinyals 2020): only the last layer adapts to a task.

It is MAML with an inner learning rate of 0 for the body of the network,

    θ_{k+1} = θ_k − α ⊙ ∇L_S(θ_k),    α = 0 but for the head

The body is still trained by the outer loop, through the head's adaptation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..arguments import shown
from ..nets import Params
from .maml import MAML, Rates


@dataclass(frozen=True)
class ANIL(MAML):
    """ANIL. The other arguments are MAML's.

    Args:
        head: names of the parameters that adapt. The default is Conv4's last layer; MLP's is `("w3", "b3")`.

    Raises:
        TypeError, ValueError: as for MAML, or `head` is no tuple of names.
        ValueError: `init` finds that the network has no parameter of such a name.
    """

    head: tuple[str, ...] = ("head", "bias")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.head, tuple) or not all(isinstance(name, str) for name in self.head):
            raise TypeError(f"head={shown(self.head)} must be a tuple of names of parameters")

    def init(self, generator: torch.Generator) -> Params:
        """Draw fresh parameters of the network."""
        params = super().init(generator)
        if unknown := set(self.head) - set(params):
            raise ValueError(f"head={self.head} names {sorted(unknown)}; the network's parameters are {list(params)}")
        return params

    def rates(self, params: Params, step: int = 0) -> Rates:
        """Return α for the parameters of the head and 0 for all others."""
        return {name: self.inner_lr if name in self.head else 0.0 for name in params}
