import math
from contextlib import nullcontext
from dataclasses import dataclass, field

import noise
import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from metalab import train
from metalab.engine import cuda_graph
from metalab.learners.maml import MAML
from metalab.learners.prototypical import PrototypicalNet
from metalab.learners.reptile import Reptile
from metalab.losses import mse
from metalab.nets import MLP, Conv4
from metalab.tasks import sine
from metalab.train import Adam, Descent, Diverged, Step, Trainer


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


def test_divergence_names_the_step_and_keeps_the_last_good_parameters():
    toy = Toy(nan_from=5)
    trainer = Trainer(toy, sample, outer_lr=0.1)
    message = "the loss is nan at step 5: the parameters of step 3 are kept. Try a smaller inner or outer learning rate"
    with pytest.raises(Diverged, match=message):
        list(trainer.run(9))
    assert len(toy.seen) == 5
    # Step 4's loss was the last finite one: its parameters had three steps behind them.
    assert trainer.steps == 3
    assert torch.equal(trainer.params["w"], toy.seen[3][0])
    assert not torch.equal(toy.seen[4][0], toy.seen[3][0])


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_a_first_loss_that_is_not_finite_leaves_the_start(bad):
    class Bad(Toy):
        def meta_gradient(self, params, x):
            return {"w": params["w"]}, {"loss": torch.tensor(bad)}

    trainer = Trainer(Bad(), sample, seed=1)
    start = trainer.params["w"].clone()
    with pytest.raises(Diverged, match=f"the loss is {bad} at step 1: the parameters of step 0 are kept"):
        trainer.step()
    assert torch.equal(trainer.params["w"], start)
    assert trainer.steps == 0


def test_training_goes_on_after_a_gradient_that_was_not_a_number():
    """The loss of step 2 is finite, its gradient is not: neither the parameters nor Adam's moments may keep that."""

    class Once(Toy):
        def meta_gradient(self, params, x):
            grads, metrics = super().meta_gradient(params, x)
            return ({"w": grads["w"] * math.nan} if len(self.seen) == 2 else grads), metrics

    trainer = Trainer(Once(), sample, outer_lr=0.1)
    with pytest.raises(Diverged, match="at step 3: the parameters of step 1 are kept"):
        list(trainer.run(5))
    assert [step.number for step in trainer.run(5)] == [2, 3, 4, 5, 6]
    assert torch.isfinite(trainer.params["w"]).all()


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


def test_a_divergence_among_several_steps_goes_back_as_far():
    toy = Toy(nan_from=5)
    trainer = Trainer(toy, sample, outer_lr=0.1)
    with pytest.raises(Diverged, match="the loss is nan at step 5: the parameters of step 3 are kept"):
        list(trainer.run(12, every=6))
    assert len(toy.seen) == 6
    assert trainer.steps == 3
    assert torch.equal(trainer.params["w"], toy.seen[3][0])


def test_a_loss_that_was_finite_again_does_not_hide_one_that_was_not():
    class Once(Toy):
        def meta_gradient(self, params, x):
            grads, metrics = super().meta_gradient(params, x)
            return grads, metrics | {"loss": metrics["loss"] * (math.nan if len(self.seen) == 3 else 1)}

    toy = Once()
    trainer = Trainer(toy, sample)
    with pytest.raises(Diverged, match="at step 3: the parameters of step 1 are kept"):
        trainer.step(5)
    assert torch.equal(trainer.params["w"], toy.seen[1][0])


def test_less_than_a_step_at_once_is_refused():
    with pytest.raises(ValueError, match="every=0 must be at least 1"):
        next(Trainer(Toy(), sample).run(3, every=0))


# Going on


@pytest.mark.parametrize("optimizer", [Adam, Descent])
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


def test_the_last_good_parameters_are_part_of_the_state():
    first, second = Trainer(Toy(), sample, outer_lr=0.1), Trainer(Toy(nan_from=1), sample, seed=1)
    list(first.run(4))
    second.load_state(first.state())
    with pytest.raises(Diverged, match="at step 5: the parameters of step 3 are kept"):
        second.step()
    assert torch.equal(second.params["w"], first.learner.seen[3][0])


@pytest.mark.parametrize("name", ["w", "trainer.mean", "trainer.steps", "trainer.generator"])
def test_the_state_of_another_training_is_refused_and_changes_nothing(name):
    trainer = Trainer(Toy(), sample)
    before = trainer.params["w"].clone()
    other = {key: tensor + 1 for key, tensor in trainer.state().items()}
    message = rf"{name} is missing or not of shape \({len(other[name])},\): it is the state of another training"
    for bad in ({key: tensor for key, tensor in other.items() if key != name}, other | {name: torch.ones(2, 1)}):
        with pytest.raises(ValueError, match=message):
            trainer.load_state(bad)
        assert torch.equal(trainer.params["w"], before)
        assert trainer.steps == 0


# Adam


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_adam_is_pytorchs(dtype):
    ours, theirs = torch.ones(9, dtype=dtype), torch.ones(9, dtype=dtype)
    adam = Adam(ours)
    optimizer = torch.optim.Adam([theirs])
    generator = torch.Generator().manual_seed(0)
    for lr in (0.1, 0.01, 0.3):
        adam.rate.fill_(lr)
        optimizer.param_groups[0]["lr"] = lr
        gradient = torch.randn(9, generator=generator, dtype=dtype)
        adam.step(gradient)
        theirs.grad = gradient
        optimizer.step()
        torch.testing.assert_close(ours, theirs)


# What a CUDA graph asks for


class OnDevice(TorchDispatchMode):
    """Refuses whatever makes the host wait for a GPU, or a shape depend on numbers; notes all other shapes."""

    FORBIDDEN = ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "_unique2", "equal")

    def __init__(self):
        super().__init__()
        self.shapes = []

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        name = function.overloadpacket.__name__
        assert name not in self.FORBIDDEN, f"{name} waits for the device"
        # Numbers of Python's become a tensor; a single one in `x[0] = 1` would be a kernel's argument on a GPU.
        assert name != "lift_fresh" or arguments[0].dim() == 0, "a copy from the host waits for the device"
        if name in ("index", "index_put", "index_put_"):
            assert all(i is None or i.dtype != torch.bool for i in arguments[1]), "a mask gives a shape of its own"
        result = function(*arguments, **(options or {}))
        self.shapes.append((name, [tuple(t.shape) for t in tree_leaves(result) if isinstance(t, torch.Tensor)]))
        return result


def trainers():
    characters = noise.noise(12, 20, seed=0)
    conv = Conv4(3, channels=4)
    five = {"sample": lambda g: characters.sample(2, 3, 1, 1, g)}
    reptile = Reptile(conv, inner_steps=2, inner_batch=4)
    return {
        "sine": Trainer(MAML(MLP(), mse, 0.01), lambda g: sine.sample(3, 5, 5, g)),
        "sine, Meta-SGD": Trainer(MAML(MLP(), mse, 0.01, learn_rates=True), lambda g: sine.sample(3, 5, 5, g)),
        "omniglot": Trainer(MAML(conv), **five),
        "omniglot, 2 steps": Trainer(MAML(conv, inner_lr=torch.tensor(0.1), inner_steps=2), **five),
        "omniglot, first order": Trainer(MAML(conv, order=1), **five),
        "omniglot, ANIL": Trainer(MAML(conv, adapts=("head", "bias")), **five),
        "omniglot, sparse": Trainer(MAML(conv, order=1, learn_gates=True), **five),
        "reptile": Trainer(
            reptile, lambda g: reptile.stream(characters.sample(2, 3, 2, 1, g), g), optimizer=Descent, outer_lr=1.0
        ),
        "omniglot, inductive": Trainer(MAML(conv, transductive=False), **five),
        "protonet": Trainer(PrototypicalNet(Conv4(channels=4, pool="max")), **five),
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


@pytest.fixture
def no_gpu(monkeypatch):
    """In CUDA's place what calls the recorded Python again; `recordings` counts."""
    body = []

    class Graph:
        def register_generator_state(self, generator):
            self.generator = generator

        def replay(self):
            body[-1]()

    class Stream:
        def wait_stream(self, stream):
            pass

    recordings = []
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    for name in ("device", "stream"):
        monkeypatch.setattr(torch.cuda, name, lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: nullcontext(recordings.append(graph)))

    def record(meta_step, generator, state):
        values = torch.empty(2, dtype=torch.float64)  # like the graph's own: the same tensor for every replay
        body.append(lambda: values.copy_(meta_step()))
        return cuda_graph.record(body[-1], generator, state)

    monkeypatch.setattr(train, "record", record)
    return recordings


def test_a_recorded_training_is_the_same_training(no_gpu):
    """The warm-up and the recording leave no trace, and the learning rate can change between replays."""
    eager, recorded = (Trainer(Toy(), sample, outer_lr=lambda n: 0.1 / n) for _ in range(2))
    list(eager.run(2))
    list(recorded.run(2))
    before = {name: tensor.clone() for name, tensor in recorded.state().items()}
    recorded._meta_step = recorded._recorded()
    assert [graph.generator for graph in no_gpu] == [recorded.generator]
    assert all(torch.equal(tensor, before[name]) for name, tensor in recorded.state().items())
    for a, b in zip(eager.run(7, every=3), recorded.run(7, every=3), strict=True):
        assert a == b
    assert all(torch.equal(tensor, recorded.state()[name]) for name, tensor in eager.state().items())


def test_a_recorded_training_notes_a_loss_that_is_not_finite(no_gpu):
    trainer = Trainer(Toy(nan_from=10), sample)  # 4 steps are spent on warm-up and recording
    trainer._meta_step = trainer._recorded()
    with pytest.raises(Diverged, match="at step 6: the parameters of step 4 are kept"):
        trainer.step(10)


def test_another_learner_or_sample_is_recorded_once(no_gpu):
    learner = Toy()
    trainer = Trainer(learner, sample)
    first = trainer._recorded()
    trainer.outer_lr = 0.5
    assert trainer._recorded() is first
    trainer.learner = Toy()
    second = trainer._recorded()
    assert second is not first
    trainer.sample = lambda generator: sample(generator)
    assert trainer._recorded() is not second
    assert len(no_gpu) == 3
    trainer.learner, trainer.sample = learner, sample
    assert trainer._recorded() is first
    assert len(no_gpu) == 3


def test_recordings_do_not_pile_up(no_gpu, monkeypatch):
    monkeypatch.setattr(train, "RECORDINGS", 2)
    learners = [Toy() for _ in range(3)]
    trainer = Trainer(learners[0], sample)
    for trainer.learner in (*learners, learners[2], learners[1], learners[0]):
        trainer._recorded()
    assert len(no_gpu) == 4  # the oldest had gone
