import pytest
import torch
from torch import nn

from metalab.learners.siamese import distances
from metalab.learners.triplet import Triplet, batch_hard, semi_hard
from metalab.nets import Conv4


def embeddings(groups=2, rows=9, width=2, seed=0):
    return torch.randn(groups, rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plain_batch_hard(z, drawings, margin):
    """Loops find the triplets of one group, torch's own loss scores them."""
    triplets = []
    for a in range(len(z)):
        d = [(z[a] - z[i]).norm().item() for i in range(len(z))]
        positives = [i for i in range(len(z)) if i // drawings == a // drawings and i != a]
        negatives = [i for i in range(len(z)) if i // drawings != a // drawings]
        triplets.append((a, max(positives, key=d.__getitem__), min(negatives, key=d.__getitem__)))
    return score(z, triplets, margin)


def plain_semi_hard(z, drawings, margin):
    triplets = []
    for a in range(len(z)):
        d = [(z[a] - z[i]).norm().item() for i in range(len(z))]
        negatives = [i for i in range(len(z)) if i // drawings != a // drawings]
        for p in range(len(z)):
            if p // drawings == a // drawings and p != a:
                farther = [n for n in negatives if d[n] > d[p]]
                n = min(farther, key=d.__getitem__) if farther else max(negatives, key=d.__getitem__)
                triplets.append((a, p, n))
    return score(z, triplets, margin)


def score(z, triplets, margin):
    a, p, n = (z[list(rows)] for rows in zip(*triplets, strict=True))
    return nn.TripletMarginLoss(margin, eps=0)(a, p, n)


BOTH = pytest.mark.parametrize(("mine", "plain"), [(batch_hard, plain_batch_hard), (semi_hard, plain_semi_hard)])


@BOTH
@pytest.mark.parametrize("drawings", [2, 3, 6])
@pytest.mark.parametrize("margin", [0.1, 1.0])
def test_loss_equals_the_plain_loops(mine, plain, drawings, margin):
    z = embeddings(groups=5, rows=12)
    ours = mine(distances(z, z), drawings, margin)
    torch.testing.assert_close(ours, torch.stack([plain(group, drawings, margin) for group in z]))


def test_random_batches_have_positive_pairs_with_and_without_a_semi_hard_negative():
    z = embeddings(groups=5, rows=12)
    d = distances(z, z)
    none = [d[g, a, p] > d[g, a, 3:].max() for g in range(5) for a in range(3) for p in range(3) if a != p]
    assert 0 < sum(none) < len(none)


def test_by_hand():
    """On a line: a 0, p 2; n 1, 2 and 3. The hard negative is at 1, the semi-hard one at 3, farther than p."""
    z = torch.tensor([[0.0], [2.0], [1.0], [2.0], [3.0], [9.0]])
    d = distances(z, z)[None]
    hard = [2 - 1, 2 - 0, 1 - 1, 1 - 0, 6 - 1, 6 - 7]
    assert batch_hard(d, 2, 1.5).item() == pytest.approx(sum(max(0, 1.5 + h) for h in hard) / 6)
    # 0: p 2, next 3. 2: p 2, next 7. 1: p 1, next 2 (0 and 2 are as far as p). 2: p 1, next 2.
    # 3: p 6, none is farther than 3. 9: p 6, next 7.
    semi = [2 - 3, 2 - 7, 1 - 2, 1 - 2, 6 - 3, 6 - 7]
    assert semi_hard(d, 2, 1.5).item() == pytest.approx(sum(max(0, 1.5 + s) for s in semi) / 6)


@BOTH
def test_gradients_are_those_of_finite_differences(mine, plain):
    z = embeddings().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: mine(distances(z, z), 3, 0.7), z)


@BOTH
def test_all_in_one_point_costs_the_margin(mine, plain):
    z = torch.ones(2, 6, 4, requires_grad=True)
    loss = mine(distances(z, z), 3, 0.25)
    assert loss.tolist() == [0.25, 0.25]
    assert torch.autograd.grad(loss.sum(), z)[0].tolist() == torch.zeros(2, 6, 4).tolist()


@BOTH
def test_what_is_far_enough_costs_nothing(mine, plain):
    z = torch.tensor([[[0.0], [0.1], [5.0], [5.1]]])
    assert mine(distances(z, z), 2, 0.3).item() == 0


@pytest.mark.parametrize("margin", [0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize(
    "call",
    [
        lambda margin: Triplet(Conv4(), margin=margin),
        lambda margin: batch_hard(torch.zeros(1, 4, 4), 2, margin),
        lambda margin: semi_hard(torch.zeros(1, 4, 4), 2, margin),
    ],
)
def test_a_margin_that_makes_no_sense_is_named(call, margin):
    with pytest.raises(ValueError, match=f"margin={margin} must be a finite number, above 0"):
        call(margin)


def test_a_mining_that_is_not_known_is_named():
    with pytest.raises(ValueError, match="mining='all' must be 'hard' or 'semi-hard'"):
        Triplet(Conv4(), mining="all")


def test_the_learner_mines_as_it_was_told():
    z = embeddings()
    d = distances(z, z)
    assert torch.equal(Triplet(Conv4(), margin=0.5).loss(-d, 3), batch_hard(d, 3, 0.5))
    assert torch.equal(Triplet(Conv4(), margin=0.5, mining="semi-hard").loss(-d, 3), semi_hard(d, 3, 0.5))
