r"""Gaussian answers: matrices that are factored safely, posteriors of Gaussian processes, and likelihoods.

A Gaussian process says that any values f at points are jointly normal, with covariances K by a kernel k(x, x'). With
y = f + noise measured at support points S (K_S holds their covariances), the values at query points Q are normal too
(Rasmussen & Williams 2006, equations 2.23 to 2.26 and 2.30):

    C = K_S + σ² I,    mean_Q = K_QS C⁻¹ y,    variance_Q = k_QQ − diag(K_QS C⁻¹ K_SQ)

    log p(y) = −½ yᵀ C⁻¹ y − ½ log det C − n/2 log 2π

Everything has a task axis T. C⁻¹ is never formed: C = L Lᵀ by Cholesky, and triangular systems are solved.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from . import arguments

JITTER = 1e-6  # by default this share of the mean of a matrix's diagonal is added to the diagonal


def cholesky(matrix: Tensor, jitter: float = JITTER) -> Tensor:
    """Return the lower triangles L [T, n, n] with L Lᵀ = A + jitter · mean(diag A) · I, for symmetric A [T, n, n].

    Points that nearly coincide make a matrix singular up to rounding, and the factor then does not exist. A little on
    the diagonal, called jitter, acts as a little more noise in every measurement.

    Raises:
        TypeError, ValueError: the matrix is no tensor of that shape, the jitter is negative, or a matrix is not
            positive definite even so. (On a GPU, where reading would wait, its factor is NaN instead.)
    """
    if not arguments.is_trusted():
        sizes = arguments.shapes(matrix=(matrix, "T n m"))
        if sizes["n"] != sizes["m"]:
            raise ValueError(f"matrix has the shape {list(matrix.shape)}: its last two axes must be of one length")
        arguments.floats(matrix=matrix)
        arguments.real(least=0, jitter=jitter)
    diagonal = matrix.diagonal(dim1=1, dim2=2).mean(1)
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    factor, info = torch.linalg.cholesky_ex(matrix + (jitter * diagonal)[:, None, None] * identity)
    if matrix.device.type == "cpu":
        if not info.any() or not matrix.isfinite().all():  # what is not finite shows in the loss, which says so
            return factor
        task = int(info.nonzero()[0])
        raise ValueError(
            f"matrix of task {task} is not positive definite, in spite of jitter={jitter:g} times its mean diagonal "
            f"{diagonal[task].item():.3g}. Are points there twice, or is the noise too small? A larger jitter or "
            "noise, or double precision, helps"
        )
    return torch.where((info > 0)[:, None, None], torch.nan, factor)


def condition(
    support: Tensor, across: Tensor, query: Tensor, y: Tensor, noise: Tensor | float, jitter: float = JITTER
) -> tuple[Tensor, Tensor]:
    """Return a Gaussian process's mean [T, Q, out] and variance [T, Q, 1] of new measurements, noise included.

    Args:
        support: K_S, the covariances of the support points [T, S, S].
        across: K_QS, those of query with support points [T, Q, S].
        query: k_QQ, the variance of each query point [T, Q].
        y: the measurements [T, S, out]; each output is a process of its own, with the same kernel.
        noise: σ², the variance of the noise.
        jitter: as in `cholesky`.

    Raises:
        TypeError, ValueError: the arguments are no tensors of these shapes, or as `cholesky` raises.
    """
    if not arguments.is_trusted():
        arguments.shapes(support=(support, "T S S"), across=(across, "T Q S"), query=(query, "T Q"), y=(y, "T S out"))
        arguments.floats(support=support, across=across, query=query, y=y)
        arguments.real(above=0, noise=noise)
    factor = cholesky(support + noise * torch.eye(support.shape[1], dtype=y.dtype, device=y.device), jitter)
    half = torch.linalg.solve_triangular(factor, across.mT, upper=False)  # L⁻¹ K_SQ
    mean = half.mT @ torch.linalg.solve_triangular(factor, y, upper=False)
    return mean, (query - half.square().sum(1) + noise).unsqueeze(2)


def log_marginal(covariance: Tensor, y: Tensor, jitter: float = JITTER) -> Tensor:
    """Return log p(y) of measurements y [T, n, out] with covariance C [T, n, n], noise included: [T], in nats.

    Raises:
        TypeError, ValueError: the arguments are no tensors of these shapes, or as `cholesky` raises.
    """
    if not arguments.is_trusted():
        arguments.shapes(covariance=(covariance, "T n n"), y=(y, "T n out"))
        arguments.floats(covariance=covariance, y=y)
    factor = cholesky(covariance, jitter)
    half = torch.linalg.solve_triangular(factor, y, upper=False)
    points, outputs = y.shape[1:]
    log_det = 2 * factor.diagonal(dim1=1, dim2=2).log().sum(1)
    return -0.5 * (half.square().sum((1, 2)) + outputs * (log_det + points * math.log(2 * math.pi)))


def log_density(y: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Return log N(y; mean, variance) of each number [T, B, out], in nats. The variance may be [T, B, 1].

    Raises:
        TypeError, ValueError: the arguments are no tensors of these shapes.
    """
    if not arguments.is_trusted():
        sizes = arguments.shapes(y=(y, "T B out"), mean=(mean, "T B out"), variance=(variance, "T B v"))
        if sizes["v"] not in (1, sizes["out"]):
            raise ValueError(
                f"variance has the shape {list(variance.shape)}: its last axis must be 1 or {sizes['out']}"
            )
        arguments.floats(y=y, mean=mean, variance=variance)
    return -0.5 * ((y - mean).square() / variance + variance.log() + math.log(2 * math.pi))
