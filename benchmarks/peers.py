"""MAML as other people write it, for ordinary torch.nn modules. The benchmark compares our engine with these peers.

Each peer takes the model, the loss of one task's outputs and targets, an episode, and the learning rate and the number
of steps of the inner loop. It returns a function that yields the tasks' query losses after adaptation, one task after
another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from metalab.nets import MLP, Conv4, Params
from metalab.tasks import Episode

OneTaskLoss = Callable[[Tensor, Tensor], Tensor]
TaskLosses = Callable[[], Iterator[Tensor]]


class Shift(nn.Module):
    """Batch norm by the batch's own statistics, with a shift and no scale, as in our Conv4."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))  # without a scale, PyTorch refuses the second derivative

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x [B, channels, H, W]."""
        return F.batch_norm(x, None, None, self.scale, self.shift, training=True, eps=1e-3)


def as_module(net: MLP | Conv4, params: Params) -> nn.Module:
    """Return `net` as a torch.nn module with a copy of `params`. Its parameters come in the same order."""
    layers: list[nn.Module] = []
    if isinstance(net, MLP):
        for n_in, n_out in zip(net.sizes, net.sizes[1:], strict=False):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        layers.pop()
    else:
        for i in range(4):
            n_in = net.channels if i else 1
            layers += [nn.Conv2d(n_in, net.channels, 3, stride=2, padding=1, bias=False), Shift(net.channels)]
            layers += [nn.ReLU()]
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(net.channels, net.outputs)]
    first = next(iter(params.values()))
    model = nn.Sequential(*layers).to(first.device, first.dtype)
    with torch.no_grad():
        for theirs, ours in zip(model.parameters(), params.values(), strict=True):
            if theirs.dim() == 4:
                ours = ours.unflatten(0, (3, 3, -1)).permute(3, 2, 0, 1)  # [9·in, out] to [out, in, 3, 3]
            theirs.copy_(ours.T if theirs.dim() == 2 else ours)
    return model


def in_our_layout(theirs: Tensor) -> Tensor:
    """Return weights of torch.nn in the layout of our nets: [9·in, out] for a convolution, [in, out] for a layer."""
    if theirs.dim() == 4:
        return theirs.permute(2, 3, 1, 0).flatten(0, 2)
    return theirs.T if theirs.dim() == 2 else theirs


def with_higher(model: nn.Module, loss: OneTaskLoss, e: Episode, inner_lr: float, inner_steps: int) -> TaskLosses:
    """Use `higher` (Grefenstette et al. 2019), as in its maml-omniglot example."""
    import higher

    optimizer = torch.optim.SGD(model.parameters(), lr=inner_lr)

    def task_losses() -> Iterator[Tensor]:
        for t in range(e.tasks):
            with higher.innerloop_ctx(model, optimizer, copy_initial_weights=False) as (adapted, inner):
                for _ in range(inner_steps):
                    inner.step(loss(adapted(e.support_x[t]), e.support_y[t]))
                yield loss(adapted(e.query_x[t]), e.query_y[t])

    return task_losses


def with_torchopt(model: nn.Module, loss: OneTaskLoss, e: Episode, inner_lr: float, inner_steps: int) -> TaskLosses:
    """Use `torchopt` (Ren et al. 2023), as in its few-shot example."""
    import torchopt

    inner = torchopt.MetaSGD(model, lr=inner_lr)

    def task_losses() -> Iterator[Tensor]:
        start = torchopt.extract_state_dict(model, by="reference")
        state = torchopt.extract_state_dict(inner, by="reference")
        for t in range(e.tasks):
            for _ in range(inner_steps):
                inner.step(loss(model(e.support_x[t]), e.support_y[t]))
            yield loss(model(e.query_x[t]), e.query_y[t])
            torchopt.recover_state_dict(model, start)
            torchopt.recover_state_dict(inner, state)

    return task_losses


def with_loop(model: nn.Module, loss: OneTaskLoss, e: Episode, inner_lr: float, inner_steps: int) -> TaskLosses:
    """Write MAML as its paper states it: loop over the tasks, and keep the graph through the inner steps."""
    params = dict(model.named_parameters())

    def task_losses() -> Iterator[Tensor]:
        for t in range(e.tasks):
            theta = params
            for _ in range(inner_steps):
                support_loss = loss(functional_call(model, theta, e.support_x[t]), e.support_y[t])
                grads = torch.autograd.grad(support_loss, list(theta.values()), create_graph=True)
                theta = {n: p - inner_lr * g for (n, p), g in zip(theta.items(), grads, strict=True)}
            yield loss(functional_call(model, theta, e.query_x[t]), e.query_y[t])

    return task_losses


def with_vmap(model: nn.Module, loss: OneTaskLoss, e: Episode, inner_lr: float, inner_steps: int) -> TaskLosses:
    """Use `torch.func`, as in PyTorch's own MAML example: `grad` for the inner step, and `vmap` over the tasks."""
    params = dict(model.named_parameters())

    def loss_of(theta: Params, x: Tensor, y: Tensor) -> Tensor:
        return loss(functional_call(model, theta, x), y)

    def query_loss(support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor) -> Tensor:
        theta = params
        for _ in range(inner_steps):
            grads = grad(loss_of)(theta, support_x, support_y)
            theta = {n: p - inner_lr * grads[n] for n, p in theta.items()}
        return loss_of(theta, query_x, query_y)

    def task_losses() -> Iterator[Tensor]:
        yield vmap(query_loss)(e.support_x, e.support_y, e.query_x, e.query_y)  # the losses of all tasks at once: [T]

    return task_losses


def task_by_task(model: nn.Module, tasks: int, task_losses: TaskLosses) -> None:
    """Leave the meta-gradient in the model's `.grad`, going backward through each task before the next one starts."""
    model.zero_grad()
    for losses in task_losses():
        (losses.sum() / tasks).backward()


def all_at_once(model: nn.Module, tasks: int, task_losses: TaskLosses) -> None:
    """Do the same, but go backward through all the tasks at the end, which takes fewer calls and more memory."""
    model.zero_grad()
    (sum(losses.sum() for losses in task_losses()) / tasks).backward()


PEERS = {"higher": with_higher, "torchopt": with_torchopt, "create_graph loop": with_loop, "vmap": with_vmap}
BACKWARDS = {"task by task": task_by_task, "all at once": all_at_once}
