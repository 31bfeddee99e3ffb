import math
import re
import threading
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import noise
import pytest
import torch
import torch.nn.functional as F
from on_device import OnDevice

from metalab import arguments
from metalab.engine import cuda_graph
from metalab.learners import ANIL, MAML, MetaSGD, PrototypicalNet, Reptile, SparseMAML, maml
from metalab.losses import mse
from metalab.nets import MLP, Conv4
from metalab.optim import Adam, Descent
from metalab.tasks import sine
from metalab.train import Diverged, Step, Trainer
from tools.browser import ALL


@dataclass
class Toy:
    """The smallest learner: pulls a vector w towards the sampled point x by the loss ‖w − x‖²/2, of gradient w − x.

    From step `nan_from` on the loss is NaN.
    """

    nan_from: float = math.inf
    seen: list = field(default_factory=list)

    def init(self, generator):
        return {"w": torch.randn(3, generator=generator, dtype=torch.float64)}

    def meta_gradient(self, params, x):
        self.seen.append((params["w"].clone(), x))
        difference = params["w"] - x
        loss = difference.square().sum() / 2
        if len(self.seen) >= self.nan_from:
            loss = loss * math.nan
        return {"w": difference}, {"loss": loss, "largest": difference.max()}


def sample(generator):
    return torch.randn(3, generator=generator, dtype=torch.float64)


def test_a_step_is_adams():
    """Kingma & Ba's algorithm 1, written out, with a learning rate that changes."""
    toy = Toy()
    trainer = Trainer(toy, sample, outer_lr=lambda n: 0.1 / n)
    w = trainer.params["w"].clone()
    m = v = torch.zeros(3, dtype=torch.float64)
    for n in range(1, 8):
        step = trainer.step()
        _w, x = toy.seen[-1]
        g = w - x
        assert step == Step(n, {"loss": pytest.approx((g @ g / 2).item()), "largest": pytest.approx(g.max().item())})
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        w = w - 0.1 / n * (m / (1 - 0.9**n)) / ((v / (1 - 0.999**n)).sqrt() + 1e-8)
        torch.testing.assert_close(trainer.params["w"], w, rtol=1e-10, atol=1e-12)
    assert trainer.steps == 7


def test_steps_in_single_precision_are_those_of_pytorchs_plain_adam():
    """The learning rate is a tensor here and a number there; the kernel is fused here and a loop there."""

    class Single(Toy):
        def init(self, generator):
            return {name: p.float() for name, p in super().init(generator).items()}

        def meta_gradient(self, params, x):
            return super().meta_gradient(params, x.float())

    toy, rates = Single(), (0.1, 0.01, 0.3)
    trainer = Trainer(toy, sample, outer_lr=lambda n: rates[n - 1])
    theirs = trainer.params["w"].clone()
    plain = torch.optim.Adam([theirs], foreach=False, fused=False)
    for lr in rates:
        trainer.step()
        plain.param_groups[0]["lr"] = lr
        theirs.grad = theirs - toy.seen[-1][1]
        plain.step()
        torch.testing.assert_close(trainer.params["w"], theirs)


def test_a_step_of_descent_is_the_gradient_times_the_rate():
    toy = Toy()
    trainer = Trainer(toy, sample, outer_lr=lambda n: 0.1 / n, optimizer=Descent)
    w = trainer.params["w"].clone()
    for n in range(1, 4):
        trainer.step()
        w = w - 0.1 / n * (w - toy.seen[-1][1])
        torch.testing.assert_close(trainer.params["w"], w, rtol=1e-14, atol=1e-14)


def test_a_schedule_is_asked_for_each_step_from_1():
    asked = []
    trainer = Trainer(Toy(), sample, outer_lr=lambda n: asked.append(n) or 0.1)
    for _ in trainer.run(3):
        pass
    for _ in trainer.run(2):
        pass
    assert asked == [1, 2, 3, 4, 5]


def test_a_number_is_the_learning_rate():
    trainer = Trainer(Toy(), sample, outer_lr=0.25)
    before = trainer.params["w"].clone()
    trainer.step()
    # Adam's first step is the learning rate times the sign of the gradient.
    assert (trainer.params["w"] - before).abs().tolist() == pytest.approx([0.25] * 3, rel=1e-6)


def test_the_seed_alone_decides():
    before = torch.random.get_rng_state()

    def trained(seed):
        trainer = Trainer(Toy(), sample, seed=seed)
        losses = [step.metrics["loss"] for step in trainer.run(5)]
        return losses, trainer.params["w"].tolist()

    assert trained(3) == trained(3)
    assert trained(3)[0] != trained(4)[0]
    assert torch.equal(torch.random.get_rng_state(), before)


def test_samples_are_fresh_each_step():
    toy = Toy()
    list(Trainer(toy, sample).run(3))
    points = [x.tolist() for _w, x in toy.seen]
    assert points[0] != points[1] != points[2]


def test_run_takes_a_step_only_when_asked_for_the_next():
    toy = Toy()
    trainer = Trainer(toy, sample)
    running = trainer.run(100)
    assert toy.seen == []
    assert [next(running).number, next(running).number] == [1, 2]
    assert len(toy.seen) == trainer.steps == 2
    assert [step.number for step in trainer.run(2)] == [3, 4]  # a second run goes on from there


def test_given_parameters_are_copied_and_trained_from():
    given = {"w": torch.zeros(3, dtype=torch.float64, requires_grad=True)}
    toy = Toy()
    trainer = Trainer(toy, sample, params=given, outer_lr=0.1)
    trainer.step()
    assert toy.seen[0][0].tolist() == [0.0, 0.0, 0.0]
    assert given["w"].tolist() == [0.0, 0.0, 0.0]
    assert trainer.params["w"].abs().min() > 0.09


def test_the_same_samples_whether_parameters_are_given_or_not():
    """Or two runs of one seed could not be compared."""
    points = []
    for given in (None, {"w": torch.ones(3, dtype=torch.float64)}):
        toy = Toy()
        Trainer(toy, sample, seed=2, params=given).step()
        points.append(toy.seen[0][1].tolist())
    assert points[0] == points[1]


def test_divergence_names_the_step_and_goes_back_to_where_the_losses_were_finite():
    toy = Toy(nan_from=5)
    trainer = Trainer(toy, sample, outer_lr=0.1)
    message = (
        "the loss is nan at meta-step 5: the training is back at meta-step 3. "
        "Try a smaller inner or outer learning rate."
    )
    with pytest.raises(Diverged, match=f"^{re.escape(message)}$"):
        list(trainer.run(9))
    assert len(toy.seen) == 5
    # Step 4's loss was the last finite one: its parameters had three steps behind them.
    assert trainer.steps == 3
    assert torch.equal(trainer.params["w"], toy.seen[3][0])
    assert not torch.equal(toy.seen[4][0], toy.seen[3][0])


@pytest.mark.parametrize("optimizer", [Adam, Descent], ids=["Adam", "descent"])
def test_the_whole_state_goes_back(optimizer):
    """Moments and random numbers too, not the parameters alone."""
    trainer, twin = (
        Trainer(toy, sample, outer_lr=0.1, optimizer=optimizer, seed=4) for toy in (Toy(nan_from=5), Toy())
    )
    with pytest.raises(Diverged, match="at meta-step 5: the training is back at meta-step 3"):
        list(trainer.run(9))
    list(twin.run(3))
    ours, theirs = trainer.state(), twin.state()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_a_first_loss_that_is_not_finite_leaves_the_start(bad):
    class Bad(Toy):
        def meta_gradient(self, params, x):
            return {"w": params["w"]}, {"loss": torch.tensor(bad)}

    trainer = Trainer(Bad(), sample, seed=1)
    start = trainer.params["w"].clone()
    with pytest.raises(Diverged, match=f"the loss is {bad} at meta-step 1: the training is back at meta-step 0"):
        trainer.step()
    assert torch.equal(trainer.params["w"], start)
    assert trainer.steps == 0


def test_training_goes_on_after_a_gradient_that_was_not_a_number():
    """The loss of step 2 is finite, its gradient is not: neither the parameters nor Adam's moments may keep that."""

    class Once(Toy):
        def meta_gradient(self, params, x):
            grads, metrics = super().meta_gradient(params, x)
            return ({"w": grads["w"] * math.nan} if len(self.seen) == 2 else grads), metrics

    trainer, twin = (Trainer(toy, sample, outer_lr=0.1) for toy in (Once(), Toy()))
    with pytest.raises(Diverged, match="at meta-step 3: the training is back at meta-step 1"):
        list(trainer.run(5))
    assert [step.number for step in trainer.run(5)] == [2, 3, 4, 5, 6]
    list(twin.run(6))
    assert torch.equal(trainer.params["w"], twin.params["w"])


# Several steps at once


def test_several_steps_at_once_are_the_same_steps():
    asked = []
    one, many = (Trainer(Toy(), sample, outer_lr=lambda n: asked.append(n) or 0.1 / n) for _ in range(2))
    singles = list(one.run(7))
    together = list(many.run(7, every=3))
    assert asked == [1, 2, 3, 4, 5, 6, 7] * 2
    assert torch.equal(many.params["w"], one.params["w"])
    assert [step.number for step in together] == [3, 6, 7]
    for step, part in zip(together, (singles[:3], singles[3:6], singles[6:]), strict=True):
        for name, value in step.metrics.items():
            assert value == pytest.approx(sum(single.metrics[name] for single in part) / len(part), rel=1e-12)


@pytest.mark.parametrize(("nan_from", "at", "back"), [(5, 6, 0), (7, 12, 0), (14, 18, 6)])
def test_a_divergence_among_several_steps_goes_back_by_whole_calls(nan_from, at, back):
    toy = Toy(nan_from=nan_from)
    trainer = Trainer(toy, sample, outer_lr=0.1)
    where = f"one of the meta-steps {at - 5} to {at}"
    with pytest.raises(Diverged, match=f"the loss is nan at {where}: the training is back at meta-step {back}"):
        list(trainer.run(24, every=6))
    assert len(toy.seen) == at
    assert trainer.steps == back
    assert torch.equal(trainer.params["w"], toy.seen[back][0])


def test_a_loss_that_was_finite_again_does_not_hide_one_that_was_not():
    class Once(Toy):
        def meta_gradient(self, params, x):
            grads, metrics = super().meta_gradient(params, x)
            return grads, metrics | {"loss": metrics["loss"] * (math.nan if len(self.seen) == 3 else 1)}

    toy = Once()
    trainer = Trainer(toy, sample)
    with pytest.raises(Diverged, match="at one of the meta-steps 1 to 5: the training is back at meta-step 0"):
        trainer.step(5)
    assert torch.equal(trainer.params["w"], toy.seen[0][0])


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, None, "2", math.nan])
def test_less_than_a_step_at_once_is_refused(wrong):
    trainer = Trainer(Toy(), sample)
    for name, call in {
        "count": lambda: trainer.step(wrong),
        "every": lambda: trainer.run(3, every=wrong),
        "steps": lambda: trainer.run(wrong or -1),
    }.items():
        with pytest.raises((TypeError, ValueError), match=f"{name}=.* must be a whole number of at least"):
            call()
    assert trainer.steps == 0
    assert not list(trainer.run(0))


# What a learner returns


@dataclass
class Altered(Toy):
    """A toy whose gradient and metrics are altered."""

    gradient: object = staticmethod(lambda g: g)
    metrics: object = staticmethod(lambda m: m)

    def meta_gradient(self, params, x):
        gradient, metrics = super().meta_gradient(params, x)
        return self.gradient(gradient), self.metrics(metrics)


@pytest.mark.parametrize("optimizer", [Adam, Descent], ids=["Adam", "descent"])
@pytest.mark.parametrize(
    ("alter", "says"),
    [
        (lambda g: {"w": g["w"].expand(4, 3)}, r"of w has the shape \[4, 3\], and the parameter has \[3\]"),
        (lambda g: {"w": g["w"].mean()}, r"of w has the shape \[\], and the parameter has \[3\]"),
        (lambda g: {"w": g["w"][None]}, r"of w has the shape \[1, 3\], and the parameter has \[3\]"),
        (lambda g: {"w": g["w"][:2]}, r"of w has the shape \[2\], and the parameter has \[3\]"),
        (lambda g: {}, "has no w; it must have w"),
        (lambda g: {"v": g["w"]}, "has no w; it must have w"),
        (lambda g: g | {"v": g["w"]}, "has v, which is no parameter: w"),
        (lambda g: [g["w"]], "is .*; it must be a dictionary of w"),
        (lambda g: {"w": g["w"].float()}, "of w is torch.float32, and the parameter is torch.float64"),
    ],
)
def test_a_gradient_that_is_not_like_the_parameters_never_reaches_the_optimizer(alter, says, optimizer):
    trainer = Trainer(Altered(gradient=alter), sample, optimizer=optimizer)
    before = trainer.params["w"].clone()
    with pytest.raises(ValueError, match=says):
        trainer.step()
    assert torch.equal(trainer.params["w"], before)


@pytest.mark.parametrize(
    "metrics",
    [{}, {"accuracy": torch.tensor(1.0)}, {"loss": torch.ones(3)}, {"loss": 1.0}, [torch.tensor(1.0)], torch.ones(1)],
)
def test_metrics_have_a_loss_and_are_scalars_or_no_step_is_made(metrics):
    trainer = Trainer(Altered(metrics=lambda _: metrics), sample)
    before = trainer.params["w"].clone()
    with pytest.raises(ValueError, match="must be scalars, one called 'loss'"):
        trainer.step()
    assert torch.equal(trainer.params["w"], before)


def test_a_new_sampler_is_checked_again_and_other_threads_are_not_trusted():
    characters = noise.noise(12, 20, seed=0)
    trainer = Trainer(MAML(Conv4(3, channels=4)), lambda g: characters.sample(2, 3, 1, 1, g))
    trainer.step()
    other = characters.sample(2, 3, 1, 1, torch.Generator().manual_seed(0))
    trainer.sample = lambda g: replace(other, support_y=other.support_y + 1)
    with pytest.raises(ValueError, match="support_y has labels from 1 to 3"):
        trainer.step()
    seen = []
    with arguments.trusted(True):
        thread = threading.Thread(target=lambda: seen.append(arguments.is_trusted()))
        thread.start()
        thread.join()
    assert seen == [False]


def test_a_loss_that_mixes_the_tasks_is_refused():
    trainer = Trainer(MAML(MLP(), F.mse_loss, 0.01), lambda g: sine.sample(3, 5, 5, g))
    with pytest.raises(ValueError, match=r"loss returned the shape \[\]; it must be \[T\], here \[\d\]"):
        trainer.step()


# What a user hands over


@pytest.mark.parametrize("rate", [-1, math.nan, math.inf, None, "0.1", True, torch.ones(2)])
def test_an_outer_learning_rate_that_is_none_is_refused(rate):
    with pytest.raises((TypeError, ValueError), match=r"outer_lr=.* must be a finite number, at least 0"):
        Trainer(Toy(), sample, outer_lr=rate)
    trainer = Trainer(Toy(), sample, outer_lr=lambda _number: rate)
    before = trainer.params["w"].clone()
    with pytest.raises((TypeError, ValueError), match=r"outer_lr=.* must be a finite number, at least 0"):
        trainer.step()
    assert torch.equal(trainer.params["w"], before)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"learner": MLP}, "learner=.* must be a learner: it has no method"),
        ({"sample": None}, "sample=None must be a function"),
        ({"optimizer": "Adam"}, "optimizer='Adam' must be a function"),
        ({"seed": -1}, "seed=-1 must be a whole number"),
        ({"seed": 0.5}, "seed=0.5 must be a whole number"),
        ({"device": "tpu"}, 'device=\'tpu\' must be "cpu" or "cuda"'),
        ({"device": "mps"}, 'device=\'mps\' must be "cpu" or "cuda"'),
        ({"device": None}, "device=None must be"),
        ({"device": "cuda:99"}, "PyTorch finds no such GPU"),
        ({"recordings": -1}, "recordings=-1 must be a whole number"),
        ({"compiled": 1}, "compiled=1 must be True or False"),
        ({"params": {"w": torch.ones(4)}}, r"w of params has the shape \[4\]; it must be \[3\]"),
        ({"params": {"w": torch.ones(3).int()}}, "w of params has the dtype torch.int32; it must be torch.float64"),
        ({"params": {"v": torch.ones(3)}}, "params has no w"),
        ({"params": {}}, "params has no w"),
        ({"params": [torch.ones(3)]}, "params=.* must be a dictionary of tensors: w"),
        ({"params": {"w": torch.full([3], math.nan).double()}}, "w of params has numbers that are not finite"),
    ],
)
def test_an_argument_that_cannot_be_used_is_named(arguments, says):
    with pytest.raises((TypeError, ValueError), match=says):
        Trainer(**{"learner": Toy(), "sample": sample} | arguments)


# Going on


@pytest.mark.parametrize("optimizer", [Adam, Descent], ids=["Adam", "descent"])
def test_a_trainer_goes_on_where_another_was(optimizer):
    whole = Trainer(Toy(), sample, seed=3, optimizer=optimizer)
    losses = [step.metrics["loss"] for step in whole.run(9)]
    first = Trainer(Toy(), sample, seed=3, optimizer=optimizer)
    list(first.run(4))
    kept = {name: tensor.clone() for name, tensor in first.state().items()}
    list(first.run(2))  # does not change what was kept
    second = Trainer(Toy(), sample, seed=8, optimizer=optimizer)
    params = second.params["w"]
    second.load_state(kept)
    assert second.params["w"] is params
    assert second.steps == 4
    assert [step.metrics["loss"] for step in second.run(5)] == losses[4:]
    assert torch.equal(second.params["w"], whole.params["w"])


def test_a_divergence_after_loading_goes_back_to_what_was_loaded():
    first, second = Trainer(Toy(), sample, outer_lr=0.1), Trainer(Toy(nan_from=2), sample, seed=1)
    list(first.run(4))
    loaded = {name: tensor.clone() for name, tensor in first.state().items()}
    list(second.run(1))
    second.load_state(loaded)
    with pytest.raises(Diverged, match="at meta-step 5: the training is back at meta-step 4"):
        second.step()
    assert all(torch.equal(second.state()[name], tensor) for name, tensor in loaded.items())


def test_the_state_is_the_parameters_the_moments_the_steps_and_the_generator():
    of_trainer = {"trainer.steps", "trainer.generator"}
    trainer = Trainer(Toy(), sample)
    trainer.step(3)
    state = trainer.state()
    assert state.keys() == {"w", "trainer.mean", "trainer.square", "trainer.count"} | of_trainer
    assert state["trainer.steps"].tolist() == state["trainer.count"].item() == 3
    assert state["w"] is trainer.params["w"]
    assert Trainer(Toy(), sample, optimizer=Descent).state().keys() == {"w"} | of_trainer


@pytest.mark.parametrize("name", ["w", "trainer.mean", "trainer.steps", "trainer.generator"])
def test_the_state_of_another_training_is_refused_and_changes_nothing(name):
    trainer = Trainer(Toy(), sample)
    before = {key: tensor.clone() for key, tensor in trainer.state().items()}
    other = {key: tensor + 1 for key, tensor in trainer.state().items()}
    message = f"state is not the state of such a training: (state has no {name}|{name} of state has the shape)"
    for bad in ({key: tensor for key, tensor in other.items() if key != name}, other | {name: torch.ones(2, 1)}):
        with pytest.raises(ValueError, match=message):
            trainer.load_state(bad)
        assert all(torch.equal(tensor, before[key]) for key, tensor in trainer.state().items())


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("w", torch.tensor([math.nan, 0, 0]).double(), "w of state has numbers that are not finite"),
        ("w", torch.ones(3, dtype=torch.int8), "w of state has the dtype torch.int8"),
        ("trainer.square", torch.tensor([math.inf, 0, 0]).double(), "has numbers that are not finite"),
        ("trainer.steps", torch.tensor(-1), "steps=-1 must be a whole number"),
        ("trainer.steps", torch.tensor(1.0), "dtype torch.float32"),
        ("trainer.generator", torch.zeros(5056, dtype=torch.uint8), "Invalid mt19937 state"),
    ],
)
def test_a_state_with_impossible_numbers_is_refused_and_changes_nothing(name, value, says):
    trainer = Trainer(Toy(), sample)
    before = {key: tensor.clone() for key, tensor in trainer.state().items()}
    with pytest.raises(ValueError, match=says):
        trainer.load_state(trainer.state() | {name: value})
    assert all(torch.equal(tensor, before[key]) for key, tensor in trainer.state().items())


# What a CUDA graph asks for


def trainers():
    characters = noise.noise(12, 20, seed=0)
    conv = Conv4(3, channels=4)
    five = {"sample": lambda g: characters.sample(2, 3, 1, 1, g)}
    reptile = Reptile(conv, inner_steps=2, inner_batch=4)
    return {
        "sine": Trainer(MAML(MLP(), mse, 0.01), lambda g: sine.sample(3, 5, 5, g)),
        "sine, Meta-SGD": Trainer(MetaSGD(MLP(), mse, 0.01), lambda g: sine.sample(3, 5, 5, g)),
        "omniglot": Trainer(MAML(conv), **five),
        "omniglot, 2 steps": Trainer(MAML(conv, inner_lr=torch.tensor(0.1), inner_steps=2), **five),
        "omniglot, first order": Trainer(MAML(conv, order=1), **five),
        "omniglot, ANIL": Trainer(ANIL(conv), **five),
        "omniglot, sparse": Trainer(SparseMAML(conv, order=1), **five),
        "reptile": Trainer(
            reptile, lambda g: reptile.stream(characters.sample(2, 3, 2, 1, g), g), optimizer=Descent, outer_lr=1.0
        ),
        "omniglot, inductive": Trainer(MAML(conv, transductive=False), **five),
        "prototypical": Trainer(PrototypicalNet(Conv4(channels=4, pool="max")), **five),
    }


@pytest.mark.parametrize("name", trainers())
def test_a_meta_step_never_waits_for_the_device_and_its_shapes_stay(name, monkeypatch):
    # On a CPU, and only there, one_hot reads the labels to check them.
    monkeypatch.setattr(F, "one_hot", lambda labels, ways: (labels[..., None] == torch.arange(ways)).long())
    trainer = trainers()[name]
    trainer.step()
    seen = []
    for _ in range(2):
        with OnDevice() as mode:
            trainer._meta_step()
        seen.append(mode.shapes)
    assert seen[0] == seen[1]
    step = "addcmul_" if name == "reptile" else "_fused_adam_"
    assert step in {operation for operation, _shapes in seen[0]}


@pytest.mark.parametrize("name", trainers())
def test_a_meta_gradient_mixes_no_devices(name):
    """Tensors of the device `meta` have no numbers that could be read, and meet no others."""
    trainer = trainers()[name]
    params = {name: p.to("meta") for name, p in trainer.params.items()}
    grads, metrics = trainer.learner.meta_gradient(params, trainer.sample(trainer.generator).to("meta"))
    assert {name: (g.shape, g.device.type) for name, g in grads.items()} == {
        name: (p.shape, "meta") for name, p in params.items()
    }
    assert {value.device.type for value in metrics.values()} == {"meta"}


@pytest.mark.parametrize(
    "bad",
    [
        lambda w: w * w.sum().item(),
        lambda w: w if w.sum() > 0 else -w,
        lambda w: w[w > 0],
        lambda w: w.nonzero(),
        lambda w: w + torch.tensor([1.0, 2.0, 3.0]),
    ],
)
def test_what_would_wait_for_the_device_is_seen(bad):
    w = torch.ones(3)
    with pytest.raises(AssertionError), OnDevice():
        bad(w)


class OnGpu(torch.Tensor):
    """A tensor that says it is on a GPU, so that a trainer records its steps. It is on the CPU."""

    @property
    def device(self):
        return SimpleNamespace(type="cuda")


class ToyOnGpu(Toy):
    def init(self, generator):
        return {name: p.as_subclass(OnGpu) for name, p in super().init(generator).items()}


class Momentum:
    """An optimizer that keeps a moment and never asks for a device."""

    def __init__(self, params):
        self.params = params
        self.rate = torch.zeros((), dtype=params.dtype)
        self.state = {"moment": torch.zeros_like(params)}

    def step(self, gradient):
        self.params -= self.rate * self.state["moment"].mul_(0.5).add_(gradient)


def gpu_trainer(learner, **options):
    return Trainer(learner, sample, optimizer=Momentum, outer_lr=lambda n: 0.5**n, **options)


@pytest.fixture
def recorded(monkeypatch):
    """Put something in CUDA's place that calls the recorded Python again. Returns the recordings made."""
    bodies, recordings = [], []

    class Graph:
        def __init__(self):
            self.replay = bodies[-1]

        def register_generator_state(self, generator):
            self.generator = generator

    class Stream:
        def wait_stream(self, stream):
            pass

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    default = Stream()
    for name in ("default_stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, lambda: default)
    for name in ("device", "stream"):
        monkeypatch.setattr(torch.cuda, name, lambda _: nullcontext())

    def graph(graph, stream):
        graph.stream = stream
        return nullcontext(recordings.append(graph))

    monkeypatch.setattr(torch.cuda, "graph", graph)

    def record(meta_step, generator, state):
        values = {}  # like the graph's own: the same tensors for every replay

        def body():
            for name, value in meta_step().items():
                values.setdefault(name, torch.empty_like(value)).copy_(value)
            return values

        bodies.append(body)
        return plain_record(body, generator, state)

    plain_record = cuda_graph.record
    monkeypatch.setattr(cuda_graph, "record", record)
    return recordings


def test_a_recorded_training_is_the_same_training(recorded):
    """The warm-up and the recording leave no trace, and the learning rate can change between replays."""
    eager, ours = gpu_trainer(Toy()), gpu_trainer(ToyOnGpu())
    assert "trainer.moment" in ours.state()
    for a, b in zip(eager.run(9, every=3), ours.run(9, every=3), strict=True):
        assert a == b
    assert [graph.generator for graph in recorded] == [ours.generator]
    assert len(ours.learner.seen) == len(eager.learner.seen) + cuda_graph.WARM_UP + 1
    assert eager.state().keys() == ours.state().keys()
    assert all(torch.equal(tensor, ours.state()[name]) for name, tensor in eager.state().items())


def test_a_recorded_training_goes_back_from_a_loss_that_is_not_finite(recorded):
    trainer = gpu_trainer(ToyOnGpu(nan_from=10))  # 4 steps are spent on warm-up and recording
    with pytest.raises(Diverged, match="at meta-step 6: the training is back at meta-step 4"):
        list(trainer.run(10))
    twin = gpu_trainer(Toy())
    list(twin.run(4))
    assert all(torch.equal(tensor, trainer.state()[name]) for name, tensor in twin.state().items())


def test_another_learner_or_sample_is_recorded_once(recorded):
    learner = ToyOnGpu()
    trainer = gpu_trainer(learner)
    trainer.step()
    trainer.outer_lr = 0.5
    trainer.step()
    assert len(recorded) == 1
    trainer.learner = other = Toy()
    trainer.step()
    assert len(recorded) == 2
    trainer.sample = lambda generator: sample(generator)
    trainer.step()
    assert len(recorded) == 3
    trainer.learner, trainer.sample = learner, sample
    seen = len(learner.seen), len(other.seen)
    trainer.step()
    assert len(recorded) == 3
    assert (len(learner.seen), len(other.seen)) == (seen[0] + 1, seen[1])


def test_a_step_is_recorded_on_the_stream_on_which_it_is_replayed(recorded, monkeypatch):
    gpu_trainer(ToyOnGpu()).step()
    assert recorded[-1].stream is None  # PyTorch's own, because the default stream cannot be recorded
    another = torch.cuda.Stream()
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: another)
    gpu_trainer(ToyOnGpu()).step()
    assert recorded[-1].stream is another


def test_recordings_do_not_pile_up(recorded):
    learners = [ToyOnGpu() for _ in range(3)]
    trainer = gpu_trainer(learners[0], recordings=2)
    for trainer.learner in (*learners, learners[2], learners[1], learners[0]):
        trainer.step()
    assert len(recorded) == 4  # the oldest had gone


def test_nothing_is_recorded_if_no_recording_is_to_be_kept(recorded):
    trainer = gpu_trainer(ToyOnGpu(), recordings=0)
    trainer.step(3)
    assert recorded == []
    assert len(trainer.learner.seen) == 3


@pytest.mark.parametrize("algorithm", [MAML, MetaSGD, ANIL] if ALL else [MAML])
def test_a_compiled_training_is_the_same_training(algorithm, monkeypatch):
    """The compiler has to take the whole of the meta-gradient: without a break, as on a GPU."""
    plain, calls = torch.compile, []

    def take_all(function, **options):
        calls.append(function)
        return plain(function, backend="eager", fullgraph=True, **options)

    monkeypatch.setattr(torch, "compile", take_all)
    monkeypatch.setattr(maml, "sum_over_tasks", lambda work, episode: work(episode))
    characters = noise.noise(6, 4, seed=0)
    learner = algorithm(Conv4(3, channels=4), inner_steps=2)
    eager, compiled = (
        Trainer(learner, lambda g: characters.sample(2, 3, 1, 1, g), compiled=compiled) for compiled in (False, True)
    )
    eager.step(4)
    compiled.step(4)
    assert calls == [learner.meta_gradient]
    for name, p in eager.params.items():
        torch.testing.assert_close(compiled.params[name], p, rtol=1e-3, atol=1e-5)


def test_without_a_gpu_nothing_is_recorded(recorded):
    gpu_trainer(Toy()).step()
    assert recorded == []
