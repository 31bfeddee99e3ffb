import pytest
import torch
from wrong import seeded

from metalab.tasks import linear


def test_tasks_are_linear_functions_of_normal_inputs():
    episode = linear.sample(2000, 8, 3, seeded())
    x, y = episode.support_x.double(), episode.support_y.double()
    w = torch.linalg.lstsq(x, y).solution
    torch.testing.assert_close(episode.query_x.double() @ w, episode.query_y.double(), rtol=1e-3, atol=1e-3)
    assert abs(w.mean()) < 5 / 10_000**0.5
    assert abs(w.var() - 1) < 0.1
    assert abs(x.var() - 1) < 0.05
    assert x.shape == (2000, 8, linear.DIMENSIONS)


def test_scale_stretches_all_inputs_and_noise_is_added_to_the_support_alone():
    plain, wide = (linear.sample(3, 4, 2, seeded(), scale=scale) for scale in (1.0, 3.0))
    torch.testing.assert_close(wide.support_x, 3 * plain.support_x)
    torch.testing.assert_close(wide.query_y, 3 * plain.query_y)
    noisy = linear.sample(500, 20, 2, seeded(), noise=0.5)
    clean = linear.sample(500, 20, 2, seeded())
    assert torch.equal(noisy.query_y, clean.query_y)
    assert abs((noisy.support_y - clean.support_y).std() - 0.5) < 0.02


def test_what_cannot_be_drawn_is_named():
    with pytest.raises(ValueError, match=r"scale=0\.0 must be a finite number, above 0"):
        linear.sample(2, 2, 2, seeded(), scale=0.0)
    with pytest.raises(ValueError, match="dimensions=0"):
        linear.sample(2, 2, 2, seeded(), dimensions=0)
