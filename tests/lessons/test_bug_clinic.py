"""What lesson 6's patients are made of."""

import pytest
import torch

from metalab.lessons.bug_clinic import ward


@pytest.mark.parametrize("make", [ward.sine_network, ward.small_network, ward.embedding])
def test_a_network_of_the_ward_starts_the_same_whatever_was_drawn_before(make):
    torch.manual_seed(1)
    first = list(make().parameters())
    torch.manual_seed(2)
    assert all(torch.equal(a, b) for a, b in zip(first, make().parameters(), strict=True))
