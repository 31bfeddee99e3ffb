import pytest
import torch
import torch.nn.functional as F

from metalab.losses import accuracy, cross_entropy, mse


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_cross_entropy_is_torchs_per_task():
    logits = torch.randn(3, 7, 4, generator=seeded(), dtype=torch.float64)
    labels = torch.randint(4, (3, 7), generator=seeded(1))
    expected = [F.cross_entropy(logits[t], labels[t]).item() for t in range(3)]
    assert cross_entropy(logits, labels).tolist() == pytest.approx(expected, rel=1e-12)


def test_mse_is_torchs_per_task():
    prediction, target = (torch.randn(3, 7, 2, generator=seeded(s), dtype=torch.float64) for s in (0, 1))
    expected = [F.mse_loss(prediction[t], target[t]).item() for t in range(3)]
    assert mse(prediction, target).tolist() == pytest.approx(expected, rel=1e-12)


def test_accuracy_is_the_share_of_hits_per_task():
    logits = torch.randn(3, 50, 4, generator=seeded())
    labels = torch.randint(4, (3, 50), generator=seeded(1))
    expected = [(logits[t].argmax(1) == labels[t]).double().mean().item() for t in range(3)]
    assert len(set(expected)) == 3
    assert accuracy(logits, labels).tolist() == pytest.approx(expected, rel=1e-6)


def test_a_constant_network_scores_chance():
    labels = torch.zeros(1, 6, dtype=torch.long)  # an argmax would call these all right
    for ways in (2, 5, 20):
        assert accuracy(torch.full((1, 6, ways), 3.0), labels).item() == pytest.approx(1 / ways)


def test_a_tie_counts_its_share():
    logits = torch.tensor([[[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 0.0]]])
    for label, share in ((0, 1 / 2), (1, 1 / 2), (2, 0)):
        assert accuracy(logits, torch.full((1, 3), label)).item() == pytest.approx(share)


def test_nan_counts_as_wrong():
    nan = float("nan")
    logits = torch.tensor([[[nan, nan], [0.0, 1.0]], [[nan, 5.0], [nan, nan]]])
    assert accuracy(logits, torch.tensor([[0, 1], [1, 0]])).tolist() == [0.5, 0.0]
