"""A reader's copies of the lessons: made, updated, never overwritten; and what JupyterLab is told of them."""

import asyncio
import json
import os
import re
import subprocess
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from jupyter_client import AsyncKernelManager
from nbformat.sign import NotebookNotary
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from small_lesson import read, result, stream

from metalab.lessons.kit import setup
from tools import lab, run_lessons
from tools.lab import WIDGET_VIEW, ReadersFiles, widgets_of
from tools.my_lessons import LESSONS, PAGE, RECORD, ROOT, Copies, as_copied, progress

NAME = "01_small"
NEXT = f"{NAME} (new version).ipynb"
STUB = "inner_step: not written yet — skip it or try hint()\ninner_step: the lesson goes on with ours\n"


def lesson(text="As it was.", printed="1\n"):
    """A lesson as it is committed, with three cells of code and two exercises."""
    cells = [
        new_markdown_cell(f"# Small\n\n**Time:** about two hours; *Run All* takes long.\n\n{text}", id="title"),
        new_code_cell("print(1)", id="a", execution_count=1, outputs=[stream(printed)]),
        new_code_cell("x", id="b", execution_count=2, outputs=[result("1", 2)]),
        new_code_cell("exercises.inner_step.check(inner_step)", id="c", execution_count=3, outputs=[stream(STUB)]),
        new_markdown_cell("Or try exercises.meta_loss.check(meta_loss) in words.", id="d"),
        new_code_cell("exercises.meta_loss.check(meta_loss)", id="e", execution_count=4),
    ]
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


@pytest.fixture(autouse=True)
def signatures_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture
def lessons(tmp_path, monkeypatch):
    """A folder with one lesson, which the catalogue names."""
    monkeypatch.setattr(setup, "FILE", tmp_path / "catalogue.json")
    about = {"title": "A small one", "can": "begin", "cpu": 40.0, "gpu": None}
    run_lessons.write_catalogue({"repository": None, "lessons": {NAME: about}})
    run_lessons.write(lesson(), tmp_path / f"lessons/{NAME}.ipynb")
    return tmp_path / "lessons"


@pytest.fixture
def folder(tmp_path):
    """The reader's folder, which is not there yet."""
    return tmp_path / "a reader's"


@pytest.fixture
def update(lessons, folder):
    """Publishes a version of the lesson, if one is given, and updates the reader's copies. What was said."""

    def go(version=None):
        if version:
            run_lessons.write(version, lessons / f"{NAME}.ipynb")
        return Copies(folder, lessons).update()

    return go


def notebooks(folder):
    return sorted(path.name for path in folder.glob("*.ipynb"))


def change(place, text="My own words."):
    notebook = read(place)
    notebook.cells[4].source = text
    run_lessons.write(notebook, place)
    return place.read_bytes()


# Copies


def test_a_copy_is_a_lesson_that_was_not_run(update, folder):
    assert update() == [f"{NAME}.ipynb was copied."]
    copied = read(folder / f"{NAME}.ipynb")
    nbformat.validate(copied)
    assert [cell.source for cell in copied.cells] == [cell.source for cell in lesson().cells]
    assert [cell.execution_count for cell in copied.cells if cell.cell_type == "code"] == [None] * 4
    assert copied.cells[1].outputs == [stream("1\n")], "its pictures stay: the text speaks of them"
    assert copied.cells[2].outputs == [result("1", None)]
    assert NotebookNotary().check_signature(copied), "or JupyterLab does not trust it"
    assert update() == []


def test_links_of_all_lessons_lead_to_files(folder):
    Copies(folder).update()
    assert notebooks(folder) == sorted(path.name for path in LESSONS.glob("*.ipynb"))
    links = 0
    for name in (*notebooks(folder), PAGE):
        text = (folder / name).read_text()
        for link in re.findall(r"\]\((?!\w+:|#)([^)\s]+?)\\?\)", text):
            assert (folder / unquote(link.partition("#")[0])).exists(), f"{name}: {link}"
            links += 1
    assert links > 20
    assert (folder / "source").resolve() == ROOT


def test_links_of_every_kind_are_turned():
    text = "[a](../metalab/a.py), [b](02.ipynb), [c](https://x.org/../y), <img src='../docs/a.png'>, ../no/link"
    copied = as_copied(new_notebook(cells=[new_markdown_cell(text), new_code_cell("f = '](../x'")]))
    turned = (
        "[a](source/metalab/a.py), [b](02.ipynb), [c](https://x.org/../y), <img src='source/docs/a.png'>, ../no/link"
    )
    assert copied.cells[0].source == turned
    assert copied.cells[1].source == "f = '](../x'"


def test_a_folder_that_was_moved_with_its_checkout_is_linked_anew(update, folder):
    update()
    (folder / "source").unlink()
    (folder / "source").symlink_to("/somewhere/else")
    update()
    assert (folder / "source").resolve() == ROOT


def test_what_the_reader_has_in_the_place_of_the_link_stays(update, folder):
    (folder / "source").mkdir(parents=True)
    (folder / "source/mine.py").touch()
    assert "Links from the lessons to the code will not work, because" in update()[-1]
    assert (folder / "source/mine.py").exists()


# Updates


def as_jupyterlab_saves(notebook):
    notebook.metadata.language_info.version = "3.11"
    notebook.cells[1].metadata.update(trusted=True, collapsed=False)


def test_a_copy_that_was_only_opened_is_updated(update, folder):
    update()
    opened = read(folder / f"{NAME}.ipynb")
    as_jupyterlab_saves(opened)
    run_lessons.write(opened, folder / f"{NAME}.ipynb")
    assert update(lesson("It is better now.")) == [f"{NAME}.ipynb was updated."]
    assert read(folder / f"{NAME}.ipynb") == as_copied(lesson("It is better now."))
    assert notebooks(folder) == [f"{NAME}.ipynb"]


def run_a_cell(notebook):
    notebook.cells[1].execution_count = 1


def write_code(notebook):
    notebook.cells[3].source = "def inner_step(): ..."


def write_text(notebook):
    notebook.cells[0].source += "\nI see!"


def add_a_cell(notebook):
    notebook.cells.append(new_code_cell("2 + 2"))


def remove_a_cell(notebook):
    del notebook.cells[-1]


def clear_an_output(notebook):
    notebook.cells[1].outputs = []


@pytest.mark.parametrize("way", [run_a_cell, write_code, write_text, add_a_cell, remove_a_cell, clear_an_output])
def test_a_copy_that_was_changed_stays_and_the_new_version_is_next_to_it(way, update, folder):
    update()
    mine = folder / f"{NAME}.ipynb"
    notebook = read(mine)
    way(notebook)
    run_lessons.write(notebook, mine)
    before = mine.read_bytes()
    assert update() == [], "the lesson is the same"
    said = update(lesson("It is better now."))
    assert said == [f"You changed {NAME}.ipynb, which has a new version now: it is in {NEXT}."]
    assert mine.read_bytes() == before
    assert read(folder / NEXT) == as_copied(lesson("It is better now."))
    page = (folder / PAGE).read_text()
    assert "| | [A small one, new version](01_small%20%28new%20version%29.ipynb) |" in page
    assert "To compare two versions, open both" in page
    assert {"-As it was.", "+It is better now."} <= set(page.splitlines())
    assert update() == [], "told once"
    assert notebooks(folder) == [NEXT, f"{NAME}.ipynb"]


def test_a_new_version_that_nobody_touched_makes_room_for_the_next(update, folder):
    update()
    before = change(folder / f"{NAME}.ipynb")
    update(lesson("Two."))
    assert update(lesson("Three."))[0].endswith(f"it is in {NEXT}.")
    assert notebooks(folder) == [NEXT, f"{NAME}.ipynb"]
    assert read(folder / NEXT) == as_copied(lesson("Three."))
    assert (folder / f"{NAME}.ipynb").read_bytes() == before


def test_a_new_version_in_which_the_reader_worked_stays_too(update, folder):
    update()
    mine = change(folder / f"{NAME}.ipynb")
    update(lesson("Two."))
    other = change(folder / NEXT)
    assert update() == []
    third = f"{NAME} (new version 2).ipynb"
    assert update(lesson("Three."))[0].endswith(f"it is in {third}.")
    assert [(folder / name).read_bytes() for name in (f"{NAME}.ipynb", NEXT)] == [mine, other]
    assert read(folder / third) == as_copied(lesson("Three."))
    update(lesson("Four."))
    assert notebooks(folder) == sorted([f"{NAME}.ipynb", NEXT, third])


def test_new_outputs_alone_are_no_new_version(update, folder):
    update()
    assert update(lesson(printed="2\n")) == [f"{NAME}.ipynb was updated."]
    change(folder / f"{NAME}.ipynb")
    assert update(lesson(printed="3\n")) == []
    assert notebooks(folder) == [f"{NAME}.ipynb"]


def test_a_reader_who_made_the_same_changes_has_the_new_version(update, folder):
    update()
    notebook = as_copied(lesson("Two."))
    run_a_cell(notebook)
    run_lessons.write(notebook, folder / f"{NAME}.ipynb")
    assert update(lesson("Two.")) == []
    assert notebooks(folder) == [f"{NAME}.ipynb"]


def test_a_copy_that_was_put_aside_makes_room_for_the_new_version(update, folder):
    update()
    before = change(folder / f"{NAME}.ipynb")
    update(lesson("Two."))
    (folder / f"{NAME}.ipynb").rename(folder / "mine.ipynb")
    assert update() == [f"{NAME}.ipynb was copied."]
    assert notebooks(folder) == [f"{NAME}.ipynb", "mine.ipynb"]
    assert read(folder / f"{NAME}.ipynb") == as_copied(lesson("Two."))
    assert (folder / "mine.ipynb").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"{}", b"no notebook", b'{"cells": 3, "nbformat": 4}', b"\xff\xfe"])
def test_a_file_that_is_no_notebook_is_the_readers(content, update, folder):
    update()
    (folder / f"{NAME}.ipynb").write_bytes(content)
    update()
    update(lesson("Two."))
    assert (folder / f"{NAME}.ipynb").read_bytes() == content
    assert read(folder / NEXT) == as_copied(lesson("Two."))
    assert "| this file cannot be read |" in (folder / PAGE).read_text()


@pytest.mark.parametrize("record", [None, b"", b"[", b"[]", b'{"01_small.ipynb": 3}'])
def test_without_a_record_nothing_is_overwritten(record, update, folder):
    update()
    if record is None:
        (folder / RECORD).unlink()
    else:
        (folder / RECORD).write_bytes(record)
    before = change(folder / f"{NAME}.ipynb")
    update(lesson("Two."))
    assert (folder / f"{NAME}.ipynb").read_bytes() == before
    assert read(folder / NEXT) == as_copied(lesson("Two."))


def test_a_copy_that_is_as_the_lesson_is_needs_no_record(update, folder):
    update()
    (folder / RECORD).unlink()
    assert update() == []
    assert update(lesson("Two.")) == [f"{NAME}.ipynb was updated."]


def test_a_notebook_that_was_there_before_is_the_readers(update, folder):
    theirs = new_notebook(cells=[new_code_cell("mine = 1")])
    run_lessons.write(theirs, folder / f"{NAME}.ipynb")
    update()
    assert read(folder / f"{NAME}.ipynb") == theirs
    assert read(folder / NEXT) == as_copied(lesson())


# The start page


def test_the_page_names_the_lessons_their_goals_and_their_times(update, folder):
    update()
    time = "about two hours; *Run All* takes about 40 seconds on two CPU cores"
    assert f"\n| 1 | [A small one]({NAME}.ipynb) | begin | {time} | not begun |\n" in (folder / PAGE).read_text()
    assert "New versions" not in (folder / PAGE).read_text()


def test_the_page_has_every_lesson(folder):
    Copies(folder).update()
    rows = [line for line in (folder / PAGE).read_text().splitlines() if re.match(r"\| \d", line)]
    about = setup.catalogue()["lessons"].values()
    assert [row.count("|") for row in rows] == [6] * len(about)
    for row, lesson_ in zip(rows, about, strict=True):
        assert lesson_["title"] in row
        assert lesson_["can"] in row
        assert re.search(r"\| about [^|]+; \*Run All\* takes about [^|]+ \|", row)


SOLVED = "✓ inner_step: right\ninner_step: the lesson goes on with yours\n"


@pytest.mark.parametrize(
    ("counts", "printed", "words"),
    [
        ([None, None, None, None], {}, "not begun"),
        ([7, None, None, None], {}, "1 of 4 cells run, 0 of 2 exercises solved"),
        ([1, 2, 3, 4], {3: STUB}, "4 of 4 cells run, 0 of 2 exercises solved"),
        ([1, 2, 3, 4], {3: SOLVED}, "4 of 4 cells run, 1 of 2 exercises solved"),
        ([1, 2, None, 4], {3: SOLVED}, "3 of 4 cells run, 0 of 2 exercises solved"),
        ([1, 2, 3, 4], {3: SOLVED, 5: "meta_loss: the lesson goes on with yours\n"}, "4 of 4 cells run, 2 of 2"),
        ([1, 2, 3, 4], {3: "✗ inner_step: it is ✓ inner_steps: right"}, "4 of 4 cells run, 0 of 2"),
    ],
)
def test_progress_is_what_was_run_and_solved(counts, printed, words):
    notebook = lesson()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell, number in zip(code, counts, strict=True):
        cell.execution_count = number
    for index, text in printed.items():
        notebook.cells[index].outputs = [stream(text)]
    assert progress(notebook).startswith(words)


def test_a_lesson_without_exercises_has_none_to_solve():
    notebook = new_notebook(cells=[new_code_cell("1", execution_count=1), new_code_cell(""), new_code_cell("2")])
    assert progress(notebook) == "1 of 2 cells run"


# What JupyterLab is told


def view(model):
    return {WIDGET_VIEW: {"model_id": model, "version_major": 2, "version_minor": 0}}


@pytest.fixture
def files(update, folder, monkeypatch):
    """The reader's files as JupyterLab sees them, with one notebook of two panels. Only one's model lives."""
    update()
    picture = {"image/png": "iVBO", "text/plain": "a panel"}
    outputs = [new_output("display_data", data=picture | view(model)) for model in ("living", "gone")]
    panels = new_notebook(cells=[new_code_cell("show()", execution_count=1, outputs=outputs)])
    run_lessons.write(panels, folder / "panels.ipynb")
    files = ReadersFiles(root_dir=str(folder))

    async def models(path):
        return {"living"} if path == "panels.ipynb" else set()

    monkeypatch.setattr(files, "_models", models)
    return files


def test_a_panel_whose_model_is_gone_is_a_picture(files, folder):
    before = (folder / "panels.ipynb").read_bytes()
    shown = asyncio.run(files.get("/panels.ipynb"))["content"].cells[0].outputs
    assert [sorted(output.data) for output in shown] == [
        [WIDGET_VIEW, "image/png", "text/plain"],
        ["image/png", "text/plain"],
    ]
    assert (folder / "panels.ipynb").read_bytes() == before
    (folder / "panels.ipynb").rename(folder / "other.ipynb")
    shown = asyncio.run(files.get("other.ipynb"))["content"].cells[0].outputs
    assert [sorted(output.data) for output in shown] == [["image/png", "text/plain"]] * 2
    assert asyncio.run(files.get("other.ipynb", content=False, require_hash=True))["hash"]


def test_a_notebook_is_saved_without_the_state_of_its_widgets(files, folder):
    notebook = read(folder / "panels.ipynb")
    notebook.metadata.widgets = {"application/vnd.jupyter.widget-state+json": {"state": {}}}
    asyncio.run(files.save({"type": "notebook", "content": notebook, "format": "json"}, "panels.ipynb"))
    assert "widgets" not in read(folder / "panels.ipynb").metadata
    assert WIDGET_VIEW in read(folder / "panels.ipynb").cells[0].outputs[0].data, "its kernel may live"


def test_the_page_is_up_to_date_whenever_it_is_opened_and_cannot_be_edited(files, folder, monkeypatch):
    monkeypatch.setattr(lab, "Copies", lambda place: Copies(place, folder.parent / "lessons"))
    notebook = read(folder / f"{NAME}.ipynb")
    run_a_cell(notebook)
    run_lessons.write(notebook, folder / f"{NAME}.ipynb")
    model = asyncio.run(files.get(PAGE, type="file"))
    assert "1 of 4 cells run" in model["content"]
    assert model["writable"] is False
    assert asyncio.run(files.get("source/metalab/nets.py"))["writable"] is False
    assert asyncio.run(files.get("panels.ipynb"))["writable"] is True


def test_a_kernel_says_which_widgets_it_has_while_it_computes_and_none_when_it_is_gone(monkeypatch):
    async def ask():
        kernel = AsyncKernelManager()
        await kernel.start_kernel()
        client = kernel.client()
        client.start_channels()
        await client.wait_for_ready(timeout=60)
        try:
            reply = await client.execute(
                "import ipywidgets, time; slider = ipywidgets.IntSlider()",
                user_expressions={"id": "slider.model_id"},
                reply=True,
                timeout=60,
            )
            model = reply["content"]["user_expressions"]["id"]["data"]["text/plain"].strip("'")
            client.execute("time.sleep(60)")
            found = await widgets_of(kernel), await widgets_of(kernel)
        finally:
            client.stop_channels()
            await kernel.shutdown_kernel(now=True)
        return model, found

    model, found = asyncio.run(ask())
    assert model in found[0]
    assert found[0] == found[1]

    async def ask_nobody():
        kernel = AsyncKernelManager()
        await kernel.start_kernel()
        await kernel.shutdown_kernel(now=True)
        return await widgets_of(kernel)

    monkeypatch.setattr(lab, "PATIENCE", 0.2)
    assert asyncio.run(ask_nobody()) == set()


# The command


@pytest.fixture
def command(monkeypatch):
    """Runs the command. The options that JupyterLab would get, and its settings' folders."""
    became = []
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "")
    monkeypatch.setattr(lab.os, "chdir", lambda _place: None)
    monkeypatch.setattr(lab.os, "execv", lambda _program, arguments: became.append(arguments))

    def go(*arguments):
        lab.main(list(arguments))
        return became[-1][3:]

    return go


def test_the_command_opens_the_page_in_the_readers_folder(command, folder, capfd):
    options = command("--folder", str(folder), "--no-browser", "--port", "9999")
    assert f"--ServerApp.root_dir={folder}" in options
    assert f"--LabApp.default_url=/lab/tree/{PAGE}" in options
    assert options[-3:] == ["--no-browser", "--port", "9999"]
    assert (folder / PAGE).exists()
    assert capfd.readouterr().out.endswith(f"Your lessons are in {folder}.\n")
    [settings] = Path(os.environ["JUPYTER_CONFIG_PATH"]).glob("labconfig/*.json")
    settings = json.loads(settings.read_text())
    assert settings["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false"


def test_the_readers_own_settings_stay(command, folder, monkeypatch):
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "/theirs")
    command("--folder", str(folder))
    assert os.environ["JUPYTER_CONFIG_PATH"].split(os.pathsep) == [str(lab.SETTINGS), "/theirs"]


def test_authors_open_the_lessons_themselves(command):
    before = {path: path.read_bytes() for path in LESSONS.iterdir() if path.is_file()}
    options = command("--folder", str(LESSONS))
    assert f"--ServerApp.root_dir={ROOT}" in options
    assert "--LabApp.default_url=/lab/tree/notebooks" in options
    assert {path: path.read_bytes() for path in LESSONS.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("place", [ROOT, ROOT / "build", ROOT / "metalab/mine", LESSONS / "mine"])
def test_a_folder_in_the_checkout_is_refused(place, command, capfd):
    with pytest.raises(SystemExit, match="2"):
        command("--folder", str(place))
    assert f"--folder {place} is a part of the checkout: name one in build/, or outside of it" in capfd.readouterr().err
    assert not (place / PAGE).exists()


def test_a_folder_that_cannot_be_is_refused(command, tmp_path, capfd):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="2"):
        command("--folder", str(tmp_path / "file"))
    assert f"--folder {tmp_path / 'file'} cannot be used: " in capfd.readouterr().err


def test_what_readers_have_in_the_checkout_is_none_of_gits(tmp_path):
    ignored = ["git", "check-ignore", "--quiet", str(lab.MINE / f"{NAME}.ipynb")]
    assert subprocess.run(ignored, cwd=ROOT).returncode == 0


def test_cleaning_keeps_the_readers_lessons(tmp_path):
    for place in ("build/my-lessons/mine.ipynb", "build/my-lessons/.lab/copied.json", "build/colab/x", ".venv/y"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    make = ["make", "--directory", str(tmp_path), "--file", str(ROOT / "Makefile"), "clean"]
    subprocess.run(make, check=True, capture_output=True)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"build/my-lessons/mine.ipynb", "build/my-lessons/.lab/copied.json"}
    (tmp_path / "build/my-lessons").rename(tmp_path / "elsewhere")
    (tmp_path / "build").rmdir()
    subprocess.run(make, check=True, capture_output=True)
