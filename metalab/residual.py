"""A small residual network (He et al. 2016) that embeds characters, for learners that compare embeddings.

As in `metalab.nets`, it is a function of its parameters, which have a leading axis of T tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from . import arguments
from .engine.layers import EPSILON
from .nets import Params, check_params, for_tasks, normal


@dataclass(frozen=True)
class Residual:
    """A 3×3 convolution, then stages of one residual block of two; a max-pooling halves the picture between stages.

        block:  h ↦ relu(shortcut(h) + norm(conv(relu(norm(conv(h))))))

    The shortcut is h itself, or norm(conv 1×1) where the width changes. The positions that remain after the last stage
    are averaged. Batch norm has a scale and a shift. As in `Conv4`, it takes its statistics from the batch itself, or
    from `stats`, and a weight is a matrix [k·k·in, out].

    Args:
        widths: the channels of each stage; the last one is the width of the embedding.
        halve_first: whether the picture is halved before the first stage too; for pictures of about 56 pixels.
        bfloat16: whether activations and products of the convolutions are in bfloat16. On a GPU this is several times
            faster; parameters, statistics and outputs keep their precision. For training: test without it.

    Raises:
        TypeError, ValueError: `widths` is no tuple of whole numbers above 0, or a flag is not True or False.
    """

    widths: tuple[int, ...] = (64, 128, 256, 256)
    halve_first: bool = False
    bfloat16: bool = False
    outputs = None  # as of a Conv4 that embeds: there is no linear layer at the end

    def __post_init__(self) -> None:
        if not isinstance(self.widths, tuple) or not self.widths:
            raise TypeError(f"widths={arguments.shown(self.widths)} must be a tuple of at least one width: (64, 128)")
        arguments.whole(**{f"widths[{i}]": width for i, width in enumerate(self.widths)})
        arguments.flag(halve_first=self.halve_first, bfloat16=self.bfloat16)

    def convolutions(self) -> Iterator[tuple[str, int, int, int]]:
        """Yield for each convolution: its name, the side of its kernel, and the channels of its input and output."""
        before = self.widths[0]
        yield "0", 3, 1, before
        for i, width in enumerate(self.widths, 1):
            yield f"{i}a", 3, before, width
            yield f"{i}b", 3, width, width
            if width != before:
                yield f"{i}short", 1, before, width
            before = width

    def init(self, generator: torch.Generator) -> Params:
        """Draw fresh parameters on the generator's device: conv… [k·k·in, out], scale… and shift… [out].

        Raises:
            TypeError: `generator` is no generator.
        """
        arguments.generator(generator)
        params = {}
        for name, side, n_in, n_out in self.convolutions():
            fan_in = side**2 * n_in
            params[f"conv{name}"] = normal(fan_in, n_out, fan_in=fan_in, gain=2.0, generator=generator)
            params[f"scale{name}"] = torch.ones(n_out, device=generator.device)
            params[f"shift{name}"] = torch.zeros(n_out, device=generator.device)
        return params

    def __call__(self, params: Params, x: Tensor, *, stats: Params | None = None) -> Tensor:
        """Map pictures x [T, B, 1, H, W] to embeddings [T, B, E].

        Args:
            params: the parameters [T, ...].
            x: the pictures.
            stats: if given, batch norm uses these statistics, which `statistics` measured, for every task.

        Raises:
            TypeError, ValueError: x is no such tensor, or the parameters do not fit it.
        """
        arguments.shapes(x=(x, "T B 1 H W"))
        check_params(params, self._names(), x)
        if stats is None:
            return self._forward(params, x, lambda h, _name: (None, None))
        many = {name: s.repeat(x.shape[0]) for name, s in stats.items()}  # the same for every task's channels
        return self._forward(params, x, lambda h, name: (many[f"mean{name}"], many[f"variance{name}"]))

    def statistics(self, params: Params, images: Tensor) -> Params:
        """Measure each layer's mean and variance over images [B, 1, H, W], for params without a task axis.

        Returns:
            mean… and variance…, each [channels], as `Conv4.statistics`.

        Raises:
            TypeError, ValueError: the images are no such tensor.
        """
        arguments.shapes(images=(images, "B 1 H W"))
        check_params(params, self._names())
        stats = {}

        def measure(h: Tensor, name: str) -> tuple[None, None]:
            variance, mean = torch.var_mean(h.float() if self.bfloat16 else h, (0, 2, 3), correction=0)
            stats[f"mean{name}"], stats[f"variance{name}"] = mean, variance
            return None, None

        with torch.no_grad():
            self._forward(for_tasks(params, 1), images[None], measure)
        return stats

    def _names(self) -> list[str]:
        return [f"{kind}{name}" for name, *_sizes in self.convolutions() for kind in ("conv", "scale", "shift")]

    def _forward(
        self, params: Params, x: Tensor, statistics: Callable[[Tensor, str], tuple[Tensor | None, Tensor | None]]
    ) -> Tensor:
        tasks, batch = x.shape[:2]
        sides = {name: side for name, side, *_channels in self.convolutions()}
        precision = torch.bfloat16 if self.bfloat16 else x.dtype

        def conv_norm(h: Tensor, name: str) -> Tensor:
            side = sides[name]
            kernel = params[f"conv{name}"].unflatten(1, (side, side, -1)).permute(0, 4, 3, 1, 2)  # [T, out, in, k, k]
            kernel = kernel.flatten(0, 1).to(precision, memory_format=torch.channels_last)
            h = F.conv2d(h, kernel, padding=side // 2, groups=tasks)  # each task is a group of channels
            scale, shift = (params[f"{kind}{name}"].flatten() for kind in ("scale", "shift"))
            mean, variance = statistics(h, name)
            return F.batch_norm(h, mean, variance, scale, shift, training=mean is None, eps=EPSILON)

        x = x.transpose(0, 1).flatten(1, 2).to(precision, memory_format=torch.channels_last)  # [B, T*1, H, W]
        x = conv_norm(x, "0").relu()
        for i in range(1, len(self.widths) + 1):
            if i > 1 or self.halve_first:
                x = F.max_pool2d(x, 2, ceil_mode=True)
            short = conv_norm(x, f"{i}short") if f"{i}short" in sides else x
            x = (short + conv_norm(conv_norm(x, f"{i}a").relu(), f"{i}b")).relu()
        x = x.to(params["conv0"].dtype).mean((2, 3))
        return x.view(batch, tasks, -1).transpose(0, 1)  # [T, B, E]
