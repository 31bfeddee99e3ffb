"""Pictures in which only what moves is drawn again, in the size of their place on the page."""

import io

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from metalab.lessons.kit.canvas import Canvas, fit, size_of
from metalab.lessons.kit.figures import FigureCanvasAgg, figure, legend_of_all


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


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


def test_a_picture_takes_the_size_of_its_place_and_its_letters_keep_theirs():
    fig, ax = figure(8, 4)
    title = ax.set_title("title", fontsize=12)
    [line] = ax.plot([0, 1], [2, 2])
    canvas = Canvas(fig, [line])
    assert canvas.size == size_of(fig) == (800, 400)
    assert pixels(canvas.png()).shape == (400, 800, 3)
    before = title.get_window_extent().height
    canvas.fit(500, 300)
    assert pixels(canvas.png()).shape == (300, 500, 3)
    assert title.get_window_extent().height == before
    assert ax.get_window_extent().width < 500, "the axes have been laid out anew"
    canvas.fit(500, 300, 2.0)
    assert pixels(canvas.png()).shape == (600, 1000, 3)
    assert title.get_window_extent().height > 1.8 * before, "twice the dots"
    assert canvas.size == (800, 400), "what it was made for"


def test_a_picture_that_fits_is_not_laid_out_again(monkeypatch):
    fig, _ax = figure(8, 4)
    canvas = Canvas(fig)
    canvas.fit(500, 300)
    canvas.png()
    draw, calls = fig.canvas.draw, []
    monkeypatch.setattr(fig.canvas, "draw", lambda: calls.append(1) or draw())
    canvas.fit(500, 300)
    canvas.png()
    assert calls == []
    assert not fit(fig, 500, 300, 1.0)
    assert fit(fig, 500, 301, 1.0)


def test_axes_stand_below_each_other_where_their_letters_would_be_too_small():
    fig, (left, right) = figure(9, 4, ncols=2)
    right.set_title("the right one")
    canvas = Canvas(fig, left.plot([0, 1], [2, 2]), narrowest=720)

    def above():
        canvas.png()
        return left.get_position().y0 > right.get_position().y1

    assert canvas.needs(900) == 720
    assert not above()
    assert canvas.needs(480) == 720  # two thirds of the size
    assert not above()
    assert canvas.needs(260) == 360
    assert above()
    assert canvas.needs(600) == 720
    assert not above()


def test_four_axes_stand_in_two_rows_and_other_figures_stay_as_they_are():
    fig, axes = figure(9, 3, ncols=4)
    canvas = Canvas(fig, narrowest=720)
    assert canvas.needs(260) == 360
    canvas.png()
    rows = [round(ax.get_position().y0, 3) for ax in axes]
    assert rows[0] == rows[1] > rows[2] == rows[3]
    for options in ({"nrows": 2, "ncols": 2}, {}):
        assert Canvas(figure(9, 4, **options)[0], narrowest=720).needs(260) == 720


def test_titles_and_legends_get_the_lines_that_they_need():
    fig, ax = figure(9, 4)
    title = "a title that is long enough for three lines on a narrow page"
    ax.set_title(title)
    lines = [ax.plot([0, 1], [n, 1], label=f"the line number {n}")[0] for n in range(4)]
    legend_of_all(fig, lines)
    canvas = Canvas(fig)
    for width, broken in ((300, True), (890, False), (300, True)):
        canvas.fit(width, 400)
        canvas.png()
        assert ("\n" in ax.get_title()) == broken
        assert ax.get_title().replace("\n", " ") == title
        for artist in (ax.title, fig.legends[0]):
            box = artist.get_window_extent()
            assert box.x0 >= 0, artist
            assert box.x1 <= fig.bbox.x1, artist
    ax.set_title("another")
    canvas.fit(310, 400)
    assert ax.get_title() == "another"
