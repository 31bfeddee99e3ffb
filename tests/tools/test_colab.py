"""Lessons that open alone: set-up cell, badges and times, copies that carry the package, and Colab's likeness."""

import os
import shutil
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import colab_like
import nbformat
import pytest
import torch
import yaml
from fake_gpu import NAME as GPU
from fake_gpu import fake_gpu
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import metalab
from metalab.lessons.kit import setup
from tools import publish, rooms, run_lessons

ROOT = Path(__file__).parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
COLAB = ROOT / "build/colab-venv/bin/python"
NAME = "01_sine_regression"
READY, VERSION = (
    f'device = setup.ready("{NAME}")',
    "import metalab; print(metalab.__version__)",
)  # the second needs no torch


def read(path):
    return nbformat.read(path, as_version=4)


@pytest.fixture(scope="module")
def wheel():
    return publish.build_wheel(ROOT)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder with one executed lesson that has no set-up cell yet, its README and its catalogue."""
    cells = [
        new_markdown_cell("# Small\n\n**Time:** a while; *Run All* takes ages. Read on."),
        new_code_cell("x = 1", execution_count=1),
        new_code_cell("x", execution_count=2, outputs=[picture(), result("1", 2)]),
    ]
    run_lessons.write(new_notebook(cells=cells), tmp_path / f"notebooks/{NAME}.ipynb")
    (tmp_path / "README.md").write_text(
        f"<!-- lessons: here -->\n<!-- end of lessons -->\n{rooms.START}\n{rooms.END}\n"
    )
    monkeypatch.setattr(setup, "FILE", tmp_path / "catalogue.json")
    about = {"title": "Sine", "can": "fit", "cpu": 41.0, "gpu": None}
    run_lessons.write_catalogue({"repository": None, "lessons": {NAME: about}})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def result(text, count):
    return new_output("execute_result", data={"text/plain": text}, execution_count=count)


def picture():
    return new_output("display_data", data={"image/png": "iVBO", "text/plain": "a picture of it"})


# What is written into lessons and README.


def test_refresh_inserts_the_cell_and_the_time(checkout, capfd):
    assert publish.main([]) == 0
    assert capfd.readouterr().out == f"notebooks/{NAME}.ipynb refreshed\nREADME.md refreshed\n"
    title, set_up, first, second = read(checkout / f"notebooks/{NAME}.ipynb").cells
    assert title.source.endswith("a while; *Run All* takes about 40 seconds on two CPU cores. Read on.")
    assert set_up.source == publish.set_up_cell(NAME, publish.install_nothing())
    assert "takes about 40 seconds on two CPU cores" in set_up.outputs[0].text
    assert [cell.execution_count for cell in (set_up, first, second)] == [1, 2, 3]
    assert second.outputs == [picture(), result("1", 3)]
    readme = (checkout / "README.md").read_text()
    assert f"| 1 | [Sine](notebooks/{NAME}.ipynb) | fit | about 40 s |\n<!-- end of lessons -->" in readme
    assert f"| `metalab/learners/` | {rooms.ROOMS['metalab/learners/'][0]} | " in readme
    assert publish.main([]) == 0
    assert capfd.readouterr().out == ""


def test_refresh_follows_a_new_time_and_mends_the_cell(checkout):
    publish.main([])
    run_lessons.record(NAME, "cpu", 125)
    run_lessons.record(NAME, "gpu", 31)
    publish.main([])
    path = checkout / f"notebooks/{NAME}.ipynb"
    refreshed = read(path)
    takes = "takes about 2 minutes on two CPU cores, 30 seconds with a GPU"
    assert f"*Run All* {takes}. Read on." in refreshed.cells[0].source
    assert takes in refreshed.cells[1].outputs[0].text
    assert "| fit | about 125 s, 30 s with a GPU |\n" in (checkout / "README.md").read_text()

    spoiled = read(path)
    spoiled.cells[1].source += "\n%pip install --upgrade ipykernel"
    run_lessons.write(spoiled, path)
    publish.main([])
    assert read(path) == refreshed


def test_a_lesson_that_was_not_timed_yet_gets_its_set_up_cell(checkout):
    run_lessons.write_catalogue({"repository": None, "lessons": {NAME: {"title": "Sine", "can": "fit"}}})
    assert publish.main([]) == 0
    title, set_up, *_ = read(checkout / f"notebooks/{NAME}.ipynb").cells
    assert "*Run All* takes a time that was not measured yet. Read on." in title.source
    assert set_up.source == publish.set_up_cell(NAME, publish.install_nothing())
    assert "| fit | not timed yet |" in (checkout / "README.md").read_text()


def test_an_address_puts_it_and_the_badges_everywhere(checkout):
    assert publish.main(["--out", "built", "--repository", "ada/lab.v2"]) == 0
    badge = (
        "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
        f"(https://colab.research.google.com/github/ada/lab.v2/blob/colab/notebooks/{NAME}.ipynb)"
    )
    for path in (checkout / f"notebooks/{NAME}.ipynb", checkout / f"built/{NAME}.ipynb"):
        title, set_up, *_ = read(path).cells
        assert title.source.startswith(f"# Small\n\n{badge}\n\n**Time:**")
        assert f'"git+https://github.com/ada/lab.v2@v{metalab.__version__}"' in set_up.source
        assert '"--no-deps"' in set_up.source
    assert f"(notebooks/{NAME}.ipynb) {badge} | fit |" in (checkout / "README.md").read_text()

    before = {path: path.read_bytes() for path in checkout.rglob("*.*") if path.is_file()}
    publish.main([])  # the address stays
    assert {path: path.read_bytes() for path in before} == before
    publish.main(["--repository", "eve/lab"])
    lesson, readme = (checkout / f"notebooks/{NAME}.ipynb").read_text(), (checkout / "README.md").read_text()
    assert "ada/lab" not in lesson + readme
    assert readme.count("eve/lab") == 1


@pytest.mark.parametrize("address", ["", "ada", "https://github.com/ada/lab", "ada/lab@main", 'ada/lab"', "a b/c"])
def test_what_is_no_address_is_refused(address, checkout, capfd):
    with pytest.raises(SystemExit, match="2"):
        publish.main(["--repository", address])
    assert "owner/name" in capfd.readouterr().err
    assert setup.catalogue()["repository"] is None


def test_what_is_missing_is_named(checkout, capfd):
    (checkout / "README.md").write_text("| no lesson |\n")
    assert publish.main([]) == 1
    assert "README.md has no place for the table of rooms" in capfd.readouterr().err
    (checkout / "README.md").write_text(f"{rooms.START}\n{rooms.END}\n")
    assert publish.main([]) == 1
    assert "README.md has no place for the table of lessons" in capfd.readouterr().err
    run_lessons.write(
        new_notebook(cells=[new_markdown_cell("# Small"), new_code_cell("1")]), Path(f"notebooks/{NAME}.ipynb")
    )
    assert publish.main([]) == 1
    assert f"{NAME}: its first cell must say once" in capfd.readouterr().err
    run_lessons.write_catalogue({"repository": None, "lessons": {}})
    assert publish.main([]) == 1
    assert f"{NAME} has no line in catalogue.json: add one" in capfd.readouterr().err


def test_cells_for_a_checkout_are_linted_and_formatted(tmp_path):
    for name, install in {"a": publish.install_nothing(), "b": publish.install_from("owner/name")}.items():
        (tmp_path / f"{name}.py").write_text(publish.set_up_cell(NAME, install) + "\n")
    ruff = [sys.executable, "-m", "ruff"]
    config = ["--config", str(ROOT / "notebooks/ruff.toml"), "--no-cache"]
    subprocess.run([*ruff, "check", "--extend-ignore=E402,I001", *config, str(tmp_path)], check=True)
    subprocess.run([*ruff, "format", "--check", *config, str(tmp_path)], check=True)


def test_release_workflow_uses_its_own_address():
    workflow = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
    assert workflow[True] == {"push": {"tags": ["v*"]}}  # YAML reads `on` as true
    steps = [step.get("run", "") for step in workflow["jobs"]["colab"]["steps"]]
    assert 'make colab REPO="$GITHUB_REPOSITORY"' in steps
    assert f"HEAD:refs/heads/{publish.BRANCH}" in steps[-1]
    assert f"metalab/lessons/{setup.FILE.name}" in steps[-1]


# The copies that carry the package.


def test_wheel_has_all_and_is_the_same_each_time(wheel):
    names = zipfile.ZipFile(BytesIO(wheel)).namelist()
    here = [path for path in (ROOT / "metalab").rglob("*") if path.suffix in (".py", ".json", ".safetensors")]
    assert {str(path.relative_to(ROOT)) for path in here} <= set(names)
    assert publish.build_wheel(ROOT) == wheel


def test_copies_of_all_lessons_are_small_enough(wheel, tmp_path):
    lessons = [path for path in LESSONS if path.stem in setup.catalogue()["lessons"]]
    publish.write_copies(lessons, tmp_path, publish.install_carried(wheel), None)
    assert [path.name for path in sorted(tmp_path.iterdir())] == [path.name for path in lessons]
    for path in tmp_path.iterdir():
        assert path.stat().st_size < 10_000_000
        nbformat.validate(read(path))
        copied = read(path)
        assert run_lessons.pictures(copied) == []
        assert copied.cells[1].metadata.jupyter.source_hidden, "the package would fill the page"
        hidden = [cell for cell in copied.cells if cell.metadata.get("jupyter", {}).get("outputs_hidden")]
        assert hidden
        assert [cell.outputs for cell in hidden] == [[]] * len(hidden), "Colab shows what is folded elsewhere"


def test_copy_that_is_too_large_is_refused(checkout, monkeypatch, capfd):
    monkeypatch.setattr(publish, "build_wheel", lambda root: bytes(7_600_000))
    assert publish.main(["--out", "built"]) == 1
    assert f"{NAME}: its copy would have 10," in capfd.readouterr().err
    assert not Path("built").exists()


def base(name):
    """The Python of the environment that a set-up cell is tried on."""
    if name == "colab" and not COLAB.exists() and not os.environ.get("METALAB_TEST_ALL"):
        pytest.skip("no environment like Colab's: make test-colab")
    return COLAB if name == "colab" else Path(sys.executable)


def offline():
    """What keeps pip, and torch, from any network."""
    proxy = "http://127.0.0.1:9"  # nobody listens there
    proxies = {"http_proxy": proxy, "https_proxy": proxy, "PIP_INDEX_URL": proxy, "PIP_RETRIES": "0"}
    return colab_like.clean(os.environ) | proxies


def execute(python, folder, *sources, environ=None):
    """Run the cells `sources` in one process with an empty folder of its own. What it printed, or its errors."""
    (folder / "empty").mkdir(exist_ok=True)
    done = subprocess.run(
        [python, "-c", "import sys; [exec(source, {}) for source in sys.stdin.read().split(chr(0))]"],
        input="\0".join(sources),
        cwd=folder / "empty",
        env=environ or offline(),
        capture_output=True,
        text=True,
    )
    return done.stderr if done.returncode else done.stdout


def packages(python):
    """What lies in the environment of `python`, but for its base."""
    return {path.name for path in python.parents[1].glob("lib/python3*/site-packages/*")}


@pytest.mark.parametrize("name", ["current", "colab"])
def test_set_up_cell_brings_the_package_offline_and_twice(name, wheel, tmp_path):
    python = colab_like.environment(base(name), tmp_path / "environment")
    before = packages(python)
    cell = publish.set_up_cell(NAME, publish.install_carried(wheel))
    assert '"--no-deps"' in cell
    assert '"--no-index"' in cell
    first, second = "print(1)", "import metalab; print(metalab.__file__); from metalab.checkpoint import shipped"
    said = execute(python, tmp_path, first, cell, cell, second + "; print(len(shipped('sine_maml_5shot')[0]))")
    lines = said.splitlines()
    assert lines[1].startswith(f"metalab {metalab.__version__} and torch ")
    assert lines[1:5] == lines[5:9]
    assert lines[9].startswith(str(tmp_path / "environment"))
    assert lines[10] == "6"
    assert packages(python) - before == {"metalab", f"metalab-{metalab.__version__}.dist-info"}


@pytest.mark.parametrize("spoilt", [False, True])
def test_set_up_cell_leaves_no_temporary_files(spoilt, wheel, tmp_path):
    python = colab_like.environment(base("current"), tmp_path / "environment")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    cell = publish.set_up_cell(NAME, publish.install_carried(b"no wheel" if spoilt else wheel)).replace(READY, VERSION)
    said = execute(python, tmp_path, cell, environ=offline() | {"TMPDIR": str(temporary)})
    assert ("pip could not install metalab" in said) is spoilt
    assert os.listdir(temporary) == []


def test_damaged_copy_is_refused(wheel, tmp_path):
    python = colab_like.environment(base("current"), tmp_path / "environment")
    before = packages(python)
    cell = publish.set_up_cell(NAME, publish.install_carried(wheel))
    middle = len(cell) // 2
    other = "A" if cell[middle] != "A" else "B"
    altered = cell[:middle] + other + cell[middle + 1 :]
    for spoiled in (altered, cell[:middle] + cell[middle + 1 :]):
        assert "SHA-256 is not the one it was built with. Nothing was installed." in execute(python, tmp_path, spoiled)
    assert packages(python) == before


def test_older_package_is_replaced_in_colab_only(wheel, tmp_path):
    python = colab_like.environment(base("current"), tmp_path / "environment")
    (site,) = python.parents[1].glob("lib/python3*/site-packages")
    (site / "metalab/lessons").mkdir(parents=True)
    (site / "metalab/__init__.py").write_text("__version__ = '0.0.1'")
    (site / "metalab/lessons/__init__.py").touch()
    cell = publish.set_up_cell(NAME, publish.install_carried(wheel)).replace(READY, VERSION)
    elsewhere = "import sys; del sys.modules['google.colab']"
    assert "metalab 0.0.1 is installed, and this lesson needs" in execute(python, tmp_path, elsewhere, cell)
    loaded = "import metalab.lessons; assert metalab.__version__ == '0.0.1'"
    assert execute(python, tmp_path, loaded, cell) == f"{metalab.__version__}\n"


def test_lesson_of_a_checkout_says_what_to_do(tmp_path):
    python = colab_like.environment(base("current"), tmp_path / "environment")
    said = execute(python, tmp_path, publish.set_up_cell(NAME, publish.install_nothing()))
    assert f"This lesson needs metalab {metalab.__version__}, and found None." in said
    assert said.endswith("use the copy that this makes: make colab\n")


def test_set_up_cell_installs_the_tag_of_a_repository(tmp_path):
    source = tmp_path / "ada/lab"
    shutil.copytree(ROOT / "metalab", source / "metalab", ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    user = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    tag = f"v{metalab.__version__}"
    for command in (["init", "-q"], ["add", "."], [*user, "commit", "-qm", "all"], ["tag", tag]):
        subprocess.run(["git", "-c", "commit.gpgsign=false", *command], cwd=source, check=True)
    (source / "metalab/__init__.py").write_text("__version__ = '9'")
    subprocess.run(["git", *user, "commit", "-qam", "after the release"], cwd=source, check=True)

    python = colab_like.environment(base("current"), tmp_path / "environment")
    redirect = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.file://{tmp_path}/.insteadOf"}
    redirect |= {"GIT_CONFIG_VALUE_0": "https://github.com/", "PIP_NO_BUILD_ISOLATION": "0"}  # 0: without isolation
    missing = publish.set_up_cell(NAME, publish.install_from("ada/none"))
    assert "RuntimeError: pip could not install metalab" in execute(
        python, tmp_path, missing, environ=offline() | redirect
    )
    cell = publish.set_up_cell(NAME, publish.install_from("ada/lab")).replace(READY, VERSION)
    assert execute(python, tmp_path, cell, environ=offline() | redirect) == f"{metalab.__version__}\n"


# What the set-up cell says.


WATCH = "Run All jumps to the end. To watch the trainings, go from cell to cell (Shift+Enter).\n"
HEAD = f"metalab {metalab.__version__} and torch {torch.__version__}. Device:"


@pytest.fixture
def said(checkout, monkeypatch, capfd):
    """What `ready` prints and returns, with this in METALAB_DEVICE."""

    def say(wanted=None):
        if wanted is None:
            monkeypatch.delenv(setup.VARIABLE, raising=False)
        else:
            monkeypatch.setenv(setup.VARIABLE, wanted)
        device = setup.ready(NAME)
        return capfd.readouterr().out, device

    return say


@pytest.mark.parametrize("wanted", [None, "", "cpu"])
def test_ready_chooses_the_cpu_where_there_is_no_gpu(said, wanted, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert said(wanted) == (
        f"{HEAD} CPU, because no GPU was found.\n"
        "Run All takes about 40 seconds on two CPU cores; with a GPU it was not timed yet.\n"
        f"{WATCH}"
        "For a GPU in Colab: Runtime > Change runtime type > T4 GPU, then Run all.\n",
        torch.device("cpu"),
    )


@pytest.mark.parametrize("wanted", [None, "", "cuda"])
def test_ready_chooses_the_gpu_that_is_there_and_says_both_times(said, wanted):
    run_lessons.record(NAME, "gpu", 29)
    with fake_gpu() as gpu:
        assert said(wanted) == (
            f"{HEAD} {GPU}.\n"
            "Run All takes about 40 seconds on two CPU cores, 30 seconds with a GPU.\n"
            f"{WATCH}"
            "Numbers in the text are those of a run on a CPU, and some of yours will be others.\n"
            "To stay on the CPU, run this in a cell before this one: %env METALAB_DEVICE=cpu\n",
            gpu,
        )


def test_ready_stays_on_the_cpu_where_the_reader_wants_it(said):
    with fake_gpu():
        words, device = said("cpu")
    assert words.startswith(f"{HEAD} CPU, because METALAB_DEVICE asks for it.\nRun All takes")
    assert "For a GPU in Colab" not in words
    assert device == torch.device("cpu")


def test_ready_passes_over_a_gpu_that_does_not_work(said, monkeypatch):
    with fake_gpu():
        monkeypatch.setattr(torch, "ones", lambda *_size, **_options: 1 / 0)
        with pytest.raises(ZeroDivisionError):  # a fault of ours is no fault of the GPU's
            said()

        def fail(*_size, **_options):
            raise RuntimeError("no kernel image is available\nand much more")

        monkeypatch.setattr(torch, "ones", fail)
        words, device = said()
        assert words.startswith(f"{HEAD} CPU, because the GPU {GPU} does not work here (no kernel image is available).")
        assert device == torch.device("cpu")
        with pytest.raises(ValueError, match=f"METALAB_DEVICE asks for a GPU, but the GPU {GPU} does not work here"):
            said("cuda")


def test_ready_refuses_another_device(said, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="METALAB_DEVICE='tpu' must be 'cpu' or 'cuda', or not be set"):
        said("tpu")
    with pytest.raises(ValueError, match="METALAB_DEVICE asks for a GPU, but no GPU was found"):
        said("cuda")


def test_ready_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(setup.NEEDS, "no_such_module", "some-package")
    with pytest.raises(ModuleNotFoundError, match=r"not installed here: some-package\. Run: %pip install some-package"):
        setup.ready(NAME)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(1, "5 seconds"), (38, "40 seconds"), (89, "90 seconds"), (91, "1.5 minutes"), (115, "2 minutes")],
)
def test_about(seconds, said):
    assert setup.about(seconds) == said


# The environment like Colab's.


COLABS = """import sys, ipykernel, IPython, ipywidgets
from pathlib import Path
assert (ipykernel.__version__, IPython.__version__, ipywidgets.__version__) == ("6.17.1", "7.34.0", "7.7.1")
assert "google.colab" in sys.modules
assert [path.name for path in Path().iterdir()] == ["01_sine_regression.ipynb"]"""


def test_lesson_runs_alone_as_in_colab(wheel, tmp_path):
    cells = [new_markdown_cell("# Small\n\n*Run All* takes long."), new_code_cell(COLABS, execution_count=1)]
    run_lessons.write(new_notebook(cells=cells), tmp_path / f"{NAME}.ipynb")
    publish.write_copies([tmp_path / f"{NAME}.ipynb"], tmp_path / "built", publish.install_carried(wheel), None)
    (tmp_path / "run").mkdir()
    assert colab_like.run(base("colab"), tmp_path / f"built/{NAME}.ipynb", tmp_path / "run") == []


PAD = """from google.colab import output
from metalab.lessons.kit import panels
from metalab.lessons.siamese_contrastive_loss.neighbours import Neighbours
from metalab.tasks import glyphs
displayed = []
panels.display = lambda _bundle, **_options: displayed.append(output.custom_widgets)
panel = Neighbours(glyphs.draw(alphabets=1, seed=0), lambda drawings: drawings.flatten(1))
panel.show()
panel.pad.strokes = [[[0.3, 0.3], [0.3, 0.7]]]
print(displayed, output.custom_widgets, "nearest to your drawing" in panel.picture.text.value)"""


@pytest.mark.parametrize("name", ["current", "colab"])
def test_the_drawing_pad_works_with_colabs_anywidget(name, wheel, tmp_path):
    python = colab_like.environment(base(name), tmp_path / "environment")
    cell = publish.set_up_cell(NAME, publish.install_carried(wheel))
    said = execute(python, tmp_path, cell, PAD)
    assert said.splitlines()[-1] == "[True, True] False True", said


def test_faults_are_seen_as_in_colab(tmp_path):
    faults = "open('left', 'w').close()\nimport sysconfig\n"
    faults += "open(sysconfig.get_path('purelib') + '/other.py', 'w').close()\nassert 1 > 2"
    run_lessons.write(new_notebook(cells=[new_code_cell(faults, execution_count=1)]), tmp_path / "small.ipynb")
    (tmp_path / "run").mkdir()
    *nbval, environment, folder = colab_like.run(base("colab"), tmp_path / "small.ipynb", tmp_path / "run")
    assert "assert 1 > 2" in "\n".join(nbval)
    assert environment == "the environment now has ['google', 'other.py'], and should have ['google', 'metalab']"
    assert folder == "it left files in its folder: ['left']"
