"""The files that install the package agree with each other, and imports point one way."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec, resolve_name
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import metalab
from tools import publish

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
NEEDS = [Requirement(line) for line in PROJECT["dependencies"] + EXTRAS["lessons"] + EXTRAS["pad"]]
PYTHONS = SpecifierSet(PROJECT["requires-python"])
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())["jobs"]["test"]
CORE_NEEDS = {"torch", "filelock", "numpy", "PIL", "safetensors"}
NEEDS_OF_A_FUNCTION = {"metalab/experiments/curve.py": {"matplotlib"}}  # which does without where it is not installed
IMPORTED_AS = {
    "pillow": "PIL",
    "ipython": "IPython",
    "pyyaml": "yaml",
    "pytest-xdist": "xdist",
    "scikit-learn": "sklearn",
}
ROOMS = [  # from the ground up: a module imports from its own floor and from those below
    ("losses", "gaussian", "files", "arguments"),
    ("tasks",),
    ("engine",),
    ("nets", "residual"),
    ("learners",),
    ("train", "optim", "evaluate", "checkpoint"),
    ("analysis",),
    ("experiments",),
    ("lessons",),
]
FLOOR = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}

SOURCES = sorted((ROOT / "metalab").rglob("*.py"))
CORE = [path for path in SOURCES if "lessons" not in path.relative_to(ROOT).parts]
LESSONS = [path for path in SOURCES if path not in CORE and path.parent.name != "lessons"]
AUTHORS = [path for folder in ("benchmarks", "tools", "tests") for path in sorted((ROOT / folder).rglob("*.py"))]


def pins(file="requirements.txt"):
    """The exact version of each package in a file of requirements, by canonical name."""
    found = {}
    for line in (ROOT / file).read_text().splitlines():
        if line := line.split("#")[0].strip():
            name, version = re.fullmatch(r"([\w-]+)==([\w.]+)", line).groups()
            found[canonicalize_name(name)] = version
    return found


def test_torch_is_the_pinned_one():
    assert pins()["torch"] == "2.13.0"


@pytest.mark.parametrize("need", NEEDS, ids=str)
def test_pins_satisfy_the_package(need):
    assert need.specifier.contains(pins()[canonicalize_name(need.name)])


@pytest.mark.parametrize("need", NEEDS, ids=str)
def test_package_sets_lower_bounds_only(need):
    assert [bound.operator for bound in need.specifier] == [">="]


@pytest.mark.parametrize("need", NEEDS, ids=str)
def test_colabs_build_satisfies_the_package(need):
    colab = pins("tests/colab.txt") | {"torch": "2.11.0"}  # Colab's own; the file has ours
    assert need.specifier.contains(colab[canonicalize_name(need.name)])


def test_environment_installs_what_requirements_pin():
    dependencies = ENVIRONMENT["dependencies"]
    assert dependencies[-1] == {"pip": ["-r requirements.txt", "-e ."]}
    others = {re.match(r"\w+", dependency)[0] for dependency in dependencies[:-1]}
    assert others == {"python", "pip"}  # everything else comes from requirements.txt


def test_python_versions_agree():
    (python,) = [line for line in ENVIRONMENT["dependencies"] if str(line).startswith("python")]
    environment = SpecifierSet(python.removeprefix("python"))
    tested = WORKFLOW["strategy"]["matrix"]["python"]
    assert tested == [f"3.{minor}" for minor in range(30) if environment.contains(f"3.{minor}")]
    assert tested == ["3.11", "3.12", "3.13"]
    assert all(PYTHONS.contains(version) for version in tested)
    assert not PYTHONS.contains("3.10")


def test_workflow_runs_what_ci_runs():
    assert [step["run"] for step in WORKFLOW["steps"] if "run" in step] == [".ci/run"]
    assert os.access(ROOT / ".ci/run", os.X_OK)


def test_licence():
    text = (ROOT / "LICENSE").read_text()
    assert text.startswith("MIT License\n")
    assert "the metalab authors" in text
    assert PROJECT["license"] == "MIT"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "results/README.md", "metalab/engine/README.md"])
def test_a_page_is_finished_and_its_links_lead_somewhere(name):
    text = re.sub(r"```.*?```", "", (ROOT / name).read_text(), flags=re.DOTALL)
    assert not re.search(r"^[A-Z_]{4,}$|\b(?:COMMIT|DIFF)_[A-Z]\b", text, re.MULTILINE), "a placeholder is left"
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not ((ROOT / name).parent / link).exists()] == []
    files = re.findall(r"`((?:metalab|tests|tools|benchmarks|notebooks|results|docs)/[\w/.-]+)`", text)
    examples = {"notebooks/11_name.ipynb", "metalab/lessons/name/", "tests/lessons/test_name.py"}
    examples |= {"tests/lessons/answers_name.py"}
    assert [file for file in files if file not in examples and not (ROOT / file).exists()] == []


def test_readme_tells_the_order_of_imports():
    text = (ROOT / "README.md").read_text()
    order = re.search(r"Imports point one way, and a test enforces it: (.*?)\.", text)[1]
    assert [set(floor.split(", ")) for floor in order.split(" → ")] == [set(floor) for floor in reversed(ROOMS)]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_the_commands_of_a_page_exist(name):
    text = (ROOT / name).read_text()
    makefile = (ROOT / "Makefile").read_text()
    targets = {target for line in re.findall(r"^([\w -]+):", makefile, re.MULTILINE) for target in line.split()}
    named = re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE)
    assert len(named) > 5
    assert set(named) <= targets
    modules = set(re.findall(r"python -m (\w+(?:\.\w+)*)", text))
    assert modules
    assert [module for module in modules if not find_spec(module)] == []
    from benchmarks.__main__ import COMMANDS

    assert set(re.findall(r"python -m benchmarks ([a-z-]+)", text)) <= set(COMMANDS)


def test_notebooks_are_in_one_place():
    elsewhere = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "build"]
        elsewhere += [name for name in files if name.endswith(".ipynb") and Path(folder) != ROOT / "notebooks"]
    assert elsewhere == []


def imports(source, package):
    """The full names of the modules that `source`, a module of `package`, imports anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            name = resolve_name("." * node.level + (node.module or ""), package)
            yield name
            yield from (f"{name}.{alias.name}" for alias in node.names)


def test_imports_sees_every_spelling():
    source = "import a.b, c as d\nfrom e import f\ndef g():\n    import h\nfrom .i import j\nfrom .. import k"
    assert set(imports(source, "p.q")) == {"a.b", "c", "e", "e.f", "h", "p.q.i", "p.q.i.j", "p", "p.k"}


def imports_of(path):
    return set(imports(path.read_text(), ".".join(path.relative_to(ROOT).parts[:-1])))


@pytest.mark.parametrize("path", CORE, ids=lambda path: str(path.relative_to(ROOT)))
def test_core_needs_little_and_knows_no_lessons(path):
    names = imports_of(path)
    packages = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"metalab"}
    assert packages <= CORE_NEEDS | NEEDS_OF_A_FUNCTION.get(str(path.relative_to(ROOT)), set())
    assert not [name for name in names if name.startswith("metalab.lessons")]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    own = path.relative_to(ROOT / "metalab").with_suffix("").parts[0]
    inner = {name.split(".")[1] for name in imports_of(path) if name.startswith("metalab.")}
    floor = FLOOR.get(own, len(ROOMS))  # the command line is on top
    assert [name for name in inner if FLOOR.get(name, 0) > floor] == []


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_lesson_imports_another(path):
    """A lesson imports from its own folder and from the kit; the kit imports from no lesson."""
    own = path.relative_to(ROOT / "metalab/lessons").parts[0]
    others = {name.split(".")[2] for name in imports_of(path) if name.startswith("metalab.lessons.")}
    assert others <= {own, "kit"}


def declared(*extras):
    """The names under which the package's requirements, and those of some extras, are imported."""
    lines = PROJECT["dependencies"] + [line for extra in extras for line in EXTRAS[extra]]
    names = [canonicalize_name(Requirement(line).name) for line in lines]
    return {IMPORTED_AS.get(name, name) for name in names} | set(sys.stdlib_module_names)


def packages(path):
    return {name.split(".")[0] for name in imports_of(path)}


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: str(path.relative_to(ROOT)))
def test_lessons_need_what_is_declared(path):
    shipped_with = {"traitlets"}  # comes with ipywidgets, of which it is a part
    assert packages(path) <= declared("lessons", "pad") | shipped_with | {"metalab"}


@pytest.mark.parametrize("path", AUTHORS, ids=lambda path: str(path.relative_to(ROOT)))
def test_authors_tools_need_what_is_declared(path):
    ours = {"metalab", "benchmarks", "tools"} | {other.stem for other in AUTHORS}
    shipped_with = {"traitlets", "jupyter_client", "jupyter_server"}  # come with ipywidgets, nbclient and jupyterlab
    assert packages(path) <= declared("lessons", "pad", "dev") | ours | shipped_with


@pytest.mark.skipif("METALAB_TEST_ALL" not in os.environ, reason="it installs PyTorch, which takes a minute")
def test_the_wheel_alone_can_be_imported(tmp_path):
    """In an empty environment the core needs nothing but its own requirements, and lessons nothing but their extra."""
    wheel = tmp_path / f"metalab-{metalab.__version__}-py3-none-any.whl"
    wheel.write_bytes(publish.build_wheel(ROOT))
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "empty"], check=True)
    python = tmp_path / "empty/bin/python"
    pip = [python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "requirements.txt"]
    for extra, paths in (("", CORE), ("[lessons]", SOURCES)):
        subprocess.run([*pip, f"metalab{extra} @ {wheel.as_uri()}"], check=True, cwd=tmp_path)
        code = f"import {', '.join(map(module_of, paths))}; print(metalab.__file__)"
        done = subprocess.run([python, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert Path(done.stdout.strip()).is_relative_to(tmp_path)  # the wheel's, and not this checkout's
    assert not list((tmp_path / "empty").rglob("benchmarks/peers.py"))
    assert not list((tmp_path / "empty").rglob("tools/publish.py"))


def module_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


SET_UP = publish.set_up_cell("01_sine_regression", publish.install_nothing())
STARTS = {
    "the package": ["-c", "import metalab.learners"],
    "a lesson": ["-c", SET_UP],
    "the command line": ["-m", "metalab", "--help"],
    "the benchmarks": ["-m", "benchmarks", "--help"],
    "the tests": ["-m", "pytest", "-s", "-p", "no:cacheprovider", "--collect-only", "tests/test_files.py"],
}


@pytest.mark.skipif(sys.platform != "linux", reason="another OpenMP library, which says it in other words")
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("wanted", [None, "ACTIVE"])
def test_waiting_threads_soon_sleep_unless_the_user_wants_something_else(start, wanted):
    """The OpenMP library says how often a waiting thread looks again. It is loaded with torch; later is too late."""
    ours = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    environ = {name: value for name, value in os.environ.items() if name not in ours}
    environ |= {"OMP_DISPLAY_ENV": "verbose"} | ({"OMP_WAIT_POLICY": wanted} if wanted else {})
    done = subprocess.run([sys.executable, *STARTS[start]], cwd=ROOT, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [spins] = re.findall(r"GOMP_SPINCOUNT = '(\d+)'", done.stdout + done.stderr)
    assert (int(spins) == 2000) is (wanted is None)


def test_core_imports_in_a_process_without_the_lessons_packages():
    modules = list(map(module_of, CORE))
    assert "metalab" in modules
    code = f"import sys, {', '.join(modules)}; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.splitlines()}
    assert "torch" in loaded
    assert loaded & {"matplotlib", "ipywidgets", "IPython", "higher", "torchopt"} == set()
