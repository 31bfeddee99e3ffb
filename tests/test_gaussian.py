"""Gaussian answers, compared with dense solves in double precision, with scikit-learn's and with PyTorch's own."""

import math

import pytest
import torch
from problems import seeded
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from metalab.gaussian import cholesky, condition, log_density, log_marginal

NOISE = 0.04  # the variance


def points(tasks=3, support=6, queries=5):
    x = 10 * torch.rand(tasks, support + queries, 1, generator=seeded(1), dtype=torch.float64) - 5
    y = x[:, :support].sin() + 0.2 * torch.randn(tasks, support, 2, generator=seeded(2), dtype=torch.float64)
    return x[:, :support], y, x[:, support:]


def rbf(a, b, scale=1.5, length=0.8):
    return scale**2 * torch.exp(-(a - b.mT).square() / (2 * length**2))


def test_the_posterior_is_scikit_learns():
    support, y, query = points()
    ours = condition(rbf(support, support), rbf(query, support), torch.full((3, 5), 2.25).double(), y, NOISE, jitter=0)
    for task in range(3):
        theirs = GaussianProcessRegressor(ConstantKernel(2.25) * RBF(0.8), alpha=NOISE, optimizer=None)
        theirs.fit(support[task], y[task])
        mean, std = theirs.predict(query[task], return_std=True)
        torch.testing.assert_close(ours[0][task], torch.from_numpy(mean))
        torch.testing.assert_close(ours[1][task, :, 0], torch.from_numpy(std[:, 0] ** 2) + NOISE)
        marginal = log_marginal(rbf(support, support) + NOISE * torch.eye(6), y, jitter=0)[task]
        # scikit-learn adds up the outputs, which are processes of their own
        assert marginal.item() == pytest.approx(theirs.log_marginal_likelihood_value_)


def test_the_posterior_is_that_of_a_dense_solve():
    support, y, query = points()
    mean, variance = condition(
        rbf(support, support), rbf(query, support), torch.full((3, 5), 2.25).double(), y, NOISE, jitter=0
    )
    for task in range(3):
        inverse = torch.linalg.inv(rbf(support, support)[task] + NOISE * torch.eye(6))
        across = rbf(query, support)[task]
        torch.testing.assert_close(mean[task], across @ inverse @ y[task])
        torch.testing.assert_close(variance[task, :, 0], 2.25 + NOISE - (across @ inverse @ across.T).diagonal())


def test_densities_are_those_of_pytorchs_distributions():
    support, y, _query = points()
    covariance = rbf(support, support) + NOISE * torch.eye(6)
    theirs = torch.distributions.MultivariateNormal(torch.zeros(6).double(), covariance[:, None])
    torch.testing.assert_close(log_marginal(covariance, y, jitter=0), theirs.log_prob(y.mT).sum(1))
    variance = torch.rand(3, 6, 1, generator=seeded(), dtype=torch.float64) + 0.1
    one = torch.distributions.Normal(torch.ones(3, 6, 2).double(), variance.sqrt()).log_prob(y)
    torch.testing.assert_close(log_density(y, torch.ones(3, 6, 2).double(), variance), one)


def test_the_chain_rule_of_the_marginal_likelihood():
    """log p(y) is the sum over the points of what each was predicted at from those before it."""
    support, y, _query = points()
    total = log_marginal(rbf(support, support) + NOISE * torch.eye(6), y, jitter=0)
    first = log_density(y[:, :1], torch.zeros(3, 1, 2).double(), torch.full((3, 1, 1), 2.25 + NOISE).double())
    steps = [first.sum((1, 2))]
    for n in range(1, 6):
        old, new = support[:, :n], support[:, n : n + 1]
        answer = condition(rbf(old, old), rbf(new, old), torch.full((3, 1), 2.25).double(), y[:, :n], NOISE, jitter=0)
        steps.append(log_density(y[:, n : n + 1], *answer).sum((1, 2)))
    torch.testing.assert_close(torch.stack(steps).sum(0), total)


def test_jitter_is_a_share_of_the_mean_diagonal():
    matrix = torch.diag(torch.tensor([1.0, 3.0]).double())[None]
    factor = cholesky(matrix, jitter=0.5)
    torch.testing.assert_close(factor @ factor.mT, matrix + torch.eye(2).double())


def test_a_matrix_that_has_no_factor_is_named():
    good, bad = torch.eye(3), torch.eye(3) - 2 * torch.ones(3, 3)
    with pytest.raises(
        ValueError, match=r"matrix of task 1 is not positive definite, in spite of jitter=1e-06"
    ) as told:
        cholesky(torch.stack([good, bad]))
    assert "A larger jitter or noise," in str(told.value)
    twice = torch.ones(1, 2, 2)  # the same point twice, without noise: the jitter makes it possible
    assert cholesky(twice, jitter=1e-4).isfinite().all()


def test_a_diverged_training_gets_its_nan_back():
    """The trainer tells of a loss that is not finite, and takes the training back."""
    assert not cholesky(torch.full((1, 2, 2), math.nan)).isfinite().all()
