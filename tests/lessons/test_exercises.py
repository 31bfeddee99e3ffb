"""Each check accepts right answers however they are spelt, and names what a wrong one does.

The lessons are those of the catalogue. The lesson `07_some_name` has its exercises in metalab/lessons/some_name, and
answers to them, right ones and wrong ones, in answers_some_name.py beside this file.
"""

import asyncio
import contextlib
import functools
import gc
import importlib
import io
import os
import random
import signal
import statistics
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from answers import RIGHT, WRONG
from matplotlib import pyplot

from metalab.lessons.bug_clinic import exercises as clinic
from metalab.lessons.kit import setup
from metalab.lessons.kit.exercise import Exercise
from metalab.lessons.omniglot_few_shot import exercises as characters
from metalab.lessons.sine_regression import exercises as sine
from metalab.lessons.variants_and_evidence import exercises as variants

FOLDERS = [lesson.partition("_")[2] for lesson in setup.catalogue()["lessons"]]
LESSONS = [importlib.import_module(f"metalab.lessons.{folder}.exercises") for folder in FOLDERS]
for folder in FOLDERS:
    importlib.import_module(f"answers_{folder}")  # fills RIGHT and WRONG


def exercises_of(lesson):
    """The exercises that a lesson offers."""
    return [thing for thing in vars(lesson).values() if isinstance(thing, Exercise)]


ALL = [exercise for lesson in LESSONS for exercise in exercises_of(lesson)]
LESSON_OF = {exercise: lesson for lesson in LESSONS for exercise in exercises_of(lesson)}
every_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=FOLDERS)
every_exercise = pytest.mark.parametrize("exercise", ALL, ids=lambda exercise: exercise.name)


def printed(action, *arguments):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        action(*arguments)
    return out.getvalue()


@functools.cache
def diagnosis(exercise, function):
    return exercise.diagnose(function)


def cases(table):
    """A pytest case for each entry, with the entry's exercise in front."""
    return [
        pytest.param(exercise, *(entry if isinstance(entry, tuple) else (entry,)), id=f"{exercise.name}-{number}")
        for exercise in ALL
        for number, entry in enumerate(table[exercise])
    ]


# The lessons


def test_every_lesson_in_the_package_is_in_the_catalogue():
    assert {path.parent.name for path in setup.FILE.parent.glob("*/exercises.py")} == set(FOLDERS)


def test_there_are_answers_for_the_lessons_of_the_catalogue_alone():
    assert {path.stem for path in Path(__file__).parent.glob("answers_*.py")} == {f"answers_{f}" for f in FOLDERS}


@every_lesson
def test_a_lesson_has_exercises_and_exports_them(lesson):
    names = [exercise.name for exercise in exercises_of(lesson)]
    assert names
    assert all(getattr(lesson, name).name == name for name in names)
    assert set(names) <= set(lesson.__all__)


# The checks


@pytest.mark.parametrize(("exercise", "function"), cases(RIGHT))
def test_right_answers_of_any_spelling_pass(exercise, function, no_hurry):
    assert printed(exercise.check, function) == f"✓ {exercise.name}: right\n"
    assert exercise.or_solution(function) is function


@pytest.mark.parametrize(("exercise", "function", "says"), cases(WRONG))
def test_wrong_answers_are_diagnosed(exercise, function, says, no_hurry):
    verdict = diagnosis(exercise, function)
    assert verdict.state == "wrong"
    assert says in verdict.says
    text = printed(exercise.check, function)
    assert text.startswith(f"✗ {exercise.name}: ")
    assert " ".join(text.split()) == f"✗ {exercise.name}: {verdict.says}"  # examined again: the same words
    assert max(map(len, text.splitlines())) <= 88


@every_exercise
def test_there_are_enough_spellings_and_each_mistake_has_its_own_words(exercise, no_hurry):
    assert len(RIGHT[exercise]) >= 3
    words = {}
    for function, says in WRONG[exercise]:
        words.setdefault(says, set()).add(diagnosis(exercise, function).says)
    assert len(words) >= 10
    assert all(len(texts) == 1 for texts in words.values())
    assert len(set.union(*words.values())) == len(words)


@every_lesson
def test_no_two_known_mistakes_give_the_same_numbers(lesson):
    tables = {f"{exercise.name.upper()}_MISTAKES": exercise for exercise in exercises_of(lesson)}
    written = {name for name in vars(lesson) if name.endswith("_MISTAKES")}
    assert written, "checks know no mistake"
    assert written <= tables.keys(), "each table is named after its exercise"
    for name in written:
        for says, function in getattr(lesson, name):
            assert tables[name].diagnose(function).says == says


# What every exercise does


def stub_with_dots(*arguments):
    """Written by you."""
    ...


def stub_returning_dots(*arguments):
    return ...


def stub_with_names(*arguments):
    first = second = ...
    return first, second


def stub_that_raises(*arguments):
    raise NotImplementedError("your code")


def stub_that_uses_its_dots(*arguments):
    gradients = ...
    return [g for g in gradients]


@every_exercise
@pytest.mark.parametrize(
    "stub",
    [stub_with_dots, stub_returning_dots, stub_with_names, stub_that_raises, stub_that_uses_its_dots, lambda *_: None],
)
def test_stubs_are_skipped(exercise, stub):
    assert printed(exercise.check, stub) == f"{exercise.name}: not written yet — skip it or try hint()\n"
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert exercise.or_solution(stub) is exercise.answer
    assert out.getvalue() == f"{exercise.name}: the lesson goes on with ours (yours is not written yet)\n"


@every_exercise
def test_a_forgotten_return_is_told(exercise):
    def no_return(*arguments):
        result = exercise.answer(*arguments)  # noqa: F841

    verdict = exercise.diagnose(no_return)
    assert verdict.state == "not written"
    assert "does it end with `return`?" in verdict.says


def test_or_solution_says_whose_function_the_lesson_goes_on_with():
    exercise = characters.confidence_interval
    assert printed(exercise.or_solution, RIGHT[exercise][0]) == ("confidence_interval: the lesson goes on with yours\n")
    mistaken = WRONG[exercise][0][0]
    assert printed(exercise.or_solution, mistaken) == (
        "confidence_interval: the lesson goes on with ours (yours is not right yet; check() says\n  why)\n"
    )
    with contextlib.redirect_stdout(io.StringIO()):
        assert exercise.or_solution(mistaken) is exercise.answer


@every_exercise
def test_an_exception_is_told_with_its_line(exercise):
    def helper(value):
        return value + "text"  # the deepest line of the learner's own file

    def broken(*arguments):
        return helper(len(arguments))

    line = helper.__code__.co_firstlineno + 1
    assert exercise.diagnose(broken).says == (
        "It stopped with TypeError: unsupported operand type(s) for +: 'int' and 'str', "
        f'at line {line}: `return value + "text"  # the deepest line of the learner\'s own file`'
    )


def test_an_exception_in_a_library_is_told_with_the_line_that_called_it():
    def broken(accuracies):
        return accuracies.mean(), statistics.stdev([])

    line = broken.__code__.co_firstlineno + 1
    says = characters.confidence_interval.diagnose(broken).says
    assert says.startswith("It stopped with StatisticsError: ")
    assert says.endswith(f"at line {line}: `return accuracies.mean(), statistics.stdev([])`")


def test_of_a_long_message_the_first_line_is_told():
    def broken(accuracies):
        raise ValueError("what went wrong\nand a page of C++")

    assert characters.confidence_interval.diagnose(broken).says.startswith(
        "It stopped with ValueError: what went wrong, at line "
    )


def test_wrong_arguments_are_told():
    says = sine.sample_task.diagnose(lambda: (1.0, 1.0)).says
    assert says.startswith("It stopped with TypeError: ")
    assert "takes 0 positional arguments but 1 was given" in says


def test_an_error_that_only_looks_like_a_stub_is_told():
    def unsupported(accuracies):
        return torch.distributions.Distribution(validate_args=False).sample()

    verdict = characters.confidence_interval.diagnose(unsupported)
    assert verdict.state == "wrong"
    assert verdict.says.startswith("It stopped with NotImplementedError, at line ")


@every_exercise
def test_an_interrupt_is_told_with_its_line_and_goes_on(exercise):
    def stopped(*arguments):
        raise KeyboardInterrupt  # as Ctrl-C does

    line = stopped.__code__.co_firstlineno + 1
    for action in (exercise.check, exercise.or_solution):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), pytest.raises(KeyboardInterrupt) as caught:
            action(stopped)
        says = " ".join(out.getvalue().split())
        assert says == (
            f"{exercise.name}: the check was interrupted, at line {line}: `raise KeyboardInterrupt # as Ctrl-C does`."
        )
        assert caught.value._render_traceback_() == ["KeyboardInterrupt"]  # what IPython shows of it


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), asyncio.CancelledError(), BaseException("odd")])
def test_whatever_else_is_raised_is_told(error):
    def raises(*arguments):
        raise error

    verdict = characters.confidence_interval.diagnose(raises)
    assert verdict.state == "wrong"
    assert verdict.says.startswith(f"It stopped with {type(error).__name__}")


@pytest.mark.parametrize("seconds", [0.3])
def test_a_loop_without_an_end_is_stopped_and_told_with_its_line(seconds, monkeypatch):
    def endless(accuracies):
        while True:
            accuracies = accuracies + 1

    def sleeps(accuracies):
        time.sleep(60)

    def catches_all(accuracies):
        while True:
            try:  # noqa: SIM105 (as a reader may write it)
                accuracies = accuracies + 1
            except:  # noqa: E722
                pass

    def recursion(accuracies):
        return recursion(accuracies) + 1

    exercise = characters.confidence_interval
    monkeypatch.setattr(exercise, "seconds", seconds)
    threads = threading.active_count()
    for function in (endless, sleeps, catches_all):
        start = time.monotonic()
        says = exercise.diagnose(function).says
        assert time.monotonic() - start < 10
        assert says.startswith(f"It was stopped after {seconds} seconds, at line ")
        assert says.endswith("Is there a loop that does not end?")
    assert exercise.diagnose(recursion).says.startswith("It stopped with RecursionError")
    assert threading.active_count() == threads
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_in_another_thread_a_loop_without_an_end_is_stopped_too(monkeypatch):
    def endless(accuracies):
        while True:
            accuracies = accuracies + 1

    exercise = characters.confidence_interval
    monkeypatch.setattr(exercise, "seconds", 0.3)
    found = []
    thread = threading.Thread(target=lambda: found.append(exercise.diagnose(endless)))
    thread.start()
    thread.join(30)
    assert found[0].says.startswith("It was stopped after 0.3 seconds, at line ")


def test_a_check_has_ten_seconds_unless_it_says_otherwise():
    assert {exercise.name: exercise.seconds for exercise in ALL if exercise.seconds != 10} == dict.fromkeys(
        ["hessian_vector", "meta_gradient", "two_terms"], 20
    )


@every_exercise
@pytest.mark.parametrize("returned", [0, "text", {}, (), [[]], torch.zeros(0), torch.zeros(2, 2), object(), 1j])
def test_whatever_comes_back_is_told_in_words(exercise, returned):
    assert exercise.diagnose(lambda *arguments: returned).state == "wrong"


def test_a_result_that_cannot_be_compared_is_told():
    says = characters.prototype_logits.diagnose(lambda *arguments: torch.empty(6, 4, device="meta")).says
    assert says.startswith("What it returns cannot be compared with ours: ")


@pytest.mark.parametrize("draw", [lambda: torch.rand(1), random.random, np.random.rand])
def test_a_verdict_on_a_random_function_is_the_same_each_time(draw):
    first = characters.confidence_interval.diagnose(lambda accuracies: (draw(), 0.0))
    draw()
    assert characters.confidence_interval.diagnose(lambda accuracies: (draw(), 0.0)) == first


@every_exercise
def test_a_result_instead_of_a_function_is_told(exercise):
    verdict = exercise.diagnose(0.5)
    assert verdict.state == "wrong"
    assert verdict.says == f"This is 0.5, not a function. Hand over {exercise.name} itself, uncalled."


def settings():
    """Everything that a check puts back."""
    return {
        "torch's random numbers": torch.get_rng_state().tolist(),
        "Python's random numbers": random.getstate(),
        "numpy's random numbers": np.random.get_state()[1].tolist(),  # noqa: NPY002
        "grad mode": torch.is_grad_enabled(),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.get_deterministic_debug_mode(),
        "anomaly": (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        "matmul": torch.get_float32_matmul_precision(),
        "torch's printing": repr(torch.tensor(1 / 3)),
        "numpy's printing": repr(np.array([1 / 3])),
        "numpy's errors": np.geterr(),
        "warnings": list(warnings.filters),
        "recursion": sys.getrecursionlimit(),
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "interrupts": signal.getsignal(signal.SIGINT),
        "alarms": signal.getsignal(signal.SIGALRM),
        "garbage": gc.isenabled(),
        "figures": pyplot.get_fignums(),
        "names": dict(globals()),
    }


MEDDLING = [
    lambda: torch.manual_seed(7),
    lambda: (random.seed(7), np.random.seed(7)),  # noqa: NPY002
    lambda: (torch.rand(1), random.random(), np.random.rand()),  # noqa: NPY002
    lambda: torch.set_grad_enabled(False),
    lambda: torch.set_default_dtype(torch.float64),
    lambda: torch.set_default_device("meta"),
    lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    lambda: torch.use_deterministic_algorithms(True),
    lambda: torch.autograd.set_detect_anomaly(True),
    lambda: torch.set_float32_matmul_precision("medium"),
    lambda: torch.set_printoptions(precision=1),
    lambda: np.set_printoptions(precision=1),
    lambda: np.seterr(all="raise"),
    lambda: warnings.simplefilter("error"),
    lambda: sys.setrecursionlimit(5000),
    lambda: sys.stdout.close(),
    lambda: setattr(sys, "stdout", None),
    lambda: os.chdir("/"),
    lambda: os.environ.update(METALAB_TEST_LEAK="1"),
    lambda: os.environ.pop("PATH"),
    lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    gc.disable,
    lambda: pyplot.figure(),
    lambda: exec("new_name = 1; np = None", globals()),
    lambda: print("noise"),
]


@pytest.mark.parametrize("number", range(len(MEDDLING)))
def test_nothing_that_an_answer_sets_stays_set(number):
    exercise, right = characters.confidence_interval, characters.confidence_interval.answer

    def meddles(*arguments):
        result = right(*arguments)
        MEDDLING[number]()
        return result

    before = settings()
    with torch.no_grad():
        assert exercise.diagnose(meddles).state == "right"
        assert not torch.is_grad_enabled()
    assert settings() == before


@pytest.mark.parametrize(
    "meddle", [lambda: torch.set_default_dtype(torch.float64), lambda: torch.use_deterministic_algorithms(True)]
)
@every_exercise
def test_our_solution_is_right_whatever_was_set_before(exercise, meddle):
    try:
        meddle()
        assert exercise.diagnose(exercise.answer).state == "right"
    finally:
        torch.set_default_dtype(torch.float32)
        torch.use_deterministic_algorithms(False)


@every_exercise
def test_what_is_printed_is_left_out_and_that_is_said(exercise):
    def noisy(*arguments):
        print("noise")
        return exercise.answer(*arguments)

    text = printed(exercise.check, noisy)
    assert text == f"✓ {exercise.name}: right (What it printed while it was checked is left out.)\n"


# Running a cell again


@every_exercise
def test_running_the_check_cell_again_still_speaks_of_the_readers_function(exercise):
    def wrong_answer(*arguments):
        raise ValueError("mine")

    for function, says in ((stub_with_dots, "not written yet"), (wrong_answer, "It stopped with ValueError: mine")):
        name = function
        told = []
        for _ in range(3):  # the cell with the check, which rebinds the name
            told.append(printed(exercise.check, name))
            with contextlib.redirect_stdout(io.StringIO()) as out:
                name = exercise.or_solution(name)
            assert "the lesson goes on with ours (yours is not" in out.getvalue()
        assert says in told[0]
        assert set(told) == {told[0]}

    def repaired(*arguments):
        return exercise.answer(*arguments)

    assert printed(exercise.check, repaired) == f"✓ {exercise.name}: right\n"
    assert printed(exercise.check, name) == f"✓ {exercise.name}: right\n"  # ours stands for what came before it
    with contextlib.redirect_stdout(io.StringIO()):
        assert exercise.or_solution(name) is repaired


@every_exercise
def test_our_own_solution_is_not_right(exercise):
    for ours in (
        exercise.answer,
        functools.partial(exercise.answer),
        functools.wraps(exercise.answer)(lambda *_: None),
    ):
        exercise._yours = None
        assert "this is our solution" in printed(exercise.check, ours)
        with contextlib.redirect_stdout(io.StringIO()):
            assert exercise.or_solution(ours) is exercise.answer


# The cases


@every_exercise
def test_a_check_calls_with_two_sizes(exercise):
    """No number of one case that a result can be wrong by is that of another case."""
    assert len(exercise.cases) >= 2
    assert len({case.what for case in exercise.cases}) == len(exercise.cases)

    def sizes(value):
        if isinstance(value, torch.Tensor):
            return tuple(value.shape)
        value = tuple(value.values()) if isinstance(value, dict) else value
        return tuple(map(sizes, value)) if isinstance(value, tuple | list) else value if isinstance(value, int) else ()

    of_numbers = (sine.sample_task, variants.verdict, variants.passes, clinic.make_learner)  # they have no sizes
    assert len({sizes(case.make()) for case in exercise.cases}) == len(exercise.cases) or exercise in of_numbers


@every_exercise
def test_hints_come_in_steps_and_the_last_one_stays(exercise):
    assert len(set(exercise.hints)) == 3
    exercise.hints_given = 0
    for number, hint in [*enumerate(exercise.hints, start=1), (3, exercise.hints[-1])]:
        assert " ".join(printed(exercise.hint).split()) == f"Hint {number} of 3: {hint}"


@every_exercise
def test_the_solution_shown_passes_its_own_check(exercise):
    """It needs nothing but torch, what its lesson offers beside the exercises, and solutions to the others."""
    source, lesson = printed(exercise.solution), LESSON_OF[exercise]
    offered = {name: getattr(lesson, name) for name in lesson.__all__ if name != exercise.name}
    cell = {name: thing.answer if isinstance(thing, Exercise) else thing for name, thing in offered.items()}
    cell["torch"] = torch
    exec(source, cell)
    assert len(source.splitlines()) <= 16
    assert exercise.diagnose(cell[exercise.name]).state == "right"


@every_exercise
def test_an_exercise_says_how_hard_it_is(exercise):
    assert exercise.difficulty in ("easy", "medium", "hard")
    text = " ".join(printed(exercise.show).split())
    assert text == (
        f"Exercise {exercise.name} ({exercise.difficulty}, about {exercise.minutes} minutes): {exercise.statement}"
    )


@every_exercise
def test_inputs_can_be_tried_by_hand(exercise):
    for number, case in enumerate(exercise.cases):
        arguments, same = exercise.inputs(number), case.make()
        assert len(arguments) == len(same)
        assert exercise.answer(*arguments) is not None
