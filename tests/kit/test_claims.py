"""A claim that does not hold: words for a reader, an error for a test."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from metalab.lessons.kit import reader
from metalab.lessons.kit.claims import claim

WORDS = "this run ended at 81 %; the text below speaks of about 94"


def watched(monkeypatch, yes):
    """A kernel whose page can ask its reader for input, as JupyterLab and Colab say, or cannot, as nbclient says."""
    shell = SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=yes))
    monkeypatch.setattr(reader, "get_ipython", lambda: shell)


@pytest.mark.parametrize("watches", [True, False])
@pytest.mark.parametrize("holds", [True, np.float64(2) > 1, torch.tensor(2.0) > 1, torch.tensor([True])])
def test_a_claim_that_holds_says_nothing(holds, watches, monkeypatch, capsys):
    watched(monkeypatch, watches)
    assert claim(holds, WORDS) is None
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("fails", [False, np.float64(1) > 2, torch.tensor(1.0) > 2])
def test_a_reader_is_told_what_came_out_and_the_lesson_goes_on(fails, monkeypatch, capsys):
    watched(monkeypatch, True)
    claim(fails, f"{WORDS}.")
    out = capsys.readouterr().out
    assert " ".join(out.split()) == (
        f"This run came out differently: {WORDS}. That is no fault if you shortened or changed the training. "
        "The lesson goes on."
    )
    assert max(map(len, out.splitlines())) <= 88


def test_where_nobody_watches_it_is_an_error(monkeypatch):
    with pytest.raises(AssertionError, match=r"^this run ended at 81 %; the text below speaks of about 94$"):
        claim(False, WORDS)  # no notebook at all
    watched(monkeypatch, False)
    with pytest.raises(AssertionError, match=r"this run ended at 81 %"):
        claim(False, WORDS)


@pytest.mark.parametrize("holds", [None, 1, 0.0, "", [], WORDS, torch.tensor([True, False]), torch.tensor(1.0), print])
def test_what_is_no_truth_value_is_refused(holds):
    with pytest.raises(TypeError, match=r"holds=.* must be True or False"):
        claim(holds, WORDS)


@pytest.mark.parametrize("words", [None, 3, "", " ", ["x"]])
@pytest.mark.parametrize("holds", [True, False])
def test_a_claim_needs_words(holds, words):
    with pytest.raises(TypeError, match=r"words=.* must say"):
        claim(holds, words)
