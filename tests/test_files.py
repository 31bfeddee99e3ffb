"""Files that are replaced as a whole, however many processes do it."""

import os
import stat
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

from metalab import files
from metalab.files import check_replaceable, replace_file

SIZE = 40_000
# Each of two processes runs this, with a letter of its own, until it is told to stop. A write takes its time here, so
# that the other process is certain to come in between.
SCRIPT = f"""
import sys
import time
from pathlib import Path
from metalab import files

fsync = files.os.fsync

def slowly(descriptor):
    time.sleep(0.004)
    fsync(descriptor)

files.os.fsync = slowly
letter, path, stop = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
while not stop.exists():
    files.replace_file(path, letter.encode() * {SIZE})
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


def test_a_file_keeps_its_permissions(tmp_path):
    path = tmp_path / "file"
    path.touch()
    for mode in (0o600, 0o640, 0o755):
        path.chmod(mode)
        replace_file(path, b"new")
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_new_file_has_the_permissions_of_any_other(tmp_path):
    (tmp_path / "ordinary").touch()
    replace_file(tmp_path / "file", b"")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_a_link_goes_on_pointing_to_its_file(tmp_path):
    (tmp_path / "folder").mkdir()
    link, file = tmp_path / "link", tmp_path / "folder" / "file"
    link.symlink_to(file)
    for content in (b"first", b"second"):  # the link points nowhere the first time
        replace_file(link, content)
        assert link.is_symlink()
        assert file.read_bytes() == content


def test_what_is_no_regular_file_is_written_to_in_place(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    replace_file(pipe, b"content")
    reader.join(10)
    assert read == [b"content"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    replace_file(os.devnull, b"content")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_nobody_can_plant_a_link_under_the_name_of_the_partial_file(tmp_path, monkeypatch):
    """Even if the name is guessed, what the link points to stays as it is."""
    monkeypatch.setattr(files, "token_hex", lambda _size: "guessed")
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / ".file.guessed.partial").symlink_to(tmp_path / "precious")
    with pytest.raises(FileExistsError):
        replace_file(tmp_path / "file", b"new")
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_the_content_is_on_the_disk_before_the_name(tmp_path, monkeypatch):
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: (order.append("content"), fsync(descriptor)))
    monkeypatch.setattr(files.os, "replace", lambda *paths: (order.append("name"), replace(*paths)))
    replace_file(tmp_path / "file", b"new")
    assert order == ["content", "name"]


def test_what_a_killed_process_left_is_removed_after_a_day_and_nothing_else(tmp_path):
    yesterday = time.time() - 25 * 3600
    old, new = (f".file.{digit * 32}.partial" for digit in "1f")
    names = [old, new, f".other.{'1' * 32}.partial", "file.partial", ".file.txt", ".file.of_the_user.partial"]
    for name in names:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (yesterday, yesterday))
    (tmp_path / names[1]).touch()  # of today: another process may be writing it
    replace_file(tmp_path / "file", b"new")
    assert {path.name for path in tmp_path.iterdir()} == {"file", *names[1:]}


@pytest.mark.parametrize("name", ["字" * 80, "x" * 255])
def test_a_long_name_is_no_hindrance(name, tmp_path):
    replace_file(tmp_path / name, b"content")
    assert (tmp_path / name).read_bytes() == b"content"


def test_whether_a_file_could_be_written_is_known_before(tmp_path):
    check_replaceable(tmp_path / "new" / "file")
    check_replaceable(os.devnull)
    (tmp_path / "old").write_bytes(b"old")
    check_replaceable(tmp_path / "old")
    assert (tmp_path / "old").read_bytes() == b"old"
    assert {path.name for path in tmp_path.rglob("*")} == {"old", "new"}
    with pytest.raises(IsADirectoryError, match="is a folder"):
        check_replaceable(tmp_path)
    with pytest.raises(FileExistsError):
        check_replaceable(tmp_path / "old" / "file")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="pipe is a pipe, a socket or a disk, and no file: name a file"):
        check_replaceable(tmp_path / "pipe")
    with pytest.raises(OSError, match="File name too long"):
        check_replaceable(tmp_path / ("x" * 4000))


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="there is no such name here")
def test_standard_output_keeps_what_was_written_to_it(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"old ")
    code = "from metalab.files import *; check_replaceable('/dev/stdout'); replace_file('/dev/stdout', b'new')"
    with log.open("ab") as file:
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=file, check=True)
    assert log.read_bytes() == b"old new"
