r"""Layers whose derivatives are written out, and the derivatives of those derivatives too.

Autograd can differentiate a gradient again, but to do so it walks a graph of hundreds of small nodes. For the two
networks of the papers, the same arithmetic fits into a few matrix products, done for all T tasks at once. A layer with
weights w has three maps, and each has a tangent: how its result moves when all weights move along v.

    forward     y     = f(w, x)                    tangent             ẏ
    backward    ∂L/∂x   from ∂L/∂y                 tangent_backward    the movement of ∂L/∂x
    gradient    ∂L/∂w   from ∂L/∂y                 tangent_gradient    the movement of ∂L/∂w

Run through a chain of layers, the left side gives the gradient g of the loss. Both sides together give the movement of
g along v, which is the Hessian-vector product H v (Pearlmutter 1994, "Fast exact multiplication by the Hessian").

The features of T tasks are rows [T, R, C]. A picture of H·W positions is H·W rows, so that B pictures have R = B·H·W
rows. A convolution is a matrix product of the 3×3 patches [T, R, 9·C]. Weights are [T, in, out]. The layers must not
be run under autograd.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..losses import cross_entropy, mse

EPSILON = 1e-3  # added to batch norm's variances, as in the MAML paper's code
Params = dict[str, Tensor]


class Layer:
    """One link of a chain. It keeps what its later maps need. The first link gets no ẋ (None) and returns no ∂L/∂x."""

    def forward(self, params: Params, x: Tensor) -> Tensor:
        raise NotImplementedError

    def backward(self, params: Params, dy: Tensor) -> Tensor | None:
        raise NotImplementedError

    def gradient(self, params: Params) -> Params:
        return {}

    def tangent(self, params: Params, v: Params, x_t: Tensor | None) -> Tensor:
        raise NotImplementedError

    def tangent_backward(self, params: Params, v: Params, dy_t: Tensor) -> Tensor | None:
        raise NotImplementedError

    def tangent_gradient(self, params: Params, v: Params) -> Params:
        return {}


class Tape:
    """The outputs [T, B, out] of T tasks at `params` [T, ...]; their losses and derivatives when they are asked for."""

    def __init__(self, layers: list[Layer], params: Params, x: Tensor, loss: TaskLoss, y: Tensor) -> None:
        self._layers, self._params = layers, params
        for layer in layers:
            x = layer.forward(params, x)
        self.outputs, self._loss, self._y = x, loss, y
        self._slope = SLOPES[loss](x, y)
        dy = self._slope.at
        for layer in reversed(layers):
            dy = layer.backward(params, dy)

    def losses(self) -> Tensor:
        """Return each task's loss: [T]."""
        return self._loss(self.outputs, self._y)

    def gradient(self) -> Params:
        """Return each task's gradient: [T, ...]."""
        grads = {name: g for layer in self._layers for name, g in layer.gradient(self._params).items()}
        return {name: grads[name] for name in self._params}

    def hessian_vector(self, v: Params) -> Params:
        """Return each task's Hessian times its vector: [T, ...]."""
        x_t = None
        for layer in self._layers:
            x_t = layer.tangent(self._params, v, x_t)
        dy_t = self._slope.tangent(x_t)
        for layer in reversed(self._layers):
            dy_t = layer.tangent_backward(self._params, v, dy_t)
        grads = {name: g for layer in self._layers for name, g in layer.tangent_gradient(self._params, v).items()}
        return {name: grads[name] for name in v}


class Linear(Layer):
    """y = x W + b;  ∂x = ∂y Wᵀ;  ∂W = xᵀ ∂y, ∂b = Σ ∂y. The tangents are these by the product rule."""

    def __init__(self, weight: str, bias: str, *, first: bool = False) -> None:
        self.weight, self.bias, self.first = weight, bias, first

    def forward(self, params, x):
        self.x = x
        return affine(x, params[self.weight], params[self.bias])

    def backward(self, params, dy):
        self.dy = dy
        return None if self.first else times(dy, params[self.weight].mT)

    def gradient(self, params):
        return {self.weight: outer(self.x, self.dy), self.bias: self.dy.sum(1)}

    def tangent(self, params, v, x_t):
        self.x_t = x_t
        y_t = affine(self.x, v[self.weight], v[self.bias])
        return y_t if self.first else add_product(y_t, x_t, params[self.weight])

    def tangent_backward(self, params, v, dy_t):
        self.dy_t = dy_t
        if self.first:
            return None
        return add_product(times(dy_t, params[self.weight].mT), self.dy, v[self.weight].mT)

    def tangent_gradient(self, params, v):
        moved = outer(self.x, self.dy_t)
        return {
            self.weight: moved if self.first else add_product(moved, self.x_t.mT, self.dy),
            self.bias: self.dy_t.sum(1),
        }


class Relu(Layer):
    """y = max(x, 0): what comes back, and every tangent, passes where y > 0."""

    def forward(self, params, x):
        self.y = x.relu_()
        return self.y

    def backward(self, params, dy):
        return self._pass(dy)

    def tangent(self, params, v, x_t):
        return self._pass(x_t)

    def tangent_backward(self, params, v, dy_t):
        return self._pass(dy_t)

    def _pass(self, change):
        return torch.ops.aten.threshold_backward(change, self.y, 0)


class Convolution(Layer):
    """A 3×3 convolution of stride 2, on pictures of side `size`: a linear layer on patches. ∂x puts each patch back."""

    def __init__(self, weight: str, size: int) -> None:
        self.weight, self.size = weight, size

    def forward(self, params, x):
        self.x = self._patches(x)
        return times(self.x, params[self.weight])

    def backward(self, params, dy):
        self.dy = dy
        return self._put_back((dy, params[self.weight]))

    def gradient(self, params):
        return {self.weight: outer(self.x, self.dy)}

    def tangent(self, params, v, x_t):
        self.x_t = self._patches(x_t)
        return add_product(times(self.x, v[self.weight]), self.x_t, params[self.weight])

    def tangent_backward(self, params, v, dy_t):
        self.dy_t = dy_t
        return self._put_back((dy_t, params[self.weight]), (self.dy, v[self.weight]))

    def tangent_gradient(self, params, v):
        return {self.weight: add_product(outer(self.x, self.dy_t), self.x_t.mT, self.dy)}

    def _patches(self, x):
        return patches(x.view(x.shape[0], -1, self.size, self.size, x.shape[2]))

    def _put_back(self, *products):
        """Add Σ ∂y Wᵀ, over pairs (∂y, W), where the patches came from.

        The centre of a patch is at an even row and column. An even row is in the middle of one patch (row 1 of its 3),
        and an odd one at the end of a patch (row 2) and at the beginning of the next (row 0). Columns are alike.
        """
        (dy, w), *others = products
        part = times(dy, w.mT)
        for dy, w in others:
            add_product(part, dy, w.mT)
        half, channels = (self.size + 1) // 2, part.shape[2] // 9
        part = part.view(part.shape[0], -1, half, half, 3, 3, channels)  # patches' rows and columns, rows and columns
        x = part.new_empty(*part.shape[:2], half, 2, half, 2, channels)  # the picture's rows and columns
        x.copy_(part[..., 1:, 1:, :].transpose(3, 4))
        x[:, :, :-1, 1] += part[:, :, 1:, :, 0, 1:]
        x[:, :, :, :, :-1, 1] += part[:, :, :, 1:, 1:, 0].transpose(3, 4)
        x[:, :, :-1, 1, :-1, 1] += part[:, :, 1:, 1:, 0, 0]
        picture = x.flatten(4, 5).flatten(2, 3)[:, :, : self.size, : self.size]
        return picture.reshape(len(part), -1, channels)


class BatchNorm(Layer):
    """n = (x − mean) r with r = (variance + ε)^−½, over a task's rows;  y = n + shift.

    The derivative in x is r P, where P u = u − mean(u) − n mean(n u) is symmetric, so that it serves both ∂x and ẏ.
    """

    def __init__(self, shift: str) -> None:
        self.shift = shift

    def forward(self, params, x):
        centred = x - x.mean(1, keepdim=True)
        self.r = (centred.square().mean(1, keepdim=True) + EPSILON).rsqrt()
        self.n = centred.mul_(self.r)
        return self.n + params[self.shift].unsqueeze(1)

    def backward(self, params, dy):
        self.dy = dy
        self.mean_ndy = (self.n * dy).mean(1, keepdim=True)
        self.dx = self._project(dy, self.mean_ndy).mul_(self.r)
        return self.dx

    def gradient(self, params):
        return {self.shift: self.dy.sum(1)}

    def tangent(self, params, v, x_t):
        mean_nx = (self.n * x_t).mean(1, keepdim=True)
        self.n_t = self._project(x_t, mean_nx).mul_(self.r)
        self.r_t_over_r = -self.r * mean_nx
        return self.n_t + v[self.shift].unsqueeze(1)

    def tangent_backward(self, params, v, dy_t):
        # r P ∂y moves with r, with ∂y, and with the two n in P.
        self.dy_t = dy_t
        mean_ndy_t = (self.n * dy_t).addcmul_(self.n_t, self.dy).mean(1, keepdim=True)
        dx_t = self._project(dy_t, mean_ndy_t).addcmul_(self.n_t, self.mean_ndy, value=-1)
        return dx_t.mul_(self.r).addcmul_(self.r_t_over_r, self.dx)

    def tangent_gradient(self, params, v):
        return {self.shift: self.dy_t.sum(1)}

    def _project(self, u, mean_nu):
        return torch.addcmul(u - u.mean(1, keepdim=True), self.n, mean_nu, value=-1)


class FirstBlock(Layer):
    """Convolution and batch norm of the input pictures [T, B, 1, H, W], in one step.

    Nothing learned comes before this layer, so the patches X are constants. With X centred and S their covariance (9×9
    for grey pictures), the products X w have mean 0 and variance wᵀ S w. Batch norm is then a factor on the weights,

        y = X (w r) + shift,    r = (wᵀ S w + ε)^−½,    ∂r = −r³ wᵀ S ∂w

    and the statistics of the largest layer's rows need not be computed or differentiated.
    """

    def __init__(self, weight: str, shift: str) -> None:
        self.weight, self.shift = weight, shift

    def forward(self, params, x):
        self.pictures = x.shape[1]
        x = patches(x.permute(0, 1, 3, 4, 2))
        self.x = x - x.mean(1, keepdim=True)
        self.cov = self._outer(self.x) / x.shape[1]
        w = params[self.weight]
        self.cov_w = torch.bmm(self.cov, w)
        self.r = ((w * self.cov_w).sum(1, keepdim=True) + EPSILON).rsqrt()
        return torch.baddbmm(params[self.shift].unsqueeze(1), self.x, w * self.r)

    def backward(self, params, dy):
        self.d_shift = dy.sum(1)
        self.d_wr = self._outer(dy)  # ∂L/∂(w r)
        self.d_r = (self.d_wr * params[self.weight]).sum(1, keepdim=True)

    def gradient(self, params):
        return {self.weight: self.d_wr * self.r - self.r**3 * self.cov_w * self.d_r, self.shift: self.d_shift}

    def tangent(self, params, v, x_t):
        w, w_t = params[self.weight], v[self.weight]
        self.r_t = -(self.r**3) * (self.cov_w * w_t).sum(1, keepdim=True)
        return torch.baddbmm(v[self.shift].unsqueeze(1), self.x, w_t * self.r + w * self.r_t)

    def tangent_backward(self, params, v, dy_t):
        self.d_shift_t = dy_t.sum(1)
        self.d_wr_t = self._outer(dy_t)
        self.d_r_t = (self.d_wr_t * params[self.weight] + self.d_wr * v[self.weight]).sum(1, keepdim=True)

    def tangent_gradient(self, params, v):
        through_wr = self.d_wr_t * self.r + self.d_wr * self.r_t
        cov_w_t = torch.bmm(self.cov, v[self.weight])
        through_r = self.r**3 * (cov_w_t * self.d_r + self.cov_w * self.d_r_t)
        return {
            self.weight: through_wr - through_r - 3 * self.r**2 * self.r_t * self.cov_w * self.d_r,
            self.shift: self.d_shift_t,
        }

    def _outer(self, dy):
        """Return Xᵀ ∂y, summed picture by picture: a single product, of 9×64 numbers, would leave a GPU idle."""
        x, dy = (rows.unflatten(1, (self.pictures, -1)).flatten(0, 1) for rows in (self.x, dy))
        return torch.bmm(x.mT, dy).unflatten(0, (-1, self.pictures)).sum(1)


class SpatialMean(Layer):
    """The mean over the `area` positions of each picture. It is linear, so that every map is its own tangent."""

    def __init__(self, area: int) -> None:
        self.area = area

    def forward(self, params, x):
        return x.view(x.shape[0], -1, self.area, x.shape[2]).mean(2)

    def backward(self, params, dy):
        return (dy / self.area).unsqueeze(2).expand(-1, -1, self.area, -1).flatten(1, 2)

    def tangent(self, params, v, x_t):
        return self.forward(params, x_t)

    def tangent_backward(self, params, v, dy_t):
        return self.backward(params, dy_t)


class SquaredErrorSlope:
    """L = mean (z − y)²: ∂L/∂z = 2 (z − y) / n."""

    def __init__(self, z: Tensor, y: Tensor) -> None:
        self.factor = 2 / (z.shape[1] * z.shape[2])
        self.at = (z - y).mul_(self.factor)

    def tangent(self, z_t: Tensor) -> Tensor:
        return z_t * self.factor


class CrossEntropySlope:
    """L = −mean log p_y, p = softmax z: ∂L/∂z = (p − one-hot y) / B, and p moves by p ⊙ (ż − p·ż)."""

    def __init__(self, z: Tensor, y: Tensor) -> None:
        self.p = z.softmax(2)
        one_hot = y.unsqueeze(2) == torch.arange(z.shape[2], device=z.device)
        self.at = (self.p - one_hot.to(z.dtype)) / z.shape[1]

    def tangent(self, z_t: Tensor) -> Tensor:
        return self.p * (z_t - (self.p * z_t).sum(2, keepdim=True)) / z_t.shape[1]


TaskLoss = Callable[[Tensor, Tensor], Tensor]
SLOPES = {mse: SquaredErrorSlope, cross_entropy: CrossEntropySlope}


def patches(x: Tensor) -> Tensor:
    """Return the 3×3 patches around every second pixel of x [T, B, H, W, C], with zeros beyond the edge.

    Returns:
        [T, B·⌈H/2⌉·⌈W/2⌉, 9·C].
    """
    tasks, batch, height, width, channels = x.shape
    padded = F.pad(x, (0, 0, 1, 1, 1, 1))
    t, b, h, w, c = padded.stride()
    shape = (tasks, batch, (height + 1) // 2, (width + 1) // 2, 3, 3, channels)
    return padded.as_strided(shape, (t, b, 2 * h, 2 * w, h, w, c)).reshape(tasks, -1, 9 * channels)


def affine(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """Return x w + b, for x [T, R, in], w [T, in, out] and b [T, out]."""
    if w.shape[1] == 1:
        return torch.addcmul(b.unsqueeze(1), x, w)
    return times(x, w).add_(b.unsqueeze(1))


def times(x: Tensor, w: Tensor) -> Tensor:
    """Return x w, for x [T, R, in] and w [T, in, out], the cheapest way: a matrix product is slow if a side is 1."""
    if w.shape[1] == 1:
        return x * w
    if w.stride(0) == 0:  # one w for all tasks, as at the start of adaptation
        return x @ w[0]
    return torch.bmm(x, w)


def outer(x: Tensor, dy: Tensor) -> Tensor:
    """Return xᵀ dy, the sum of outer products over a task's rows: [T, in, out]."""
    if dy.shape[2] == 1:
        return (x * dy).sum(1).unsqueeze(2)
    return torch.bmm(x.mT, dy)


def add_product(total: Tensor, x: Tensor, w: Tensor) -> Tensor:
    """Add x w to `total`, in place."""
    if w.shape[1] == 1:
        return total.addcmul_(x, w)
    return total.baddbmm_(x, w)
