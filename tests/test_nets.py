"""The networks against the same ones built of torch.nn, task by task."""

import pytest
import torch
from torch import nn

from metalab.engine.derivatives import differentiate
from metalab.engine.layers import Tape
from metalab.losses import cross_entropy
from metalab.nets import MLP, Conv4, for_tasks

POOLS = ["stride", "max"]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def double(params):
    return {name: p.double() for name, p in params.items()}


def uneven(params, tasks, seed=1):
    """Parameters [T, ...] that differ from task to task, zeros included."""
    generator = seeded(seed)
    many = for_tasks(double(params), tasks)
    return {n: p + 0.3 * torch.randn(p.shape, generator=generator, dtype=p.dtype) for n, p in many.items()}


def pictures(tasks, count, seed=2):
    return torch.rand(tasks, count, 1, 28, 28, generator=seeded(seed), dtype=torch.float64)


def conv4_of_torch(net, params, t):
    """Conv4 with the weights of task t, as the papers' code builds it."""
    layers = []
    for i in range(1, 5):
        weight = (
            params[f"conv{i}"][t].unflatten(0, (3, 3, -1)).permute(3, 2, 0, 1)
        )  # rows of a patch, columns, channels
        conv = nn.Conv2d(*weight.shape[1::-1], 3, stride=2 if net.pool == "stride" else 1, padding=1, bias=False)
        norm = nn.BatchNorm2d(weight.shape[0], eps=1e-3)
        conv.weight.data, norm.bias.data = weight, params[f"shift{i}"][t]
        layers += [conv, norm, nn.ReLU()] + [nn.MaxPool2d(2)] * (net.pool == "max")
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    if net.outputs:
        linear = nn.Linear(*params["head"][t].shape)
        linear.weight.data, linear.bias.data = params["head"][t].T, params["bias"][t]
        layers.append(linear)
    return nn.Sequential(*layers).double()


def norms(stack):
    return [layer for layer in stack if isinstance(layer, nn.BatchNorm2d)]


def fixed_statistics(stack, x):
    """Let x through in training mode and keep its mean and biased variance, layer by layer; then switch to eval."""
    hooks = [
        norm.register_forward_pre_hook(
            lambda norm, inputs: norm.register_buffer("biased", inputs[0].detach().var((0, 2, 3), correction=0))
        )
        for norm in norms(stack)
    ]
    for norm in norms(stack):
        norm.momentum = 1.0
    stack.train()(x)
    for norm, hook in zip(norms(stack), hooks, strict=True):
        norm.running_var = norm.biased
        hook.remove()
    return stack.eval()


def test_mlp_is_a_stack_of_linear_layers():
    net = MLP((2, 8, 6, 3))
    params = uneven(net.init(seeded()), 3)
    x = torch.randn(3, 5, 2, generator=seeded(3), dtype=torch.float64)
    ours = net(params, x)
    for t in range(3):
        layers = []
        for i in (1, 2, 3):
            weight = params[f"w{i}"][t]
            linear = nn.Linear(*weight.shape)
            linear.weight.data, linear.bias.data = weight.T, params[f"b{i}"][t]
            layers += [linear, nn.ReLU()]
        torch.testing.assert_close(ours[t], nn.Sequential(*layers[:-1])(x[t]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("outputs", [5, None])
@pytest.mark.parametrize("channels", [6, (2, 3, 4, 6)])
def test_conv4_is_the_papers_stack(pool, outputs, channels):
    net = Conv4(outputs, channels=channels, pool=pool)
    params, x = uneven(net.init(seeded()), 3), pictures(3, 4)
    ours = net(params, x)
    assert ours.shape == (3, 4, outputs or 6)
    for t in range(3):
        torch.testing.assert_close(ours[t], conv4_of_torch(net, params, t)(x[t]), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("pool", POOLS)
def test_context_alone_gives_the_statistics(pool):
    net = Conv4(5, channels=6, pool=pool)
    params, x, context = uneven(net.init(seeded()), 2), pictures(2, 4), pictures(2, 3, seed=4)
    ours = net(params, x, context=context)
    assert ours.shape == (2, 4, 5)
    for t in range(2):
        stack = fixed_statistics(conv4_of_torch(net, params, t), context[t])
        torch.testing.assert_close(ours[t], stack(x[t]), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(net(params, x[:, :1], context=context), ours[:, :1], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("pool", POOLS)
def test_measured_statistics_are_batch_norm_in_eval_mode(pool):
    net = Conv4(5, channels=6, pool=pool)
    params, images, x = uneven(net.init(seeded()), 3), pictures(1, 8, seed=4), pictures(3, 4)
    stats = net.statistics({name: p[0] for name, p in params.items()}, images[0])
    stack = fixed_statistics(conv4_of_torch(net, params, 0), images[0])
    assert list(stats) == [f"{name}{i}" for i in range(1, 5) for name in ("mean", "variance")]
    for i, norm in enumerate(norms(stack), start=1):
        torch.testing.assert_close(stats[f"mean{i}"], norm.running_mean, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(stats[f"variance{i}"], norm.running_var, rtol=1e-10, atol=1e-12)
    ours = net(params, x, stats=stats)
    assert not torch.allclose(ours, net(params, x))
    for t in range(3):  # tasks differ in their weights, and share the statistics
        task = conv4_of_torch(net, params, t)
        for norm, measured in zip(norms(task), norms(stack), strict=True):
            norm.running_mean, norm.running_var = measured.running_mean, measured.running_var
        torch.testing.assert_close(ours[t], task.eval()(x[t]), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("pool", POOLS)
def test_without_context_pictures_of_a_batch_see_each_other(pool):
    net = Conv4(5, channels=6, pool=pool)
    params, x = uneven(net.init(seeded()), 1), pictures(1, 4)
    assert not torch.allclose(net(params, x[:, :2]), net(params, x)[:, :2])


def test_blocks_of_several_widths_are_differentiated_as_by_autograd():
    net, y = Conv4(5, channels=(2, 3, 4, 6)), torch.tensor([[0, 1, 2], [2, 0, 4]])
    params, x = uneven(net.init(seeded()), 2), pictures(2, 3)
    tape = differentiate(net, cross_entropy, params, x, y)
    assert isinstance(tape, Tape)  # written out
    leaves = {name: p.requires_grad_() for name, p in params.items()}
    grads = torch.autograd.grad(cross_entropy(net(leaves, x), y).sum(), list(leaves.values()))
    for ours, expected in zip(tape.gradient().values(), grads, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("channels", [(4, 4, 4), (4, 4, 4, 0), (4, 4, 4, 1.5), [4, 4, 4, 4]])
def test_bad_channels_are_named(channels):
    with pytest.raises((ValueError, TypeError), match="channels="):
        Conv4(channels=channels)


def test_bad_pool_is_named():
    with pytest.raises(ValueError, match="pool='mean' must be 'stride' or 'max'"):
        Conv4(pool="mean")


@pytest.mark.parametrize("net", [MLP(), Conv4(5, channels=8), Conv4(channels=8, pool="max")])
def test_the_generator_alone_decides_the_start(net):
    before = torch.random.get_rng_state()
    first, again, other = (net.init(seeded(s)) for s in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    for name, p in first.items():
        assert torch.equal(p, again[name])
        assert p.dtype == torch.float32
        zero = name.startswith(("b", "shift"))
        assert (p == 0).all() if zero else not torch.equal(p, other[name])


def test_weights_start_as_documented():
    mlp, conv = MLP((50, 200, 200)).init(seeded()), Conv4(300, channels=64).init(seeded())
    assert {name: tuple(p.shape) for name, p in MLP().init(seeded()).items()} == {
        "w1": (1, 40), "b1": (40,), "w2": (40, 40), "b2": (40,), "w3": (40, 1), "b3": (1,),
    }  # fmt: skip
    # Thousands of weights each: the deviation is known to a few per cent.
    for weight, variance in [
        (conv["conv2"], 2 / (9 * 64)),
        (conv["conv4"], 2 / (9 * 64)),
        (conv["head"], 1 / 64),
    ]:
        assert weight.std().item() == pytest.approx(variance**0.5, rel=0.05)
        assert abs(weight.mean().item()) < 0.05 * variance**0.5
    # Cut off at two deviations, a normal distribution keeps 0.8796 of its deviation.
    assert mlp["w2"].std().item() == pytest.approx(0.01 * 0.8796, rel=0.02)
    assert mlp["w2"].abs().max() <= 0.02
    assert conv["conv1"].std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.15)  # 576 weights


def test_every_task_sees_the_same_parameters_without_a_copy():
    params = {"w": torch.tensor([1.0, 2.0], requires_grad=True)}
    many = for_tasks(params, 3)
    assert many["w"].tolist() == [[1.0, 2.0]] * 3
    assert not many["w"].requires_grad
    assert many["w"].data_ptr() == params["w"].data_ptr()
