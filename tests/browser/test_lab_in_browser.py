"""What `make lab` opens in a real browser: the start page, links, and notebooks that were saved, closed and opened."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from playwright.sync_api import expect

from tools.browser import TOKEN, idle, open_notebook, run_all, serving, slider
from tools.my_lessons import LESSONS, PAGE

PANEL = """
import torch
from metalab.lessons.kit.figures import figure
from metalab.lessons.kit.panels import Panel, slider

def draw(height):
    fig, ax = figure(4, 2)
    ax.plot([0, height])
    return fig, f"The line rises to {height}."

Panel({"height": slider("height", 3, 1, 9, 1)}, draw, alt="A line.").show()
"""
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}}
LOST = "model not found"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("lab") / "my lessons"


@pytest.fixture(scope="module")
def server(folder):
    """The address of what `make lab` starts. Next to the lessons there are notebooks of the tests."""
    folder.mkdir()
    cells = [new_markdown_cell("# A panel"), new_code_cell(PANEL)]
    for name in ("shut", "alive", "restarted"):
        nbformat.write(new_notebook(cells=cells, metadata=KERNEL), folder / f"{name}.ipynb")
    code = "# @title Imports\nimport math", "print('the answer')"
    folded = [new_code_cell(code[0], metadata={"jupyter": {"source_hidden": True}}), new_code_cell(code[1])]
    folded[1].metadata.jupyter = {"outputs_hidden": True}
    folded[1].outputs = [nbformat.v4.new_output("stream", text="the answer\n")]
    nbformat.write(new_notebook(cells=folded, metadata=KERNEL), folder / "folded.ipynb")
    with serving("tools.lab", "--folder", str(folder), place=folder.parent) as address:
        yield address


def panel_of(page):
    return page.locator(".jp-OutputArea-output", has=page.locator(".widget-hslider")).last


def do(page, command):
    page.evaluate(f"window.jupyterapp.commands.execute('{command}')")


def closed(page):
    """Save the notebook and close it."""
    do(page, "docmanager:save")
    do(page, "application:close")
    expect(page.locator(".jp-NotebookPanel")).to_have_count(0)


def reopened(page, server, name):
    page.goto(f"{server}lab/tree/{name}.ipynb?token={TOKEN}&reset")
    expect(page.locator(".jp-NotebookPanel .jp-CodeCell").first).to_be_visible()


def shut_down(page):
    page.evaluate("window.jupyterapp.serviceManager.sessions.shutdownAll()")


def test_the_start_page_opens_and_its_links_lead_to_lessons_and_their_links_to_code(page, server, folder):
    page.goto(f"{server}?token={TOKEN}")
    start = page.locator(".jp-MarkdownViewer")
    expect(start.get_by_role("heading", name="Learn meta-learning by doing")).to_be_visible()
    expect(start.get_by_role("row")).to_have_count(1 + len(list(LESSONS.glob("*.ipynb"))))
    expect(start.get_by_text("not begun").first).to_be_visible()
    page.wait_for_timeout(2000)  # in which news would ask whether they may come
    expect(page.locator(".jp-Dialog, .Toastify__toast")).to_have_count(0)

    start.get_by_role("link", name="Sine regression").click()
    lesson = page.locator(".jp-NotebookPanel")
    expect(lesson.get_by_role("heading", name="Sine regression: learning")).to_be_visible()
    idle(page)
    page.evaluate("window.jupyterapp.shell.currentWidget.content.scrollToItem(24)")
    lesson.get_by_role("link", name="learners/maml.py").click()
    expect(page.locator(".jp-FileEditor")).to_contain_text("Model-agnostic meta-learning, MAML")
    expect(page.locator(".jp-Dialog")).to_have_count(0)
    shut_down(page)


def test_progress_is_on_the_page_when_it_is_opened_again(page, server, folder):
    name = "01_sine_regression"
    open_notebook(page, server, name)
    page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex = 6")
    notebook = page.locator(".jp-NotebookPanel")
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-cell')")
    expect(notebook.locator(".jp-InputPrompt", has_text="[1]")).to_have_count(1)
    do(page, "docmanager:save")
    shut_down(page)
    page.goto(f"{server}lab/tree/{PAGE}?token={TOKEN}&reset")
    expect(page.locator(".jp-MarkdownViewer")).to_contain_text("1 of ")


def test_a_panel_whose_kernel_was_shut_down_is_a_picture(page, server, folder):
    open_notebook(page, server, "shut")
    run_all(page)
    expect(panel_of(page)).to_contain_text("The line rises to 3.")
    idle(page)
    closed(page)
    shut_down(page)
    reopened(page, server, "shut")
    picture = page.locator(".jp-OutputArea-output img")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.complete && image.naturalWidth > 0")
    expect(page.locator(".jp-OutputArea")).to_contain_text("A line. To use it, run this cell.")
    expect(page.locator(".jp-OutputArea")).not_to_contain_text("Error")
    assert LOST not in page.content()
    assert page.errors == []
    assert "widgets" not in nbformat.read(folder / "shut.ipynb", as_version=4).metadata

    idle(page)  # a new kernel, which knows nothing of the panel
    run_all(page)
    expect(panel_of(page)).to_contain_text("The line rises to 3.")
    shut_down(page)


def test_a_panel_whose_kernel_lives_is_live(page, server):
    open_notebook(page, server, "alive")
    run_all(page)
    handle, _ = slider(panel_of(page), "height")
    handle.focus()
    handle.press("ArrowRight")
    expect(panel_of(page)).to_contain_text("The line rises to 4.")
    idle(page)
    closed(page)
    reopened(page, server, "alive")
    panel = panel_of(page)
    expect(panel).to_contain_text("The line rises to 4.")
    handle, _ = slider(panel, "height")
    handle.focus()
    handle.press("ArrowRight")
    expect(panel).to_contain_text("The line rises to 5.")
    assert page.errors == []
    shut_down(page)


def test_a_panel_whose_kernel_was_restarted_is_a_picture(page, server):
    """A kernel runs for the notebook, but it is not the one that the panel was made in."""
    open_notebook(page, server, "restarted")
    run_all(page)
    expect(panel_of(page)).to_contain_text("The line rises to 3.")
    idle(page)
    do(page, "docmanager:save")
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    reopened(page, server, "restarted")
    expect(page.locator(".jp-OutputArea-output img")).to_be_visible()
    idle(page)
    assert LOST not in page.content()
    shut_down(page)


def test_folded_code_stays_folded_and_folded_outputs_come_back_when_run(page, server):
    open_notebook(page, server, "folded")
    notebook = page.locator(".jp-NotebookPanel")
    expect(notebook.locator(".jp-InputPlaceholder")).to_have_count(1)
    expect(notebook.locator(".jp-OutputPlaceholder")).to_have_count(1)
    expect(notebook.get_by_text("import math")).to_have_count(0)
    expect(notebook.locator(".jp-OutputArea-output")).to_have_count(0)
    run_all(page)
    expect(notebook.locator(".jp-OutputArea-output", has_text="the answer")).to_be_visible()
    expect(notebook.locator(".jp-InputPlaceholder")).to_have_count(1)
    expect(notebook.locator(".jp-OutputPlaceholder")).to_have_count(0)
    shut_down(page)
