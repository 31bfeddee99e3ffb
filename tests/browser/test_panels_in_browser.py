"""The lessons' panels in a real browser, steered by keyboard while their cells run."""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import expect

from tools.browser import (
    ALL,
    LEAST_CONTRAST,
    PATIENCE,
    ROOT,
    TOKEN,
    WHOLE_LESSON,
    idle,
    jupyterlab,
    open_notebook,
    press,
    run_all,
    slider,
    use_theme,
)

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
        code: makes its panel.
        says: words that its picture's readout has.
        rate: what four presses do to the outer learning rate, in words.
        second: another slider, what it reads after one press, and what that did, in words.
        orders: whether there is a choice of first order.
    """

    name: str
    code: str
    says: str
    rate: str
    second: tuple[str, str, str] = ("inner steps", "2", "inner steps 1 → 2")
    orders: bool = True

    def __str__(self):
        return self.name


def making(folder, arguments=""):
    """The code that makes a lesson's panel."""
    return (
        f"from metalab.lessons.{folder} import figures\n"
        "from metalab.lessons.kit.characters import load_characters\n"
        f"panel = figures.training_panel({arguments})"
    )


LESSONS = [
    Lesson(
        "01_sine_regression",
        making("sine_regression"),
        "Error on an unseen task after 0, 1, 5 inner steps",
        "0.0010 → 0.0016",  # 10 to the power of 4 times 0.05: every press has come through
    ),
    Lesson(
        "02_omniglot_few_shot",
        making("omniglot_few_shot", "*load_characters()"),
        "queries are right after adaptation",
        "0.010 → 0.016",
    ),
    Lesson(
        "03_siamese_contrastive_loss",
        making("siamese_contrastive_loss", "*load_characters()"),
        "two drawings of one unseen character are",
        "0.0010 → 0.0016",
        ("margin m", "2.1", "margin 2.0 → 2.1"),
        orders=False,
    ),
    Lesson(
        "04_second_vs_first_order_maml",
        making("second_vs_first_order_maml"),
        "First and second order are",
        "0.0010 → 0.0016",
    ),
    Lesson(
        "09_learning_to_act",
        making("learning_to_act"),
        "Trajectories from the dot at the origin",
        "0.0050 → 0.0079",
        orders=False,
    ),
]


def write(place, name, *cells):
    """Write a notebook with these cells of code into a folder."""
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}  # or the page asks for one
    cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), place / f"{name}.ipynb")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a JupyterLab with the lessons, with their panels alone, and with a pad."""
    place = tmp_path_factory.mktemp("lab")
    for lesson in LESSONS:
        shutil.copy(ROOT / "notebooks" / f"{lesson.name}.ipynb", place)
        write(place, f"panel_{lesson.name}", lesson.code, f"losses = await panel.train({LONG})")
    write(place, "steer", LESSONS[0].code, "")
    write(place, "pad", PAD)
    with jupyterlab(place) as address:
        yield address


def steering(page):
    """The panel that steers a training, once it is there."""
    panel = page.locator(".jp-OutputArea-output", has=page.get_by_role("button", name="Again")).last
    panel.wait_for()
    panel.scroll_into_view_if_needed()
    return panel


STEP = r"Meta-step {}(?: of \d+)?: "


def step_of(panel):
    return int(re.search(STEP.format(r"(\d+)"), panel.text_content())[1])


def goes_on(panel):
    """Wait until the panel shows a later step."""
    expect(panel).to_contain_text(re.compile(STEP.format(r"\d+")))
    now = step_of(panel)
    expect(panel).not_to_contain_text(re.compile(STEP.format(now)))
    assert step_of(panel) > now


def no_error(page):
    assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert page.errors == []


@pytest.mark.parametrize("lesson", LESSONS, ids=str)
def test_a_lesson_is_steered_by_keyboard_while_it_trains(page, server, lesson, tmp_path):
    open_notebook(page, server, f"panel_{lesson.name}")
    run_all(page)
    panel = steering(page)
    expect(panel).to_contain_text(lesson.says)
    expect(panel).to_contain_text("No changes yet.")
    goes_on(panel)
    picture = panel.locator("img")

    # The first touch: the cell ends, and the training goes on between the cells.
    name, reads, words = lesson.second
    handle, readout = slider(panel, name)
    handle.focus()
    handle.press("ArrowRight")
    expect(readout).to_have_text(reads)
    expect(panel).to_contain_text(words)
    expect(panel).to_contain_text("You steer now.")
    idle(page)  # Run All comes to its end
    goes_on(panel)

    # Stopped, only a change can change the picture: it is the mark.
    press(panel, "Stop")
    expect(panel).to_contain_text("Stopped at meta-step")
    stopped = int(re.search(r"Stopped at meta-step (\d+)", panel.text_content())[1])
    expect(panel).to_contain_text(re.compile(STEP.format(stopped)))
    still = picture.screenshot()
    handle, readout = slider(panel, "outer learning rate")
    before = readout.inner_text()
    handle.focus()
    for _ in range(4):
        handle.press("ArrowRight")
    expect(readout).not_to_have_text(before)
    expect(panel).to_contain_text(f"at meta-step {stopped + 1} outer learning rate {lesson.rate}")
    assert lesson.rate.endswith(readout.inner_text()), "words and slider say the same number"
    assert step_of(panel) == stopped
    marked = picture.screenshot()
    assert marked != still

    # The training goes on with it, between the cells; a cell can be run meanwhile.
    press(panel, "Start")
    goes_on(panel)
    assert picture.screenshot() != marked
    if lesson.orders:
        first = panel.locator(".widget-toggle-button", has_text="first order")
        first.focus()
        first.press("Enter")
        expect(panel).to_contain_text("order second → first")
    goes_on(panel)
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        use_theme(page, theme)
        assert ("invert" in picture.evaluate("image => getComputedStyle(image).filter")) == ("Dark" in theme)
        contrast, words = panel.evaluate(LEAST_CONTRAST)
        assert contrast >= 4.5, f"{theme}: {words!r} has a contrast of {contrast:.1f}"
    panel.screenshot(path=pictures_in(tmp_path) / f"panel_{lesson.name}.png")

    press(panel, "Reset")
    expect(panel).to_contain_text("Back at meta-step 0, with the settings of the start.")
    expect(readout).to_have_text(before)
    expect(panel).to_contain_text(re.compile(STEP.format(0)))
    press(panel, "Again")
    goes_on(panel)
    press(panel, "Stop")
    expect(panel).to_contain_text("Stopped at meta-step")
    no_error(page)


@pytest.mark.skipif(not ALL, reason="nbval runs the lessons too; METALAB_TEST_ALL runs them here as well")
@pytest.mark.parametrize("lesson", LESSONS, ids=str)
def test_a_lesson_runs_from_top_to_bottom(page, server, lesson):
    open_notebook(page, server, lesson.name)
    run_all(page)
    idle(page, WHOLE_LESSON)
    assert page.locator(".jp-InputPrompt", has_text="[ ]").count() == 0, "a cell was not run"
    no_error(page)


def pictures_in(tmp_path):
    return Path(os.environ.get("METALAB_SCREENSHOTS", tmp_path))


def lesson_1(page, server, call):
    """Lesson 1's panel, trained by another call, on a page of its own."""
    page.goto(f"{server}lab/tree/steer.ipynb?token={TOKEN}&reset")
    idle(page)
    page.evaluate(
        "call => { const cells = window.jupyterapp.shell.currentWidget.content.model.cells;"
        " cells.get(cells.length - 1).sharedModel.setSource(call); }",
        call,
    )
    run_all(page)
    return steering(page)


def test_an_arrow_key_that_is_held_while_a_training_ends_folds_nothing(page, server):
    panel = lesson_1(page, server, "losses = await panel.train(3000)")
    handle, readout = slider(panel, "inner steps")
    expect(panel).to_contain_text("Done: 3000 meta-steps.")
    handle.focus()
    for _ in range(12):
        handle.press("ArrowLeft")
    press(panel, "Stop")
    handle.focus()
    for _ in range(12):
        handle.press("ArrowLeft")
    expect(readout).to_have_text("0")
    assert handle.evaluate("element => element === document.activeElement")
    assert page.get_by_text("cells hidden").count() == 0
    no_error(page)


def test_a_hand_is_stronger_than_the_script(page, server):
    panel = lesson_1(page, server, 'losses = await panel.train(10**6, script={4000: {"outer_lr": 0.5}})')
    goes_on(panel)
    handle, readout = slider(panel, "outer learning rate")
    handle.focus()
    handle.press("ArrowLeft")
    expect(readout).to_have_text("0.00089")
    idle(page)
    while step_of(panel) < 4500:
        goes_on(panel)
    expect(readout).to_have_text("0.00089")
    press(panel, "Stop")
    no_error(page)


def test_a_training_goes_on_while_other_cells_run_and_is_interrupted_in_its_own(page, server):
    panel = lesson_1(page, server, "losses = await panel.train(10**6)")
    goes_on(panel)
    page.evaluate("void window.jupyterapp.commands.execute('notebook:interrupt-kernel')")
    expect(panel).to_contain_text("Interrupted at meta-step")
    idle(page)
    press(panel, "Start")
    goes_on(panel)
    page.evaluate(
        "void window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"
        ".requestExecute({code: 'import time; before = panel.driver.steps; time.sleep(1); after = panel.driver.steps'})"
        ".done.then(() => { window.done = true; })"
    )
    page.wait_for_function("window.done")
    goes_on(panel)
    press(panel, "Stop")
    expect(panel).to_contain_text("Stopped at meta-step")
    no_error(page)


TRAININGS = """
from metalab.lessons.omniglot_few_shot import watching
for loss in (curve := watching.Curve(30, title="my own loop")):
    curve.add(1 / loss)
"""


def test_the_still_picture_takes_the_place_of_a_live_one_when_a_training_ends(page, server):
    page.goto(f"{server}lab/tree/steer.ipynb?token={TOKEN}&reset")
    idle(page)
    page.evaluate(
        "code => { const cells = window.jupyterapp.shell.currentWidget.content.model.cells;"
        " cells.get(0).sharedModel.setSource(code); cells.get(cells.length - 1).sharedModel.setSource(''); }",
        TRAININGS,
    )
    run_all(page)
    still = page.locator(".jp-RenderedImage img")
    expect(still).to_have_count(1)
    idle(page)
    expect(still).to_be_visible()
    expect(page.locator(".metalab-picture:visible")).to_have_count(0)
    no_error(page)


PAGES = {  # width, height and dots for each pixel
    "narrow": (600, 900, 1.0),
    "wide": (1920, 1080, 1.0),
    "dense": (1300, 1000, 2.0),
    "a zoom of 150 %": (1280 / 1.5, 900 / 1.5, 1.5),
}


@pytest.mark.parametrize("kind", PAGES)
def test_a_panel_fits_its_page(browser, server, kind, tmp_path):
    width, height, ratio = PAGES[kind]
    context = browser.new_context(viewport={"width": round(width), "height": round(height)}, device_scale_factor=ratio)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.errors = []
    panel = lesson_1(page, server, "losses = await panel.train(500)")
    page.evaluate("void window.jupyterapp.commands.execute('application:toggle-left-area')")
    expect(panel).to_contain_text("Done: 500 meta-steps.")
    picture = panel.locator("img")
    # Drawn for its place, so that letters have the size that they were given.
    page.wait_for_function(
        "image => image.naturalWidth && Math.abs(image.naturalWidth / devicePixelRatio - image.clientWidth) <= 2"
        " && Math.abs(image.naturalHeight / devicePixelRatio - image.clientHeight) <= 2",
        arg=picture.element_handle(),
    )
    box = picture.bounding_box()
    assert box["width"] <= 900
    assert box["height"] <= 0.55 * height + 1
    cut = panel.evaluate(
        "panel => [...panel.querySelectorAll('.widget-label, .widget-button, .widget-readout')]"
        ".filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent)"
    )
    assert cut == []
    assert panel.evaluate("panel => panel.scrollWidth <= panel.clientWidth + 1"), "nothing lies outside"
    # The picture that stays when the kernel is gone is hidden as long as the panel lives.
    expect(page.locator(".jp-RenderedImage:visible")).to_have_count(0)
    panel.screenshot(path=pictures_in(tmp_path) / f"panel_{kind.replace(' %', '').replace(' ', '_')}.png")
    context.close()


@pytest.mark.parametrize("lesson", LESSONS[:1], ids=str)
def test_a_page_closed_and_opened_again_loses_nothing(page, browser, server, lesson):
    open_notebook(page, server, f"panel_{lesson.name}")
    run_all(page)
    panel = steering(page)
    goes_on(panel)
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    at = step_of(panel)
    page.close()
    again = browser.new_page(viewport={"width": 1300, "height": 1000})
    again.set_default_timeout(PATIENCE)
    again.goto(f"{server}lab/tree/panel_{lesson.name}.ipynb?token={TOKEN}")
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
