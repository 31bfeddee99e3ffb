"""Run a reader's function so that nothing it does outlives the run: no setting, no output, no endless loop."""

from __future__ import annotations

import contextlib
import gc
import inspect
import io
import os
import random
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import numpy as np
import torch

AGAIN = 0.001  # seconds between two attempts to stop a function that catches what should stop it


class OutOfTime(BaseException):
    """The time limit is over. This is no `Exception`, so that an `except Exception` in the function lets it through."""


class TimeLimit:
    """The time that a reader's function may take, in all its calls together.

    A signal ends a call, which ends a sleep too. Where there is none (on Windows, and outside the main thread), each
    line of Python that is executed compares the clock. Neither can stop one single long call of compiled code.

    Args:
        seconds: the time.
    """

    def __init__(self, seconds: float) -> None:
        self._left = seconds

    def run(self, function: Callable, arguments: tuple) -> Any:
        """Call the function.

        Raises:
            OutOfTime: the time is over.
        """
        start = time.monotonic()
        try:
            with _alarm(self._left):
                return _run(function, arguments)
        finally:
            self._left = max(self._left - (time.monotonic() - start), AGAIN)


def _run(function: Callable, arguments: tuple) -> Any:
    """Call the function. What ends it may be raised below this frame only, and never in our own code."""
    return function(*arguments)


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise `OutOfTime` in what `_run` calls, once this context has lasted for some seconds."""
    if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():

        def handle(_number: int, frame: FrameType | None) -> None:
            if _below_run(frame):
                raise OutOfTime

        handler = signal.signal(signal.SIGALRM, handle)
        timer = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, *timer)
            signal.signal(signal.SIGALRM, handler)
    else:
        end = time.monotonic() + seconds

        def trace(frame: FrameType, _event: str, _argument: object) -> Callable:
            if time.monotonic() > end and _below_run(frame):
                raise OutOfTime
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            yield
        finally:
            sys.settrace(before)


def _below_run(frame: FrameType | None) -> bool:
    while frame:
        if frame.f_code is _run.__code__:
            return True
        frame = frame.f_back
    return False


class Printed(io.StringIO):
    """What a function prints. It cannot be closed, because functions have been seen that close standard output."""

    def close(self) -> None:
        """Stay open."""


@contextlib.contextmanager
def nothing_leaks(function: Callable) -> Iterator[Printed]:
    """Run with Python's, numpy's and PyTorch's usual settings, and put everything back as it was afterwards.

    The context yields what goes to standard output meanwhile. Objects that are changed in place stay changed.
    """
    printed = Printed()
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    numpy = np.random.get_state()  # noqa: NPY002 (the reader may use it)
    python = random.getstate()
    with settings_kept(function), torch.random.fork_rng(devices=gpus), torch.enable_grad(), warnings.catch_warnings():
        sys.stdout, sys.stderr = printed, Printed()  # the warnings of a library are not the reader's
        _as_in_a_fresh_process()
        try:
            yield printed
        finally:
            np.random.set_state(numpy)  # noqa: NPY002
            random.setstate(python)


@contextlib.contextmanager
def settings_kept(function: Callable) -> Iterator[None]:
    """Put back settings, standard streams, the folder, the environment, and the global names that a function sees."""
    known = getattr(inspect.unwrap(function), "__globals__", {})
    names, environment, folder = dict(known), dict(os.environ), os.getcwd()
    streams, filters = (sys.stdin, sys.stdout, sys.stderr), list(warnings.filters)
    figures = set(_open_figures())
    before = [get() for get, _set in _SETTINGS]
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = streams
        for (get, put), value in zip(_SETTINGS, before, strict=True):
            if get() != value:
                put(value)
        if warnings.filters != filters:
            warnings.filters[:] = filters
        for number in set(_open_figures()) - figures:
            sys.modules["matplotlib.pyplot"].close(number)
        if os.getcwd() != folder:
            os.chdir(folder)
        if os.environ != environment:
            os.environ.clear()
            os.environ.update(environment)
        for name in known.keys() - names.keys():
            del known[name]
        known.update(names)


def _as_in_a_fresh_process() -> None:
    """Take the settings that the lessons are written for, and seed the global generators, so that verdicts repeat."""
    torch.set_default_dtype(torch.float32)
    _set_device(torch.device("cpu"))
    torch.set_deterministic_debug_mode(0)
    torch.autograd.set_detect_anomaly(False)
    torch.set_num_threads(1)  # the checks' numbers are few, and a second thread would only wait
    torch.default_generator.manual_seed(0)  # not torch.manual_seed, which would seed the GPUs too
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 (the reader may use it)
    warnings.simplefilter("default")


def _set_device(device: torch.device) -> None:
    # Naming the CPU would install a mode that slows every call down; None is the same device without one.
    if torch.get_default_device() != device:
        torch.set_default_device(None if device.type == "cpu" else device)


def _open_figures() -> list[int]:
    pyplot = sys.modules.get("matplotlib.pyplot")
    return pyplot.get_fignums() if pyplot else []


# Pairs of functions, of which one returns a setting and the other one puts it back.
_SETTINGS: list[tuple[Callable[[], Any], Callable[[Any], Any]]] = [
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_default_device, _set_device),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    (
        lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        lambda modes: torch.autograd.set_detect_anomaly(*modes),
    ),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    (torch._tensor_str.get_printoptions, lambda options: torch.set_printoptions(**options)),
    (np.get_printoptions, lambda options: np.set_printoptions(**options)),
    (np.geterr, lambda modes: np.seterr(**modes)),
    (sys.getrecursionlimit, sys.setrecursionlimit),
    (lambda: signal.getsignal(signal.SIGINT), lambda handler: signal.signal(signal.SIGINT, handler)),
    (gc.isenabled, lambda enabled: gc.enable() if enabled else gc.disable()),
]
