import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from metalab.learners import MAML
from metalab.lessons.kit import panels
from metalab.lessons.kit.figures import figure
from metalab.lessons.sine_regression import figures as lesson
from metalab.losses import mse
from metalab.nets import MLP
from metalab.tasks import Sine
from metalab.train import Trainer


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def grown(seed=0):
    """Parameters as large as after training: fresh ones are so small that they hardly adapt."""
    generator = seeded(seed)
    return {name: 0.5 * torch.randn(p.shape, generator=generator) for name, p in MLP().init(generator).items()}


START = grown()


def lines(ax):
    """The curves of a picture by their name in the legend: x and y [n, 2]."""
    return {line.get_label(): line.get_xydata() for line in ax.get_lines()}


def support(fig):
    return [tuple(point) for point in lines(fig.axes[0])["support points"]]


def words(panel):
    return panel.picture.text.value


# Pieces


def test_more_support_points_keep_those_before():
    task = lesson.one_task(3.0, 1.0)
    few, many = (lesson.support_points(task, shots) for shots in (4, 9))
    assert few.support_x.shape == (1, 4, 1)
    assert torch.equal(many.support_x[:, :4], few.support_x)
    assert torch.equal(few.support_y, task(few.support_x))
    assert few.support_x.min() < 0 < few.support_x.max()
    assert torch.equal(few.query_x, lesson.GRID)
    assert torch.equal(few.query_y, task(lesson.GRID))


def test_half_the_support_lies_left():
    episode = lesson.support_points(lesson.one_task(3.0, 1.0), 20, half=True)
    assert episode.support_x.min() >= -5
    assert episode.support_x.max() <= 0
    assert episode.query_x.max() == 5


def test_the_grid_spans_the_range():
    assert lesson.GRID.shape == (1, 201, 1)
    assert (lesson.GRID.min(), lesson.GRID.max()) == (-5, 5)


@pytest.mark.parametrize(("length", "window"), [(7, 3), (120, 50), (2, 50), (1, 1)])
def test_smooth_is_a_trailing_mean(length, window):
    values = torch.rand(length, generator=seeded()).tolist()
    expected = [np.mean(values[max(0, n + 1 - window) : n + 1]) for n in range(length)]
    assert lesson.smooth(values, window).tolist() == pytest.approx(expected, rel=1e-12)


def test_one_huge_loss_does_not_spoil_the_curve_after_it():
    smoothed = lesson.smooth([1e25, *[1.0] * 60], 50)
    assert smoothed[49] == pytest.approx(2e23)
    assert smoothed[50:].tolist() == [1.0] * 11


def test_tasks_are_drawn_as_they_are():
    task = Sine.draw(3, seeded())
    fig = lesson.draw_tasks(task, "three tasks")
    [ax] = fig.axes
    assert ax.get_title() == "three tasks"
    assert len(lines(ax)) == 3
    for (name, points), a, p in zip(lines(ax).items(), task.amplitude.tolist(), task.phase.tolist(), strict=True):
        assert name == f"A = {a:.1f}, φ = {p:.1f}"
        assert points[:, 1] == pytest.approx(a * np.sin(points[:, 0] - p), abs=1e-5)


def test_a_fit_shows_the_task_its_points_and_each_curve():
    _fig, ax = figure()
    episode = lesson.support_points(lesson.one_task(5.0, 1.0), 3)
    curves = {"flat": torch.zeros(201), "high": torch.ones(201)}
    lesson.draw_fit(ax, episode, curves, "fit")
    drawn = lines(ax)
    assert list(drawn) == ["the task", "flat", "high", "support points"]
    assert drawn["the task"][:, 1] == pytest.approx(episode.query_y.flatten().numpy())
    assert drawn["high"].tolist() == [[pytest.approx(x), 1.0] for x in lesson.GRID.flatten().tolist()]
    assert drawn["support points"][:, 1] == pytest.approx(episode.support_y.flatten().numpy())
    low, high = ax.get_ylim()
    assert low < -5 < 5 < high, "the whole wave must be seen"
    styles = {(line.get_color(), line.get_linestyle()) for line in ax.get_lines()}
    assert len(styles) == 4


def looks(ax):
    """Colour and dash of each curve by its name."""
    return {line.get_label(): (line.get_color(), line.get_linestyle()) for line in ax.get_lines()}


def test_each_run_has_a_look_of_its_own_and_the_last_one_stands_out():
    _fig, ax = figure()
    lesson.draw_losses(ax, {"first": [3.0, 1.0], "second": [2.0], "third": [4.0]}, "losses")
    assert lines(ax)["first"].tolist() == [[1, 3.0], [2, 2.0]]
    assert len({color for color, _dash in looks(ax).values()}) == 3
    assert len({dash for _color, dash in looks(ax).values()}) == 3
    *earlier, last = (line.get_linewidth() for line in ax.get_lines())
    assert last > max(earlier)
    assert ax.get_yscale() == "log"


def test_a_run_keeps_its_look_when_others_leave_the_picture():
    (_fig, ax), (_fig, later) = figure(), figure()
    lesson.draw_losses(ax, {"first": [3.0], "second": [2.0], "third": [4.0]}, "losses")
    lesson.draw_losses(later, {"second": [2.0], "third": [4.0], "fourth": [4.0]}, "losses", first=2)
    assert looks(later)["second"] == looks(ax)["second"]
    assert looks(later)["third"] == looks(ax)["third"]


def test_the_average_wave_is_the_mean_of_many():
    waves = Sine.draw(20_000, seeded())(lesson.GRID.expand(20_000, -1, -1)).mean(0).flatten()
    torch.testing.assert_close(lesson.average_wave(), waves, rtol=0, atol=0.06)


def test_the_average_wave_is_drawn_next_to_the_network():
    fig, said = lesson.draw_average(START, tasks=4)
    drawn = lines(fig.axes[0])
    assert drawn["the average wave"][:, 1] == pytest.approx(lesson.average_wave().numpy())
    assert drawn["the network"][:, 1] == pytest.approx(lesson.joint_prediction(START).numpy())
    apart = (lesson.joint_prediction(START) - lesson.average_wave()).square().mean().sqrt()
    assert f"The typical distance between the two is {apart:.2f}." in said
    assert len(fig.axes[0].get_lines()) == 6


def test_joint_prediction_is_the_network_alone():
    x = lesson.GRID[0]
    hidden = (x @ START["w1"] + START["b1"]).relu()
    hidden = (hidden @ START["w2"] + START["b2"]).relu()
    expected = (hidden @ START["w3"] + START["b3"]).flatten()
    torch.testing.assert_close(lesson.joint_prediction(START), expected)


# The adaptation panel


@pytest.mark.parametrize(
    ("control", "value"),
    [("inner_lr", 0.001), ("steps", 3), ("shots", 4), ("amplitude", 1.0), ("phase", 2.0), ("half", True)],
)
def test_the_adaptation_panel_answers_to_each_control(control, value, figures):
    panel = lesson.adaptation_panel({"random": START})
    before = words(panel)
    panel.controls[control].value = value
    assert words(panel) != before
    assert len(figures) == 2


def test_the_adaptation_panel_shows_what_maml_does(figures):
    other = grown(1)
    panel = lesson.adaptation_panel({"one": START, "two": other})
    panel.controls["steps"].value = 3
    episode = lesson.support_points(lesson.one_task(3.0, 1.0), 10)
    learner = MAML(MLP(), mse, inner_lr=0.01)
    told = []
    for ax, (name, params) in zip(figures[-1].axes, {"one": START, "two": other}.items(), strict=True):
        answers = {steps: replace(learner, inner_steps=steps).predict(params, episode) for steps in (0, 3)}
        errors = {steps: mse(answer, episode.query_y).item() for steps, answer in answers.items()}
        assert lines(ax)["before"][:, 1] == pytest.approx(answers[0].flatten().numpy(), abs=1e-6)
        assert lines(ax)["after"][:, 1] == pytest.approx(answers[3].flatten().numpy(), abs=1e-6)
        assert ax.get_title() == name
        told.append(f"{name}: mean squared error {errors[0]:.3g} → {errors[3]:.3g} after 3 steps")
    assert "; ".join(told) in words(panel)


def test_the_panels_points_follow_shots_and_half(figures):
    panel = lesson.adaptation_panel({"random": START})
    panel.controls["shots"].value = 4
    few = support(figures[-1])
    panel.controls["shots"].value = 9
    many = support(figures[-1])
    assert (len(few), len(many)) == (4, 9)
    assert many[:4] == few
    assert max(x for x, _y in many) > 0
    panel.controls["half"].value = True
    assert len(support(figures[-1])) == 9
    assert max(x for x, _y in support(figures[-1])) <= 0


def test_without_an_inner_step_the_panel_says_that_nothing_adapts(figures):
    panel = lesson.adaptation_panel({"random": START})
    assert "nothing adapts" not in words(panel)
    panel.controls["steps"].value = 0
    assert "Without an inner step nothing adapts, so α and the support points change no curve." in words(panel)


@pytest.mark.parametrize("steps", [3, 20])  # far off, and not a number
def test_a_diverging_adaptation_names_the_slider_to_move(steps):
    panel = lesson.adaptation_panel({"random": START})  # its pictures are really drawn here, without a warning
    assert "diverged" not in words(panel)
    panel.controls["steps"].value = steps
    panel.controls["inner_lr"].value = 1.0
    assert "the adaptation diverged: α = 1 overshoots. Move the inner learning rate to the left" in words(panel)
    panel.controls["inner_lr"].value = 0.001
    assert "diverged" not in words(panel)


# Training


def test_live_training_returns_the_losses(figures, monkeypatch):
    shown = []
    monkeypatch.setattr(panels, "show_widget", lambda *_: None)
    monkeypatch.setattr(panels, "show", lambda fig, text: shown.append((fig, text)))
    learner = MAML(MLP(), mse, inner_lr=0.01)
    trainer, twin = (Trainer(learner, lambda g: lesson.sample(4, 5, 5, g)) for _ in range(2))
    losses = lesson.train_with_fit(trainer, 6, title="MAML")
    assert losses == [step.metrics["loss"] for step in twin.run(6)]
    [(fig, text)] = shown
    assert text == f"MAML: meta-step 6 of 6, loss {np.mean(losses):.2f} (mean of the last 50)."
    left, right = fig.axes
    assert lines(left)["training"][:, 1] == pytest.approx(lesson.smooth(losses).numpy())
    assert list(lines(right)) == ["the task", "after 0 steps", "after 1 step", "after 10 steps", "support points"]
    episode = lesson.support_points(lesson.one_task(3.0, 1.0), 10)
    fit = replace(learner, inner_steps=10).predict(twin.params, episode).flatten().numpy()
    assert lines(right)["after 10 steps"][:, 1] == pytest.approx(fit, abs=1e-6)


@pytest.fixture
def panel(figures, monkeypatch):
    """A panel whose trainings take a tenth of a second."""
    sample = lesson.sample
    monkeypatch.setattr(lesson, "sample", lambda tasks, shots, queries, g: sample(2, shots, queries, g))
    return lesson.RetrainPanel(steps=100)


def test_the_same_settings_give_the_same_losses_number_for_number(panel):
    first = panel.train()
    params = panel.params
    assert len(first) == 100
    assert panel.train() == first
    assert all(torch.equal(panel.params[name], p) for name, p in params.items())


def test_each_choice_changes_the_losses_from_the_same_start(panel):
    first = panel.train()
    panel.outer_lr.value = 0.01
    faster = panel.train()
    panel.order.value = 1
    other_order = panel.train()
    assert first[0] == faster[0] == other_order[0], "each run starts from the same parameters and tasks"
    assert first != faster
    assert faster != other_order
    panel.steps.value = 200
    assert len(panel.train()) == 200


def test_earlier_runs_stay_in_the_picture(panel, figures):
    assert "Nothing has been trained yet." in words(panel)
    assert lines(figures[-1].axes[0]) == {}
    panel.train()
    panel.order.value = 1
    panel.button.click()  # as the reader does
    assert list(lines(figures[-1].axes[0])) == ["run 1: 2nd order", "run 2: 1st order"]
    final = lesson.smooth(panel.runs["run 2: rate 0.001, 1st order, 100 steps"])[-1].item()
    assert f"run 2: rate 0.001, 1st order, 100 steps: done. Loss {final:.3g} (mean of the last 50" in words(panel)


def test_the_legend_tells_in_what_the_runs_differ(panel, figures):
    def names():
        return list(lines(figures[-1].axes[0]))

    panel.train()
    assert names() == ["run 1: rate 0.001, 2nd order, 100 steps"], "a single run has all its settings"
    panel.train()
    assert names() == [f"run {n}: rate 0.001, 2nd order, 100 steps" for n in (1, 2)], "so have equal ones"
    panel.outer_lr.value = 0.01
    panel.train()
    assert names() == ["run 1: rate 0.001", "run 2: rate 0.001", "run 3: rate 0.01"]
    for _ in range(panel.RUNS - 1):
        panel.train()
    assert len(names()) == panel.RUNS
    assert names()[0] == "run 3: rate 0.01, 2nd order, 100 steps"
    assert names()[-1].startswith("run 9: ")


def test_a_choice_says_that_it_waits_for_the_next_run(panel, figures):
    drawn = len(figures)
    panel.order.value = 1
    panel.outer_lr.value = 0.01
    assert "Press Train for a run with rate 0.01, 1st order, 100 steps." in panel.note.value
    assert len(figures) == drawn


def test_a_diverging_run_says_so_and_can_be_tried_again(panel, monkeypatch):
    sample, calls = lesson.sample, []

    def spoilt(*arguments):
        calls.append(panel.button.disabled)
        episode = sample(*arguments)
        return replace(episode, query_y=math.nan * episode.query_y) if len(calls) == 5 else episode

    monkeypatch.setattr(lesson, "sample", spoilt)
    assert len(panel.train()) == 4
    assert all(calls), "the button must rest while a run goes on"
    assert not panel.button.disabled
    assert "run 1: rate 0.001, 2nd order, 100 steps stopped: the loss is nan at meta-step 5" in words(panel)
    assert "back at meta-step 3" in words(panel), "the losses of the parameters after it were never seen"
    assert "Move the outer learning rate to the left." in words(panel)
    assert all(torch.isfinite(p).all() for p in panel.params.values())
    monkeypatch.setattr(lesson, "sample", sample)
    assert len(panel.train()) == 100
    assert "run 2: rate 0.001, 2nd order, 100 steps: done." in words(panel)


def test_an_interrupted_run_is_kept(panel, monkeypatch):
    sample, calls = lesson.sample, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return sample(*arguments)

    monkeypatch.setattr(lesson, "sample", interrupted)
    assert len(panel.train()) == 7
    assert "interrupted at meta-step 7" in words(panel)
    assert not panel.button.disabled


def test_the_retrain_panel_shows_its_controls(panel, monkeypatch):
    shown = []
    monkeypatch.setattr(lesson, "show_widget", lambda *arguments: shown.append(arguments))
    panel.show()
    assert shown == [(panel.box, panel.picture.still(), "Panel: outer learning rate, order, and a Train button.")]
    held = [child for row in panel.box.children for child in row.children]
    assert all(control in held for control in (panel.outer_lr, panel.steps, panel.order, panel.button))


# The training panel


def test_the_training_panel_is_the_lessons_training():
    panel = lesson.training_panel(seed=3)
    assert panel.driver.values == {"inner_lr": 0.01, "outer_lr": 1e-3, "inner_steps": 1, "order": 2}
    twin = Trainer(MAML(MLP(), mse, inner_lr=torch.tensor(0.01)), lambda g: lesson.sample(25, 10, 10, g), seed=3)
    assert [panel.driver.step().metrics["loss"] for _ in range(3)] == [s.metrics["loss"] for s in twin.run(3)]


def test_the_training_panels_picture_shows_the_adaptation_of_now():
    panel = lesson.training_panel()
    panel.driver.set("inner_lr", 0.1)
    data = panel.look(panel.driver)
    episode = lesson.support_points(lesson.one_task(3.0, 1.0), 10)
    learner, params = MAML(MLP(), mse, inner_lr=0.1), panel.driver.trainer.params
    answers = {k: replace(learner, inner_steps=k).predict(params, episode).flatten() for k in (0, 1, 5)}
    assert list(data) == list(answers)
    words = panel.view.picture.update(data)
    for (steps, answer), line in zip(answers.items(), panel.view.picture.lines, strict=True):
        torch.testing.assert_close(data[steps], answer)
        assert line.get_ydata() == pytest.approx(answer.numpy(), abs=1e-6)
        assert f"{mse(answer.view(1, -1, 1), episode.query_y).item():.3g}" in words


def test_absurd_settings_are_drawn_without_a_warning():
    panel = lesson.training_panel()
    for name, value in {"inner_lr": 1.0, "inner_steps": 10}.items():
        panel.driver.set(name, value)
    for p in panel.driver.trainer.params.values():
        p.mul_(1e4)
    panel.view.frame(panel._frame())


@pytest.mark.parametrize("width", [400, 520, 640, 700, 860, 900])
def test_the_fit_keeps_its_width_however_often_the_panel_is_laid_out(width):
    view = (panel := lesson.training_panel()).view
    for _ in range(5):
        view.canvas.lay_out()
        view.frame(panel._frame(), lambda _width, height: (width, height, 1.0))
    fit = view.canvas.figure.axes[1].get_window_extent().width
    assert fit > (0.7 if view.narrow else 0.3) * width
