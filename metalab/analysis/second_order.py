r"""What the second-order term does: the meta-gradient computed in four ways, and the Hessian's share in it.

MAML's loss is F(θ) = mean over tasks of L_Q(θ_K), where K inner steps lead from θ to θ_K. Its gradient is

    ∇F = mean over tasks of v_0,    v_0 = v_K − Σ_k H_k (α ⊙ v_{k+1})        (the recursion of metalab.learners.maml)

First-order MAML keeps v_K alone. To examine a function that somebody else wrote, see `metalab.analysis.diagnosis`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .. import arguments
from ..engine.derivatives import differentiate
from ..learners.learner import check_episode
from ..learners.maml import MAML, rate_of
from ..learners.sparse_maml import GATE
from ..nets import Params
from ..tasks import Episode

STEP = 1e-6  # step length of the finite differences, along a direction of length 1
KINK = 1e-4  # there is a kink where two step lengths disagree by more than this share of the median slope


@dataclass(frozen=True)
class GradientComparison:
    """Meta-gradients compared with finite differences, in double precision."""

    errors: dict[str, float]  # ‖gradient − finite differences‖ / ‖finite differences‖, along the directions used
    cosine: float  # between the gradients of first and second order
    directions: int  # the number of directions used
    left_out: int  # the number of directions not used, because the loss has a kink along them

    @property
    def angle(self) -> float:
        """The angle between the gradients of first and second order, in degrees."""
        return math.degrees(math.acos(max(-1.0, min(1.0, self.cosine))))

    def __str__(self) -> str:
        title, width = "relative error", 2 + max(map(len, self.errors))
        lines = [f"{name:<{width}}{error:{len(title)}.1e}" for name, error in self.errors.items()]
        return "\n".join(
            [
                f"{'':<{width}}{title}",
                *lines,
                f"first and second order: {self.angle:.1f}° apart, cosine {self.cosine:.4f}",
                f"finite differences along {self.directions} directions ({self.left_out} left out because of kinks)",
            ]
        )


def compare_meta_gradients(
    learner: MAML, params: Params, episode: Episode, *, directions: int | None = 32, seed: int = 0
) -> GradientComparison:
    """Compare three meta-gradients with finite differences: by autograd, by the engine, and of first order.

    Autograd keeps the graph through every inner step, as the definition says, and shares no code with the engine's
    recursion. Everything is computed in double precision. The gates of sparse-MAML are left out, because the loss has
    no slope there.

    Args:
        learner: the algorithm. Its own `order` does not matter.
        params: the parameters, without the task axis.
        episode: the tasks.
        directions: the number of random directions for the finite differences; None: one direction along every
            parameter. Each direction takes four evaluations of the loss.
        seed: seed of the random directions.

    Raises:
        TypeError, ValueError: an argument is of another type or does not fit the others, `directions` is less than 1,
            or the loss has a kink along every direction.
    """
    if directions is not None:
        arguments.whole(directions=directions)
    arguments.whole(least=0, seed=seed)
    _check_learner(learner)
    check_episode(learner, params, episode, outputs=getattr(learner.net, "outputs", None))
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
    return GradientComparison(
        {"finite differences themselves": (doubt[smooth].norm() / measured[smooth].norm()).item()}
        | dict(zip(flat, errors.tolist(), strict=True)),
        torch.cosine_similarity(flat["engine, first order"], flat["engine, second order"], dim=0).item(),
        int(smooth.sum()),
        int((~smooth).sum()),
    )


def meta_loss(learner: MAML, params: Params, episode: Episode) -> Tensor:
    """Return F(θ), computed by its definition. Where `params` require gradients, autograd can differentiate it.

    The graph is then kept through every inner step.

    Args:
        learner: the algorithm.
        params: θ, without the task axis.
        episode: the tasks.

    Raises:
        TypeError, ValueError: an argument is of another type, or does not fit the others.
    """
    _check_learner(learner)
    check_episode(learner, params, episode, outputs=getattr(learner.net, "outputs", None))
    rates = learner.rates(params)
    theta = {name: p.expand(episode.tasks, *p.shape) for name, p in learner.weights(params).items()}
    graph = any(p.requires_grad for p in theta.values())
    with torch.enable_grad():
        for _ in range(learner.inner_steps):
            if not graph:
                theta = {name: p.detach().requires_grad_() for name, p in theta.items()}
            loss = learner.loss(learner.net(theta, episode.support_x), episode.support_y).sum()
            grads = torch.autograd.grad(loss, list(theta.values()), create_graph=graph)
            theta = {name: p - rate_of(rates, name) * g for (name, p), g in zip(theta.items(), grads, strict=True)}
        outputs = learner.net(theta, episode.query_x, context=_context(learner, episode))
        return learner.loss(outputs, episode.query_y).mean()


def _slope(learner: MAML, params: Params, names: list[str], episode: Episode, direction: Tensor, step: float) -> float:
    """Return the central difference (F(θ + h d) − F(θ − h d)) / 2h, along the direction d with h = `step`."""
    parts = dict(zip(names, direction.split([params[name].numel() for name in names]), strict=True))

    def at(h: float) -> float:
        moved = {name: params[name] + h * part.view_as(params[name]) for name, part in parts.items()}
        return meta_loss(learner, params | moved, episode).item()

    return (at(step) - at(-step)) / (2 * step)


@dataclass(frozen=True)
class HessianShare:
    """The length of the term that first order leaves out, Σ_k H_k (α ⊙ v_{k+1}), relative to the whole gradient v_0.

    Both are averaged over the tasks before their lengths are taken. A share above 1 means that the term is longer than
    the gradient that it is part of.
    """

    whole: float  # the share of all steps, in all parameters
    by_layer: dict[str, float]  # the share of all steps in each parameter, relative to that parameter's gradient
    by_step: list[float]  # the share of each step k = 0 … K − 1, in all parameters
    each: list[dict[str, float]]  # the share of each step in each parameter, relative to that parameter's gradient

    def __str__(self) -> str:
        steps = range(len(self.by_step))
        rows = [("", ["all", *(f"step {k}" for k in steps)])]
        rows.append(("all", [f"{share:.1%}" for share in (self.whole, *self.by_step)]))
        for name, share in self.by_layer.items():
            rows.append((name, [f"{share:.1%}", *(f"{self.each[k][name]:.1%}" for k in steps)]))
        return "\n".join(f"{name:<10}" + "".join(f"{cell:>10}" for cell in cells) for name, cells in rows)


def hessian_share(learner: MAML, params: Params, episode: Episode) -> HessianShare:
    """Measure the Hessian term's share of the meta-gradient, by parameter and by inner step.

    It is computed in the precision of `params`, at second order whatever the learner's own `order` is.

    Args:
        learner: the algorithm.
        params: the parameters, without the task axis.
        episode: the tasks.

    Raises:
        TypeError, ValueError: an argument is of another type or does not fit the others, or there are no inner steps,
            so that there is no such term.
    """
    _check_learner(learner)
    if learner.inner_steps < 1:
        raise ValueError(f"inner_steps={learner.inner_steps} leaves no Hessian term: it must be at least 1")
    rates = learner.rates(params)
    *trajectory, adapted = learner.adapt(params, episode)
    context = _context(learner, episode)
    v = differentiate(learner.net, learner.loss, adapted, episode.query_x, episode.query_y, context=context).gradient()
    terms: list[Params] = []
    for theta in reversed(trajectory):
        support = differentiate(learner.net, learner.loss, theta, episode.support_x, episode.support_y)
        product = support.hessian_vector({name: rate_of(rates, name) * v[name] for name in v})
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


def _check_learner(learner: object) -> None:
    if not isinstance(learner, MAML):
        raise TypeError(f"learner={arguments.shown(learner)} must be MAML, or an algorithm that inherits from it")


def _context(learner: MAML, episode: Episode) -> Tensor | None:
    return None if learner.transductive else episode.support_x


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])
