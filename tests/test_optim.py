"""The optimizers against PyTorch's own objects."""

import pytest
import torch

from metalab.optim import Adam, Descent


@pytest.mark.parametrize(("ours", "theirs"), [(Adam, torch.optim.Adam), (Descent, torch.optim.SGD)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_pytorchs(ours, theirs, dtype):
    params, same = torch.ones(9, dtype=dtype), torch.ones(9, dtype=dtype)
    optimizer, plain = ours(params), theirs([same], foreach=False, fused=False)
    generator = torch.Generator().manual_seed(0)
    for lr in (0.1, 0.01, 0.3):
        optimizer.rate.fill_(lr)
        plain.param_groups[0]["lr"] = lr
        same.grad = torch.randn(9, generator=generator, dtype=dtype)
        optimizer.step(same.grad)
        plain.step()
        torch.testing.assert_close(params, same)


def test_what_adam_keeps_is_changed_in_place():
    adam = Adam(torch.ones(3))
    before = dict(adam.state)
    adam.rate.fill_(0.1)
    adam.step(torch.ones(3))
    assert all(adam.state[name] is tensor and tensor.any() for name, tensor in before.items())


@pytest.mark.parametrize("optimizer", [Adam, Descent])
def test_numbers_that_do_not_lie_side_by_side_are_taken_as_they_are(optimizer):
    for gradient in (torch.arange(1.0, 11)[::2], torch.ones(1).expand(5)):
        params, same = torch.zeros(5), torch.zeros(5)
        for p, g in ((params, gradient), (same, gradient.clone())):
            one = optimizer(p)
            one.rate.fill_(0.1)
            one.step(g)
        assert torch.equal(params, same)
    with pytest.raises(ValueError, match="params must be contiguous"):
        optimizer(torch.zeros(10)[::2])
