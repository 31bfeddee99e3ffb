"""The optimizers of the outer loop, on one vector that holds all parameters.

They keep their learning rate and everything they need in tensors on the device, so that a CUDA graph can hold a step.
Adam calls PyTorch's functional form: the object `torch.optim.Adam` takes 0.1 ms longer for a step, which is an eighth
of a meta-step on sines.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.optim.adam import adam

from .arguments import floats, shapes, shown


class Optimizer(Protocol):
    """Changes a vector of parameters [P] in place.

    Attributes:
        rate: the learning rate, a tensor without axes.
        state: what it keeps from step to step, in tensors that are changed in place.
    """

    rate: Tensor
    state: dict[str, Tensor]

    def __init__(self, params: Tensor) -> None: ...

    def step(self, gradient: Tensor) -> None:
        """Make a step along the gradient [P], downhill."""
        ...


class Adam:
    """Adam (Kingma & Ba 2015), with the paper's β₁ = 0.9, β₂ = 0.999 and ε = 10⁻⁸."""

    def __init__(self, params: Tensor) -> None:
        _check_vector(params)
        self.params = params
        self._on_gpu = params.device.type == "cuda"
        # On a CPU the kernel computes with the rate in double precision; a GPU's kernel takes single precision only.
        precision = torch.float32 if self._on_gpu else torch.float64
        self.rate = torch.zeros((), device=params.device, dtype=precision)
        count = torch.zeros((), device=params.device)
        self.state = {"mean": torch.zeros_like(params), "square": torch.zeros_like(params), "count": count}

    def step(self, gradient: Tensor) -> None:
        """Make a step along the gradient [P], downhill.

        Raises:
            ValueError: the gradient is not like the parameters.
        """
        _check_gradient(self.params, gradient)
        mean, square, count = self.state.values()
        adam(
            *([self.params], [gradient.contiguous()], [mean], [square], [], [count]),
            fused=True,
            capturable=self._on_gpu,
            lr=self.rate,
            beta1=0.9,
            beta2=0.999,
            eps=1e-8,
            weight_decay=0.0,
            amsgrad=False,
            maximize=False,
        )


class Descent:
    """Plain gradient descent, params − rate · gradient. On Reptile's gradient this is Reptile's interpolation."""

    def __init__(self, params: Tensor) -> None:
        _check_vector(params)
        self.params = params
        self.rate = torch.zeros((), device=params.device, dtype=params.dtype)
        self.state: dict[str, Tensor] = {}

    def step(self, gradient: Tensor) -> None:
        """Make a step along the gradient [P], downhill.

        Raises:
            ValueError: the gradient is not like the parameters.
        """
        _check_gradient(self.params, gradient)
        self.params.addcmul_(gradient, self.rate, value=-1)


def _check_vector(params: Tensor) -> None:
    shapes(params=(params, "P"))
    floats(params=params)
    if not params.is_contiguous():  # the kernels take the numbers as they lie in memory
        raise ValueError("params must be contiguous: params.contiguous()")


def _check_gradient(params: Tensor, gradient: Tensor) -> None:
    # The kernels do not look: they would read memory beyond a shorter gradient, and a number would be broadcast.
    if not isinstance(gradient, Tensor):
        raise TypeError(f"gradient={shown(gradient)} must be a tensor")
    if gradient.shape != params.shape or gradient.dtype != params.dtype:
        raise ValueError(
            f"gradient is {gradient.dtype} of shape {list(gradient.shape)}; it must be like the parameters, "
            f"{params.dtype} of shape {list(params.shape)}"
        )
