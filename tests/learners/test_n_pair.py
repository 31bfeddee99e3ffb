"""The N-pair loss against a loop over its one-shot tasks, and finite differences."""

import pytest
import torch
import torch.nn.functional as F

from metalab.learners import NPair
from metalab.nets import Conv4

LEARNER = NPair(Conv4(channels=4))


def by_task(z, drawings, temperature):
    """The mean loss of one group [P·K, E]: each pair of drawings is the support and the queries of a task."""
    z = F.normalize(z, dim=1).unflatten(0, (-1, drawings))
    losses = []
    for support in range(drawings):
        for query in range(drawings):
            if query != support:
                logits = z[:, query] @ z[:, support].T / temperature
                losses.append(F.cross_entropy(logits, torch.arange(len(z))))
    return torch.stack(losses).mean()


@pytest.mark.parametrize(("characters", "drawings"), [(3, 2), (4, 3), (2, 4)])
def test_it_is_the_mean_loss_of_its_one_shot_tasks(characters, drawings):
    z = torch.randn(2, characters * drawings, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    loss = LEARNER.loss(LEARNER.similarity({}, z, z), drawings)
    expected = torch.stack([by_task(group, drawings, 0.1) for group in z])
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)


def test_its_gradient_is_that_of_finite_differences():
    z = torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: LEARNER.loss(LEARNER.similarity({}, z, z), 2), z)
