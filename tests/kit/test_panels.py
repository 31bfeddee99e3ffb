"""Live pictures, panels and figures, as a notebook sees them: what is displayed, and with which words."""

import io
import math
from types import SimpleNamespace

import ipywidgets as widgets
import numpy as np
import pytest
import torch
from fake_gpu import fake_gpu
from PIL import Image

from metalab.lessons.kit import figures, panels
from metalab.lessons.kit.figures import draw_character, figure, finish, plural, png
from metalab.lessons.kit.panels import (
    LivePicture,
    Panel,
    cause,
    grid,
    log_slider,
    meta_steps,
    slider,
    time_left,
    train_and_draw,
    two_digits,
)
from metalab.optim import Descent
from metalab.train import Step, Trainer


@pytest.fixture
def displayed(monkeypatch):
    """What is displayed: pairs of a bundle of representations and their metadata."""
    shown = []

    def display(bundle, *, raw, metadata):
        assert raw
        shown.append((bundle, metadata))

    monkeypatch.setattr(panels, "display", display)
    monkeypatch.setattr(figures, "display", display)
    return shown


def bar(height):
    """A picture that differs with the number it shows."""
    fig, ax = figure(2, 1)
    ax.bar([0], [height])
    ax.set_ylim(0, 10)
    return fig


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


class Toy:
    """Adds 1 to the loss each step, and does at a given step what it is told: raise, or lose its mind."""

    def __init__(self, at=0, what=None):
        self.at, self.what, self.steps = at, what, 0

    def init(self, generator):
        return {"w": torch.zeros(2)}

    def meta_gradient(self, params, batch):
        self.steps += 1
        loss = float(self.steps)
        if self.steps == self.at:
            if self.what is KeyboardInterrupt:
                raise KeyboardInterrupt
            loss = math.nan
        return {"w": torch.ones(2)}, {"loss": torch.tensor(loss)}


def trainer(*what):
    return Trainer(Toy(*what), lambda generator: None, outer_lr=0.5)


def draw(done):
    return bar(len(done)), f"{len(done)} steps drawn"


# Figures


def test_png_is_a_picture_of_the_size_asked_for():
    fig, ax = figure(3, 2)
    finish(ax, "title", "x", "y")
    data = pixels(png(fig))
    assert data.shape == (200, 300, 3)
    assert (data[0, 0] == 255).all(), "white paper, in a dark theme too"


def test_show_gives_picture_and_words(displayed):
    fig = bar(3)
    figures.show(fig, "a bar of height 3")
    [(bundle, metadata)] = displayed
    assert bundle["text/plain"] == "a bar of height 3"
    assert (pixels(bundle["image/png"]) == pixels(png(fig))).all()
    assert metadata == {"image/png": {"alt": "a bar of height 3", "needs_background": "light"}}


def test_finish_labels_the_axes():
    _fig, ax = figure()
    ax.plot([1, 2], label="a line")
    finish(ax, "title", "seconds", "metres", legend=True)
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) == ("title", "seconds", "metres")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a line"]
    _fig, ax = figure()
    finish(ax, "title")
    assert ax.get_legend() is None


def test_figure_gives_the_grid_asked_for():
    _fig, axes = figure(nrows=2, ncols=3, squeeze=False)
    assert axes.shape == (2, 3)


@pytest.mark.parametrize("shape", [(4, 6), (1, 4, 6)])
def test_characters_are_ink_on_paper(shape):
    _fig, ax = figure(1, 1)
    ink = torch.zeros(shape)
    ink[..., 1, 2] = 1
    draw_character(ax, ink, "class 1", frame="#00ff00")
    [image] = ax.get_images()
    assert image.get_array().shape == (4, 6)
    assert image.get_array()[1, 2] == 0, "ink must be black"
    assert image.get_array().sum() == 23, "paper must be white"
    assert (image.get_cmap().name, image.get_clim()) == ("gray", (0, 1))
    assert ax.get_title() == "class 1"
    assert {spine.get_edgecolor() for spine in ax.spines.values()} == {(0.0, 1.0, 0.0, 1.0)}
    assert list(ax.get_xticks()) == list(ax.get_yticks()) == []


def test_plural():
    assert [plural(n, "step") for n in (0, 1, 2)] == ["0 steps", "1 step", "2 steps"]


# Live pictures


def test_a_live_picture_is_redrawn_at_most_so_often(monkeypatch):
    now = 100.0
    monkeypatch.setattr(panels.time, "monotonic", lambda: now)
    picture = LivePicture(per_second=4)
    assert picture.due(), "the first picture is due at once"
    picture.draw(bar(1), "one")
    assert not picture.due()
    now = 100.24
    assert not picture.due()
    now = 100.26
    assert picture.due()


def test_a_picture_that_takes_long_leaves_most_of_the_time_to_the_training(monkeypatch):
    now = 100.0

    def slowly(canvas):
        nonlocal now
        now += 0.05
        return b"a picture"

    monkeypatch.setattr(panels.time, "monotonic", lambda: now)
    monkeypatch.setattr(panels.Canvas, "jpeg", slowly)
    picture = LivePicture(per_second=4)
    picture.draw(bar(1), "one")
    now += 0.05 / panels.SHARE - 0.1
    assert not picture.due()
    now += 0.2
    assert picture.due()


def test_a_slow_picture_is_followed_by_another_one(monkeypatch):
    """Or a training whose first picture takes a second, on a busy machine, shows nothing more."""
    now = 100.0

    def slowly(canvas):
        nonlocal now
        now += 1.0
        return b"a picture"

    monkeypatch.setattr(panels.time, "monotonic", lambda: now)
    monkeypatch.setattr(panels.Canvas, "jpeg", slowly)
    picture = LivePicture(per_second=4)
    picture.draw(bar(1), "one")
    now += panels.LONGEST + 0.1
    assert picture.due()


def test_drawing_replaces_picture_and_words():
    picture = LivePicture()
    picture.draw(bar(1), "one")
    first = picture.image.value
    assert picture.text.value == "<p role='status'>one</p>", "screen readers announce a status"
    picture.draw(bar(2), "two")
    assert (pixels(picture.image.value) != pixels(first)).any()
    assert "two" in picture.text.value
    assert "one" not in picture.text.value


@pytest.mark.parametrize("per_second", [0, -1, math.nan, math.inf])
def test_a_rate_of_pictures_that_cannot_be_is_refused(per_second):
    with pytest.raises(ValueError, match=r"per_second=.* must be a finite number, above 0"):
        LivePicture(per_second=per_second)


def test_words_are_shown_as_they_are():
    picture = LivePicture()
    picture.draw(bar(1), "left half only (x < 0) & <b>not</b> bold")
    assert picture.text.value.count("<") == 2, "of the paragraph"


def test_an_error_becomes_a_part_of_a_sentence():
    errors = [
        ValueError("alpha=2 must\n  be 1."),
        RuntimeError("odd"),
        MemoryError(),
        ValueError(),
        ValueError("x" * 999),
    ]
    assert [cause(error) for error in errors] == [
        "alpha=2 must be 1",
        "RuntimeError: odd",
        "MemoryError",
        "ValueError",
        "x" * 297 + "...",
    ]
    assert cause(KeyboardInterrupt()) == "an interrupt"


# Panels


def panel():
    calls = []

    def redraw(height, name):
        calls.append((height, name))
        return bar(height), f"{name} is {height} high"

    controls = {"height": slider("height", 3, 0, 10, 1), "name": widgets.Text("bar", description="name")}
    return Panel(controls, redraw, alt="Panel: a bar."), calls


def test_a_panel_answers_to_each_control():
    ours, calls = panel()
    assert calls == [(3, "bar")]
    first = ours.picture.image.value
    ours.controls["height"].value = 7
    assert calls[-1] == (7, "bar")
    assert (pixels(ours.picture.image.value) != pixels(first)).any()
    assert "bar is 7 high" in ours.picture.text.value
    ours.controls["name"].value = "column"
    assert calls == [(3, "bar"), (7, "bar"), (7, "column")]
    assert "column is 7 high" in ours.picture.text.value


def test_changes_in_a_row_end_with_the_last_value_however_fast(monkeypatch):
    monkeypatch.setattr(panels.time, "monotonic", lambda: 5.0)
    ours, calls = panel()
    ours.controls["height"].value = 4
    ours.controls["height"].value = 5
    assert calls[-1] == (5, "bar")
    assert "bar is 5 high" in ours.picture.text.value


def test_a_panel_shows_all_its_controls_and_a_still_picture(displayed):
    ours, _calls = panel()
    grid, picture = ours.box.children
    assert list(grid.children) == list(ours.controls.values())
    assert picture is ours.picture.box
    ours.show()
    (live, _), (still, metadata) = displayed
    assert live["text/plain"] == "Panel: a bar. To use it, run this cell."
    assert live["application/vnd.jupyter.widget-view+json"]["model_id"] == ours.box.model_id
    assert still["text/plain"] == metadata["image/png"]["alt"] == "Panel: a bar."
    assert np.abs(pixels(still["image/png"]) - pixels(ours.picture.image.value)).mean() < 2


def test_colabs_page_shows_a_panel_once(displayed, monkeypatch):
    ours, _calls = panel()
    monkeypatch.setitem(panels.sys.modules, "google.colab", SimpleNamespace())
    ours.show()
    assert len(displayed) == 2, "nobody watches: nbval compares the outputs"
    displayed.clear()
    monkeypatch.setattr(panels, "a_reader_watches", lambda: True)
    ours.show()
    assert len(displayed) == 1


def test_a_panel_draws_its_picture_for_the_page(displayed):
    ours, calls = panel()
    ours.picture.room._told({"new": [1300, 1000, 2.0]})
    assert len(calls) == 1, "nothing is computed again"
    assert pixels(ours.picture.image.value).shape == (200, 400, 3), "two dots for each pixel"
    assert ours.picture.image.layout.width == "200px"
    ours.picture.room._told({"new": [160, 1000, 1.0]})
    assert pixels(ours.picture.image.value).shape == (100, 160, 3)


def test_a_picture_whose_parts_have_fixed_places_is_scaled_as_a_whole():
    picture = LivePicture()
    picture.draw(panels.Canvas(bar(3), rigid=True), "a bar")
    picture.room._told({"new": [160, 1000, 2.0]})
    assert pixels(picture.image.value).shape == (200, 400, 3)
    assert picture.image.layout.width == "160px"


class High(panels.Canvas):
    """A canvas that makes itself twice as high as it is wide, whatever height it is offered."""

    def fit(self, width, height, ratio=1.0):
        super().fit(width, 2 * width, ratio)


def test_a_picture_that_needs_more_height_is_not_pressed_together():
    picture = LivePicture()
    picture.draw(High(bar(3)), "a bar")
    picture.room._told({"new": [160, 300, 1.0]})
    assert pixels(picture.image.value).shape == (320, 160, 3)
    assert (picture.image.layout.width, picture.image.layout.max_height) == ("160px", "320px")


def test_labels_have_the_room_of_the_longest():
    box = grid([slider("steps", 3, 0, 10, 1), slider("a long label", 3, 0, 10, 1), widgets.Button(description="go")])
    assert [each.style.description_width for each in box.children[:2]] == ["12ch", "12ch"]
    assert "12ch" in box.layout.grid_template_columns


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1e-3, "0.0010"),
        (0.4, "0.40"),
        (1.0, "1.0"),
        (1.58, "1.6"),
        (12.6, "13"),
        (126.0, "130"),
        (1e-5, "0.000010"),
        (0.0999, "0.10"),
        (0.0, "0"),
        (math.nan, "nan"),
    ],
)
def test_two_digits_count(value, words):
    assert two_digits(value) == words


@pytest.mark.parametrize(
    ("done", "seconds", "words"),
    [(0, 9, ""), (10, 0.1, ""), (10, 2, "About 18 s left."), (10, 20, "About 3 min left."), (100, 9, "")],
)
def test_the_time_left(done, seconds, words):
    assert time_left(done, 100, seconds) == words


def test_sliders_are_whole_or_broken_as_their_numbers_are():
    whole = slider("steps", 3, 0, 10, 1)
    assert type(whole) is widgets.IntSlider
    assert (whole.value, whole.min, whole.max, whole.step, whole.description) == (3, 0, 10, 1, "steps")
    for numbers in ((3.0, 0, 10, 1), (3, 0.0, 10, 1), (3, 0, 10.0, 1), (3, 0, 10, 0.5)):
        assert type(slider("width", *numbers)) is widgets.FloatSlider


def test_log_slider_keeps_its_value_between_powers_of_ten():
    ours = log_slider("rate", 0.4, -3, 1)
    assert ours.value == 0.4
    ours.value = 1e9
    assert ours.value == pytest.approx(10)


ERRORS = [ValueError("it is odd."), IndexError("it is odd"), KeyboardInterrupt()]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["redraw", "a picture", "a picture that draws itself"])
def test_a_panel_whose_picture_is_out_of_date_says_so(where, error, monkeypatch):
    def fail(*_arguments):
        raise error

    def redraw(height):
        if height == 7 and where == "redraw":
            fail()
        return broken() if height == 7 and "itself" in where else bar(height), f"{height} high"

    def broken():
        canvas = panels.Canvas(bar(7))
        canvas.jpeg = fail
        return canvas

    ours = Panel({"height": slider("height", 3, 0, 10, 1)}, redraw, alt="")
    before = ours.picture.image.value
    with monkeypatch.context() as patch:
        if where == "a picture":
            patch.setattr(panels.Canvas, "draw", fail)
        with pytest.raises(type(error)):
            ours.controls["height"].value = 7
    assert ours.picture.image.value == before
    assert "3 high" not in ours.picture.text.value
    assert "No new picture was drawn (" in ours.picture.text.value
    assert "so that the one below is out of date" in ours.picture.text.value
    assert ("odd" in ours.picture.text.value) == ("odd" in str(error))
    ours.controls["height"].value = 4
    assert "4 high" in ours.picture.text.value
    assert "out of date" not in ours.picture.text.value
    assert ours.picture.image.value != before


def test_a_panel_that_cannot_be_is_refused():
    with pytest.raises(TypeError, match="controls: height=3 must be a widget with a value"):
        Panel({"height": 3}, lambda height: (bar(height), ""), alt="")
    with pytest.raises(TypeError, match="must be a widget with a value"):
        Panel({"height": widgets.VBox()}, lambda height: (bar(height), ""), alt="")
    with pytest.raises(TypeError, match="redraw=None must be a function"):
        Panel({}, None, alt="")


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((11, 0, 10, 1), "value=11 must be a finite number, at least 0 and at most 10"),
        ((-1, 0, 10, 1), "value=-1 must be"),
        ((math.nan, 0, 10, 1), "value=nan must be"),
        ((5, 10, 0, 1), "value=5 must be"),
        ((0.5, 0, 1, 0), "step=0 must be a finite number, above 0"),
        ((0.5, 0, math.inf, 0.1), "high=inf must be"),
        (("3", 0, 10, 1), "value='3' must be"),
        ((True, 0, 10, 1), "value=True must be"),
    ],
)
def test_a_slider_that_would_change_its_value_without_a_word_is_refused(numbers, message):
    with pytest.raises((TypeError, ValueError), match=message):
        slider("steps", *numbers)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((20, -3, 1), "value=20 must be from 1e-3 to 1e1, where the slider ends"),
        ((1e-4, -3, 1), "value=0.0001 must be from 1e-3 to 1e1"),
        ((0, -3, 1), "value=0 must be a finite number, above 0"),
        ((math.nan, -3, 1), "value=nan must be"),
        ((1, -3, 400), "high=400 must be a finite number, at least -300 and at most 300"),
        (("1", -3, 1), "value='1' must be"),
    ],
)
def test_a_log_slider_that_would_change_its_value_without_a_word_is_refused(numbers, message):
    with pytest.raises((TypeError, ValueError), match=message):
        log_slider("rate", *numbers)


@pytest.mark.parametrize("power", range(-9, 9))
def test_a_log_slider_may_stand_at_its_ends(power):
    assert log_slider("rate", 10.0**power, power, power + 1).value == pytest.approx(10.0**power)
    assert log_slider("rate", 10.0**power, power - 1, power).value == pytest.approx(10.0**power)


# Live training


def test_live_training_takes_every_step_and_ends_with_a_still_picture(displayed):
    ours, after = trainer(), []
    done = train_and_draw(ours, 5, draw, alt="a toy trains", after=after.append)
    assert [step.number for step in done] == [1, 2, 3, 4, 5]
    assert after == done
    assert ours.steps == 5
    (widget, _), (still, metadata) = displayed
    assert widget["text/plain"] == "a toy trains To use it, run this cell."
    assert "image/png" not in widget, "there is nothing to see yet"
    assert still["text/plain"] == metadata["image/png"]["alt"] == "5 steps drawn"
    assert (pixels(still["image/png"]) == pixels(png(bar(5)))).all()


def test_live_training_draws_when_a_picture_is_due_and_at_the_end(displayed, monkeypatch):
    now = 0.0

    def clock():
        return now

    def after(step):
        nonlocal now
        now += 0.05  # a step takes 50 ms, and a picture is due every 125

    def drawing(done):
        drawn.append(len(done))
        return draw(done)

    drawn = []
    monkeypatch.setattr(panels.time, "monotonic", clock)
    train_and_draw(trainer(), 8, drawing, alt="", after=after, per_second=8)
    assert drawn == [2, 5, 8, 8], "one step is no curve yet"


def test_an_interrupt_ends_the_training_and_keeps_what_was_trained(displayed, capsys):
    ours = trainer(4, KeyboardInterrupt)
    done = train_and_draw(ours, 9, draw, alt="")
    assert [step.number for step in done] == [1, 2, 3]
    assert capsys.readouterr().out == "Interrupted: the parameters of meta-step 3 are kept.\n"
    assert ours.params["w"].tolist() == pytest.approx([-1.5, -1.5])  # three steps of Adam, 0.5 each
    assert displayed[-1][0]["text/plain"] == "3 steps drawn"


def test_a_divergence_is_told_in_words(displayed, capsys):
    ours = trainer(4, "nan")
    done = train_and_draw(ours, 9, draw, alt="")
    assert len(done) == 3
    out = capsys.readouterr().out
    assert out.startswith("Stopped: the loss is nan at meta-step 4: the training is back at meta-step 2.")
    assert "Try a smaller" in out
    assert torch.isfinite(ours.params["w"]).all()
    assert displayed[-1][0]["text/plain"] == "3 steps drawn"


def test_nothing_is_drawn_of_a_training_without_a_step(displayed, capsys):
    assert train_and_draw(trainer(1, KeyboardInterrupt), 9, draw, alt="a toy trains") == []
    assert "meta-step 0" in capsys.readouterr().out
    assert [bundle["text/plain"] for bundle, _ in displayed] == ["a toy trains To use it, run this cell."]


def test_an_interrupt_while_the_last_picture_is_drawn_keeps_the_steps(displayed, capsys):
    def drawing(done):
        if len(done) == 3:
            raise KeyboardInterrupt
        return draw(done)

    try:
        assert len(train_and_draw(trainer(), 3, drawing, alt="")) == 3
    except KeyboardInterrupt:  # which would end pytest too
        pytest.fail("the interrupt was not caught")
    assert capsys.readouterr().out == "Interrupted: the last picture may be missing. All 3 steps are kept.\n"


@pytest.mark.parametrize("where", ["draw", "after", "the trainer"])
def test_an_error_while_it_trains_is_told_below_the_picture(where, displayed, monkeypatch):
    pictures = []
    monkeypatch.setattr(panels, "SHARE", math.inf)  # draw every step
    monkeypatch.setattr(
        panels, "LivePicture", lambda **options: pictures.append(LivePicture(per_second=1e9)) or pictures[0]
    )

    def fails_at(step):
        def fail(done):
            if (len(done) if isinstance(done, list) else done.number) == step:
                raise IndexError("it is odd")
            return draw(done) if isinstance(done, list) else None

        return fail

    ours, options = trainer(), {"draw": draw}
    if where == "the trainer":
        monkeypatch.setattr(ours, "run", failing_run)
    else:
        options[where] = fails_at(3)
    with pytest.raises(IndexError):
        train_and_draw(ours, 9, options.pop("draw"), alt="", **options)
    assert "No new picture was drawn (IndexError: it is odd)" in pictures[0].text.value


def counting(device):
    """A training whose loss is the number of the step, and that a CUDA graph can hold."""

    class Counting:
        def init(self, generator):
            return {"w": torch.zeros(1, device=generator.device)}

        def meta_gradient(self, params, batch):
            return {"w": torch.full_like(params["w"], -1.0)}, {"loss": params["w"].sum() + 1}

    return Trainer(Counting(), lambda generator: None, outer_lr=1.0, optimizer=Descent, device=device)


def test_a_gpu_takes_several_steps_before_their_metrics_are_read(displayed):
    ours = counting("cpu")
    assert [(step.number, step.metrics["loss"]) for step in meta_steps(ours, 3)] == [(1, 1), (2, 2), (3, 3)]
    with fake_gpu() as gpu:
        ours = counting(gpu)
        steps = list(meta_steps(ours, 2 * panels.AT_ONCE + 3))
        assert [step.number for step in steps] == list(range(1, 24))
        assert [step.metrics["loss"] for step in steps] == [5.5] * 10 + [15.5] * 10 + [22] * 3
        assert [step.number for step in train_and_draw(ours, 4, draw, alt="")] == [24, 25, 26, 27]
        assert displayed[-1][0]["text/plain"] == "4 steps drawn"


def failing_run(steps, *, every):
    yield Step(1, {"loss": 1.0})
    raise IndexError("it is odd")


def test_a_training_that_cannot_be_is_refused_before_anything_is_shown(displayed):
    for steps in (-1, 2.5, "3", True):
        with pytest.raises((TypeError, ValueError), match=r"steps=.* must be a whole number of at least 0"):
            train_and_draw(trainer(), steps, draw, alt="")
    with pytest.raises(TypeError, match="draw=None must be a function"):
        train_and_draw(trainer(), 3, None, alt="")
    assert displayed == []
