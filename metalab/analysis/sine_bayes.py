r"""The exact Bayesian answer for lesson 1's family of sines: the least mean squared error that any learner can reach.

Nature draws a wave y = A sin(x − φ) from the prior of `metalab.tasks.sine`: A is uniform in 0.1 … 5, and φ in 0 … π.
It shows K points, measured with normal noise of standard deviation σ. Bayes' theorem says what is then known,

    p(A, φ | points) ∝ exp( −Σ_k (y_k − A sin(x_k − φ))² / 2σ² )    inside the rectangle of the prior,

and the mean of the waves under this posterior has the least expected squared error at every x, whatever the method
(Bishop 2006, section 1.5.5). Its variance is this least error.

The rectangle has two sides, and they are integrated in different ways. At a given phase, the exponent is quadratic in
A, so that the posterior of A is a normal distribution cut at 0.1 and 5. Its mass has a closed form, and its moments
come from Gauss's rule on the part of 0.1 … 5 where it is not negligible. The phase has a grid that is refined: its
cells start equal, with a wide noise of 1, and are then redrawn again and again so that each holds the same share of the
posterior, while the noise shrinks, by a factor of 4 each time, to σ. A posterior with more noise is wider and surrounds
the one with less, so that no peak slips through the cells. Each cell has four of Gauss's nodes.

Compared with four times as many cells, means, variances and log densities are right to 0.00002 with a noise of 0.1, and
to 0.001 with 0.02. One point needs the fine grid most: its posterior is a narrow curve with two sharp ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .. import arguments
from ..tasks.sine import AMPLITUDE, PHASE, Sine

LEAST_NOISE = 0.01  # below it, the cells would have to be finer
CELLS = 256  # of the grid of phases
EVEN = 0.1  # the share of the cells that stays spread over all phases when they are redrawn
EACH = 500  # tasks whose integrals over phases are computed at once, to save memory
EACH_PLANE = 20  # tasks whose integrals over phases and amplitudes are

_NODES, _WEIGHTS = (torch.from_numpy(values) for values in np.polynomial.legendre.leggauss(4))  # in a cell
_A_NODES, _A_WEIGHTS = (torch.from_numpy(values) for values in np.polynomial.legendre.leggauss(32))  # amplitudes


@dataclass(frozen=True)
class SinePosterior:
    """What is known about T waves after some points of each: `SinePosterior.of(support_x, support_y, noise=0.1)`.

    A wave is y = a sin x − b cos x, with a = A cos φ and b = A sin φ. Its mean and variance at any x therefore follow
    from the means, variances and covariance of a and b.

    Attributes:
        support_x, support_y: the points [T, K, 1], K being 0 or more; float64, as everything here.
        noise: σ, in units of y.
        phases: the grid's phases φ [T, G], in radians.
        weights: their probabilities [T, G].
        centre: the means of a and b [T, 2].
        spread: their covariance matrix [T, 2, 2].
        log_evidence: the logarithm of the probability density of the points [T].
    """

    support_x: Tensor
    support_y: Tensor
    noise: float
    phases: Tensor
    weights: Tensor
    centre: Tensor
    spread: Tensor
    log_evidence: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, support_x: Tensor, support_y: Tensor, *, noise: float) -> SinePosterior:
        """Compute the posterior of T waves.

        Args:
            support_x: the points' x [T, K, 1]. K may be 0, and the posterior is then the prior.
            support_y: their y [T, K, 1].
            noise: σ, the standard deviation of the noise that the points' y were measured with, in units of y. For
                points without noise, take a small one, such as 0.01: from two points on, all error is then of its size.

        Raises:
            TypeError, ValueError: the points are no such tensors, or the noise is below 0.01.
        """
        _check("support", support_x, support_y)
        arguments.real(least=LEAST_NOISE, noise=noise)
        x, y = support_x.detach().double(), support_y.detach().double()
        phases, log_mass = _grid(x, y, float(noise), CELLS)
        log_evidence = log_mass.logsumexp(1)
        weights = (log_mass - log_evidence[:, None]).exp()
        centre, spread = _moments(x, y, float(noise), phases, weights)
        return cls(x, y, float(noise), phases, weights, centre, spread, log_evidence)

    def mean(self, x: Tensor) -> Tensor:
        """Return the posterior mean of the waves at x [T, Q, 1]: [T, Q, 1], in the precision of x.

        Raises:
            TypeError, ValueError: x is no such tensor.
        """
        return (self._basis(x) @ self.centre[:, :, None]).to(x.dtype)

    def variance(self, x: Tensor) -> Tensor:
        """Return the posterior variance of the waves at x [T, Q, 1]: [T, Q, 1], in the precision of x.

        It is that of the wave itself. A new measurement at x has σ² more.

        Raises:
            TypeError, ValueError: x is no such tensor.
        """
        basis = self._basis(x)
        return ((basis @ self.spread) * basis).sum(2, keepdim=True).clamp(min=0).to(x.dtype)

    @torch.no_grad()
    def log_density(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the log density of new measurements y [T, Q, 1] at x, each by itself: [T, Q, 1].

        They have the same noise as the points. By the chain rule this is the log evidence of the points with the new
        one, minus that without; both have grids of their own.

        Raises:
            TypeError, ValueError: x and y are no such tensors.
        """
        _check("query", x, y)
        self._basis(x)
        tasks, queries = x.shape[:2]
        new_x, new_y = (q.detach().double().flatten(0, 1)[:, None] for q in (x, y))  # [T·Q, 1, 1]
        all_x, all_y = (
            torch.cat([old.repeat_interleave(queries, 0), new], 1)
            for old, new in ((self.support_x, new_x), (self.support_y, new_y))
        )
        parts = zip(all_x.split(EACH), all_y.split(EACH), strict=True)
        evidence = torch.cat(
            [_grid(some_x, some_y, self.noise, CELLS // 2)[1].logsumexp(1) for some_x, some_y in parts]
        )
        return (evidence.view(tasks, queries) - self.log_evidence[:, None])[:, :, None].to(x.dtype)

    @torch.no_grad()
    def draw(self, count: int, generator: torch.Generator) -> Sine:
        """Draw `count` waves for each of the T tasks from the posterior: T · count waves, task by task.

        Raises:
            TypeError, ValueError: `count` is no whole number of at least 1, or the generator is none or elsewhere.
        """
        arguments.whole(count=count)
        arguments.generator(generator, self.phases.device)
        node = torch.multinomial(self.weights, count, replacement=True, generator=generator)  # [T, count]
        phase = self.phases.gather(1, node)
        _floor, s1, s2 = _quadratic(self.support_x, self.support_y, phase)
        centre, scale, alpha, beta, flip = _cut(s1, s2, self.noise)
        least, most = torch.special.ndtr(alpha), torch.special.ndtr(beta)
        chance = torch.rand(phase.shape, generator=generator, device=phase.device, dtype=phase.dtype)
        z = torch.special.ndtri(least + chance * (most - least))
        z = torch.where(most > 0, z, beta).clamp(alpha, beta)  # so far out in the tail that nothing is left of it
        amplitude = centre + scale * torch.where(flip, -z, z)
        return Sine(amplitude.flatten(), phase.flatten())

    def _basis(self, x: Tensor) -> Tensor:
        """Return sin x and −cos x, which a and b are multiplied by: [T, Q, 2]."""
        arguments.shapes(x=(x, "T Q 1"))
        if len(x) != len(self.centre) or not x.is_floating_point():
            raise ValueError(
                f"x has the shape {list(x.shape)} and holds {x.dtype}; it must hold floating-point numbers for "
                f"{len(self.centre)} tasks, as many as the posterior has"
            )
        x = x.detach().double()
        return torch.cat([x.sin(), -x.cos()], 2)


def _check(name: str, x: Tensor, y: Tensor) -> None:
    """Check that x and y are [T, K, 1] floating-point numbers; K may be 0."""
    empty = all(isinstance(t, Tensor) and t.dim() == 3 and t.shape[1:] == (0, 1) and len(t) for t in (x, y))
    if not empty or len(x) != len(y):
        arguments.shapes(**{f"{name}_x": (x, "T K 1"), f"{name}_y": (y, "T K 1")})
    arguments.floats(**{f"{name}_x": x, f"{name}_y": y})


def _grid(x: Tensor, y: Tensor, noise: float, cells: int) -> tuple[Tensor, Tensor]:
    """Return phases [T, G], refined to where the posterior is, and the log masses that they stand for [T, G].

    The sum of the masses is the evidence: the probability density of the points [T, K, 1].
    """
    low, high = PHASE
    edges = torch.linspace(low, high, cells + 1, device=x.device, dtype=x.dtype).repeat(len(x), 1)
    even = torch.linspace(0, 1, cells + 1, device=x.device, dtype=x.dtype)
    width = max(noise, 1.0)
    while True:
        size = edges.diff(dim=1)[:, :, None]  # [T, C, 1]
        phases = (edges[:, :-1, None] + size * (_NODES.to(x.device) + 1) / 2).flatten(1)
        share = (size * _WEIGHTS.to(x.device) / 2 / (high - low)).flatten(1)  # of the prior
        log_mass = _log_mass(*_quadratic(x, y, phases), width, points=x.shape[1]) + share.log()
        if width == noise:
            return phases, log_mass
        mass = (log_mass - log_mass.logsumexp(1, keepdim=True)).exp().view(len(x), cells, -1).sum(2)
        reached = torch.cat([torch.zeros_like(mass[:, :1]), mass.cumsum(1)], 1)  # distribution function at the edges
        reached = (1 - EVEN) * reached + EVEN * (edges - low) / (high - low)
        edges = _interpolate(even.expand_as(edges), reached, edges)
        width = max(noise, width / 4)


def _interpolate(at: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return the values at `at` [T, N] of the lines through the points x, y [T, M]; x is ascending."""
    right = torch.searchsorted(x, at.contiguous()).clamp(1, x.shape[1] - 1)
    x0, x1, y0, y1 = x.gather(1, right - 1), x.gather(1, right), y.gather(1, right - 1), y.gather(1, right)
    return y0 + (y1 - y0) * ((at - x0) / (x1 - x0).clamp(min=1e-300)).clamp(0, 1)


def _quadratic(x: Tensor, y: Tensor, phases: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what Σ_k (y_k − A s_k)² = floor + s2 (A − s1 / s2)² needs at each phase, with s_k = sin(x_k − φ): [T, G].

    s2 is kept above 0: where the points say nothing about A, the mass in A is even.
    """
    s = torch.sin(x - phases[:, None])  # [T, K, G]
    s2 = s.square().sum(1) + 1e-14
    s1 = (s * y).sum(1)
    return (y - s * (s1 / s2)[:, None]).square().sum(1), s1, s2


def _log_mass(floor: Tensor, s1: Tensor, s2: Tensor, noise: float, points: int) -> Tensor:
    """Return log ∫ p(points | A, φ) p(A) dA at each phase [T, G], by the normal distribution function."""
    _centre, scale, alpha, beta, _flip = _cut(s1, s2, noise)
    top = torch.special.log_ndtr(beta)
    inside = top + torch.log(-torch.expm1(torch.special.log_ndtr(alpha) - top))
    constant = (
        -points * math.log(noise * math.sqrt(2 * math.pi))
        + 0.5 * math.log(2 * math.pi)
        - math.log(AMPLITUDE[1] - AMPLITUDE[0])
    )
    return constant + scale.log() + inside - floor / (2 * noise**2)


def _cut(s1: Tensor, s2: Tensor, noise: float) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the normal distribution of A before it is cut, at each phase: centre, scale, and both cuts in units of it.

    Where both cuts lie above the centre, they are mirrored, as the last tensor says: below it, a distribution function
    is small, and keeps its digits.
    """
    low, high = AMPLITUDE
    scale, centre = noise * s2.rsqrt(), s1 / s2
    alpha, beta = (low - centre) / scale, (high - centre) / scale
    flip = alpha > 0
    return centre, scale, torch.where(flip, -beta, alpha), torch.where(flip, -alpha, beta), flip


def _amplitudes(s1: Tensor, s2: Tensor, noise: float) -> tuple[Tensor, Tensor]:
    """Return Gauss's nodes where A is not negligible, and the masses of A's posterior there: [T, G, 32] each.

    The masses are right up to a factor. The posterior is negligible nine standard deviations from its peak. Where its
    peak is cut off, at the distance d from the interval, it falls exponentially from the end of the interval, and is
    negligible 40 of its lengths τ² / d further on.
    """
    low, high = AMPLITUDE
    scale, centre = (noise * s2.rsqrt())[:, :, None], (s1 / s2)[:, :, None]
    peak = centre.clamp(low, high)
    reach = torch.minimum(9 * scale, 40 * scale.square() / (centre - peak).abs().clamp(min=1e-300))
    start, end = (peak - reach).clamp(min=low), (peak + reach).clamp(max=high)
    nodes = start + (end - start) * (_A_NODES.to(s1.device) + 1) / 2
    exponent = ((nodes - centre) / scale).square()
    masses = torch.exp((exponent.amin(2, keepdim=True) - exponent) / 2) * _A_WEIGHTS.to(s1.device)
    return nodes, masses


def _moments(x: Tensor, y: Tensor, noise: float, phases: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the means [T, 2] and the covariances [T, 2, 2] of A cos φ and A sin φ."""
    first, second = [], []
    for some_x, some_y, some in zip(x.split(EACH_PLANE), y.split(EACH_PLANE), phases.split(EACH_PLANE), strict=True):
        _floor, s1, s2 = _quadratic(some_x, some_y, some)
        nodes, masses = _amplitudes(s1, s2, noise)
        masses = masses / masses.sum(2, keepdim=True)
        first.append((masses * nodes).sum(2))
        second.append((masses * nodes.square()).sum(2))
    direction = torch.stack([phases.cos(), phases.sin()], 2)  # [T, G, 2]
    of_a, of_a2 = (weights * torch.cat(first)), (weights * torch.cat(second))
    centre = (of_a[:, :, None] * direction).sum(1)
    square = (of_a2[:, :, None] * direction).mT @ direction
    return centre, square - centre[:, :, None] * centre[:, None, :]
