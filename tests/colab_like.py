"""Run lessons as Colab would: each alone, in an empty folder, in a fresh environment that has no metalab.

python tests/colab_like.py build/colab-venv/bin/python build/colab/*.ipynb

Colab's own front end cannot be had: `google.colab` is a stand-in, and no browser shows the widgets.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CELL_TIMEOUT = 300  # seconds; for a cell that hangs
PURELIB = "import sysconfig; print(sysconfig.get_path('purelib'))"
CARRIED = re.compile(r"\s*[\w+/=]{100,}")  # a line of the package that a copy carries
STAND_IN = {  # the files of `google.colab`, with what lessons ask of it
    "__init__.py": "from . import output",
    "output.py": """
custom_widgets = False  # whether an output that is displayed now can have custom widgets


def enable_custom_widget_manager():
    global custom_widgets
    custom_widgets = True


def disable_custom_widget_manager():
    global custom_widgets
    custom_widgets = False
""",
}
NEW = {"metalab", "google"}  # what may lie in the environment afterwards, besides what its base has


def output_of(*command: object) -> str:
    return subprocess.run(map(str, command), check=True, capture_output=True, text=True).stdout.strip()


def environment(base: Path, folder: Path) -> Path:
    """Make in `folder` an environment with the packages of `base`'s, but for metalab; the path of its Python.

    `base` is the Python of a virtual environment. What is then installed goes to the new one, and `base` stays as it
    is. (An editable install of metalab there does not count: a .pth file is not read through another.)
    """
    output_of(base, "-m", "venv", "--without-pip", folder)
    python = folder / "bin/python"
    packages = Path(output_of(python, "-c", PURELIB))
    (packages / "google/colab").mkdir(parents=True)
    for name, source in STAND_IN.items():
        (packages / "google/colab" / name).write_text(source)
    (packages / "base.pth").write_text(f"{output_of(base, '-c', PURELIB)}\nimport google.colab\n")
    return python


def clean(environ: dict[str, str]) -> dict[str, str]:
    """`environ` without what would let a kernel see this checkout."""
    return {name: value for name, value in environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME")}


def run(base: Path, lesson: Path, folder: Path) -> list[str]:
    """Run `lesson` under nbval, alone in a new folder in `folder`, on the packages of `base`. What is wrong, in lines.

    Besides what nbval finds, it is wrong if the lesson did not bring its own metalab, or brought more.
    """
    python = environment(base, folder / "environment")
    kernel = {
        "argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Colab-like",
        "language": "python",
    }
    (folder / "jupyter/kernels/colab-like").mkdir(parents=True)
    (folder / "jupyter/kernels/colab-like/kernel.json").write_text(json.dumps(kernel))
    (folder / "alone").mkdir()
    shutil.copy(lesson, folder / "alone")
    nbval = ["--nbval", "--nbval-kernel-name=colab-like", f"--nbval-cell-timeout={CELL_TIMEOUT}", lesson.name]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={folder / 'alone'}", *nbval],
        cwd=folder / "alone",
        env=clean(os.environ) | {"JUPYTER_PATH": str(folder / "jupyter")},
        capture_output=True,
        text=True,
    )
    wrong = [line for line in done.stdout.splitlines() if not CARRIED.fullmatch(line)] if done.returncode else []
    packages = Path(output_of(python, "-c", PURELIB))
    names = {path.name.split("-")[0] for path in packages.iterdir() if path.suffix != ".pth"}
    if names != NEW:
        wrong.append(f"the environment now has {sorted(names)}, and should have {sorted(NEW)}")
    left = sorted(path.name for path in (folder / "alone").iterdir() if path.name != lesson.name)
    if left:
        wrong.append(f"it left files in its folder: {left}")
    return wrong


def main(arguments: list[str]) -> int:
    """Run the lessons, two at a time. Returns 0 when nothing is wrong with any, else 1."""
    base, lessons = Path(arguments[0]), [Path(lesson) for lesson in arguments[1:]]

    def timed(lesson: Path) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            wrong = run(base.absolute(), lesson, Path(folder))
            seconds = time.perf_counter() - start
        verdict = f"{lesson.stem:<32}{seconds:7.1f} s  {'failed' if wrong else 'passed'}"
        print("\n    ".join([verdict, *wrong]), flush=True)
        return not wrong

    with ThreadPoolExecutor(2) as pool:
        passed = list(pool.map(timed, lessons))
    print(f"{sum(passed)} passed, {len(lessons) - sum(passed)} failed")
    return 0 if lessons and all(passed) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
