"""Files that are replaced as a whole, however many processes do it."""

import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from metalab import files
from metalab.files import replace_file

SIZE = 40_000
# Each of two processes runs this, with a letter of its own, until it is told to stop. A write takes its time here, so
# that the other process is certain to come in between.
SCRIPT = f"""
import sys
import time
from pathlib import Path
from metalab.files import replace_file

def slowly(path, data):
    with open(path, "wb", buffering=0) as file:
        for start in range(0, len(data), 10_000):
            file.write(data[start : start + 10_000])
            time.sleep(0.001)

Path.write_bytes = slowly
letter, path, stop = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
while not stop.exists():
    replace_file(path, letter.encode() * {SIZE})
"""
ROOT = Path(__file__).parents[1]


def test_a_new_file_in_a_new_folder(tmp_path):
    path = tmp_path / "new" / "folder" / "file"
    replace_file(str(path), b"content")
    assert path.read_bytes() == b"content"
    assert list(path.parent.iterdir()) == [path]


def test_the_old_file_stays_where_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    path = tmp_path / "file"
    replace_file(path, b"old")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_processes_that_replace_one_file_leave_a_whole_one_and_nothing_else(tmp_path):
    path, stop = tmp_path / "there" / "file", tmp_path / "stop"
    command = [sys.executable, "-W", "error", "-c", SCRIPT]
    writers = [
        subprocess.Popen([*command, letter, path, stop], cwd=ROOT, stderr=subprocess.PIPE, text=True) for letter in "ab"
    ]
    contents = []
    try:
        deadline = time.monotonic() + 60
        # Until each has taken the other's place ten times, they write at the same time.
        while sum(a != b for a, b in pairwise(contents)) < 20:
            assert time.monotonic() < deadline, "the two did not write at the same time"
            assert all(writer.poll() is None for writer in writers), "a writer has given up"
            if path.exists():
                found = path.read_bytes()
                assert found in (b"a" * SIZE, b"b" * SIZE), "a part of a file, or of two"
                contents.append(found[:1])
    finally:
        stop.touch()
        told = [writer.communicate(timeout=60)[1] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0], told
    assert path.read_bytes() in (b"a" * SIZE, b"b" * SIZE)
    assert list(path.parent.iterdir()) == [path]
