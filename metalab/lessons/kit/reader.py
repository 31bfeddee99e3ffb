"""Whether a reader sits in front of the page that runs a lesson."""

from __future__ import annotations

from IPython import get_ipython


def a_reader_watches() -> bool:
    """Tell whether the page that runs this cell can ask its reader for input. nbclient and nbval say they cannot."""
    kernel = getattr(get_ipython(), "kernel", None)
    return bool(getattr(kernel, "_allow_stdin", False))
