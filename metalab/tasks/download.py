"""Download a published file: several addresses, deadlines, retries, a progress bar, and a check of its checksum."""

from __future__ import annotations

import hashlib
import http.client
import io
import re
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

from .. import arguments

TIMEOUT = 20.0  # seconds without a byte after which a try is given up
SLOWEST = 16_000  # bytes per second that a server must send on average, once TIMEOUT is over
DEADLINE = 600.0  # seconds after which an address is given up, whatever it has sent
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
    without a network does not wait. No server can hold the download for ever: TIMEOUT, SLOWEST and DEADLINE limit how
    long an address may take.

    Args:
        name: the file's name in the progress bar and in the error. The bar shows on a terminal and in a notebook only.
        addresses: the addresses, of http or https, in the order in which they are tried.
        md5: the checksum that the file's author published. Bytes that do not match it are never returned.
        at_most: the largest number of bytes that an address may send, with its headers; an address that sends more is
            given up.

    Raises:
        DownloadFailed: no address gave the file.
        TypeError, ValueError: one of the arguments is of a wrong type, or cannot be used.
    """
    _check(name, addresses, md5, at_most)
    tried = []
    for address in addresses:
        deadline = time.monotonic() + DEADLINE
        for pause in (*PAUSES, None):
            try:
                data = _get(name, address, at_most, deadline)
                found = hashlib.md5(data, usedforsecurity=False).hexdigest()
                if found != md5:
                    raise ValueError(f"sent a wrong file, its MD5 is {found} and not {md5}")
                return data
            except (OSError, http.client.HTTPException, ValueError) as fault:
                if pause is None or time.monotonic() + pause > deadline or not _is_passing(fault):
                    tried.append(f"{address}: {_in_words(fault)}")
                    break
                time.sleep(pause)
    raise DownloadFailed(name, tried)


def _check(name: object, addresses: object, md5: object, at_most: object) -> None:
    """Raise a TypeError or a ValueError if `fetch` cannot use its arguments."""
    if not isinstance(name, str):
        raise TypeError(f"name={arguments.shown(name)} must be a string")
    if not isinstance(addresses, Sequence) or not all(isinstance(address, str) for address in addresses):
        raise TypeError(f"addresses={arguments.shown(addresses)} must be a list of strings")
    if isinstance(addresses, str) or not all(re.match("https?://", address) for address in addresses) or not addresses:
        raise ValueError(f"addresses={arguments.shown(addresses)} must be a list of addresses of http or https")
    if not isinstance(md5, str):
        raise TypeError(f"md5={arguments.shown(md5)} must be a string")
    if not re.fullmatch("[0-9a-f]{32}", md5):
        raise ValueError(f"md5={arguments.shown(md5)} must be 32 hexadecimal digits in lower case")
    arguments.whole(at_most=at_most)


class _Limited(io.RawIOBase):
    """What a connection receives, as long as it comes fast enough, is not too much, and comes before the deadline.

    A time-out of the socket alone is not enough, because it begins anew with every byte. So does one between the
    pieces of the file, because a server can drip its headers too.

    Args:
        connection: the connected socket.
        at_most: the largest number of bytes.
        deadline: the time, by time.monotonic(), after which nothing is read.
    """

    def __init__(self, connection: socket.socket, at_most: int, deadline: float) -> None:
        self._socket, self._raw = connection, connection.makefile("rb", buffering=0)
        self._at_most, self._deadline = at_most, deadline
        self._begun, self._count = time.monotonic(), 0

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return a file that reads from this. It is what http.client asks a socket for."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Receive some bytes into the buffer, and return how many.

        Raises:
            TimeoutError: they come too slowly or too late.
            ValueError: they are too many.
        """
        now = time.monotonic()
        left = min(TIMEOUT, self._begun + TIMEOUT + self._count / SLOWEST - now, self._deadline - now)
        try:
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            received = self._raw.readinto(buffer)
        except TimeoutError:
            taken = time.monotonic() - self._begun
            raise TimeoutError(f"is too slow, it sent {self._count:,} bytes in {taken:.0f} seconds") from None
        self._count += received or 0
        if self._count > self._at_most:
            raise ValueError(f"sent more than {self._at_most:,} bytes")
        return received

    def close(self) -> None:
        """Close the connection's file."""
        self._raw.close()
        super().close()


class _Handler(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """Opens http and https so that all that a connection receives is limited, from the first byte of its headers."""

    def __init__(self, at_most: int, deadline: float) -> None:
        super().__init__()
        self._limits = at_most, deadline

    def do_open(self, http_class: Any, request: urllib.request.Request, **options: Any) -> Any:
        """Open the request by connections whose answers read from `_Limited`."""

        def answer(connection: socket.socket, **options: Any) -> http.client.HTTPResponse:
            return http.client.HTTPResponse(_Limited(connection, *self._limits), **options)  # type: ignore[arg-type]

        def connect(*args: Any, **options: Any) -> http.client.HTTPConnection:
            connection = http_class(*args, **options)
            connection.response_class = answer
            return connection

        return super().do_open(connect, request, **options)


def _open(address: str, at_most: int, deadline: float) -> Any:
    """Send a request to an address, and return the answer. Redirects are followed, to http and https only."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        _Handler(at_most, deadline),
        urllib.request.ProxyHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener.open(urllib.request.Request(address, headers={"User-Agent": "metalab"}), timeout=TIMEOUT)


def _get(name: str, address: str, at_most: int, deadline: float) -> bytes:
    """Return what one address sends, and show the progress meanwhile.

    Raises:
        ValueError: the address sends more than `at_most` bytes.
        OSError, HTTPException: the connection fails, is too slow, or ends early.
    """
    visible = sys.stderr.isatty() or "ipykernel" in sys.modules
    data, line = bytearray(), ""
    try:
        with _open(address, at_most, deadline) as answer:
            size = answer.length  # None where the server does not say
            while piece := answer.read1(1 << 16):
                data += piece
                if visible and (new := _bar(name, len(data), size)) != line:
                    line = new
                    print(f"\r{line}", end="", file=sys.stderr, flush=True)
    finally:
        if line:
            print(f"\r{' ' * len(line)}\r", end="", file=sys.stderr, flush=True)
    if size is not None and len(data) < size:
        raise ConnectionError(f"ended after {len(data):,} of {size:,} bytes")
    return bytes(data)


def _bar(name: str, done: int, size: int | None) -> str:
    """Return the progress bar, in whole percent: so the line changes a hundred times, and not with every packet."""
    if not size:
        return f"{name}  {done / 1e6:.0f} MB"
    percent = 100 * done // size
    return f"{name}  [{'#' * (percent // 5):<20}] {percent:3d} % of {size / 1e6:.1f} MB"


def _in_words(fault: Exception) -> str:
    """Return a fault in one line. A server can write into it, so that it must not steer a terminal or fill a screen."""
    unreached = isinstance(fault, urllib.error.URLError) and not isinstance(fault, urllib.error.HTTPError)
    text = f"could not be reached: {fault.reason}" if unreached else str(fault)
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return line if len(line) <= 200 else f"{line[:200]}…"


def _is_passing(fault: Exception) -> bool:
    """Tell whether the same address may give the file if it is tried again in a moment."""
    if isinstance(fault, urllib.error.HTTPError):
        return fault.code in PASSING
    if isinstance(fault, urllib.error.URLError | http.client.InvalidURL):  # there was no connection at all
        return False
    return isinstance(fault, TimeoutError | ConnectionError | http.client.HTTPException)
