"""Files that are replaced as a whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from pathlib import Path
from secrets import token_hex

from . import arguments

ABANDONED = 24 * 3600  # seconds after which a partial file is taken to be left over from a process that was killed
BEGINNING = 40  # letters of a file's name that the name of its partial file begins with


def replace_file(path: str | Path, data: bytes) -> None:
    """Write `data` to `path`, all or nothing: after a crash there is the old file or the new one, never a part of it.

    The folder is made if it does not exist. A file that is replaced keeps its permissions, a link goes on pointing to
    its file, and what is no regular file (a terminal, a pipe) is written to in place. Several processes may replace one
    file at the same time; the last one wins. What a killed process left over is removed after a day.

    Raises:
        TypeError: `path` is no path, or `data` are no bytes.
        OSError: the file cannot be written.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"data={arguments.shown(data)} must be bytes")
    if _is_descriptor(path):
        with open(path, "ab") as file:  # what was written there before stays
            file.write(data)
        return
    path, before = _target(path)
    if before and not stat.S_ISREG(before.st_mode):
        path.write_bytes(data)
        return
    descriptor, partial = _new_partial(path)
    try:
        with open(descriptor, "wb") as file:
            if before:
                os.chmod(partial, stat.S_IMODE(before.st_mode))
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # or a power cut could leave the new name with none of its content
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _remove_abandoned(path)


def check_replaceable(path: str | Path) -> None:
    """Check that `replace_file` could write to `path`, before the work whose result goes there.

    A named pipe is rejected, because opening it would wait for a reader, perhaps for ever.

    Raises:
        TypeError: `path` is no path.
        OSError: it could not.
    """
    if _is_descriptor(path):
        return
    path, before = _target(path)
    if before and stat.S_ISDIR(before.st_mode):
        raise IsADirectoryError(f"{path} is a folder")
    if before and not (stat.S_ISREG(before.st_mode) or stat.S_ISCHR(before.st_mode)):
        raise OSError(f"{path} is a pipe, a socket or a disk, and no file: name a file")
    if not before or stat.S_ISREG(before.st_mode):
        descriptor, partial = _new_partial(path)
        os.close(descriptor)
        partial.unlink()


def _is_descriptor(path: str | Path) -> bool:
    """Tell whether a path stands for an open file, as /dev/stdout does."""
    arguments.path(path=path)
    for _ in range(40):  # as many links as the system follows
        folder = os.path.realpath(os.path.dirname(os.path.abspath(path)))
        if re.fullmatch(r"/proc/.*/fd|/dev/fd", folder):
            return True
        if not os.path.islink(path):
            return False
        path = os.path.join(folder, os.readlink(path))
    return False


def _target(path: str | Path) -> tuple[Path, os.stat_result | None]:
    """Return the path that a link stands for, and what is there; make its folder."""
    arguments.path(path=path)
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return path, path.stat()
    except FileNotFoundError:
        return path, None


def _new_partial(path: Path) -> tuple[int, Path]:
    """Create a new file beside `path`. Its name cannot be foreseen, so that nobody can plant a link there."""
    partial = path.with_name(f".{path.name[:BEGINNING]}.{token_hex(16)}.partial")
    return os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666), partial


def _remove_abandoned(path: Path) -> None:
    start, now = re.escape(f".{path.name[:BEGINNING]}."), time.time()
    with contextlib.suppress(OSError):  # another process may remove it first, or the folder may not be listed
        for other in os.scandir(path.parent):
            if re.fullmatch(rf"{start}[0-9a-f]{{32}}\.partial", other.name):
                is_old = now - other.stat(follow_symlinks=False).st_mtime > ABANDONED
                if is_old and other.is_file(follow_symlinks=False):
                    os.unlink(other)
