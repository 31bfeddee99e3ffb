"""The games and the panel of nearest drawings in a real browser: by mouse and by keyboard, on one screen."""

import os
import re
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import expect

from tools.browser import LEAST_CONTRAST, idle, jupyterlab, open_notebook, run_all, use_theme

CELLS = {
    "game": """
from metalab.lessons.omniglot_few_shot.figures import Game
from metalab.tasks import glyphs
game = Game(glyphs.draw(alphabets=2, seed=0), ways=(5, 20), rounds=2)
game.compare({"a network": lambda episode: episode.support_y[:, :, None].expand(-1, -1, episode.ways).float()})
game.show()
""",
    "pairs": """
from metalab.lessons.siamese_contrastive_loss.figures import PairsGame
from metalab.tasks import Groups, glyphs
PairsGame({"any alphabets": Groups(glyphs.draw(alphabets=2, seed=0), 2, 2)}, pairs=2).show()
""",
    "neighbours": """
from metalab.lessons.siamese_contrastive_loss.neighbours import Neighbours
from metalab.tasks import glyphs
Neighbours(glyphs.draw(alphabets=20, seed=0), lambda drawings: drawings.flatten(1)).show()
""",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    place = tmp_path_factory.mktemp("lab")
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}  # or the page asks for one
    for name, cell in CELLS.items():
        nbformat.write(
            nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)], metadata=metadata),
            place / f"{name}.ipynb",
        )
    with jupyterlab(place) as address:
        yield address


def opened(page, server, name, part):
    """The output that has a part of some class."""
    page.set_viewport_size({"width": 1280, "height": 900})
    open_notebook(page, server, name)
    run_all(page)
    panel = page.locator(".jp-OutputArea-output", has=page.locator(part)).last
    panel.wait_for()
    panel.scroll_into_view_if_needed()
    return panel


def shot(panel, name, tmp_path):
    panel.page.screenshot(path=Path(os.environ.get("METALAB_SCREENSHOTS", tmp_path)) / f"{name}.png")


def no_errors(page):
    assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert page.errors == []


def background(button):
    return button.evaluate("button => getComputedStyle(button).backgroundImage")


def test_the_game_is_played_by_mouse_and_by_keyboard(page, server, tmp_path):
    panel = opened(page, server, "game", ".metalab-guesses")
    status = panel.get_by_role("status")
    expect(status).to_contain_text("Question 1 of 2.")
    idle(page)
    expect(page.locator(".jp-RenderedImage")).to_have_count(1)  # for pages without a kernel
    expect(page.locator(".jp-RenderedImage:visible")).to_have_count(0)
    drawings = panel.get_by_role("button", name=re.compile("drawing"))
    expect(drawings).to_have_count(5)
    shown = [background(button) for button in drawings.all()]
    assert all(picture.startswith('url("data:image/png;base64,') for picture in shown)
    assert len(set(shown)) == 5
    shot(panel, "game_question", tmp_path)

    # By mouse, on the drawing itself
    drawings.nth(2).click(position={"x": 40, "y": 30})
    expect(status).to_contain_text("Score:")
    expect(status).to_contain_text(re.compile("✓ Right|✗ You chose: drawing 3"))
    expect(panel.get_by_role("button", name="✓ drawing")).to_have_count(1)
    assert [background(button) for button in drawings.all()] == shown, "the answered question stays"
    shot(panel, "game_answer", tmp_path)

    # By keyboard: the drawing that was pressed still has the focus, and Next is the nearest thing before it.
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowLeft")
    expect(status).to_contain_text("Question 1 of 2.")
    page.keyboard.press("Shift+Tab")
    expect(panel.get_by_role("button", name="Next")).to_be_focused()
    page.keyboard.press("Enter")
    expect(status).to_contain_text("Question 2 of 2. Which")
    page.keyboard.press("Enter")
    expect(status).to_contain_text("Guess first")
    page.keyboard.press("Tab")
    expect(drawings.first).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(status).to_contain_text("of 2.")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")  # See the results
    expect(status).to_contain_text("All 2 questions are answered.")
    expect(panel.get_by_role("table")).to_contain_text("a network")
    shot(panel, "game_results", tmp_path)
    again = panel.get_by_role("button", name="Play again")
    expect(again).to_be_focused()
    page.keyboard.press("Enter")
    expect(status).to_contain_text("Question 1 of 2.")

    panel.get_by_role("button", name="20 characters").click()
    expect(drawings).to_have_count(20)
    panel.scroll_into_view_if_needed()
    box = panel.bounding_box()
    assert box["height"] < 700, "all of it is on the screen"
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        use_theme(page, theme)
        contrast, words = panel.evaluate(LEAST_CONTRAST)
        assert contrast >= 4.5, f"{theme}: {words!r} has a contrast of {contrast:.1f}"
        shot(panel, f"game_20_{theme}", tmp_path)
    no_errors(page)


def test_pairs_are_guessed_before_they_are_told(page, server, tmp_path):
    panel = opened(page, server, "pairs", ".metalab-guesses")
    status = panel.get_by_role("status")
    expect(panel.get_by_role("img")).to_have_count(2)
    expect(panel.get_by_text("✓")).to_have_count(0)
    shot(panel, "pairs_question", tmp_path)
    same = panel.get_by_role("button", name="the same character")
    same.focus()
    same.press("Enter")
    expect(status).to_contain_text(re.compile("✓ Right|✗ You chose"))
    expect(panel.get_by_role("img")).to_have_count(2)
    shot(panel, "pairs_answer", tmp_path)
    panel.get_by_role("button", name="Next").click()
    expect(status).to_contain_text("Question 2 of 2. Do")
    no_errors(page)


def test_neighbours_are_picked_by_keyboard_on_one_screen(page, server, tmp_path):
    panel = opened(page, server, "neighbours", ".metalab-pad")
    expect(panel.locator("img")).to_be_visible()
    picture, pad = panel.locator("img").bounding_box(), panel.get_by_role("application").bounding_box()
    assert picture["y"] + picture["height"] - pad["y"] < 760, "pad and answer are on one screen"
    panel.get_by_role("button", name="glyphs 1", exact=True).focus()
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(panel).to_contain_text("nearest to glyphs 4 1, drawing 1")
    expect(panel.get_by_role("button", name="glyphs 4", exact=True)).to_be_focused()
    panel.get_by_role("button", name="glyphs 20").click()
    expect(panel).to_contain_text("nearest to glyphs 20 1, drawing 1")
    shot(panel, "neighbours", tmp_path)
    idle(page)
    no_errors(page)
