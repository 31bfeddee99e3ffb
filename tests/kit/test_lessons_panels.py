"""The panels of all lessons that are more than a `Panel`: whatever fails, they say so and can be used again.

Those that steer a training do so on a GPU too.
"""

import asyncio
import math

import pytest
import torch
from fake_gpu import OnGPU, fake_gpu

from metalab.engine import cuda_graph
from metalab.learners import MAML
from metalab.lessons.learning_to_act import figures as acting
from metalab.lessons.omniglot_few_shot import figures as characters
from metalab.lessons.second_vs_first_order_maml import figures as orders
from metalab.lessons.siamese_contrastive_loss import figures as siamese
from metalab.lessons.sine_regression import figures as sine
from metalab.nets import Conv4
from metalab.tasks import glyphs

ERRORS = [IndexError("it is odd"), KeyboardInterrupt()]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def drawn():
    """Characters to train on, and unseen ones."""
    return glyphs.draw(alphabets=3, seed=0), glyphs.draw(alphabets=3, seed=1)


def broken(error, at=1):
    """A function that raises an error when it is called for that time."""
    calls = []

    def fail(*_arguments):
        calls.append(1)
        if len(calls) == at:
            raise error

    return fail


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("at", [1, 2], ids=["while it trains", "at the end"])
def test_the_retrain_panel_can_train_again(at, error, figures, monkeypatch):
    panel = sine.RetrainPanel(steps=100)
    monkeypatch.setattr(panel.picture, "due", iter([True] + [False] * 999).__next__)
    with monkeypatch.context() as patch:
        patch.setattr(panel.picture, "draw", broken(error, at))
        if error is ERRORS[1] and at == 1:
            panel.train()  # an interrupt ends the training only
        else:
            with pytest.raises(type(error)):
                panel.train()
            assert "so that the one below is out of date" in panel.picture.text.value
    assert not panel.button.disabled
    panel.button.click()
    assert "run 2" in panel.picture.text.value
    assert "done." in panel.picture.text.value


def test_a_threshold_needs_distances(figures):
    for distance in (torch.zeros(8), torch.full((8,), math.inf)):
        with pytest.raises(ValueError, match=r"the largest distance=.* must be a finite number, above 0"):
            siamese.threshold_panel(distance, torch.arange(8) % 2 == 0, title="")


@pytest.mark.parametrize("number", [math.nan, math.inf, 1e30])
@pytest.mark.parametrize(
    "lesson", [sine, characters, siamese, orders, acting], ids=lambda lesson: lesson.__name__.split(".")[-2]
)
def test_a_network_that_has_diverged_is_drawn(lesson, number, drawn):
    """The driver takes a divergence back at the next step; a picture that comes before must not end the cell."""
    panel = lesson.training_panel(*(drawn if lesson in (characters, siamese) else ()))
    for tensor in panel.driver.trainer.params.values():
        tensor.fill_(number)
    panel._draw()
    assert "no loss yet" in panel.readout.value


def test_maml_is_asked_only_what_its_last_layer_was_trained_for(drawn, figures):
    learner = MAML(Conv4(outputs=3, channels=4), inner_steps=1)
    params = learner.init(torch.Generator().manual_seed(0))
    panel = characters.episode_panel(
        drawn[1], learner, params, lambda e: torch.rand(e.tasks, e.ways, e.ways), episodes=2
    )
    for ways in range(2, 7):
        panel.controls["ways"].value = ways
        assert ("trained for 3 ways, so it is not asked" in panel.picture.text.value) == (ways > 3)
        assert ("answers by MAML" in figures[-1].axes[0].get_title()) == (ways <= 3)


def on(device, lesson, drawn):
    """A lesson's panel that steers a training on a device."""
    if lesson in (characters, siamese):
        return lesson.training_panel(*(each.to(device) for each in drawn))
    return lesson.training_panel(device=device)


@pytest.mark.parametrize(
    "lesson", [sine, characters, siamese, orders, acting], ids=lambda lesson: lesson.__name__.split(".")[-2]
)
def test_a_training_on_a_gpu_is_steered_without_another_recording(lesson, drawn, figures, monkeypatch):
    with fake_gpu() as gpu, monkeypatch.context() as patch:  # which is undone before the GPU is gone
        made, record = [], cuda_graph.record
        patch.setattr(cuda_graph, "record", lambda *arguments: made.append(1) or record(*arguments))
        panel = on(gpu, lesson, drawn)
        assert all(isinstance(p, OnGPU) for p in panel.driver.trainer.params.values())
        name = "margin" if lesson is siamese else "inner_lr"
        losses = asyncio.run(panel.train(4, script={2: {name: 0.02}, 3: {"outer_lr": 0.01}, 4: {name: 0.03}}))
        assert len(losses) == 4
        assert panel.frames > 1, "it was drawn"
        assert getattr(panel.driver.trainer.learner, name).item() == pytest.approx(0.03)
        assert len(made) == 1, "a slider changes a tensor that the recording reads"
        again = on(gpu, lesson, drawn).driver.replay(panel.history)
        assert [step.metrics["loss"] for step in again] == pytest.approx(losses, rel=1e-4)


def test_a_gpu_trains_the_networks_of_the_papers(drawn, figures):
    for lesson in (characters, siamese):
        assert on("cpu", lesson, drawn).driver.trainer.learner.net.channels == 32
        with fake_gpu() as gpu:
            assert on(gpu, lesson, drawn).driver.trainer.learner.net.channels == 64
