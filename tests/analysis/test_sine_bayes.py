"""The exact answer for sines, against a plain grid over both numbers, against rejection, and against what must hold."""

import math

import pytest
import torch

from metalab.analysis.sine_bayes import SinePosterior
from metalab.tasks import sine
from metalab.tasks.sine import AMPLITUDE, PHASE, Sine


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def points(tasks, shots, noise, seed=0):
    """Points [T, K, 1] of fresh waves in double precision, and queries [T, 5, 1] with noise as well."""
    generator = seeded(seed)
    episode = Sine(*(v.double() for v in vars(Sine.draw(tasks, generator)).values())).episode(
        max(shots, 1), 5, generator, noise=noise
    )
    query_y = episode.query_y + noise * torch.randn(episode.query_y.shape, generator=generator, dtype=torch.float64)
    return episode.support_x[:, :shots], episode.support_y[:, :shots], episode.query_x, query_y


def middles(interval, count):
    low, high = interval
    return low + (high - low) * (torch.arange(count, dtype=torch.float64) + 0.5) / count


def brute_force(x, y, query_x, query_y, noise, count=1500):
    """Mean, variance and log density at the queries [Q] of one task, by a grid of count × count equal rectangles."""
    amplitude, phase = middles(AMPLITUDE, count)[:, None], middles(PHASE, count)
    log_likelihood = torch.zeros(count, count, dtype=torch.float64)
    for at, value in zip(x[:, 0], y[:, 0], strict=True):
        log_likelihood -= (value - amplitude * torch.sin(at - phase)) ** 2 / (2 * noise**2)
    weight = (log_likelihood - log_likelihood.max()).exp()
    weight /= weight.sum()
    rows = []
    for at, value in zip(query_x[:, 0], query_y[:, 0], strict=True):
        wave = amplitude * torch.sin(at - phase)
        mean = (weight * wave).sum()
        density = torch.exp(-((value - wave) ** 2) / (2 * noise**2)) / (noise * math.sqrt(2 * math.pi))
        rows.append([mean, (weight * (wave - mean) ** 2).sum(), (weight * density).sum().log()])
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("noise", [0.3, 0.1])
@pytest.mark.parametrize("shots", [0, 1, 2, 3, 8])
def test_mean_variance_and_density_are_those_of_a_plain_grid(shots, noise):
    x, y, query_x, query_y = points(3, shots, noise)
    posterior = SinePosterior.of(x, y, noise=noise)
    ours = torch.cat([f(query_x) for f in (posterior.mean, posterior.variance)], 2)
    ours = torch.cat([ours, posterior.log_density(query_x, query_y)], 2)
    for task in range(3):
        theirs = brute_force(x[task], y[task], query_x[task], query_y[task], noise)
        torch.testing.assert_close(ours[task], theirs, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("shots", [1, 2])
def test_mean_and_variance_are_those_of_waves_that_pass_by_the_points(shots):
    """Rejection: draw waves from the prior, and accept each with the probability that the noise allows its misses."""
    noise = 0.3
    x, y, query_x, _query_y = points(2, shots, noise, seed=3)
    waves = Sine.draw(2_000_000, seeded(4))
    amplitude, phase, chance = (
        waves.amplitude.double(),
        waves.phase.double(),
        torch.rand(2_000_000, generator=seeded(5)),
    )
    posterior = SinePosterior.of(x, y, noise=noise)
    for task in range(2):
        miss = sum((v - amplitude * torch.sin(at - phase)) ** 2 for at, v in zip(x[task], y[task], strict=True))
        kept = chance < torch.exp(-miss / (2 * noise**2))
        seen = amplitude[kept] * torch.sin(query_x[task] - phase[kept])  # [Q, waves]
        mean, deviation = posterior.mean(query_x)[task, :, 0], posterior.variance(query_x)[task, :, 0].sqrt()
        assert len(seen[0]) > 2000
        assert ((seen.mean(1) - mean).abs() < 5 * deviation / len(seen[0]) ** 0.5).all()
        assert (seen.std(1) / deviation - 1).abs().max() < 0.1


def test_no_point_leaves_the_prior():
    posterior = SinePosterior.of(torch.zeros(2, 0, 1), torch.zeros(2, 0, 1), noise=0.1)
    x = torch.linspace(-5, 5, 9).repeat(2, 1)[:, :, None]
    # The mean of A is 2.55, that of sin φ is 2 / π, and that of cos φ is 0.
    torch.testing.assert_close(posterior.mean(x), -2.55 * 2 / math.pi * x.cos(), rtol=1e-5, atol=1e-5)
    assert posterior.log_evidence.abs().max() < 1e-9


def test_the_variance_is_the_error_that_is_met():
    """Over waves of the prior, the squared error of the mean is the variance: that is what makes it the limit."""
    for shots in (1, 3):
        episode = sine.sample(1000, shots, 10, seeded(shots), noise=0.1)
        posterior = SinePosterior.of(episode.support_x, episode.support_y, noise=0.1)
        ratio = (posterior.mean(episode.query_x) - episode.query_y).square() / posterior.variance(
            episode.query_x
        ).mean()
        of_tasks = ratio.mean((1, 2))
        assert (of_tasks.mean() - 1).abs() < 4 * of_tasks.std() / 1000**0.5


def test_a_density_integrates_to_one():
    x, y, _query_x, _query_y = points(2, 2, 0.1)
    values = torch.linspace(-7, 7, 4001, dtype=torch.float64).repeat(2, 1)[:, :, None]
    density = SinePosterior.of(x, y, noise=0.1).log_density(torch.full_like(values, 1.3), values).exp()
    torch.testing.assert_close(density.mean(1) * 14.0035, torch.ones(2, 1, dtype=torch.float64), rtol=1e-4, atol=0)


@pytest.mark.parametrize("shots", [0, 1, 4])
def test_waves_that_are_drawn_have_the_mean_and_the_variance(shots):
    x, y, query_x, _query_y = points(2, shots, 0.1, seed=1)
    posterior = SinePosterior.of(x, y, noise=0.1)
    waves = posterior.draw(20_000, seeded())(query_x.repeat_interleave(20_000, 0)).view(2, 20_000, 5)
    deviation = posterior.variance(query_x)[:, :, 0].sqrt()
    assert ((waves.mean(1) - posterior.mean(query_x)[:, :, 0]).abs() < 5 * deviation / 20_000**0.5 + 0.003).all()
    assert (waves.std(1) / deviation - 1).abs().max() < 0.05


def test_points_that_no_wave_explains_have_a_finite_answer():
    x = torch.tensor([[[0.5], [0.5], [-2.0]]])
    for y in ([[[20.0], [20.0], [20.0]]], [[[5.0], [-5.0], [0.0]]], [[[0.0], [0.0], [0.0]]]):
        posterior = SinePosterior.of(x, torch.tensor(y), noise=0.01)
        assert all(f(x).isfinite().all() for f in (posterior.mean, posterior.variance))
        assert posterior.log_density(x, torch.zeros(1, 3, 1)).isfinite().all()
        assert (posterior.mean(x).abs() <= 5).all()


def test_the_precision_of_the_answer_is_that_of_the_question():
    x, y, query_x, query_y = (t.float() for t in points(2, 2, 0.1))
    posterior = SinePosterior.of(x, y, noise=0.1)
    assert posterior.centre.dtype == torch.float64
    assert {posterior.mean(query_x).dtype, posterior.log_density(query_x, query_y).dtype} == {torch.float32}


def test_what_cannot_be_used_is_named():
    x, y, query_x, query_y = points(2, 2, 0.1)
    with pytest.raises(ValueError, match=r"noise=0.001 must be a finite number, at least 0.01"):
        SinePosterior.of(x, y, noise=0.001)
    with pytest.raises(ValueError, match="support_y has the shape"):
        SinePosterior.of(x, y[:, :1], noise=0.1)
    with pytest.raises(ValueError, match="2 tasks, as many as the posterior has"):
        SinePosterior.of(x, y, noise=0.1).mean(query_x[:1])
    with pytest.raises(ValueError, match="query_y has the shape"):
        SinePosterior.of(x, y, noise=0.1).log_density(query_x, query_y[:, :1])
