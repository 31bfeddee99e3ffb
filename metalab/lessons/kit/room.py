"""How much room a page has for a panel's picture, and how fine its screen is.

A small script in the page tells it, where the package `anywidget` is installed. Without it, and in Colab, whose page
shows a widget with a script only after a call that breaks other widgets, a picture is drawn for a page that is wide
enough and has one dot for each pixel, and a narrower page makes it smaller.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import ipywidgets as widgets
import traitlets

try:
    import anywidget
except ImportError:
    anywidget = None

WIDEST = 900  # CSS pixels: a wider picture would be too high for a screen, together with its controls
TALLEST = 0.55  # of the height of the window
LOWEST = 220  # CSS pixels: a lower picture shows nothing, however low the window is
NARROW = 420  # CSS pixels of a panel: on a narrower one, a slider stands below its name and not next to it
FINEST = 2.0  # dots for a pixel: more of them take longer to draw than they show

# It tells its width and the window's height, which change with the page, and the screen's fineness, which changes with
# the zoom and with the screen. A change is told when the page has been at rest for a tenth of a second.
SCRIPT = """
function render({ model, el }) {
  let waiting = 0;
  const tell = () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      if (!el.isConnected || !el.clientWidth) return;
      model.set("page", [el.clientWidth, window.innerHeight, window.devicePixelRatio]);
      model.save_changes();
    }, 100);
  };
  const size = new ResizeObserver(tell);
  size.observe(el);
  window.addEventListener("resize", tell);
  tell();
  return () => { size.disconnect(); window.removeEventListener("resize", tell); clearTimeout(waiting); };
}
export default { render };
"""

# What is on the page for all panels. A dark page turns a picture's colours over, and keeps their hues.
STYLE = f"""<style>
.metalab-picture {{
  max-width: min(100%, {WIDEST}px); max-height: {100 * TALLEST:g}vh; height: auto;
  object-fit: contain; object-position: left top;
}}
[data-jp-theme-light="false"] .metalab-picture, html[theme="dark"] .metalab-picture {{
  filter: invert(0.93) hue-rotate(180deg);
}}
.metalab-grid {{ display: grid; gap: 2px 16px; }}
.metalab-panel .widget-html-content {{ line-height: 1.4; }}
.metalab-panel p {{ margin: 2px 0; }}
.metalab-panel {{ container-type: inline-size; }}
.metalab-panel .widget-checkbox {{ height: auto; }}
.metalab-panel .widget-label-basic {{ white-space: normal; height: auto; line-height: 1.4; }}
@container (max-width: {NARROW}px) {{
  .metalab-panel .widget-hslider {{ flex-wrap: wrap; height: auto; max-width: 100%; }}
  .metalab-panel .widget-hslider > .widget-label {{ width: 100% !important; text-align: left; }}
  .metalab-panel .widget-checkbox > .widget-label {{ display: none; }}
  .metalab-panel .widget-toggle-buttons {{ max-width: 100%; }}
}}
.jp-OutputArea-child:has(.metalab-live) + .jp-OutputArea-child:has(.jp-RenderedImage) {{ display: none; }}
</style>"""


if anywidget is not None:

    class _Probe(anywidget.AnyWidget):
        """Tells in `page` the width of the panel, the height of the window, and the dots for each pixel."""

        _esm = SCRIPT
        page = traitlets.List().tag(sync=True)


class Room:
    """The room for a panel's picture, as the page tells it.

    Args:
        changed: is called when the page tells that it has another size.

    Attributes:
        widget: belongs on the page, as wide as the picture may be.
    """

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self.page: tuple[float, float, float] | None = None
        self._changed = changed
        if anywidget is None or "google.colab" in sys.modules:
            self.widget = widgets.HTML(STYLE)
        else:
            probe = _Probe(layout=widgets.Layout(width="100%", height="0px"))
            probe.observe(self._told, names="page")
            self.widget = widgets.VBox([widgets.HTML(STYLE, layout=widgets.Layout(height="0px", margin="0")), probe])
            self.widget.layout.width = "100%"

    def _told(self, change: dict) -> None:
        try:
            width, height, ratio = (float(number) for number in change["new"])
        except (TypeError, ValueError):
            return
        if not all(math.isfinite(number) for number in (width, height, ratio)):
            return
        page = max(1.0, 20 * (width // 20)), max(1.0, height), min(FINEST, max(1.0, ratio))
        if page != self.page:  # a scroll bar that comes and goes changes nothing
            self.page = page
            self._changed()

    def size(self, width: float, height: float) -> tuple[float, float, float]:
        """Return the place for a picture that was made for `width` × `height` CSS pixels.

        Returns:
            The width and the height of the place in CSS pixels, and the dots for each of them.
        """
        if self.page is None:
            return width, height, 1.0
        room, window, ratio = self.page
        return min(width, room, WIDEST), min(height, max(LOWEST, TALLEST * window)), ratio
