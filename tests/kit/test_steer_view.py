"""The view draws what it is handed, and only what moves again."""

import io

import numpy as np
import pytest
from PIL import Image

from metalab.lessons.kit.steering.driver import Change, Gone, History
from metalab.lessons.kit.steering.view import (
    EARLIER,
    MARKS,
    Frame,
    View,
    curve,
    in_words,
    marks,
    what_differs,
    width,
)


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


def say(_name, value):
    return f"{value:g}"


def data(view, kind):
    return view.lines[kind].get_xydata().tolist()


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
    earlier = [("the run before: order 1", [5.0, 3.0])]
    view.frame(Frame([4.0, 2.0, 1.0], 100, earlier=earlier, gone=Gone(4, [50.0, 500.0])))
    assert data(view, "now") == [[1, 4], [2, 2], [3, 1]]
    assert data(view, EARLIER[0]) == [[1, 5], [2, 3]]
    assert data(view, "gone") == [[4, 50], [5, 500]]
    assert view.ax.get_xlim() == (0, 100)
    assert view.ax.get_ylim() == (0.5, 10), "what was taken back may leave the axes"
    assert view.ax.get_ylabel() == "error"
    looks = {(line.get_color(), str(line.get_linestyle())) for line in view.lines.values()}
    assert len({dash for _color, dash in looks}) >= 4, "colour alone tells nothing apart"
    assert len({color for color, _dash in looks}) == len(looks) == len(EARLIER) + 3


def legend(view):
    return [text.get_text() for each in view.left.legends for text in each.get_texts()]


def test_the_legend_names_what_is_there_and_lies_outside():
    view = View()
    view.frame(Frame([4.0, 2.0], 100))
    assert legend(view) == [], "one curve needs no name"
    view.frame(Frame([4.0, 2.0], 100, [Change(2, "order", 1)], [("the run before: order 1", [5.0])]))
    assert legend(view) == ["the run before: order 1", "a change", "now"]
    view.still(Frame([4.0, 2.0], 100, [Change(2, "order", 1)], [("the run before: order 1", [5.0])]))
    box = view.left.legends[0].get_window_extent()
    assert box.y1 < view.ax.get_window_extent().y0
    view.frame(Frame([4.0], 100))
    assert legend(view) == []


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
    losses = []
    for loss in (1.0, 0.9, 20.0, 30.0, 90.0, 0.6):
        losses.append(loss)
        view.frame(Frame(losses, 10))
    assert view.ax.get_ylim() == (0.5, 200)
    assert len(forgot) == 3  # the first loss, 20 and 90


def test_the_axis_comes_back_after_a_divergence():
    view = View()
    view.frame(Frame([1.0, 2.0, 1e9], 10))
    assert view.ax.get_ylim()[1] > 1e9
    view.frame(Frame([1.0, 2.0], 10, gone=Gone(3, [1e9])))
    assert view.ax.get_ylim() == (0.5, 5)
    assert data(view, "gone") == [[3, 1e9]]


def test_longer_numbers_at_the_axis_get_more_room():
    view = View(loss="contrastive loss")
    view.frame(Frame([1.0], 100))
    view.frame(Frame([1.0, 1e-3], 100))
    assert view.ax.yaxis.label.get_window_extent().x0 >= 0


def test_on_a_narrow_page_the_pictures_stand_below_each_other():
    view = View(Level())
    sizes = []

    def size(width, height):
        sizes.append((width, height))
        return min(width, 480), height, 2.0

    picture, words, wide = view.frame(Frame([1.0], 10, picture=3), size)
    assert wide == 480
    assert words == "The level is 3."
    assert pixels(picture).shape[1] == 2 * 480, "the screen has two dots for each pixel"
    lesson = view.picture.line.axes
    assert lesson.get_position().y1 < view.ax.get_position().y0 or lesson.figure is not view.ax.figure
    heights = [ax.get_window_extent().height for ax in (view.ax, lesson)]
    assert min(heights) > 200
    view.frame(Frame([1.0], 10, picture=3))
    assert not view.narrow


def test_type_keeps_its_size_on_a_narrow_page():
    view = View(Level())
    view.frame(Frame([1.0], 10, picture=3), lambda width, height: (min(width, 480), height, 1.0))
    narrow = [text.get_window_extent().height for text in view.ax.get_xticklabels() if text.get_text()]
    assert min(narrow) * 1.0 >= 11, "CSS pixels"


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
    assert [width(steps, 5000) for steps in (0, 2000, 2001, 4001)] == [500, 2000, 4000, 5000]
    assert width(10, 30) == 30
    assert width(70, 30) == 70, "an earlier run can be longer"
    assert [width(steps, None) for steps in (0, 2001, 9999)] == [500, 4000, 16000]


def test_a_drag_is_one_mark():
    drag = [Change(step, "outer_lr", step / 10) for step in (10, 11, 12)]
    other = [Change(12, "order", 1), Change(13, "outer_lr", 9.0), Change(90, "outer_lr", 8.0)]
    assert marks([*drag, *other], 2) == [drag, [other[0]], [other[1]], [other[2]]]
    assert in_words([*drag, *other], {"outer_lr": 0.5, "order": 2}, 100, say) == [
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
    said = in_words(changes, {"outer_lr": 0.0}, 200, say)
    assert len(said) == MARKS
    assert said[0] == "1: at meta-step 40 outer learning rate 3 → 4"
    assert len({x for x, _y in data(view, "change")}) == 12


def test_a_run_is_named_by_what_differs():
    usual = {"outer_lr": 0.5, "order": 2}

    def differs(start, *changes):
        return what_differs(History(0, usual | start, list(changes), [1.0] * 500), usual, say)

    assert differs({}) == "the settings of the start"
    assert differs({"order": 1, "outer_lr": 0.1}) == "outer learning rate 0.1, order 1"
    assert differs({"order": 1}, Change(100, "outer_lr", 2.0)) == "order 1, outer learning rate 2 from 100 on"
    assert differs({}, Change(100, "outer_lr", 2.0), Change(101, "outer_lr", 3.0)) == (
        "outer learning rate 3 from 101 on"
    ), "a drag is one change"
    assert differs({}, Change(100, "outer_lr", 2.0), Change(200, "order", 1)) == "2 changes on the way"
    assert differs({}, Change(501, "outer_lr", 2.0)) == "the settings of the start", "no step had it"


def test_places_are_found_again_only_where_something_needs_more_room(monkeypatch):
    """Finding places takes as long as several pictures, and a training would stand still for it."""
    view, found = View(), []
    original = view.canvas.lay_out
    monkeypatch.setattr(view.canvas, "lay_out", lambda: (found.append(1), original()))
    view.frame(Frame([2.0] * 30, 500))
    first = len(found)
    view.frame(Frame([2.0] * 30 + [0.3, 8.0], 500))  # the axis grows, and its numbers have three letters as before
    view.frame(Frame([2.0] * 600, 1000))
    assert len(found) == first
    view.frame(Frame([2.0] * 30 + [0.003], 500))
    assert len(found) == first + 1, "0.002 is longer"
    view.frame(Frame([2.0] * 30, 500, [Change(9, "outer_lr", 2.0)]))
    assert len(found) == first + 2, "a legend has come"


STAGES = {
    "the legend": lambda view: (view, "_name"),
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
    low, words, _wide = view.frame(Frame([], 10, picture=2))
    high, *_ = view.frame(Frame([], 10, picture=8))
    assert words == "The level is 2."
    assert (np.abs(pixels(low) - pixels(high)) > 100).any()
    assert view.still(Frame([], 10, picture=8))[1] == "The level is 8."
