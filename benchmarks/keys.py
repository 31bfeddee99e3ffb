"""How long is it from a key to the picture? Measured in a real browser, in all panels that train nothing.

python -m benchmarks keys --json results/keys-cpu.json

A slider of each panel gets an arrow key, as a reader presses it. The time goes from the key in the page until the
page has loaded the new picture: through the page, the server and the kernel, and back. In a game, which has no sliders,
Enter answers a question and asks for the next one; there the time ends when the game says something else.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import tempfile
from pathlib import Path
from typing import Any

import nbformat

from benchmarks.panels import answering
from metalab.experiments import machine
from metalab.files import check_replaceable, replace_file

MEDIAN_GOAL, TAIL_GOAL = 60.0, 100.0  # milliseconds; the second for 95 of 100 keys
PRESSES = 12  # to the right, and as many back, on each slider
LONGEST_WAIT = 60_000.0  # milliseconds, for whatever the page does not show; then the command ends with an error

ONWARD = re.compile("Next|See the results|Play again")  # a game's button that goes on

LISTEN = """panel => {
  const image = panel.querySelector("img.metalab-picture");
  const game = panel.querySelector(".metalab-guesses");
  const taken = window.taken = [];  // the panels before this one have lists of their own
  window.pressed = 0;
  const done = () => { taken.push(performance.now() - window.pressed); };
  document.addEventListener("keydown", () => { window.pressed = performance.now(); }, true);
  if (image) { image.addEventListener("load", done); return; }
  let said = game.innerText;
  new MutationObserver(() => { if (game.innerText !== said) { said = game.innerText; done(); } })
    .observe(game, { subtree: true, childList: true, characterData: true });
}"""


def press(page: Any, handle: Any, key: str) -> bool:
    """Press a key on a handle or a button, wait for what it shows, and return whether it showed anything."""
    from playwright.sync_api import TimeoutError as NothingShown

    before = page.evaluate("window.taken.length")
    handle.press(key)
    try:
        page.wait_for_function(f"window.taken.length > {before}", timeout=2000)
    except NothingShown:
        return False
    return True


def use(page: Any, panel: Any, presses: int) -> None:
    """Press the keys of a panel: to the right and back on each of its sliders, or a game's answers and Next."""
    for handle in panel.locator(".noUi-handle").all():
        handle.focus()
        for key in ("ArrowRight", "ArrowLeft"):
            for _ in range(presses):
                if not press(page, handle, key):
                    break  # the slider is at its end
    if panel.locator(".metalab-guesses").count():
        choices, onward = panel.locator(".metalab-choice"), panel.get_by_role("button", name=ONWARD)
        for _ in range(presses):
            if not choices.count():  # all questions are answered
                press(page, onward, "Enter")
            press(page, choices.first, "Enter")
            press(page, onward, "Enter")


def measure(*, presses: int = PRESSES) -> dict[str, list[float]]:
    """Return the milliseconds of each key, by panel.

    Raises:
        ImportError: playwright is not installed.
        RuntimeError: there is no browser.
        playwright.sync_api.TimeoutError: a panel is not shown within a minute.
    """
    from playwright.sync_api import sync_playwright

    from tools.browser import CHROMIUM, QUIET, idle, jupyterlab, open_notebook, run_all

    if not CHROMIUM.exists():
        raise RuntimeError(f"no browser at {CHROMIUM}: let METALAB_CHROMIUM name one")
    names = list(answering())
    code = ["from benchmarks.panels import answering\npanels = answering()", *(f"panels[{n!r}].show()" for n in names)]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in code], metadata=metadata)
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        place = Path(folder)
        nbformat.write(notebook, place / "keys.ipynb")
        with jupyterlab(place) as server:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
            page = browser.new_page(viewport={"width": 1300, "height": 1000})
            page.set_default_timeout(LONGEST_WAIT)
            # One page and one kernel for all panels: to start them takes far longer than the keys do.
            open_notebook(page, server, "keys")
            run_all(page)
            live = page.locator(".metalab-panel, .metalab-guesses")
            panels = [
                page.locator(".jp-CodeCell").nth(1 + number).locator(".jp-OutputArea-output", has=live).first
                for number in range(len(names))
            ]
            for panel in panels:
                panel.wait_for()
            idle(page)
            page.wait_for_timeout(1000)  # until the page has told its size, and the pictures have been drawn for it
            for name, panel in zip(names, panels, strict=True):
                panel.evaluate(LISTEN)
                use(page, panel, presses)
                found[name] = page.evaluate("window.taken")
            browser.close()
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m benchmarks keys`."""
    parser.add_argument("--quick", action="store_true", help="one key each way: tries the command out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measurements there")


def run(options: argparse.Namespace) -> int:
    """Measure, print the results, and write them to a file if one was named."""
    if options.json:
        check_replaceable(options.json)
    found = measure(presses=1 if options.quick else PRESSES)
    for name, times in found.items():
        print(f"{name:34} {summary(times)}")
    if options.json:
        about: dict[str, Any] = {
            "machine": machine.about("cpu", ("torch", "ipywidgets", "ipykernel", "matplotlib", "jupyterlab")),
            "goals": {"median": MEDIAN_GOAL, "95 of 100": TAIL_GOAL},
            "keys": found,
        }
        replace_file(options.json, f"{json.dumps(about, indent=1)}\n".encode())
    return 0


def summary(times: list[float]) -> str:
    """Return the median and the 95th percentile in words."""
    if len(times) < 2:
        return "no key changed the picture"
    tail = statistics.quantiles(times, n=20, method="inclusive")[-1]
    return f"{statistics.median(times):5.0f} ms median, {tail:.0f} ms for 95 of 100 keys, {len(times)} keys"
