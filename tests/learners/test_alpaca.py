"""ALPaCA, compared with a dense solve, with an update point by point, with a Gaussian process, and with differences."""

import pytest
import torch
from problems import seeded

from metalab.gaussian import condition
from metalab.learners import ALPaCA
from metalab.learners.alpaca import MEAN, ROOT, features_of
from metalab.nets import Tanh, for_tasks
from metalab.tasks import sine

NOISE = 0.1


def problem():
    learner = ALPaCA(Tanh((1, 8, 4)), noise=NOISE, jitter=0)
    params = {name: p.double() for name, p in learner.init(seeded()).items()}
    params[MEAN] = torch.randn(4, 1, generator=seeded(1), dtype=torch.float64)
    params[ROOT] = params[ROOT] + 0.05 * torch.randn(4, 4, generator=seeded(2), dtype=torch.float64)
    return learner, params, sine.sample(3, 6, 5, seeded(3)).to(torch.float64)


def features(learner, params, episode):
    return features_of(learner.net, for_tasks(params, 1), episode)


def test_the_posterior_is_that_of_a_dense_solve():
    learner, params, episode = problem()
    mean, variance = learner.predictive(params, episode)
    support, query = features(learner, params, episode)
    prior = params[ROOT] @ params[ROOT].T
    for task in range(3):
        phi = support[task]
        inverse = torch.linalg.inv(prior + phi.T @ phi)
        weights = inverse @ (prior @ params[MEAN] + phi.T @ episode.support_y[task])
        torch.testing.assert_close(mean[task], query[task] @ weights)
        spread = (query[task] @ inverse @ query[task].T).diagonal()
        torch.testing.assert_close(variance[task, :, 0], NOISE**2 * (1 + spread))


def test_point_by_point_is_all_at_once():
    """Kalman's update of mean and covariance, one measurement after the other, shares no code with the batch."""
    learner, params, episode = problem()
    mean, variance = learner.predictive(params, episode)
    support, query = features(learner, params, episode)
    for task in range(3):
        covariance = NOISE**2 * torch.linalg.inv(params[ROOT] @ params[ROOT].T)
        weights = params[MEAN][:, 0]
        for phi, y in zip(support[task], episode.support_y[task, :, 0], strict=True):
            gain = covariance @ phi / (phi @ covariance @ phi + NOISE**2)
            weights = weights + gain * (y - phi @ weights)
            covariance = covariance - torch.outer(gain, covariance @ phi)
        torch.testing.assert_close(mean[task, :, 0], query[task] @ weights)
        spread = torch.einsum("qe,ef,qf->q", query[task], covariance, query[task])
        torch.testing.assert_close(variance[task, :, 0], spread + NOISE**2)


def test_it_is_a_gaussian_process_with_the_kernel_of_its_prior():
    learner, params, episode = problem()
    support, query = features(learner, params, episode)
    prior = NOISE**2 * torch.linalg.inv(params[ROOT] @ params[ROOT].T)
    own = (query @ prior * query).sum(2)
    rest = episode.support_y - support @ params[MEAN]
    mean, variance = condition(support @ prior @ support.mT, query @ prior @ support.mT, own, rest, NOISE**2, jitter=0)
    torch.testing.assert_close(learner.predictive(params, episode), (mean + query @ params[MEAN], variance))


def test_the_gradient_is_that_of_finite_differences():
    learner, params, episode = problem()
    gradient, metrics = learner.meta_gradient(params, episode)

    def loss(changed):
        mean, variance = learner.predictive(changed, episode)
        return -torch.distributions.Normal(mean, variance.sqrt()).log_prob(episode.query_y).mean()

    assert metrics["loss"].item() == pytest.approx(loss(params).item())
    for name, p in params.items():
        way = torch.randn(p.shape, generator=seeded(5), dtype=torch.float64)
        ends = [loss(params | {name: p + sign * 1e-6 * way}) for sign in (1, -1)]
        assert (gradient[name] * way).sum().item() == pytest.approx(((ends[0] - ends[1]) / 2e-6).item(), rel=1e-5)


def test_at_first_a_weight_has_mean_0_and_variance_1():
    learner = ALPaCA(Tanh((1, 8, 4)), noise=0.3)
    params = learner.init(seeded())
    prior = 0.3**2 * torch.linalg.inv(params[ROOT] @ params[ROOT].T)
    torch.testing.assert_close(prior, torch.eye(4))
    assert not params[MEAN].any()


def test_arguments_that_cannot_be_used():
    with pytest.raises(ValueError, match="noise=0 must be"):
        ALPaCA(Tanh(), noise=0)
    learner, params, episode = problem()
    with pytest.raises(ValueError, match="prior_mean"):
        learner.predict({name: p for name, p in params.items() if name != MEAN}, episode)
