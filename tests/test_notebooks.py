"""The lessons' form, the check of that form, and the runner of the lessons."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell
from notebook_form import MAX_BYTES, MAX_LINES, PLACES, problems

from metalab.lessons.kit import setup
from tools import publish, run_lessons

ROOT = Path(__file__).parents[1]
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
REPOSITORY = setup.catalogue()["repository"]
INSTALL = publish.install_from(REPOSITORY) if REPOSITORY else publish.install_nothing()
SET_UP = publish.set_up_cell("00_small", INSTALL)


def read(path):
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


def test_there_are_lessons():
    assert LESSONS


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_lesson_has_the_form(path):
    assert problems(read(path), publish.set_up_cell(path.stem, INSTALL)) == []


def test_lessons_are_those_that_were_timed():
    seconds = setup.catalogue()["seconds"]
    assert list(seconds) == [path.stem for path in LESSONS]  # one missing: make times
    assert all(of_one["cpu"] > 0 for of_one in seconds.values())


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_lesson_has_its_times_badge_and_set_up_cell(path):
    notebook = read(path)
    publish.refresh(notebook, path.stem, INSTALL, REPOSITORY)
    assert notebook == read(path)  # else: make refresh


def test_readme_has_every_lesson_with_its_time_and_badge():
    text = (ROOT / "README.md").read_text()
    assert publish.refresh_readme(text, setup.catalogue()["seconds"], REPOSITORY) == text  # else: make refresh


# The check of the form: a small lesson that passes, and every way to spoil it.


def small_lesson():
    cells = [
        new_markdown_cell("# A small lesson", id="title"),
        new_code_cell(SET_UP, id="set-up", execution_count=1, metadata={"cellView": "form"}),
        new_code_cell("x = 1\nprint(x)", id="first", execution_count=2, outputs=[stream("1\n")]),
        new_code_cell("assert x == 1\nx", id="second", execution_count=3, outputs=[result("1", 3)]),
    ]
    metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return new_notebook(cells=cells, metadata=metadata)


def stream(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def result(text, count):
    return new_output("execute_result", data={"text/plain": text}, execution_count=count)


def test_form_accepts_a_good_lesson():
    assert problems(small_lesson(), SET_UP) == []


def test_form_accepts_magics_awaits_addresses_and_images():
    lesson = small_lesson()
    lesson.cells[
        0
    ].source += "\n[paper](https://example.org/home/tmp/x), [code](../metalab/nets.py), 1/2 of /n, $f:\\mathbb{R}$"
    lesson.cells[2].source = "%matplotlib inline\nawait panel.train()"
    lesson.cells[2].outputs = [new_output("display_data", data={"image/png": "AAAA+/tmp/AAAA"})]
    assert problems(lesson, SET_UP) == []


def never_ran(lesson):  # nbval compares nothing
    lesson.cells[3].update(execution_count=None, outputs=[])


def ran_twice(lesson):
    lesson.cells[3].execution_count = lesson.cells[3].outputs[0].execution_count = 4


def result_of_another_run(lesson):
    lesson.cells[3].outputs[0].execution_count = 7


def error(lesson):
    lesson.cells[2].outputs = [new_output("error", ename="NameError", evalue="x", traceback=[])]


def stderr(lesson):
    lesson.cells[2].outputs = [stream("careful\n", name="stderr")]


def widget_state(lesson):
    lesson.metadata.widgets = {"application/vnd.jupyter.widget-state+json": {}}


def widget_view(lesson):
    lesson.cells[2].outputs = [
        new_output("display_data", data={"text/plain": "IntSlider()", run_lessons.WIDGET_VIEW: {}})
    ]


def too_large(lesson):
    lesson.cells[2].outputs = [new_output("display_data", data={"image/png": "A" * MAX_BYTES})]


def path_in_source(lesson):
    lesson.cells[2].source = "open('/home/ada/x.txt')"


def path_in_text(lesson):
    lesson.cells[0].source += "\nSee C:\\Users\\ada."


def path_in_output(lesson):
    lesson.cells[2].outputs = [stream("/Users/ada/x.txt\n")]


def path_in_result(lesson):
    lesson.cells[3].outputs = [result("PosixPath('/tmp/x')", 3)]


def path_in_html(lesson):
    lesson.cells[2].outputs = [new_output("display_data", data={"text/html": "<b>/mnt/x</b>"})]


def path_as_address(lesson):
    lesson.cells[0].source += "\n[here](file:///home/ada/x.html)"


def path_of_this_checkout(lesson):
    lesson.cells[2].outputs = [stream(f"{PLACES[0]}\n")]


def version_of_this_machine(lesson):
    lesson.metadata.language_info.version = "3.99.1"


def time_stamps(lesson):
    lesson.cells[2].metadata.execution = {"iopub.execute_input": "2026-01-01T00:00:00Z"}


def old_format(lesson):
    lesson.nbformat_minor = 4


def missing_id(lesson):
    del lesson.cells[2]["id"]


def twice_the_same_id(lesson):
    lesson.cells[2].id = "title"


def not_valid(lesson):
    lesson.cells[2].outputs[0].output_type = "applause"


def other_kernel(lesson):
    lesson.metadata.kernelspec.name = "my-env"


def no_kernel(lesson):
    del lesson.metadata["kernelspec"]


def empty_code_cell(lesson):
    lesson.cells.append(new_code_cell(" \n"))


def empty_text_cell(lesson):
    lesson.cells.append(new_markdown_cell(""))


def no_title(lesson):
    lesson.cells[0].source = "A small lesson"


def code_first(lesson):
    lesson.cells.append(lesson.cells.pop(0))


def long_cell(lesson):
    lesson.cells[2].source = "x = 1\n" * (MAX_LINES + 1)


def skip_tag(lesson):
    lesson.cells[2].metadata.tags = ["nbval-skip"]


def skip_comment(lesson):
    lesson.cells[2].source = "# NBVAL_SKIP\nx = 1"


def failing_tag(lesson):  # nbval lets such a cell fail
    lesson.cells[2].metadata.tags = ["nbval-ignore-output", "raises-exception"]


def failing_comment(lesson):
    lesson.cells[2].source = "# NBVAL_RAISES_EXCEPTION\nx = 1"


def cell_magic(lesson):  # nothing of the cell is run
    lesson.cells[2].source = "%%script false --no-raise-error\nx = 1"


def raw_cell(lesson):
    lesson.cells.append(new_raw_cell("assert x == 2"))


def no_set_up(lesson):
    del lesson.cells[1]
    lesson.cells[1].execution_count = 1
    lesson.cells[2].execution_count = lesson.cells[2].outputs[0].execution_count = 2


def old_set_up(lesson):
    lesson.cells[1].source += "\n%pip install --upgrade ipykernel"


def colab_metadata(lesson):
    lesson.metadata.colab = {"provenance": []}


def folded(lesson):
    lesson.cells[2].metadata.collapsed = True


def constant_assert(lesson):
    lesson.cells[3].source = "assert True"


def no_assert(lesson):
    lesson.cells[3].source = "# assert x == 1\n'assert x == 1'"


SPOILERS = {
    never_ran: "cell 4: its execution count is None, not 3: not run from top to bottom",
    ran_twice: "cell 4: its execution count is 4, not 3: not run from top to bottom",
    result_of_another_run: "cell 4: its result is from another run",
    error: "cell 3: it ended in an error",
    stderr: "cell 3: it wrote to stderr",
    widget_state: "saved widget state: GitHub calls such a notebook invalid",
    widget_view: "cell 3: a widget's view, whose model is not saved",
    too_large: "bytes: 1000000 or more",
    path_in_source: "cell 3: its source names a path of one machine",
    path_in_text: "cell 1: its source names a path of one machine",
    path_in_output: "cell 3: its output names a path of one machine",
    path_in_result: "cell 4: its output names a path of one machine",
    path_in_html: "cell 3: its output names a path of one machine",
    path_as_address: "cell 1: its source names a path of one machine",
    path_of_this_checkout: "cell 3: its output names a path of one machine",
    version_of_this_machine: "not as `make notebooks` writes it",
    time_stamps: "not as `make notebooks` writes it",
    old_format: "older than nbformat 4.5",
    missing_id: "cell ids are missing or not unique",
    twice_the_same_id: "cell ids are missing or not unique",
    not_valid: "not valid: ",
    other_kernel: "its kernel is not python3",
    no_kernel: "its kernel is not python3",
    empty_code_cell: "cell 5: empty",
    empty_text_cell: "cell 5: empty",
    no_title: "its first cell is not a title",
    code_first: "its first cell is not a title",
    long_cell: f"cell 3: longer than {MAX_LINES} lines",
    skip_tag: "cell 3: tagged nbval-skip",
    skip_comment: "cell 3: marked NBVAL_SKIP: use a tag",
    failing_tag: "cell 3: tagged raises-exception",
    failing_comment: "cell 3: marked NBVAL_RAISES_EXCEPTION: use a tag",
    cell_magic: "cell 3: a %% magic hides its code or its output from the checks",
    raw_cell: "cell 5: raw",
    no_set_up: "its second cell is not the set-up cell",
    old_set_up: "its set-up cell is not as it is written today",
    colab_metadata: "not as `make notebooks` writes it",
    folded: "not as `make notebooks` writes it",
    constant_assert: "it asserts nothing",
    no_assert: "it asserts nothing",
}


@pytest.mark.parametrize("spoil", SPOILERS, ids=lambda spoil: spoil.__name__)
def test_form_rejects(spoil):
    lesson = small_lesson()
    spoil(lesson)
    (found,) = problems(lesson, SET_UP)
    assert SPOILERS[spoil] in found


def test_form_rejects_cells_in_another_order():
    lesson = small_lesson()
    lesson.cells[2:] = reversed(lesson.cells[2:])
    assert [problem.split(":")[0] for problem in problems(lesson, SET_UP)] == ["cell 3", "cell 4"]


# The runner.


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
    assert problems(read(path), SET_UP) == ["its second cell is not the set-up cell: run make refresh"]
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
    setup.FILE.write_text(json.dumps({"repository": None, "seconds": {"09_later": {"cpu": 7, "gpu": 3}}}))


@pytest.mark.usefixtures("catalogue")
def test_times_are_kept_for_the_lessons_that_pass(lesson, tmp_path, monkeypatch):
    monkeypatch.setattr(run_lessons, "two_cores", lambda: True)
    passing, failing = lesson("x = 1"), lesson("x = 1").with_name("02_failing.ipynb")
    run_lessons.write(new_notebook(cells=[new_code_cell("lost")]), failing)
    assert run_lessons.main([str(passing), str(failing), "--out", str(tmp_path / "out"), "--times"]) == 1
    device, other = ("gpu", "cpu") if torch.cuda.is_available() else ("cpu", "gpu")
    seconds = setup.catalogue()["seconds"]
    assert list(seconds) == ["01_small", "09_later"]
    assert seconds["01_small"][device] > 0
    assert seconds["01_small"][other] is None
    run_lessons.record("09_later", "cpu", 8.04)
    assert setup.catalogue()["seconds"]["09_later"] == {"cpu": 8.0, "gpu": 3}


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
