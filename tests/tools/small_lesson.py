"""A small lesson that has the form it must have, and what it is made of."""

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from metalab.lessons.kit import setup
from tools import publish

REPOSITORY = setup.catalogue()["repository"]
INSTALL = publish.install_from(REPOSITORY) if REPOSITORY else publish.install_nothing()
SET_UP = publish.set_up_cell("00_small", INSTALL)
FOLDED = {"cellView": "form", "jupyter": {"source_hidden": True}}


def read(path):
    """Read a notebook as it is, in the format it was written in."""
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


def small_lesson():
    """Return a lesson of four cells, as `make notebooks` writes it."""
    cells = [
        new_markdown_cell("# A small lesson", id="title"),
        new_code_cell(SET_UP, id="set-up", execution_count=1, metadata=FOLDED),
        new_code_cell("x = 1\nprint(x)", id="first", execution_count=2, outputs=[stream("1\n")]),
        new_code_cell("assert x == 1\nx", id="second", execution_count=3, outputs=[result("1", 3)]),
    ]
    metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return new_notebook(cells=cells, metadata=metadata)


def stream(text, name="stdout"):
    """Return what a cell printed."""
    return new_output("stream", name=name, text=text)


def result(text, count):
    """Return the value of a cell whose execution count is `count`."""
    return new_output("execute_result", data={"text/plain": text}, execution_count=count)
