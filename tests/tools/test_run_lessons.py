"""The runner of the lessons."""

import copy
import json
import subprocess
import sys

import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebook_form import problems
from small_lesson import SET_UP, read, small_lesson, stream

from metalab.lessons.kit import setup
from tools import run_lessons


@pytest.fixture
def lesson(tmp_path):
    """Writes a lesson of the given code cells and returns its path."""

    def make(*sources):
        path = tmp_path / "lessons" / "01_small.ipynb"
        cells = [new_markdown_cell("# Small"), *(new_code_cell(source) for source in sources)]
        run_lessons.write(new_notebook(cells=cells), path)
        return path

    return make


def test_run_leaves_an_executed_copy_and_a_line(lesson, tmp_path, capfd):
    path = lesson("x = 6", "print(x * 7)")
    before = path.read_bytes()
    assert run_lessons.main([str(path), "--out", str(tmp_path / "out")]) == 0
    copied = read(tmp_path / "out" / path.name)
    assert [cell.execution_count for cell in copied.cells[1:]] == [1, 2]
    assert copied.cells[2].outputs[0].text == "42\n"
    assert path.read_bytes() == before
    output, errors = capfd.readouterr()
    name, seconds, unit, verdict = output.split()
    assert (name, unit, verdict) == ("01_small", "s", "passed")
    assert float(seconds) > 0
    assert errors == ""


def test_run_names_the_failing_cell_and_keeps_the_copy(lesson, tmp_path, capfd):
    path = lesson("x = 1", "\n", "print(x)\nlost", "print(2)")
    notebook = read(path)
    notebook.cells[4].update(execution_count=9, outputs=[stream("of an older run\n")])
    run_lessons.write(notebook, path)
    before = path.read_bytes()
    assert run_lessons.main([str(path), "--out", str(tmp_path / "out"), "--write"]) == 1
    assert "failed at cell 2: NameError: name 'lost' is not defined\n" in capfd.readouterr().out
    assert path.read_bytes() == before
    copied = read(tmp_path / "out" / path.name)
    assert [output.output_type for output in copied.cells[3].outputs] == ["stream", "error"]
    assert copied.cells[4].outputs == []


def test_run_goes_on_after_a_failure(lesson, tmp_path, capfd):
    path = lesson("raise ValueError('too\\nlong')")
    other = path.with_name("02_fine.ipynb")
    run_lessons.write(new_notebook(cells=[new_code_cell("1")]), other)
    assert run_lessons.main([str(path), str(other), "--out", str(tmp_path / "out")]) == 1
    first, second = capfd.readouterr().out.splitlines()
    assert first.startswith("01_small")
    assert first.endswith("failed at cell 1: ValueError: too")
    assert second.startswith("02_fine")
    assert second.endswith("passed")


def test_run_reports_a_kernel_that_dies(lesson, tmp_path, capfd):
    path = lesson("x = 1", "import os\nos._exit(1)")
    assert run_lessons.main([str(path), "--out", str(tmp_path)]) == 1
    assert "failed at cell 2: the kernel died\n" in capfd.readouterr().out


def test_run_reports_a_cell_that_hangs(lesson, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(run_lessons, "CELL_TIMEOUT", 1)
    path = lesson("import threading\nthreading.Event().wait()")
    assert run_lessons.main([str(path), "--out", str(tmp_path)]) == 1
    assert "failed at cell 1: still running after 1 s\n" in capfd.readouterr().out


def test_lesson_runs_in_its_own_folder(lesson, tmp_path):
    path = lesson("assert open('beside.txt').read() == 'yes'")
    path.with_name("beside.txt").write_text("yes")
    assert run_lessons.main([str(path), "--out", str(tmp_path / "out")]) == 0


def test_normalise_joins_a_stream_and_drops_views():
    view = {run_lessons.WIDGET_VIEW: {"model_id": "7f", "version_major": 2, "version_minor": 0}}
    lesson = small_lesson()
    lesson.cells[1].outputs = [
        stream("a\n"),
        stream("b\n"),
        stream("careful\n", name="stderr"),
        new_output("display_data", data=view),
        new_output("display_data", data={**view, "text/plain": "IntSlider(value=3)"}),
        stream("c\n"),
    ]
    run_lessons.normalise(lesson)
    assert lesson.cells[1].outputs == [
        stream("a\nb\n"),
        stream("careful\n", name="stderr"),
        new_output("display_data", data={"text/plain": "IntSlider(value=3)"}),
        stream("c\n"),
    ]


WIDGETS = """import ipywidgets as widgets
from IPython.display import display
slider = widgets.IntSlider(3)
assert slider.value == 3
print("one", flush=True)
print("two")
display(slider)
slider"""


def test_written_lesson_has_the_form_is_reproducible_and_passes_nbval(lesson, tmp_path, capfd):
    path = lesson(WIDGETS)
    assert run_lessons.main([str(path), "--out", str(tmp_path / "out"), "--write"]) == 0
    assert "    + cell 1: IntSlider(value=3)\n" in capfd.readouterr().out
    missing, _imports = problems(read(path), SET_UP)
    assert missing == "its second cell is not the set-up cell: run make refresh"
    assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes()

    notebook = read(path)
    spoiled = copy.deepcopy(notebook)
    spoiled.cells[1].outputs[0].text = "one\nthree\n"
    spoiled.metadata.language_info.version = "3.99"
    spoiled.cells[1].metadata.execution = {"iopub.execute_input": "2026-01-01T00:00:00Z"}
    run_lessons.write(spoiled, path)
    strict = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env", str(path)]
    assert subprocess.run(strict, capture_output=True).returncode == 1

    assert run_lessons.main([str(path), "--out", str(tmp_path / "out"), "--write"]) == 0
    assert capfd.readouterr().out.splitlines()[1:] == ["    - cell 1: three", "    + cell 1: two"]
    assert read(path) == notebook
    assert subprocess.run(strict, capture_output=True).returncode == 0


def test_write_replaces_the_lesson_at_once_or_not_at_all(lesson, monkeypatch):
    path = lesson("1")
    before = path.read_bytes()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_lessons.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_lessons.write(new_notebook(cells=[new_code_cell("2")]), path)
    assert path.read_bytes() == before


@pytest.fixture
def catalogue(tmp_path, monkeypatch):
    """A copy of the catalogue, that a test may change."""
    monkeypatch.setattr(setup, "FILE", tmp_path / "catalogue.json")
    lessons = {"09_later": {"title": "B", "can": "b", "cpu": 7, "gpu": 3}}
    lessons |= {name: {"title": "A", "can": "a"} for name in ("01_small", "02_failing")}
    setup.FILE.write_text(json.dumps({"repository": None, "lessons": lessons}))


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize(("found", "wanted", "device"), [(False, "", "cpu"), (True, "", "gpu"), (True, "cpu", "cpu")])
def test_times_are_kept_for_the_lessons_that_pass(found, wanted, device, lesson, tmp_path, monkeypatch):
    monkeypatch.setattr(run_lessons, "two_cores", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: found)
    monkeypatch.setenv(setup.VARIABLE, wanted)
    passing, failing = lesson("x = 1"), lesson("x = 1").with_name("02_failing.ipynb")
    run_lessons.write(new_notebook(cells=[new_code_cell("lost")]), failing)
    assert run_lessons.main([str(passing), str(failing), "--out", str(tmp_path / "out"), "--times"]) == 1
    other = {"cpu": "gpu", "gpu": "cpu"}[device]
    lessons = setup.catalogue()["lessons"]
    assert list(lessons) == ["01_small", "02_failing", "09_later"]
    assert lessons["01_small"][device] > 0
    assert lessons["01_small"][other] is None
    run_lessons.record("09_later", "cpu", 8.04)
    assert setup.catalogue()["lessons"]["09_later"] == {"title": "B", "can": "b", "cpu": 8.0, "gpu": 3}


@pytest.mark.usefixtures("catalogue")
def test_a_lesson_without_a_line_in_the_catalogue_is_not_run(lesson, capfd):
    with pytest.raises(SystemExit, match="2"):
        run_lessons.main([str(lesson("x = 1").rename(lesson("x = 1").with_name("03_new.ipynb"))), "--times"])
    assert "03_new has no line in catalogue.json: add one" in capfd.readouterr().err


@pytest.mark.usefixtures("catalogue")
def test_times_are_refused_where_there_are_not_two_cores(lesson, monkeypatch, capfd):
    monkeypatch.setattr(run_lessons, "two_cores", lambda: False)
    with pytest.raises(SystemExit, match="2"):
        run_lessons.main([str(lesson("x = 1")), "--times"])
    assert "--times: there are fewer than two cores" in capfd.readouterr().err


@pytest.mark.parametrize(("offered", "enough"), [({1}, False), ({4, 7}, True), ({2, 5, 8, 9}, True)])
def test_two_cores_keeps_to_two(offered, enough, monkeypatch):
    kept = [offered]
    monkeypatch.setattr(run_lessons.os, "sched_getaffinity", lambda _process: kept[-1], raising=False)
    monkeypatch.setattr(
        run_lessons.os, "sched_setaffinity", lambda _process, cores: kept.append(set(cores)), raising=False
    )
    assert run_lessons.two_cores() == enough
    assert kept[-1] == set(sorted(offered)[:2])


def test_show_gives_a_lesson_as_text(tmp_path, capfd):
    path = tmp_path / "01_small.ipynb"
    run_lessons.write(small_lesson(), path)
    assert run_lessons.main([str(path), "--show"]) == 0
    shown = capfd.readouterr().out
    assert shown.startswith("# %% [markdown]\n# A small lesson\n\n# %%\n# @title")
    assert shown.endswith("# %%\nx = 1\nprint(x)\n#> 1\n\n# %%\nassert x == 1\nx\n#> 1\n\n")


def test_writing_tells_of_pictures_that_changed(lesson, tmp_path, capfd):
    code = "from IPython.display import Image, display\ndisplay(Image(data={}, format='png'), metadata={{}})"
    path = lesson(code.format(b"one"))
    arguments = [str(path), "--out", str(tmp_path / "out"), "--write"]
    assert run_lessons.main(arguments) == 0
    assert "pictures changed" in capfd.readouterr().out
    assert run_lessons.main(arguments) == 0
    assert "pictures changed" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"), [([], "none in notebooks/"), (["no.ipynb"], "no lesson at no.ipynb")]
)
def test_nothing_to_run_is_an_error(arguments, message, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        run_lessons.main(arguments)
    assert message in capfd.readouterr().err
