"""What a lesson's text claims of its numbers: checked wherever the lesson runs, and told to a reader in words.

claim(score.mean > 0.9, f"this run ended at {score.mean:.0%}; the text below speaks of about 94 %")
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...arguments import shown
from .reader import a_reader_watches, say


def claim(holds: bool, words: str, /) -> None:
    """Do nothing if a claim of the lesson holds. If it does not, tell a reader, and let the lesson go on.

    Where nobody watches, as in the tests of the lessons, a claim that does not hold is an error.

    Args:
        holds: whether the claim holds; a tensor with one truth value counts too.
        words: what came out, and what the text says, as a clause: "this run ended at 81 %; the text below speaks of
            about 94 %".

    Raises:
        TypeError: an argument has the wrong type.
        AssertionError: the claim does not hold, and nobody watches.
    """
    one = isinstance(holds, Tensor) and holds.dtype == torch.bool and holds.numel() == 1
    if not (one or isinstance(holds, bool | np.bool_)):
        raise TypeError(f"holds={shown(holds)} must be True or False")
    if not isinstance(words, str) or not words.strip():
        raise TypeError(f"words={shown(words)} must say what came out and what the text says")
    if holds:
        return
    if not a_reader_watches():
        raise AssertionError(words)
    say(
        f"This run came out differently: {words.strip().rstrip('.')}. That is no fault if you shortened or changed the "
        "training. The lesson goes on."
    )
