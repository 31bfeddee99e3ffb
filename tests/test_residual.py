"""The residual network against modules of torch.nn."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metalab.nets import for_tasks
from metalab.residual import Residual

PICTURES = torch.rand(5, 1, 28, 28, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def made(net, seed=0):
    """Parameters in float64, none of them 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: p.double() + 0.1 * torch.randn(p.shape, generator=generator, dtype=torch.float64)
        for name, p in net.init(generator).items()
    }


def as_modules(net, params):
    found = {}
    for name, side, n_in, n_out in net.convolutions():
        conv = nn.Conv2d(n_in, n_out, side, padding=side // 2, bias=False).double()
        norm = nn.BatchNorm2d(n_out, eps=1e-3, momentum=None).double()
        conv.weight.data = params[f"conv{name}"].view(side, side, n_in, n_out).permute(3, 2, 0, 1)
        norm.weight.data, norm.bias.data = params[f"scale{name}"], params[f"shift{name}"]
        found[name] = nn.Sequential(conv, norm)
    return found


def witness(modules, x, *, stages, halve_first):
    h = modules["0"](x).relu()
    for i in range(1, stages + 1):
        if i > 1 or halve_first:
            h = F.max_pool2d(F.pad(h, (0, h.shape[3] % 2, 0, h.shape[2] % 2)), 2)  # after a ReLU, 0 is no maximum
        inner = modules[f"{i}b"](modules[f"{i}a"](h).relu())
        h = (inner + (modules[f"{i}short"](h) if f"{i}short" in modules else h)).relu()
    return h.mean((2, 3))


@pytest.mark.parametrize("halve_first", [False, True])
@pytest.mark.parametrize("widths", [(4, 6, 6), (3, 3, 5, 7)])
def test_it_is_what_torch_nn_computes_and_so_is_its_gradient(widths, halve_first):
    net = Residual(widths, halve_first=halve_first)
    params = made(net)
    modules = as_modules(net, params)
    expected = witness(modules, PICTURES, stages=len(widths), halve_first=halve_first)
    leaves = {name: p[None].requires_grad_() for name, p in params.items()}
    z = net(leaves, PICTURES[None])
    torch.testing.assert_close(z[0], expected)
    z.square().sum().backward()
    expected.square().sum().backward()
    for name, (conv, norm) in modules.items():
        ours = leaves[f"conv{name}"].grad[0].view(*conv.weight.shape[2:], *conv.weight.shape[1::-1]).permute(3, 2, 0, 1)
        torch.testing.assert_close(ours, conv.weight.grad)
        torch.testing.assert_close(leaves[f"scale{name}"].grad[0], norm.weight.grad)
        torch.testing.assert_close(leaves[f"shift{name}"].grad[0], norm.bias.grad)


def test_statistics_make_a_picture_independent_of_the_others():
    net = Residual((4, 6))
    params = made(net)
    one, stats = for_tasks(params, 1), net.statistics(params, PICTURES)
    together = net(one, PICTURES[None], stats=stats)
    torch.testing.assert_close(together, net(one, PICTURES[None]))  # they are the batch's own
    alone = torch.cat([net(one, picture[None, None], stats=stats) for picture in PICTURES], 1)
    torch.testing.assert_close(alone, together)


def test_tasks_have_their_own_parameters_and_do_not_mix():
    net = Residual((4, 6, 5))
    two = [made(net, seed) for seed in (0, 1)]
    both = {name: torch.stack([params[name] for params in two]) for name in two[0]}
    z = net(both, torch.stack([PICTURES, PICTURES.flip(3)]))
    for i, x in enumerate((PICTURES, PICTURES.flip(3))):
        torch.testing.assert_close(z[i], net(for_tasks(two[i], 1), x[None])[0])


def test_bfloat16_is_near_and_gives_back_the_parameters_precision():
    params = {name: p.float() for name, p in made(Residual((8, 16))).items()}
    z, rough = (
        Residual((8, 16), bfloat16=half)(for_tasks(params, 1), PICTURES.float()[None]) for half in (False, True)
    )
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, z)
    torch.testing.assert_close(rough, z, rtol=0, atol=0.05)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"widths": 64}, TypeError, "widths=64 must be a tuple of at least one width"),
        ({"widths": ()}, TypeError, r"widths=\(\) must be a tuple"),
        ({"widths": (4, 0)}, ValueError, r"widths\[1\]=0 must be a whole number of at least 1"),
        ({"halve_first": 1}, TypeError, "halve_first=1 must be True or False"),
    ],
)
def test_what_cannot_be_is_named(wrong, error, message):
    with pytest.raises(error, match=message):
        Residual(**wrong)


def test_parameters_that_do_not_fit_are_named():
    net = Residual((4, 6))
    params = made(net)
    with pytest.raises(ValueError, match="params has no conv2short"):
        net.statistics({name: p for name, p in params.items() if name != "conv2short"}, PICTURES)
    with pytest.raises(ValueError, match=r"x has the shape .*; it must be \[T, B, 1, H, W\]"):
        net(for_tasks(params, 1), PICTURES)
