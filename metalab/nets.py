"""The two networks of the papers, written for many tasks at once.

A network here is a function of its parameters, `net(params, x)`, because a meta-learner differentiates with respect
to parameters that change from task to task. Every parameter and every input has a leading axis of T tasks: weights
are [T, ...] and inputs are [T, B, ...]. One call runs all the tasks. A network that is not adapted has T = 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from . import arguments
from .engine.derivatives import Net as Net
from .engine.layers import EPSILON, BatchNorm, Convolution, FirstBlock, Layer, Linear, Relu, SpatialMean
from .engine.layers import Params as Params


def for_tasks(params: Params, tasks: int) -> Params:
    """Give each of T tasks the same parameters: [...] to [T, ...]. They share one memory, so do not write to them.

    Raises:
        TypeError, ValueError: `params` is no dictionary of tensors, or `tasks` is less than 1.
    """
    arguments.whole(tasks=tasks)
    try:
        return {name: p.detach().expand(tasks, *p.shape) for name, p in params.items()}
    except AttributeError:
        raise TypeError(f"params={arguments.shown(params)} must be a dictionary of tensors") from None


def normal(*shape: int, fan_in: int, gain: float, generator: torch.Generator) -> Tensor:
    """Draw normal weights of variance gain / fan_in; a gain of 2 suits layers with ReLU (He et al. 2015)."""
    return torch.randn(shape, generator=generator, device=generator.device) * (gain / fan_in) ** 0.5


@dataclass(frozen=True)
class MLP:
    """Linear layers with ReLU between them, of widths 1-40-40-1 for sine regression (Finn et al. 2017, section 5.1).

    The first parameters are drawn as in the paper's code: biases are zero, and weights come from a normal distribution
    of standard deviation 0.01, truncated at two deviations. A network with larger weights learns faster, but its
    gradient steps of 0.01 overshoot.

    Args:
        sizes: the widths of the input, of the hidden layers and of the output.

    Raises:
        TypeError, ValueError: there are fewer than two widths, or one is less than 1.
    """

    sizes: tuple[int, ...] = (1, 40, 40, 1)
    between: ClassVar[Callable[[Tensor], Tensor]] = staticmethod(torch.relu)  # the function between the layers

    def __post_init__(self) -> None:
        if not isinstance(self.sizes, tuple) or len(self.sizes) < 2:
            raise TypeError(
                f"sizes={arguments.shown(self.sizes)} must be a tuple of at least two widths: (1, 40, 40, 1)"
            )
        arguments.whole(**{f"sizes[{i}]": size for i, size in enumerate(self.sizes)})

    def init(self, generator: torch.Generator) -> Params:
        """Draw fresh parameters on the generator's device: weights w1, w2, … [in, out] and biases b1, b2, … [out].

        Raises:
            TypeError: `generator` is no generator.
        """
        arguments.generator(generator)
        params = {}
        for i, (n_in, n_out) in enumerate(zip(self.sizes, self.sizes[1:], strict=False), start=1):
            weight = torch.empty(n_in, n_out, device=generator.device)
            params[f"w{i}"] = torch.nn.init.trunc_normal_(weight, std=0.01, a=-0.02, b=0.02, generator=generator)
            params[f"b{i}"] = torch.zeros(n_out, device=generator.device)
        return params

    def __call__(self, params: Params, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        """Map inputs x [T, B, in] to outputs [T, B, out]. `context` is ignored, because there is no batch norm here.

        Raises:
            TypeError, ValueError: x is no such tensor.
        """
        self._check(x)
        layers = len(self.sizes) - 1
        check_params(params, [f"{kind}{i}" for i in range(1, layers + 1) for kind in "wb"], x)
        for i in range(1, layers + 1):
            x = torch.baddbmm(params[f"b{i}"][:, None], x, params[f"w{i}"])
            if i < layers:
                x = self.between(x)
        return x

    def chain(self, x: Tensor) -> list[Layer]:
        """Return fresh layers that compute the same as this network, with derivatives written out.

        Raises:
            TypeError, ValueError: x is no such tensor as the network takes.
        """
        self._check(x)
        last = len(self.sizes) - 1
        layers: list[Layer] = [Linear("w1", "b1", first=True)]
        for i in range(2, last + 1):
            layers += [Relu(), Linear(f"w{i}", f"b{i}")]
        return layers

    def _check(self, x: Tensor) -> None:
        if getattr(x, "shape", ())[2:] != self.sizes[:1]:
            arguments.shapes(x=(x, f"T B {self.sizes[0]}"))


@dataclass(frozen=True)
class Tanh(MLP):
    """Linear layers with tanh between them, whose outputs are features for a Bayesian last layer or for a kernel.

    Tanh makes smooth features. The weights are drawn as is usual for it (Glorot & Bengio 2010, equation 16), because
    these networks are not adapted by gradient steps, which larger weights would make overshoot. The biases of the first
    layer spread the bends of its units over the inputs −5 … 5 of the sines.

    Args:
        sizes: the widths of the input, of the hidden layers and of the output.

    Raises:
        TypeError, ValueError: there are fewer than two widths, or one is less than 1.
    """

    sizes: tuple[int, ...] = (1, 128, 128, 32)
    between: ClassVar[Callable[[Tensor], Tensor]] = staticmethod(torch.tanh)

    def init(self, generator: torch.Generator) -> Params:
        """Draw fresh parameters on the generator's device: weights w1, w2, … [in, out] and biases b1, b2, … [out].

        Raises:
            TypeError: `generator` is no generator.
        """
        params = super().init(generator)
        for i, (n_in, n_out) in enumerate(zip(self.sizes, self.sizes[1:], strict=False), start=1):
            bound = (6 / (n_in + n_out)) ** 0.5 if i > 1 else 1.0
            torch.nn.init.uniform_(params[f"w{i}"], -bound, bound, generator=generator)
        torch.nn.init.uniform_(params["b1"], -5.0, 5.0, generator=generator)
        return params

    def chain(self, x: Tensor) -> None:
        """Return None: the derivatives are autograd's."""
        self._check(x)


@dataclass(frozen=True)
class Conv4:
    """Four blocks of 3×3 convolution, batch norm and ReLU, for characters (Vinyals et al. 2016).

    The weights of a convolution are a matrix [9·in, out], so that one product with the 3×3 patches of a picture
    computes it. The rows of the matrix go through the 3×3 positions row by row, and through the input channels at each.

    Batch norm has a shift β and no scale, because a following layer could undo it. It takes its mean and variance from
        the batch itself                  net(params, x)
        a context set, and only from it   net(params, x, context=support_x)
        statistics measured beforehand    net(params, x, stats=net.statistics(params, images))

    Args:
        outputs: the number of outputs of a linear layer at the end; None: no such layer, and the output is the
            embedding of `channels` numbers, as many as the last block has.
        channels: the number of channels of each block; or four numbers, one for each block. The first blocks have the
            largest pictures, so that (16, 32, 64, 128) costs about as much as 32 and learns more.
        pool: how a block halves the picture: "stride" by strided convolution, as MAML does on Omniglot (Finn et al.
            2017), or "max" by max-pooling, as prototypical networks do (Snell et al. 2017). The positions that remain
            after the last block are averaged.

    Raises:
        TypeError, ValueError: `outputs` or `channels` is less than 1, or `channels` is a tuple of other than four, or
            `pool` is neither "stride" nor "max".
    """

    outputs: int | None = None
    channels: int | tuple[int, int, int, int] = 64
    pool: str = "stride"

    def __post_init__(self) -> None:
        if self.outputs is not None:
            arguments.whole(outputs=self.outputs)
        if isinstance(self.channels, tuple) and len(self.channels) != 4:
            raise ValueError(f"channels={self.channels} must be one number, or one for each of the 4 blocks")
        for count in self.widths:
            arguments.whole(channels=count)
        arguments.one_of(("stride", "max"), pool=self.pool)

    @property
    def widths(self) -> tuple[int, int, int, int]:
        """The number of channels of each block; the last one is the width of the embedding."""
        return self.channels if isinstance(self.channels, tuple) else (self.channels,) * 4

    def init(self, generator: torch.Generator) -> Params:
        """Draw fresh parameters on the generator's device.

        Returns:
            conv1 … conv4 [9·in, channels] and shift1 … shift4 [channels]; with `outputs` also head [channels, outputs]
            and bias [outputs].

        Raises:
            TypeError: `generator` is no generator.
        """
        arguments.generator(generator)
        params = {}
        for i, (n_in, n_out) in enumerate(zip((1, *self.widths), self.widths, strict=False), start=1):
            params[f"conv{i}"] = normal(9 * n_in, n_out, fan_in=9 * n_in, gain=2.0, generator=generator)
            params[f"shift{i}"] = torch.zeros(n_out, device=generator.device)
        if self.outputs is not None:
            params["head"] = normal(n_out, self.outputs, fan_in=n_out, gain=1.0, generator=generator)
            params["bias"] = torch.zeros(self.outputs, device=generator.device)
        return params

    def __call__(
        self, params: Params, x: Tensor, *, context: Tensor | None = None, stats: Params | None = None
    ) -> Tensor:
        """Map pictures x [T, B, 1, H, W] to [T, B, outputs], or to [T, B, channels] without `outputs`.

        Args:
            params: the parameters [T, ...].
            x: the pictures.
            context: if given, batch norm takes its statistics from these pictures [T, S, 1, H, W] instead of from x.
            stats: if given, batch norm uses these statistics, which `statistics` measured, for every task.

        Raises:
            TypeError, ValueError: x or the context is no such tensor, or both a context and statistics are given.
        """
        self._check(x)
        self._check_params(params, x)
        if context is not None:
            self._check(context, "context")
            if stats is not None:
                raise ValueError("context and stats are two sources of the same statistics: give one of them")
        if context is not None:
            rows = context.shape[1]
            return self._forward(params, torch.cat([context, x], 1), lambda h, i: _normalise_by(h[:rows], h))[:, rows:]
        if stats is not None:
            many = {name: s.repeat(x.shape[0]) for name, s in stats.items()}  # the same for every task's channels
            return self._forward(
                params, x, lambda h, i: F.batch_norm(h, many[f"mean{i}"], many[f"variance{i}"], eps=EPSILON)
            )
        return self._forward(params, x, _batch_norm)

    def statistics(self, params: Params, images: Tensor) -> Params:
        """Measure each layer's mean and variance over images [B, 1, H, W], for params without a task axis.

        They are measured once, on training images and with the final parameters, instead of being averaged while the
        parameters change ("precise batch norm", Wu & Johnson 2021).

        Returns:
            mean1 … mean4 and variance1 … variance4, each [channels].

        Raises:
            TypeError, ValueError: the images are no such tensor.
        """
        arguments.shapes(images=(images, "B 1 H W"))
        self._check_params(params)
        stats = {}

        def measure(h: Tensor, i: int) -> Tensor:
            stats[f"mean{i}"], stats[f"variance{i}"] = h.mean((0, 2, 3)), h.var((0, 2, 3), correction=0)
            return _batch_norm(h, i)

        with torch.no_grad():
            self._forward(for_tasks(params, 1), images[None], measure)
        return stats

    def chain(self, x: Tensor) -> list[Layer] | None:
        """Return fresh layers that compute `net(params, x)`, with derivatives written out.

        None is returned where no such layers exist: with max-pooling, without `outputs`, and for pictures that are not
        square.

        Raises:
            TypeError, ValueError: x is no such tensor as the network takes.
        """
        self._check(x)
        height, size = x.shape[-2:]
        if self.pool != "stride" or self.outputs is None or height != size:
            return None
        layers: list[Layer] = [FirstBlock("conv1", "shift1"), Relu()]
        for i in range(2, 5):
            size = (size + 1) // 2
            layers += [Convolution(f"conv{i}", size), BatchNorm(f"shift{i}"), Relu()]
        return [*layers, SpatialMean(((size + 1) // 2) ** 2), Linear("head", "bias")]

    def _check(self, x: Tensor, name: str = "x") -> None:
        least = 16 if self.pool == "max" else 1  # pixels; each block halves what the one before it leaves
        if not isinstance(x, Tensor) or x.dim() != 5 or x.shape[2] != 1 or min(x.shape[3:]) < least:
            arguments.shapes(**{name: (x, "T B 1 H W")})
            raise ValueError(
                f"{name} has the shape {list(x.shape)}: max-pooling needs pictures of 16 x 16 pixels at least"
            )

    def _check_params(self, params: Params, x: Tensor | None = None) -> None:
        head = [] if self.outputs is None else ["head", "bias"]
        check_params(params, [f"{kind}{i}" for i in range(1, 5) for kind in ("conv", "shift")] + head, x)

    def _forward(self, params: Params, x: Tensor, normalise: Callable[[Tensor, int], Tensor]) -> Tensor:
        tasks, batch = x.shape[:2]
        stride = 2 if self.pool == "stride" else 1
        # One convolution runs all the tasks: their channels lie next to one another, and each task is a group of
        # channels with its own weights.
        x = x.transpose(0, 1).flatten(1, 2)  # [B, T*1, H, W]
        for i in range(1, 5):
            kernel = params[f"conv{i}"].unflatten(1, (3, 3, -1)).permute(0, 4, 3, 1, 2)  # [T, out, in, 3, 3]
            kernel = kernel.flatten(0, 1)
            if tasks == 1:  # channels last is a third faster on a CPU than channels first
                kernel = kernel.contiguous(memory_format=torch.channels_last)
                x = x.contiguous(memory_format=torch.channels_last)
            x = F.conv2d(x, kernel, stride=stride, padding=1, groups=tasks)
            x = normalise(x, i) + params[f"shift{i}"].reshape(1, -1, 1, 1)
            x = x.relu()
            if self.pool == "max":
                x = F.max_pool2d(x, 2)
        x = x.mean((2, 3)).view(batch, tasks, -1).transpose(0, 1)  # [T, B, channels of the last block]
        if self.outputs is not None:
            x = torch.baddbmm(params["bias"][:, None], x, params["head"])
        return x


def check_params(params: Params, names: Iterable[str], x: Tensor | None = None) -> None:
    """Check that parameters have these names, and the number of tasks of x if it is given.

    Raises:
        TypeError: `params` is no dictionary of tensors.
        ValueError: one is missing, or is for another number of tasks.
    """
    if not isinstance(params, dict) or not all(isinstance(p, Tensor) for p in params.values()):
        raise TypeError(f"params={arguments.shown(params)} must be a dictionary of tensors, as net.init makes")
    for name in names:
        if name not in params:
            raise ValueError(f"params has no {name}")
        if x is not None and (not params[name].dim() or len(params[name]) != len(x)):
            raise ValueError(
                f"{name} of params has the shape {list(params[name].shape)}; its first axis must be the {len(x)} tasks "
                "of x, as for_tasks makes it"
            )


def _batch_norm(h: Tensor, layer: int) -> Tensor:
    """Normalise h [B, T*channels, H, W] by its own statistics. Tasks do not mix: their channels are separate."""
    return F.batch_norm(h, None, None, training=True, eps=EPSILON)


def _normalise_by(context: Tensor, h: Tensor) -> Tensor:
    """Normalise h by the statistics of `context`; both are [B, T*channels, H, W]."""
    mean = context.mean((0, 2, 3), keepdim=True)
    variance = (context - mean).square().mean((0, 2, 3), keepdim=True)
    return (h - mean) * (variance + EPSILON).rsqrt()
