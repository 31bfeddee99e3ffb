"""What a kernel says of an interrupted cell, and of later ones: which to run again.

tests/lessons/test_interrupts.py asks it of the lessons.
"""

import re

import pytest
from test_steer_kernel import kernel as kernel
from test_steer_kernel import page as page

from metalab.lessons.kit.interrupts import INTERRUPTED, TOO_SHORT, Interrupts, targets

READY = "from metalab.lessons.kit import setup; setup.ready('02_omniglot_few_shot'); results = {}"
# One statement prints and waits: between two, IPython itself is interrupted, while it compiles the second.
SCORE = "import time\nresults['score'] = print('it scores', flush=True) or time.sleep({})\nbest = 3"


def error_of(page, code, kernel=None):
    """The name of the error in which a cell ends, and what is shown of it in one line; a kernel to interrupt."""
    cell = page.run(code)
    if kernel:
        page.until(lambda: page.outputs[cell])
        kernel.interrupt_kernel()
    page.until(lambda: page.ended[cell])
    shown = page.outputs[cell][-1]
    return shown["ename"], " ".join("\n".join(shown["traceback"]).split())


def test_a_cell_that_lacks_something_says_which_cell_to_run_again(page, kernel):
    for _ in range(2):  # a reader may run the set-up twice
        page.end(page.run(READY))
    assert error_of(page, SCORE.format(60), kernel) == ("KeyboardInterrupt", INTERRUPTED)
    name, words = error_of(page, "doubled = 2 * results['score']")
    assert name == "KeyError"
    number = re.search(r"\[(\d+)\]", words)[1]
    assert words == (
        f"KeyError: 'score' This cell seems to need what is missing from cell [{number}], which was interrupted "
        "(`import time`). Run that cell again, and then this one."
    )
    name, words = error_of(page, "def twice(): return doubled + best\ntwice()")  # which lacks something of both
    assert (name, len(re.findall(r"\[\d+\]", words))) == ("NameError", 2)
    assert "those cells, in this order, again" in words
    page.end(page.run(SCORE.format(0)))
    assert page.value("results['score'], best") == "None 3"
    for wrong, kind in (("1 / 0", "ZeroDivisionError"), ("best[0]", "TypeError"), ("1 +", "SyntaxError")):
        name, words = error_of(page, wrong)  # errors of a reader's own are shown as ever
        assert name == kind
        assert "again" not in words
        assert wrong[:3] in re.sub(r"\x1b\[[\d;]*m", "", words)


def test_what_a_cell_assigns_is_found():
    code = "import a.b, c as d\nfrom e import f\nx, *y = 1, 2\nr['k'] = z.q = 0\ndef g(): pass\nfor i in y: pass"
    assert targets(code) == {"a", "d", "f", "x", "y", "r['k']", "z.q", "g", "i"}
    assert targets("losses = await panel.train(3)") == {"losses"}


def test_a_training_that_was_interrupted_and_kept_is_named_only_if_a_cell_fails_for_it():
    interrupts = Interrupts(shorter=True)
    assert interrupts.note("losses = train()", 7, None) == ""
    assert interrupts.note("1 / 0", 8, ZeroDivisionError()) == ""
    space = {"__name__": "__main__", "losses": []}
    with pytest.raises(ValueError, match="max") as caught:
        exec("max(losses)", space)
    words = interrupts.note("max(losses)", 9, caught.value)
    assert "cell [7], which was interrupted while it trained (`losses = train()`)" in words
    interrupts.shorter = True
    assert interrupts.note("max(train())", 10, ValueError()) == TOO_SHORT
    assert interrupts.note("losses = train()", 11, None) == ""
    assert "losses" not in interrupts.missing
