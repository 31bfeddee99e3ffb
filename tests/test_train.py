import math
from dataclasses import dataclass, field

import pytest
import torch

from metalab.train import Diverged, Step, Trainer


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
