"""The picture that a run leaves: what it shows, and that it never harms the run."""

import json
import os

import noise
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from metalab.experiments import curve
from metalab.experiments.runs import Run
from metalab.experiments.settings import Settings
from metalab.tasks import omniglot


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were drawn."""
    figures = []

    def savefig(figure, out, **_options):
        figures.append(figure)
        out.write(b"a picture")

    monkeypatch.setattr(Figure, "savefig", savefig)
    return figures


def points(count, loss=lambda i: 1 / i):
    return [{"step": 10 * i, "loss": loss(i), "accuracy": 1 - 1 / i, "rate": 3.0} for i in range(1, count + 1)]


def test_loss_and_accuracy_have_titles_units_and_the_values(drawn):
    assert curve.draw(points(30), "MAML on omniglot", "training loss (nats)", events=[]) == b"a picture"
    [figure] = drawn
    assert figure.get_suptitle() == "MAML on omniglot"
    loss, accuracy = figure.axes
    assert (loss.get_xlabel(), loss.get_ylabel()) == ("meta-step", "training loss (nats)")
    assert (accuracy.get_xlabel(), accuracy.get_ylabel()) == ("meta-step", "training accuracy (%)")
    [line] = accuracy.lines
    assert line.get_xdata() == pytest.approx([10 * i for i in range(1, 31)])
    assert line.get_ydata() == pytest.approx([100 * (1 - 1 / i) for i in range(1, 31)])
    assert loss.get_yscale() == "log"  # it falls by a factor of 30


def test_a_loss_that_varies_little_or_touches_0_has_a_linear_axis(drawn):
    curve.draw(points(30, lambda i: 1 + 1 / i), "", "loss", events=[])
    curve.draw(points(30, lambda i: 30.0 - i), "", "loss", events=[])
    assert [figure.axes[0].get_yscale() for figure in drawn] == ["linear", "linear"]


def test_a_long_curve_has_means_over_longer_stretches_too(drawn):
    curve.draw(points(1000, lambda i: 1.0 + i % 2), "", "loss", events=[])
    line, means = drawn[0].axes[0].lines
    assert len(line.get_xdata()) == 1000
    assert means.get_ydata() == pytest.approx([1.5] * 100)
    assert means.get_xdata()[0] == 55  # the middle of the steps 10 to 100
    assert [line.get_label(), means.get_label()] == ["mean over ten meta-steps", "mean over 100 meta-steps"]
    assert to_hex(line.get_color()) != to_hex(means.get_color())


def test_what_happened_is_marked(drawn):
    events = [{"step": 20, "diverged": True}, {"step": 20, "outer_lr": [0.1, 0.01]}]
    curve.draw(points(5), "", "loss", events=events)
    labels = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert labels[1:] == ["diverged and back at meta-step 20", "outer lr 0.1 → 0.01 at meta-step 20"]
    assert all(len(ax.lines) == 3 for ax in drawn[0].axes)


def test_a_run_is_drawn_to_its_last_step(drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(omniglot, "load", noise.small_omniglot)
    run = Run.start(Settings.of("omniglot", "prototypical", ways=4, channels=4, steps=23, seed=3), tmp_path)
    run.train()
    assert curve.write(run) == f"Plot of the training: {tmp_path / 'curve.png'}"
    [figure] = drawn
    assert figure.get_suptitle() == "prototypical network on omniglot, 4-way 1-shot, seed 3"
    loss, _accuracy = figure.axes
    assert list(loss.lines[0].get_xdata()) == [10, 20, 23]
    lines = [json.loads(line)["loss"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert list(loss.lines[0].get_ydata()) == [*lines, run.mean()["loss"]]
    assert loss.get_ylabel() == "training loss\n(cross-entropy in nats)"
    assert (tmp_path / "curve.png").read_bytes() == b"a picture"


def test_a_picture_that_cannot_be_written_harms_nothing(tmp_path, monkeypatch):
    run = Run.start(Settings.of("sine", steps=3), tmp_path)
    assert curve.write(run) == "No plot was drawn, because the run has no meta-step to show."
    run.train()
    os.mkfifo(tmp_path / "curve.png")
    assert curve.write(run).startswith("No plot was drawn: ")
    (tmp_path / "curve.png").unlink()

    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(curve, "draw", interrupted)
    assert curve.write(run) == "No plot was drawn: KeyboardInterrupt"


def test_a_damaged_line_is_left_out(drawn, tmp_path):
    run = Run.start(Settings.of("sine", steps=20), tmp_path)
    run.train()
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text('{"step": 5}\n{"step": nonsense\n' + metrics.read_text())
    curve.write(run)
    assert list(drawn[0].axes[0].lines[0].get_xdata()) == [10, 20]
