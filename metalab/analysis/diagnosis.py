r"""Is it really second-order? Ask an implementation for a meta-gradient, and say in words what it computed.

This module computes the right answers and the usual wrong ones for the same small problem, by autograd on plain
tensors. The answer that agrees with the implementation's says what the implementation does. Gradients are compared
instead of losses, because a first-order implementation also learns, only less well, so that its losses look right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..arguments import function as check_function
from ..arguments import real, shapes, shown, whole

Task = tuple[Tensor, Tensor, Tensor, Tensor]  # support x, support y, query x, query y
TOLERANCE = 1e-4  # relative; single precision is exact enough, and a problem's orders must differ by ten times as much


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The question that an implementation is asked.

    It is asked for the gradient, with respect to `params`, of the mean query loss over the tasks. Each task's query
    loss is taken after `inner_steps` steps of gradient descent on its support set, which start at `params`.

    Args:
        params: leaf tensors that require gradients.
        tasks: the tasks; at least two, because mistakes between tasks would not show with one.
        forward: maps a list like `params`, and inputs, to predictions.
        loss: maps predictions and targets to one number.
        inner_lr: α, the inner learning rate.
        inner_steps: K, the number of inner steps.

    Raises:
        TypeError, ValueError: an argument is of another type, there are fewer than two tasks or no inner step, the
            inner learning rate is not above 0, or a parameter is not a leaf that requires gradients.
    """

    params: list[Tensor]
    tasks: list[Task]
    forward: Callable[[list[Tensor], Tensor], Tensor]
    loss: Callable[[Tensor, Tensor], Tensor] = nn.functional.mse_loss
    inner_lr: float
    inner_steps: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.tasks, list | tuple) or not all(is_task(task) for task in self.tasks):
            raise TypeError(f"tasks={shown(self.tasks)} must be a list of (support x, support y, query x, query y)")
        if len(self.tasks) < 2:
            raise ValueError(
                f"tasks has {len(self.tasks)}: at least 2 are needed, or mistakes between them do not show"
            )
        check_function(forward=self.forward, loss=self.loss)
        real(above=0, inner_lr=self.inner_lr)
        whole(inner_steps=self.inner_steps)  # without a step, there are no orders
        if not isinstance(self.params, list | tuple) or not all(isinstance(p, Tensor) for p in self.params):
            raise TypeError(f"params={shown(self.params)} must be a list of tensors")
        if not self.params:
            raise ValueError("params is empty: at least one parameter is needed")
        if not all(p.is_leaf and p.requires_grad for p in self.params):
            raise ValueError("params must be leaf tensors that require gradients: p.detach().requires_grad_()")

    @classmethod
    def sine(cls, *, inner_steps: int = 1, inner_lr: float = 0.02) -> Problem:
        """Return a problem of three sines with five points each, and a network 1-8-8-1 with ReLU in double precision.

        Its `params` are [w1, b1, w2, b2, w3, b3], each w [inputs, outputs], as in the lessons' `forward(params, x)`.
        """
        generator = torch.Generator().manual_seed(0)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        shapes = [(1, 8), (8,), (8, 8), (8,), (8, 1), (1,)]
        params = [(0.6 * normal(*shape)).requires_grad_() for shape in shapes]
        x = [2.5 * normal(5, 1) for _ in range(6)]
        y = [amplitude * torch.sin(points - amplitude) for amplitude, points in zip((1, 1, 2, 2, 3, 3), x, strict=True)]
        tasks = [(x[i], y[i], x[i + 1], y[i + 1]) for i in (0, 2, 4)]
        return cls(params=params, tasks=tasks, forward=mlp, inner_lr=inner_lr, inner_steps=inner_steps)

    @classmethod
    def of_module(
        cls,
        module: nn.Module,
        tasks: list[Task],
        *,
        inner_lr: float,
        inner_steps: int = 1,
        loss: Callable[[Tensor, Tensor], Tensor] = nn.functional.mse_loss,
    ) -> Problem:
        """Return the problem for an ordinary module.

        Its `params` are the module's own parameters, so that code which uses the module can be asked. If the module has
        random layers or running statistics, put it into `eval()` first, because otherwise each call would give another
        answer.

        Args:
            module: the network.
            tasks, inner_lr, inner_steps, loss: as in `Problem`.

        Raises:
            TypeError, ValueError: the module is none, or as for `Problem`.
        """
        if not isinstance(module, nn.Module):
            raise TypeError(f"module={shown(module)} must be a torch.nn.Module")
        names = [name for name, _ in module.named_parameters()]

        def forward(params: list[Tensor], x: Tensor) -> Tensor:
            return functional_call(module, dict(zip(names, params, strict=True)), (x,))

        params = list(module.parameters())
        return cls(params=params, tasks=tasks, forward=forward, loss=loss, inner_lr=inner_lr, inner_steps=inner_steps)


def is_task(task: object) -> bool:
    return isinstance(task, list | tuple) and len(task) == 4 and all(isinstance(part, Tensor) for part in task)


def mlp(params: list[Tensor], x: Tensor) -> Tensor:
    """Map x [B, inputs] through linear layers with ReLU between them, of params [w1, b1, w2, b2, …].

    Each w is [inputs, outputs], and each b is [outputs].

    Raises:
        TypeError, ValueError: the arguments are no such tensors.
    """
    shapes(x=(x, "B inputs"))
    if not isinstance(params, list | tuple) or not params or len(params) % 2:
        raise TypeError(f"params={shown(params)} must be a list of tensors [w1, b1, w2, b2, …]")
    shapes(x=(x, "B inputs"), **{"params[0]": (params[0], "inputs outputs")})
    *hidden, (weight, bias) = zip(params[::2], params[1::2], strict=True)
    for w, b in hidden:
        x = torch.relu(x @ w + b)
    return x @ weight + bias


@dataclass(frozen=True)
class Diagnosis:
    """The finding on an implementation's meta-gradient."""

    order: int | None  # 2: it is exactly second-order; 1: it is exactly first-order; None: it is wrong
    says: str  # the finding in words
    error: float  # ‖gradient − right‖ / ‖right‖, where right is the second-order gradient
    cosine: float  # of the angle between these two

    def __str__(self) -> str:
        name = {2: "second order", 1: "first order", None: "wrong"}[self.order]
        return f"{name}: {self.says}\n(relative error to second order {self.error:.1e}, cosine {self.cosine:.4f})"


def diagnose(function: Callable[..., object], problem: Problem | None = None) -> Diagnosis:
    """Find out which meta-gradient `function` computes: that of second order, that of first order, or another one.

    Errors that the function raises pass through. Afterwards `params` have the values and the `.grad` that they had
    before.

    Args:
        function: the implementation. It is called once, as `function(params, tasks, inner_lr)`, with the values of the
            problem. It may return the meta-loss as a tensor, which is then differentiated by autograd; it may return
            the gradients, as a list or dict in the order of `params`; or it may call `backward()`, which leaves the
            gradients in the `.grad` of `params`.
        problem: the question; `Problem.sine()` by default.

    Raises:
        TypeError: the function cannot be called, or the problem is none.
        ValueError: the problem's two orders hardly differ, so that it cannot tell them apart.
    """
    check_function(function=function)
    problem = Problem.sine() if problem is None else problem
    if not isinstance(problem, Problem):
        raise TypeError(f"problem={shown(problem)} must be a Problem")
    params = problem.params
    right, first = _flat(_meta_gradient(problem)), _flat(_meta_gradient(problem, order=1))
    if not (right.isfinite().all() and first.isfinite().all()):
        raise ValueError("the gradients of this problem are not finite: give it a smaller inner_lr")
    if (right - first).norm() < 10 * TOLERANCE * right.norm():
        raise ValueError("first and second order hardly differ on this problem: give it a larger inner_lr")

    values, grads = [p.detach().clone() for p in params], [p.grad for p in params]
    try:
        for p in params:
            p.grad = None
        with torch.enable_grad():
            returned = function(list(params), list(problem.tasks), problem.inner_lr)
        changed = not all(torch.equal(p, value) for p, value in zip(params, values, strict=True))
        answer = _gradients(returned, params)
    finally:
        with torch.no_grad():
            for p, value, grad in zip(params, values, grads, strict=True):
                p.copy_(value)
                p.grad = grad

    if isinstance(answer, str):
        return Diagnosis(None, IN_PLACE if changed else answer, float("nan"), float("nan"))
    got = _flat(answer)
    error = ((got - right).norm() / right.norm()).item()
    cosine = torch.cosine_similarity(got, right, dim=0).item()
    if changed:
        return Diagnosis(None, IN_PLACE, error, cosine)
    for order, says in _known(problem, got, right, first):
        return Diagnosis(order, says, error, cosine)
    return Diagnosis(None, UNKNOWN, error, cosine)


def _gradients(returned: object, params: list[Tensor]) -> list[Tensor] | str:
    """Return the meta-gradient that a function gave, in whichever way, or say in words why there is none."""
    left = [p.grad for p in params]
    if isinstance(returned, Mapping):
        returned = list(returned.values())
    if isinstance(returned, Sequence) and not isinstance(returned, str):
        gradients = list(returned)
        if len(gradients) != len(params):
            return f"It returns {len(gradients)} gradients for {len(params)} parameters. {NO_GRADIENT}"
    elif any(g is not None for g in left):  # it called backward(), and may return the loss as a plain number
        gradients = left
    elif isinstance(returned, Tensor) and returned.numel() == 1:
        if not returned.requires_grad:
            return CUT
        try:
            gradients = list(torch.autograd.grad(returned, params, allow_unused=True))
        except RuntimeError as error:
            if "modified by an inplace operation" not in str(error):
                raise
            return IN_PLACE
        if all(g is None for g in gradients):
            return CUT
        gradients = [torch.zeros_like(p) if g is None else g for p, g in zip(params, gradients, strict=True)]
    else:
        return f"It returns {type(returned).__name__} and leaves no .grad: {NO_GRADIENT}"
    for i, (p, g) in enumerate(zip(params, gradients, strict=True)):
        if not isinstance(g, Tensor):
            return f"Parameter {i} has no gradient. {NO_GRADIENT}"
        if g.shape != p.shape:
            return f"The gradient of parameter {i} has the shape {list(g.shape)}, the parameter {list(p.shape)}."
    return [g.detach() for g in gradients]


def _known(problem: Problem, got: Tensor, right: Tensor, first: Tensor) -> Iterator[tuple[int | None, str]]:
    """Yield the order and the words of every known answer that agrees with this one, the likeliest first."""
    if not got.isfinite().all():
        yield None, "Its gradient has entries that are not finite numbers."
        return
    if not got.any():
        yield None, CUT
        return
    for order, answer, says in ((2, right, SECOND), (1, first, FIRST)):
        if _agree(got, answer):
            yield order, says
    for order, answer in ((2, right), (1, first)):
        scale = ((got @ answer) / (answer @ answer)).item()
        if _agree(got, scale * answer):
            yield _scaled(problem, order, scale)
    for says, gradient in _mistakes(problem):
        if _agree(got, _flat(gradient)):
            yield None, says


def _agree(a: Tensor, b: Tensor) -> bool:
    """Tell whether a is b, up to the tolerance."""
    return bool((a - b).norm() <= TOLERANCE * b.norm())


def _scaled(problem: Problem, order: int, scale: float) -> tuple[int | None, str]:
    """Return the order and the words for a gradient that is `scale` times the right one of an order."""
    kind = {2: "second-order", 1: "first-order"}[order]

    def near(value: float) -> bool:
        return abs(scale - value) <= 10 * TOLERANCE * abs(value)

    tasks = len(problem.tasks)
    if near(tasks):
        note = "added up over the tasks, not averaged: the outer learning rate then depends on the meta-batch."
        return order, f"The gradient is exactly {kind}, {note}"
    if near(-1):
        return None, f"This is minus the {kind} gradient: an outer step would climb. Which way should params move?"
    if near(-problem.inner_lr) or near(problem.inner_lr):
        return None, f"This is the {kind} gradient times the inner learning rate: it belongs into the inner step alone."
    if near(1 / tasks):
        return None, f"This is the {kind} gradient divided by the number of tasks once more than the mean asks for."
    return None, f"This points exactly along the {kind} gradient and is {scale:.4g} times as long."


# The right answers and the wrong ones


def _meta_gradient(
    problem: Problem,
    *,
    order: int = 2,
    rate: float = 1.0,
    steps: int | None = None,
    adapt: slice = slice(0, 2),
    judge: slice = slice(2, 4),
    chained: bool = False,
    cut: bool = False,
    frozen: Callable[[int, Tensor], bool] = lambda i, p: False,
    tasks: slice = slice(None),
) -> list[Tensor]:
    """Return the mean over tasks of the meta-gradient, or of the gradient that one mistake makes of it.

    Args:
        problem: the problem.
        order: 1 treats the inner gradients as constants.
        rate: the inner learning rate, in multiples of the right one.
        steps: the number of inner steps, if it is not the right one.
        adapt: the part of a task (support x, y, query x, y) that the inner loss is taken on.
        judge: the part of a task that the outer loss is taken on.
        chained: whether each task starts where the task before it ended.
        cut: whether each step starts from a copy that autograd does not follow.
        frozen: tells by place and value which parameters do not adapt.
        tasks: the tasks that are used.
    """

    def loss(theta: list[Tensor], part: tuple[Tensor, ...]) -> Tensor:
        return problem.loss(problem.forward(theta, part[0]), part[1])

    chosen = problem.tasks[tasks]
    total = 0.0
    with torch.enable_grad():
        start = [p.detach().requires_grad_() for p in problem.params]
        theta = start
        for task in chosen:
            theta = theta if chained else start
            for _ in range(problem.inner_steps if steps is None else steps):
                grads = torch.autograd.grad(
                    loss(theta, task[adapt]), theta, create_graph=order == 2, allow_unused=True, materialize_grads=True
                )
                from_here = [p.detach() for p in theta] if cut else theta
                theta = [
                    p if frozen(i, p) else q - rate * problem.inner_lr * g
                    for i, (p, q, g) in enumerate(zip(theta, from_here, grads, strict=True))
                ]
            total = total + loss(theta, task[judge]) / len(chosen)
        return list(torch.autograd.grad(total, start, allow_unused=True, materialize_grads=True))


def _recursion(
    problem: Problem, factor: Callable[[int], float], *, at_end: bool = False, of_query: bool = False
) -> list[Tensor]:
    """Return the mean over tasks of v_0, by the recursion v_k = v_{k+1} − factor(k) H_k v_{k+1}.

    Two options make mistakes: `at_end` takes the Hessian at the adapted parameters, and `of_query` takes the Hessian of
    the query loss.
    """
    total = [torch.zeros_like(p) for p in problem.params]

    def gradient(theta: list[Tensor], x: Tensor, y: Tensor, graph: bool = False) -> list[Tensor]:
        loss = problem.loss(problem.forward(theta, x), y)
        return torch.autograd.grad(loss, theta, create_graph=graph, allow_unused=True, materialize_grads=True)

    def leaves(theta: list[Tensor]) -> list[Tensor]:
        return [p.detach().requires_grad_() for p in theta]

    with torch.enable_grad():
        for sx, sy, qx, qy in problem.tasks:
            trajectory = [leaves(problem.params)]
            for _ in range(problem.inner_steps):
                grads = gradient(trajectory[-1], sx, sy)
                moved = [p - problem.inner_lr * g for p, g in zip(trajectory[-1], grads, strict=True)]
                trajectory.append(leaves(moved))
            v = gradient(trajectory[-1], qx, qy)
            for k in reversed(range(problem.inner_steps)):
                theta = trajectory[-1] if at_end else trajectory[k]
                grads = gradient(theta, *((qx, qy) if of_query else (sx, sy)), graph=True)
                product = torch.autograd.grad(grads, theta, v, allow_unused=True, materialize_grads=True)
                v = [a - factor(k) * b for a, b in zip(v, product, strict=True)]
            total = [a + b / len(problem.tasks) for a, b in zip(total, v, strict=True)]
    return total


def _mistakes(problem: Problem) -> Iterator[tuple[str, list[Tensor]]]:
    """Yield the usual mistakes in words, with the gradients that they give; the likeliest come first."""
    support, query = slice(0, 2), slice(2, 4)
    last = len(problem.params) - 2
    alpha, tasks, steps = problem.inner_lr, len(problem.tasks), problem.inner_steps

    for order, addition in ((2, ""), (1, FIRST_TOO)):
        for says, options in (
            (UNADAPTED, {"steps": 0}),
            (UNADAPTED_SUPPORT, {"steps": 0, "judge": support}),
            (ON_SUPPORT, {"judge": support}),
            (ON_QUERY, {"adapt": query}),
            (SWAPPED, {"adapt": query, "judge": support}),
            (CHAINED, {"chained": True}),
            (CLIMBS, {"rate": -1.0}),
            (SQUARED, {"rate": alpha}),
            (NO_RATE, {"rate": 1 / alpha}),
            (LAST_TASK, {"tasks": slice(-1, None)}),
            (FIRST_TASK, {"tasks": slice(0, 1)}),
            (HEAD_ALONE, {"frozen": lambda i, p: i < last}),
            (NO_BIASES, {"frozen": lambda i, p: p.dim() == 1}),
            (ONE_MORE, {"steps": steps + 1}),
            (ONE_STEP, {"steps": 1}),
            (ONE_LESS, {"steps": steps - 1}),
        ):
            gradient = _meta_gradient(problem, order=order, **options)
            yield says + addition, gradient
            scale, note = (1 / tasks, "") if "tasks" in options else (tasks, SUMMED)
            yield says + addition + note, [scale * g for g in gradient]
    yield IDENTITY, _meta_gradient(problem, cut=True)
    yield PLUS, _recursion(problem, lambda k: -alpha)
    yield HESSIAN_RATE, _recursion(problem, lambda k: alpha**2)
    yield HESSIAN_NO_RATE, _recursion(problem, lambda k: 1.0)
    yield AT_END, _recursion(problem, lambda k: alpha, at_end=True)
    yield OF_QUERY, _recursion(problem, lambda k: alpha, of_query=True)
    yield LAST_STEP, _recursion(problem, lambda k: alpha * (k == steps - 1))
    yield FIRST_STEP, _recursion(problem, lambda k: alpha * (k == 0))

    inner = _meta_gradient(problem, steps=0, judge=support)
    for order, addition in ((2, ""), (1, FIRST_TOO)):
        outer = _meta_gradient(problem, order=order)
        for by_outer, by_inner in ((1, tasks), (1, 1), (tasks, tasks)):
            both = [by_outer * a + by_inner * b for a, b in zip(outer, inner, strict=True)]
            yield ACCUMULATED + addition, both
    yield REPTILE, _reptile(problem)
    yield REPTILE_RATE, [g / alpha for g in _reptile(problem)]


def _reptile(problem: Problem) -> list[Tensor]:
    """Return θ − mean over tasks of θ_K, where θ_K is reached by plain gradient descent."""
    total = [torch.zeros_like(p) for p in problem.params]
    with torch.enable_grad():
        for x, y, *_ in problem.tasks:
            theta = [p.detach().requires_grad_() for p in problem.params]
            for _ in range(problem.inner_steps):
                loss = problem.loss(problem.forward(theta, x), y)
                grads = torch.autograd.grad(loss, theta, allow_unused=True, materialize_grads=True)
                moved = [p - problem.inner_lr * g for p, g in zip(theta, grads, strict=True)]
                theta = [p.detach().requires_grad_() for p in moved]
            total = [a + (p - q).detach() for a, p, q in zip(total, problem.params, theta, strict=True)]
    return [a / len(problem.tasks) for a in total]


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().double().flatten() for tensor in tensors])


# The words of a diagnosis

SECOND = "The gradient is exactly second-order: it goes back through every inner step to where adaptation started."
FIRST = (
    "The gradient is exactly first-order: that of the query loss at the adapted parameters. If first-order MAML was "
    "meant, it is right. If not: is create_graph=True missing, are the inner gradients detached, or is the gradient "
    "taken with respect to the adapted parameters and not the start?"
)
FIRST_TOO = " Besides, its inner gradients are taken for constants: it would be first-order even without that."
SUMMED = " Besides, it adds up the tasks and does not average."
NO_GRADIENT = "It should return the meta-loss as a tensor, or one gradient for each parameter, or call backward()."
CUT = (
    "No gradient comes back to params: the graph is cut, so the start is never learned. Look for detach, .data, item, "
    "no_grad, a network that was copied, or an optimizer's step in the inner loop."
)
IN_PLACE = (
    "It changes the shared parameters in place. The next task then starts from this task's weights instead of the "
    "common start, and autograd cannot follow. Make new tensors in the inner step (an optimizer's step() does not); "
    "if it is the outer step that changed them, hand over the function without it."
)
UNADAPTED = (
    "The outer loss is that of the unadapted weights: the inner step has no part in it. Minimising this is ordinary "
    "training on all tasks together. Whose prediction should be judged?"
)
UNADAPTED_SUPPORT = (
    "This is the gradient of the support loss at the start: no adaptation, and no query set. Was .grad left over from "
    "the inner loop's backward(), or the inner gradient returned?"
)
ON_SUPPORT = (
    "The outer loss is taken on the support set, the very points the task has just adapted to. That rewards memorising "
    "them; the meta-gradient asks about points not seen. Which points are those?"
)
ON_QUERY = (
    "It adapts on the query set, then judges on the same points. The answers leak into the adaptation, and a test task "
    "has none to adapt to. Which set may the inner step look at?"
)
SWAPPED = (
    "Support and query are swapped: it adapts on the query set and judges on the support set. Check the order in which "
    "a task is unpacked."
)
CHAINED = (
    "Each task starts where the one before it ended. All must set out from params. Does the loop assign to the name of "
    "the shared start, or change it in place and put it back only at the end?"
)
CLIMBS = "The inner step climbs: its minus is missing, so each task is made worse before it is judged."
SQUARED = "The learning rate comes into the inner step twice: adaptation is shrunk by inner_lr squared."
NO_RATE = "The inner step is one whole gradient: the learning rate is missing."
LAST_TASK = "Only the last task counts: the others are overwritten. Is the loss assigned where it should be added?"
FIRST_TASK = "Only the first task counts. Does a return stand inside the loop, or is only task 0 looked at?"
HEAD_ALONE = "Only the last layer adapts. That is ANIL (Raghu et al. 2020), another algorithm."
NO_BIASES = "The biases do not adapt, only the weight matrices. Does the update run over all parameters?"
ONE_MORE = "It takes one inner step too many."
ONE_LESS = "It takes one inner step too few."
ONE_STEP = "It takes one inner step only. Does every step start from params again, instead of from the step before?"
IDENTITY = (
    "Only the Hessian's part is there: the step starts from a copy (detach, .data, clone under no_grad), so autograd "
    "sees θ' move through the inner gradient and not with θ itself. The 1 in (1 − αH) is missing."
)
PLUS = "The sign before the Hessian is wrong: this is (1 + αH) v. The inner step subtracts, so must its derivative."
HESSIAN_RATE = "The learning rate multiplies the Hessian twice: (1 − α²H) v. The inner step has one α, so one is left."
HESSIAN_NO_RATE = "The Hessian's learning rate is missing: (1 − H) v. The inner step has one α, so its derivative has."
AT_END = (
    "The Hessian is that of the adapted parameters. The chain rule asks for it where each step started: keep θ_0 … "
    "θ_{K−1}."
)
OF_QUERY = "The Hessian is that of the query loss. What is differentiated again is the inner step, on the support set."
LAST_STEP = (
    "Only the last inner step is differentiated; the earlier ones are taken for constants. Is each step's start "
    "detached, or create_graph=True given in the last step alone?"
)
FIRST_STEP = "Only the first inner step is differentiated; the later ones are taken for constants."
ACCUMULATED = (
    "The support loss's gradient is added to the meta-gradient: backward() in the inner loop leaves it in .grad, where "
    "the outer one adds to it. Take inner gradients by torch.autograd.grad, or clear .grad in between."
)
REPTILE = "This is Reptile's θ − mean θ̃ (Nichol et al. 2018), not a gradient of the query loss."
REPTILE_RATE = "This is Reptile's (θ − mean θ̃)/α (Nichol et al. 2018), not a gradient of the query loss."
UNKNOWN = (
    "It is neither order, nor a mistake known here. Compare it with finite differences of your own meta-loss: if those "
    "agree, the loss is another than MAML's; if not, the gradient is."
)
