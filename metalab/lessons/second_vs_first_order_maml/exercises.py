"""The exercises of the orders lesson: a Hessian-vector product, the whole meta-gradient, and its two terms.

The learner's functions see the parameters as a list of tensors, and a loss as a function of such a list.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ..kit.comparing import Case, Misconception, Numbers, Wrong, agree, combined, describe
from ..kit.exercise import Exercise
from ..kit.figures import plural
from ..kit.lists import (
    AND_OTHERS,
    CLOSE,
    FIVE,
    FOUR,
    GRAD_LEFT,
    OF_LISTS,
    THREE,
    TWO,
    WORDS,
    Call,
    LossOfParams,
    Shapes,
    agree_on_lists,
    all_same,
    code_of,
    draw_tensors,
    equal_grads,
    flattened,
    grads_of,
    numbers_of,
    of_one_shape,
    sum_in_words,
    tip_for,
    weights_of_parts,
)
from . import solutions

__all__ = ["hessian_vector", "meta_gradient", "two_terms"]


EXACT = 1e-12  # the relative error that derivatives in double precision stay below, and finite differences do not
NEARLY_EXACT = 1e-10  # the same through several inner steps, where roundings add up


# The problems of the checks


def _params(shapes: Shapes, seed: int = 0, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [p.to(dtype).requires_grad_() for p in draw_tensors(shapes, seed)]


def _loss(shapes: Shapes, seed: int) -> LossOfParams:
    """Return the mean squared error of a smooth network on six points, as a function of a list of tensors.

    It computes in the precision of the list.
    """
    x, y = draw_tensors([(6, shapes[0][0]), (6, shapes[-1][-1])], seed)

    def loss(params: Sequence[Tensor]) -> Tensor:
        if not isinstance(params, tuple | list) or not all(isinstance(p, Tensor) for p in params):
            raise TypeError(f"loss takes one argument, a list of tensors like `params`; it got {describe(params)}")
        if len(params) != len(shapes):
            raise TypeError(f"loss takes the whole list of {len(shapes)} tensors; it got {len(params)}")
        answers, wanted = (values.to(params[0].dtype) for values in (x, y))
        for p in params:
            answers = torch.tanh(answers) @ p if p.dim() > 1 else answers + p
        return ((answers - 50 * wanted) ** 2).mean()  # its gradients are longer than people's limits for them

    loss.__qualname__ = "loss"  # what Python's messages call it
    return loss


def _gradient(loss: LossOfParams, params: Sequence[Tensor], **options: bool) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss(params), params, **options)


# Lists of tensors, and what they are made of


def _like(values: Tensor, params: Sequence[Tensor]) -> list[Tensor]:
    """Return a long vector in pieces that are shaped like params."""
    pieces = values.split([p.numel() for p in params])
    return [piece.view_as(p) for piece, p in zip(pieces, params, strict=True)]


# How a function is tried


def _expect_precision(result: Any, params: Sequence[Tensor], what: str) -> None:
    """Expect tensors in the precision of params, where that is single."""
    for tensor in result if isinstance(result, tuple | list) else []:
        if isinstance(tensor, Tensor) and params[0].dtype == torch.float32 != tensor.dtype:
            raise Wrong(
                f"The numbers are right in double precision. But where `params` are in single precision (float32), "
                f"{what} has a tensor in {str(tensor.dtype).removeprefix('torch.')}. It should have the precision of "
                "`params`. Is a precision written into the code?"
            )


# What to say about errors whose message contains one of these pieces; the first one counts
OF_GRADIENTS = {
    "'NoneType' object": (
        "Something is None there. One function that returns nothing is backward(); torch.autograd.grad returns the "
        "gradients."
    ),
    "NoneType": (
        "Something is None there. A gradient is, if it is asked for a tensor that the loss was not computed from, and "
        ".grad is, until backward() has filled it."
    ),
    "leaf Variable": (
        "A tensor that autograd follows is changed in place there, and that cannot be differentiated. Make a new "
        "tensor, as p - … does."
    ),
    "One of the differentiated Tensors does not require grad": (
        "The derivative is asked for with respect to tensors that autograd does not follow, such as detached copies "
        "or constants. Ask for it with respect to `params`."
    ),
    "not have been used in the graph": (
        "The derivative is asked for with respect to tensors that play no part in what is differentiated. Is one of "
        "the two a copy, or made anew from a number, as with item()? A number does not know what it came from."
    ),
    "a second time": (
        "The first differentiation has freed the graph, and a later one needs it. Ask for all gradients in one call, "
        "or keep the graph."
    ),
    "'function' object": "A function is there, where its value is meant, such as loss(params).",
    "'float' object": "A plain number is there. item() and float() make one of a tensor, and numbers have no graph.",
    "1D tensors expected": "torch.dot is for tensors with one axis; (g * v).sum() is for those of any shape.",
    "loss() takes 1 positional": "loss takes the whole list as its one argument, as in loss(params).",
    "only for scalar outputs": "Only one number can be differentiated like that, and this is more than one.",
}


# hessian_vector


def _single() -> list[Tensor]:
    """Return parameters in single precision, with gradients from before."""
    params = _params(FOUR, dtype=torch.float32)
    for p in params:
        p.grad = torch.ones_like(p)
    return params


SINGLE_WORDS = f"{WORDS[FOUR]} and single precision"
WIDE: Shapes = ((6, 6), (6, 6))  # 72 parameters, for which a whole Hessian costs some 70 products
COSTLY = 12  # times our arithmetic: any way of taking a product needs less, and a Hessian far more


def _hessian_vector_case(shapes: Shapes, of_params: bool) -> Case:
    """Return a case whose vector is computed from the parameters, as the gradient of another loss, or is a constant."""

    def make() -> tuple[LossOfParams, list[Tensor], list[Tensor]]:
        params = _params(shapes)
        vector = list(_gradient(_loss(shapes, seed=2), params, create_graph=True))
        return _loss(shapes, seed=1), params, vector if of_params else [v.detach() for v in vector]

    return Case(what=WORDS.get(shapes, "wide tensors"), make=make)


def _with_a_constant(loss: LossOfParams, params: list[Tensor]) -> tuple[LossOfParams, list[Tensor], list[Tensor]]:
    shapes = tuple(tuple(p.shape) for p in params)
    return loss, params, [g.detach() for g in _gradient(_loss(shapes, seed=2), params)]


HESSIAN_VECTOR_CASES = [
    _hessian_vector_case(TWO, of_params=True),
    _hessian_vector_case(THREE, of_params=True),
    _hessian_vector_case(FIVE, of_params=False),
    Case(what=SINGLE_WORDS, make=lambda: _with_a_constant(_loss(FOUR, seed=1), _single())),
]
OTHER_HESSIAN_VECTOR_CASE = Case(
    what=WORDS[TWO] + AND_OTHERS, make=lambda: _with_a_constant(_loss(TWO, seed=4), _params(TWO, seed=3))
)


class _Second:
    """The arguments and the derivatives of a case as long vectors, and the Hessian as a matrix."""

    def __init__(self, loss: LossOfParams, params: list[Tensor], vector: list[Tensor]) -> None:
        gradients = _gradient(loss, params, create_graph=True)
        entries = torch.cat([g.flatten() for g in gradients])
        self.params = params
        self.value = loss(params).item()
        self.hessian = torch.stack([flattened(self._derivative(entry)) for entry in entries])
        self.g, self.p, self.v = flattened(gradients), flattened(params), flattened(vector)
        dot = sum((g.detach() * v).sum() for g, v in zip(gradients, vector, strict=True))
        self.from_vector = flattened(
            self._derivative(dot) if dot.requires_grad else [torch.zeros_like(p) for p in params]
        )

    def _derivative(self, of: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(of, self.params, retain_graph=True, allow_unused=True, materialize_grads=True)

    def each(self, values: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the values, where each tensor's have been changed. A result of one number fills the tensor."""
        return flattened(change(piece).expand_as(piece) for piece in _like(values, self.params))

    def by_tensor(self) -> list[Tensor]:
        """Return for each tensor of the vector what it contributes to the product."""
        columns = self.hessian.split([p.numel() for p in self.params], dim=1)
        return [c @ v.flatten() for c, v in zip(columns, _like(self.v, self.params), strict=True)]

    def reordered(self, values: Tensor, order: Callable[[list[Tensor]], list[Tensor]]) -> Tensor:
        """Return the values with order(the values of each tensor), where they are all of one shape."""
        return flattened(order(_like(values, self.params))) if of_one_shape(self.params) else values

    def blocks(self) -> Tensor:
        """Return the Hessian's diagonal blocks, in a matrix that is zero elsewhere."""
        return torch.block_diag(
            *(self.hessian[rows][:, rows] for rows in torch.arange(len(self.p)).split([p.numel() for p in self.params]))
        )


def _product(of: Callable[[_Second], Tensor]) -> Callable:
    """Return a product that is wrong: of(the case's derivatives), a long vector."""
    return lambda loss, params, vector: _like(of(_Second(loss, params, vector)).to(params[0].dtype), params)


def _third(first: bool, second: bool) -> Callable:
    """Return the gradient of v·H·v. Where the two are true, the vector is differentiated in that place."""

    def wrong(loss: LossOfParams, params: list[Tensor], vector: list[Tensor]) -> Sequence[Tensor]:
        inner, outer = ([v if kept else v.detach() for v in vector] for kept in (first, second))
        product = torch.autograd.grad(_gradient(loss, params, create_graph=True), params, inner, create_graph=True)
        dot = sum((h * v).sum() for h, v in zip(product, outer, strict=True))
        return torch.autograd.grad(dot, params)

    return wrong


def _gradients_along(loss: LossOfParams, params: list[Tensor], vector: list[Tensor]) -> list[tuple[Tensor, ...]]:
    """Return the gradients at params plus the vector, and at params."""
    ends = [[p + v for p, v in zip(params, vector, strict=True)], params]
    return [_gradient(loss, [p.detach().requires_grad_() for p in end]) for end in ends]


def _matrix_product(second: _Second, axis: int, column: bool) -> Tensor:
    """Return the product that comes out where g @ v is summed, or g.T @ v, g @ v.T or g.T @ v.T, and not g * v."""

    def effective(v: Tensor) -> Tensor:
        return v.sum(dim=axis).unsqueeze(1 if column else 0) if v.shape == v.mT.shape else v

    return second.hessian @ second.each(second.v, effective)


CUT_BEFORE_FIRST = (
    "The graph is cut before the first differentiation: the loss was computed from tensors that autograd does not "
    "follow, such as detached copies, or under no_grad. Hand `params` themselves to loss."
)
CUT_BEFORE_SECOND = (
    "The graph is cut before the second differentiation: the gradients are numbers that no longer know how they depend "
    "on `params`, and the derivative of constants is zero. What must the first torch.autograd.grad keep?"
)
CUT_SOMEWHERE = (
    "What is differentiated there no longer depends on `params`: the graph has been cut before. A first "
    "differentiation that does not keep its graph does that to the gradients, and so do detach, .data and no_grad."
)
MATRIX_PRODUCT = (
    "Gradient and vector are multiplied as matrices, by @, and then all entries are added up. The dot product "
    "multiplies entry by entry: (g * v).sum(). Only for tensors with one axis are the two the same."
)
OTHERS_PART = (
    "The gradients are not multiplied with their own tensors of the vector, but with those of another one. Do the two "
    "lists go through your loop side by side?"
)
DOUBLED = (
    "The product is twice as large as it should be, and right otherwise. Is something added up twice, or is it the "
    "derivative of a square?"
)

HESSIAN_VECTOR_MISTAKES: list[Misconception] = [
    (
        "The sign is wrong: this is minus H·v. A minus comes later, in the recursion, which subtracts α times "
        "the product. Is something subtracted that should be added?",
        _product(lambda s: -(s.hessian @ s.v)),
    ),
    (DOUBLED, _product(lambda s: 2 * (s.hessian @ s.v))),
    (CUT_BEFORE_SECOND, _product(lambda s: s.from_vector)),
    (
        "The vector is differentiated as well: it was computed from `params`, so by the product rule a second term, "
        "how the vector changes, has come in. In MAML that would count the query loss's curvature too. How do you make "
        "a constant of a tensor?",
        _product(lambda s: s.hessian @ s.v + s.from_vector),
    ),
    (
        "The gradient is multiplied with the vector, but not differentiated again: there is no second derivative in "
        "it. Add the products up to one number. What is the derivative of that number?",
        _product(lambda s: s.g * s.v),
    ),
    (
        "This is the gradient of the loss. The vector plays no part in it, and no second derivative does. (The "
        "derivative of g·v with respect to v is g too.) With respect to what must g·v be differentiated?",
        _product(lambda s: s.g),
    ),
    (
        "The vector comes back as it went in, as if the Hessian were the identity. Which function must be "
        "differentiated twice?",
        _product(lambda s: s.v),
    ),
    (
        "The Hessian is applied twice: this is H·H·v. In the meta-gradient of one inner step it appears once. Is the "
        "result put through the product a second time?",
        _product(lambda s: s.hessian @ s.hessian @ s.v),
    ),
    *(
        (
            "It differentiates once too often: this is the gradient of v·H·v, with third derivatives. What the second "
            "differentiation returns is H·v already.",
            _third(*kept),
        )
        for kept in ((False, False), (True, False), (True, True))
    ),
    (
        "The square of the loss is differentiated, and not the loss. Its second derivatives are others: a term with "
        "g gᵀ comes in. Differentiate loss(params) itself.",
        _product(lambda s: 2 * s.value * (s.hessian @ s.v) + 2 * s.g * (s.g @ s.v)),
    ),
    (
        "The logarithm of the loss is differentiated, and not the loss. Its second derivatives are others: a term with "
        "g gᵀ comes in. Differentiate loss(params) itself.",
        _product(lambda s: s.hessian @ s.v / s.value - s.g * (s.g @ s.v) / s.value**2),
    ),
    (
        "The signs are lost: these are the absolute values of the entries of H·v. The gradient can change in both "
        "directions along the vector, so keep the signs.",
        _product(lambda s: (s.hessian @ s.v).abs()),
    ),
    (
        "This is the Hessian at another point, at `params` plus the vector, times the vector. The loss is to be "
        "differentiated at `params`.",
        lambda loss, params, vector: solutions.hessian_vector(
            loss, [(p + v).detach().requires_grad_() for p, v in zip(params, vector, strict=True)], vector
        ),
    ),
    (
        "It multiplies the gradient by its own product with the vector: g gᵀ v. That is the outer product of "
        "gradients, which some use in place of a Hessian, but it has only first derivatives. Differentiate the product "
        "instead.",
        _product(lambda s: s.g * (s.g @ s.v)),
    ),
    (
        "The Hessian is multiplied with the gradient, not with the vector. The vector plays no part in this result. "
        "With what must the gradient be multiplied before it is differentiated again?",
        _product(lambda s: s.hessian @ s.g),
    ),
    (
        "The Hessian is multiplied with `params`, not with the vector. Which two lists go through your loop side by "
        "side?",
        _product(lambda s: s.hessian @ s.p),
    ),
    (
        "The gradients are added up before the vector comes in, so it multiplies the Hessian's row sums, entry by "
        "entry. That is H·v only where the vector is the same everywhere. Multiply first, then add up, then "
        "differentiate.",
        _product(lambda s: s.hessian.sum(dim=1) * s.v),
    ),
    (
        "The gradients' entries are added up and then differentiated, without the vector: these are the Hessian's row "
        "sums. Multiply each entry by the vector's before you add up.",
        _product(lambda s: s.hessian.sum(dim=1)),
    ),
    (
        "Within a tensor the vector's entries are added up, or averaged, before they meet the gradient's, so all "
        "entries of the gradient get one weight. Multiply entry by entry, then add up.",
        _product(lambda s: s.hessian @ s.each(s.v, torch.sum)),
    ),
    (
        "Within a tensor the vector's entries are added up, or averaged, before they meet the gradient's, so all "
        "entries of the gradient get one weight. Multiply entry by entry, then add up.",
        _product(lambda s: s.hessian @ s.each(s.v, torch.mean)),
    ),
    *(
        (MATRIX_PRODUCT, _product(functools.partial(_matrix_product, axis=axis, column=column)))
        for axis in (0, 1)
        for column in (False, True)
    ),
    (
        "The vector is transposed before it meets the gradient, as in the trace of g @ v. The dot product multiplies "
        "entry by entry: (g * v).sum().",
        _product(lambda s: s.hessian @ s.each(s.v, lambda v: v.mT if v.shape == v.mT.shape else v)),
    ),
    (
        "The products of gradient and vector are averaged within each tensor, where they should be added up: each part "
        "of the vector is divided by the number of its entries. A dot product is a sum.",
        _product(lambda s: s.hessian @ s.each(s.v, lambda v: v / v.numel())),
    ),
    (
        "The product is divided by the number of tensors. Is a mean taken over the list, where a sum belongs? A dot "
        "product is a sum, over the entries and over the tensors.",
        _product(lambda s: s.hessian @ s.v / len(s.params)),
    ),
    (
        "Each gradient is multiplied with every tensor of the vector, and not only with its own. Are there two loops, "
        "one inside the other, where the two lists should be gone through side by side?",
        _product(lambda s: s.hessian @ s.reordered(s.v, lambda pieces: [sum(pieces)] * len(pieces))),
    ),
    (
        "The product is multiplied with the vector once more, entry by entry. What the second differentiation returns "
        "is H·v already.",
        _product(lambda s: (s.hessian @ s.v) * s.v),
    ),
    (
        "It is the difference of the gradients at `params` plus the vector and at `params`. That is H·v only if the "
        "loss is quadratic, because the Hessian changes on the way. Differentiate the gradient at `params` instead.",
        lambda loss, params, vector: [a - b for a, b in zip(*_gradients_along(loss, params, vector), strict=True)],
    ),
    (
        "It is the gradient at another point, at `params` plus the vector, and not a derivative of the gradient. How "
        "does the gradient change at `params`, in the direction of the vector?",
        lambda loss, params, vector: _gradients_along(loss, params, vector)[0],
    ),
    (
        "The vector is divided by its length first. H·v grows with v, and the lesson needs it for the vector as it "
        "is. Leave the length alone.",
        _product(lambda s: s.hessian @ s.v / s.v.norm()),
    ),
    (
        "Only the Hessian's diagonal is used: each entry of the vector is multiplied by its own second derivative. How "
        "one parameter's gradient changes with another parameter is left out. Add up one number over all entries, and "
        "differentiate that.",
        _product(lambda s: s.hessian.diag() * s.v),
    ),
    (
        "Each tensor is taken by itself: how one layer's gradient changes with another layer is left out. These are "
        "only the blocks on the Hessian's diagonal. Add up one number over all tensors, and differentiate that.",
        _product(lambda s: s.blocks() @ s.v),
    ),
    (OTHERS_PART, _product(lambda s: s.hessian @ s.reordered(s.v, lambda pieces: pieces[::-1]))),
    (OTHERS_PART, _product(lambda s: s.hessian @ s.reordered(s.v, lambda pieces: pieces[1:] + pieces[:1]))),
    (OTHERS_PART, _product(lambda s: s.hessian @ s.reordered(s.v, lambda pieces: pieces[:1] * len(pieces)))),
    (
        "The product is right, but its tensors stand in the opposite order. The result should be in the order of "
        "`params`.",
        _product(lambda s: s.reordered(s.hessian @ s.v, lambda pieces: pieces[::-1])),
    ),
    (
        "`params` and the vector are exchanged: this is the Hessian at the vector, times `params`. The loss is to be "
        "differentiated at `params`.",
        lambda loss, params, vector: solutions.hessian_vector(
            loss, [v.detach().requires_grad_() for v in vector], params
        ),
    ),
]

# The parts that a result may be a sum of, in the words of the messages
PARTS: dict[str, Callable[[_Second], Tensor]] = {
    "H·v": lambda s: s.hessian @ s.v,
    "v": lambda s: s.v,
    "the gradient g": lambda s: s.g,
    "`params`": lambda s: s.p,
    "H·g": lambda s: s.hessian @ s.g,
    "H·`params`": lambda s: s.hessian @ s.p,
    "H·H·v": lambda s: s.hessian @ s.hessian @ s.v,
    "the term from differentiating v": lambda s: s.from_vector,
}


def _still_has_its_graph(call: Call) -> bool:
    try:
        torch.autograd.grad(call.losses[-1], call.arguments[1], retain_graph=True)
    except (IndexError, RuntimeError):  # no loss was computed, or its graph was freed when the gradients were taken
        return False
    return True


def _hessian_vector_tip(says: str, call: Call) -> str | None:
    if "element 0 of tensors does not require grad" in says:
        if not all(loss.requires_grad for loss in call.losses):
            return CUT_BEFORE_FIRST
        return CUT_SOMEWHERE if _still_has_its_graph(call) else CUT_BEFORE_SECOND
    if "Mismatch in shape: grad_output" in says:
        return (
            "grad_outputs needs the shapes of what is differentiated. The loss is one number; the gradients have the "
            "shapes of the vector. In which of the two differentiations does the vector belong?"
        )
    return tip_for(says, OF_LISTS | OF_GRADIENTS)


def _the_product(result: Any, arguments: tuple) -> Numbers:
    _expect_precision(result, arguments[1], "the result")
    if isinstance(result, Tensor) and result.numel() == 1:
        raise Wrong(
            "It returns one number, such as the dot product g·v. H·v is a list of tensors like `params`, with one "
            "number for each parameter. How does g·v change with each of them?"
        )
    return numbers_of(result, arguments[1], "the product")


def _facts_of_product(cases: Sequence[Case], calls: list[Call]) -> str | None:
    """Say what the product is, if it is a sum of known parts."""
    exact = 100 * EXACT if all(t.dtype == torch.float64 for call in calls for t in call.result) else CLOSE
    seconds = [_Second(*case.make()) for case in cases]  # fresh ones, whose graphs nobody has freed
    solved = [s.hessian @ flattened(call.result) - s.v for call, s in zip(calls, seconds, strict=True)]
    if all(rest.norm() <= 1e-6 * s.v.norm() for rest, s in zip(solved, seconds, strict=True)):
        return (
            "It solves H·x = v: multiplied with the Hessian, this result gives the vector back. What is asked for is "
            "H·v itself, with no inverse."
        )
    by_tensor = [
        weights_of_parts(call.result, *([part] for part in second.by_tensor()), error=exact)
        for call, second in zip(calls, seconds, strict=True)
    ]
    if None not in by_tensor and all(w == 0 or all_same(1, w) for weights in by_tensor for w in weights):
        parts = next((weights for weights in by_tensor if 0 in weights), [])
        used = [f"vector[{i}]" for i, weight in enumerate(parts) if weight]
        if not used:  # it is exactly right, or zero
            return None
        return (
            f"With {len(parts)} tensors, the result depends on {' and '.join(used)} alone; the rest of the vector has "
            "no effect. Is the dot product added up over the whole list, or is it overwritten?"
        )
    fitted = []
    for call, second in zip(calls, seconds, strict=True):
        weights = weights_of_parts(call.result, *([part(second)] for part in PARTS.values()), error=exact)
        if weights is None:
            return None if None in by_tensor else _unequal(by_tensor)
        fitted.append(dict(zip(PARTS, weights, strict=True)))
    others = {name for of_call in fitted for name, weight in of_call.items() if weight} - {"H·v"}
    wrong = (
        i for i, of_call in enumerate(fitted) if not all_same(1, of_call["H·v"]) or sum(map(bool, of_call.values())) > 1
    )
    shown = next(wrong, 0)
    what = f"With the arguments {code_of('hessian_vector', shown)} this is {sum_in_words(fitted[shown])}"
    if others == {"v"} and all(all_same(1, of_call["v"]) and of_call["H·v"] < 0 for of_call in fitted):
        return (
            f"{what}, a whole step of the recursion that comes next in the lesson. That step belongs to Exercise 2. "
            "Return H·v alone."
        )
    if others == {"v"} and all(all_same(1, of_call["H·v"]) for of_call in fitted):
        return f"{what}, so a multiple of the vector is added to the product, as for damping. Return H·v alone."
    if others:
        return f"{what}, where it should be H·v alone."
    factors = [of_call["H·v"] for of_call in fitted]
    if not all_same(*factors):
        times = [f"{factor:.4g} times H·v with {case.what}" for factor, case in zip(factors, cases, strict=True)]
        return f"This is {' and '.join(times)}. By what is the product multiplied or divided?"
    return (
        f"This is {factors[0]:.4g} times H·v, and right otherwise. Where does the factor come from? (A learning rate "
        "has no place here; the lesson multiplies by it later.)"
    )


def _unequal(by_tensor: list[list[float]]) -> str:
    shown, weights = next((i, each) for i, each in enumerate(by_tensor) if not all_same(1, *each))
    return (
        f"The tensors of the vector do not count equally. With the arguments {code_of('hessian_vector', shown)} they "
        f"count {' and '.join(f'{weight:.4g}' for weight in weights)} times in the result, and each should count once."
    )


UNDIVIDED = (
    "The difference of two gradients is like that if it is not divided by the step between them. Even divided it would "
    "be approximate. Differentiate the gradient instead, which is exact."
)


def _nearness(calls: list[Call]) -> str | None:
    """Say so if the product is nearly right, apart from one factor."""
    factors, errors = [], []
    for call in calls:
        got, want = flattened(call.result), flattened(solutions.hessian_vector(*call.arguments))
        factors.append((got @ want / (want @ want)).item())
        errors.append(((got - factors[-1] * want).norm() / got.norm()).item())
    if not max(errors) < 0.1:  # not a number for a result that is zero
        return None
    if all(abs(factor - 1) < 0.1 for factor in factors):
        error = max(errors + [abs(factor - 1) for factor in factors])
        return (
            f"This is H·v, but only approximately: the relative error is {error:.0e}, as with the difference "
            "of two gradients. The exact product, right to 15 digits, costs no more. What can be differentiated a "
            "second time?"
        )
    if all(abs(factor / factors[0] - 1) < 0.2 for factor in factors):
        return f"This is about {factors[0]:.1g} times H·v, and not exactly. {UNDIVIDED}"
    return None


def _explain_product(cases: Sequence[Case], calls: list[Call]) -> Iterator[Misconception]:
    yield from HESSIAN_VECTOR_MISTAKES
    if not all(call.can_be_explained() for call in calls):
        return
    if says := _facts_of_product(cases, calls):
        raise Wrong(says)
    if all(len(call.losses) > 1 for call in calls) and (says := _nearness(calls)):
        raise Wrong(says)


def _examine_hessian_vector(attempt: Callable) -> None:
    first, others = HESSIAN_VECTOR_CASES[:2], [*HESSIAN_VECTOR_CASES[:3], OTHER_HESSIAN_VECTOR_CASE]
    for cases, tolerance in ((first, EXACT), (others, EXACT), (HESSIAN_VECTOR_CASES, None)):
        agree_on_lists(
            attempt,
            answer=solutions.hessian_vector,
            cases=cases,
            numbers=_the_product,
            explain=functools.partial(_explain_product, cases),
            tip=_hessian_vector_tip,
            tolerance=tolerance,
        )
    if _too_costly(attempt, solutions.hessian_vector, _hessian_vector_case(WIDE, of_params=False)):
        raise Wrong(
            "The product is right, but it costs as much as the whole Hessian, which is a differentiation for every "
            "parameter, where two are enough. With 100,000 parameters the matrix would fill 40 GB. Let the vector in "
            "before you differentiate again."
        )


def _too_costly(attempt: Callable, ours: Callable, case: Case) -> bool:
    """Tell whether the attempt needs far more arithmetic than our answer. It is counted in all matrix products."""
    counts = []
    for function in (ours, attempt):  # ours first, because the first count loads modules, which takes seconds
        with FlopCounterMode(display=False) as counter:
            function(*case.make())
        counts.append(counter.get_total_flops())
    return counts[1] > COSTLY * counts[0]


hessian_vector = Exercise(
    answer=solutions.hessian_vector,
    difficulty="medium",
    minutes=10,
    statement=(
        "Compute the Hessian of a loss times a vector, exactly, and without ever building the Hessian. The vector "
        "counts as a constant, even where it was computed from params."
    ),
    hints=(
        "H·v is the gradient of one number: of g·v, with g the gradient of the loss and v held constant.",
        "So there are two calls of torch.autograd.grad: the first for g, with create_graph=True, the second for the "
        "number g·v, the sum over all tensors of (g * v).sum().",
        "v may depend on params: v.detach() is a constant. (Or let autograd take the dot product, by "
        "torch.autograd.grad(grads, params, grad_outputs=vector).)",
    ),
    cases=HESSIAN_VECTOR_CASES,
    seconds=20.0,
    examine=_examine_hessian_vector,
    in_place=(
        "It changes `params` or the vector, which the lesson goes on using: the next product would be taken at another "
        "point. Make new tensors instead."
    ),
)


# meta_gradient


def _meta_gradient_case(shapes: Shapes, inner_lr: float, steps: int, *, others: bool = False) -> Case:
    def make() -> tuple[LossOfParams, LossOfParams, list[Tensor], float, int]:
        seeds = (4, 6, 3) if others else (1, 2, 0)
        return _loss(shapes, seed=seeds[0]), _loss(shapes, seed=seeds[1]), _params(shapes, seeds[2]), inner_lr, steps

    what = f"{plural(steps, 'inner step')}, {WORDS.get(shapes, 'wide tensors')}{AND_OTHERS if others else ''}"
    return Case(what=what, make=make)


META_GRADIENT_CASES = [
    _meta_gradient_case(TWO, 0.03, 2),
    _meta_gradient_case(THREE, 0.014, 4),
    _meta_gradient_case(FIVE, 0.009, 3),
    Case(
        what=f"1 inner step, {SINGLE_WORDS}",
        make=lambda: (_loss(FOUR, seed=1), _loss(FOUR, seed=2), _single(), 0.02, 1),
    ),
]
OTHER_META_GRADIENT_CASE = _meta_gradient_case(TWO, 0.025, 2, others=True)


def _recursion(
    support_loss: LossOfParams,
    query_loss: LossOfParams,
    params: list[Tensor],
    inner_lr: float,
    steps: int,
    *,
    inner: str = "",
    count: int = 0,
    begin: str = "",
    which: str = "",
    at: str = "",
    of: str = "",
    forward: bool = False,
    kept: bool = False,
    sign: float = -1,
    rate: int = 1,
    identity: bool = True,
    minus: bool = False,
) -> list[Tensor]:
    """Return the meta-gradient by the recursion. Each keyword is something that can go wrong in it."""
    points = [params]
    for _ in range(max(0, steps + count)):
        theta = params if inner == "restarts" else points[-1]
        gradients = _gradient(query_loss if inner == "on the query set" else support_loss, theta)
        step = {"climbs": -inner_lr, "whole": 1.0}.get(inner, inner_lr)
        moved = [p - step * g for p, g in zip(theta, gradients, strict=True)]
        points.append([p.detach().requires_grad_() for p in moved])
    *starts, end = points
    v = list(_gradient(support_loss if begin == "support" else query_loss, params if begin == "start" else end))
    last = list(v)
    where = {"first": [params] * len(starts), "end": [end] * len(starts), "after": points[1:], "all": points}.get(
        at, starts
    )
    where = {"last": where[-1:], "first": where[:1], "none": []}.get(which, where)
    for theta in where if forward else reversed(where):
        loss = query_loss if of == "query" else support_loss
        product = solutions.hessian_vector(loss, theta, last if kept else v)
        v = [identity * a + sign * inner_lr**rate * b for a, b in zip(v, product, strict=True)]
    return [-a if minus else a for a in v]


FIRST_ORDER = (
    "This is the first-order meta-gradient: the gradient of the query loss at the adapted parameters, with no Hessian "
    "in it. Either the walk back through the steps is missing, or the graph is cut where it is differentiated through "
    "the steps."
)
WRONG_TURNS = {
    "which": {
        "none": FIRST_ORDER,
        "last": "Only the last inner step is walked back through; the earlier ones count as if they did not depend on "
        "the start. How far back does your loop go?",
        "first": "Only the first inner step is walked back through. A factor I - αH belongs to each of the steps.",
    },
    "at": {
        "first": "The Hessian is taken at `params` in every step. In step k it is that of the point from which the "
        "step set out, θ_k. Which points does the way forward have to keep?",
        "end": "The Hessian is taken at the adapted parameters, θ_K, in every step. In step k it is that of the point "
        "from which the step set out, θ_k. Which points does the way forward have to keep?",
        "after": "The Hessians are taken one point too late: where each step has arrived, θ_{k+1}, and not from where "
        "it set out, θ_k. The last of them would be at θ_K, from which no step sets out.",
        "all": "There is one factor too many: the walk back begins with a Hessian at θ_K, from which no step sets out. "
        "The points whose factors count are θ_0 … θ_{K-1}, one for each step.",
    },
    "forward": {
        True: "The factors stand in the opposite order: the loop goes from the first step to the last. The query "
        "gradient belongs to the end, so the last step's factor meets it first. (Matrices do not commute.)"
    },
    "of": {
        "query": "The Hessian is that of the query loss. What is differentiated again is the inner step, and inner "
        "steps are taken on the support loss."
    },
    "sign": {
        +1: "The sign before the Hessian is wrong: these are factors I + αH. The inner step subtracts α times the "
        "gradient, and so does its derivative."
    },
    "rate": {
        0: "The Hessian is not multiplied by inner_lr: these are factors I - H. How far does a step go?",
        2: "The Hessian is multiplied by inner_lr twice: these are factors I - α²H. Is the rate in both of your loops, "
        "and once more in the product?",
    },
    "identity": {
        False: "The I of I - αH is missing: v is replaced by -αHv, where αHv should be subtracted from it. θ_{k+1} "
        "depends on θ_k also directly, and not only through the gradient."
    },
    "kept": {
        True: "Every Hessian is multiplied with the query gradient, v_K. It should be multiplied with the vector that "
        "has already come back through the later steps, v_{k+1}. Does your loop go on with the new v?"
    },
    "begin": {
        "start": "The vector that travels back is the query gradient at `params`. It should begin as the query "
        "gradient at the adapted parameters, θ_K.",
        "support": "The query gradient is missing: the vector that travels back begins as the support gradient at "
        "the adapted parameters. Which loss is minimised after the adaptation?",
    },
    "inner": {
        "climbs": "The inner steps climb: they add the gradient. Adaptation should make the support loss smaller.",
        "whole": "The inner steps go one whole gradient: inner_lr is missing there.",
        "on the query set": "The inner steps go down the query loss. Adaptation may use the support loss alone.",
        "restarts": "Every inner step sets out from `params`. A step should set out from where the one before it has "
        "arrived.",
    },
    "count": {
        +1: "There is one inner step too many. How many are asked for?",
        -1: "There is one inner step too few. How many are asked for?",
    },
    "minus": {
        True: "The sign is turned around: this is minus the meta-gradient. An optimizer subtracts a gradient itself."
    },
}


def _way(support_loss: LossOfParams, params: list[Tensor], inner_lr: float, steps: int) -> list[list[Tensor]]:
    """Return the points θ_0 … θ_K of the inner steps."""
    points = [params]
    for _ in range(steps):
        moved = [p - inner_lr * g for p, g in zip(points[-1], _gradient(support_loss, points[-1]), strict=True)]
        points.append([p.detach().requires_grad_() for p in moved])
    return points


META_GRADIENT_MISTAKES: list[Misconception] = [
    *[
        (message, functools.partial(_recursion, **{name: value}))
        for name, values in WRONG_TURNS.items()
        for value, message in values.items()
    ],
    (
        "This is the gradient of the query loss at `params`: no adaptation and no Hessian. Minimising it would be "
        "joint training. At which parameters is the query loss to be taken?",
        lambda support_loss, query_loss, params, lr, steps: _gradient(query_loss, params),
    ),
    (
        "This is the gradient of the support loss at `params`. The query loss plays no part in it. What does the "
        "meta-gradient minimise?",
        lambda support_loss, query_loss, params, lr, steps: _gradient(support_loss, params),
    ),
    (
        "The two losses are exchanged: the inner steps go down the query loss, and the support loss is taken at the "
        "end. Are your function's arguments in the right order?",
        lambda support_loss, query_loss, *others: _recursion(query_loss, support_loss, *others),
    ),
    (
        "It returns the adapted parameters, θ_K. They are where the walk back begins. What is asked for is how the "
        "query loss there changes with `params`.",
        lambda support_loss, query_loss, params, lr, steps: _way(support_loss, params, lr, steps)[-1],
    ),
    (
        "It returns `params` minus the adapted parameters. Reptile uses that in place of a gradient, and the query "
        "loss plays no part in it.",
        lambda support_loss, query_loss, params, lr, steps: [
            p - q for p, q in zip(params, _way(support_loss, params, lr, steps)[-1], strict=True)
        ],
    ),
]


def _meta_gradient_of(result: Any, arguments: tuple) -> Numbers:
    params = arguments[2]
    _expect_precision(result, params, "the result")
    if isinstance(result, Tensor) and result.numel() == 1:
        raise Wrong(
            "It returns one number, such as the query loss after adaptation. What is asked for is its gradient, a "
            "list of tensors like `params`."
        )
    return numbers_of(result, params, "the meta-gradient")


def _facts_of_meta_gradient(calls: list[Call]) -> str | None:
    """Say how often each of the two parts counts: the query gradient at θ_K, and what the walk back subtracts."""
    found = []
    for call in calls:
        first = _recursion(*call.arguments, which="none")
        right = solutions.meta_gradient(*call.arguments)
        term = [a - b for a, b in zip(right, first, strict=True)]
        weights = weights_of_parts(call.result, first, term)
        if weights is None:
            return None
        found.append(weights)
    if not all(all_same(*of_part) for of_part in zip(*found, strict=True)):
        return None
    a, b = found[0]
    if all_same(1, a, b):
        return None
    return (
        f"This is {a:.4g} times the first-order part, the query gradient at θ_K, and {b:.4g} times the rest that the "
        "walk back adds to it. Each should count once."
    )


def _explain_meta_gradient(calls: list[Call]) -> Iterator[Misconception]:
    yield from META_GRADIENT_MISTAKES
    if not all(call.can_be_explained() for call in calls):
        return
    errors = []
    for call in calls:
        right = flattened(solutions.meta_gradient(*call.arguments))
        errors.append(((flattened(call.result) - right).norm() / right.norm()).item())
    if 0 < max(errors) < 1e-3:
        raise Wrong(
            f"This is the meta-gradient, but only approximately: the relative error is {max(errors):.0e}, as with "
            "finite differences. They are the witness further down. The recursion is exact, and it takes a handful of "
            "gradients, however many parameters there are."
        )
    if says := _facts_of_meta_gradient(calls):
        raise Wrong(says)
    yield from combined(_recursion, WRONG_TURNS)


def _meta_gradient_tip(says: str, call: Call) -> str | None:
    if "element 0 of tensors does not require grad" in says:
        return (
            "What is differentiated there does not depend on a tensor that autograd follows. A point that is made by "
            "detach() has to be told so: detach().requires_grad_()."
        )
    return tip_for(says, OF_LISTS | OF_GRADIENTS)


def _examine_meta_gradient(attempt: Callable) -> None:
    first, others = META_GRADIENT_CASES[:2], [*META_GRADIENT_CASES[:3], OTHER_META_GRADIENT_CASE]
    for cases, tolerance in ((first, NEARLY_EXACT), (others, NEARLY_EXACT), (META_GRADIENT_CASES, None)):
        agree_on_lists(
            attempt,
            answer=solutions.meta_gradient,
            cases=cases,
            numbers=_meta_gradient_of,
            explain=_explain_meta_gradient,
            tip=_meta_gradient_tip,
            tolerance=tolerance,
        )
    if _too_costly(attempt, solutions.meta_gradient, _meta_gradient_case(WIDE, 0.001, 2)):
        raise Wrong(
            "The meta-gradient is right, but it costs as much as a whole Hessian in each step, where a Hessian-vector "
            "product is enough. The lesson calls your function some 600 times for a network of 1,761 parameters. Use "
            "your hessian_vector."
        )


meta_gradient = Exercise(
    answer=solutions.meta_gradient,
    difficulty="hard",
    minutes=20,
    statement=(
        "Compute MAML's exact meta-gradient through any number of inner steps, by walking forward along the steps and "
        "then back."
    ),
    hints=(
        "There are three parts: the way forward, which keeps the points θ_0 … θ_{K-1}; the query gradient at θ_K; and "
        "the way back, which changes that vector once for each step, the last step first.",
        "Forward: each point is a list of fresh leaves, p.detach().requires_grad_(), so that hessian_vector can "
        "differentiate there. No graph is needed from point to point.",
        "Back: for theta in reversed(points), let product = hessian_vector(support_loss, theta, v), and replace each "
        "tensor a of v by a - inner_lr * b, where b is its tensor of the product.",
    ),
    cases=META_GRADIENT_CASES,
    seconds=20.0,
    examine=_examine_meta_gradient,
    in_place=(
        "It changes `params`, and they are the start that all tasks share: the next task would set out from where this "
        "one ended. Make new tensors in new lists, and leave `params` as they were."
    ),
)


# two_terms


def _two_terms_case(shapes: Shapes, *, dtype: torch.dtype = torch.float64, others: bool = False) -> Case:
    def make() -> tuple[LossOfParams, LossOfParams, list[Tensor]]:
        params = _params(shapes, 3 * others, dtype)
        return _loss(shapes, seed=1 + 3 * others), _loss(shapes, seed=2 + 3 * others), params

    what = WORDS[shapes] + (AND_OTHERS if others else "") + (" and single precision" if dtype == torch.float32 else "")
    return Case(what=what, make=make)


TWO_TERMS_CASES = [
    _two_terms_case(TWO),
    _two_terms_case(THREE),
    _two_terms_case(FIVE),
    _two_terms_case(FOUR, dtype=torch.float32),
]
OTHER_TWO_TERMS_CASE = _two_terms_case(TWO, others=True)
TwoTerms = tuple[list[Tensor], list[Tensor]]


def _both_terms(
    first_loss: LossOfParams,
    second_loss: LossOfParams,
    params: list[Tensor],
    *,
    average: str = "",
    inner: str = "",
    exchanged: bool = False,
) -> TwoTerms:
    """Return AvgGrad and AvgGradInner. Each keyword is something that can go wrong."""
    losses = [first_loss, second_loss]
    g1, g2 = (_gradient(loss, params) for loss in losses)
    a, b = {"first": (1.0, 0.0), "second": (0.0, 1.0), "sum": (1.0, 1.0)}.get(average, (0.5, 0.5))
    avg_grad = [a * x + b * y for x, y in zip(g1, g2, strict=True)]
    vectors = [g2, g1]
    if inner == "own":
        vectors = [g1, g2]
    if inner == "means":
        vectors = [[(x + y) / 2 for x, y in zip(g1, g2, strict=True)]] * 2
    products = [solutions.hessian_vector(loss, params, list(v)) for loss, v in zip(losses, vectors, strict=True)]
    c, d = {"first": (1.0, 0.0), "second": (0.0, 1.0), "sum": (1.0, 1.0), "minus": (-0.5, -0.5)}.get(inner, (0.5, 0.5))
    avg_grad_inner = [c * x + d * y for x, y in zip(*products, strict=True)]
    return (avg_grad_inner, avg_grad) if exchanged else (avg_grad, avg_grad_inner)


ONE_ORDER = (
    "In AvgGradInner only one of the two products is there, {}. Over many tasks its mean is the same, but for one task "
    "it is not. The mean of both is asked for, so that neither minibatch is preferred."
)
TWO_TERMS_SWITCHES = {
    "average": {
        "first": "AvgGrad is the gradient of the first loss alone. It should be the mean of both gradients.",
        "second": "AvgGrad is the gradient of the second loss alone. It should be the mean of both gradients.",
        "sum": "AvgGrad is the sum of the two gradients, which is twice their mean.",
    },
    "inner": {
        "first": ONE_ORDER.format("H₁g₂"),
        "second": ONE_ORDER.format("H₂g₁"),
        "sum": "AvgGradInner is the sum H₁g₂ + H₂g₁, which is the gradient of g₁·g₂. It should be half of that.",
        "minus": "AvgGradInner has the wrong sign. The minus belongs to the formulas that it is put into.",
        "own": "In AvgGradInner each Hessian meets the gradient of its own loss: H₁g₁ and H₂g₂. It should meet that of "
        "the other loss.",
        "means": "In AvgGradInner the mean of the two gradients is taken before the products, so terms H₁g₁ and H₂g₂ "
        "have come in. Each Hessian should meet only the gradient of the other loss.",
    },
    "exchanged": {True: "The two terms are exchanged: AvgGrad should come first."},
}


def _length_of_product(first_loss: LossOfParams, second_loss: LossOfParams, params: list[Tensor]) -> TwoTerms:
    avg_grad, _inner = solutions.two_terms(first_loss, second_loss, params)
    g1, g2 = (_gradient(loss, params) for loss in (first_loss, second_loss))
    return avg_grad, [x * y for x, y in zip(g1, g2, strict=True)]


TWO_TERMS_MISTAKES: list[Misconception] = [
    *[
        (message, functools.partial(_both_terms, **{name: value}))
        for name, values in TWO_TERMS_SWITCHES.items()
        for value, message in values.items()
    ],
    (
        "AvgGradInner is the two gradients' product, entry by entry, and no Hessian is in it. It is the gradient of a "
        "product of gradients, so something has to be differentiated again.",
        _length_of_product,
    ),
]


def _terms(result: Any, arguments: tuple) -> Numbers:
    params = arguments[2]
    pair = isinstance(result, tuple | list) and len(result) == 2 and not isinstance(result[0], Tensor)
    if not pair:
        raise Wrong(f"It should return two lists, AvgGrad and AvgGradInner; yours returned {describe(result)}.")
    found = {}
    for name, tensors in zip(("AvgGrad", "AvgGradInner"), result, strict=True):
        _expect_precision(tensors, params, name)
        numbers = numbers_of(tensors, params, name)
        found |= {key.replace("result", name): tensor for key, tensor in numbers.items()}
    return found


def _examine_two_terms(attempt: Callable) -> None:
    def tried(first_loss: LossOfParams, second_loss: LossOfParams, params: list[Tensor]) -> Any:
        before = grads_of((params,))
        try:
            result = attempt(first_loss, second_loss, params)
        except Wrong as stopped:
            says = str(stopped)
            words = tip_for(says, OF_LISTS | OF_GRADIENTS) if says.startswith("It stopped with") else None
            raise Wrong(f"{says}. {words}" if words else says) from None
        if not equal_grads(before, grads_of((params,))):
            raise Wrong(GRAD_LEFT)
        return result

    def mistakes() -> Iterator[Misconception]:
        yield from TWO_TERMS_MISTAKES
        yield from combined(_both_terms, TWO_TERMS_SWITCHES)

    for cases, tolerance in ((TWO_TERMS_CASES[:2], NEARLY_EXACT), ([*TWO_TERMS_CASES, OTHER_TWO_TERMS_CASE], None)):
        agree(
            tried,
            name="two_terms",
            cases=cases,
            right=solutions.two_terms,
            numbers=_terms,
            mistakes=mistakes(),
            tolerance=tolerance,
        )


two_terms = Exercise(
    answer=solutions.two_terms,
    difficulty="medium",
    minutes=10,
    statement="Compute AvgGrad and AvgGradInner for two losses of one task.",
    hints=(
        "Four things are needed: the gradient of each loss, and for each loss its Hessian times the gradient of the "
        "other one. You have a function for the latter.",
        "g1 = torch.autograd.grad(first_loss(params), params), and g2 likewise. The products are "
        "hessian_vector(first_loss, params, g2) and hessian_vector(second_loss, params, g1).",
        "Both terms are means of two lists, tensor by tensor: [(a + b) / 2 for a, b in zip(g1, g2)].",
    ),
    cases=TWO_TERMS_CASES,
    seconds=20.0,
    examine=_examine_two_terms,
    in_place="It changes `params`, which the lesson goes on using. Make new tensors instead.",
)
