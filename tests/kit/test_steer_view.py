"""The view draws what it is handed, and only what moves again."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from metalab.lessons.kit.figures import FigureCanvasAgg, figure
from metalab.lessons.kit.steering.driver import Change, Gone
from metalab.lessons.kit.steering.view import MARKS, Canvas, Frame, View, curve, in_words, marks, width


class Level:
    """A lesson's picture: a line at the height it is told."""

    def draw(self, fig):
        ax = fig.subplots()
        ax.set_ylim(0, 10)
        [self.line] = ax.plot([0, 1], [0, 0])
        return [self.line]

    def update(self, data):
        self.line.set_ydata([data, data])
        return f"The level is {data}."


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def data(view, kind):
    return view.lines[kind].get_xydata().tolist()


# The canvas


def test_what_moves_is_drawn_as_by_the_whole_figure():
    fig, ax = figure(3, 2)
    ax.set(xlim=(0, 1), ylim=(0, 10))
    [line] = ax.plot([0, 1], [2, 2])
    canvas = Canvas(fig, [line])
    first = pixels(canvas.png())
    line.set_ydata([8, 8])
    moved = pixels(canvas.png())
    assert (first != moved).any()
    canvas.forget(fig)
    assert (pixels(canvas.png()) == moved).all()
    assert np.abs(pixels(canvas.jpeg()) - moved).mean() < 2


def test_what_stays_is_drawn_once(monkeypatch):
    fig, ax = figure(3, 2)
    canvas = Canvas(fig, ax.plot([0, 1], [2, 2]))
    draw, calls = fig.canvas.draw, []
    monkeypatch.setattr(fig.canvas, "draw", lambda: calls.append(1) or draw())
    for _ in range(3):
        canvas.jpeg()
    assert len(calls) == 1


def test_a_part_that_changed_is_drawn_again_and_no_other(monkeypatch):
    fig = Figure(figsize=(4, 2), layout="constrained", facecolor="white")
    FigureCanvasAgg(fig)
    left, right = fig.subfigures(1, 2, facecolor="white")
    ax, other = left.subplots(), right.subplots()
    canvas = Canvas(fig, ax.plot([0, 1], [2, 2]))
    canvas.png()
    drawn = []
    monkeypatch.setattr(other.title, "draw", lambda renderer: drawn.append(renderer))
    ax.set(xlim=(0, 2), ylim=(0, 10))
    stale = pixels(canvas.png())
    canvas.forget(left)
    new = pixels(canvas.png())
    assert (new != stale).any()
    assert drawn == []
    fresh = Canvas(fig, canvas.moving)  # draws all
    assert (pixels(fresh.png()) == new).all()
    assert len(drawn) == 1
    assert (pixels(canvas.png()) == new).all()  # and it stays


# The loss curve


def test_a_point_of_the_curve_is_the_mean_of_its_steps():
    x, y = curve([1, 3, 5, 7, 10], 2)
    assert (x.tolist(), y.tolist()) == ([2, 4, 5], [2, 6, 10])
    x, y = curve([1, 3], 1, start=7)
    assert (x.tolist(), y.tolist()) == ([7, 8], [1, 3])
    x, y = curve([], 3)
    assert (len(x), len(y)) == (0, 0)


def test_one_huge_loss_does_not_spoil_the_means_after_it():
    assert curve([1e25, 1, 1, 1], 1)[1].tolist() == [1e25, 1, 1, 1]


def test_a_frame_shows_the_losses_and_what_was_before():
    view = View(loss="error")
    view.frame(Frame([4.0, 2.0, 1.0], 100, earlier=[5.0, 3.0], gone=Gone(4, [50.0, 500.0])))
    assert data(view, "now") == [[1, 4], [2, 2], [3, 1]]
    assert data(view, "earlier") == [[1, 5], [2, 3]]
    assert data(view, "gone") == [[4, 50], [5, 500]]
    assert view.ax.get_xlim() == (0, 100)
    assert view.ax.get_ylim() == (0.1, 1000)
    assert view.ax.get_ylabel() == "error"
    looks = {(line.get_color(), line.get_linestyle()) for line in view.lines.values()}
    assert len({dash for _color, dash in looks}) >= 3, "colour alone tells nothing apart"
    assert len(looks) == 4
    names = [text.get_text() for text in view.ax.get_legend().get_texts()]
    assert sorted(names) == ["a change", "before Reset", "diverged, taken back", "now"]


def test_a_long_curve_has_few_points():
    view = View()
    view.frame(Frame([1.0] * 5000, 5000))
    assert len(data(view, "now")) == 200


@pytest.mark.parametrize("loss", [1e-30, 0.0, 1e300])
def test_absurd_losses_are_drawn_without_a_warning(loss):
    view = View()
    view.frame(Frame([1.0, loss], 10))
    low, high = view.ax.get_ylim()
    assert 1e-6 <= low < high <= 1e12


def test_axes_grow_seldom_and_do_not_shrink(monkeypatch):
    view = View()
    forgot = []
    monkeypatch.setattr(view.canvas, "forget", lambda part: forgot.append(1))
    for loss in (1.0, 0.5, 20.0, 30.0, 90.0, 0.2):
        view.frame(Frame([loss], 10))
    assert view.ax.get_ylim() == (0.1, 100)
    assert len(forgot) == 2  # the budget, and 20


def test_each_change_has_a_line_and_a_number():
    view = View()
    changes = [Change(10, "outer_lr", 0.1), Change(10, "order", 1), Change(60, "outer_lr", 0.2)]
    before, _ = view.still(Frame([1.0], 100))
    after, _ = view.still(Frame([1.0], 100, changes))
    assert (pixels(before) != pixels(after)).any()
    steps = [x for x, y in data(view, "change") if y == y]
    assert sorted(set(steps)) == [10, 60]
    shown = [line for line in view.numbers if line.get_visible()]
    assert [line.get_marker() for line in shown] == ["$1$", "$2$", "$3$"]
    places = [tuple(line.get_xydata()[0]) for line in shown]
    assert [x for x, _y in places] == [10, 10, 60]
    assert len(set(places)) == 3, "two changes at one step are beside each other"
    view.still(Frame([1.0], 100))
    assert not any(line.get_visible() for line in view.numbers)


def test_the_curve_gets_more_room_seldom():
    assert [width(steps, 5000) for steps in (0, 2000, 2001, 4001, 9999)] == [2000, 2000, 4000, 5000, 5000]
    assert width(10, 30) == 30


def test_a_drag_is_one_mark():
    drag = [Change(step, "outer_lr", step / 10) for step in (10, 11, 12)]
    other = [Change(12, "order", 1), Change(13, "outer_lr", 9.0), Change(90, "outer_lr", 8.0)]
    assert marks([*drag, *other], 2) == [drag, [other[0]], [other[1]], [other[2]]]
    assert in_words([*drag, *other], {"outer_lr": 0.5, "order": 2}, 100) == [
        "1: at meta-step 12 outer learning rate 0.5 → 1.2",
        "2: at meta-step 12 order 2 → 1",
        "3: at meta-step 13 outer learning rate 1.2 → 9",
        "4: at meta-step 90 outer learning rate 9 → 8",
    ]


def test_of_many_marks_the_last_have_numbers():
    changes = [Change(10 * n, "outer_lr", float(n)) for n in range(1, 13)]
    view = View()
    view.frame(Frame([1.0], 200, changes))
    assert [line.get_xdata()[0] for line in view.numbers] == [change.step for change in changes[-MARKS:]]
    said = in_words(changes, {"outer_lr": 0.0}, 200)
    assert len(said) == MARKS
    assert said[0] == "1: at meta-step 40 outer learning rate 3 → 4"
    assert len({x for x, _y in data(view, "change")}) == 12


STAGES = {
    "the room": lambda view: (view.ax, "set_xlim"),
    "the axis grows": lambda view: (view.ax, "set_ylim"),
    "what is stale": lambda view: (view.canvas, "forget"),
    "the marks": lambda view: (view, "_mark"),
    "a part is drawn again": lambda view: (view.left, "draw"),
    "the part is kept": lambda view: (view.canvas.figure.canvas, "copy_from_bbox"),
    "what moves": lambda view: (view.ax, "draw_artist"),
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_picture_after_an_interrupted_one_is_whole(stage, when, monkeypatch):
    view, fresh = View(Level()), View(Level())
    for each in (view, fresh):
        each.frame(Frame([1.0], 10, picture=1))
    holder, name = STAGES[stage](view)
    real = getattr(holder, name)

    def interrupted(*arguments, **options):
        if when == "after":
            real(*arguments, **options)
        raise KeyboardInterrupt

    frame = Frame([1.0, 5000.0], 20, [Change(2, "order", 1)], picture=7)  # another axis, more room, and a mark
    with monkeypatch.context() as patch:
        patch.setattr(holder, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            view.frame(frame)
    assert (pixels(view.still(frame)[0]) == pixels(fresh.still(frame)[0])).all()


@pytest.mark.parametrize("between", [(0, 1), (-1, 1), (2, 1), (1, 1), (1, float("inf")), ("1", 2)])
def test_ends_of_the_axis_that_cannot_be_are_refused(between):
    with pytest.raises((TypeError, ValueError), match=r"(low|high)=.* must be a finite number, above"):
        View(between=between)


# The lesson's picture


def test_the_lessons_picture_is_handed_its_data():
    view = View(Level())
    low, words = view.frame(Frame([], 10, picture=2))
    high, _ = view.frame(Frame([], 10, picture=8))
    assert words == "The level is 2."
    assert (np.abs(pixels(low) - pixels(high)) > 100).any()
    assert view.still(Frame([], 10, picture=8))[1] == "The level is 8."
