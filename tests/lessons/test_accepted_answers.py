"""What a check accepts, the lesson runs on: with each right answer, the cells that call the function are executed.

Of the cells before them only those are executed that they need, and trainings are cut to a few steps.
"""

import ast
import functools
import importlib
import pkgutil
import re
import symtable
import warnings
from pathlib import Path

import nbformat
import pytest
from answers import RIGHT
from IPython.core.inputtransformer2 import TransformerManager

from metalab.lessons.kit import setup
from metalab.lessons.kit.curve import Curve
from metalab.lessons.kit.exercise import Exercise
from tools.browser import ALL

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"

LESSONS = list(setup.catalogue()["lessons"])
for lesson in LESSONS:
    importlib.import_module(f"answers_{lesson.partition('_')[2]}")  # fills RIGHT
STEPS = 21  # of each training


def exercises_of(lesson):
    """The module with a lesson's exercises."""
    return importlib.import_module(f"metalab.lessons.{lesson.partition('_')[2]}.exercises")


def cells_of(lesson):
    """The code cells of a lesson as plain Python."""
    notebook = nbformat.read(NOTEBOOKS / f"{lesson}.ipynb", as_version=4)
    transform = TransformerManager().transform_cell
    return [transform(cell.source) for cell in notebook.cells if cell.cell_type == "code"]


def names_in(source):
    """The names that a cell assigns, and those that it takes from earlier cells."""
    assigned, taken = set(), set()

    def look(table):
        for symbol in table.get_symbols():
            if table.get_type() == "module" and (symbol.is_assigned() or symbol.is_imported()):
                assigned.add(symbol.get_name())
            elif symbol.is_referenced() and (symbol.is_global() or table.get_type() == "module"):
                taken.add(symbol.get_name())
        for inner in table.get_children():
            look(inner)

    look(symtable.symtable(source, "cell", "exec"))
    return assigned, taken - assigned


def needed(cells, users):
    """The numbers of the cells that some cells need: for each name the last cell before that assigns it."""
    names = {}
    for number, source in enumerate(cells):
        try:
            names[number] = names_in(source)
        except SyntaxError:  # it awaits something
            names[number] = set(), set()
    found, todo = set(), list(users)
    while todo:
        user = todo.pop()
        for name in names[user][1]:
            earlier = [number for number in range(user) if name in names[number][0]]
            if earlier and earlier[-1] not in found:
                found.add(earlier[-1])
                todo.append(earlier[-1])
    return sorted(found - set(users))


def users_of(lesson, exercise):
    """The numbers of the cells that call an exercise's function, other than by its check."""
    cells = cells_of(lesson)
    return [n for n, cell in enumerate(cells) if exercise.name in names_of(cell) and not is_of(cell, exercise)]


def is_of(cell, exercise):
    """Whether a cell is the exercise's stub or its check."""
    return f"def {exercise.name}(" in cell or f"exercises.{exercise.name}." in cell


@functools.cache
def prepared(lesson, exercise):
    """The names that the cells which call an exercise's function find, and those cells."""
    cells, users = cells_of(lesson), users_of(lesson, exercise)
    space = {"__name__": "__main__"}
    for number in needed(cells, users):
        if other := re.search(r"= exercises\.(\w+)\.or_solution\(", cells[number]):
            space[other[1]] = getattr(exercises_of(lesson), other[1]).answer
        elif not is_of(cells[number], exercise):
            source = shortened(without_asserts(cells[number]))
            exec(compile(source, f"{lesson}, code cell {number}", "exec"), space)
    return space, [cells[number] for number in users]


def names_of(source):
    try:
        return names_in(source)[1]
    except SyntaxError:
        return set()


def without_asserts(source):
    """A cell without its assertions and claims, which hold after a whole training only."""

    class Drop(ast.NodeTransformer):
        def visit_Assert(self, node):
            return ast.copy_location(ast.Pass(), node)

        def visit_Expr(self, node):
            is_claim = isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "claim"
            return ast.copy_location(ast.Pass(), node) if is_claim else node

    return Drop().visit(ast.parse(source))


def shortened(tree, most=STEPS):
    """A cell in which no constant of a name such as `META_STEPS` is above `most`."""

    class Cut(ast.NodeTransformer):
        def visit_Assign(self, node):
            if ast.unparse(node.targets[0]).endswith("STEPS") and isinstance(node.value, ast.Constant):
                node.value.value = min(node.value.value, most)
            return node

    return Cut().visit(tree)


CASES = [
    pytest.param(lesson, exercise, function, id=f"{exercise.name}-{number}")
    for lesson in LESSONS
    for exercise in vars(exercises_of(lesson)).values()
    if isinstance(exercise, Exercise)
    for number, function in enumerate(RIGHT[exercise] if ALL else RIGHT[exercise][:1])
]


@pytest.fixture
def short_trainings(monkeypatch):
    def short(train):
        return lambda training, steps, *more, **options: train(training, min(steps, STEPS), *more, **options)

    for lesson in LESSONS:
        folder = importlib.import_module(f"metalab.lessons.{lesson.partition('_')[2]}")
        for found in pkgutil.iter_modules(folder.__path__, f"{folder.__name__}."):
            module = importlib.import_module(found.name)
            for name in [name for name in vars(module) if name.startswith("train_with")]:
                monkeypatch.setattr(module, name, short(getattr(module, name)))
    of_a_curve = Curve.__init__
    monkeypatch.setattr(Curve, "__init__", short(of_a_curve))


@pytest.mark.parametrize(("lesson", "exercise", "function"), CASES)
def test_the_lesson_runs_on_with_every_right_answer(lesson, exercise, function, short_trainings, no_hurry, capsys):
    assert exercise.diagnose(function).state == "right"
    space, users = prepared(lesson, exercise)
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # torch.func.linearize warns of its own workings
        space = space | {exercise.name: function}  # which the cells share, as in the lesson
        for source in users:
            exec(compile(shortened(ast.parse(source)), lesson, "exec"), space)


def test_the_functions_that_the_lessons_call_are_known():
    """Or the test above would run nothing without anybody noticing."""
    called = {
        exercise.name
        for lesson in LESSONS
        for exercise in vars(exercises_of(lesson)).values()
        if isinstance(exercise, Exercise) and users_of(lesson, exercise)
    }
    assert called == {
        "sample_task",
        "inner_step",
        "meta_loss",
        "meta_train",
        "inner_loop",
        "tune",
        "deal_episode",
        "confidence_interval",
        "prototype_logits",
        "fine_tune",
        "train_step",
        "paired_difference",
        "draw_pairs",
        "contrastive_loss",
        "train_on_group",
        "one_shot_answers",
        "hardest_triplets",
        "hessian_vector",
        "meta_gradient",
        "two_terms",
        "reptile_update",
        "paired_ratio",
        "verdict",
        "passes",
        "step_with_rates",
        "descend",
        "adapted_loss",
        "meta_step",
        "make_learner",
        "adapt",
        "predict",
        "dense_step",
        "scores_one_by_one",
        "fair_accuracy",
        "split_by_alphabet",
        "update",
        "gp_posterior",
        "negative_log_likelihood",
        "coverage",
        "variance_after",
        "posterior_mean",
        "set_answer",
        "attention",
        "causal_mask",
        "linear_answer",
        "reward_to_go",
        "score_gradient",
        "pull_values",
        "play_game",
        "normalise_by_support",
        "ranks",
        "head_of_means",
        "update_mean",
        "update_sums",
    }
