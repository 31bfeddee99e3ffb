"""Download a published file: several addresses, time-outs, retries, a progress bar, and a check of its checksum."""

from __future__ import annotations

import hashlib
import http.client
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence

TIMEOUT = 20.0  # seconds without a byte after which a try is given up
PAUSES = (1.0, 4.0)  # seconds before the second and the third try at one address
PASSING = {408, 429, 500, 502, 503, 504}  # HTTP statuses of faults that may pass in a moment


class DownloadFailed(OSError):
    """No address gave the file. `tried` has one line for each address, with the reason."""

    def __init__(self, name: str, tried: list[str]):
        super().__init__("\n  ".join([f"{name} could not be downloaded:", *tried]))
        self.tried = tried


def fetch(name: str, addresses: Sequence[str], *, md5: str, at_most: int) -> bytes:
    """Return the bytes of a published file, from the first address that gives exactly these bytes.

    After a passing fault (a time-out, a cut connection, an overloaded server), the same address is tried again after a
    pause. After a wrong file, a 404 or a server out of reach, the next address is tried at once, so that a machine
    without a network does not wait.

    Args:
        name: the file's name in the progress bar and in the error. The bar shows on a terminal and in a notebook only.
        addresses: the addresses, in the order in which they are tried.
        md5: the checksum that the file's author published. Bytes that do not match it are never returned.
        at_most: the largest number of bytes that an address may send; an address that sends more is given up.

    Raises:
        DownloadFailed: no address gave the file.
    """
    tried = []
    for address in addresses:
        for pause in (*PAUSES, None):
            try:
                data = _get(name, address, at_most)
                found = hashlib.md5(data, usedforsecurity=False).hexdigest()
                if found != md5:
                    raise ValueError(f"sent a wrong file, its MD5 is {found} and not {md5}")
                return data
            except (OSError, http.client.HTTPException, ValueError) as fault:
                if pause is None or not _is_passing(fault):
                    tried.append(f"{address}: {fault}")
                    break
                time.sleep(pause)
    raise DownloadFailed(name, tried)


def _get(name: str, address: str, at_most: int) -> bytes:
    """Return what one address sends, and show the progress meanwhile.

    Raises:
        ValueError: the address sends more than `at_most` bytes.
        OSError, HTTPException: the connection fails, or ends early.
    """
    visible = sys.stderr.isatty() or "ipykernel" in sys.modules
    request = urllib.request.Request(address, headers={"User-Agent": "metalab"})
    data, line = bytearray(), ""
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            size = answer.length  # None where the server does not say
            while piece := answer.read1(1 << 16):
                data += piece
                if len(data) > at_most:
                    raise ValueError(f"sent more than {at_most:,} bytes")
                if visible and (new := _bar(name, len(data), size)) != line:
                    line = new
                    print(f"\r{line}", end="", file=sys.stderr, flush=True)
    finally:
        if line:
            print(f"\r{' ' * len(line)}\r", end="", file=sys.stderr, flush=True)
    if size is not None and len(data) < size:
        raise http.client.IncompleteRead(bytes(data), size - len(data))
    return bytes(data)


def _bar(name: str, done: int, size: int | None) -> str:
    """Return the progress bar, in whole percent: so the line changes a hundred times, and not with every packet."""
    if not size:
        return f"{name}  {done / 1e6:.0f} MB"
    percent = 100 * done // size
    return f"{name}  [{'#' * (percent // 5):<20}] {percent:3d} % of {size / 1e6:.1f} MB"


def _is_passing(fault: Exception) -> bool:
    """Tell whether the same address may give the file if it is tried again in a moment."""
    if isinstance(fault, urllib.error.HTTPError):
        return fault.code in PASSING
    if isinstance(fault, urllib.error.URLError):  # there was no connection at all
        return False
    return isinstance(fault, TimeoutError | ConnectionError | http.client.HTTPException)
