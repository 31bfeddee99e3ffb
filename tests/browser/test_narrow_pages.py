"""The panels of all lessons on a narrow page, as on a telephone or next to another window: usable, and nothing is cut.

With METALAB_SCREENSHOTS set to a folder, pictures of all of them stay there, in both themes.
"""

import os
from pathlib import Path

import nbformat
import pytest

from tools.browser import idle, jupyterlab, open_notebook, run_all, use_theme

WIDTHS = (600, 390)  # of the page; a panel has 110 pixels less
ALL_PANELS = """
from functools import partial
import torch
from benchmarks.panels import answering, seeded, trainings
from metalab.experiments import uncertainty
from metalab.lessons.fast_learning_with_uncertainty import figures as bands
from metalab.lessons.sine_regression import figures as sine

torch.set_num_threads(1)
alpaca = uncertainty.METHODS["alpaca"].learner
panels = answering() | {
    "1: training again": sine.RetrainPanel(steps=100),
    "8: the game": bands.QuestionGame(partial(alpaca.predictive, alpaca.init(seeded()))),
}
names = iter(panels)
"""
SHOW = "print(name := next(names)); panels[name].show()"
STEER = "panel = trainings()[{!r}](); losses = await panel.train(8)"
STEERED = ["1: sine regression", "2: characters", "3: the contrastive loss", "4: both orders", "9: learning to act"]
HOW_MANY = 19  # panels that train nothing
TRIES = 60  # half a second each

# What is wrong with a panel, in words: controls that are cut or outside of it, letters below 11 pixels, sliders too
# short to be moved by a finger, and pictures that are cut, or scaled by the page and not drawn for their place.
FAULTS = """panel => {
  const seen = e => e.getClientRects().length && getComputedStyle(e).visibility !== 'hidden';
  const all = what => [...panel.querySelectorAll(what)].filter(seen);
  const name = e => `${e.className || e.tagName} ${e.textContent.slice(0, 40)}`;
  const place = panel.getBoundingClientRect(), faults = [];
  for (const e of all('.widget-label, .widget-label-basic, .widget-readout, button, p, .noUi-base')) {
    const box = e.getBoundingClientRect();
    if (e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== 'inline' && !e.matches('.noUi-base'))
      faults.push(`cut: ${name(e)}`);
    if (box.left < place.left - 1 || box.right > place.right + 1) faults.push(`outside: ${name(e)}`);
    if (e.textContent.trim() && parseFloat(getComputedStyle(e).fontSize) < 11) faults.push(`small: ${name(e)}`);
    if (e.matches('.noUi-base') && box.width < 80) faults.push(`a slider of ${box.width} pixels`);
  }
  for (const image of all('img.metalab-picture')) {
    const [width, height] = [image.naturalWidth / devicePixelRatio, image.naturalHeight / devicePixelRatio];
    const scale = image.clientWidth / width;
    if (scale < 0.65 || scale > 1.01) faults.push(`the page scales a picture by ${scale}`);
    if (Math.abs(image.clientHeight - scale * height) > 2) faults.push('the page changes the shape of a picture');
    let box = image.parentElement;
    while (box !== panel && box.scrollWidth <= box.clientWidth + 1) box = box.parentElement;
    const scrolls = ['auto', 'scroll'].includes(getComputedStyle(box).overflowX);
    if (image.getBoundingClientRect().right > place.right + 1 && !scrolls) faults.push('a picture is cut');
  }
  return faults;
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    place = tmp_path_factory.mktemp("lab")
    code = [ALL_PANELS, *[SHOW] * HOW_MANY, *map(STEER.format, STEERED), "assert next(names, None) is None"]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}  # or the page asks for one
    cells = [nbformat.v4.new_code_cell(cell) for cell in code]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), place / "panels.ipynb")
    with jupyterlab(place) as address:
        yield address


def test_every_panel_is_usable_on_a_narrow_page(page, server):
    open_notebook(page, server, "panels")
    run_all(page)
    idle(page)
    page.evaluate("void window.jupyterapp.commands.execute('application:toggle-left-area')")
    assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']").count() == 0
    panels = page.locator(".jp-OutputArea-output:has(.metalab-panel, .metalab-guesses)")
    assert panels.count() == HOW_MANY + len(STEERED)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 844})
        for _ in range(TRIES):  # until the page has told its size, and each picture is drawn for it
            page.wait_for_timeout(500)
            found = {number: panel.evaluate(FAULTS) for number, panel in enumerate(panels.all())}
            if not (faults := {number: some for number, some in found.items() if some}):
                break
        assert faults == {}, f"a page of {width} pixels"
        for theme in ("Dark", "Light") if "METALAB_SCREENSHOTS" in os.environ else ():
            use_theme(page, f"JupyterLab {theme}")
            for number, panel in enumerate(panels.all()):
                name = f"{width}_{theme}_{number:02}.png"
                panel.screenshot(path=Path(os.environ["METALAB_SCREENSHOTS"]) / name)
    assert page.errors == []
