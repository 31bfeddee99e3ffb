"""The second-order term against formulas, and against engines that are wrong."""

from dataclasses import dataclass, replace

import noise
import pytest
import torch

from metalab.analysis import second_order
from metalab.analysis.second_order import GradientComparison, compare_meta_gradients, hessian_share
from metalab.learners import ANIL, MAML, MetaSGD, SparseMAML
from metalab.losses import mse
from metalab.nets import MLP, Conv4
from metalab.tasks import Episode, sine


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def sine_problem(sizes=(1, 8, 8, 1), kind=MAML, **options):
    learner = kind(MLP(sizes), mse, **{"inner_lr": 0.05, "inner_steps": 2} | options)
    params = {name: p if "." in name else 60 * p for name, p in learner.init(seeded()).items()}
    return learner, params, sine.sample(3, 5, 6, seeded(1))


def character_problem(pool="stride", **options):
    learner = MAML(Conv4(3, channels=4, pool=pool), **{"inner_steps": 2} | options)
    return learner, learner.init(seeded()), noise.noise(8, 6, seed=2).sample(2, 3, 1, 2, seeded(3))


PROBLEMS = {
    "sine": sine_problem,
    "conv4": character_problem,
    "max pooling": lambda: character_problem("max"),
    "inductive": lambda: character_problem(transductive=False),
    "Meta-SGD": lambda: sine_problem(kind=MetaSGD),
    "sparse-MAML": lambda: sine_problem(kind=SparseMAML),
    "ANIL": lambda: sine_problem(kind=ANIL, head=("w3", "b3")),
}
ENGINE, FIRST, NAIVE = "engine, second order", "engine, first order", "autograd, graph kept"


# Four meta-gradients beside each other


@pytest.mark.parametrize("problem", PROBLEMS)
def test_autograd_and_engine_agree_with_finite_differences_and_first_order_does_not(problem):
    found = compare_meta_gradients(*PROBLEMS[problem](), directions=12)
    assert found.directions + found.left_out == 12
    assert found.directions > 8
    assert found.errors["finite differences themselves"] < 1e-5
    assert found.errors[NAIVE] < 1e-5
    assert found.errors[ENGINE] < 1e-5
    assert found.errors[FIRST] > 1e-2
    assert 0.001 < found.angle < 90


def test_finite_differences_along_every_parameter():
    learner, params, episode = sine_problem((1, 3, 1))
    found = compare_meta_gradients(learner, params, episode, directions=None)
    assert found.directions == 10
    assert found.errors[ENGINE] < 1e-6
    # All directions are known: the error is that of the whole gradient.
    params, episode = {name: p.double() for name, p in params.items()}, episode.to(torch.float64)
    second, first = (flat(replace(learner, order=order).meta_gradient(params, episode)[0]) for order in (2, 1))
    assert found.errors[FIRST] == pytest.approx(((first - second).norm() / second.norm()).item(), rel=1e-5)
    assert found.cosine == pytest.approx((first @ second / first.norm() / second.norm()).item(), rel=1e-9)


def flat(params):
    return torch.cat([p.flatten() for p in params.values()])


class Longer(MAML):
    """An engine whose gradients are one per cent too long."""

    def meta_gradient(self, params, episode):
        grads, metrics = super().meta_gradient(params, episode)
        return {name: 1.01 * g for name, g in grads.items()}, metrics


def test_an_engine_that_is_wrong_is_seen():
    learner, params, episode = sine_problem()
    found = compare_meta_gradients(Longer(learner.net, mse, inner_lr=0.05, inner_steps=2), params, episode)
    assert found.errors[ENGINE] == pytest.approx(0.01, rel=1e-4)
    assert found.errors[NAIVE] < 1e-6


def test_autograd_is_not_the_engine(monkeypatch):
    monkeypatch.setattr(second_order, "differentiate", None)
    monkeypatch.setattr(MAML, "adapt", None)
    learner, params, episode = sine_problem()
    losses = [second_order.meta_loss(replace(learner, order=order), params, episode) for order in (1, 2)]
    assert losses[0] == losses[1]
    assert learner.meta_gradient(params, episode)[1]["loss"].item() == pytest.approx(losses[0].item(), rel=1e-6)


def test_what_a_kink_falsifies_is_left_out():
    """At w x + b = 0.7e-6 a step of 1e-6 along −b crosses the ReLU's kink, and half of it does not."""
    learner, params, episode = sine_problem((1, 3, 1))
    params = {name: p.double() for name, p in params.items()}
    x = episode.support_x[0, 0, 0].double()
    params["b1"] = params["b1"] + 0.0
    params["b1"][0] = 0.7e-6 - params["w1"][0, 0] * x
    found = compare_meta_gradients(learner, params, episode.to(torch.float64), directions=None)
    assert found.left_out >= 1
    assert found.errors[ENGINE] < 1e-5


def test_kinks_everywhere_are_an_error(monkeypatch):
    monkeypatch.setattr(second_order, "KINK", -1.0)
    with pytest.raises(ValueError, match="a kink of the loss lies in every direction"):
        compare_meta_gradients(*sine_problem(), directions=2)


def test_a_comparison_prints_as_a_table():
    errors = {"finite differences themselves": 1.5e-9, "first order": 0.25}
    text = str(GradientComparison(errors, 0.0, 31, 1)).splitlines()
    assert len({len(line) for line in text[:3]}) == 1, "the numbers stand below their title"
    assert text[1].split() == ["finite", "differences", "themselves", "1.5e-09"]
    assert text[2].split() == ["first", "order", "2.5e-01"]
    assert text[3:] == [
        "first and second order: 90.0° apart, cosine 0.0000",
        "finite differences along 31 directions (1 left out because of kinks)",
    ]


def test_no_direction_is_refused():
    with pytest.raises(ValueError, match="directions=0 must be a whole number of at least 1"):
        compare_meta_gradients(*sine_problem(), directions=0)


# The Hessian's share


@dataclass(frozen=True)
class Point:
    """A network that says its own parameters, whatever it is asked."""

    def init(self, generator):
        return {"a": torch.zeros(2), "b": torch.zeros(1)}

    def __call__(self, params, x, *, context=None):
        return torch.cat([params["a"], params["b"]], 1).unsqueeze(1)

    def chain(self, x):
        return None


CURVATURE = torch.tensor([[3.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]], dtype=torch.float64)


def bowl(z, y):
    """½ (z − y)ᵀ A (z − y), whose Hessian is A."""
    d = (z - y).squeeze(1)
    return ((d @ CURVATURE) * d).sum(1) / 2


@pytest.mark.parametrize("steps", [1, 3])
def test_the_share_is_what_the_chain_rule_says_of_a_bowl(steps):
    learner = MAML(Point(), bowl, inner_lr=0.2, inner_steps=steps)
    params = {"a": normal(2, seed=0), "b": normal(1, seed=1)}
    support, query = normal(4, 1, 3, seed=2), normal(4, 1, 3, seed=3)
    found = hessian_share(learner, params, Episode(support, support, query, query))

    step = torch.eye(3, dtype=torch.float64) - 0.2 * CURVATURE  # I − αH
    theta = torch.cat([params["a"], params["b"]]) + torch.zeros(4, 3, dtype=torch.float64)
    for _ in range(steps):
        theta = theta - 0.2 * (theta - support[:, 0]) @ CURVATURE
    v = [((theta - query[:, 0]) @ CURVATURE).mean(0)]  # v_K, v_{K−1}, …, v_0
    for _ in range(steps):
        v.append(step @ v[-1])
    whole = v[-1] - v[0]
    assert found.whole == pytest.approx((whole.norm() / v[-1].norm()).item())
    assert found.by_layer["a"] == pytest.approx((whole[:2].norm() / v[-1][:2].norm()).item())
    assert found.by_layer["b"] == pytest.approx((whole[2:].norm() / v[-1][2:].norm()).item())
    for k in range(steps):
        term = v[steps - k] - v[steps - k - 1]
        assert found.by_step[k] == pytest.approx((term.norm() / v[-1].norm()).item())
        assert found.each[k]["b"] == pytest.approx((term[2:].norm() / v[-1][2:].norm()).item())


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_share_is_the_difference_of_the_orders(problem):
    learner, params, episode = PROBLEMS[problem]()
    params, episode = {name: p.double() for name, p in params.items()}, episode.to(torch.float64)
    found = hessian_share(learner, params, episode)
    second, first = (replace(learner, order=order).meta_gradient(params, episode)[0] for order in (2, 1))
    names = [name for name in params if "." not in name]
    assert list(found.by_layer) == names
    for name in names:
        share = (second[name] - first[name]).norm() / second[name].norm()
        assert found.by_layer[name] == pytest.approx(share.item(), rel=1e-9)
    a, b = (flat({name: grads[name] for name in names}) for grads in (second, first))
    assert found.whole == pytest.approx(((a - b).norm() / a.norm()).item(), rel=1e-9)


def test_a_share_prints_as_a_table():
    rows = str(hessian_share(*sine_problem())).splitlines()
    assert rows[0].split() == ["all", "step", "0", "step", "1"]
    assert [row.split()[0] for row in rows[1:]] == ["all", "w1", "b1", "w2", "b2", "w3", "b3"]
    assert all(len(row.split()) == 4 and row.endswith("%") for row in rows[1:])


def test_without_inner_steps_there_is_no_share():
    with pytest.raises(ValueError, match="inner_steps=0 leaves no Hessian term"):
        hessian_share(*sine_problem(inner_steps=0))
