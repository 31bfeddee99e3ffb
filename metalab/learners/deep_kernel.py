r"""Deep kernel transfer, DKT: a Gaussian process with a learned kernel (Patacchiola et al. 2020).

A network maps x to features z, and a kernel of the features says how much the values at two points have in common. Two
kernels (Rasmussen & Williams 2006, equation 4.9; Wilson & Adams 2013, equation 12):

    RBF        k(z, z') = s² exp( −‖z − z'‖² / 2ℓ² )
    spectral   k(z, z') = Σ_q w_q Π_d exp( −2π² v_qd (z_d − z'_d)² ) cos( 2π μ_qd (z_d − z'_d) )

A task's measurements are y = m + f + ε, with a constant m, f from the Gaussian process, and noise ε of variance σ².
Adaptation is the posterior of the process in closed form (`metalab.gaussian`). Meta-training learns everything else,
network, kernel, m and σ, by gradient descent on −log p(y) of all of a task's points, support and query together. By the
chain rule, that is −Σ log p(y_i | y_1 … y_{i−1}): each point is predicted from those before it.

Without a network, this is a plain Gaussian process whose few hyperparameters are learned from the training tasks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import arguments
from ..engine.derivatives import gradient
from ..gaussian import JITTER, condition, log_marginal
from ..nets import Net, Params, for_tasks
from ..tasks import Episode
from .alpaca import features_of, numbers_of, width_of
from .learner import check_episode, check_net


@dataclass(frozen=True)
class DeepKernelTransfer:
    """Deep kernel transfer. For sines, the paper's code has `MLP((1, 40, 40))` with a ReLU at the end, and a spectral
    kernel with four mixtures.

    Labels are learned as numbers, 1 for the own class and −1 for the others, as in the paper.

    Args:
        net: maps x to the features z; None: z = x.
        kernel: "rbf" or "spectral".
        mixtures: how many terms the spectral kernel has.
        noise: σ at the start of the training.
        jitter: the share of its mean diagonal that is added to the diagonal of the covariance.

    Raises:
        TypeError, ValueError: an argument is of another type or out of its range.
    """

    net: Net | None
    kernel: str = "spectral"
    mixtures: int = 4
    noise: float = 0.1
    jitter: float = JITTER

    def __post_init__(self) -> None:
        if self.net is not None:
            check_net(self.net)
        arguments.one_of(("rbf", "spectral"), kernel=self.kernel)
        arguments.whole(mixtures=self.mixtures)
        arguments.real(above=0, noise=self.noise)
        arguments.real(least=0, jitter=self.jitter)

    def init(self, generator: torch.Generator) -> Params:
        """Draw fresh parameters. All are logarithms but the mean and the frequencies, so that they stay positive."""
        net = {} if self.net is None else self.net.init(generator)
        width, device = width_of(net) if net else 1, generator.device
        q = self.mixtures if self.kernel == "spectral" else 1
        own = {
            "mean": torch.zeros((), device=device),
            "log_noise": torch.full((), math.log(self.noise), device=device),
            "log_scale": torch.full((q,), -0.5 * math.log(q), device=device),  # the prior variance is 1
            "log_length": torch.zeros(q, width if self.kernel == "spectral" else 1, device=device),
        }
        if self.kernel == "spectral":
            own["frequency"] = torch.rand(q, width, generator=generator, device=device) / 2
        return net | {f"kernel.{name}": value for name, value in own.items()}

    def covariance(self, params: Params, a: Tensor, b: Tensor) -> Tensor:
        """Return the kernel of features [T, A, E] and [T, B, E]: [T, A, B]. The parameters have a task axis."""
        scale = (2 * params["kernel.log_scale"]).exp()[:, :, None, None]  # [T, q, 1, 1]
        length = params["kernel.log_length"].exp()  # [T, q, E]; v = 1 / (2π ℓ)²
        gap = a[:, :, None] - b[:, None]  # [T, A, B, E]
        if self.kernel == "rbf":
            return scale[:, 0] * (-0.5 * (gap / length[:, :, None]).square().sum(3)).exp()
        decay = (-0.5 * (gap.square() @ length.pow(-2).mT[:, None]).movedim(3, 1)).exp()  # [T, q, A, B]
        angle = 2 * math.pi * gap[:, None] * params["kernel.frequency"][:, :, None, None]  # [T, q, A, B, E]
        return (scale * decay * _product(angle.cos())).sum(1)

    @torch.no_grad()
    def predictive(self, params: Params, episode: Episode) -> tuple[Tensor, Tensor]:
        """Return the mean [T, Q, out] and the variance [T, Q, 1] of new measurements at the queries, noise included.

        Raises:
            TypeError, ValueError: parameters and episode do not fit this learner, or a covariance is not positive
                definite.
        """
        check_episode(self, params, episode)
        theta = for_tasks(params, 1)
        support, query = self._features(theta, episode)
        y, middle = numbers_of(episode)[0], theta["kernel.mean"][:, None, None]
        prior = self.covariance(theta, query[:, :1], query[:, :1])[:, 0].expand(query.shape[:2])  # the same everywhere
        across = self.covariance(theta, query, support)
        noise = (2 * params["kernel.log_noise"]).exp()
        mean, variance = condition(
            self.covariance(theta, support, support), across, prior, y - middle, noise, self.jitter
        )
        return mean + middle, variance

    def predict(self, params: Params, episode: Episode) -> Tensor:
        """Answer the queries by the mean: [T, Q, out]; errors as in `predictive`."""
        return self.predictive(params, episode)[0]

    def meta_gradient(self, params: Params, episode: Episode) -> tuple[Params, dict[str, Tensor]]:
        """Return the gradient of −log p(y) for each point with respect to `params`, and the metrics.

        Raises:
            TypeError, ValueError: as `predictive` does.
        """
        check_episode(self, params, episode)
        y = torch.cat(numbers_of(episode), 1)

        def loss(theta: Params) -> Tensor:
            z = torch.cat(self._features(theta, episode), 1)
            noise = (2 * theta["kernel.log_noise"]).exp()[:, None, None]
            covariance = self.covariance(theta, z, z) + noise * torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
            each = log_marginal(covariance, y - theta["kernel.mean"][:, None, None], self.jitter)
            return -each.mean() / y[0].numel()

        grads, found = gradient(loss, for_tasks(params, 1))
        return {name: g[0] for name, g in grads.items()}, {"loss": found}

    def _features(self, theta: Params, episode: Episode) -> tuple[Tensor, Tensor]:
        if self.net is None:
            return episode.support_x, episode.query_x
        return features_of(self.net, theta, episode)


def _product(x: Tensor) -> Tensor:
    """Return the product along the last axis, [..., E] to [...], by halves.

    The derivative of `prod` asks a GPU whether there are zeros, and waits for the answer; a recording cannot hold that.
    """
    while x.shape[-1] > 1:
        half = x.shape[-1] // 2
        x = torch.cat([x[..., :half] * x[..., half : 2 * half], x[..., 2 * half :]], -1)
    return x[..., 0]
