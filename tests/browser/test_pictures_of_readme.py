"""README's pictures, as `make pictures` takes them from today's panels.

With METALAB_SCREENSHOTS set to a folder, they are left there.
"""

import os
from pathlib import Path

import nbformat
import pytest
from PIL import Image
from playwright.sync_api import expect

from tools.browser import idle, jupyterlab, open_notebook, run_all

CHARACTERS = "from metalab.lessons.kit.characters import load_characters\n"
ADAPT = """
from metalab.checkpoint import shipped
from metalab.lessons.sine_regression import figures
starts = {"joint training": shipped("sine_joint_5shot")[0], "MAML": shipped("sine_maml_5shot")[0]}
panel = figures.adaptation_panel(starts)
panel.controls["shots"].value = 10
panel.show()
"""


def steered(folder, arguments, train):
    """The code that trains a lesson's panel with a script."""
    made = f"from metalab.lessons.{folder} import figures\npanel = figures.training_panel({arguments})"
    return f"{CHARACTERS}{made}\nlosses = await panel.train({train})"


PICTURES = {
    "lesson1": ADAPT,
    "panel_01_sine_regression": steered("sine_regression", "", '2000, script={1000: {"outer_lr": 0.01}}'),
    "panel_02_omniglot_few_shot": steered(
        "omniglot_few_shot", "*load_characters()", '300, script={151: {"inner_lr": 1e-2}, 226: {"inner_lr": 0.4}}'
    ),
    "panel_03_siamese_contrastive_loss": steered(
        "siamese_contrastive_loss", "*load_characters()", '400, script={201: {"margin": 1.0}}'
    ),
    "panel_04_second_vs_first_order_maml": steered(
        "second_vs_first_order_maml", "", '1500, script={301: {"order": 1}, 901: {"order": 2}}'
    ),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    place = tmp_path_factory.mktemp("lab")
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    for name, code in PICTURES.items():
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)], metadata=metadata)
        nbformat.write(notebook, place / f"{name}.ipynb")
    with jupyterlab(place) as address:
        yield address


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_for_readme_shows_a_panel_of_today(page, server, name, tmp_path):
    place = Path(os.environ.get("METALAB_SCREENSHOTS", tmp_path)) / f"{name}.png"
    open_notebook(page, server, name)
    run_all(page)
    panel = page.locator(".jp-OutputArea-output", has=page.locator(".metalab-panel")).first
    panel.wait_for()
    idle(page)
    if name != "lesson1":
        expect(panel).to_contain_text("Done:")
    picture = panel.locator("img")
    page.wait_for_function("image => image.naturalWidth > 0", arg=picture.element_handle())
    panel.screenshot(path=place)
    with Image.open(place) as image:
        assert min(image.size) > 300
        assert len(image.convert("RGB").getcolors(maxcolors=2**24)) > 100, "it is not blank"
    assert page.errors == []
