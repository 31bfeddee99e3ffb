"""Deep kernel transfer, compared with scikit-learn's Gaussian process, with written-out kernels, and differences."""

import math

import pytest
import torch
from problems import seeded
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from metalab.learners import DeepKernelTransfer
from metalab.nets import Tanh, for_tasks
from metalab.tasks import sine

DEEP = Tanh((1, 6, 3))


def problem(net=DEEP, kernel="spectral"):
    learner = DeepKernelTransfer(net, kernel, mixtures=2, noise=0.2, jitter=0)
    params = learner.init(seeded())
    params = {n: p.double() + 0.1 * torch.randn(p.shape, generator=seeded(4)).double() for n, p in params.items()}
    return learner, params, sine.sample(3, 6, 5, seeded(3)).to(torch.float64)


def test_without_a_network_the_rbf_kernel_is_scikit_learns():
    learner, params, episode = problem(None, "rbf")
    mean, variance = learner.predictive(params, episode)
    own = {name.removeprefix("kernel."): p for name, p in params.items()}
    scale, length, noise = (
        (power * own[f"log_{name}"]).exp().item() for power, name in ((2, "scale"), (1, "length"), (2, "noise"))
    )
    for task in range(3):
        theirs = GaussianProcessRegressor(ConstantKernel(scale) * RBF(length), alpha=noise, optimizer=None)
        theirs.fit(episode.support_x[task], episode.support_y[task] - own["mean"])
        m, s = theirs.predict(episode.query_x[task], return_std=True)
        torch.testing.assert_close(mean[task, :, 0], torch.from_numpy(m).flatten() + own["mean"])
        torch.testing.assert_close(variance[task, :, 0], torch.from_numpy(s).flatten() ** 2 + noise)


def test_the_spectral_kernel_is_the_sum_that_its_paper_writes():
    learner, params, _episode = problem()
    z = torch.randn(1, 4, 3, generator=seeded(6), dtype=torch.float64)
    ours = learner.covariance(for_tasks(params, 1), z, z)[0]
    for i in range(4):
        for j in range(4):
            total = 0.0
            for q in range(2):
                term = math.exp(2 * params["kernel.log_scale"][q])
                for d in range(3):
                    gap = (z[0, i, d] - z[0, j, d]).item()
                    v = 1 / (2 * math.pi * math.exp(params["kernel.log_length"][q, d])) ** 2
                    term *= math.exp(-2 * math.pi**2 * gap**2 * v)
                    term *= math.cos(2 * math.pi * gap * params["kernel.frequency"][q, d])
                total += term
            assert ours[i, j].item() == pytest.approx(total)


@pytest.mark.parametrize("kernel", ["rbf", "spectral"])
def test_the_gradient_is_that_of_finite_differences(kernel):
    learner, params, episode = problem(kernel=kernel)
    gradient, metrics = learner.meta_gradient(params, episode)

    def loss(changed):
        """By PyTorch's multivariate normal distribution."""
        x = torch.cat([episode.support_x, episode.query_x], 1)
        z = learner.net(for_tasks(changed, 3), x)
        noise = (2 * changed["kernel.log_noise"]).exp() * torch.eye(11).double()
        covariance = learner.covariance(for_tasks(changed, 3), z, z) + noise
        joint = torch.distributions.MultivariateNormal(changed["kernel.mean"].expand(11), covariance)
        return -joint.log_prob(torch.cat([episode.support_y, episode.query_y], 1)[..., 0]).mean() / 11

    assert metrics["loss"].item() == pytest.approx(loss(params).item())
    for name, p in params.items():
        way = torch.randn(p.shape, generator=seeded(5), dtype=torch.float64)
        ends = [loss(params | {name: p + sign * 1e-6 * way}) for sign in (1, -1)]
        expected = ((ends[0] - ends[1]) / 2e-6).item()
        assert (gradient[name] * way).sum().item() == pytest.approx(expected, rel=1e-4, abs=1e-8)


def test_the_same_point_twice_and_hardly_any_noise_needs_jitter():
    learner, params, episode = problem(None, "rbf")
    episode.support_x[:, 1] = episode.support_x[:, 0]
    params["kernel.log_noise"] = torch.tensor(-300.0).double()
    with pytest.raises(ValueError, match="of task 0 is not positive definite"):
        learner.predict(params, episode)
    safe = DeepKernelTransfer(None, "rbf")
    assert safe.predict(params, episode).isfinite().all()


def test_arguments_that_cannot_be_used():
    with pytest.raises(ValueError, match="kernel='linear' must be 'rbf' or 'spectral'"):
        DeepKernelTransfer(None, "linear")
