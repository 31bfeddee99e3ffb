"""Every solution runs where a reader pastes it: in its lesson, which has made its imports, and nothing else."""

import ast
import importlib
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

from metalab.lessons.kit import setup
from metalab.lessons.kit.exercise import Exercise

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def exercises_of(lesson):
    """The exercises of a lesson in the order in which they are read."""
    module = importlib.import_module(f"metalab.lessons.{lesson.partition('_')[2]}.exercises")
    text = "\n".join(sources(lesson))
    found = [thing for thing in vars(module).values() if isinstance(thing, Exercise)]
    return sorted(found, key=lambda exercise: text.index(f"exercises.{exercise.name}.check("))


def sources(lesson):
    """The code cells of a lesson as plain Python."""
    notebook = nbformat.read(NOTEBOOKS / f"{lesson}.ipynb", as_version=4)
    return [TransformerManager().transform_cell(cell.source) for cell in notebook.cells if cell.cell_type == "code"]


def imports_before(lesson, exercise):
    """The imports of the cells before an exercise's check."""
    found = []
    for source in sources(lesson):
        if f"exercises.{exercise.name}.check(" in source:
            break
        found += [node for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)]
    return "\n".join(map(ast.unparse, found))


CASES = [
    pytest.param(lesson, exercise, id=f"{lesson}-{exercise.name}")
    for lesson in setup.catalogue()["lessons"]
    for exercise in exercises_of(lesson)
]


@pytest.mark.parametrize(("lesson", "exercise"), CASES)
def test_a_solution_runs_where_it_is_pasted(lesson, exercise, capsys):
    space = {"__name__": "__main__"}
    exec(imports_before(lesson, exercise), space)
    for earlier in exercises_of(lesson):
        if earlier is exercise:
            break
        space[earlier.name] = earlier.answer  # with which the lesson goes on
    exec(exercise.source(), space)
    exercise.check(space[exercise.name])
    assert capsys.readouterr().out == f"✓ {exercise.name}: right\n"


@pytest.mark.parametrize(("lesson", "exercise"), CASES)
def test_what_is_printed_is_what_is_pasted(lesson, exercise, capsys):
    exercise.solution()
    assert capsys.readouterr().out == exercise.source()
