"""A JupyterLab in a real browser, and how tests and measurements find and press things there.

The tests need a chromium at CHROMIUM. Without it they are skipped, unless METALAB_TEST_ALL is set. With
METALAB_SCREENSHOTS set to a folder, they leave pictures there.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jupyter_server.serverapp import list_running_servers
from playwright.sync_api import expect

ROOT = Path(__file__).parents[1]
CHROMIUM = Path(os.environ.get("METALAB_CHROMIUM", "/usr/bin/chromium"))
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ALL = bool(os.environ.get("METALAB_TEST_ALL"))  # take the time that it takes: no lesson in part, and none skipped
PATIENCE = 240_000  # milliseconds; for a page that hangs: longer than a lesson trains before its panel
WHOLE_LESSON = 900_000  # milliseconds; for Run All on a core that other tests share: it takes 140 s alone, at most
TOKEN = "metalab"
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false"},  # or it asks whether it may
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},  # or a panel out of sight is not on the page
}


@contextmanager
def jupyterlab(place: Path) -> Iterator[str]:
    """Run a JupyterLab whose files are those in the folder `place`. Yields its address."""
    settings = place / ".config/labconfig/default_setting_overrides.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps(SETTINGS))
    never = "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"
    with serving("jupyterlab", "--allow-root", f"--ServerApp.root_dir={place}", never, place=place) as address:
        yield address


@contextmanager
def serving(*command: str, place: Path) -> Iterator[str]:
    """Run a Python module that becomes a JupyterLab, whose configuration is in `place`. Yields its address."""
    environment = os.environ | {
        "JUPYTER_CONFIG_DIR": str(place / ".config"),
        "JUPYTERLAB_WORKSPACES_DIR": str(place / ".workspaces"),
        "JUPYTERLAB_SETTINGS_DIR": str(place / ".settings"),
        "JUPYTER_RUNTIME_DIR": str(place / ".runtime"),
        "PYTHONPATH": str(ROOT),
    }
    options = [
        "--no-browser",
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port=0",
        f"--IdentityProvider.token={TOKEN}",
        "--LabApp.expose_app_in_browser=True",
    ]
    with open(place / "server.log", "w") as log:
        arguments = [sys.executable, "-m", *command, *options]
        process = subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        while not (found := list(list_running_servers(runtime_dir=str(place / ".runtime")))):
            assert process.poll() is None, (place / "server.log").read_text()
            try:
                process.wait(0.2)
            except subprocess.TimeoutExpired:
                continue
        yield found[0]["url"]
    finally:
        process.terminate()
        process.wait()


def open_notebook(page, server, name):
    """Open the notebook `name` of the server, and wait for its kernel."""
    page.goto(f"{server}lab/tree/{name}.ipynb?token={TOKEN}&reset")
    idle(page)


def idle(page, patience=PATIENCE):
    """Wait until the kernel has nothing to do: no cell waits for it either, as between two cells of Run All.

    Args:
        patience: how long to wait for that, in milliseconds.
    """
    kernel = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel"
    page.wait_for_function(f"{kernel}?.status === 'idle'", timeout=patience)
    # Not by `expect`, which has a patience of its own, and a short one.
    page.wait_for_function(
        "![...document.querySelectorAll('.jp-InputPrompt')].some(prompt => prompt.textContent.includes('*'))",
        timeout=patience,
    )


def run_all(page):
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")


def press(panel, name):
    """As somebody without a mouse does."""
    button = panel.get_by_role("button", name=name)
    button.focus()
    button.press("Enter")


def slider(panel, name):
    """The handle of a slider, and what it reads."""
    box = panel.locator(".widget-hslider", has_text=name)
    return box.locator(".noUi-handle"), box.locator(".widget-readout")


# WCAG 2's contrast of each piece of text with what is behind it, and the least of them with its text.
LEAST_CONTRAST = """panel => {
  const numbers = color => color.match(/[\\d.]+/g).map(Number);
  const luminance = color => {
    const linear = x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = numbers(color).map(x => linear(x / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = element => {
    const color = getComputedStyle(element).backgroundColor, parts = numbers(color);
    return parts.length === 4 && parts[3] === 0 && element.parentElement ? behind(element.parentElement) : color;
  };
  const found = [...panel.querySelectorAll('p, pre, label, button, .widget-readout')].filter(e => e.textContent.trim());
  return found.map(element => {
    const [dark, light] = [getComputedStyle(element).color, behind(element)].map(luminance).sort((a, b) => a - b);
    return [(light + 0.05) / (dark + 0.05), element.textContent];
  }).sort((a, b) => a[0] - b[0])[0];
}"""


def use_theme(page, name):
    page.evaluate(f"void window.jupyterapp.commands.execute('apputils:change-theme', {{theme: '{name}'}})")
    page.wait_for_function(f"document.body.dataset.jpThemeName === '{name}'")
    # JupyterLab takes its splash away 0.2 seconds later. If the next theme comes before, it tries to do so twice.
    expect(page.locator("#jupyterlab-splash")).to_have_count(0)
