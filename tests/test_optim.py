"""The optimizers against PyTorch's own objects."""

from functools import partial

import pytest
import torch

from metalab.optim import MOMENTUM, Adam, Averaged, Descent, Muon, orthogonal


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


def by_singular_values(matrix):
    """What `orthogonal` does, on the singular values alone."""
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    s = s / s.norm()
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return u @ s.diag() @ v


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (6, 6)])
def test_singular_values_become_about_1(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = orthogonal(matrix)
    torch.testing.assert_close(found, by_singular_values(matrix), rtol=1e-6, atol=1e-6)
    values = torch.linalg.svdvals(found)
    assert 0.5 < values.min() <= values.max() < 1.3


LAYOUT = {"first": (2, 3), "hidden": (6, 2), "shift": (3,)}
muon = partial(Muon, layout=LAYOUT, hidden=["hidden"], share=0.5)


def test_muon_changes_hidden_matrices_and_adam_the_rest():
    generator = torch.Generator().manual_seed(0)
    params = torch.randn(21, generator=generator, dtype=torch.float64)
    by_adam, matrix, momentum = params.clone(), params[6:18].clone().view(6, 2), torch.zeros(6, 2, dtype=torch.float64)
    optimizer, adam = muon(params), Adam(by_adam)
    for rate in (0.1, 0.3):
        gradient = torch.randn(21, generator=generator, dtype=torch.float64)
        optimizer.rate.fill_(rate)
        adam.rate.fill_(0.5 * rate)
        optimizer.step(gradient)
        adam.step(gradient)
        momentum = MOMENTUM * momentum + gradient[6:18].view(6, 2)
        direction = by_singular_values(gradient[6:18].view(6, 2) + MOMENTUM * momentum)
        matrix = matrix - rate * 3**0.5 * direction
        others = [*range(6), *range(18, 21)]
        torch.testing.assert_close(params[others], by_adam[others])
        torch.testing.assert_close(params[6:18].view(6, 2), matrix, rtol=1e-5, atol=1e-6)


def test_what_muon_keeps_is_changed_in_place():
    optimizer = muon(torch.ones(21))
    before = dict(optimizer.state)
    optimizer.rate.fill_(0.1)
    optimizer.step(torch.ones(21))
    assert all(optimizer.state[name] is tensor and tensor.any() for name, tensor in before.items())


def test_a_layout_must_be_that_of_the_parameters():
    with pytest.raises(ValueError, match="layout="):
        muon(torch.ones(20))
    with pytest.raises(ValueError, match="hidden has 'shift'"):
        muon(torch.ones(21), hidden=["shift"])


def test_an_average_follows_the_parameters_of_another_optimizer():
    params, same = torch.ones(4), torch.ones(4)
    averaged, plain = Averaged(params, of=Adam, decay=0.75), Adam(same)
    assert plain.state.keys() | {"average"} == averaged.state.keys()
    expected = same.clone()
    for i, rate in enumerate((0.1, 0.3, 0.2)):
        for optimizer in (averaged, plain):
            optimizer.rate.fill_(rate)
            optimizer.step(torch.tensor([1.0, -2.0, 0.5, i]))
        expected = 0.75 * expected + 0.25 * same
    assert torch.equal(params, same)
    torch.testing.assert_close(averaged.state["average"], expected)


def test_a_decay_that_cannot_be_is_named():
    with pytest.raises(ValueError, match=r"decay=1.5 must be a finite number, at least 0 and at most 1"):
        Averaged(torch.ones(2), decay=1.5)
