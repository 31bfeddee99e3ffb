"""Let a notebook's kernel deliver what sliders send, while a cell runs that awaits.

A kernel takes one message after another, and a running cell is one. ipykernel 7.4 hands messages of widgets to a cell
that awaits, but does not tell the page that it has: the page, which sends a slider's next value only after the kernel
is done with the one before, would wait until the cell ends. So we tell it.

Before ipykernel 7, which Colab has, the messages themselves wait until the cell ends. There we take them from the
kernel's queue. (Its `do_one_iteration` will not do: it also runs the next cell inside this one, and leaves what this
one then prints to the slider's message, so that the page never sees it end.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from IPython import get_ipython

TURNS = 10  # of the event loop: a message needs several, and ten take a tenth of the shortest sleep, a millisecond


async def poll(seconds: float = 0.0) -> None:
    """Deliver the widgets' messages that have come in, let an interrupt come through, and sleep for so many seconds."""
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


@contextmanager
def _answered(kernel: Any) -> Iterator[None]:
    """Tell the page when the kernel is done with a widget's message, as it does when no cell runs."""
    handle = kernel.shell_handlers["comm_msg"]

    def handle_and_tell(stream: Any, ident: Any, message: dict[str, Any]) -> None:
        try:
            handle(stream, ident, message)
        finally:
            kernel._publish_status("idle", "shell", parent=message)

    kernel.shell_handlers["comm_msg"] = handle_and_tell
    try:
        yield
    finally:
        kernel.shell_handlers["comm_msg"] = handle


async def _deliver(kernel: Any) -> None:
    """What ipykernel 6 would do with the widgets' messages after this cell; all others stay in the queue."""
    kernel.shell_stream.flush()
    waiting = [kernel.msg_queue.get_nowait() for _ in range(kernel.msg_queue.qsize())]
    ours = [item for item in waiting if _is_of_widgets(kernel, item)]
    for item in waiting:
        if item not in ours:
            kernel.msg_queue.put_nowait(item)
    if not ours:
        return
    ident, parent, handler = kernel._parent_ident["shell"], kernel.get_parent("shell"), kernel.saved_sigint_handler
    try:
        while ours:
            _number, dispatch, arguments = ours.pop(0)
            await dispatch(*arguments)
    finally:  # an interrupt, too, leaves the kernel as this cell needs it, and loses no message
        kernel.set_parent(ident, parent, channel="shell")
        kernel.saved_sigint_handler = handler
        for item in ours:
            kernel.msg_queue.put_nowait(item)


def _is_of_widgets(kernel: Any, item: tuple) -> bool:
    """Whether a message of the queue opens, speaks to, closes or lists widgets."""
    _number, dispatch, arguments = item
    if dispatch != kernel.dispatch_shell:
        return False
    _identities, (_signature, header, *_rest) = kernel.session.feed_identities(arguments[0], copy=False)
    return kernel.session.unpack(header.bytes)["msg_type"].startswith("comm_")
