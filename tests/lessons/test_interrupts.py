"""A lesson goes on after an interrupt: each later cell runs, or it says which cell has to be run again.

The cells of a lesson are run as a reader's kernel runs them. tests/kit/test_explained_interrupts.py has a real kernel.
"""

import ast
import asyncio

import pytest
import torch
from test_accepted_answers import ALL, LESSONS, cells_of, shortened
from test_lessons_on_gpu import ON_CPU
from test_lessons_on_gpu import drawn as drawn
from test_lessons_on_gpu import short as short

import metalab.evaluate
from metalab.lessons.kit import claims
from metalab.lessons.kit.exercise import Exercise
from metalab.lessons.kit.interrupts import INTERRUPTS
from metalab.lessons.kit.steering import SteeringPanel
from metalab.train import Trainer

SOME = LESSONS if ALL else LESSONS[1:2]  # METALAB_TEST_ALL takes the minutes that all of them take
STEPS = 2  # after which each training is interrupted


@pytest.fixture(autouse=True)
def a_reader(monkeypatch, short, figures):
    """Somebody watches, and skips the exercises."""
    torch.set_num_threads(1)
    INTERRUPTS.missing.clear()
    monkeypatch.setattr(claims, "a_reader_watches", lambda: True)
    monkeypatch.setattr(Exercise, "check", lambda exercise, function: None)
    monkeypatch.setattr(Exercise, "or_solution", lambda exercise, function: exercise.answer)


def run(lesson, first=None):
    """Run the cells of a lesson. Interrupt those that only measure, and every other one from `first` on, at once.

    Returns:
        What a reader is told after each cell: "" if it came to its end.
    """
    cells = cells_of(lesson)
    interrupted = {n for n, source in enumerate(cells) if n > 1 and any(name in source for name in ON_CPU)}
    if first is not None:
        interrupted.update(range(first, len(cells), 2))
    space, told = {"__name__": "__main__"}, []
    for number, source in enumerate(cells):
        tree = ast.parse("raise KeyboardInterrupt") if number in interrupted else shortened(ast.parse(source), 12)
        code = compile(tree, f"cell {number}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        error = None
        try:
            if (waiting := eval(code, space)) is not None:
                asyncio.run(waiting)
        except (Exception, KeyboardInterrupt) as ended:
            error = ended
        told.append(INTERRUPTS.note(source, number, error))
        assert told[-1] or error is None, f"a bare {error!r} at the end of:\n{source}"
    return told


@pytest.mark.parametrize("first", [2, 3])
@pytest.mark.parametrize("lesson", LESSONS)
@pytest.mark.filterwarnings("ignore")
def test_a_cell_that_lacks_what_an_interrupted_one_computes_says_so(lesson, first):
    """Every other cell is interrupted, from the first or the second one below the imports on."""
    assert any("seems to need" in words for words in run(lesson, first))


@pytest.fixture
def interrupted_trainings(monkeypatch):
    """Every training is interrupted after a few steps, as somebody does who finds that it takes too long."""
    whole = Trainer.run

    def cut(trainer, steps, **options):
        yield from whole(trainer, min(steps, STEPS), **options)
        if steps > STEPS:
            raise KeyboardInterrupt

    async def steer(panel, steps, *, script):
        return await steer_to_the_end(panel, 1, script={})

    steer_to_the_end = SteeringPanel.train
    monkeypatch.setattr(Trainer, "run", cut)
    monkeypatch.setattr(SteeringPanel, "train", steer)


@pytest.mark.parametrize("lesson", SOME)
@pytest.mark.filterwarnings("ignore")
def test_a_lesson_goes_on_with_trainings_that_were_interrupted(lesson, interrupted_trainings):
    run(lesson)


@pytest.mark.parametrize("lesson", SOME)
@pytest.mark.filterwarnings("ignore")
def test_a_lesson_goes_on_with_scores_that_were_interrupted(lesson, monkeypatch):
    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(metalab.evaluate, "evaluate", interrupted)
    run(lesson)
