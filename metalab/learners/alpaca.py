r"""ALPaCA: a Bayesian linear layer on learned features (Harrison, Sharma & Pavone 2018).

A network maps x to features φ(x). Each task has weights K of its own on them, y = Kᵀ φ(x) + ε with ε ~ N(0, σ² I), and
the prior of the weights is normal with the mean K₀ and the precision Λ₀/σ². The posterior after the support set, whose
features are the rows of Φ, has a closed form, and so has the distribution of a new measurement y at x:

    Λ = Λ₀ + Φᵀ Φ,    K̄ = Λ⁻¹ (Λ₀ K₀ + Φᵀ Y),    y ~ N( K̄ᵀ φ(x), σ² (1 + φ(x)ᵀ Λ⁻¹ φ(x)) )

Adaptation is this formula, without a gradient step. Meta-training learns the network, K₀ and Λ₀ by gradient descent on
−log p(y | support set) of the query points.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import arguments
from ..engine.derivatives import gradient
from ..gaussian import JITTER, cholesky, log_density
from ..nets import MLP, Net, Params, for_tasks
from ..tasks import Episode
from .learner import check_episode, check_net

MEAN, ROOT = "prior_mean", "prior_root"  # the names of K₀ [E, 1], and of L₀ [E, E] with Λ₀ = L₀ L₀ᵀ


@dataclass(frozen=True)
class ALPaCA:
    """ALPaCA. The paper's network for sines is `Tanh((1, 128, 128, 32))`, and the variance of its noise is 0.02.

    Labels are learned as numbers, 1 for the own class and −1 for the others, and the largest answer wins. All numbers
    of a measurement share one prior mean, because every episode deals its labels anew.

    Args:
        net: maps x to the features φ.
        noise: σ, the standard deviation of the noise, which is known.
        jitter: the share of its mean diagonal that is added to the diagonal of Λ.

    Raises:
        TypeError, ValueError: an argument is of another type, or the noise is not above 0.
    """

    net: Net
    noise: float = 0.02**0.5
    jitter: float = JITTER

    def __post_init__(self) -> None:
        check_net(self.net)
        arguments.real(above=0, noise=self.noise)
        arguments.real(least=0, jitter=self.jitter)

    def init(self, generator: torch.Generator) -> Params:
        """Draw fresh parameters. At first the weights have the prior mean 0 and the prior variance 1."""
        params = self.net.init(generator)
        width = width_of(params)
        device = generator.device
        params[MEAN] = torch.zeros(width, 1, device=device)
        params[ROOT] = self.noise * torch.eye(width, device=device)
        return params

    def posterior(self, params: Params, features: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the posterior of the weights of T tasks: K̄ [T, E, out], and L [T, E, E] with Λ = L Lᵀ.

        Args:
            params: the parameters, with a task axis of length 1, because all tasks share them.
            features: the rows of Φ [T, S, E].
            y: the measurements [T, S, out].
        """
        prior = params[ROOT] @ params[ROOT].mT
        factor = cholesky(prior + features.mT @ features, self.jitter)
        half = torch.linalg.solve_triangular(factor, prior @ params[MEAN] + features.mT @ y, upper=False)
        return torch.linalg.solve_triangular(
            factor.mT, half, upper=True
        ), factor  # a CUDA graph cannot hold `cholesky_solve`

    @torch.no_grad()
    def predictive(self, params: Params, episode: Episode) -> tuple[Tensor, Tensor]:
        """Return the mean [T, Q, out] and the variance [T, Q, 1] of new measurements at the queries, noise included.

        Raises:
            TypeError, ValueError: parameters and episode do not fit this learner, or Λ is not positive definite.
        """
        check_episode(self, params, episode)
        return self._predictive(for_tasks(params, 1), episode)

    def predict(self, params: Params, episode: Episode) -> Tensor:
        """Answer the queries by the mean: [T, Q, out]; errors as in `predictive`."""
        return self.predictive(params, episode)[0]

    def meta_gradient(self, params: Params, episode: Episode) -> tuple[Params, dict[str, Tensor]]:
        """Return the gradient of the queries' mean negative log-likelihood with respect to `params`, and the metrics.

        Raises:
            TypeError, ValueError: as `predictive` does.
        """
        check_episode(self, params, episode)
        targets = numbers_of(episode)[1]

        def query_loss(theta: Params) -> tuple[Tensor, dict[str, Tensor]]:
            mean, variance = self._predictive(theta, episode)
            error = (mean.detach() - targets).square().mean()
            return -log_density(targets, mean, variance).mean(), {"error": error}

        grads, loss, metrics = gradient(query_loss, for_tasks(params, 1), has_aux=True)
        return {name: g[0] for name, g in grads.items()}, {"loss": loss, **metrics}

    def _predictive(self, theta: Params, episode: Episode) -> tuple[Tensor, Tensor]:
        support, query = features_of(self.net, theta, episode)
        weights, factor = self.posterior(theta, support, numbers_of(episode)[0])
        spread = torch.linalg.solve_triangular(factor, query.mT, upper=False).square().sum(1)  # φᵀ Λ⁻¹ φ
        return query @ weights, self.noise**2 * (1 + spread).unsqueeze(2)


def width_of(params: Params) -> int:
    """Return how many features a network has: its last parameter is a shift of them."""
    return list(params.values())[-1].shape[-1]


def features_of(net: Net, theta: Params, episode: Episode) -> tuple[Tensor, Tensor]:
    """Return the features of the support [T, S, E] and of the queries [T, Q, E], for parameters with T = 1.

    Batch norm, if the network has it, takes its statistics from all pictures of a task.
    """
    x = torch.cat([episode.support_x, episode.query_x], 1)
    if isinstance(net, MLP):  # the points do not meet in it, so that all tasks are one batch
        features = net(theta, x.flatten(0, 1)[None]).unflatten(1, x.shape[:2])[0]
    else:
        features = net({name: p.expand(episode.tasks, *p.shape[1:]) for name, p in theta.items()}, x)
    return features.split([episode.support_x.shape[1], episode.query_x.shape[1]], 1)


def numbers_of(episode: Episode) -> tuple[Tensor, Tensor]:
    """Return the support's and the queries' targets as numbers [T, S, out] and [T, Q, out]; labels as ±1, [.., N]."""
    if episode.support_y.is_floating_point():
        return episode.support_y, episode.query_y
    like = episode.support_x
    return tuple(2 * F.one_hot(y, episode.ways).to(like.dtype) - 1 for y in (episode.support_y, episode.query_y))
