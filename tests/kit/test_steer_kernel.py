"""Messages of sliders to a kernel whose cell is training: as JupyterLab and Colab send them, without a browser.

Each test runs in two kernels: the one installed here, and the one that Colab has, made by `make test-colab`. Where
that is missing its tests are skipped, unless METALAB_TEST_ALL is set.
"""

import asyncio
import os
import re
import sys
import time
from contextlib import ExitStack, suppress
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest
from jupyter_client.manager import KernelManager

from metalab.lessons.kit.steering import kernel as module

ROOT = Path(__file__).parents[2]
PYTHONS = {"local": Path(sys.executable), "colab": ROOT / "build/colab-venv/bin/python"}
PATIENCE = 60  # seconds; for a kernel that hangs

START = """
import torch
torch.set_num_threads(1)
from metalab.lessons.sine_regression import figures as lesson
panel = lesson.training_panel()
await panel.train(1_000_000)
"""


class Page:
    """What a page does: runs cells, moves sliders, presses buttons, and sees what comes back."""

    def __init__(self, manager, before=None):
        """`before` is the page that showed the notebook until now, while a cell was running."""
        self.client = manager.client()
        self.client.session = self.client.session.clone()
        self.client.session.session = uuid4().hex  # or two pages would give their messages the same ids
        self.client.start_channels()
        self.models, self.outputs, self.ended, self.steps = {}, {}, {}, None
        if before:
            self.models, self.outputs, self.ended = before.models, before.outputs, before.ended
        else:
            self.client.wait_for_ready(timeout=PATIENCE)

    def run(self, code):
        """Start a cell; its id."""
        # Without stop_on_error a kernel drops what comes in the moment after an error, as it does in a "Run All".
        cell = self.client.execute(code, stop_on_error=False)
        self.outputs[cell], self.ended[cell] = [], False
        return cell

    def look(self):
        """Take in one message."""
        message = self.client.get_iopub_msg(timeout=PATIENCE)
        kind, content = message["msg_type"], message["content"]
        parent = message["parent_header"].get("msg_id")
        if kind == "comm_open":
            self.models[content["comm_id"]] = dict(content["data"]["state"])
        elif kind == "comm_msg" and content["data"]["method"] == "update":
            state = content["data"]["state"]
            self.models.setdefault(content["comm_id"], {}).update(state)
            if found := re.match(r"<p>Meta-step (\d+)(?: of \d+)?:", str(state.get("value", ""))):
                self.steps = int(found[1])  # of the panel that trains
        elif kind in ("stream", "display_data", "error"):
            assert parent in self.outputs, f"{kind} belongs to no cell: {content}"
            self.outputs[parent].append(content)
        elif kind == "status" and content["execution_state"] == "idle" and parent in self.ended:
            self.ended[parent] = True

    def until(self, what):
        """Take in messages until `what()` holds."""
        end = time.monotonic() + PATIENCE
        while not what():
            assert time.monotonic() < end, "nothing came of it"
            self.look()

    def end(self, cell):
        """Wait for the end of a cell, and give its text."""
        self.until(lambda: self.ended[cell])
        for content in self.outputs[cell]:
            assert "traceback" not in content, "\n".join(content["traceback"])
        texts = [content.get("text") or content["data"]["text/plain"] for content in self.outputs[cell]]
        return "".join(texts)

    def value(self, code):
        return self.end(self.run(f"print({code})")).strip()

    def widgets(self, **state):
        """The widgets whose state has these values, the newest first."""
        return [comm for comm, has in reversed(self.models.items()) if state.items() <= has.items()]

    def send(self, comm, data):
        message = self.client.session.msg("comm_msg", {"comm_id": comm, "data": data})
        self.client.shell_channel.send(message)
        self.ended[message["header"]["msg_id"]] = False
        return message["header"]["msg_id"]

    def move(self, description, value, nth=0, kind="value"):
        comm = self.widgets(description=description)[nth]
        return self.send(comm, {"method": "update", "state": {kind: value}, "buffer_paths": []})

    def press(self, name, nth=0):
        self.send(self.widgets(description=name)[nth], {"method": "custom", "content": {"event": "click"}})

    def text(self):
        """All that the widgets say in words."""
        texts = (has.get("value") for has in self.models.values() if "HTML" in has.get("_model_name", ""))
        return " ".join(text for text in texts if text)

    def train(self, code=START):
        """Start a training, and wait until it goes."""
        cell = self.run(code)
        self.until(lambda: self.outputs[cell])  # the panel is displayed
        self.goes_on()
        return cell

    def goes_on(self):
        """Wait until a picture of a later step comes."""
        self.steps = None
        self.until(lambda: self.steps is not None)
        before = self.steps
        self.until(lambda: self.steps > before)


@pytest.fixture(scope="module", params=PYTHONS)
def kernel(request):
    python = PYTHONS[request.param]
    if not python.exists() and not os.environ.get("METALAB_TEST_ALL"):
        pytest.skip(f"no kernel at {python.relative_to(ROOT)}: make test-colab")
    manager = KernelManager()
    manager.kernel_spec.argv[0] = str(python)
    manager.kernel_spec.argv.append("--IPKernelApp.log_level=ERROR")
    manager.start_kernel(env=os.environ | {"PYTHONPATH": str(ROOT)}, cwd=str(ROOT))
    yield manager
    manager.shutdown_kernel(now=True)


@pytest.fixture
def page(kernel):
    page = Page(kernel)
    yield page
    if not all(page.ended.values()):  # a test failed: let the next one have a kernel that is free
        kernel.interrupt_kernel()
    page.client.stop_channels()


def test_it_is_the_kernel_meant(page, kernel):
    page.end(page.run("import ipykernel, ipywidgets, IPython"))
    versions = page.value("ipykernel.__version__, ipywidgets.__version__, IPython.__version__")
    if "colab" in kernel.kernel_spec.argv[0]:
        assert versions == "6.17.1 7.7.1 7.34.0"
    else:
        assert versions.startswith("7.4.")


def stopped(page):
    """Press Stop, and wait until the training has ended."""
    page.press("Stop")
    page.until(lambda: "Stopped at meta-step" in page.text())


def test_a_slider_reaches_the_training_that_runs_and_ends_its_cell(page):
    cell = page.train()
    page.move("outer learning rate", 0.05)
    page.until(lambda: "outer learning rate 0.0010 → 0.050" in page.text())
    page.end(cell)
    page.goes_on()  # between the cells
    page.move("inner steps", 2)
    page.move("meta-gradient", 1, kind="index")  # first order
    page.until(lambda: "order second → first" in page.text())
    page.goes_on()
    stopped(page)
    changes = page.value("[(c.name, c.value) for c in panel.history.changes]")
    assert changes.startswith("[('outer_lr', 0.05), ('inner_steps', 2)")


def test_the_page_is_told_that_a_message_was_taken(page):
    """It sends a slider's next value only then."""
    cell = page.train()
    for value in (0.002, 0.003, 0.004):
        sent = page.move("outer learning rate", value)
        page.until(lambda sent=sent: page.ended[sent])
    page.end(cell)
    stopped(page)
    sent = page.move("outer learning rate", 0.005)
    page.until(lambda: page.ended[sent])
    assert page.value("panel.driver.values['outer_lr']") == "0.005"


def test_a_fast_drag_leaves_no_backlog_and_the_last_value_wins(page):
    cell = page.train()
    for n in range(1, 301):
        page.move("outer learning rate", n * 1e-5)
    stopped(page)
    page.end(cell)
    assert page.value("panel.driver.values['outer_lr']") == "0.003"
    assert int(page.value("len(panel.history.changes)")) < 30


def test_stop_start_again_and_reset(page):
    cell = page.train()
    stopped(page)
    page.end(cell)
    at = int(re.findall(r"Stopped at meta-step (\d+)", page.text())[-1])
    page.move("outer learning rate", 0.02)
    page.until(lambda: "→ 0.020" in page.text())
    assert f"Meta-step {at}:" in page.text()
    page.press("Start")
    page.goes_on()
    assert page.steps > at
    page.press("Again")
    page.until(lambda: "From meta-step 0 again" in page.text())
    page.goes_on()
    stopped(page)
    assert page.value("panel.history.start['outer_lr'], panel.history.changes") == "0.02 []"
    assert int(page.value("len(panel.driver.earlier[-1].losses)")) > at
    page.press("Reset")
    page.until(lambda: "with the settings of the start" in page.text())
    assert page.value("panel.driver.steps, panel.driver.values['outer_lr']") == "0 0.001"


def test_cells_run_while_a_training_goes_on_between_them(page):
    page.end(page.run(START.replace("1_000_000", "10")))
    page.press("Start")
    page.goes_on()
    for _ in range(3):
        start = time.monotonic()
        assert page.end(page.run("print('a cell')")) == "a cell\n"
        assert time.monotonic() - start < 2
        page.goes_on()
    assert page.value("panel.driver.steps == (__import__('time').sleep(0.3), panel.driver.steps)[1]") == "True"
    waits = page.run("import asyncio\nawait asyncio.sleep(0.5)\nprint('waited')")
    page.goes_on()
    assert page.end(waits) == "waited\n"
    page.goes_on()
    stopped(page)
    assert page.value("panel._task") == "None"


def test_another_cell_waits_for_the_scripted_part_and_each_output_goes_to_its_own(page):
    cell = page.train()
    other = page.run("print('the next cell')")
    third = page.run("print('the third')")
    page.goes_on()
    assert not page.ended[other]
    assert page.outputs[other] == []
    stopped(page)
    assert "Stopped at meta-step" in page.end(cell)
    assert page.end(other) == "the next cell\n"
    assert page.end(third) == "the third\n"


def test_an_interrupt_ends_the_cell_and_the_kernel_lives_on(page, kernel):
    cell = page.train()
    kernel.interrupt_kernel()
    assert "what was trained is kept" in page.end(cell)
    steps = int(page.value("panel.driver.steps"))
    assert steps > 0
    assert page.value("len(panel.history.losses)") == str(steps)
    again = page.train("await panel.train(1_000_000)")
    assert page.steps > steps
    kernel.interrupt_kernel()
    page.end(again)
    # An ordinary cell can be interrupted as before, and a training between the cells lives on.
    page.press("Start")
    page.goes_on()
    endless = page.run("print('on')\nwhile True: pass")
    page.until(lambda: page.outputs[endless])
    kernel.interrupt_kernel()
    page.until(lambda: page.ended[endless])
    assert page.outputs[endless][-1]["ename"] == "KeyboardInterrupt"
    page.goes_on()
    stopped(page)


def test_an_interrupt_between_the_cells_ends_the_training_there(page, kernel):
    cell = page.train()
    page.press("Stop")
    page.end(cell)
    for _ in range(2):  # the second training can be interrupted as the first one was
        page.press("Start")
        page.goes_on()
        kernel.interrupt_kernel()
        page.until(lambda: "Interrupted at meta-step" in page.text())
        page.until(lambda: "what was trained is kept" in page.text())
        steps = page.value("panel.driver.steps")
        time.sleep(0.3)
        assert page.value("panel.driver.steps") == steps
        kernel.interrupt_kernel()  # with no training it is ignored, as it always was
    page.press("Start")
    page.goes_on()
    page.press("Stop")
    page.until(lambda: "Stopped at meta-step" in page.text())


def test_the_cell_run_again_continues(page):
    page.end(page.run(START.replace("1_000_000", "10")))
    page.press("Start")
    page.goes_on()
    steps = int(page.value("panel.driver.steps"))
    page.end(page.run("losses = await panel.train(20)"))
    assert int(page.value("len(losses)")) >= steps + 20
    assert page.value("panel._task, len(losses) == panel.driver.steps") == "None True"


def test_a_new_panel_has_nothing_of_the_one_before(page):
    first = page.train()
    stopped(page)
    page.end(first)
    second = page.train()
    page.move("outer learning rate", 0.3, nth=1)  # the old panel's
    page.press("Stop", nth=1)
    page.goes_on()
    assert not page.ended[second]
    page.press("Stop")
    page.end(second)
    assert page.value("panel.history.changes") == "[]"


def test_one_panel_trains_at_a_time(page):
    page.end(page.run("from metalab.lessons.sine_regression import figures as lesson"))
    page.end(page.run("first, second = lesson.training_panel(), lesson.training_panel()"))
    page.end(page.run("await first.train(3)"))
    page.press("Start", nth=1)
    page.goes_on()
    cell = page.train("await second.train(1_000_000)")
    page.until(lambda: "another panel trains now" in page.text())
    page.press("Start", nth=1)  # takes over from the cell
    page.end(cell)
    page.goes_on()
    assert page.value("second._state, first._state") == "stopped running"
    page.press("Stop", nth=1)
    page.until(lambda: "Stopped at meta-step" in page.text())


def test_a_page_that_is_closed_and_another_that_is_opened(page, kernel):
    cell = page.train()
    page.client.stop_channels()  # the training goes on without a page
    other = Page(kernel, before=page)
    after = other.run("print('after it')")
    other.goes_on()
    before = other.steps
    other.move("outer learning rate", 0.004)
    other.until(lambda: "→ 0.0040" in other.text())
    other.end(cell)
    assert other.end(after) == "after it\n"
    other.goes_on()
    stopped(other)
    assert int(other.value("panel.driver.steps")) > before
    again = other.train("await panel.train(1_000_000)")  # shows the panel in the new page
    other.press("Stop")
    assert "Stopped at meta-step" in other.end(again)
    other.client.stop_channels()


def test_a_divergence_stops_and_start_goes_on(page):
    cell = page.train()
    page.move("outer learning rate", 1.0)
    page.end(cell)
    page.until(lambda: "The training diverged" in page.text())
    assert "Move the outer learning rate to the left, then go on. Start trains on." in page.text()
    page.move("outer learning rate", 0.001)
    page.press("Start")
    page.goes_on()
    stopped(page)
    assert page.value("all(p.isfinite().all() for p in panel.driver.trainer.params.values())") == "True"


# The parts, without a kernel


class Kernel:
    """What `_answered` needs of ipykernel 7.4."""

    def __init__(self):
        self.handled, self.told = [], []
        self.own = lambda stream, ident, message: self.handled.append(message)
        self.shell_handlers = {"comm_msg": self.own}

    def _publish_status(self, status, channel, parent):
        self.told.append(parent)

    def receive(self, message):
        self.shell_handlers["comm_msg"](None, None, message)


@pytest.mark.parametrize("ends", [*permutations(range(3))])
@pytest.mark.parametrize("error", [None, KeyboardInterrupt, asyncio.CancelledError, ValueError])
def test_polls_may_end_in_any_order(ends, error):
    kernel = Kernel()
    polls = [ExitStack() for _ in range(3)]
    for number, poll in enumerate(polls):
        poll.enter_context(suppress(error or ()))
        poll.enter_context(module._answered(kernel))
        kernel.receive(f"after {number} began")
    for number in ends:
        polls[number].__exit__(error, error and error(), None)
        kernel.receive(f"after {number} ended")
    assert kernel.shell_handlers["comm_msg"] is kernel.own
    assert len(kernel.handled) == 6
    assert kernel.told == kernel.handled[:5], "each once, and none when the kernel tells the page itself"


def test_a_handler_that_somebody_else_puts_on_top_stays():
    kernel = Kernel()
    with module._answered(kernel):
        ours = kernel.shell_handlers["comm_msg"]
        kernel.shell_handlers["comm_msg"] = theirs = lambda *arguments: ours(*arguments)
    assert kernel.shell_handlers["comm_msg"] is theirs
    kernel.receive("a message")
    assert kernel.handled == ["a message"]
    assert kernel.told == [], "nobody polls"
    kernel.shell_handlers["comm_msg"] = ours  # they go; ours is left over
    with module._answered(kernel):
        kernel.receive("another")
    assert kernel.told == ["another"]
    assert kernel.shell_handlers["comm_msg"] is kernel.own


def test_the_page_is_told_of_a_message_whose_handler_raises():
    kernel = Kernel()
    kernel.shell_handlers["comm_msg"] = failing = lambda stream, ident, message: 1 / 0
    with module._answered(kernel), pytest.raises(ZeroDivisionError):
        kernel.receive("a message")
    assert kernel.told == ["a message"]
    assert kernel.shell_handlers["comm_msg"] is failing


class OldKernel:
    """What `_deliver` needs of ipykernel 6: `dispatch_shell` first waits, and then handles the message."""

    def __init__(self, messages):
        self.msg_queue = asyncio.Queue()
        for message in messages:
            self.put(message)
        self.shell_stream = SimpleNamespace(flush=lambda: None)
        self.saved_sigint_handler = "of the cell"
        self._parent_ident = {"shell": "of the cell"}
        self.parent = "of the cell"
        self.handled, self.cancel_at = [], None

    def put(self, message):
        self.msg_queue.put_nowait((0, self.dispatch_shell, [message]))

    def get_parent(self, channel):
        return self.parent

    def set_parent(self, ident, parent, channel):
        self._parent_ident["shell"] = ident
        self.parent = parent

    async def dispatch_shell(self, message):
        for _ in range(3):
            await asyncio.sleep(0)
        if message == self.cancel_at:
            self.cancel_at = None
            raise asyncio.CancelledError
        self.set_parent(message, message, "shell")
        self.saved_sigint_handler = f"before {message}"
        self.handled.append(message)


@pytest.fixture
def all_ours(monkeypatch):
    monkeypatch.setattr(module, "_is_of_widgets", lambda kernel, item: not item[2][0].startswith("other"))


def as_the_cell_needs_it(kernel):
    of = "of the cell"
    return (kernel.parent, kernel._parent_ident["shell"], kernel.saved_sigint_handler) == (of, of, of)


def test_two_deliveries_at_once_leave_the_cell_its_parent(all_ours):
    async def both():
        kernel = OldKernel(["a", "other 1", "b", "c"])

        async def poll(turns):
            for _ in range(turns):
                await module._deliver(kernel)
                await asyncio.sleep(0)
                kernel.put(f"more {turns}")

        await asyncio.gather(poll(3), poll(5), poll(8))
        await module._deliver(kernel)
        return kernel

    kernel = asyncio.run(both())
    assert as_the_cell_needs_it(kernel)
    assert kernel.handled[:3] == ["a", "b", "c"]
    assert len(kernel.handled) == 3 + 3 + 5 + 8
    assert kernel.msg_queue.qsize() == 1, "the cell that waits"


def test_a_message_at_which_an_interrupt_comes_is_handled_later(all_ours):
    async def interrupted():
        kernel = OldKernel(["a", "b", "c"])
        kernel.cancel_at = "b"
        with pytest.raises(asyncio.CancelledError):
            await module._deliver(kernel)
        assert as_the_cell_needs_it(kernel)
        await module._deliver(kernel)
        return kernel

    kernel = asyncio.run(interrupted())
    assert kernel.handled == ["a", "b", "c"]
    assert as_the_cell_needs_it(kernel)
