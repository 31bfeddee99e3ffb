"""The buttons of an exercise without a page: what they say, and what a cell shows where nobody watches."""

import html
import re
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import nbformat
import pytest

from metalab.lessons.kit import buttons, panels, reader
from metalab.lessons.omniglot_few_shot import exercises
from tools import run_lessons


def right(accuracies):
    return accuracies.mean(), 1.96 * accuracies.std() / len(accuracies) ** 0.5


def wrong(accuracies):
    return accuracies.mean(), accuracies.std()


def stub(accuracies): ...


def raises(error):
    def function(accuracies):
        raise error

    return function


@pytest.fixture
def space(monkeypatch):
    """The names of a notebook whose reader watches; `space.clock[0]` is the time, which goes on between presses."""

    class Names(dict):
        clock, displayed = [0.0], []

    names = Names()
    names.displayed.clear()
    shell = SimpleNamespace(user_ns=names, kernel=SimpleNamespace(_allow_stdin=True))
    for module in (reader, buttons):
        monkeypatch.setattr(module, "get_ipython", lambda: shell)
    monkeypatch.setattr(panels, "display", lambda bundle, *, raw, metadata: names.displayed.append(bundle))
    monkeypatch.setattr(buttons.time, "monotonic", lambda: names.clock[0])
    return names


@pytest.fixture
def exercise():
    """An exercise that nobody has tried yet."""
    return replace(exercises.confidence_interval)


@pytest.fixture
def press(space, exercise):
    """Press a button a while after the last press, and return the words below the buttons."""

    def press(name, after=2.0):
        space.clock[0] += after
        row = exercise._buttons.box.children[0].children
        [button] = [button for button in row if button.description == name]
        try:
            button.click()
        except KeyboardInterrupt:  # which would end pytest too
            pytest.fail("the interrupt was not caught")
        return said(exercise)

    return press


def said(exercise):
    """The verdict, the hints and the solution, as they are read."""
    return [html.unescape(re.sub("<[^>]*>", "", part.value)) for part in exercise._buttons.box.children[1:]]


def names(exercise):
    return [button.description for button in exercise._buttons.box.children[0].children]


# The cell


def test_where_nobody_watches_a_check_prints_its_verdict_and_displays_nothing(exercise, monkeypatch, capsys):
    monkeypatch.setattr(panels, "display", lambda *_, **__: pytest.fail("something is displayed"))
    for shell in (None, SimpleNamespace(), SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=False))):
        monkeypatch.setattr(reader, "get_ipython", lambda shell=shell: shell)
        exercise.check(right)
        assert capsys.readouterr().out == "✓ confidence_interval: right\n"


def test_a_check_prints_its_verdict_and_displays_the_buttons(exercise, space, capsys):
    exercise.check(stub)
    assert capsys.readouterr().out == "confidence_interval: not written yet — skip it or try hint()\n"
    [bundle] = space.displayed
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == exercise._buttons.box.model_id
    assert "buttons" in bundle["text/plain"]
    assert names(exercise) == ["Check", "Hint (3 left)", "Solution"]
    assert said(exercise) == ["", "", ""]


def test_an_interrupted_check_has_its_buttons_too(exercise, space, capsys):
    with pytest.raises(KeyboardInterrupt):
        exercise.check(raises(KeyboardInterrupt()))
    assert "the check was interrupted, at line" in capsys.readouterr().out
    assert len(space.displayed) == 1


def test_a_cell_that_runs_again_keeps_hints_and_solution_but_no_old_verdict(exercise, space, press):
    exercise.check(wrong)
    space["confidence_interval"] = wrong
    press("Check")
    press("Hint (3 left)")
    before = press("Solution")
    assert all(before)
    exercise.check(right)
    assert said(exercise) == ["", *before[1:]]


def test_a_lesson_runs_without_a_page_as_nbval_compares_it(tmp_path):
    code = [
        "from metalab.lessons.kit import guess\nfrom metalab.lessons.kit.claims import claim\n"
        "from metalab.lessons.omniglot_few_shot import exercises\n\ndef confidence_interval(accuracies): ...",
        "exercises.confidence_interval.check(confidence_interval)\nexercises.confidence_interval.hint()",
        "curve = guess.choice('Which?', ['this', 'that'])\nsteps = guess.number('How many?', [1, 2, 5], 'steps')\n"
        "wave = guess.sketch('How?', (-1, 1), (-1, 1), 3)",
        "curve.compare('this')\nsteps.compare(4.2)\nassert wave.compare(0 * wave.x) is None\nclaim(1 < 2, 'odd')",
    ]
    lesson = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in code])
    assert run_lessons.execute(lesson, tmp_path) is None
    run_lessons.normalise(lesson)
    check, asked, answers = (cell.outputs for cell in lesson.cells[1:])
    assert [output.output_type for output in check] == ["stream"]
    assert check[0].text.startswith("confidence_interval: not written yet — skip it or try hint()\nHint 1 of 3: ")
    assert [output.data["text/plain"] for output in asked] == [
        "Your guess: Which? Choose one: “this”, “that”.",
        "Your guess: How many? Choose from 1 step to 5 steps.",
        "Your sketch: How? A slider for each of 3 points.",
    ]
    assert [output.text for output in answers] == [
        "You made no guess. The answer is “this”.\nYou made no guess. The answer is 4.2 steps.\nYou made no sketch.\n"
    ]
    run_lessons.write(lesson, tmp_path / "lesson.ipynb")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", "--nbval"]
    done = subprocess.run([*command, "lesson.ipynb"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


# Check


def test_check_reads_the_function_that_the_name_stands_for_now(exercise, space, press, capsys):
    space["confidence_interval"] = stub
    assert press("Check")[0] == "Checked again: confidence_interval: not written yet — skip it or try hint()"
    space["confidence_interval"] = wrong
    assert press("Check")[0].startswith("Checked again: ✗ confidence_interval: ")
    space["confidence_interval"] = right
    assert press("Check")[0] == "Checked again: ✓ confidence_interval: right"
    assert "role='status'" in exercise._buttons.verdict.value
    assert capsys.readouterr().out == "", "the page would show it nowhere"


def test_check_says_so_if_there_is_no_such_name(exercise, space, press):
    assert press("Check")[0] == (
        "This notebook has no confidence_interval yet. Run the cell that defines it, and press Check again."
    )


def test_where_the_name_stands_for_our_solution_the_readers_own_function_is_meant(exercise, space, press):
    space["confidence_interval"] = exercise.or_solution(wrong)
    assert press("Check")[0].startswith("Checked again: ✗ confidence_interval: ")


def test_an_endless_loop_ends(exercise, space, press):
    def endless(accuracies):
        while True:
            accuracies = accuracies + 1

    exercise.seconds = 0.2
    space["confidence_interval"] = endless
    assert "It was stopped after 0.2 seconds, at line" in press("Check")[0]


def test_an_interrupt_is_told_below_the_buttons(exercise, space, press, monkeypatch, capsys):
    space["confidence_interval"] = raises(KeyboardInterrupt())
    says = press("Check")[0]
    assert says.startswith("Checked again: confidence_interval: the check was interrupted, at line ")
    monkeypatch.setattr(exercise, "examine", raises(KeyboardInterrupt()))
    assert "the check was interrupted" in press("Check")[0]
    assert capsys.readouterr().out == ""


def test_what_is_checked_is_told_while_it_is_checked(exercise, space, press):
    told = []

    def looks(accuracies):
        told.append(exercise._buttons.verdict.value)
        return right(accuracies)

    space["confidence_interval"] = looks
    press("Check")
    assert "Checking …" in told[0]


# Hint


def test_hints_come_one_by_one_and_the_button_counts_them(exercise, press):
    for given, name in enumerate(["Hint (3 left)", "Hint (2 left)", "Hint (1 left)"], start=1):
        hints = press(name)[1]
        assert all((f"Hint {n} of 3: {exercise.hints[n - 1]}" in hints) == (n <= given) for n in (1, 2, 3))
        assert exercise._buttons.hints.value.count("role='status'") == 1, "only the new one is announced"
    assert names(exercise)[1] == "No hints left"
    assert press("No hints left")[1] == hints


def test_buttons_and_calls_count_hints_together(exercise, press, capsys):
    exercise.hint()
    assert names(exercise)[1] == "Hint (2 left)"
    press("Hint (2 left)")
    exercise.hint()
    assert capsys.readouterr().out.count("Hint ") == 2
    assert names(exercise)[1] == "No hints left"


# Solution


def test_the_solution_is_asked_for_twice_if_the_exercise_was_never_tried(exercise, space, press):
    space["confidence_interval"] = stub
    press("Check")
    press("Hint (3 left)")
    assert press("Solution")[2] == "Show it? You have 2 hints left, and have not tried yet."
    assert names(exercise)[2] == "Show it"
    assert press("Show it")[2] == exercise.source()
    assert press("Hide solution")[2] == ""
    assert names(exercise)[2] == "Solution"


@pytest.mark.parametrize("other", ["Check", "Hint (3 left)"])
def test_another_button_withdraws_the_question(exercise, space, press, other):
    press("Solution")
    assert press(other)[2] == ""
    assert names(exercise)[2] == "Solution"


@pytest.mark.parametrize("function", [right, wrong])
def test_the_solution_is_shown_at_once_after_a_try(exercise, space, press, function):
    exercise.check(function)
    assert press("Solution")[2] == exercise.source()
    assert "<pre" in exercise._buttons.source.value


def test_a_solution_is_shown_as_it_is(exercise, press, monkeypatch):
    monkeypatch.setattr(type(exercise), "source", lambda _self: "a < b & c <i>d</i>\n    e")
    press("Solution")
    assert press("Show it")[2] == "a < b & c <i>d</i>\n    e"


# Presses


def test_a_key_that_is_held_down_presses_once(exercise, press):
    press("Solution")
    for _ in range(60):
        assert "Show it?" in press("Show it", after=0.03)[2]
    assert press("Show it", after=0.9)[2] == exercise.source()


def test_presses_that_waited_for_a_check_are_dropped(exercise, space, press):
    calls = []

    def slow(accuracies):
        calls.append(1)
        space.clock[0] += 5
        return right(accuracies)

    space["confidence_interval"] = slow
    press("Check")
    once = len(calls)
    press("Check", after=0.01)
    assert len(calls) == once
    press("Hint (3 left)", after=0.01)
    assert names(exercise)[1] == "Hint (2 left)", "another button is not meant"
