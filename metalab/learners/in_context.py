r"""Learning in context, or black-box meta-learning: a network reads the examples and answers. Nothing is adapted.

All learners of this kind share one training loss. A task is a sequence of K examples; each is predicted from those
before it, and every query from all K, so that one pass over a task trains for all numbers of examples at once:

    L = 1 / (K + Q) · [ Σ_k ℓ( f(x_k | examples 1 … k−1), y_k ) + Σ_q ℓ( f(x_q | examples 1 … K), y_q ) ]

Under the squared error ℓ, the best f is the posterior mean over the family of tasks (Ortega et al. 2019): the network
is trained to do Bayesian inference, and nobody tells it a prior. Müller et al. 2022 say the same of transformers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from .. import arguments
from ..nets import Params, normal
from ..tasks import Episode
from .learner import check_episode


@dataclass(frozen=True)
class InContext(ABC):
    """What learners in context share. A kind of it says how it reads, in `init` and `read`.

    Its parameters have no task axis: they are the same for all tasks, which go through the network as one batch.

    Args:
        inputs: the number of inputs, x.
        outputs: the number of outputs, y.
        width: the number of units of each layer.

    Raises:
        TypeError, ValueError: a number is no whole number of at least 1.
    """

    inputs: int = 1
    outputs: int = 1
    width: int = 128

    def __post_init__(self) -> None:
        arguments.whole(inputs=self.inputs, outputs=self.outputs, width=self.width)

    @abstractmethod
    def init(self, generator: torch.Generator) -> Params:
        """Draw fresh parameters, without a task axis, on the generator's device."""

    @abstractmethod
    def read(self, params: Params, x: Tensor, y: Tensor, query_x: Tensor) -> tuple[Tensor, Tensor]:
        """Answer at each example, before it is seen, and at each query, after all of them.

        Args:
            params: the parameters.
            x: the examples' inputs [T, K, inputs].
            y: their outputs [T, K, outputs].
            query_x: the queries' inputs [T, Q, inputs].

        Returns:
            Predictions of y from the examples before [T, K, outputs], and answers to the queries [T, Q, outputs].
        """

    def meta_gradient(self, params: Params, episode: Episode) -> tuple[Params, dict[str, Tensor]]:
        """Return the gradient of the mean squared error over all tasks, examples and queries, and the metrics.

        Raises:
            TypeError, ValueError: parameters and episode do not fit this learner.
        """
        self._check(params, episode)
        leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
        with torch.enable_grad():
            before, answers = self.read(leaves, episode.support_x, episode.support_y, episode.query_x)
            targets = torch.cat([episode.support_y, episode.query_y], 1)
            loss = (torch.cat([before, answers], 1) - targets).square().mean()
            gradient = torch.autograd.grad(loss, list(leaves.values()))
        return dict(zip(leaves, gradient, strict=True)), {"loss": loss.detach()}

    @torch.no_grad()
    def predict(self, params: Params, episode: Episode) -> Tensor:
        """Answer the queries after reading all examples: [T, Q, outputs].

        Raises:
            TypeError, ValueError: parameters and episode do not fit this learner.
        """
        self._check(params, episode)
        return self.read(params, episode.support_x, episode.support_y, episode.query_x)[1]

    def _check(self, params: Params, episode: Episode) -> None:
        if arguments.is_trusted():
            return
        check_episode(self, params, episode)
        arguments.shapes(
            support_x=(episode.support_x, f"T S {self.inputs}"), support_y=(episode.support_y, f"T S {self.outputs}")
        )


def draw_layers(name: str, sizes: tuple[int, ...], generator: torch.Generator) -> Params:
    """Draw linear layers of these widths: weights NAME.w1, … [in, out] for ReLU, and biases NAME.b1, … of zero."""
    params = {}
    for i, (n_in, n_out) in enumerate(pairwise(sizes), start=1):
        gain = 2.0 if i < len(sizes) - 1 else 1.0
        params[f"{name}.w{i}"] = normal(n_in, n_out, fan_in=n_in, gain=gain, generator=generator)
        params[f"{name}.b{i}"] = torch.zeros(n_out, device=generator.device)
    return params


def apply_layers(params: Params, name: str, z: Tensor) -> Tensor:
    """Apply the linear layers that `draw_layers` drew to z [..., in], with ReLU between them: [..., out]."""
    i = 1
    while f"{name}.w{i}" in params:
        z = (z.relu() if i > 1 else z) @ params[f"{name}.w{i}"] + params[f"{name}.b{i}"]
        i += 1
    return z
