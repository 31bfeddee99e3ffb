"""The lessons' panels in a real browser, steered by keyboard while their cells run."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from lab import (
    ALL,
    LEAST_CONTRAST,
    PATIENCE,
    ROOT,
    TOKEN,
    idle,
    jupyterlab,
    open_notebook,
    press,
    run_all,
    slider,
    use_theme,
)
from playwright.sync_api import expect

PAD = """
import torch
from metalab.lessons.siamese_contrastive_loss.neighbours import Neighbours
from metalab.tasks import glyphs
Neighbours(glyphs.draw(alphabets=1, seed=0), lambda drawings: drawings.flatten(1)).show()
"""
LONG = 1_000_000  # meta-steps, instead of the few that a reader has: the test takes its time


@dataclass(frozen=True)
class Lesson:
    """A lesson with a panel.

    Args:
        name: of its notebook.
        call: how it is trained there.
        says: words that its picture's readout has.
        rate: what four presses do to the outer learning rate, in words.
        second: another slider, what it reads after one press, and what that did, in words.
        orders: whether there is a choice of first order.
        whole: whether all of its cells are run; else its imports and the panel, because the others take long.
    """

    name: str
    call: str
    says: str
    rate: str
    second: tuple[str, str, str] = ("inner steps", "2", "inner steps 1 → 2")
    orders: bool = True
    whole: bool = True

    def __str__(self):
        return self.name


LESSONS = [
    Lesson(
        "01_sine_regression",
        'panel.train(2000, script={1000: {"outer_lr": 0.01}})',
        "Error on an unseen task after 0, 1, 5 inner steps",
        "0.001 → 0.00158",  # 10 to the power of 4 times 0.05: every press has come through
    ),
    Lesson(
        "02_omniglot_few_shot",
        'panel.train(120, script={61: {"inner_lr": 1e-4}, 91: {"inner_lr": 0.4}})',
        "queries are right after adaptation",
        "0.01 → 0.0158",
        whole=ALL,
    ),
    Lesson(
        "03_siamese_contrastive_loss",
        'panel.train(160, script={81: {"margin": 0.5}})',
        "two drawings of one unseen character are",
        "0.001 → 0.00158",
        ("margin m", "2.10", "margin 2 → 2.1"),
        orders=False,
        whole=ALL,
    ),
    Lesson(
        "04_second_vs_first_order_maml",
        'panel.train(1000, script={501: {"inner_lr": 0.1}})',
        "First and second order are",
        "0.001 → 0.00158",
        whole=ALL,
    ),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a JupyterLab with a pad, and with copies of the lessons, whose panels have a long budget."""
    place = tmp_path_factory.mktemp("lab")
    for lesson in LESSONS:
        notebook = nbformat.read(ROOT / "notebooks" / f"{lesson.name}.ipynb", as_version=4)
        [cell] = [cell for cell in notebook.cells if lesson.call in cell.source]
        cell.source = cell.source.replace(lesson.call, f"panel.train({LONG})")
        if not lesson.whole:
            notebook.cells = [*notebook.cells[:3], cell]  # title, set-up, imports
        nbformat.write(notebook, place / f"{lesson.name}.ipynb")
    cells = [nbformat.v4.new_code_cell(PAD)]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}  # or the page asks for one
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), place / "pad.ipynb")
    with jupyterlab(place) as address:
        yield address


def steering(page):
    """The panel that has a button Pause, once it is there."""
    panel = page.locator(".jp-OutputArea-output", has=page.get_by_role("button", name="Pause")).last
    panel.wait_for()
    panel.scroll_into_view_if_needed()
    return panel


def step_of(panel):
    return int(re.search(r"Meta-step (\d+) of", panel.text_content())[1])


def goes_on(panel):
    """Wait until the panel shows a later step."""
    expect(panel).to_contain_text("Meta-step")
    now = step_of(panel)
    expect(panel).not_to_contain_text(f"Meta-step {now} of")
    assert step_of(panel) > now


@pytest.mark.parametrize("lesson", LESSONS, ids=str)
def test_a_lesson_is_steered_by_keyboard_while_it_trains(page, server, lesson, tmp_path):
    open_notebook(page, server, lesson.name)
    run_all(page)
    panel = steering(page)
    expect(panel).to_contain_text(lesson.says)
    expect(panel).to_contain_text("No changes yet.")
    goes_on(panel)
    picture = panel.locator("img")

    # Paused, only a change can change the picture: it is the mark.
    press(panel, "Pause")
    expect(panel).to_contain_text("Paused at meta-step")
    paused = int(re.search(r"Paused at meta-step (\d+)", panel.text_content())[1])
    expect(panel).to_contain_text(f"Meta-step {paused} of")
    still = picture.screenshot()
    handle, readout = slider(panel, "outer learning rate")
    before = readout.inner_text()
    handle.focus()
    for _ in range(4):
        handle.press("ArrowRight")
    expect(readout).not_to_have_text(before)
    words = f"Changes: 1: at meta-step {paused + 1} outer learning rate {lesson.rate}"
    expect(panel).to_contain_text(words)
    assert step_of(panel) == paused
    marked = picture.screenshot()
    assert marked != still

    # The training goes on with it; more changes while it runs.
    press(panel, "Start")
    goes_on(panel)
    assert picture.screenshot() != marked
    name, reads, words = lesson.second
    handle, readout = slider(panel, name)
    handle.focus()
    handle.press("ArrowRight")
    expect(readout).to_have_text(reads)
    expect(panel).to_contain_text(words)
    if lesson.orders:
        first = panel.get_by_role("radio", name="first order")
        first.focus()
        first.press("Space")
        expect(panel).to_contain_text("order 2 → 1")
    goes_on(panel)
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        use_theme(page, theme)
        contrast, words = panel.evaluate(LEAST_CONTRAST)
        assert contrast >= 4.5, f"{theme}: {words!r} has a contrast of {contrast:.1f}"
    panel.screenshot(path=Path(os.environ.get("METALAB_SCREENSHOTS", tmp_path)) / f"panel_{lesson.name}.png")

    press(panel, "Stop")
    expect(panel).to_contain_text("Stopped at meta-step")
    expect(panel.get_by_role("button", name="Start")).to_be_disabled()
    idle(page)  # Run All comes to its end
    assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert page.errors == []


@pytest.mark.parametrize("lesson", LESSONS[:1], ids=str)
def test_a_page_closed_and_opened_again_loses_nothing(page, browser, server, lesson):
    open_notebook(page, server, lesson.name)
    run_all(page)
    panel = steering(page)
    goes_on(panel)
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    at = step_of(panel)
    page.close()
    again = browser.new_page(viewport={"width": 1300, "height": 1000})
    again.set_default_timeout(PATIENCE)
    again.goto(f"{server}lab/tree/{lesson.name}.ipynb?token={TOKEN}")
    panel = steering(again)
    goes_on(panel)
    assert step_of(panel) > at
    press(panel, "Stop")
    expect(panel).to_contain_text("Stopped at meta-step")
    idle(again)
    again.close()


def test_a_pad_that_is_inked_all_over_says_so_and_can_be_cleared(page, server):
    open_notebook(page, server, "pad")
    run_all(page)
    panel = page.locator(".jp-OutputArea-output", has=page.get_by_role("application")).last
    pad, answer, alert = panel.get_by_role("application"), panel.get_by_role("status"), panel.get_by_role("alert")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    page.mouse.move(box["x"] + 90, box["y"] + 90)
    page.mouse.down()
    page.mouse.move(box["x"] + 190, box["y"] + 190, steps=5)
    page.mouse.up()
    expect(panel).to_contain_text("nearest to your drawing")
    expect(alert).to_have_count(0)
    page.mouse.move(box["x"] + 1, box["y"] + 1)
    page.mouse.down()
    side = box["width"] - 3
    for line in range(37):  # there and back, closer than the pen is wide
        right = box["x"] + (side if line % 2 == 0 else 1)
        page.mouse.move(right, box["y"] + side * line / 36 + 1, steps=2)
        page.mouse.move(right, box["y"] + side * min(line + 1, 36) / 36 + 1)
    page.mouse.up()
    expect(alert).to_contain_text("all of the paper is alike")
    expect(alert).to_contain_text("The answer below is still the one before.")
    expect(panel).to_contain_text("nearest to your drawing")
    panel.get_by_role("button", name="Clear").click()
    expect(alert).to_have_count(0)
    expect(answer.last).to_contain_text("drawing 1")
    assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert page.errors == []
