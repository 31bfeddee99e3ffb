"""Files that are replaced as a whole, or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4


def replace_file(path: str | Path, data: bytes) -> None:
    """Write `data` to `path`, all or nothing: after a crash there is the old file or the new one, never a part of it.

    The folder is made if it does not exist. Several processes may replace one file at the same time; the last one wins.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid4().hex}.partial")
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
