"""The drawings and comparisons of the sine lesson."""

import math

import numpy as np
import pytest
import torch
from test_sine_regression import grown

from metalab.experiments import sine_over_seeds as study
from metalab.learners import MAML
from metalab.lessons.kit.figures import png
from metalab.lessons.sine_regression import concepts, figures
from metalab.losses import mse
from metalab.nets import MLP


@pytest.mark.parametrize("draw", [concepts.draw_start, concepts.draw_loops])
def test_an_idea_is_drawn_and_described(draw):
    fig, words = draw()
    assert len(png(fig)) > 5000
    assert words.endswith(".")


def test_letters_are_large_enough():
    for draw in (concepts.draw_start, concepts.draw_loops):
        fig, _words = draw()
        texts = [text for ax in fig.axes for text in ax.texts]
        assert texts
        assert min(text.get_fontsize() for text in texts) >= concepts.TEXT


def test_two_starts_are_shown_before_and_after_the_same_step():
    starts = {"joint training": grown(), "MAML": grown(1)}
    average = torch.zeros(201)
    fig, words = concepts.draw_two_starts(starts, average, inner_lr=0.02)
    before, after = fig.axes
    episode = figures.support_points(figures.one_task(3.0, 1.0), 10)
    for name, params in starts.items():
        for steps, ax in ((0, before), (1, after)):
            curve = MAML(MLP(), mse, inner_lr=0.02, inner_steps=steps).predict(params, episode)
            line = next(line for line in ax.get_lines() if line.get_label() == name)
            assert line.get_ydata() == pytest.approx(curve.flatten().numpy(), abs=1e-6)
            if steps:
                assert f"{name} {mse(curve, episode.query_y).item():.2f}" in words
    assert before.get_ylim() == after.get_ylim(), "one scale"


def test_errors_are_drawn_with_their_intervals():
    values = torch.tensor([1.0, 2.0, 4.0])
    fig, words = concepts.draw_errors({"MAML": {0: values, 1: values / 2, 100: values / 4}}, "errors")
    [line] = fig.axes[0].get_lines()
    assert line.get_xydata().tolist() == [
        [0, pytest.approx(7 / 3)],
        [1, pytest.approx(7 / 6)],
        [100, pytest.approx(7 / 12)],
    ]
    assert "MAML" in words


def test_a_live_curve_keeps_the_losses_and_leaves_a_picture(monkeypatch):
    shown = []
    monkeypatch.setattr(concepts, "show_widget", lambda *_: None)
    monkeypatch.setattr(concepts, "show", lambda fig, text: shown.append((fig, text)))
    with concepts.LiveCurve("a training", 4) as watch:
        for loss in (4.0, torch.tensor(2.0), 3.0):
            watch(loss)
    assert watch.losses == [4.0, 2.0, 3.0]
    [(fig, text)] = shown
    assert text == "a training: meta-step 3 of 4, loss 3.00 (mean of the last 50)."
    assert fig.axes[0].get_lines()[0].get_ydata() == pytest.approx([4.0, 2.0, 3.0])


def test_a_live_curve_shows_what_an_error_left(monkeypatch):
    shown = []
    monkeypatch.setattr(concepts, "show_widget", lambda *_: None)
    monkeypatch.setattr(concepts, "show", lambda fig, text: shown.append(text))

    def interrupted():
        with concepts.LiveCurve("a training", 4) as watch:
            watch(1.0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(shown) == 1
    with concepts.LiveCurve("nothing", 4):
        pass
    assert len(shown) == 1


@pytest.mark.parametrize("steps", [0, -1, 1.5, "3", None])
def test_a_live_curve_needs_a_number_of_steps(steps):
    with pytest.raises((TypeError, ValueError), match="steps="):
        concepts.LiveCurve("a training", steps)


# The measurements over seeds


def test_what_was_measured_has_every_method_with_every_seed():
    found = concepts.measured()
    seeds = range(10)
    assert {(run["method"], run["seed"]) for run in found["runs"]} == {(m, s) for m in study.METHODS for s in seeds}
    assert {(r["outer_lr"], r["order"], r["seed"]) for r in found["short"]} == {
        (*o, s) for o in study.OUTER for s in seeds
    }
    assert (found["steps"], found["outer_lr"], found["inner_lr"]) == (study.STEPS, study.OUTER_LR, study.INNER_LR)
    errors = concepts.over_seeds(found["runs"], "MAML", 1)
    assert len(errors) == 10
    assert errors[3] == next(r["errors"]["1"] for r in found["runs"] if (r["method"], r["seed"]) == ("MAML", 3))
    tuned, usual = (concepts.over_seeds(found["runs"], "joint training", 5, what) for what in ("tuned", "errors"))
    assert tuned != usual
    assert all(isinstance(n, int) for n in concepts.over_seeds(found["runs"], "MAML", 10, "failed"))
    with pytest.raises(ValueError, match="what='mode'"):
        concepts.over_seeds(found["runs"], "MAML", 1, "mode")


def test_an_interval_is_students():
    # scipy.stats.t.interval(0.95, 3, loc=2.5, scale=scipy.stats.sem([1, 2, 3, 4]))
    assert concepts.interval([1.0, 2.0, 3.0, 4.0]) == "2.50 (0.45 … 4.55)"


# The study


def test_errors_are_those_of_mamls_adaptation():
    params = grown()
    errors = study.errors_after(params, [0, 1, 3], inner_lr=0.02, tasks=7, shots=4)
    generator = torch.Generator().manual_seed(study.SPLITS["test"])
    episode = study.sine.Sine.draw(7, generator).episode(4, study.QUERIES, generator)
    for steps, found in errors.items():
        predicted = MAML(MLP(), mse, inner_lr=0.02, inner_steps=steps).predict(params, episode)
        torch.testing.assert_close(found, mse(predicted, episode.query_y))


def test_validation_tasks_are_other_tasks_and_the_same_each_time():
    params = grown()
    test, again = (study.errors_after(params, [0], tasks=5)[0] for _ in range(2))
    validation = study.errors_after(params, [0], tasks=5, split="validation")[0]
    assert torch.equal(test, again)
    assert not torch.equal(test, validation)


def test_a_divergence_is_no_error():
    errors = study.errors_after(grown(), [30], inner_lr=10.0, tasks=3)[30]
    assert not errors.isfinite().all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"split": "train"}, "split='train'"),
        ({"inner_lr": -1.0}, "inner_lr=-1.0"),
        ({"inner_lr": math.nan}, "inner_lr=nan"),
        ({"steps": [-1]}, "steps: -1=-1"),
        ({"shots": 0}, "shots=0"),
        ({"tasks": 0}, "tasks=0"),
    ],
)
def test_impossible_tests_are_refused(change, says):
    with pytest.raises((TypeError, ValueError), match=says):
        study.errors_after(**{"params": grown(), "steps": [1]} | change)


def test_methods_start_from_the_same_parameters_and_see_the_same_tasks():
    second, first, joint = (study.trainer(name, 4) for name in ("MAML", "first-order MAML", "joint training"))
    assert all(torch.equal(second.params[name], p) for name, p in joint.params.items())
    assert second.step().metrics["loss"] == first.step().metrics["loss"]
    with pytest.raises(ValueError, match="method='SGD'"):
        study.trainer("SGD", 0)


def test_the_rate_falls_to_zero_in_a_straight_line():
    assert study.falling(1) == study.OUTER_LR
    assert study.falling(study.STEPS + 1) == 0
    assert np.diff([study.falling(n) for n in (1, 2, 3)]) == pytest.approx([-study.OUTER_LR / study.STEPS] * 2)


def test_the_command_writes_what_the_lesson_reads(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(study, "STEPS", 3)
    monkeypatch.setattr(study, "SHORT", 3)
    monkeypatch.setattr(study, "RATES", (0.01, 0.1))
    monkeypatch.setattr(study, "TASKS", 4)
    out = tmp_path / "new" / "sine.json"
    assert study.main(["--seeds", "2", "--out", str(out)]) == 0
    monkeypatch.setattr(concepts, "MEASURED", out)
    found = concepts.measured()
    assert len(concepts.over_seeds(found["runs"], "joint training", 10)) == 2
    assert len(found["short"]) == 2 * len(study.OUTER)
    assert "seed 1, MAML" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--seeds", "0"], ["--seeds", "21"], ["--out", "/"]])
def test_the_command_refuses_what_it_cannot_do(arguments, capsys):
    with pytest.raises(SystemExit):
        study.main(arguments)
    assert arguments[0].strip("-") in capsys.readouterr().err or "folder" in capsys.readouterr().err
