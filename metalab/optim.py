"""The optimizers of the outer loop, on one vector that holds all parameters.

They keep their learning rate and everything they need in tensors on the device, so that a CUDA graph can hold a step.
Adam calls PyTorch's functional form: the object `torch.optim.Adam` takes 0.1 ms longer for a step, which is an eighth
of a meta-step on sines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.optim.adam import adam

from .arguments import floats, function, real, shapes, shown

MOMENTUM = 0.95  # of Muon
AVERAGE = "average"  # the name of the averaged parameters in the state of `Averaged`


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


class Muon:
    """Muon for hidden layers (Jordan et al. 2024, kellerjordan.github.io/posts/muon), and Adam for what is left.

    Adam scales each number of a gradient by itself. Muon takes a layer's gradient as a matrix, averages it over steps,
    and replaces it by (nearly) the nearest matrix whose singular values are all 1: the layer learns in all directions
    at the same speed, the rare ones too.

        layout = {name: p.shape for name, p in learner.init(generator).items()}
        Trainer(learner, sample, optimizer=partial(Muon, layout=layout, hidden=("conv2", "conv3", "conv4")))

    Args:
        params: the parameters [P].
        layout: the shape of each parameter by its name, in the order in which they lie in `params`.
        hidden: the names of the matrices [in, out] that Muon changes.
        share: Adam's learning rate as a share of Muon's.

    Raises:
        TypeError, ValueError: the layout is not that of the parameters, or `hidden` names what is no matrix there.
    """

    def __init__(
        self, params: Tensor, *, layout: Mapping[str, Sequence[int]], hidden: Sequence[str], share: float = 0.2
    ) -> None:
        _check_vector(params)
        real(least=0, share=share)
        if not isinstance(layout, Mapping) or sum(map(math.prod, layout.values())) != len(params):
            raise ValueError(f"layout={shown(layout)} must have the shapes of all {len(params)} parameters, by name")
        parts = dict(zip(layout, params.split([math.prod(shape) for shape in layout.values()]), strict=True))
        if not isinstance(hidden, list | tuple):
            raise TypeError(f"hidden={shown(hidden)} must be a list of names")
        if wrong := [name for name in hidden if len(layout.get(name, ())) != 2]:
            raise ValueError(f"hidden has {shown(wrong[0])}, which is no matrix of the layout: {', '.join(layout)}")
        self.params = params
        self.rate = torch.zeros((), device=params.device, dtype=params.dtype)
        self._share, self._adam = share, Adam(params)
        momentum = torch.zeros_like(params)
        self.state = self._adam.state | {"momentum": momentum}
        # Adam sees a gradient of 0, and changes nothing, where Muon does.
        self._for_adam = torch.cat([torch.full_like(part, name not in hidden) for name, part in parts.items()])
        self._sizes, self._layout, self._hidden = [part.numel() for part in parts.values()], layout, hidden

    def step(self, gradient: Tensor) -> None:
        """Make a step along the gradient [P], downhill.

        Raises:
            ValueError: the gradient is not like the parameters.
        """
        _check_gradient(self.params, gradient)
        self._adam.rate.copy_(self._share * self.rate)
        self._adam.step(gradient * self._for_adam)
        momentum = self.state["momentum"].mul_(MOMENTUM).add_(gradient)
        ahead = torch.add(gradient, momentum, alpha=MOMENTUM)  # Nesterov's
        parts = zip(self._layout.items(), self.params.split(self._sizes), ahead.split(self._sizes), strict=True)
        for (name, shape), part, g in parts:
            if name in self._hidden:
                rows, columns = shape
                scale = max(1.0, rows / columns) ** 0.5
                part.view(rows, columns).addcmul_(orthogonal(g.view(rows, columns)), self.rate, value=-scale)


class Averaged:
    """Another optimizer, and an average of its parameters over the steps (Polyak & Juditsky 1992), in `state`.

    After each step, average ← decay · average + (1 − decay) · params. It lags behind by some 1 / (1 − decay) steps, and
    has much less noise. `Trainer.averaged` returns it.

    Args:
        params: the parameters [P].
        of: makes the optimizer that takes the steps.
        decay: in 0 … 1.

    Raises:
        TypeError, ValueError: `params` is no vector, `of` cannot be called, or `decay` is not in 0 … 1.
    """

    def __init__(self, params: Tensor, *, of: Callable[[Tensor], Optimizer] = Adam, decay: float = 0.999) -> None:
        _check_vector(params)
        function(of=of)
        real(least=0, most=1, decay=decay)
        self.params, self._optimizer, self._decay = params, of(params), decay
        self.rate = self._optimizer.rate
        self.state = self._optimizer.state | {AVERAGE: params.clone()}

    def step(self, gradient: Tensor) -> None:
        """Make a step along the gradient [P], downhill, and average.

        Raises:
            ValueError: the gradient is not like the parameters.
        """
        self._optimizer.step(gradient)
        self.state[AVERAGE].lerp_(self.params, 1 - self._decay)


def orthogonal(matrix: Tensor) -> Tensor:
    """Return nearly the orthogonal matrix nearest to `matrix` [m, n]: its singular values become about 1 (0.7 … 1.2).

    Five steps of an iteration after Newton and Schulz do that: x ← (3.4445 − 4.7750 a + 2.0315 a²) x, a = x xᵀ. With
    Jordan's coefficients, small singular values grow fast, and all of them end near 1 and not at it. The factors
    commute, so that they are multiplied first, and x is met only twice: this is half the work for a long matrix.

    Raises:
        TypeError, ValueError: it is no such tensor of floating-point numbers.
    """
    shapes(matrix=(matrix, "m n"))
    floats(matrix=matrix)
    long = len(matrix) > matrix.shape[1]
    x = matrix.mT if long else matrix  # the products are smaller
    x = x / (x.norm() + 1e-7)
    a = x @ x.mT
    one = torch.eye(len(a), dtype=a.dtype, device=a.device)
    product = one
    for _ in range(5):
        factor = torch.addmm(3.4445 * one - 4.7750 * a, a, a, alpha=2.0315)
        product = product @ factor
        a = factor @ a @ factor
    x = product @ x
    return x.mT if long else x


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
