"""Fetch a published file: several addresses, time-outs, retries, a progress bar, and its checksum at the end."""

from __future__ import annotations

import hashlib
import http.client
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence

TIMEOUT = 20.0  # seconds without a byte before a try is given up
PAUSES = (1.0, 4.0)  # seconds before the second and the third try at one address
PASSING = {408, 429, 500, 502, 503, 504}  # HTTP answers that may be better in a moment


class DownloadFailed(OSError):
    """No address gave the file; `tried` has a line for each, with its reason."""

    def __init__(self, name: str, tried: list[str]):
        super().__init__("\n  ".join([f"{name} could not be downloaded:", *tried]))
        self.tried = tried


def fetch(name: str, addresses: Sequence[str], *, md5: str, at_most: int) -> bytes:
    """The bytes of a published file, from the first address that gives exactly them.

    A passing fault (time-out, cut connection, overloaded server) is tried again after a pause. A wrong file, a 404
    or a server out of reach is not: the next address is asked, so without a network the answer comes at once.

    Args:
        name: what the progress bar and the error call it. The bar shows on a terminal and in a notebook only.
        addresses: where to ask, in this order.
        md5: the checksum its author published; bytes that do not match are never returned.
        at_most: give up on an address that sends more bytes than this.

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
    """In whole percent, so that a new line is printed a hundred times and not once a packet."""
    if not size:
        return f"{name}  {done / 1e6:.0f} MB"
    percent = 100 * done // size
    return f"{name}  [{'#' * (percent // 5):<20}] {percent:3d} % of {size / 1e6:.1f} MB"


def _is_passing(fault: Exception) -> bool:
    if isinstance(fault, urllib.error.HTTPError):
        return fault.code in PASSING
    if isinstance(fault, urllib.error.URLError):  # never got as far as a connection
        return False
    return isinstance(fault, TimeoutError | ConnectionError | http.client.HTTPException)
