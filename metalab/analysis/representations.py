"""What adapts? How a network represents its inputs layer by layer, and how much adaptation changes this."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import arguments
from ..learners import MAML
from ..nets import Net, Params
from ..tasks import Episode


def linear_cka(x: Tensor, y: Tensor) -> Tensor:
    """Return the linear CKA (Kornblith et al. 2019) of two representations of the same B inputs.

    With centred columns, it is ‖yᵀx‖² / (‖xᵀx‖ ‖yᵀy‖), a number between 0 and 1. It is 1 if one representation is the
    other one turned, mirrored, shifted, or scaled as a whole. With few inputs and many features, it is close to 1 for
    any representations. It is computed from the B×B products, so that p and q may be large.

    Args:
        x: one representation [..., B, p].
        y: the other [..., B, q].

    Returns:
        The similarity [...]; nan where a representation is the same for all inputs.

    Raises:
        TypeError, ValueError: the arguments are no such tensors, or the numbers of inputs differ, or are less than 3.
            (For two inputs it is always 1.)
    """
    for name, z in {"x": x, "y": y}.items():
        if not isinstance(z, Tensor) or z.dim() < 2 or not z.is_floating_point():
            raise TypeError(f"{name}={arguments.shown(z)} must be a floating-point tensor [..., B, features]")
    if x.shape[-2] != y.shape[-2] or x.shape[-2] < 3:
        raise ValueError(
            f"x has {x.shape[-2]} inputs and y has {y.shape[-2]}: they must be the same inputs, at least 3"
        )
    x, y = (z - z.mean(-2, keepdim=True) for z in (x, y))
    x, y = x @ x.mT, y @ y.mT  # [..., B, B]
    return (x * y).sum((-2, -1)) / (x.norm(dim=(-2, -1)) * y.norm(dim=(-2, -1)))


def activations(net: Net, params: Params, x: Tensor) -> Params:
    """Return the output of each layer for inputs x [T, B, ...], by the name of the layer's weights: [T, B, features].

    The output is taken after the layer's ReLU. In Conv4's last block it is taken after the mean over positions, and in
    the last layer it is the network's output.

    Raises:
        TypeError, ValueError: the arguments do not fit one another.
        ValueError: the net has no chain of layers to look into. (Conv4 with max-pooling has none, for example.)
    """
    if isinstance(net, type) or not callable(getattr(net, "chain", None)):
        raise TypeError(f"net={arguments.shown(net)} must be a network such as MLP()")
    if not isinstance(params, dict):
        raise TypeError(f"params={arguments.shown(params)} must be a dictionary of tensors [T, ...]")
    chain = net.chain(x)
    if chain is None:
        raise ValueError(f"{net} has no chain of layers for inputs of shape {list(x.shape)}")
    tasks, inputs = x.shape[:2]
    found, name = {}, ""
    with torch.no_grad():
        for layer in chain:
            try:
                x = layer.forward(params, x)
            except KeyError as missing:
                raise ValueError(f"params has no {missing}") from None
            name = getattr(layer, "weight", name)  # a layer without weights belongs to the one before it
            found[name] = x
    return {name: z.reshape(tasks, inputs, -1) for name, z in found.items()}


def layer_similarity(learner: MAML, params: Params, episode: Episode) -> dict[str, Tensor]:
    """Compare how each layer represents the queries before and after adaptation.

    Raghu et al. (2020, "Rapid learning or feature reuse?") found that adaptation leaves the body of a MAML network
    almost unchanged, and that only the head adapts. Batch norm takes the statistics of the queries.

    Returns:
        The linear CKA of each layer and task, by the name of the layer's weights: [T].

    Raises:
        TypeError, ValueError: the arguments do not fit one another.
        ValueError: the net has no chain of layers, or a task has fewer than 3 queries.
    """
    if not isinstance(learner, MAML):
        raise TypeError(f"learner={arguments.shown(learner)} must be MAML, or an algorithm that inherits from it")
    before, *_, after = (activations(learner.net, theta, episode.query_x) for theta in learner.adapt(params, episode))
    return {name: linear_cka(before[name], after[name]) for name in before}
