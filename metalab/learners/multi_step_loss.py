r"""The multi-step loss of MAML++ (Antoniou, Edwards & Storkey 2019, section 4): every inner step is judged.

MAML minimises the query loss after the last inner step alone. Here the losses after all of the steps are added up,

    L = Σ_{k=1}^{K} w_k L_Q(θ_k),    w_1 + … + w_K = 1

so that on the way back of MAML's recursion each θ_k adds the gradient of its own loss:

    v_K = w_K ∇L_Q(θ_K),    v_k = v_{k+1} − H_k (α v_{k+1}) + w_k ∇L_Q(θ_k) for k = K − 1 … 1

The weights are equal at first, and are annealed in the course of the training until the last step counts almost alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import arguments
from ..engine.derivatives import Derivatives
from ..nets import Params
from ..tasks import Episode
from .maml import MAML

LEAST = 0.03  # the weights of all but the last step fall to this share of 1/K, as in the authors' code


@dataclass(frozen=True)
class MultiStepLoss(MAML):
    """MAML with the multi-step loss. The other arguments are MAML's.

    Args:
        importance: w [K], on the device of the parameters. It may be changed in place while a training runs, and a
            meta-step that was recorded on a GPU then follows: `learner.importance.copy_(annealed(0.5, K))`. None: the
            losses after all of the steps count alike.

    Raises:
        TypeError, ValueError: as for MAML, or there is no inner step, or `importance` is no tensor [K].
    """

    importance: Tensor | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        arguments.whole(inner_steps=self.inner_steps)
        if self.importance is not None:
            if (found := arguments.shapes(importance=(self.importance, "K"))["K"]) != self.inner_steps:
                raise ValueError(f"importance has {found} weights: inner_steps={self.inner_steps} needs one for each")
            arguments.floats(importance=self.importance)

    def _weight(self, k: int) -> float | Tensor:
        return 1 / self.inner_steps if self.importance is None else self.importance[k - 1]

    def _from_end(self, query: Derivatives) -> Params:
        return {name: self._weight(self.inner_steps) * g for name, g in query.gradient().items()}

    def _passing(self, v: Params, theta: Params, episode: Episode, step: int) -> Params:
        if step == 0:  # the loss before the first step does not count
            return v
        own = self._query(theta, episode).gradient()
        return {name: g + self._weight(step) * own[name] for name, g in v.items()}

    @property
    def _walks_back(self) -> bool:
        return True  # at order 1 too: every step has a loss of its own


def annealed(progress: float, inner_steps: int) -> Tensor:
    """Return the weights w [K] when a share of the annealing is over: equal at 0, nearly the last loss alone at 1.

    Args:
        progress: 0 … 1.
        inner_steps: K.

    Raises:
        TypeError, ValueError: an argument is out of its range.
    """
    arguments.real(least=0, most=1, progress=progress)
    arguments.whole(inner_steps=inner_steps)
    weights = torch.full((inner_steps,), max(1 - progress, LEAST) / inner_steps)
    weights[-1] = 1 - weights[:-1].sum()
    return weights
