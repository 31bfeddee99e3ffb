"""The exercises of the bug clinic. Those on predictions and data are here, those on training in `training_exercises`.

There are many correct repairs, and every one is accepted: the checks look at what a function does. They answer tasks of
their own with it, whose right answers they know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kit.comparing import Case, Misconception, Numbers, Wrong, agree, describe, number
from ..kit.exercise import Exercise
from . import solutions
from .training_exercises import ADAPT_MISTAKES as ADAPT_MISTAKES
from .training_exercises import DENSE_STEP_MISTAKES as DENSE_STEP_MISTAKES
from .training_exercises import DESCEND_MISTAKES as DESCEND_MISTAKES
from .training_exercises import adapt, adapted_loss, dense_step, descend, make_learner, meta_step

__all__ = [
    "adapt",
    "adapted_loss",
    "dense_step",
    "descend",
    "fair_accuracy",
    "make_learner",
    "meta_step",
    "predict",
    "scores_one_by_one",
    "split_by_alphabet",
]


# What the two exercises on predictions share


@dataclass(frozen=True)
class _Questions:
    """A task whose right answers are known, and the network that it is answered with."""

    network: nn.Module
    support_x: Tensor
    support_y: Tensor
    query_x: Tensor
    query_y: Tensor

    @property
    def ways(self) -> int:
        return int(self.support_y.max()) + 1


def _labels(ways: int, shots: int, generator: torch.Generator) -> Tensor:
    """Return each label `shots` times, in an order in which no class comes in one piece, nor the classes in turn."""
    return torch.arange(ways).repeat(shots)[torch.randperm(ways * shots, generator=generator)]


def _state(module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
    """Return a module's weights, its buffers, and its modes and settings."""
    weights = {name: p.detach().clone() for name, p in module.named_parameters()}
    buffers = {name: b.clone() for name, b in module.named_buffers()}
    modes = {
        name: (part.training, getattr(part, "momentum", None), getattr(part, "track_running_stats", None))
        for name, part in module.named_modules()
    }
    return weights, buffers, modes


def _expect_unchanged(before: tuple, module: nn.Module, name: str) -> None:
    (weights, buffers, modes), (new_weights, new_buffers, new_modes) = before, _state(module)
    put_back = f"Work on a copy, copy.deepcopy({name}), or put everything back before you return."

    def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
        return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)

    if not same(weights, new_weights):
        raise Wrong(
            f"The weights of `{name}` are others afterwards. The next task then starts from what this one has left "
            f"behind. {put_back}"
        )
    if not same(buffers, new_buffers):
        raise Wrong(
            f"The running statistics of `{name}` are others afterwards: in train mode, a batch norm updates them with "
            f"every batch that it sees. {put_back}"
        )
    if modes.keys() != new_modes.keys():
        raise Wrong(f"`{name}` has other layers afterwards. {put_back}")
    if any(modes[k][0] != new_modes[k][0] for k in modes):
        mode = "train" if modes[""][0] else "eval"
        raise Wrong(
            f"`{name}` came in {mode} mode and is left in the other one. Whatever is done with it next goes on in a "
            f"mode that nobody asked for. {put_back}"
        )
    if modes != new_modes:
        raise Wrong(f"A batch norm of `{name}` has another momentum, or another setting, afterwards. {put_back}")


def _scores(result: Any, q: _Questions, query_x: Tensor) -> Tensor:
    """Return scores [Q, N] that no graph hangs on. Raise `Wrong` for what is none."""
    examples, count = len(q.support_y), len(query_x)
    want = f"It should return scores of shape [Q, N] = [{count}, {q.ways}]"
    if not isinstance(result, Tensor):
        raise Wrong(f"{want}, as one tensor; yours is {describe(result)}.")
    scores, shape = result.detach(), list(result.shape)
    if shape == [count, q.ways]:
        if scores.dtype == torch.bool:
            raise Wrong(f"{want}, numbers of which the largest wins; yours are True or False.")
        scores = scores.double()
        if not scores.isfinite().all():
            raise Wrong("Some of the scores are not finite. Is there a mean of no examples, or a division by zero?")
        return scores
    if shape == [count]:
        raise Wrong(f"{want}; yours has one number for each query. Return the scores, and leave argmax to the caller.")
    if shape == [q.ways, count]:
        raise Wrong(f"{want}; yours is transposed. The first axis is that of the queries.")
    if shape == [count, examples]:
        raise Wrong(
            f"{want}; yours has the shape {shape}, one score for each of the {examples} support examples. Gather those "
            "of a class into one score, by its mean or its nearest example."
        )
    if hasattr(q.network, "head") and shape == [count, q.network.head.out_features]:
        raise Wrong(
            f"{want}; yours has {shape[1]} scores, one for each class of the pretraining. They have nothing to do with "
            "the new classes of this task. What tells which picture belongs to which of them?"
        )
    raise Wrong(f"{want}; yours has the shape {shape}. N is the number of classes in support_y.")


class _Clinic:
    """Answers tasks with the reader's function, and says what the answers depend on."""

    def __init__(self, attempt: Callable, name: str) -> None:
        self.attempt, self.name = attempt, name

    def scores(self, q: _Questions, **other: Tensor) -> Tensor:
        """Return the scores of a task, or of one in which some parts are others."""
        parts = {"support_x": q.support_x, "support_y": q.support_y, "query_x": q.query_x} | other
        before = _state(q.network)
        result = self.attempt(q.network, parts["support_x"], parts["support_y"], parts["query_x"])
        scores = _scores(result, q, parts["query_x"])
        _expect_unchanged(before, q.network, self.name)
        return scores

    def expect_right(self, tasks: Sequence[_Questions], explain: Callable[[_Questions, Tensor], str | None]) -> None:
        """Raise `Wrong` unless nearly all answers to the tasks are right."""
        answered = [(q, self.scores(q)) for q in tasks]
        right = torch.cat([(s.argmax(1) == q.query_y).double() for q, s in answered]).mean().item()
        if right >= 0.9:
            return
        backwards = torch.cat([(s.argmin(1) == q.query_y).double() for q, s in answered]).mean().item()
        if backwards >= 0.9:
            raise Wrong(
                "The scores have the wrong sign: the right class has the smallest one, as with distances. The largest "
                "score wins. Put a minus before the distances."
            )
        q, scores = answered[0]
        if says := explain(q, scores):
            raise Wrong(says)
        raise Wrong(
            f"Only {right:.0%} of the answers are right, where chance is {1 / q.ways:.0%} and the classes lie far "
            "apart. What do the scores compare? (If they come from a head that is fitted: are there enough steps?)"
        )

    def reads_no_support(self, q: _Questions, scores: Tensor) -> bool:
        """Tell whether the scores stay the same when the pictures of the support set trade places."""
        other = self.scores(q, support_x=q.support_x.roll(1, 0), support_y=q.support_y)
        return bool(torch.allclose(other, scores, rtol=1e-5, atol=1e-6))

    def expects_order(self, q: _Questions) -> bool:
        """Tell whether the answers are right if the support set is sorted by its labels."""
        order = q.support_y.argsort(stable=True)
        scores = self.scores(q, support_x=q.support_x[order], support_y=q.support_y[order])
        if (scores.argmax(1) == q.query_y).double().mean() >= 0.9:
            return True
        turns = order.reshape(q.ways, -1).T.flatten()  # each class in turn
        scores = self.scores(q, support_x=q.support_x[turns], support_y=q.support_y[turns])
        return bool((scores.argmax(1) == q.query_y).double().mean() >= 0.9)

    def expect_to_follow_labels(self, q: _Questions) -> None:
        """Raise `Wrong` unless other labels of the same classes give the answers that go with them."""
        names = torch.arange(q.ways).roll(1)
        answers = self.scores(q, support_y=names[q.support_y]).argmax(1)
        if (answers == names[q.query_y]).double().mean() < 0.9:
            raise Wrong(
                "When the classes of the support set change their labels, the answers do not follow. A label says "
                "which class a picture shows in this task, and nothing else does."
            )


UNREAD = (
    "The answers do not depend on the support set: with other pictures in it, the scores are the same. The classes of "
    "this task are new, and only the support set tells which is which."
)
SORTED = (
    "The answers are right only if the support set comes sorted by its classes. It comes in any order, and support_y "
    "says which class each picture shows: support[support_y == c]."
)
IN_PLACE = "It changes the pictures or labels in place. The lesson goes on with them. Make new tensors instead."


# predict


PIXELS, FEATURES, OLD_CLASSES = 36, 12, 11


class _Encoder(nn.Module):
    """Find the features in pictures [B, 1, 6, 6] that are mostly noise; its head knows the pretraining's classes."""

    def __init__(self, basis: Tensor) -> None:
        super().__init__()
        self.linear = nn.Linear(PIXELS, FEATURES, bias=False)
        self.norm = nn.BatchNorm1d(FEATURES)
        self.head = nn.Linear(FEATURES, OLD_CLASSES)
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            self.linear.weight.copy_(basis[:FEATURES])
            self.head.weight.copy_(torch.randn(OLD_CLASSES, FEATURES, generator=generator))
        self.float().eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.linear(x.flatten(1)))


def _orthogonal(size: int, generator: torch.Generator) -> Tensor:
    return torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q


def _of_new_classes(ways: int, shots: int, queries: int, seed: int = 0) -> _Questions:
    generator = torch.Generator().manual_seed(100 * ways + seed)
    basis = _orthogonal(PIXELS, torch.Generator().manual_seed(9))
    centres = 3 * _orthogonal(FEATURES, generator)[:ways]

    def pictures(labels: Tensor) -> Tensor:
        signal = centres[labels] + 0.3 * torch.randn(len(labels), FEATURES, generator=generator, dtype=torch.float64)
        noise = 2 * torch.randn(len(labels), PIXELS - FEATURES, generator=generator, dtype=torch.float64)
        return (torch.cat([signal, noise], dim=1) @ basis).float().reshape(-1, 1, 6, 6)

    sy, qy = _labels(ways, shots, generator), _labels(ways, queries, generator)
    return _Questions(_Encoder(basis), pictures(sy), sy, pictures(qy), qy)


def _predict_case(ways: int, shots: int, queries: int) -> Case:
    def make() -> tuple:
        q = _of_new_classes(ways, shots, queries)
        return q.network, q.support_x, q.support_y, q.query_x

    what = f"{ways} classes and {shots} example{'s' if shots > 1 else ''} of each"
    return Case(what=what, make=make)


PREDICT_SIZES = [(5, 3, 4), (4, 1, 5)]
PREDICT_CASES = [_predict_case(*sizes) for sizes in PREDICT_SIZES]


def _examine_predict(attempt: Callable) -> None:
    clinic = _Clinic(attempt, "encoder")
    for sizes, case in zip(PREDICT_SIZES, PREDICT_CASES, strict=True):
        try:
            _examine_predictions(clinic, [_of_new_classes(*sizes, seed) for seed in range(3)])
        except Wrong as wrong:
            if case is PREDICT_CASES[0]:
                raise
            says = str(wrong)
            raise Wrong(f"With {case.what}: {says}") from None


def _examine_predictions(clinic: _Clinic, tasks: list[_Questions]) -> None:
    looked = []
    for q in tasks:
        q.network.linear.register_forward_hook(lambda *_: looked.append(1))

    def explain(q: _Questions, scores: Tensor) -> str | None:
        if (scores - scores[:, :1]).abs().max() <= 1e-5 * scores.abs().max():
            return "All classes get the same score, so that argmax always answers with the first class."
        if clinic.reads_no_support(q, scores):
            return UNREAD
        if not looked:
            return (
                "The encoder is never asked. Pixels hardly tell these classes apart; its features [B, E] do. Compare "
                "encoder(query_x) with encoder(support_x)."
            )
        return SORTED if clinic.expects_order(q) else None

    clinic.expect_right(tasks, explain)
    q = tasks[0]
    clinic.expect_to_follow_labels(q)
    alone = torch.cat([clinic.scores(q, query_x=one[None]) for one in q.query_x])
    if (alone.argmax(1) == q.query_y).double().mean() < 0.9:
        raise Wrong(
            "Asked together, the queries are answered right; asked one at a time, they are not. The answer to a query "
            "must not depend on the others. Is a mean, or a standard deviation, taken over the queries?"
        )


predict = Exercise(
    answer=solutions.predict,
    difficulty="medium",
    minutes=10,
    statement=(
        "Return scores [Q, N] for the queries of a task of new classes, by comparing the encoder's features with those "
        "of the support set; the encoder stays as it is."
    ),
    hints=(
        "The task's classes were not among those of the pretraining. What, in the arguments, says how they look?",
        "Embed both sets: encoder(support_x) [S, E] and encoder(query_x) [Q, E]. support[support_y == c] are the "
        "features of class c.",
        "Stack the mean features of each class to [N, E]. -torch.cdist(queries, means) are scores, of which the "
        "largest wins.",
    ),
    cases=PREDICT_CASES,
    examine=_examine_predict,
    in_place=IN_PLACE,
)


# scores_one_by_one


CHANNELS = 14


def _normalised(ways: int, shots: int, queries: int, training: bool, seed: int = 0) -> _Questions:
    """Return a task for a network whose channels are all below zero until a batch norm has taken off their mean."""
    generator = torch.Generator().manual_seed(1000 * ways + seed)
    conv = nn.Conv2d(1, CHANNELS, 4, stride=4)
    basis = _orthogonal(16, torch.Generator().manual_seed(8))
    with torch.no_grad():
        conv.weight.copy_(basis[:CHANNELS].reshape(CHANNELS, 1, 4, 4))
        conv.bias.fill_(-100.0)
    network = nn.Sequential(conv, nn.BatchNorm2d(CHANNELS), nn.ReLU(), nn.Flatten()).float().train(training)
    centres = 3 * torch.randn(ways, 1, 4, 4, generator=generator)

    def pictures(labels: Tensor) -> Tensor:  # [B, 1, 8, 8], the pattern of the class in each of four places
        return centres[labels].repeat(1, 1, 2, 2) + 0.3 * torch.randn(len(labels), 1, 8, 8, generator=generator)

    sy, qy = _labels(ways, shots, generator), _labels(ways, queries, generator)
    return _Questions(network, pictures(sy), sy, pictures(qy), qy)


def _scores_case(ways: int, shots: int, queries: int, training: bool) -> Case:
    def make() -> tuple:
        q = _normalised(ways, shots, queries, training)
        return q.network, q.support_x, q.support_y, q.query_x

    mode = "train" if training else "eval"
    return Case(what=f"a network that comes in {mode} mode, {ways} classes and {shots} shots", make=make)


SCORES_SIZES = [(5, 2, 3, True), (4, 3, 2, False)]
SCORES_CASES = [_scores_case(*sizes) for sizes in SCORES_SIZES]


def _examine_scores_one_by_one(attempt: Callable) -> None:
    clinic = _Clinic(attempt, "network")
    for sizes, case in zip(SCORES_SIZES, SCORES_CASES, strict=True):
        try:
            _examine_scores(clinic, [_normalised(*sizes, seed) for seed in range(3)])
        except Wrong as wrong:
            if case is SCORES_CASES[0]:
                raise
            raise Wrong(
                f"With {SCORES_CASES[0].what}, it is right. With {case.what}, it is not. Set the mode that your code "
                f"needs, and put it back. {wrong}"
            ) from None


def _examine_scores(clinic: _Clinic, tasks: list[_Questions]) -> None:
    def explain(q: _Questions, scores: Tensor) -> str | None:
        if (scores - scores[:, :1]).abs().max() <= 1e-5 * max(1.0, float(scores.abs().max())):
            return (
                "All classes get the same score: the features of all pictures are the same. In eval mode, a batch norm "
                "uses its running statistics, and these were never measured (a pass over the support set moves them by "
                "a tenth only, the momentum). Which statistics does the network know from its training?"
            )
        if _apart(clinic, q):
            return (
                "Each query is normalised by its own statistics, apart from the support set. What tells the classes "
                "apart is taken off with its mean. Query and support set have to be normalised by the same statistics."
            )
        if clinic.reads_no_support(q, scores):
            return UNREAD
        return SORTED if clinic.expects_order(q) else None

    q = tasks[0]
    together = clinic.scores(q)
    turned = clinic.scores(q, query_x=q.query_x.flip(0)).flip(0)
    alone = torch.cat([clinic.scores(q, query_x=one[None]) for one in q.query_x])
    near = 0.01 * float(together.std()) + 1e-6
    changed = (alone - together).abs().amax(1) > near
    if (turned - together).abs().max() > near and not changed[0]:  # the first one has none before it
        raise Wrong(
            "The scores of a query depend on which queries come before it. Are statistics updated with one query, and "
            "then used for the next one? Measure them on the support set alone, or begin anew for each query."
        )
    if changed.any():
        raise Wrong(
            f"{changed.sum()} of {len(alone)} queries get other scores when they are asked alone: in train mode, a "
            "batch norm takes its statistics from the whole batch, the other queries with it. Which pictures may take "
            "part when one query is normalised?"
        )
    clinic.expect_right(tasks, explain)
    clinic.expect_to_follow_labels(q)


def _apart(clinic: _Clinic, q: _Questions) -> bool:
    """Tell whether the answers are those of queries that are normalised one by one, and without the support set."""
    conv, norm, relu, flatten = q.network

    def embed(x: Tensor) -> Tensor:
        h = F.batch_norm(conv(x), None, None, norm.weight, norm.bias, training=True)
        return flatten(relu(h))

    with torch.no_grad():
        support, queries = embed(q.support_x), torch.cat([embed(one[None]) for one in q.query_x])
    means = torch.stack([support[q.support_y == c].mean(0) for c in range(q.ways)])
    nearest = torch.cdist(queries, means).argmin(1)
    return bool((clinic.scores(q).argmax(1) == nearest).double().mean() > 0.9)


scores_one_by_one = Exercise(
    answer=solutions.scores_one_by_one,
    difficulty="hard",
    minutes=15,
    statement=(
        "Return scores [Q, N] by the distance to the class means, such that no answer depends on the other queries, "
        "although the network only works with statistics of a batch. It may come in train or in eval mode, and should "
        "be left as it was."
    ),
    hints=(
        "A batch norm needs a batch to take its statistics from. Which pictures does a learner have at hand, whatever "
        "else it is asked?",
        "Either go through the queries one by one, each in a batch with the whole support set; or measure the "
        "statistics on the support set first, and use them for all queries.",
        "With a copy.deepcopy in train mode: z = twin(torch.cat([support_x, query[None]])). z[:-1] gives the class "
        "means, z[-1] is the query. (Or set each momentum to None, pass the support set once, then call eval().)",
    ),
    cases=SCORES_CASES,
    examine=_examine_scores_one_by_one,
    in_place=IN_PLACE,
    imports="import copy",
)


# fair_accuracy


def _fair_case(queries: int, classes: int, dtype: torch.dtype) -> Case:
    def make() -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(queries)
        scores = torch.randint(-2, 2, (queries, classes), generator=generator).to(dtype)
        scores[0] = 0.5  # all classes tie
        return scores, torch.randint(classes, (queries,), generator=generator)

    sizes = {"the number of queries": queries, "the number of classes": classes}
    return Case(what=f"{queries} queries and {classes} classes", make=make, sizes=sizes)


FAIR_ACCURACY_CASES = [_fair_case(23, 5, torch.float64), _fair_case(40, 7, torch.float32)]


def _fair(value: Callable[..., Tensor]) -> Callable:
    """Return the mean of value(scores, best, tied, among): where the largest scores are, how many, is ours there."""

    def mean(scores: Tensor, labels: Tensor) -> Tensor:
        best = scores == scores.amax(1, keepdim=True)
        tied, among = best.sum(1).double(), best[torch.arange(len(labels)), labels].double()
        return value(scores, labels, tied, among)

    return mean


FAIR_ACCURACY_MISTAKES: list[Misconception] = [
    (
        "This is what argmax gets: of several largest scores it takes the first one. A network that says the same to "
        "all classes then always answers with class 0, and is right as often as class 0 is asked.",
        _fair(lambda s, y, tied, among: (s.argmax(1) == y).double().mean()),
    ),
    (
        "Of several largest scores, the last one is taken. That favours the last class, as argmax favours the first.",
        _fair(lambda s, y, tied, among: (s.shape[1] - 1 - s.flip(1).argmax(1) == y).double().mean()),
    ),
    (
        "A tie counts as right whenever the right class takes part in it. A network that gives all classes the same "
        "score would be right in all of its answers.",
        _fair(lambda s, y, tied, among: among.mean()),
    ),
    (
        "Every tie counts as wrong. Whoever guesses among two classes is right half of the time.",
        _fair(lambda s, y, tied, among: (among * (tied == 1)).mean()),
    ),
    (
        "A tie counts one half, however many classes take part. Among three, a guess is right a third of the time.",
        _fair(lambda s, y, tied, among: torch.where(tied > 1, among / 2, among).mean()),
    ),
    (
        "A tie counts 1/N, as if the guess were among all classes. It is among those with the largest score alone.",
        _fair(lambda s, y, tied, among: torch.where(tied > 1, among / s.shape[1], among).mean()),
    ),
    (
        "It divides by the number of tied classes even where the right class is not among them. Such an answer is "
        "wrong, whichever is taken.",
        _fair(lambda s, y, tied, among: (1 / tied).mean()),
    ),
    (
        "Queries with a tie are left out. They are part of what the learner was asked: count them by their chances.",
        _fair(lambda s, y, tied, among: among[tied == 1].mean()),
    ),
    (
        "The right answers are divided by the number of all largest scores together, so that one query with many ties "
        "counts as much as several others. Divide query by query, and take the mean then.",
        _fair(lambda s, y, tied, among: among.sum() / tied.sum()),
    ),
    (
        "This is the sum over the queries. The share is the mean.",
        _fair(lambda s, y, tied, among: (among / tied).sum()),
    ),
    (
        "This is in per cent. A share lies between 0 and 1.",
        _fair(lambda s, y, tied, among: 100 * (among / tied).mean()),
    ),
    (
        "This is the share of wrong answers.",
        _fair(lambda s, y, tied, among: 1 - (among / tied).mean()),
    ),
    (
        "It looks for the smallest score. The largest one wins.",
        _fair(lambda s, y, tied, among: _fair(lambda _s, _y, t, a: (a / t).mean())(-s, y)),
    ),
    (
        "This is the mean probability of the right class by a softmax. An answer is the class with the largest score, "
        "by however little.",
        _fair(lambda s, y, tied, among: s.double().softmax(1)[torch.arange(len(y)), y].mean()),
    ),
]


def _share(result: Any, _arguments: tuple) -> Numbers:
    return {"the share": torch.tensor(number(result, "the share"), dtype=torch.float64)}


def _examine_fair_accuracy(attempt: Callable) -> None:
    agree(
        attempt,
        name="fair_accuracy",
        cases=FAIR_ACCURACY_CASES,
        right=solutions.fair_accuracy,
        numbers=_share,
        mistakes=FAIR_ACCURACY_MISTAKES,
        tolerance=1e-5,
    )


fair_accuracy = Exercise(
    answer=solutions.fair_accuracy,
    difficulty="easy",
    minutes=6,
    statement=(
        "Return the expected share of right answers when ties for the largest score are broken at random: a query "
        "counts 1 / (number of tied classes) if the right class is among them."
    ),
    hints=(
        "If three classes share the largest score, how often does a guess among them hit the right one?",
        "scores == scores.max(dim=1, keepdim=True).values is True for every class with the largest score, [Q, N].",
        "For each query, take that entry at its label (gather, or indexing), and divide by the number of True entries "
        "in its row. Then take the mean.",
    ),
    cases=FAIR_ACCURACY_CASES,
    examine=_examine_fair_accuracy,
)


# split_by_alphabet


def _split_case(sizes: Sequence[int], share: float, seed: int) -> Case:
    """Return the case of alphabets with so many characters, whose classes come in a mixed order."""

    def make() -> tuple[list[tuple[str, str]], float, torch.Generator]:
        classes = [
            (name, f"character{i + 1:02}")
            for name, size in zip(ALPHABETS[: len(sizes)], sizes, strict=True)
            for i in range(size)
        ]
        order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(0)).tolist()
        return [classes[i] for i in order], share, torch.Generator().manual_seed(seed)

    return Case(what=f"{len(sizes)} alphabets and a share of {share:g}", make=make)


ALPHABETS = ("Greek", "Korean", "Latin", "Tagalog", "Balinese", "Futurama", "Bengali", "Hebrew", "Armenian", "Sanskrit")
SPLIT_CASES = [
    _split_case([3, 9, 2, 4, 2, 3, 8, 2], 0.35, 1),  # 2.8 alphabets: three, and not two
    _split_case([2, 3, 12, 2, 3], 0.03, 2),  # at least one
    _split_case([2, 4, 3], 0.95, 3),  # and not all
]
DRAWS = 120


def _examine_split(attempt: Callable) -> None:
    for case in SPLIT_CASES:
        try:
            _examine_one_split(attempt, case)
        except Wrong as wrong:
            if case is SPLIT_CASES[0]:
                raise
            says = str(wrong)
            raise Wrong(says if says.startswith("With ") else f"With {case.what}: {says}") from None


def _halves(result: Any, classes: list) -> tuple[list, list]:
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Wrong(f"It should return two lists, train and test; yours is {describe(result)}.")
    for name, half in zip(("train", "test"), result, strict=True):
        if not isinstance(half, list | tuple):
            raise Wrong(f"{name} should be a list of classes; yours is {describe(half)}.")
        strange = next((c for c in half if not (isinstance(c, tuple | list) and len(c) == 2)), None)
        if isinstance(strange, str):
            raise Wrong(
                f"{name} holds {strange!r}, which is no class but a name. A class is one character of one alphabet, "
                "(alphabet, character): a list of alphabets would make each alphabet a class."
            )
        if strange is not None:
            raise Wrong(
                f"{name} holds {describe(strange)}. It should hold the classes as they came, one by one: (alphabet, "
                "character)."
            )
    train, test = ([tuple(c) for c in half] for half in result)
    known = set(classes)
    if unknown := [c for c in (*train, *test) if c not in known]:
        raise Wrong(f"{unknown[0]} is none of the classes that came in. Keep them as they are: (alphabet, character).")
    return train, test


def _examine_one_split(attempt: Callable, case: Case) -> None:
    classes, share, generator = case.make()
    kept = list(classes)
    splits = []
    for _ in range(DRAWS):
        splits.append(_halves(attempt(classes, share, generator), kept))
        if classes != kept:
            raise Wrong(
                "It changes the list of classes that it is given, as sort, shuffle, pop and remove do. Make new lists."
            )
    alphabets = sorted({a for a, _ in classes})
    train, test = splits[0]
    _expect_a_partition(train, test, classes)
    count = min(max(round(share * len(alphabets)), 1), len(alphabets) - 1)
    for train, test in splits:
        _expect_no_shared_alphabet(train, test, classes)
        _expect_a_partition(train, test, classes)
    sizes = {len({a for a, _ in test}) for _, test in splits}
    if sizes != {count}:
        _raise_for_sizes(sizes, count, len(alphabets), share, splits)
    _expect_chance(attempt, case, splits, alphabets, count)
    _expect_no_order_of_a_set(attempt, case, count)


def _expect_a_partition(train: list, test: list, classes: list) -> None:
    lost = set(classes) - set(train) - set(test)
    if lost:
        each = all(number == 1 for number in Counter(a for a, _ in (*train, *test)).values())
        raise Wrong(
            "Of each alphabet only one character is left. A class is a character, and all characters of an alphabet "
            "go to the same side."
            if each
            else f"{len(lost)} of {len(classes)} classes are lost, as {min(lost)}. Every class belongs to one side."
        )
    if len(train) + len(test) > len(classes):
        twice = next(c for c, n in Counter((*train, *test)).items() if n > 1)
        raise Wrong(f"Some classes come twice, as {twice}. Every class belongs to one side, once.")


def _expect_no_shared_alphabet(train: list, test: list, classes: list) -> None:
    both = {a for a, _ in train} & {a for a, _ in test}
    if not both:
        return
    if not {c for _, c in train} & {c for _, c in test}:
        raise Wrong(
            f"The characters' names were split: train and test share no name such as character01, but {len(both)} "
            f"alphabets, as {min(both)}. Split the names of the alphabets, which come first in each class."
        )
    each = both == {a for a, _ in classes}
    how = "every alphabet was split in itself" if each else "the characters were split, and not the alphabets"
    raise Wrong(
        f"Train and test share {len(both)} alphabets, as {min(both)}: {how}. A network that knows some characters of "
        "an alphabet knows its style, so that the test would be easier than one with new alphabets. Draw alphabets."
    )


def _raise_for_sizes(sizes: set[int], count: int, alphabets: int, share: float, splits: list) -> None:
    want = f"{count} of {alphabets} alphabets belong into test"
    if sizes == {alphabets - count}:
        raise Wrong(
            f"Train and test have changed places: test has {alphabets - count} of {alphabets} alphabets, with a share "
            f"of {share:g}. Return train first, and then test."
        )
    if len(sizes) > 1:
        raise Wrong(
            f"The number of alphabets in test changes from draw to draw, from {min(sizes)} to {max(sizes)}, where "
            f"{want}. Are alphabets drawn with replacement, with a coin for each, or until enough characters are there?"
        )
    (size,) = sizes
    if size in (0, alphabets):
        nothing = "test" if size == 0 else "train"
        raise Wrong(
            f"With {alphabets} alphabets and a share of {share:g}, {nothing} is empty. At least one alphabet belongs "
            "to each side."
        )
    if size == int(share * alphabets):
        raise Wrong(
            f"Test has {size} alphabets, where {share:g} · {alphabets} = {share * alphabets:g} is rounded down. "
            f"{want}: round() takes the nearest whole number."
        )
    raise Wrong(
        f"Test has {size} alphabets, but {want}: round(share * the number of alphabets), at least one, not all."
    )


def _expect_chance(attempt: Callable, case: Case, splits: list, alphabets: list[str], count: int) -> None:
    drawn = [frozenset(a for a, _ in test) for _, test in splits]
    if len(set(drawn)) == 1:
        classes, share, _ = case.make()
        others = {
            frozenset(a for a, _ in _halves(attempt(classes, share, torch.Generator().manual_seed(s)), classes)[1])
            for s in range(20)
        }
        if len(others) == 1:
            raise Wrong(
                "The same alphabets are in test each time, whatever the generator. The split should be drawn: the "
                "first or last alphabets of a list may be alike. torch.randperm takes generator=generator."
            )
        raise Wrong(
            "The generator gives the same split in each call, as if it were seeded anew from itself. Draw from the "
            "generator that comes in, so that its next numbers are others."
        )
    again = []
    classes, share, generator = case.make()
    for _ in range(5):
        again.append(frozenset(a for a, _ in _halves(attempt(classes, share, generator), classes)[1]))
    if again != drawn[:5]:
        raise Wrong(
            "With the same seed, it draws another split: at least part of the randomness does not come from the "
            "generator that it is given. Each random function of torch takes generator=generator."
        )
    chance = count / len(alphabets)
    error = (chance * (1 - chance) / DRAWS) ** 0.5
    for name in alphabets:
        rate = sum(name in test for test in drawn) / DRAWS
        if abs(rate - chance) > 5 * error:
            raise Wrong(
                f"Not every alphabet has the same chance: in {DRAWS} draws, {name} is in test in {rate:.0%}, where it "
                f"should be in {chance:.0%}. Does an alphabet with many characters come up more often? Draw from the "
                "names of the alphabets, each once."
            )


class _Name(str):
    """A name whose place in a set can be chosen. That of a plain one differs from one start of Python to the next."""

    place = 0

    def __hash__(self) -> int:
        return self.place


def _expect_no_order_of_a_set(attempt: Callable, case: Case, count: int) -> None:
    """Raise `Wrong` for splits that are others where the names stand in another order in a set."""
    drawn = []
    for backwards in (False, True):
        classes, share, generator = case.make()
        names = {a: _Name(a) for a, _ in classes}
        for place, name in enumerate(sorted(names)):
            names[name].place = len(names) - place if backwards else place
        named = [(names[a], c) for a, c in classes]
        try:
            tests = [_halves(attempt(named, share, generator), named)[1] for _ in range(5)]
        except Wrong:
            return  # where names of two kinds meet, as by str(name), nothing can be told
        drawn.append([{str(a) for a, _ in test} for test in tests])
    if drawn[0] != drawn[1] and all(len(test) == count for test in drawn[0] + drawn[1]):
        raise Wrong(
            "With the same classes and the same seed, the split would be another one after a new start of Python: the "
            "alphabets are numbered in the order of a set, and strings in a set stand in another order each time. Sort "
            "them first, sorted({…}), or keep the order of the list."
        )


split_by_alphabet = Exercise(
    answer=solutions.split_by_alphabet,
    difficulty="medium",
    minutes=10,
    statement=(
        "Split classes, (alphabet, character), into two lists, train and test, that share no alphabet; "
        "round(share · number of alphabets) of them, at least one and not all, are drawn into test."
    ),
    hints=(
        "What has to be drawn, so that all characters of an alphabet end up on the same side?",
        "sorted({alphabet for alphabet, _ in classes}) lists each alphabet once. "
        "torch.randperm(n, generator=generator) mixes the numbers 0 … n - 1.",
        "Put the first count of the mixed alphabets into a set. test are the classes whose alphabet is in it, and "
        "train the others.",
    ),
    cases=SPLIT_CASES,
    examine=_examine_split,
)
