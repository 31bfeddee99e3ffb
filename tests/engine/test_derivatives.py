"""The derivatives written out in metalab.engine.layers against autograd's of the same networks."""

import pytest
import torch

from metalab.engine.derivatives import _Autograd, differentiate, gradient, hessian_vector
from metalab.engine.layers import Tape, patches
from metalab.losses import cross_entropy, mse
from metalab.nets import MLP, Conv4


def normal(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pictures(tasks, count, side):
    """Blots, with blank pictures among them."""
    return (normal(tasks, count, 1, side, side, seed=1) > 0.8).double() * (torch.arange(count) > 0).view(-1, 1, 1, 1)


def labels(tasks, count, ways):
    return torch.randint(ways, (tasks, count), generator=torch.Generator().manual_seed(2))


PROBLEMS = {
    "sine": (MLP((1, 9, 8, 1)), mse, normal(3, 5, 1, seed=1), normal(3, 5, 1, seed=2)),
    "several inputs and outputs": (MLP((3, 7, 2)), mse, normal(2, 5, 3, seed=1), normal(2, 5, 2, seed=2)),
    "a classifier": (MLP((3, 6, 6, 6, 4)), cross_entropy, normal(2, 5, 3, seed=1), labels(2, 5, 4)),
    "no hidden layer": (MLP((2, 3)), cross_entropy, normal(2, 5, 2, seed=1), labels(2, 5, 3)),
    "28 x 28": (Conv4(4, channels=5), cross_entropy, pictures(3, 6, 28), labels(3, 6, 4)),
    "an odd side": (Conv4(4, channels=5), cross_entropy, pictures(2, 6, 21), labels(2, 6, 4)),
    "one task, two ways": (Conv4(2, channels=3), cross_entropy, pictures(1, 4, 28), labels(1, 4, 2)),
    "regression from pictures": (Conv4(1, channels=3), mse, pictures(2, 4, 28), normal(2, 4, 1, seed=3)),
}


def params_of(net, tasks, seed=4):
    """Different for each task, and no zeros."""
    shapes = net.init(torch.Generator().manual_seed(0))
    return {name: 0.4 * normal(tasks, *p.shape, seed=seed + i) for i, (name, p) in enumerate(shapes.items())}


def close(ours, theirs):
    assert list(ours) == list(theirs)
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-10, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("shared", [False, True], ids=["each its own", "shared"])
def test_equals_autograd(problem, shared):
    net, loss, x, y = PROBLEMS[problem]
    tasks = x.shape[0]
    params = {n: p[:1].expand_as(p) for n, p in params_of(net, tasks).items()} if shared else params_of(net, tasks)
    before = x.clone()
    ours = differentiate(net, loss, params, x, y)
    theirs = _Autograd(net, loss, params, x, y, None)
    assert isinstance(ours, Tape)
    torch.testing.assert_close(ours.outputs, theirs.outputs, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(ours.losses(), theirs.losses(), rtol=1e-10, atol=1e-12)
    close(ours.gradient(), theirs.gradient())
    for seed in (20, 40):  # a second product from the same tape
        v = params_of(net, tasks, seed=seed)
        close(ours.hessian_vector(v), theirs.hessian_vector(v))
    close(ours.gradient(), theirs.gradient())
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("net", "side"),
    [(Conv4(3, channels=3, pool="max"), (28, 28)), (Conv4(3, channels=3), (28, 20))],
    ids=["max pooling", "not square"],
)
def test_other_networks_are_differentiated_by_autograd(net, side):
    x = normal(2, 4, 1, *side, seed=1)
    params, y = params_of(net, 2), labels(2, 4, 3)
    ours = differentiate(net, cross_entropy, params, x, y)
    assert isinstance(ours, _Autograd)
    leaves = {name: p.clone().requires_grad_() for name, p in params.items()}
    total = cross_entropy(net(leaves, x), y).sum()
    grads = torch.autograd.grad(total, list(leaves.values()))
    close(ours.gradient(), dict(zip(leaves, grads, strict=True)))


def test_other_losses_are_differentiated_by_autograd():
    net, _loss, x, y = PROBLEMS["sine"]
    v = params_of(net, 3, seed=20)

    def at(step):
        moved = {name: p + step * v[name] for name, p in params_of(net, 3).items()}
        return differentiate(net, lambda z, y: (z - y).pow(4).mean((1, 2)), moved, x, y)

    assert isinstance(at(0), _Autograd)
    ahead, behind = at(1e-6).gradient(), at(-1e-6).gradient()
    for name, product in at(0).hessian_vector(v).items():
        torch.testing.assert_close(product, (ahead[name] - behind[name]) / 2e-6, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("side", [(4, 4), (5, 5), (6, 3)])
def test_patches_are_unfolds(side):
    x = normal(2, 3, *side, 4, seed=1)
    expected = torch.nn.functional.unfold(x.flatten(0, 1).permute(0, 3, 1, 2), 3, padding=1, stride=2)  # [6, 4*9, L]
    expected = expected.unflatten(1, (4, 9)).permute(0, 3, 2, 1).reshape(2, -1, 36)
    torch.testing.assert_close(patches(x), expected, rtol=0, atol=0)


def test_gradient_is_per_task():
    theta = {"w": torch.tensor([[1.0], [2.0]])}
    grads, losses = gradient(lambda p: p["w"].square().sum(1), theta)
    assert grads["w"].tolist() == [[2.0], [4.0]]
    assert losses.tolist() == [1.0, 4.0]


def test_what_else_a_loss_returns_is_handed_on():
    """Metrics are handed on like this: they need the outputs, and no second pass."""
    net, loss, x, y = PROBLEMS["a classifier"]
    params, calls = params_of(net, 2), []

    def losses(theta):
        calls.append(theta)
        outputs = net(theta, x)
        return loss(outputs, y), {"outputs": outputs.detach(), "told": "as it is"}

    with torch.no_grad():
        grads, values, aux = gradient(losses, params, has_aux=True)
    assert len(calls) == 1
    plain_grads, plain_values = gradient(lambda theta: loss(net(theta, x), y), params)
    close(grads, plain_grads)
    assert torch.equal(values, plain_values)
    assert not values.requires_grad
    assert torch.equal(aux["outputs"], net(params, x))
    assert aux["told"] == "as it is"
    assert not any(p.requires_grad for p in params.values())


def test_hessian_vector_equals_the_hessian_times_the_vector():
    net, loss, x, y = PROBLEMS["sine"]
    params = {name: p[:1] for name, p in params_of(net, 3).items()}
    sizes = [p.numel() for p in params.values()]

    def unflatten(vector):
        parts = vector.split(sizes)
        return {name: part.view_as(p) for (name, p), part in zip(params.items(), parts, strict=True)}

    def losses(theta):
        return loss(net(theta, x[:1]), y[:1])

    flat = torch.cat([p.flatten() for p in params.values()])
    hessian = torch.autograd.functional.hessian(lambda w: losses(unflatten(w)).sum(), flat)
    v = normal(len(flat), seed=5)
    product = hessian_vector(losses, params, unflatten(v))
    torch.testing.assert_close(torch.cat([p.flatten() for p in product.values()]), hessian @ v, rtol=1e-10, atol=1e-12)
