"""The lessons' form, and the check of that form."""

import base64
import io
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell
from notebook_form import MAX_BYTES, MAX_COLUMNS, MAX_LINES, PLACES, problems
from PIL import Image
from small_lesson import INSTALL, REPOSITORY, SET_UP, read, result, small_lesson, stream

from metalab.lessons.kit import setup
from tools import publish, run_lessons

ROOT = Path(__file__).parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_there_are_lessons():
    assert LESSONS


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_lesson_has_the_form(path):
    assert problems(read(path), publish.set_up_cell(path.stem, INSTALL)) == []


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_no_picture_lets_a_dark_page_through(path):
    """Black letters on a transparent picture could not be read in a dark theme."""
    outputs = [output for cell in read(path).cells for output in cell.get("outputs", [])]
    pictures = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    opened = [Image.open(io.BytesIO(base64.b64decode(picture))) for picture in pictures]
    assert opened
    assert [picture.mode for picture in opened if "A" in picture.mode or "transparency" in picture.info] == []


def test_lessons_are_those_of_the_catalogue_and_were_timed():
    lessons = setup.catalogue()["lessons"]
    assert list(lessons) == [path.stem for path in LESSONS]
    assert all(about["cpu"] and about["cpu"] > 0 for about in lessons.values())  # else: make times
    assert all(about["title"] and about["can"] for about in lessons.values())


def test_the_catalogue_has_one_line_for_each_lesson():
    lines = setup.FILE.read_text().splitlines()
    assert [line for line in lines if ".ipynb" in line or '"title"' in line] == lines[3 : 3 + len(LESSONS)]


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_lesson_has_its_times_badge_and_set_up_cell(path):
    notebook = read(path)
    publish.refresh(notebook, path.stem, INSTALL, REPOSITORY)
    assert notebook == read(path)  # else: make refresh


def test_readme_has_every_lesson_and_room():
    text = (ROOT / "README.md").read_text()
    assert publish.refresh_readme(text, REPOSITORY) == text  # else: make refresh


@pytest.mark.parametrize("asks", ["> **Predict.** How many?", "And now? **Predict**"])
def test_folding_goes_by_titles_and_predictions(asks):
    """And what an editor has folded or unfolded does not stay."""
    lesson = new_notebook(
        cells=[
            new_code_cell("# @title Imports\nimport math"),
            new_markdown_cell(asks),
            new_code_cell("# @title Counting\n1"),
            new_code_cell("2"),
            new_markdown_cell("As you see."),
            new_code_cell("3", metadata={"jupyter": {"source_hidden": True, "outputs_hidden": True}, "tags": ["kept"]}),
        ]
    )
    run_lessons.fold(lesson)
    assert [cell.metadata for cell in lesson.cells if cell.cell_type == "code"] == [
        {"cellView": "form", "jupyter": {"source_hidden": True}},
        {"cellView": "form", "jupyter": {"source_hidden": True, "outputs_hidden": True}},
        {"jupyter": {"outputs_hidden": True}},
        {"tags": ["kept"]},
    ]


# The check of the form: a small lesson that passes, and every way to spoil it.


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


def test_form_takes_a_claim_for_an_assert():
    lesson = small_lesson()
    lesson.cells[3].source = "claim(x == 1, 'x is another number')\nx"
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


def unfolded_set_up(lesson):
    del lesson.cells[1].metadata["jupyter"]


def unfolded_in_colab(lesson):
    del lesson.cells[1].metadata["cellView"]


def folded_exercise(lesson):
    lesson.cells[2].metadata.jupyter = {"source_hidden": True}


def unfolded_title(lesson):
    lesson.cells[2].source = "# @title Drawing\n" + lesson.cells[2].source


def spoiled_prediction(lesson):
    lesson.cells[0].source += "\n\n> **Predict.** Which number?"
    lesson.cells.append(new_markdown_cell("<details>It is 7.</details>", id="answer"))
    lesson.cells[1].metadata.jupyter.outputs_hidden = True
    lesson.cells[2].metadata.jupyter = {"outputs_hidden": True}


def prediction_without_an_answer(lesson):
    lesson.cells[0].source += "\n\n> **Predict.** Which number?"
    run_lessons.fold(lesson)


def folded_without_a_prediction(lesson):
    lesson.cells[2].metadata.jupyter = {"outputs_hidden": True}


def bare_imports(lesson):
    lesson.cells[2].source = "import torch\n" + lesson.cells[2].source


def wide_code(lesson):
    lesson.cells[2].source = f"x = {'1 + ' * 20}1234567"


def wide_print(lesson):
    lesson.cells[2].outputs = [stream(f"short\n{'n' * (MAX_COLUMNS + 1)}\n")]


def constant_assert(lesson):
    lesson.cells[3].source = "assert True"


def constant_claim(lesson):
    lesson.cells[3].source = "claim(True, 'it is')"


def no_assert(lesson):
    lesson.cells[3].source = "# assert x == 1\n'assert x == 1'"


def doubled_backslash(lesson):
    lesson.cells[0].source += "\n\nChance is $\\\\ln 5$."


SPOILERS = {
    doubled_backslash: "cell 1: a formula with a doubled backslash",
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
    unfolded_set_up: "cell 2: not folded as by `make refresh`",
    unfolded_in_colab: "cell 2: not folded as by `make refresh`",
    folded_exercise: "cell 3: not folded as by `make refresh`",
    unfolded_title: "cell 3: not folded as by `make refresh`",
    spoiled_prediction: "cell 4: not folded as by `make refresh`",
    prediction_without_an_answer: "cell 1: a Predict without a folded answer below it",
    folded_without_a_prediction: "cell 3: not folded as by `make refresh`",
    bare_imports: "cell 3: it begins with imports: give it the first line '# @title Imports'",
    wide_code: f"cell 3: a line of code of {MAX_COLUMNS + 3} columns",
    wide_print: f"cell 3: a printed line of {MAX_COLUMNS + 1} columns",
    constant_assert: "it asserts nothing",
    constant_claim: "it asserts nothing",
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
