import pytest
import torch
from torch import nn

from metalab.learners.koch import Koch
from metalab.nets import Conv4


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def head(width=4):
    return {
        "pair_weight": torch.randn(width, generator=seeded(1)).double(),
        "pair_bias": torch.tensor(0.3, dtype=torch.float64),
    }


@pytest.mark.parametrize(("net", "width"), [(Conv4(channels=6), 6), (Conv4(10, channels=6), 10)])
def test_it_starts_as_a_distance_on_the_embedding(net, width):
    learner = Koch(net)
    params = learner.init(seeded())
    assert params["pair_weight"].shape == (width,)
    torch.testing.assert_close(params["pair_weight"].norm(), torch.tensor(1.0))
    assert params["pair_weight"].max() < 0
    assert params["pair_bias"].tolist() == 0
    assert params.keys() - {"pair_weight", "pair_bias"} == net.init(seeded()).keys()


def test_logits_are_the_weighted_differences():
    a, b = torch.randn(2, 3, 4, generator=seeded()).double(), torch.randn(2, 5, 4, generator=seeded(2)).double()
    params = head()
    ours = Koch(Conv4()).similarity(params, a, b)
    assert ours.shape == (2, 3, 5)
    for t in range(2):
        for i in range(3):
            for j in range(5):
                terms = [params["pair_weight"][e] * abs(a[t, i, e] - b[t, j, e]) for e in range(4)]
                torch.testing.assert_close(ours[t, i, j], sum(terms) + 0.3)


def test_the_loss_is_torchs_cross_entropy_of_the_probabilities():
    logits = torch.randn(2, 6, 6, generator=seeded()).double() * 3
    ours = Koch(Conv4()).loss(logits, drawings=3)
    for group, loss in zip(logits, ours, strict=True):
        same = torch.tensor([(i, j) for i in range(6) for j in range(6) if i // 3 == j // 3 and i != j])
        different = torch.tensor([(i, j) for i in range(6) for j in range(6) if i // 3 != j // 3])
        p = [group[pairs[:, 0], pairs[:, 1]].sigmoid() for pairs in (same, different)]
        theirs = nn.BCELoss()(p[0], torch.ones(12).double()) + nn.BCELoss()(p[1], torch.zeros(18).double())
        torch.testing.assert_close(loss, theirs / 2)


def test_extreme_logits_give_a_finite_loss():
    logits = torch.full((1, 4, 4), 1000.0)
    assert Koch(Conv4()).loss(logits, 2).tolist() == [500]


def test_gradients_are_those_of_finite_differences():
    learner = Koch(Conv4())
    z = torch.randn(2, 6, 4, generator=seeded()).double().requires_grad_()
    weight, bias = (p.requires_grad_() for p in head().values())

    def loss(z, weight, bias):
        return learner.loss(learner.similarity({"pair_weight": weight, "pair_bias": bias}, z, z), 3)

    assert torch.autograd.gradcheck(loss, (z, weight, bias))


def test_a_drawing_is_itself_as_surely_as_the_bias_says():
    z = torch.ones(1, 4, 4, dtype=torch.float64, requires_grad=True)
    logits = Koch(Conv4()).similarity(head(), z, z)
    assert logits.tolist() == torch.full((1, 4, 4), 0.3, dtype=torch.float64).tolist()
    (slope,) = torch.autograd.grad(logits.sum(), z)
    assert slope.abs().sum() == 0


def test_the_hardest_pairs_are_those_taken_most_for_the_same():
    logits = torch.randn(1, 6, 6, generator=seeded()).double() * 3
    ours = Koch(Conv4(), hardest=2).loss(logits, drawings=2)[0]
    same, different = [], []
    for i in range(6):
        same += [-logits[0, i, j].sigmoid().log() for j in range(6) if i // 2 == j // 2 and i != j]
        most = sorted((logits[0, i, j] for j in range(6) if i // 2 != j // 2), reverse=True)[:2]
        different += [-(1 - logit.sigmoid()).log() for logit in most]
    torch.testing.assert_close(ours, (sum(same) / len(same) + sum(different) / len(different)) / 2)


@pytest.mark.parametrize("hardest", [0, -1, 1.5])
def test_a_number_of_hardest_pairs_that_cannot_be_is_refused(hardest):
    with pytest.raises((TypeError, ValueError), match=f"hardest={hardest}"):
        Koch(Conv4(), hardest=hardest)
