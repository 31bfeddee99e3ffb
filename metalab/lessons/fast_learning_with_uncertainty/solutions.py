"""Our solutions, which `solution()` prints as they are. They are notebook code, so they have no type hints."""

import math

import torch


def update(mean, covariance, features, y, noise):
    """Return the mean and the covariance of the weights after one more measurement."""
    along = covariance @ features
    gain = along / (features @ along + noise**2)
    return mean + gain * (y - features @ mean), covariance - torch.outer(gain, along)


def gp_posterior(support, across, query, y, noise):
    """Return the mean and the variance of new measurements at the query points."""
    noisy = support + noise**2 * torch.eye(len(y), dtype=y.dtype)
    mean = across @ torch.linalg.solve(noisy, y)
    known = (across * torch.linalg.solve(noisy, across.T).T).sum(1)
    return mean, query - known + noise**2


def negative_log_likelihood(y, mean, variance):
    """Return the mean of minus the log density of the measurements, in nats."""
    squares = (y - mean) ** 2 / variance
    return 0.5 * (squares + torch.log(variance) + math.log(2 * math.pi)).mean()


def coverage(y, mean, variance, share):
    """Return how many of the measurements lie in the central interval, as a share."""
    reach = torch.special.ndtri(torch.tensor((1 + share) / 2, dtype=torch.float64))
    inside = (y - mean).abs() <= reach * variance.sqrt()
    return inside.double().mean().item()


def variance_after(covariance, features, noise):
    """Return, for each candidate, the mean variance once it has been measured."""
    shared = features @ covariance @ features.T
    own = shared.diagonal()
    after = own - shared**2 / (own + noise**2)[:, None]
    return after.mean(dim=1)
