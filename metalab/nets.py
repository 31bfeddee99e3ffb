"""The two networks of the papers, written for many tasks at once.

A network here is a function of its parameters, `net(params, x)`, because a meta-learner differentiates with respect
to parameters that change from task to task. Every parameter and every input carries a leading axis of T tasks:
weights [T, ...], inputs [T, B, ...]. One call runs all the tasks; a network that is not adapted has T = 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from .engine.layers import EPSILON, BatchNorm, Convolution, FirstBlock, Layer, Linear, Params, Relu, SpatialMean


class Net(Protocol):
    def init(self, generator: torch.Generator) -> Params:
        """Fresh parameters, without the task axis, on the generator's device."""
        ...

    def __call__(self, params: Params, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        """params [T, ...] and x [T, B, ...] to outputs [T, B, out]."""
        ...

    def chain(self, x: Tensor) -> list[Layer] | None:
        """Fresh layers that give what `net(params, x)` gives, with derivatives written out; None: there are none."""
        ...


def for_tasks(params: Params, tasks: int) -> Params:
    """The same parameters for each of T tasks: [...] to [T, ...], as views of one memory: do not write to them."""
    return {name: p.detach().expand(tasks, *p.shape) for name, p in params.items()}


def _normal(*shape: int, fan_in: int, gain: float, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device) * (gain / fan_in) ** 0.5


@dataclass(frozen=True)
class MLP:
    """Linear layers with ReLU between: 1-40-40-1 for sine regression (Finn et al. 2017, section 5.1).

    Starts as the paper's code does: biases at zero, weights from a normal distribution of deviation 0.01, cut off at
    two deviations. Larger weights learn faster, but their gradient steps of 0.01 overshoot.
    """

    sizes: tuple[int, ...] = (1, 40, 40, 1)

    def init(self, generator: torch.Generator) -> Params:
        params = {}
        for i, (n_in, n_out) in enumerate(zip(self.sizes, self.sizes[1:], strict=False), start=1):
            weight = torch.empty(n_in, n_out, device=generator.device)
            params[f"w{i}"] = torch.nn.init.trunc_normal_(weight, std=0.01, a=-0.02, b=0.02, generator=generator)
            params[f"b{i}"] = torch.zeros(n_out, device=generator.device)
        return params

    def __call__(self, params: Params, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        """x [T, B, in] to [T, B, out]; `context` is for nets with batch norm, and there is none here."""
        layers = len(self.sizes) - 1
        for i in range(1, layers + 1):
            x = torch.baddbmm(params[f"b{i}"][:, None], x, params[f"w{i}"])
            if i < layers:
                x = x.relu()
        return x

    def chain(self, x: Tensor) -> list[Layer]:
        last = len(self.sizes) - 1
        layers: list[Layer] = [Linear("w1", "b1", first=True)]
        for i in range(2, last + 1):
            layers += [Relu(), Linear(f"w{i}", f"b{i}")]
        return layers


@dataclass(frozen=True)
class Conv4:
    """Four blocks of 3×3 convolution, batch norm and ReLU, for characters (Vinyals et al. 2016).

    `pool="stride"` halves the picture by strided convolution and averages what is left, as MAML does on Omniglot
    (Finn et al. 2017); `pool="max"` halves it by max-pooling, as prototypical networks do (Snell et al. 2017).
    With `outputs` a linear layer follows; without, the output is the embedding. A convolution's weights are a matrix
    [9·in, out], the 3×3 positions row by row and the input channels within: one product with the picture's patches.

    Batch norm has a shift β and no scale (the next layer can undo a scale), and takes its mean and variance from
        the batch itself                  net(params, x)
        a context set, and only from it   net(params, x, context=support_x)
        statistics measured beforehand    net(params, x, stats=net.statistics(params, images))
    """

    outputs: int | None = None
    channels: int = 64
    pool: str = "stride"

    def __post_init__(self) -> None:
        if self.pool not in ("stride", "max"):
            raise ValueError(f'pool={self.pool!r} must be "stride" or "max"')

    def init(self, generator: torch.Generator) -> Params:
        params = {}
        for i in range(1, 5):
            n_in = 1 if i == 1 else self.channels
            params[f"conv{i}"] = _normal(9 * n_in, self.channels, fan_in=9 * n_in, gain=2.0, generator=generator)
            params[f"shift{i}"] = torch.zeros(self.channels, device=generator.device)
        if self.outputs is not None:
            params["head"] = _normal(self.channels, self.outputs, fan_in=self.channels, gain=1.0, generator=generator)
            params["bias"] = torch.zeros(self.outputs, device=generator.device)
        return params

    def __call__(
        self, params: Params, x: Tensor, *, context: Tensor | None = None, stats: Params | None = None
    ) -> Tensor:
        """x [T, B, 1, H, W] to [T, B, outputs], or [T, B, channels] without `outputs`."""
        if context is not None:
            rows = context.shape[1]
            return self._forward(params, torch.cat([context, x], 1), lambda h, i: _normalise_by(h[:rows], h))[:, rows:]
        if stats is not None:
            many = {name: s.repeat(x.shape[0]) for name, s in stats.items()}  # every task's channels alike
            return self._forward(
                params, x, lambda h, i: F.batch_norm(h, many[f"mean{i}"], many[f"variance{i}"], eps=EPSILON)
            )
        return self._forward(params, x, _batch_norm)

    def statistics(self, params: Params, images: Tensor) -> Params:
        """Each layer's mean and variance over images [B, 1, H, W], for one set of params (no task axis).

        Measured once on training images with the final parameters, instead of averaged while they change
        ("precise batch norm", Wu & Johnson 2021).
        """
        stats = {}

        def measure(h: Tensor, i: int) -> Tensor:
            stats[f"mean{i}"], stats[f"variance{i}"] = h.mean((0, 2, 3)), h.var((0, 2, 3), correction=0)
            return _batch_norm(h, i)

        with torch.no_grad():
            self._forward(for_tasks(params, 1), images[None], measure)
        return stats

    def chain(self, x: Tensor) -> list[Layer] | None:
        height, size = x.shape[-2:]
        if self.pool != "stride" or self.outputs is None or height != size:
            return None
        layers: list[Layer] = [FirstBlock("conv1", "shift1"), Relu()]
        for i in range(2, 5):
            size = (size + 1) // 2
            layers += [Convolution(f"conv{i}", size), BatchNorm(f"shift{i}"), Relu()]
        return [*layers, SpatialMean(((size + 1) // 2) ** 2), Linear("head", "bias")]

    def _forward(self, params: Params, x: Tensor, normalise: Callable[[Tensor, int], Tensor]) -> Tensor:
        tasks, batch = x.shape[:2]
        stride = 2 if self.pool == "stride" else 1
        # All tasks in one convolution: the tasks' channels side by side, each task a group with weights of its own.
        x = x.transpose(0, 1).flatten(1, 2)  # [B, T*1, H, W]
        for i in range(1, 5):
            kernel = params[f"conv{i}"].unflatten(1, (3, 3, -1)).permute(0, 4, 3, 1, 2)  # [T, out, in, 3, 3]
            kernel = kernel.flatten(0, 1)
            if tasks == 1:  # a third faster on a CPU than channels first
                kernel = kernel.contiguous(memory_format=torch.channels_last)
                x = x.contiguous(memory_format=torch.channels_last)
            x = F.conv2d(x, kernel, stride=stride, padding=1, groups=tasks)
            x = normalise(x, i) + params[f"shift{i}"].reshape(1, -1, 1, 1)
            x = x.relu()
            if self.pool == "max":
                x = F.max_pool2d(x, 2)
        x = x.mean((2, 3)).view(batch, tasks, self.channels).transpose(0, 1)  # [T, B, channels]
        if self.outputs is not None:
            x = torch.baddbmm(params["bias"][:, None], x, params["head"])
        return x


def _batch_norm(h: Tensor, layer: int) -> Tensor:
    """Normalise h [B, channels, H, W] by its own statistics; tasks lie in separate channels."""
    return F.batch_norm(h, None, None, training=True, eps=EPSILON)


def _normalise_by(context: Tensor, h: Tensor) -> Tensor:
    mean = context.mean((0, 2, 3), keepdim=True)
    variance = (context - mean).square().mean((0, 2, 3), keepdim=True)
    return (h - mean) * (variance + EPSILON).rsqrt()
