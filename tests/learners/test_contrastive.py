import pytest
import torch

from metalab.learners.contrastive import Contrastive, contrastive_loss
from metalab.learners.siamese import distances
from metalab.nets import Conv4


def embeddings(groups=2, rows=6, width=4, seed=0):
    return torch.randn(groups, rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plain_loss(z, drawings, margin):
    """One group as the formula states it: a loop over the unordered pairs."""
    same, different = [], []
    for i in range(len(z)):
        for j in range(i):
            d = sum((z[i, e] - z[j, e]) ** 2 for e in range(z.shape[1])) ** 0.5
            if i // drawings == j // drawings:
                same.append(d**2)
            else:
                different.append(max(0, margin - d) ** 2)
    return (sum(same) / len(same) + sum(different) / len(different)) / 2


def test_the_loss_by_hand():
    d = torch.tensor([0.0, 0.5, 1.0, 3.0, 0.0, 0.5, 1.0, 3.0])
    y = torch.tensor([1, 1, 1, 1, 0, 0, 0, 0])
    expected = [0, 0.25, 1, 9, 4, 2.25, 1, 0]
    assert contrastive_loss(d, y, 2.0).tolist() == expected
    assert contrastive_loss(d, y.bool(), 2.0).tolist() == expected


def test_hadsells_form_is_half_of_it_with_the_opposite_label():
    d = torch.rand(50, generator=torch.Generator().manual_seed(0)).double() * 2
    same = d.sin() > 0.5
    y = 1 - same.double()  # theirs: 0 for a similar pair
    theirs = (1 - y) * 0.5 * d**2 + y * 0.5 * (1.2 - d).clamp(min=0) ** 2
    torch.testing.assert_close(contrastive_loss(d, same, 1.2), 2 * theirs)


@pytest.mark.parametrize("margin", [0.5, 2.5])
def test_the_loss_over_all_pairs_equals_the_plain_loop(margin):
    z = embeddings()
    ours = Contrastive(Conv4(), margin=margin).loss(-distances(z, z), drawings=2)
    torch.testing.assert_close(ours, torch.stack([plain_loss(group, 2, margin) for group in z]))


def test_gradients_are_those_of_finite_differences():
    learner = Contrastive(Conv4(), margin=2.5)
    z = embeddings().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: learner.loss(-distances(z, z), 3), z)


def test_all_in_one_point_costs_the_margin_squared_and_nothing_without_one():
    z = torch.ones(1, 6, 4, requires_grad=True)
    for margin in (0.0, 1.5):
        loss = Contrastive(Conv4(), margin=margin).loss(-distances(z, z), drawings=3)
        assert loss.tolist() == [margin**2 / 2]
        assert torch.autograd.grad(loss.sum(), z)[0].tolist() == torch.zeros(1, 6, 4).tolist()


def test_a_pair_beyond_the_margin_is_left_alone():
    z = torch.tensor([[[0.0], [0.1], [5.0], [5.1]]], requires_grad=True)
    loss = Contrastive(Conv4(), margin=2.0).loss(-distances(z, z), drawings=2)
    (slope,) = torch.autograd.grad(loss.sum(), z)
    torch.testing.assert_close(slope[0, :, 0], torch.tensor([-0.1, 0.1, -0.1, 0.1]) / 2)  # pulled together only


@pytest.mark.parametrize("margin", [-0.5, float("nan"), float("inf")])
def test_a_margin_that_makes_no_sense_is_named(margin):
    with pytest.raises(ValueError, match=f"margin={margin} must be a finite number, at least 0"):
        Contrastive(Conv4(), margin=margin)
    with pytest.raises(ValueError, match=f"margin={margin} must be"):
        contrastive_loss(torch.zeros(1), torch.ones(1), margin)


def test_only_the_nearest_different_drawings_count_if_so_asked():
    """Against a plain loop over each drawing's negatives, sorted by distance."""
    z = embeddings(groups=1)[0]
    d = torch.cdist(z, z)
    negatives = [sorted(max(0, 2.5 - d[i, j].item()) ** 2 for j in range(6) if i // 2 != j // 2) for i in range(6)]
    positives = [d[i, j].item() ** 2 for i in range(6) for j in range(6) if i // 2 == j // 2 and i != j]
    hardest = [loss for losses in negatives for loss in losses[-2:]]
    expected = (sum(positives) / len(positives) + sum(hardest) / len(hardest)) / 2
    ours = Contrastive(Conv4(), margin=2.5, hardest=2).loss(-distances(z[None], z[None]), drawings=2)
    torch.testing.assert_close(ours.item(), expected)


def test_with_all_of_them_the_hardest_are_just_all():
    z = embeddings()
    all_pairs = Contrastive(Conv4(), margin=2.5).loss(-distances(z, z), drawings=2)
    torch.testing.assert_close(Contrastive(Conv4(), margin=2.5, hardest=4).loss(-distances(z, z), 2), all_pairs)


@pytest.mark.parametrize("hardest", [0, 5, -1])
def test_more_hard_pairs_than_there_are_is_refused(hardest):
    with pytest.raises(ValueError, match=f"hardest={hardest} must be a whole number of at least 1"):
        Contrastive(Conv4(), hardest=hardest).loss(torch.zeros(1, 6, 6), drawings=2)
