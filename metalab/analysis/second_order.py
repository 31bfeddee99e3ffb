r"""What the second-order term does: the meta-gradient computed four ways, the Hessian's share in it, and what adapts.

MAML's loss is F(θ) = mean over tasks of L_Q(θ_K), with θ_K the end of K inner steps from θ. Its gradient is

    ∇F = mean over tasks of v_0 = v_K − Σ_k H_k (α ⊙ v_{k+1})        (the recursion of metalab.learners.maml)

and first-order MAML keeps v_K alone. `metalab.analysis.diagnosis` looks at functions that others wrote.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..engine.derivatives import differentiate
from ..learners.maml import GATE, MAML
from ..nets import Net, Params
from ..tasks import Episode

STEP = 1e-6  # of finite differences, along a direction of length 1
KINK = 1e-4  # two step lengths that disagree by more, relative to what is usual, have a kink between them


@dataclass(frozen=True)
class Comparison:
    """Meta-gradients beside finite differences, in double precision."""

    errors: dict[str, float]  # ‖gradient − finite differences‖ / ‖finite differences‖, along the directions looked at
    cosine: float  # between the gradients of first and second order
    directions: int  # how many were looked at
    left_out: int  # and how many were not, because a kink of the loss lay in the way

    @property
    def angle(self) -> float:
        """Between the gradients of first and second order, in degrees."""
        return math.degrees(math.acos(max(-1.0, min(1.0, self.cosine))))

    def __str__(self) -> str:
        lines = [f"{name:<28}{error:10.1e}" for name, error in self.errors.items()]
        return "\n".join(
            [
                f"{'':<28}{'relative error':>10}",
                *lines,
                f"first and second order: {self.angle:.1f}° apart, cosine {self.cosine:.4f}",
                f"finite differences along {self.directions} directions ({self.left_out} left out at kinks)",
            ]
        )


def compare(
    learner: MAML, params: Params, episode: Episode, *, directions: int | None = 32, seed: int = 0
) -> Comparison:
    """The meta-gradient by autograd, by the engine, and of first order, each beside finite differences.

    Autograd keeps the graph through every inner step, as the definition says, and shares no code with the engine's
    recursion. All is computed in double precision. Gates are left out: the loss has no slope there.

    Args:
        learner: its own `order` does not matter.
        params: without the task axis.
        episode: the tasks.
        directions: number of random directions for the finite differences; None: along every parameter, one by one,
            which takes four losses each.
        seed: of the random directions.

    Raises:
        ValueError: no direction, or a kink in every one.
    """
    if directions is not None and directions < 1:
        raise ValueError(f"directions={directions} must be at least 1, or None for every parameter")
    episode = episode.to(torch.float64)
    params = {name: p.detach().double() for name, p in params.items()}
    names = [name for name in params if not name.startswith(GATE)]
    leaves = params | {name: params[name].clone().requires_grad_() for name in names}
    naive = torch.autograd.grad(meta_loss(learner, leaves, episode), [leaves[name] for name in names])
    gradients = {"autograd, graph kept": dict(zip(names, naive, strict=True))}
    for order, name in ((2, "engine, second order"), (1, "engine, first order")):
        gradients[name] = replace(learner, order=order).meta_gradient(params, episode)[0]
    flat = {kind: _flat(gradient[name] for name in names) for kind, gradient in gradients.items()}

    size = sum(params[name].numel() for name in names)
    generator = torch.Generator().manual_seed(seed)
    slopes, doubts, along = [], [], []
    for i in range(size if directions is None else directions):
        if directions is None:
            direction = torch.zeros(size, dtype=torch.float64)
            direction[i] = 1
        else:
            direction = torch.randn(size, generator=generator, dtype=torch.float64)
            direction /= direction.norm()
        direction = direction.to(flat["engine, second order"].device)
        slope, half = (_slope(learner, params, names, episode, direction, step) for step in (STEP, STEP / 2))
        slopes.append(slope)
        doubts.append(abs(slope - half))
        along.append([(gradient @ direction).item() for gradient in flat.values()])
    measured, doubt = torch.tensor(slopes, dtype=torch.float64), torch.tensor(doubts, dtype=torch.float64)
    smooth = doubt <= KINK * measured.abs().median()
    if not smooth.any():
        raise ValueError("a kink of the loss lies in every direction: try other params, or another seed")
    difference = measured.unsqueeze(1) - torch.tensor(along, dtype=torch.float64)
    errors = difference[smooth].norm(dim=0) / measured[smooth].norm()
    return Comparison(
        {"finite differences themselves": (doubt[smooth].norm() / measured[smooth].norm()).item()}
        | dict(zip(flat, errors.tolist(), strict=True)),
        torch.cosine_similarity(flat["engine, first order"], flat["engine, second order"], dim=0).item(),
        int(smooth.sum()),
        int((~smooth).sum()),
    )


def meta_loss(learner: MAML, params: Params, episode: Episode) -> Tensor:
    """F(θ) as its definition says, for autograd to differentiate: the graph is kept through every inner step."""
    rates = learner.rates(params)
    theta = {name: params[name].expand(episode.tasks, *params[name].shape) for name in rates}
    graph = any(p.requires_grad for p in theta.values())
    with torch.enable_grad():
        for _ in range(learner.inner_steps):
            if not graph:
                theta = {name: p.detach().requires_grad_() for name, p in theta.items()}
            loss = learner.loss(learner.net(theta, episode.support_x), episode.support_y).sum()
            grads = torch.autograd.grad(loss, list(theta.values()), create_graph=graph)
            theta = {name: p - rates[name] * g for (name, p), g in zip(theta.items(), grads, strict=True)}
        outputs = learner.net(theta, episode.query_x, context=_context(learner, episode))
        return learner.loss(outputs, episode.query_y).mean()


def _slope(learner: MAML, params: Params, names: list[str], episode: Episode, direction: Tensor, step: float) -> float:
    """(F(θ + h d) − F(θ − h d)) / 2h."""
    parts = dict(zip(names, direction.split([params[name].numel() for name in names]), strict=True))

    def at(h: float) -> float:
        moved = {name: params[name] + h * part.view_as(params[name]) for name, part in parts.items()}
        return meta_loss(learner, params | moved, episode).item()

    return (at(step) - at(-step)) / (2 * step)


@dataclass(frozen=True)
class HessianShare:
    """How large the term is that first order leaves out, Σ_k H_k (α ⊙ v_{k+1}), relative to the whole gradient v_0.

    Lengths of means over the tasks; a share above 1 means that the term is longer than the gradient it is part of.
    """

    whole: float  # of all steps and parameters
    by_layer: dict[str, float]  # of all steps, in each parameter: relative to the gradient of that parameter
    by_step: list[float]  # of each step k = 0 … K − 1, in all parameters
    each: list[dict[str, float]]  # of each step in each parameter, relative to the gradient of that parameter

    def __str__(self) -> str:
        steps = range(len(self.by_step))
        rows = [("", ["all", *(f"step {k}" for k in steps)])]
        rows.append(("all", [f"{share:.1%}" for share in (self.whole, *self.by_step)]))
        for name, share in self.by_layer.items():
            rows.append((name, [f"{share:.1%}", *(f"{self.each[k][name]:.1%}" for k in steps)]))
        return "\n".join(f"{name:<10}" + "".join(f"{cell:>10}" for cell in cells) for name, cells in rows)


def hessian_share(learner: MAML, params: Params, episode: Episode) -> HessianShare:
    """The Hessian term's share of the meta-gradient, by parameter and by inner step; in the precision of `params`.

    Raises:
        ValueError: there are no inner steps, so there is no such term.
    """
    if learner.inner_steps < 1:
        raise ValueError(f"inner_steps={learner.inner_steps} leaves no Hessian term: it must be at least 1")
    rates = learner.rates(params)
    *trajectory, adapted = learner.adapt(params, episode)
    context = _context(learner, episode)
    v = differentiate(learner.net, learner.loss, adapted, episode.query_x, episode.query_y, context=context).gradient()
    terms: list[Params] = []
    for theta in reversed(trajectory):
        support = differentiate(learner.net, learner.loss, theta, episode.support_x, episode.support_y)
        product = support.hessian_vector({name: rates[name] * v[name] for name in v})
        v = {name: v[name] - product[name] for name in v}
        terms.insert(0, {name: p.mean(0) for name, p in product.items()})
    gradient = {name: g.mean(0) for name, g in v.items()}
    total = {name: sum(term[name] for term in terms) for name in gradient}
    length = _flat(gradient.values()).norm()

    def by_layer(term: Params) -> dict[str, float]:
        return {name: (term[name].norm() / g.norm()).item() for name, g in gradient.items()}

    return HessianShare(
        (_flat(total.values()).norm() / length).item(),
        by_layer(total),
        [(_flat(term.values()).norm() / length).item() for term in terms],
        [by_layer(term) for term in terms],
    )


def linear_cka(x: Tensor, y: Tensor) -> Tensor:
    """Linear CKA (Kornblith et al. 2019) of representations [..., B, p] and [..., B, q] of the same B inputs: [...].

    With columns centred it is ‖yᵀx‖² / (‖xᵀx‖ ‖yᵀy‖), between 0 and 1: 1 if one is the other turned, mirrored,
    shifted, or scaled as a whole. It is computed from the B×B products, so p and q may be large. With few inputs and
    many features it is close to 1 whatever they are; nan where a representation is the same for all inputs.

    Raises:
        ValueError: the numbers of inputs differ, or are below 3 (of two inputs it is always 1).
    """
    if x.shape[-2] != y.shape[-2] or x.shape[-2] < 3:
        raise ValueError(f"x of {x.shape[-2]} and y of {y.shape[-2]} inputs: both must be of the same 3 or more")
    x, y = (z - z.mean(-2, keepdim=True) for z in (x, y))
    x, y = x @ x.mT, y @ y.mT  # [..., B, B]
    return (x * y).sum((-2, -1)) / (x.norm(dim=(-2, -1)) * y.norm(dim=(-2, -1)))


def activations(net: Net, params: Params, x: Tensor) -> Params:
    """What each layer gives for x [T, B, ...], by its weight's name: [T, B, features].

    That is after its ReLU, in Conv4's last layer after the mean over positions, and at the end the network's output.

    Raises:
        ValueError: the net has no chain of layers to look into (Conv4 with max-pooling, for one).
    """
    chain = net.chain(x)
    if chain is None:
        raise ValueError(f"{net} has no chain of layers for inputs of shape {list(x.shape)}")
    tasks, inputs = x.shape[:2]
    found, name = {}, ""
    with torch.no_grad():
        for layer in chain:
            x = layer.forward(params, x)
            name = getattr(layer, "weight", name)  # what has no weight belongs to the layer before
            found[name] = x
    return {name: z.reshape(tasks, inputs, -1) for name, z in found.items()}


def similarity(learner: MAML, params: Params, episode: Episode) -> dict[str, Tensor]:
    """How alike each layer represents the queries before and after adaptation: linear CKA by weight's name, [T].

    Raghu et al. (2020, "Rapid learning or feature reuse?") found the body of a MAML network next to unchanged, and
    only the head to adapt. Batch norm takes the statistics of the queries.
    """
    before, *_, after = (activations(learner.net, theta, episode.query_x) for theta in learner.adapt(params, episode))
    return {name: linear_cka(before[name], after[name]) for name in before}


def _context(learner: MAML, episode: Episode) -> Tensor | None:
    return None if learner.transductive else episode.support_x


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])
