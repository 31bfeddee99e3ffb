"""The supervised contrastive loss against a naive loop, finite differences, and what it says of perfect embeddings."""

import math

import pytest
import torch

from metalab.learners import SupervisedContrastive
from metalab.nets import Conv4

LEARNER = SupervisedContrastive(Conv4(channels=4))


def naive_loss(z, drawings, temperature):
    """L_out of one group [B, E], drawing by drawing and pair by pair, as the paper states it."""
    z = z / z.norm(dim=1, keepdim=True)
    losses = []
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        total = sum(torch.exp(z[i] @ z[a] / temperature) for a in others)
        same = [p for p in others if p // drawings == i // drawings]
        losses.append(-sum(torch.log(torch.exp(z[i] @ z[p] / temperature) / total) for p in same) / len(same))
    return torch.stack(losses).mean()


@pytest.mark.parametrize(("characters", "drawings"), [(3, 2), (4, 3)])
def test_it_is_the_papers_loss(characters, drawings):
    z = torch.randn(2, characters * drawings, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    loss = LEARNER.loss(LEARNER.similarity({}, z, z), drawings)
    expected = torch.stack([naive_loss(group, drawings, 0.1) for group in z])
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)


def test_its_gradient_is_that_of_finite_differences():
    z = torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: LEARNER.loss(LEARNER.similarity({}, z, z), 2), z)


def test_characters_at_right_angles_leave_what_the_temperature_leaves():
    z = torch.eye(3, dtype=torch.float64).repeat_interleave(2, 0)[None]
    loss = LEARNER.loss(LEARNER.similarity({}, z, z), 2)
    assert loss.item() == pytest.approx(math.log(1 + 4 * math.exp(-10)))


def test_embeddings_that_vanish_have_a_finite_gradient():
    z = torch.zeros(1, 4, 3, requires_grad=True)
    LEARNER.loss(LEARNER.similarity({}, z, z), 2).sum().backward()
    assert z.grad.isfinite().all()


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan")])
def test_a_temperature_that_makes_no_sense_is_named(temperature):
    with pytest.raises(ValueError, match=f"temperature={temperature} must be a finite number, above 0"):
        SupervisedContrastive(Conv4(), temperature=temperature)
