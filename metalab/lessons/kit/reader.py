"""Whether a reader watches, and how the kit speaks to one."""

from __future__ import annotations

import textwrap

from IPython import get_ipython

COLUMNS = 88  # as many as a notebook's page shows without a scroll bar


def a_reader_watches() -> bool:
    """Tell whether the page that runs this cell can ask its reader for input. nbclient and nbval say they cannot."""
    kernel = getattr(get_ipython(), "kernel", None)
    return bool(getattr(kernel, "_allow_stdin", False))


def say(text: str) -> None:
    """Print a text in lines that fit a notebook's page. The lines after the first are indented."""
    print(textwrap.fill(text, width=COLUMNS, subsequent_indent="  ", break_on_hyphens=False))
