"""The buttons of exercises, and guesses, in a real browser and by keyboard alone."""

import os
import re
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import expect

from tools.browser import LEAST_CONTRAST, idle, jupyterlab, open_notebook, press, run_all, slider, use_theme

ONE_PRESS = 900  # milliseconds, a little more than presses of a button must be apart
EXERCISE = [
    "import torch\nfrom metalab.lessons.omniglot_few_shot import exercises\n"
    "exercises.confidence_interval.seconds = 1.0",
    "def confidence_interval(accuracies): ...",
    "exercises.confidence_interval.check(confidence_interval)",
    "def confidence_interval(accuracies):\n    return accuracies.mean(), accuracies.std()",
    "def confidence_interval(accuracies):\n    while True:\n        accuracies = accuracies + 1",
]
GUESSES = [
    "from metalab.lessons.kit import guess",
    'curve = guess.choice("Which curve will it draw?", ["one wave", "the average wave", "a flat line"])',
    'steps = guess.number("How many steps will it take?", [1, 2, 5, 10, 20, 50, 100, 200], "steps")',
    'wave = guess.sketch("Sketch the starting point.", x=(-5, 5), y=(-5, 5), points=5)',
    'curve.compare("the average wave", because="No curve is closer to all waves.")\nsteps.compare(134)\n'
    "print(wave.compare(0 * wave.x))",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    place = tmp_path_factory.mktemp("lab")
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}  # or the page asks for one
    for name, code in {"exercise": EXERCISE, "guesses": GUESSES}.items():
        cells = [nbformat.v4.new_code_cell(source) for source in code]
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), place / f"{name}.ipynb")
    with jupyterlab(place) as address:
        yield address


def run(page, *numbers, source=None):
    """Run some cells, counted from 0. With `source`, the cell gets this code first."""
    for number in numbers:
        page.evaluate(
            """([number, source]) => {
                const notebook = window.jupyterapp.shell.currentWidget.content;
                notebook.activeCellIndex = number;
                notebook.deselectAll();
                if (source !== null) notebook.activeCell.model.sharedModel.setSource(source);
                void window.jupyterapp.commands.execute('notebook:run-cell');
            }""",
            [number, source],
        )
        page.wait_for_timeout(300)  # the page does not say at once that the kernel is busy
        idle(page)


def output(page, number):
    return page.locator(".jp-Cell").nth(number).locator(".jp-Cell-outputArea")


def press_again(panel, name):
    panel.page.wait_for_timeout(ONE_PRESS)
    press(panel, name)


def check_contrast(page, panel):
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        use_theme(page, theme)
        contrast, words = panel.evaluate(LEAST_CONTRAST)
        assert contrast >= 4.5, f"{theme}: {words!r} has a contrast of {contrast:.1f}"


def picture(panel, name, tmp_path):
    panel.screenshot(path=Path(os.environ.get("METALAB_SCREENSHOTS", tmp_path)) / f"{name}.png")


def nothing_went_wrong(page):
    assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert page.errors == []


def test_an_exercise_is_checked_and_solved_by_keyboard(page, server, tmp_path):
    open_notebook(page, server, "exercise")
    run(page, 0, 1, 2)
    panel = output(page, 2)
    expect(panel).to_contain_text("confidence_interval: not written yet — skip it or try hint()")
    verdict = panel.get_by_role("status")

    # Each button is reached with Tab, and keeps the focus when it is pressed.
    panel.get_by_role("button", name="Check").focus()
    for name in ("Hint (3 left)", "Solution"):
        page.keyboard.press("Tab")
        expect(panel.get_by_role("button", name=name)).to_be_focused()
    page.keyboard.press("Space")
    expect(verdict).to_have_text("Show it? You have 3 hints left, and have not tried yet.")
    expect(panel.get_by_role("button", name="Show it")).to_be_focused()
    check_contrast(page, panel)

    # The reader's function of now, though the cell with the check does not run again
    press(panel, "Check")
    expect(panel).to_contain_text("Checked again: confidence_interval: not written yet")
    expect(panel.get_by_role("button", name="Solution")).to_be_visible()
    run(page, 3)
    press_again(panel, "Check")
    expect(panel).to_contain_text("Checked again: ✗ confidence_interval:")
    run(page, 4)
    press_again(panel, "Check")
    expect(panel).to_contain_text("It was stopped after 1 seconds, at line")

    for left in (2, 1):
        press_again(panel, f"Hint ({left + 1} left)")
        expect(panel).to_contain_text(f"Hint {3 - left} of 3:")
        expect(panel.get_by_role("button", name=f"Hint ({left} left)")).to_be_focused()
    press_again(panel, "Hint (1 left)")
    expect(panel.get_by_role("button", name="No hints left")).to_be_focused()
    expect(panel).to_contain_text("Hint 3 of 3:")

    press_again(panel, "Solution")  # it was tried, so it is shown at once
    solution = panel.locator("pre", has_text="def confidence_interval(accuracies):")
    check_contrast(page, panel)
    picture(page.locator(".jp-Cell").nth(2), "exercise", tmp_path)
    run(page, 1, source=solution.text_content())
    press_again(panel, "Check")
    expect(panel).to_contain_text("Checked again: ✓ confidence_interval: right")
    press_again(panel, "Hide solution")
    expect(solution).to_have_count(0)
    nothing_went_wrong(page)


def test_a_check_by_button_can_be_interrupted(page, server):
    open_notebook(page, server, "exercise")
    run(page, 0, 1, 2, 4)
    run(page, 0, source="exercises.confidence_interval.seconds = 600.0")
    panel = output(page, 2)
    press(panel, "Check")
    expect(panel).to_contain_text("Checking …")
    page.wait_for_timeout(1000)
    page.evaluate("void window.jupyterapp.commands.execute('notebook:interrupt-kernel')")
    expect(panel).to_contain_text("Checked again: confidence_interval: the check was interrupted, at line")
    run(page, 3)
    press_again(panel, "Check")
    expect(panel).to_contain_text("Checked again: ✗ confidence_interval:")
    nothing_went_wrong(page)


def test_guesses_are_made_by_keyboard_kept_and_compared(page, server, tmp_path):
    open_notebook(page, server, "guesses")
    run_all(page)
    idle(page)
    answers = output(page, 4)
    expect(answers).to_contain_text("You made no guess. The answer is “the average wave”.")
    expect(answers).to_contain_text("You made no guess. The answer is 134 steps.")
    expect(answers).to_contain_text("You made no sketch.")
    expect(answers).to_contain_text("None")

    curve, steps, wave = (output(page, number) for number in (1, 2, 3))
    curve.get_by_role("button").first.focus()
    page.keyboard.press("Enter")
    expect(curve).to_contain_text("Your guess is “one wave”.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(curve).to_contain_text("Your guess is “the average wave”.")
    handle, readout = slider(steps, "your guess")
    handle.focus()
    for _ in range(5):
        handle.press("ArrowRight")
    expect(readout).to_have_text("20 steps")
    expect(steps).to_contain_text("Your guess is 20 steps.")
    expect(wave).to_contain_text("No sketch yet.")
    before = wave.locator("img.metalab-picture").screenshot()
    handle, _ = slider(wave, "y at x = -5")
    handle.focus()
    handle.press("ArrowRight")
    expect(wave).to_contain_text("Your sketch, from left to right: 0.5, 0, 0, 0, 0.")
    assert wave.locator("img.metalab-picture").screenshot() != before
    for panel, name in ((curve, "choice"), (steps, "number"), (wave, "sketch")):
        check_contrast(page, panel)
        picture(panel, name, tmp_path)

    run(page, 1, 2, 3, 4)  # the cells run again, and the guesses stay
    expect(curve).to_contain_text("Your guess is “the average wave”.")
    expect(slider(steps, "your guess")[1]).to_have_text("20 steps")
    expect(wave).to_contain_text("from left to right: 0.5, 0, 0, 0, 0.")
    expect(answers).to_contain_text("✓ You guessed “the average wave”. That is right. No curve is closer to all waves.")
    expect(answers).to_contain_text("You guessed 20 steps. The answer is 134 steps.")
    expect(answers).to_contain_text(re.compile(r"Your sketch is 0\.224 away from the answer"))
    expect(answers).to_contain_text("tensor([[-5.0000,  0.5000]")
    nothing_went_wrong(page)
