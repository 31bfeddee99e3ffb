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
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from IPython import get_ipython

# A message needs several turns of the event loop. Ten turns take a tenth of the shortest sleep, which is 1 ms.
TURNS = 10


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


@contextmanager
def _answered(kernel: Any) -> Iterator[None]:
    """Tell the page when the kernel has finished with a widget's message, as the kernel does when no cell runs."""
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
    """Handle the widgets' messages as ipykernel 6 would after this cell. All other messages stay in the queue."""
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
    finally:  # after an interrupt too, the kernel is as this cell needs it, and no message is lost
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
