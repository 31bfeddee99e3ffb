"""Let a notebook's kernel deliver the sliders' messages while a cell runs and awaits something.

A kernel handles one message after another, and a running cell is one of these messages. ipykernel 7.4 handles the
messages of widgets while a cell awaits, but it does not tell the page that they were handled. The page sends a slider's
next value only after the kernel has finished with the one before, so it would wait until the cell ends. Therefore we
tell the page ourselves.

Before ipykernel 7, for example on Colab, the messages themselves wait until the cell ends. There we take them from the
kernel's queue. (The kernel's `do_one_iteration` is no help. It also runs the next cell inside this one, and afterwards
it attributes to the slider's message what this cell prints, so that the page never sees this cell end.)
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from IPython import get_ipython

# A message needs several turns of the event loop. Ten turns take a tenth of the shortest sleep, which is 1 ms.
TURNS = 10

_delivering = False  # whether a poll is handing out messages; two at once would mix up whose message the kernel handles


async def poll(seconds: float = 0.0) -> None:
    """Deliver the widgets' messages that have come in, let an interrupt through, and sleep for some seconds.

    Outside a notebook there is no page to wait for, so that it returns without sleeping.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    if hasattr(kernel, "msg_queue") and hasattr(kernel, "do_one_iteration"):
        await _deliver(kernel)
        await asyncio.sleep(seconds)
    elif kernel:
        with _answered(kernel):
            for _ in range(TURNS):
                await asyncio.sleep(0)
            await asyncio.sleep(seconds)
    else:
        await asyncio.sleep(0)


async def breathe() -> None:
    """Let the kernel do what it has to do while a task trains between the cells, such as run the next cell.

    An interrupt that comes while no cell runs, which the kernel ignores, cancels the task. It cancels it at its next
    await, so that no meta-step is left half done.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so it is between the cells; within one the cell is meant
        task = asyncio.current_task()
        signal.signal(signal.SIGINT, lambda _signal, _frame: task.cancel())
    for _ in range(TURNS):
        await asyncio.sleep(0)


def ignore_interrupts_again() -> None:
    """Leave an interrupt that comes while no cell runs to the kernel, which ignores it, after a task has ended."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def trains_between_cells() -> bool:
    """Tell whether a task of a notebook's kernel can go on when its cell has ended, and show what it does.

    In Colab, whose page does not show what a task does between the cells, it cannot.
    """
    return getattr(get_ipython(), "kernel", None) is not None and "google.colab" not in sys.modules


class _Answers:
    """A kernel's handler of widgets' messages. While a cell polls, it also tells the page when a message is handled.

    Args:
        kernel: the kernel.
        handle: the kernel's own handler.
    """

    def __init__(self, kernel: Any, handle: Callable[..., Any]) -> None:
        self.kernel, self.handle = kernel, handle
        self.polls = 0  # how many polls of this moment need it; several trainings can run in one cell

    def __call__(self, stream: Any, ident: Any, message: dict[str, Any]) -> Any:
        try:
            return self.handle(stream, ident, message)
        finally:
            if self.polls:  # otherwise the kernel tells the page itself
                self.kernel._publish_status("idle", "shell", parent=message)


@contextmanager
def _answered(kernel: Any) -> Iterator[None]:
    """Tell the page when the kernel has finished with a widget's message, as the kernel does when no cell runs.

    Polls that overlap share one handler. The last of them to end gives the kernel's own handler back, whichever it is.
    """
    handlers = kernel.shell_handlers
    ours = handlers["comm_msg"]
    if not isinstance(ours, _Answers):
        ours = _Answers(kernel, ours)
    ours.polls += 1
    try:
        handlers["comm_msg"] = ours
        yield
    finally:
        ours.polls -= 1
        if not ours.polls and handlers["comm_msg"] is ours:
            handlers["comm_msg"] = ours.handle


async def _deliver(kernel: Any) -> None:
    """Handle the widgets' messages as ipykernel 6 would after this cell. All other messages stay in the queue."""
    global _delivering
    if _delivering:  # for another training in this cell: it hands out the messages of all widgets
        return
    kernel.shell_stream.flush()
    waiting = [kernel.msg_queue.get_nowait() for _ in range(kernel.msg_queue.qsize())]
    ours = [item for item in waiting if _is_of_widgets(kernel, item)]
    for item in waiting:
        if item not in ours:
            kernel.msg_queue.put_nowait(item)
    if not ours:
        return
    ident, parent, handler = kernel._parent_ident["shell"], kernel.get_parent("shell"), kernel.saved_sigint_handler
    _delivering = True
    try:
        while ours:
            _number, dispatch, arguments = ours[0]
            await dispatch(*arguments)  # an interrupt comes before the message is handled, so that it has to stay
            del ours[0]
    finally:  # after an interrupt too, the kernel is as this cell needs it, and no message is lost
        _delivering = False
        kernel.set_parent(ident, parent, channel="shell")
        kernel.saved_sigint_handler = handler
        for item in ours:
            kernel.msg_queue.put_nowait(item)


def _is_of_widgets(kernel: Any, item: tuple) -> bool:
    """Tell whether a message in the queue opens, addresses, closes or lists widgets."""
    _number, dispatch, arguments = item
    if dispatch != kernel.dispatch_shell:
        return False
    _identities, (_signature, header, *_rest) = kernel.session.feed_identities(arguments[0], copy=False)
    return kernel.session.unpack(header.bytes)["msg_type"].startswith("comm_")
