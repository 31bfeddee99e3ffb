"""Implementations as people write them: right ones however they are spelt, and each wrong one by its own mistake."""

import copy
from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, grad, vjp, vmap

from metalab.analysis.diagnosis import Problem, diagnose, mlp
from metalab.learners.maml import MAML
from metalab.lessons.sine_regression import solutions
from metalab.losses import mse
from metalab.nets import MLP
from metalab.tasks import Episode


def loss_of(params, x, y):
    return ((mlp(params, x) - y) ** 2).mean()


def right(steps):
    """One list of right implementations, for so many inner steps."""

    def returns_the_loss(params, tasks, inner_lr):
        total = 0
        for sx, sy, qx, qy in tasks:
            fast = params
            for _ in range(steps):
                grads = torch.autograd.grad(loss_of(fast, sx, sy), fast, create_graph=True)
                fast = [p - inner_lr * g for p, g in zip(fast, grads, strict=True)]
            total = total + loss_of(fast, qx, qy)
        return total / len(tasks)

    def returns_gradients(params, tasks, inner_lr):
        return torch.autograd.grad(returns_the_loss(params, tasks, inner_lr), params)

    def returns_a_dict(params, tasks, inner_lr):
        return OrderedDict(enumerate(returns_gradients(params, tasks, inner_lr)))

    def calls_backward_for_each_task(params, tasks, inner_lr):
        shown = 0.0
        for task in tasks:
            loss = returns_the_loss(params, [task], inner_lr) / len(tasks)
            loss.backward()
            shown += loss.item()
        return shown

    def calls_backward_and_returns_the_loss(params, tasks, inner_lr):
        loss = returns_the_loss(params, tasks, inner_lr)
        loss.backward()
        return loss

    def in_single_precision(params, tasks, inner_lr):
        single = [[t.float() for t in task] for task in tasks]
        grads = returns_gradients([p.detach().float().requires_grad_() for p in params], single, inner_lr)
        return [g.double() for g in grads]

    def by_torch_func(params, tasks, inner_lr):
        def query_loss(params, sx, sy, qx, qy):
            for _ in range(steps):
                params = [p - inner_lr * g for p, g in zip(params, grad(loss_of)(params, sx, sy), strict=True)]
            return loss_of(params, qx, qy)

        def mean_loss(params):
            stacked = [torch.stack(part) for part in zip(*tasks, strict=True)]
            return vmap(query_loss, in_dims=(None, 0, 0, 0, 0))(params, *stacked).mean()

        return grad(mean_loss)([p.detach() for p in params])

    def by_hand(params, tasks, inner_lr):
        """The reverse recursion. A Hessian is symmetric: its product is that of its transpose, which vjp gives."""
        total = [torch.zeros_like(p) for p in params]
        for sx, sy, qx, qy in tasks:
            path = [tuple(p.detach() for p in params)]
            for _ in range(steps):
                grads = grad(loss_of)(path[-1], sx, sy)
                path.append(tuple(p - inner_lr * g for p, g in zip(path[-1], grads, strict=True)))
            v = grad(loss_of)(path.pop(), qx, qy)
            for theta in reversed(path):
                (product,) = vjp(lambda p, x=sx, y=sy: grad(loss_of)(p, x, y), theta)[1](v)
                v = tuple(a - inner_lr * b for a, b in zip(v, product, strict=True))
            total = [a + b / len(tasks) for a, b in zip(total, v, strict=True)]
        return total

    def by_our_engine(params, tasks, inner_lr):
        learner = MAML(MLP((1, 8, 8, 1)), mse, inner_lr=inner_lr, inner_steps=steps)
        named = dict(zip(("w1", "b1", "w2", "b2", "w3", "b3"), params, strict=True))
        episode = Episode(*[torch.stack(part) for part in zip(*tasks, strict=True)])
        return learner.meta_gradient(named, episode)[0]

    return [function for function in locals().values() if callable(function)]


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("name", [function.__name__ for function in right(1)])
def test_second_order_is_recognised(name, steps):
    [function] = [function for function in right(steps) if function.__name__ == name]
    found = diagnose(function, Problem.sine(inner_steps=steps))
    assert found.order == 2, found
    assert found.error < (1e-5 if name == "in_single_precision" else 1e-12)
    assert found.cosine == pytest.approx(1)
    assert "exactly second-order" in found.says


def test_the_first_lessons_solution_is_second_order():
    assert diagnose(solutions.meta_loss).order == 2


def test_a_sum_over_tasks_is_second_order_and_said_to_be_a_sum():
    found = diagnose(lambda params, tasks, lr: len(tasks) * solutions.meta_loss(params, tasks, lr))
    assert found.order == 2
    assert "added up over the tasks" in found.says


# Modules, and the library `higher`


def module_problem(steps):
    model = nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 1)).double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
    return model, Problem.of_module(model, Problem.sine().tasks, inner_lr=0.05, inner_steps=steps)


def by_higher(model, steps, **options):
    import higher

    def meta_gradient(params, tasks, inner_lr):
        optimizer = torch.optim.SGD(model.parameters(), lr=inner_lr)
        for sx, sy, qx, qy in tasks:
            with higher.innerloop_ctx(model, optimizer, **{"copy_initial_weights": False} | options) as (fast, inner):
                for _ in range(steps):
                    inner.step(F.mse_loss(fast(sx), sy))
                (F.mse_loss(fast(qx), qy) / len(tasks)).backward()

    return meta_gradient


@pytest.mark.parametrize("steps", [1, 2])
def test_higher_is_second_order(steps):
    model, problem = module_problem(steps)
    before = copy.deepcopy(model.state_dict())
    assert diagnose(by_higher(model, steps), problem).order == 2
    assert all(torch.equal(p, before[name]) for name, p in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("steps", [1, 2])
def test_higher_that_tracks_no_gradients_is_first_order(steps):
    model, problem = module_problem(steps)

    def meta_gradient(params, tasks, inner_lr):
        """As `higher` is used for evaluation: the gradient is then with respect to the adapted parameters."""
        import higher

        optimizer = torch.optim.SGD(model.parameters(), lr=inner_lr)
        total = [0] * len(params)
        for sx, sy, qx, qy in tasks:
            with higher.innerloop_ctx(model, optimizer, track_higher_grads=False) as (fast, inner):
                for _ in range(steps):
                    inner.step(F.mse_loss(fast(sx), sy))
                grads = torch.autograd.grad(F.mse_loss(fast(qx), qy), list(fast.parameters()))
                total = [a + b / len(tasks) for a, b in zip(total, grads, strict=True)]
        return total

    assert diagnose(meta_gradient, problem).order == 1


def test_highers_copy_of_the_weights_is_a_graph_that_is_cut():
    model, problem = module_problem(1)
    found = diagnose(by_higher(model, 1, copy_initial_weights=True), problem)
    assert found.order is None
    assert "leaves no .grad" in found.says


def test_functional_call_on_a_module_is_second_order():
    model, problem = module_problem(2)

    def meta_loss(params, tasks, inner_lr):
        losses = []
        for sx, sy, qx, qy in tasks:
            fast = OrderedDict(model.named_parameters())
            for _ in range(2):
                loss = F.mse_loss(functional_call(model, fast, (sx,)), sy)
                grads = torch.autograd.grad(loss, fast.values(), create_graph=True)
                fast = OrderedDict((n, p - inner_lr * g) for (n, p), g in zip(fast.items(), grads, strict=True))
            losses.append(F.mse_loss(functional_call(model, fast, (qx,)), qy))
        return torch.stack(losses).mean()

    assert diagnose(meta_loss, problem).order == 2


# First order


def no_create_graph(params, tasks, inner_lr, steps=1):
    total = 0
    for sx, sy, qx, qy in tasks:
        fast = params
        for _ in range(steps):
            grads = torch.autograd.grad(loss_of(fast, sx, sy), fast)
            fast = [p - inner_lr * g for p, g in zip(fast, grads, strict=True)]
        total = total + loss_of(fast, qx, qy) / len(tasks)
    return total


def detached_gradients(params, tasks, inner_lr, steps=1):
    total = 0
    for sx, sy, qx, qy in tasks:
        fast = params
        for _ in range(steps):
            grads = torch.autograd.grad(loss_of(fast, sx, sy), fast, create_graph=True)
            fast = [p - inner_lr * g.detach() for p, g in zip(fast, grads, strict=True)]
        total = total + loss_of(fast, qx, qy) / len(tasks)
    return total


def gradient_of_the_adapted_parameters(params, tasks, inner_lr, steps=1):
    total = [torch.zeros_like(p) for p in params]
    for sx, sy, qx, qy in tasks:
        fast = params
        for _ in range(steps):
            grads = torch.autograd.grad(loss_of(fast, sx, sy), fast, create_graph=True)
            fast = [p - inner_lr * g for p, g in zip(fast, grads, strict=True)]
        grads = torch.autograd.grad(loss_of(fast, qx, qy), fast)
        total = [a + b / len(tasks) for a, b in zip(total, grads, strict=True)]
    return total


def a_deep_copy_trained_by_an_optimizer(params, tasks, inner_lr, steps=1):
    for sx, sy, qx, qy in tasks:
        fast = [p.detach().clone().requires_grad_() for p in params]
        optimizer = torch.optim.SGD(fast, lr=inner_lr)
        for _ in range(steps):
            optimizer.zero_grad()
            loss_of(fast, sx, sy).backward()
            optimizer.step()
        optimizer.zero_grad()
        loss_of(fast, qx, qy).backward()
        for p, q in zip(params, fast, strict=True):
            p.grad = q.grad / len(tasks) if p.grad is None else p.grad + q.grad / len(tasks)


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize(
    "function",
    [
        no_create_graph,
        detached_gradients,
        gradient_of_the_adapted_parameters,
        a_deep_copy_trained_by_an_optimizer,
    ],
)
def test_first_order_is_recognised(function, steps):
    found = diagnose(lambda *arguments: function(*arguments, steps=steps), Problem.sine(inner_steps=steps))
    assert found.order == 1, found
    assert "exactly first-order" in found.says
    assert "create_graph=True" in found.says
    assert found.error > 0.01


def test_first_order_of_our_engine_and_its_sum():
    def function(params, tasks, inner_lr):
        learner = MAML(MLP((1, 8, 8, 1)), mse, inner_lr=inner_lr, order=1)
        named = dict(zip(("w1", "b1", "w2", "b2", "w3", "b3"), params, strict=True))
        return learner.meta_gradient(named, Episode(*[torch.stack(part) for part in zip(*tasks, strict=True)]))[0]

    assert diagnose(function).order == 1
    summed = diagnose(lambda *arguments: [3 * g for g in function(*arguments).values()])
    assert summed.order == 1
    assert "added up over the tasks" in summed.says


# Wrong ones

WRONG = []


def wrong(says, steps=1):
    def register(function):
        WRONG.append(pytest.param(function, says, steps, id=function.__name__))
        return function

    return register


def inner(params, x, y, inner_lr):
    grads = torch.autograd.grad(loss_of(params, x, y), params, create_graph=True)
    return [p - inner_lr * g for p, g in zip(params, grads, strict=True)]


@wrong("the graph is cut")
def adapted_without_a_graph(params, tasks, inner_lr):
    losses = []
    for sx, sy, qx, qy in tasks:
        fast = [p.detach() for p in inner(params, sx, sy, inner_lr)]
        losses.append(loss_of(fast, qx, qy))
    return torch.stack(losses).mean()


@wrong("the graph is cut")
def adapted_leaves(params, tasks, inner_lr):
    losses = []
    for sx, sy, qx, qy in tasks:
        fast = [p.detach().requires_grad_() for p in inner(params, sx, sy, inner_lr)]
        losses.append(loss_of(fast, qx, qy))
    return torch.stack(losses).mean()


@wrong("changes the shared parameters in place")
def an_optimizer_on_the_shared_parameters(params, tasks, inner_lr):
    optimizer = torch.optim.SGD(params, lr=inner_lr)
    total = [torch.zeros_like(p) for p in params]
    for sx, sy, qx, qy in tasks:
        optimizer.zero_grad()
        loss_of(params, sx, sy).backward()
        optimizer.step()
        total = [a + g / 3 for a, g in zip(total, torch.autograd.grad(loss_of(params, qx, qy), params), strict=True)]
    return total


def stepped_in_place(params, tasks, inner_lr):
    optimizer = torch.optim.SGD(params, lr=inner_lr)
    losses = []
    for sx, sy, qx, qy in tasks:
        grads = torch.autograd.grad(loss_of(params, sx, sy), params)
        for p, g in zip(params, grads, strict=True):
            p.grad = g
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss_of(params, qx, qy))
    return torch.stack(losses).mean()


@wrong("changes the shared parameters in place")
def an_optimizer_and_a_loss_that_autograd_refuses(params, tasks, inner_lr):
    return stepped_in_place(params, tasks, inner_lr)


@wrong("changes the shared parameters in place")
def an_optimizer_and_a_loss_that_is_a_number(params, tasks, inner_lr):
    return stepped_in_place(params, tasks, inner_lr).detach()


@wrong("changes the shared parameters in place")
def put_back_before_autograd_is_asked(params, tasks, inner_lr):
    start = [p.detach().clone() for p in params]
    loss = stepped_in_place(params, tasks, inner_lr)
    with torch.no_grad():
        for p, q in zip(params, start, strict=True):
            p.copy_(q)
    return loss


@wrong("Each task starts where the one before it ended")
def put_back_only_at_the_end(params, tasks, inner_lr):
    start = [p.detach().clone() for p in params]
    total = [torch.zeros_like(p) for p in params]
    for sx, sy, qx, qy in tasks:
        grads = torch.autograd.grad(loss_of(params, sx, sy), params)
        with torch.no_grad():
            for p, g in zip(params, grads, strict=True):
                p -= inner_lr * g
        total = [a + g / 3 for a, g in zip(total, torch.autograd.grad(loss_of(params, qx, qy), params), strict=True)]
    with torch.no_grad():
        for p, q in zip(params, start, strict=True):
            p.copy_(q)
    return total


@wrong("Each task starts where the one before it ended", steps=2)
def the_name_of_the_start_reused(params, tasks, inner_lr):
    losses = []
    for sx, sy, qx, qy in tasks:
        for _ in range(2):
            params = inner(params, sx, sy, inner_lr)
        losses.append(loss_of(params, qx, qy))
    return torch.stack(losses).mean()


@wrong("The outer loss is taken on the support set")
def judged_on_the_support_set(params, tasks, inner_lr):
    return torch.stack([loss_of(inner(params, sx, sy, inner_lr), sx, sy) for sx, sy, _, _ in tasks]).mean()


@wrong("The outer loss is that of the unadapted weights")
def judged_unadapted(params, tasks, inner_lr):
    losses = []
    for sx, sy, qx, qy in tasks:
        inner(params, sx, sy, inner_lr)
        losses.append(loss_of(params, qx, qy))
    return torch.stack(losses).mean()


@wrong("It adapts on the query set, then judges on the same")
def adapted_on_the_query_set(params, tasks, inner_lr):
    return torch.stack([loss_of(inner(params, qx, qy, inner_lr), qx, qy) for _, _, qx, qy in tasks]).mean()


@wrong("Support and query are swapped")
def swapped(params, tasks, inner_lr):
    return torch.stack([loss_of(inner(params, qx, qy, inner_lr), sx, sy) for sx, sy, qx, qy in tasks]).mean()


@wrong("The inner step climbs")
def minus_missing(params, tasks, inner_lr):
    return torch.stack([loss_of(inner(params, sx, sy, -inner_lr), qx, qy) for sx, sy, qx, qy in tasks]).mean()


@wrong("The learning rate comes into the inner step twice")
def learning_rate_squared(params, tasks, inner_lr):
    return torch.stack([loss_of(inner(params, sx, sy, inner_lr**2), qx, qy) for sx, sy, qx, qy in tasks]).mean()


@wrong("by inner_lr squared. Besides, its inner gradients are taken for constants")
def learning_rate_squared_and_first_order(params, tasks, inner_lr):
    return no_create_graph(params, tasks, inner_lr**2)


@wrong("the learning rate is missing")
def no_learning_rate(params, tasks, inner_lr):
    return torch.stack([loss_of(inner(params, sx, sy, 1.0), qx, qy) for sx, sy, qx, qy in tasks]).mean()


@wrong("The 1 in (1 − αH) is missing", steps=2)
def the_start_of_a_step_by_data(params, tasks, inner_lr):
    losses = []
    for sx, sy, qx, qy in tasks:
        fast = params
        for _ in range(2):
            grads = torch.autograd.grad(loss_of(fast, sx, sy), fast, create_graph=True)
            fast = [p.data - inner_lr * g for p, g in zip(fast, grads, strict=True)]
        losses.append(loss_of(fast, qx, qy))
    return torch.stack(losses).mean()


@wrong("Only the last task counts")
def only_the_last_task(params, tasks, inner_lr):
    for sx, sy, qx, qy in tasks:
        loss = loss_of(inner(params, sx, sy, inner_lr), qx, qy)
    return loss / len(tasks)


@wrong("Only the first task counts")
def a_return_in_the_loop(params, tasks, inner_lr):
    for sx, sy, qx, qy in tasks:
        return loss_of(inner(params, sx, sy, inner_lr), qx, qy)


@wrong("Only the last layer adapts")
def anil(params, tasks, inner_lr):
    losses = []
    for sx, sy, qx, qy in tasks:
        losses.append(loss_of([*params[:4], *inner(params, sx, sy, inner_lr)[4:]], qx, qy))
    return torch.stack(losses).mean()


@wrong("Does every step start from params again", steps=3)
def every_step_from_the_start(params, tasks, inner_lr):
    losses = []
    for sx, sy, qx, qy in tasks:
        for _ in range(3):
            fast = inner(params, sx, sy, inner_lr)
        losses.append(loss_of(fast, qx, qy))
    return torch.stack(losses).mean()


@wrong("one inner step too few", steps=3)
def one_step_too_few(params, tasks, inner_lr):
    losses = []
    for sx, sy, qx, qy in tasks:
        fast = params
        for _ in range(1, 3):
            fast = inner(fast, sx, sy, inner_lr)
        losses.append(loss_of(fast, qx, qy))
    return torch.stack(losses).mean()


@wrong("Only the last inner step is differentiated", steps=3)
def earlier_steps_detached(params, tasks, inner_lr):
    total = [torch.zeros_like(p) for p in params]
    for sx, sy, qx, qy in tasks:
        fast = params
        for _ in range(3):
            start = [p.detach().requires_grad_() for p in fast]
            fast = inner(start, sx, sy, inner_lr)
        total = [a + g / 3 for a, g in zip(total, torch.autograd.grad(loss_of(fast, qx, qy), start), strict=True)]
    return total


def recursion(hessian_at, steps, rate):
    """v − rate · H v, back through the steps, with the Hessian where `hessian_at` says."""

    def meta_gradient(params, tasks, inner_lr):
        total = [torch.zeros_like(p) for p in params]
        for sx, sy, qx, qy in tasks:
            path = [tuple(p.detach() for p in params)]
            for _ in range(steps):
                grads = grad(loss_of)(path[-1], sx, sy)
                path.append(tuple(p - inner_lr * g for p, g in zip(path[-1], grads, strict=True)))
            v = grad(loss_of)(path[-1], qx, qy)
            for k in reversed(range(steps)):
                theta, x, y = hessian_at(path, k, (sx, sy), (qx, qy))
                (product,) = vjp(lambda p, x=x, y=y: grad(loss_of)(p, x, y), theta)[1](v)
                v = tuple(a - rate(inner_lr) * b for a, b in zip(v, product, strict=True))
            total = [a + b / len(tasks) for a, b in zip(total, v, strict=True)]
        return total

    return meta_gradient


def as_it_should(path, k, support, query):
    return path[k], *support


BY_RECURSION = {
    "The sign before the Hessian is wrong": recursion(as_it_should, 2, lambda lr: -lr),
    "The learning rate multiplies the Hessian twice": recursion(as_it_should, 2, lambda lr: lr**2),
    "The Hessian's learning rate is missing": recursion(as_it_should, 2, lambda lr: 1.0),
    "The Hessian is that of the adapted parameters": recursion(
        lambda path, k, support, query: (path[-1], *support), 2, lambda lr: lr
    ),
    "The Hessian is that of the query loss": recursion(
        lambda path, k, support, query: (path[k], *query), 2, lambda lr: lr
    ),
}
WRONG += [pytest.param(function, says, 2, id=says) for says, function in BY_RECURSION.items()]


@wrong("The support loss's gradient is added to the meta-gradient")
def backward_in_the_inner_loop(params, tasks, inner_lr):
    for sx, sy, qx, qy in tasks:
        fast = inner(params, sx, sy, inner_lr)
        loss_of(params, sx, sy).backward()
        (loss_of(fast, qx, qy) / len(tasks)).backward()


@wrong("This is the gradient of the support loss at the start")
def inner_gradient_left_in_grad(params, tasks, inner_lr):
    losses = []
    for sx, sy, qx, qy in tasks:
        loss_of(params, sx, sy).backward()
        losses.append(loss_of(params, qx, qy))
    return torch.stack(losses).mean().item()


@wrong("This is Reptile's θ − mean θ̃", steps=3)
def reptile(params, tasks, inner_lr):
    total = [torch.zeros_like(p) for p in params]
    for sx, sy, _qx, _qy in tasks:
        fast = [p.detach().requires_grad_() for p in params]
        for _ in range(3):
            fast = [p.detach().requires_grad_() for p in inner(fast, sx, sy, inner_lr)]
        total = [a + (p - q).detach() / 3 for a, p, q in zip(total, params, fast, strict=True)]
    return total


@wrong("minus the second-order gradient")
def climbing_outside(params, tasks, inner_lr):
    return -solutions.meta_loss(params, tasks, inner_lr)


@wrong("the second-order gradient times the inner learning rate")
def inner_rate_outside(params, tasks, inner_lr):
    return inner_lr * solutions.meta_loss(params, tasks, inner_lr)


@wrong("points exactly along the first-order gradient and is 0.7 times as long")
def a_scale_of_its_own(params, tasks, inner_lr):
    return 0.7 * no_create_graph(params, tasks, inner_lr)


@wrong("neither order, nor a mistake known here")
def another_loss(params, tasks, inner_lr):
    adapted = [inner(params, sx, sy, inner_lr) for sx, sy, _, _ in tasks]
    losses = [(mlp(fast, qx) - qy).abs().mean() for fast, (_, _, qx, qy) in zip(adapted, tasks, strict=True)]
    return torch.stack(losses).mean()


@wrong("returns 5 gradients for 6 parameters")
def a_gradient_too_few(params, tasks, inner_lr):
    return torch.autograd.grad(solutions.meta_loss(params, tasks, inner_lr), params)[:-1]


@wrong("The gradient of parameter 0 has the shape [8, 1], the parameter [1, 8]")
def another_shape(params, tasks, inner_lr):
    return [g.T for g in torch.autograd.grad(solutions.meta_loss(params, tasks, inner_lr), params) if g.dim() == 2] * 2


@wrong("It returns NoneType and leaves no .grad")
def nothing(params, tasks, inner_lr):
    pass


@wrong("not finite numbers")
def divided_by_zero(params, tasks, inner_lr):
    return [g / 0 for g in torch.autograd.grad(solutions.meta_loss(params, tasks, inner_lr), params)]


@pytest.mark.parametrize(("function", "says", "steps"), WRONG)
def test_a_mistake_is_named(function, says, steps):
    problem = Problem.sine(inner_steps=steps)
    values = [p.detach().clone() for p in problem.params]
    found = diagnose(function, problem)
    assert found.order is None, found
    assert says in found.says, found
    assert all(torch.equal(p, value) for p, value in zip(problem.params, values, strict=True))
    assert all(p.grad is None for p in problem.params)


# What else it does


def test_parameters_get_their_own_grad_back_even_after_an_error():
    problem = Problem.sine()
    kept = torch.ones_like(problem.params[0])
    problem.params[0].grad = kept

    def stops(params, tasks, inner_lr):
        with torch.no_grad():
            params[0].add_(1)
        raise RuntimeError("stopped")

    value = problem.params[0].detach().clone()
    with pytest.raises(RuntimeError, match="stopped"):
        diagnose(stops, problem)
    assert problem.params[0].grad is kept
    assert torch.equal(problem.params[0], value)


def test_a_diagnosis_prints_what_it_is():
    lines = str(diagnose(no_create_graph)).splitlines()
    assert lines[0].startswith("first order: The gradient is exactly first-order")
    assert lines[1].startswith("(relative error to second order ")
    assert str(diagnose(solutions.meta_loss)).startswith("second order: ")
    assert str(diagnose(nothing)).startswith("wrong: ")


def test_a_problem_whose_orders_hardly_differ_is_refused():
    with pytest.raises(ValueError, match="hardly differ on this problem: give it a larger inner_lr"):
        diagnose(solutions.meta_loss, Problem.sine(inner_lr=1e-8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": []}, "tasks has 0: at least 2 are needed"),
        ({"inner_steps": 0}, "inner_steps=0 must be a whole number of at least 1"),
        ({"params": [torch.ones(1)]}, "params must be leaf tensors that require gradients"),
    ],
)
def test_a_problem_that_tells_nothing_is_refused(options, message):
    sine = Problem.sine()
    usual = {"params": sine.params, "tasks": sine.tasks, "forward": mlp, "inner_lr": 0.1}
    with pytest.raises(ValueError, match=message):
        Problem(**usual | options)
