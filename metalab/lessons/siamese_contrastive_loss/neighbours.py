"""A panel that shows which drawings an embedding considers most similar to one that the reader picks, uploads or makes.

A picture from outside is first made to look like Omniglot's drawings, because the network has seen nothing else: it is
drawn with one pen, has a usual size and lies near the middle, with ink 1 on paper 0. The pad is a custom widget and
needs the package anywidget.
"""

from __future__ import annotations

import html
import io
import sys
import textwrap
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module

import ipywidgets as widgets
import numpy as np
import torch
import torch.nn.functional as F
import traitlets
from matplotlib.collections import PatchCollection
from matplotlib.patches import Rectangle
from PIL import Image, ImageDraw, ImageFilter, ImageOps, UnidentifiedImageError
from torch import Tensor

from ...arguments import function, shapes, shown, whole
from ...learners.siamese import distances
from ...tasks import Characters
from ..kit.canvas import Canvas
from ..kit.figures import BLUE, GREEN, GREY, TEXT, TITLE, VERMILION, WIDTH, Label, figure, plural
from ..kit.panels import LivePicture, cause, panel_box, show_widget, slider

try:
    import anywidget
except ImportError:
    anywidget = None

# Pillow decodes these formats by itself. For some others it starts other programs.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
# A small file can claim any number of pixels. The photographs of most telephones have 12 million, those of some 24.5.
# Decoding 25 million takes up to half a gigabyte of memory. A picture with more lines than SIDE takes more.
PIXELS, SIDE = 25_000_000, 2**16
SCANS = 100  # a progressive JPEG has about 10 scans; each of them takes as long as the whole picture
LARGEST = 1680  # pixels: larger pictures are reduced to this, which is 4 times the dots needed
FAINTEST = 32  # of 255: if the strongest contrast is less, the picture shows no drawing
POINTS = 20_000  # of the strokes on the pad, which come in with every new point: drawing without a pause for 5 minutes

# Omniglot's paper is 105 pixels wide. Here each of these pixels has 4 x 4 dots, so each of our 28 x 28 has 15 x 15.
DOTS, PER_PIXEL = 420, 15
# These are in dots. Of Omniglot's background drawings, 99 % lie in each of the first two ranges, and 98 % in the third.
SIZES, MIDDLE_SIZE = (24 * 4, 97 * 4), 68 * 4  # the longer side of the ink's bounding box, and its median
CENTRES = (35 * 4, 66.5 * 4)  # the centre of the ink's bounding box
STROKES = (3.7 * 4, 5.6 * 4)  # the width of long lines: twice the area of the ink divided by the length of its edge
PEN = 5 * 4  # the pen of Omniglot's author is a square of 5 x 5 pixels


def as_drawing(picture: bytes) -> Tensor:
    """Turn an image file of any size, dark on light or light on dark, into a drawing like Omniglot's.

    The longer side of the picture becomes the side of the paper. If the drawing has a size or a place that Omniglot
    does not have, it is scaled to Omniglot's median size and moved to the middle. If its strokes have another width,
    they are drawn again with Omniglot's pen.

    Args:
        picture: the content of a PNG, JPEG, GIF, BMP, WebP or TIFF file.

    Returns:
        The drawing, float32 [1, 28, 28], with 0 for paper and 1 for ink.

    Raises:
        TypeError: the content is not made of bytes.
        ValueError: the content is no such file, is damaged, has more than PIXELS pixels, or shows no drawing.
    """
    if not isinstance(picture, bytes | bytearray | memoryview):
        raise TypeError(f"picture={shown(picture)} must be the bytes of a file")
    grey = _read(picture)
    # Light falls unevenly on a photograph. So ink is what differs from its surroundings, which are mostly paper.
    surroundings = grey.filter(ImageFilter.BoxBlur(max(grey.size) // 4))
    contrast = np.asarray(surroundings, np.float32) - np.asarray(grey, np.float32)
    if (contrast**3).mean() < 0:  # the few pixels that differ most are lighter, so the ink is light
        contrast = -contrast
    if contrast.max() < FAINTEST:
        raise ValueError("the picture is blank, or its ink too faint")
    return _like_omniglot(Image.fromarray(contrast.clip(0).astype(np.uint8)))


def drawing_of(strokes: list[list[list[float]]]) -> Tensor:
    """Turn strokes into a drawing like Omniglot's: float32 [1, 28, 28], with 0 for paper and 1 for ink.

    Args:
        strokes: each is a list of points (x, y) from 0 to 1, where y points down.

    Raises:
        ValueError: these are no strokes, there is no point or there are more than POINTS, a point lies outside the
            paper, or the paper is inked all over.
    """
    if not _are_lists(strokes) or not all(map(_are_lists, strokes)):
        raise ValueError(f"strokes={shown(strokes)} must be a list of strokes, each a list of points (x, y)")
    count = sum(map(len, strokes))
    if not count:
        raise ValueError("strokes has no point: nothing is drawn")
    if count > POINTS:
        raise ValueError(f"the strokes have {count:,} points, and {POINTS:,} are the most: press Clear or Undo")
    for stroke in strokes:
        for point in stroke:
            if len(point) != 2 or not all(type(n) in (int, float) and 0 <= n <= 1 for n in point):
                raise ValueError(f"strokes has the point {shown(point)}: it must be (x, y) with numbers in 0 … 1")
    paper = Image.new("L", (DOTS, DOTS))
    draw = ImageDraw.Draw(paper)
    for stroke in strokes:
        line = [(x * (DOTS - 1), y * (DOTS - 1)) for x, y in stroke]
        draw.line(line, fill=1)
        draw.point(line, fill=1)  # `line` draws nothing for a single point
    return _like_omniglot(Image.fromarray(_draw_again(np.asarray(paper) > 0).astype(np.uint8) * 255))


def _are_lists(value: object) -> bool:
    """Tell whether a value is a list of lists. A tuple counts as a list."""
    return isinstance(value, list | tuple) and all(isinstance(each, list | tuple) for each in value)


def _read(picture: bytes) -> Image.Image:
    """Read an image file as grey levels, upright, with transparent parts as paper.

    A picture with too many pixels is refused before it is decoded. Any other is made small as early as possible, so
    that few large copies exist at a time.

    Raises:
        ValueError: the content is no image file, is damaged, has too many pixels, or is blank.
    """
    with _words_for_damage(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of what we check here ourselves, and of oddities in the file
        opened = Image.open(io.BytesIO(picture), formats=FORMATS)  # reads the size, and no pixel
        tags = getattr(opened, "tag_v2", {})  # a tile of a TIFF can be larger than the picture
        if max(opened.width * opened.height, tags.get(322, 1) * tags.get(323, 1)) > PIXELS or max(opened.size) > SIDE:
            raise Image.DecompressionBombError
        if opened.format in ("JPEG", "MPO") and bytes(picture).count(b"\xff\xda") > SCANS:
            raise OSError(f"it has more than {SCANS} scans")
        opened.draft("RGB", (LARGEST, LARGEST))  # so that a JPEG is not decoded at more pixels than needed
        if opened.mode.startswith(("I", "F")):  # more than 8 bits, which Pillow would cut off at 255
            opened = opened.convert("F")
        elif opened.mode != "RGBA":
            opened = opened.convert("RGBA")
        opened.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
        opened = ImageOps.exif_transpose(opened)
        if opened.mode == "F":
            levels = np.asarray(opened, np.float64)
            if not np.isfinite(levels).all():
                raise OSError("some of its levels are no finite numbers")
            levels = (levels - levels.min()) / max(np.ptp(levels), 1)
            opened = Image.fromarray((levels * 255).astype(np.uint8)).convert("RGBA")
    grey, opacity = opened.convert("L"), opened.getchannel("A")
    weight = np.asarray(opacity, np.float64)
    if not weight.any():
        raise ValueError("the picture is blank: all of it is transparent")
    level = (np.asarray(grey) * weight).sum() / weight.sum()
    # If little is opaque, that is the ink, and paper is the opposite. Otherwise paper is like most of the picture.
    paper = level if weight.mean() > 127 else 255 * (level < 128)
    return Image.composite(grey, Image.new("L", grey.size, round(paper)), opacity)


@contextmanager
def _words_for_damage() -> Iterator[None]:
    """Turn what Pillow raises into a ValueError that says what is wrong with a file."""
    try:
        yield
    except Image.DecompressionBombError:
        most = f"{PIXELS // 1_000_000} million pixels, and {SIDE:,} on a side,"
        raise ValueError(f"the picture is too large: {most} are the most. Make it smaller first") from None
    except UnidentifiedImageError as error:
        raise ValueError(f"this file is no picture; it can be {', '.join(FORMATS)}") from error
    except Exception as error:  # for a damaged file, Pillow can raise nearly any error
        raise ValueError(f"the picture is damaged: {error or type(error).__name__}") from error


def _like_omniglot(contrast: Image.Image) -> Tensor:
    """Return the drawing [1, 28, 28] of a picture that tells how much each pixel differs from paper, 0 … 255.

    Raises:
        ValueError: all of the picture is alike.
    """
    side = max(contrast.size)
    ink = _ink(contrast, contrast.width / 2, contrast.height / 2, side)
    (left, right), (top, bottom) = (
        (lines[0], lines[-1] + 1) for lines in map(np.flatnonzero, (ink.any(0), ink.any(1)))
    )
    size, x, y = max(right - left, bottom - top), (left + right) / 2, (top + bottom) / 2
    if not all(low <= value <= high for value, (low, high) in [(size, SIZES), (x, CENTRES), (y, CENTRES)]):
        dot = side / DOTS
        x, y = (contrast.width - side) / 2 + x * dot, (contrast.height - side) / 2 + y * dot
        ink = _ink(contrast, x, y, size * dot * DOTS / MIDDLE_SIZE)
    low, high = STROKES
    if not low <= _stroke_width(ink) <= high:
        ink = _draw_again(_thin(ink))
    blocks = torch.from_numpy(ink).float().view(28, PER_PIXEL, 28, PER_PIXEL)
    return blocks.mean((1, 3))[None]


def _ink(contrast: Image.Image, x: float, y: float, side: float) -> np.ndarray:
    """Return where the ink is in the square of `side` pixels around the pixel (x, y): bool [420, 420].

    Raises:
        ValueError: all of the square is alike.
    """
    left, top, side = round(x - side / 2), round(y - side / 2), max(1, round(side))
    cut = contrast.crop((left, top, left + side, top + side))  # there is paper outside the picture
    levels = np.asarray(cut.resize((DOTS, DOTS), Image.Resampling.BOX), np.float64)
    if levels.min() == levels.max():
        raise ValueError("all of the paper is alike, inked or not, so that there is no drawing on it")
    # The threshold moves to midway between mean ink and mean paper (Ridler & Calvard 1978). It comes from below, so
    # that faint ink counts as ink.
    threshold = levels.mean()
    for _ in range(20):
        ink = levels > threshold
        threshold = (levels[ink].mean() + levels[~ink].mean()) / 2
    return levels > threshold


def _stroke_width(ink: np.ndarray) -> float:
    """Return the mean width of the strokes in dots: twice the area of the ink divided by the length of its edge."""
    edges = sum(np.diff(np.pad(ink, 1), axis=axis).sum() for axis in (0, 1))
    return 2 * ink.sum() / edges


# The eight dots around a dot, as (row, column). Rows go down, columns to the right.
AROUND = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))


def _removable() -> tuple[np.ndarray, np.ndarray]:
    """Return two tables [256] that tell whether a dot of ink may be removed.

    The index has one bit for each of the eight dots AROUND it, which is set where the dot is ink. A dot may be removed
    if it lies at the edge of a stroke (in the first table below or on the right, in the second above or on the left),
    if it is not the end of a stroke, and if its neighbours stay connected without it.
    """
    ring = (np.arange(256)[:, None] >> np.arange(8)) & 1
    neighbours = ring.sum(1)
    pieces = ((ring == 0) & (np.roll(ring, -1, 1) == 1)).sum(1)
    up, right, down, left = ring[:, ::2].T
    loose = (neighbours >= 2) & (neighbours <= 6) & (pieces == 1)
    return loose & ~(right & down & (up | left) > 0), loose & ~(up & left & (right | down) > 0)


def _thin(ink: np.ndarray) -> np.ndarray:
    """Thin strokes to lines that are one dot wide and lie in their middle: bool [H, W] to bool [H, W].

    The algorithm is that of Zhang & Suen, "A fast parallel algorithm for thinning digital patterns", Communications of
    the ACM 27 (1984).
    """
    height, width = ink.shape
    ink = np.pad(ink, 1).astype(np.uint8)
    inner = ink[1:-1, 1:-1]  # a view, so that a change of it changes `ink`
    tables = _removable()
    while True:
        before = inner.sum()
        for removable in tables:
            code = sum(ink[1 + y : 1 + y + height, 1 + x : 1 + x + width] << k for k, (y, x) in enumerate(AROUND))
            rows, columns = np.nonzero(removable[code] & (inner > 0))
            inner[rows, columns] = 0
            # The four dots of a small square would all be removed at once. Dots that nothing is left of stay.
            left = sum(ink[1 + y + rows, 1 + x + columns] for y, x in AROUND)
            inner[rows[left == 0], columns[left == 0]] = 1
        if inner.sum() == before:
            return inner > 0


def _draw_again(line: np.ndarray) -> np.ndarray:
    """Draw lines that are one dot wide again with Omniglot's pen: bool [H, W] to bool [H, W]."""
    wide = torch.from_numpy(line).float()[None]
    for window in ((PEN + 1, 1), (1, PEN + 1)):  # an odd number keeps the line in the middle
        wide = F.max_pool2d(wide, window, stride=1, padding=[n // 2 for n in window])
    return wide[0].numpy() > 0


PAD_STYLE = """
.metalab-pad { width: 300px; }
.metalab-pad canvas { width: 224px; height: 224px; border: 1px solid #6E6E6E; background: white; touch-action: none;
  margin: 4px 0; }
.metalab-pad canvas:focus { outline: 3px solid #0072B2; }
.metalab-pad button { margin-right: 8px; padding: 4px 12px; }
"""

# The strokes are stored in the model. Every change is drawn from there and sent to the kernel. While the kernel is
# busy, the widget manager holds changes back and sends only the last one.
PAD_SCRIPT = """
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const STEP = 1 / 28;
const SIDE = 224;

function render({ model, el }) {
  el.classList.add("metalab-pad");
  el.innerHTML = `
    <div>Draw with mouse, finger or pen; or with the arrow keys, and Space to put the pen down and to lift it.</div>
    <canvas width="${SIDE}" height="${SIDE}" tabindex="0" role="application" aria-label="drawing pad: arrow keys move
    the pen, Space puts it down and lifts it"></canvas>
    <div><button type="button">Undo</button><button type="button">Clear</button><span role="status"></span></div>`;
  const [canvas, status] = [el.querySelector("canvas"), el.querySelector("[role=status]")];
  const [undo, clear] = el.querySelectorAll("button");
  // Otherwise a key is also a shortcut of JupyterLab: pressing d twice would delete the cell.
  for (const control of [canvas, undo, clear]) control.dataset.lmSuppressShortcuts = "true";
  const ink = canvas.getContext("2d");
  const held = new Set();
  let pen = [0.5, 0.5];
  let down = false; // whether the keyboard's pen is down

  const strokes = () => model.get("strokes");
  function change(next) {
    model.set("strokes", next);
    model.save_changes();
  }
  const start = (point) => change([...strokes(), [point]]);
  const go_on = (point) => change([...strokes().slice(0, -1), [...strokes().at(-1), point]]);
  const inside = (number) => Number(Math.min(1, Math.max(0, number)).toFixed(4));

  function draw() {
    ink.clearRect(0, 0, SIDE, SIDE);
    ink.lineWidth = model.get("pen") * SIDE;
    ink.lineCap = ink.lineJoin = "round";
    for (const stroke of strokes()) {
      ink.beginPath();
      ink.moveTo(stroke[0][0] * SIDE, stroke[0][1] * SIDE);
      for (const [x, y] of stroke) ink.lineTo(x * SIDE, y * SIDE);
      ink.stroke();
    }
    const focused = canvas === document.activeElement;
    status.textContent = focused ? (down ? "pen down" : "pen up") : "";
    if (!focused) return;
    ink.lineWidth = 2;
    ink.strokeStyle = ink.fillStyle = "#D55E00"; // the keyboard's pen: a ring, and a disc when down
    ink.beginPath();
    ink.arc(pen[0] * SIDE, pen[1] * SIDE, 5, 0, 7);
    ink.stroke();
    if (down) ink.fill();
    ink.strokeStyle = "black";
  }

  function at(event) {
    const box = canvas.getBoundingClientRect();
    return [inside((event.clientX - box.left) / box.width), inside((event.clientY - box.top) / box.height)];
  }
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    down = false;
    pen = at(event);
    start(pen);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!canvas.hasPointerCapture(event.pointerId)) return;
    pen = at(event);
    go_on(pen);
  });

  canvas.addEventListener("keydown", (event) => {
    if (event.key === " ") {
      if (!event.repeat) down = !down;
      if (!event.repeat && down) start(pen);
    } else if (event.key in KEYS) {
      held.add(event.key);
      const steps = [...held].map((key) => KEYS[key]);
      pen = pen.map((number, axis) => inside(number + STEP * steps.reduce((sum, step) => sum + step[axis], 0)));
      if (down) go_on(pen);
    } else return;
    event.preventDefault(); // otherwise the page scrolls
    draw();
  });
  canvas.addEventListener("keyup", (event) => held.delete(event.key));
  canvas.addEventListener("focus", draw);
  canvas.addEventListener("blur", () => {
    down = false;
    held.clear();
    draw();
  });

  undo.addEventListener("click", () => change(strokes().slice(0, -1)));
  clear.addEventListener("click", () => change([]));
  model.on("change:strokes", draw);
  draw();
  return () => model.off("change:strokes", draw);
}

export default { render };
"""

if anywidget is not None:

    class Pad(anywidget.AnyWidget):
        """A small paper to draw on with mouse, finger, pen or keyboard. `drawing_of` takes its `strokes`."""

        _esm = PAD_SCRIPT
        _css = PAD_STYLE
        strokes = traitlets.List().tag(sync=True)
        pen = traitlets.Float(PEN / DOTS).tag(sync=True)  # its width, as a share of the width of the paper


@contextmanager
def _custom_widgets() -> Iterator[None]:
    """Let what is displayed inside have custom widgets. They need no help but in Colab.

    There, the outputs that are displayed meanwhile get a manager of widgets that comes from elsewhere. It is switched
    off again, because it cannot show some of the core widgets (github.com/googlecolab/colabtools/issues/3571).
    """
    output = import_module("google.colab.output") if "google.colab" in sys.modules else None
    if output:
        output.enable_custom_widget_manager()
    try:
        yield
    finally:
        if output:
            output.disable_custom_widget_manager()


def _make_pad() -> widgets.Widget:
    """Return a pad, or a text that says why there can be none here."""
    if anywidget is None:
        return widgets.HTML("A pad to draw on appears here where the package <code>anywidget</code> is installed.")
    try:
        with _custom_widgets():  # in Colab, anywidget would switch them on for good
            return Pad()
    except Exception as error:
        if "google.colab" not in sys.modules:
            raise
        why = f"A pad to draw on cannot be shown in this Colab ({html.escape(cause(error))})."
        return widgets.HTML(f"{why} Upload a picture, or use the sliders.")


def uploaded(value: dict | tuple) -> tuple[str, bytes]:
    """Return name and content of the file in a `FileUpload`'s value: {name: file} in ipywidgets 7, (file,) in 8."""
    name, file = next(iter(value.items())) if isinstance(value, dict) else (value[0]["name"], value[0])
    return name, bytes(file["content"])


class Table:
    """A picture of one drawing, and to its right those that are nearest to it, with words above and below each.

    All drawings are one image, and only what changes is drawn again, because an answer on axes of its own for each
    drawing took six times as long.

    Args:
        count: how many drawings are nearest.
        title: the title of the picture.
    """

    ABOVE, BELOW, GAP = 0.66, 0.3, 0.16  # inches: the room for words, and between two drawings

    def __init__(self, count: int, title: str) -> None:
        columns = min(count, 5)
        lines = -(-count // columns)
        width = WIDTH / (1 + columns)
        side = min(width - self.GAP, 1.15)
        height = self.ABOVE + side + self.BELOW  # of a line
        fig, ax = figure(height=lines * height + 0.35)
        fig.set_layout_engine(None)
        ax.set_position((0, 0, 1, lines * height / (lines * height + 0.35)))
        ax.axis("off")
        fig.suptitle(title, fontsize=TITLE)
        # In the image, a pixel of a drawing is a pixel.
        inch = 28 / side
        self._shape = round(lines * height * inch), round(WIDTH * inch)
        extent = (0, self._shape[1] / inch, self._shape[0] / inch, 0)
        self._image = ax.imshow(np.ones(self._shape), cmap="gray", vmin=0, vmax=1, extent=extent, aspect="auto")
        self._corners, self._above, self._below, frames = [], [], [], []
        for i in range(1 + count):
            column, line = (0, 0) if i == 0 else (1 + (i - 1) % columns, (i - 1) // columns)
            y, x = (round(each * inch) for each in (line * height + self.ABOVE, column * width + (width - side) / 2))
            self._corners.append((y, x))
            left, top = x / inch, y / inch
            frames.append(Rectangle((left, top), side, side))
            words = {"ha": "center", "fontsize": TEXT}
            self._above.append(ax.add_artist(Label(left + side / 2, top - 0.05, va="bottom", **words)))
            self._below.append(ax.add_artist(Label(left + side / 2, top + side + 0.05, va="top", **words)))
        ax.set(xlim=(0, WIDTH), ylim=(lines * height, 0))  # in inches
        self._frames = ax.add_collection(PatchCollection(frames, facecolors="none", linewidths=3), autolim=False)
        self.canvas = Canvas(fig, [self._image, self._frames, *self._above, *self._below], rigid=True)

    def put(self, drawings: Tensor, above: list[str], below: list[str], frames: list[str]) -> None:
        """Show other drawings [1 + count, 28, 28], with words above and below each, and a frame of some colour."""
        picture = np.ones(self._shape, np.float32)
        for (y, x), drawing in zip(self._corners, drawings.numpy(), strict=True):
            picture[y : y + 28, x : x + 28] = 1 - drawing
        self._image.set_data(picture)
        for text, words in zip(self._above, above, strict=True):
            text.set_text(textwrap.fill(words, 14))
        for text, words in zip(self._below, below, strict=True):
            text.set_text(words)
        self._frames.set_edgecolor(frames)


class Neighbours:
    """A panel with the drawings of a gallery that are nearest to one that the reader picks, uploads or draws.

    Args:
        characters: the gallery, 28 x 28 pixels. Its alphabets should be ones that the embedding was not trained on.
        embed: maps drawings [B, 1, 28, 28] float32 (ink 1, paper 0) to embeddings [B, E], whose distances are
            Euclidean. It is called once for the whole gallery, and once for each upload or drawing.
        shown: how many neighbours are shown.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the drawings have another size, the gallery has too few of them, or `embed` does not return a
            vector of finite numbers for each.
    """

    def __init__(self, characters: Characters, embed: Callable[[Tensor], Tensor], *, shown: int = 10) -> None:
        sizes = shapes(**{"the gallery": (getattr(characters, "images", characters), "C D 28 28")})
        drawings = sizes["D"]
        total = sizes["C"] * drawings
        whole(most=total - 1, what=f"one less than the {total:,} drawings of the gallery", shown=shown)
        function(embed=embed)
        self.characters = characters
        self.embed = embed
        self.shown = shown
        self.images = characters.images.flatten(0, 1)[:, None].float() / 255  # [C*D, 1, 28, 28]
        self.embeddings = embed(self.images)  # [C*D, E]
        shapes(**{"what embed returns": (self.embeddings, f"{total} E")})
        if not self.embeddings.isfinite().all():
            raise ValueError("embed returns numbers that are not finite, so that the gallery cannot be compared")
        self._picked: int | None = None  # the row of `images` whose answer is shown; None for an upload or a drawing

        alphabets = characters.alphabet.unique().tolist()
        # This is no Dropdown and no Select, because there JupyterLab takes the arrow keys for itself.
        self.alphabet = widgets.ToggleButtons(
            options=[(self._alphabet_name(a), a) for a in alphabets],
            description="alphabet",
            style={"description_width": "80px", "button_width": "max-content"},
            layout={"width": "520px", "max_width": "100%"},
        )
        self.character = slider("character", 1, 1, len(self._members(alphabets[0])), 1)
        self.drawing = slider("drawing", 1, 1, drawings, 1)
        for control in (self.character, self.drawing):
            control.style.description_width, control.layout.width = "80px", "360px"
            control.layout.max_width = "calc(100% - 4px)"  # its margins are outside
        self.controls = {"alphabet": self.alphabet, "character": self.character, "drawing": self.drawing}
        for control in self.controls.values():
            control.observe(self._on_pick, names="value")
        self.upload = widgets.FileUpload(
            description="or upload a picture",
            accept="image/*",
            layout={"width": "220px", "margin": "2px 2px 2px min(88px, 100% - 224px)"},
        )
        self.upload.observe(self._on_upload, names="value")
        # After an upload or a drawing, no click on what is chosen already would bring its answer back.
        self.back = widgets.Button(
            description="back to the chosen drawing",
            layout={"width": "220px", "margin": "2px 2px 2px min(88px, 100% - 224px)"},
        )
        self.back.on_click(self._on_back)
        self.message = widgets.HTML(layout=widgets.Layout(display="none"))  # an empty one would take a line
        self.message.observe(self._on_message, names="value")
        self.picture = LivePicture()
        self.pad = _make_pad()
        self._has_pad = self.pad.has_trait("strokes")
        if self._has_pad:
            self.pad.observe(self._on_stroke, names="strokes")
        pick = widgets.VBox([self.alphabet, self.character, self.drawing, self.upload, self.back])
        # The pad is to the right of the other controls, so that the answer below is on the same screen.
        controls = widgets.HBox([pick, self.pad], layout=widgets.Layout(flex_flow="row wrap"))
        self.box = panel_box([controls, self.message, self.picture.box])
        self._table = Table(shown, f"nearest among {total:,} drawings ({characters.source})")
        self.pick()

    def _on_message(self, change: dict) -> None:
        self.message.layout.display = None if change["new"] else "none"

    def show(self) -> None:
        """Display the panel."""
        still, alt = self.picture.still(), "Panel: the drawings nearest to one you pick, upload or draw."
        with _custom_widgets() if self._has_pad else nullcontext():
            show_widget(self.box, still, alt)

    def nearest(self, embedding: Tensor, *, without: int | None = None) -> tuple[Tensor, Tensor]:
        """Return the `shown` drawings that are nearest to an embedding [E], the nearest first.

        Args:
            embedding: the embedding [E].
            without: a row of `images` that is left out, because a drawing is not its own neighbour.

        Returns:
            The rows of `images`, and their distances, each [shown].

        Raises:
            TypeError: the embedding is no tensor.
            ValueError: the embedding has another shape, or numbers that are not finite.
        """
        shapes(embedding=(embedding, f"{self.embeddings.shape[1]}"))
        if not embedding.isfinite().all():
            raise ValueError("the embedding has numbers that are not finite, so that it is near to nothing")
        distance = distances(embedding[None], self.embeddings)[0]
        if without is not None:
            distance[without] = torch.inf
        nearest = distance.topk(self.shown, largest=False)
        return nearest.indices, nearest.values

    def pick(self) -> None:
        """Show the neighbours of the drawing that the controls name."""
        drawings = self.characters.images.shape[1]
        character = int(self._members(self.alphabet.value)[self.character.value - 1])
        picked = character * drawings + self.drawing.value - 1
        if picked == self._picked:  # a shorter alphabet can move two controls at once
            self.message.value = ""
            return
        self._picked = None
        rows, distance = self.nearest(self.embeddings[picked], without=picked)
        same = (rows // drawings == character).tolist()
        name = self._name(character)
        caption = f"Of the {self.shown} drawings nearest to {name}, drawing {self.drawing.value}, "
        caption += f"{sum(same)} {'is' if sum(same) == 1 else 'are'} of the same character"
        caption += f" (the gallery has {drawings - 1} more of it)."
        self._draw(self.images[picked], name, rows, distance, caption, same)
        self._picked = picked  # only now, because an error can come before

    def answer(self, drawing: Tensor, name: str) -> None:
        """Show the neighbours of a drawing [1, 28, 28] that is not in the gallery. The caption calls it `name`.

        Raises:
            TypeError: the drawing is no tensor.
            ValueError: the drawing has another shape, or an embedding that is not finite.
        """
        shapes(drawing=(drawing, "1 28 28"))
        self._picked = None
        rows, distance = self.nearest(self.embed(drawing[None].to(self.images.device))[0])
        votes = Counter((rows // self.characters.images.shape[1]).tolist()).most_common(3)
        summary = ", ".join(f"{self._name(character)} ({plural(count, 'drawing')})" for character, count in votes)
        caption = f"Most frequent among the {self.shown} drawings nearest to {name}: {summary}."
        self._draw(drawing, name, rows, distance, caption, [None] * self.shown)

    def _draw(
        self, drawing: Tensor, title: str, rows: Tensor, distance: Tensor, caption: str, same: list[bool | None]
    ) -> None:
        names = [self._name(row // self.characters.images.shape[1]) for row in rows.tolist()]
        marks = [{True: ("✓ ", GREEN), False: ("✗ ", VERMILION), None: ("", GREY)}[each] for each in same]
        below = [f"{mark}d = {far:.3g}" for (mark, _frame), far in zip(marks, distance.tolist(), strict=True)]
        self._table.put(
            torch.cat([drawing.cpu(), self.images[rows, 0].cpu()]),
            [title, *names],
            ["you asked", *below],
            [BLUE, *(frame for _mark, frame in marks)],
        )
        order = ", ".join(f"{name} at {far:.3g}" for name, far in zip(names, distance.tolist(), strict=True))
        self.picture.draw(self._table.canvas, f"{caption} In order: {order}.")
        self.message.value = ""

    def _members(self, alphabet: int) -> Tensor:
        return (self.characters.alphabet == alphabet).nonzero().flatten()

    def _alphabet_name(self, alphabet: int) -> str:
        return self.characters.names[alphabet].replace("_", " ")

    def _name(self, character: int) -> str:
        """Return the alphabet and the character's number in it, as the controls show them."""
        alphabet = int(self.characters.alphabet[character])
        number = int((self._members(alphabet) == character).nonzero()) + 1
        return f"{self._alphabet_name(alphabet)} {number}"

    @contextmanager
    def _or_say_why(self, what: str) -> Iterator[None]:
        """Say what is wrong with the reader's picture, because the answer below is then still the one before.

        An error that is no ValueError is raised again: it is a fault of the lesson.
        """
        try:
            yield
        except BaseException as error:
            words = f"{html.escape(cause(error))}. The answer below is still the one before."
            self.message.value = f"<p role='alert'><b>{html.escape(what)}</b>: {words}</p>"
            if not isinstance(error, ValueError):
                raise

    def _on_pick(self, _change: dict) -> None:
        with self._or_say_why("your choice"):
            self.character.max = len(self._members(self.alphabet.value))
            self.pick()

    def _on_back(self, _button: widgets.Button) -> None:
        with self._or_say_why("your choice"):
            self.pick()

    def _on_upload(self, change: dict) -> None:
        if not change["new"]:
            return
        with self._or_say_why("your picture"):
            name, content = uploaded(change["new"])
            self.upload.set_trait("value", type(change["new"])())  # so that uploading the same file again is a change
            with self._or_say_why(name):
                self.answer(as_drawing(content), "your picture")

    def _on_stroke(self, change: dict) -> None:
        with self._or_say_why("your drawing"):
            if change["new"]:
                self.answer(drawing_of(change["new"]), "your drawing")
            else:
                self.pick()
