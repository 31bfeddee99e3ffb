"""Nearest neighbours: what becomes of a picture or of strokes, and what the panel answers."""

import importlib.util
import io
import json
import math
import re
import struct
import subprocess
import sys
import time
import zlib
from datetime import datetime
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from colab_like import STAND_IN
from matplotlib.text import Text
from PIL import Image, ImageFilter

from metalab.lessons.kit import panels
from metalab.lessons.siamese_contrastive_loss import neighbours
from metalab.lessons.siamese_contrastive_loss.neighbours import Neighbours, as_drawing, drawing_of, uploaded
from metalab.tasks import Characters, omniglot

SIDE = 105


def ink_of(*bars):
    """Ink on the author's paper, by bars (left, top, right, bottom): bool [105, 105]."""
    ink = np.zeros((SIDE, SIDE), bool)
    for left, top, right, bottom in bars:
        ink[top:bottom, left:right] = True
    return ink


H = ink_of((24, 20, 29, 80), (24, 47, 70, 52), (65, 47, 70, 83))
OURS = torch.from_numpy(omniglot._shrink(np.packbits(H)[None])).float() / 255  # [1, 28, 28]


def grey(ink, times=4):
    """As the author's pictures are, ink 0 on paper 255, each pixel enlarged to so many squared."""
    return Image.fromarray(np.kron(~ink, np.ones((times, times), bool)).astype(np.uint8) * 255)


def file(picture, kind="PNG", **options):
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def far(drawing, other=OURS):
    """The difference between two drawings, as a share of the ink."""
    return ((drawing - other).abs().sum() / other.sum()).item()


# From a picture to a drawing


@pytest.mark.parametrize("times", [1, 2, 3, 8, 16])
def test_an_enlarged_drawing_of_omniglots_comes_back(times):
    drawing = as_drawing(file(grey(H, times)))
    assert drawing.shape == (1, 28, 28)
    assert drawing.dtype == torch.float32
    assert (drawing - OURS).abs().max() < 1 / 255


def rgba(ink, paper, opacity):
    """Ink and paper of a grey level each, and how opaque each is."""
    mask = np.asarray(grey(H)) == 0
    level, alpha = np.where(mask, ink, paper), np.where(mask, *opacity)
    return Image.fromarray(np.stack([level, level, level, alpha], -1).astype(np.uint8))


FORMS = {
    "1 bit": lambda: file(grey(H).convert("1")),
    "RGB": lambda: file(grey(H).convert("RGB")),
    "palette": lambda: file(grey(H).convert("P")),
    "GIF": lambda: file(grey(H), "GIF"),
    "BMP": lambda: file(grey(H), "BMP"),
    "TIFF, CMYK": lambda: file(grey(H).convert("RGB").convert("CMYK"), "TIFF"),
    "16 bits": lambda: file(Image.fromarray(np.asarray(grey(H)).astype(np.uint16) * 257)),
    "16 bits, the larger byte first": lambda: big_endian(np.asarray(grey(H)).astype(np.uint16) * 257),
    "32 bits": lambda: file(Image.fromarray(np.asarray(grey(H)).astype(np.int32) * 99_000), "TIFF"),
    "broken numbers": lambda: file(Image.fromarray(np.asarray(grey(H)).astype(np.float32) / 255), "TIFF"),
    "16 bits and large": lambda: file(grey(H, 20).convert("I;16")),
    "an animation": lambda: file(grey(H).convert("P"), "GIF", save_all=True, append_images=[grey(~H).convert("P")] * 2),
    "several pages": lambda: file(grey(H), "TIFF", save_all=True, append_images=[grey(~H)]),
    "WebP": lambda: file(grey(H).convert("RGB"), "WEBP", lossless=True),
    "light on dark": lambda: file(grey(~H)),
    "low contrast": lambda: file(Image.fromarray(np.where(np.asarray(grey(H)) == 0, 120, 170).astype(np.uint8))),
    "one stroke fainter": lambda: file(faint(grey(H))),
    "faint, with a black speck": lambda: file(speck(grey(H).point([150] * 255 + [255]))),
    "dark, the rest transparent": lambda: file(rgba(10, 0, (255, 0))),
    "light, the rest transparent": lambda: file(rgba(250, 0, (255, 0))),
    "a sheet with transparent margins": lambda: file(margins(rgba(10, 240, (255, 255)))),
    "palette with a transparent colour": lambda: file(grey(H).convert("P"), transparency=255),
    "turned by its camera": lambda: file(grey(H).rotate(90, expand=True), exif=turned(6)),
    "turned, large, in colour": lambda: file(grey(H, 20).rotate(90).convert("RGB"), "JPEG", exif=turned(6)),
    "turned, large, a palette": lambda: file(grey(H, 20).rotate(90).convert("P"), exif=turned(6)),
    "turned, large, 16 bits": lambda: file(grey(H, 20).rotate(90).convert("I;16"), exif=turned(6)),
    "turned, a TIFF": lambda: file(grey(H).rotate(90).convert("RGB"), "TIFF", tiffinfo={274: 6}),
}


def big_endian(levels):
    height, width = levels.shape
    sizes = {256: width, 257: height, 258: 16, 259: 1, 262: 1, 277: 1}
    return tiff(sizes | {273: "place", 278: height, 279: levels.nbytes}, levels.astype(">u2").tobytes(), ">")


def tiff(tags, data, order="<"):
    """A TIFF of one page by its tags, each a number, or "place" for where its data begin."""
    place = 8 + 2 + 12 * len(tags) + 4
    entries = [struct.pack(f"{order}HHII", tag, 4, 1, place if n == "place" else n) for tag, n in sorted(tags.items())]
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HIH", 42, 8, len(tags))
    return head + b"".join(entries) + bytes(4) + data


def faint(picture):
    levels = np.array(picture)
    levels[:, 160:][levels[:, 160:] == 0] = 110
    return Image.fromarray(levels)


def speck(picture):
    picture.paste(0, (210, 150, 213, 153))
    return picture


def margins(picture):
    opacity = Image.new("L", picture.size)
    opacity.paste(255, (40, 40, 380, 380))
    picture.putalpha(opacity)
    return picture


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("form", FORMS)
def test_every_mode_and_polarity_gives_the_drawing(form):
    assert far(as_drawing(FORMS[form]())) < 0.02


def test_a_photograph_in_uneven_light_gives_the_drawing():
    y, x = np.mgrid[0:840, 0:840] / 840
    paper = np.asarray(grey(H, 8).resize((840, 840))) / 255
    light = 0.2 + 0.8 * x * (1 - 0.2 * y)  # the ink is lighter on the right than the paper on the left
    levels = (0.35 + 0.6 * paper) * light * 255 + np.random.default_rng(0).normal(0, 5, paper.shape)
    photograph = Image.fromarray(levels.clip(0, 255).astype(np.uint8))
    assert far(as_drawing(file(photograph, "JPEG", quality=70))) < 0.1


def test_the_longer_side_of_a_picture_is_the_papers():
    wide = Image.new("L", (840, 420), 255)
    wide.paste(grey(ink_of((20, 30, 80, 35), (50, 30, 55, 80))), (210, 0))
    shrunk = ink_of((36, 41, 66, 44), (51, 41, 54, 66))  # half as large; the pen is made Omniglot's
    drawing = as_drawing(file(wide))
    rows, columns = ((drawing[0] > 0.3).any(axis).nonzero().flatten() for axis in (1, 0))
    ours = torch.from_numpy(shrunk).nonzero()
    for found, inked in ((rows, ours[:, 0]), (columns, ours[:, 1])):
        assert found[0] == pytest.approx(inked.min().item() / 3.75, abs=1)
        assert found[-1] == pytest.approx(inked.max().item() / 3.75, abs=1)


@pytest.mark.parametrize(
    ("size", "place"), [((1200, 1200), (0, 0)), ((1200, 900), (900, 40)), ((900, 1200), (500, 700))]
)
def test_a_small_drawing_anywhere_is_scaled_and_put_in_the_middle(size, place):
    large = Image.new("L", size, 255)
    large.paste(grey(H, 2), place)
    scale = neighbours.MIDDLE_SIZE / (63 * 4)  # the box of H is 46 wide and 63 high
    corners = [((x - 47) * scale + 52.5, (y - 51.5) * scale + 52.5) for x, y in [(26.5, 22), (26.5, 78)]]
    bar = [((x - 47) * scale + 52.5, (y - 51.5) * scale + 52.5) for x, y in [(26.5, 49), (67.5, 49), (67.5, 80)]]
    strokes = [[(x / SIDE, y / SIDE) for x, y in line] for line in (corners, bar)]
    assert far(as_drawing(file(large)), drawing_of(strokes)) < 0.25


@pytest.mark.parametrize("pen", [ImageFilter.MinFilter(17), ImageFilter.MaxFilter(15)], ids=["thick", "thin"])
def test_another_pen_is_made_omniglots(pen):
    other = grey(H).filter(pen)  # 36 or 6 dots wide, not 20
    drawing = as_drawing(file(other))
    assert drawing.sum() == pytest.approx(OURS.sum().item(), rel=0.15)
    assert far(drawing) < 0.4, "the strokes are where they were"


def test_thinning_leaves_connected_lines_one_dot_wide():
    ink = np.zeros((60, 60), bool)
    ink[10:50, 20:31] = True
    ink[40:50, 20:55] = True
    line = neighbours._thin(ink)
    assert (line <= ink).all()
    rows, columns = line[15:40].sum(1), line[:, 32:50].sum(0)
    assert (rows == 1).all()
    assert (columns == 1).all()
    assert np.flatnonzero(line[20])[0] == pytest.approx(25, abs=1), "in the middle of the stroke"


def claims(width, height, kind="PNG"):
    """A small file that says it is a picture of many pixels, by its head."""
    data = bytearray(file(Image.new("RGB", (1, 1)), kind))
    if kind == "PNG":
        data[16:24] = struct.pack(">II", width, height)
        data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    elif kind == "JPEG":
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", height, width)
    else:
        at, form = {"GIF": (6, "<HH"), "BMP": (18, "<ii"), "WEBP": (26, "<HH")}[kind]
        data[at : at + struct.calcsize(form)] = struct.pack(form, width, height)
    return bytes(data)


def scans(count):
    """A JPEG with so many scans, most of which say nothing: a few bytes each, and each takes as long as the picture."""
    data = file(grey(H).convert("RGB"), "JPEG", progressive=True)
    start = data.rindex(b"\xff\xda")
    return data[:-2] + data[start:-2] * (count - data.count(b"\xff\xda")) + data[-2:]


GREY = {258: 8, 259: 8, 262: 1, 277: 1, 273: "place", 279: 0}
TILES = {258: 8, 259: 8, 262: 1, 277: 1, 324: "place", 325: 0}
MANY = {
    "PNG": claims(10_000, 10_000),
    "PNG, just above": claims(5001, 5000),
    "PNG, absurd": claims(100_000, 100_000),
    "PNG, thin": claims(1, 70_000),
    "PNG, thin and wide": claims(70_000, 1),
    **{kind: claims(5001, 5001, kind) for kind in ("JPEG", "GIF", "BMP", "WEBP")},
    "JPEG, a photograph": claims(12_000, 9_000, "JPEG"),
    "TIFF": tiff(GREY | {256: 5001, 257: 5001}, b""),
    "TIFF, floats": tiff(GREY | {256: 5001, 257: 5001, 258: 32, 339: 3}, b""),
    "TIFF, a small picture of large tiles": tiff(TILES | {256: 9, 257: 9, 322: 32_768, 323: 32_768}, b""),
}


@pytest.mark.parametrize("kind", MANY)
def test_too_many_pixels_are_refused_at_once(kind):
    start = time.process_time()
    with pytest.raises(ValueError, match="too large: 25 million pixels, and 65,536 on a side, are the most"):
        as_drawing(MANY[kind])
    assert time.process_time() - start < 0.5, "nothing was decoded"


# In a process of its own, which forks for every file: one child makes it, and another one measures.
MEASURE = """
import io, json, os, sys
import numpy as np, torch
from PIL import Image
from metalab.lessons.siamese_contrastive_loss.neighbours import PIXELS, as_drawing

size = 5000, PIXELS // 5000
levels = np.full(size[::-1], 255, np.uint8)
levels[1000:1400, 800:4000] = levels[1000:4000, 2000:2400] = 0
L = Image.fromarray(levels)
exif = Image.Exif()
exif[0x0112] = 6
fast = dict(compress_level=1)
FILES = {
    "opacity, turned": lambda out: L.convert("RGBA").save(out, "PNG", exif=exif, **fast),
    "palette": lambda out: L.convert("P").save(out, "PNG", transparency=255, **fast),
    "16 bits": lambda out: Image.fromarray(levels.astype(np.uint16) * 257).save(out, "PNG", **fast),
    "floats": lambda out: Image.fromarray(levels.astype(np.float32)).save(out, "TIFF", compression="tiff_deflate"),
    "animation": lambda out: L.save(out, "GIF", save_all=True, append_images=[L.transpose(0)]),
    "JPEG, progressive": lambda out: L.convert("RGB").save(out, "JPEG", progressive=True, subsampling=0, exif=exif),
    "WebP": lambda out: L.convert("RGB").save(out, "WEBP", method=0),
}


def memory(kind):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(kind)) / 1024


def in_a_child(work):
    if not (child := os.fork()):
        work()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def measure():
    with open(path, "rb") as opened:
        content = opened.read()
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")
    before = memory("VmRSS")
    ink = as_drawing(content).sum().item()
    with open(path, "w") as out:
        json.dump([memory("VmHWM") - before, ink], out)


torch.set_num_threads(1)
for name, make in FILES.items():
    path = os.path.join(sys.argv[1], "file")
    in_a_child(lambda: make(path))
    in_a_child(measure)
    with open(path) as measured:
        print(json.dumps([name, *json.load(measured)]))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the peak of a process's memory")
def test_the_memory_that_a_picture_takes_is_bounded(tmp_path):
    """Each has just as many pixels as are allowed."""
    done = subprocess.run([sys.executable, "-c", MEASURE, tmp_path], capture_output=True, text=True, check=True)
    measured = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(measured) == 7
    for name, mebibytes, ink in measured:
        assert mebibytes < 512, name
        assert ink == pytest.approx(44, rel=0.02), name


BAD = {
    "text": (b"Not a picture.", "no picture; it can be PNG, JPEG"),
    "nothing": (b"", "no picture"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n", "no picture"),
    "half a file": (file(grey(H), "BMP")[:20_000], "damaged"),
    "hundreds of scans": (scans(500), "damaged: it has more than 100 scans"),
    "no number": (file(Image.fromarray(np.full((9, 9), np.nan, np.float32)), "TIFF"), "levels are no finite numbers"),
    "infinite": (file(Image.fromarray(np.full((9, 9), np.inf, np.float32)), "TIFF"), "levels are no finite numbers"),
    "white": (file(Image.new("RGB", (300, 200), "white")), "blank"),
    "one pixel": (file(Image.new("RGB", (1, 1), "black")), "blank"),
    "faint": (file(Image.fromarray(np.where(np.asarray(grey(H)) == 0, 240, 255).astype(np.uint8))), "too faint"),
    "transparent": (file(Image.new("RGBA", (30, 30), (0, 0, 0, 0))), "all of it is transparent"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_drawing_is_refused_in_words(name):
    content, words = BAD[name]
    with pytest.raises(ValueError, match=words):
        as_drawing(content)


@pytest.mark.parametrize("content", ["a path", None, 3, ["bytes"]])
def test_what_is_not_made_of_bytes_is_refused(content):
    with pytest.raises(TypeError, match=r"picture=.* must be the bytes of a file"):
        as_drawing(content)


def test_a_jpeg_may_have_the_scans_that_programs_write():
    assert far(as_drawing(scans(90))) < 0.02


def test_a_small_square_of_ink_is_not_thinned_away():
    for height, width in ((1, 1), (2, 2), (2, 3), (3, 2), (4, 4)):
        ink = np.zeros((12, 12), bool)
        ink[4 : 4 + height, 5 : 5 + width] = True
        line = neighbours._thin(ink)
        assert line.any(), f"{height} x {width}"
        assert (line <= ink).all()


def test_damaged_files_are_refused_in_words_or_give_a_drawing():
    random = np.random.default_rng(0)
    outcomes = set()
    for name, make in FORMS.items():
        content = make()
        for _ in range(0 if "large" in name else 3):
            damaged = bytearray(content[: random.integers(1, len(content) + 1)] if random.random() < 0.3 else content)
            for _ in range(random.integers(1, 6)):
                damaged[random.integers(len(damaged))] = random.integers(256)
            try:
                drawing = as_drawing(damaged)
            except ValueError:
                outcomes.add("refused")
            else:
                outcomes.add("drawn")
                assert drawing.shape == (1, 28, 28)
                assert 0 < drawing.sum() <= 28 * 28
    assert outcomes == {"refused", "drawn"}


# From strokes to a drawing


def middle(*pixels):
    """Points of the author's paper as the pad gives them."""
    return [[x / SIDE, y / SIDE] for x, y in pixels]


def test_strokes_are_drawn_with_omniglots_pen():
    strokes = [middle((26.5, 22.5), (26.5, 77.5)), middle((26.5, 49.5), (67.5, 49.5), (67.5, 80.5))]
    assert far(drawing_of(strokes)) < 0.1


def test_a_stroke_of_one_point_is_a_dot():
    drawing = drawing_of([[[0.5, 0.5]]])
    assert 1 < drawing.sum() < 3, "5 x 5 of the author's pixels are 1.8 of ours"
    assert drawing[0, 12:16, 12:16].sum() == drawing.sum()


SCRIBBLE = np.random.default_rng(0).random((100_000, 1, 2, 2)).tolist()
NO_STROKES = {
    "nothing": ([], "strokes has no point"),
    "empty strokes": ([[], []], "strokes has no point"),
    "outside": (
        [[[0.5, 0.5], [1.5, 0.5]]],
        r"strokes has the point \[1.5, 0.5\]: it must be \(x, y\) with numbers in 0 … 1",
    ),
    "below": ([[[-0.001, 0.5]]], "strokes has the point"),
    "no number": ([[[math.nan, 0.5]]], r"strokes has the point \[nan, 0.5\]"),
    "infinite": ([[[math.inf, 0.5]]], "strokes has the point"),
    "huge": ([[[10**400, 0.5]]], "strokes has the point"),
    "words": ([[["0.5", "0.5"]]], r"strokes has the point \['0.5', '0.5'\]"),
    "flags": ([[[True, False]]], "strokes has the point"),
    "one number": ([[[0.5]]], "strokes has the point"),
    "three numbers": ([[[0.5, 0.5, 0.5]]], "strokes has the point"),
    "deeper": ([[[[0.5], [0.5]]]], "strokes has the point"),
    "a point, not a stroke": ([[0.5, 0.5]], "must be a list of strokes, each a list of points"),
    "text": ("strokes", "strokes='strokes' must be a list of strokes"),
    "texts": (["ab"], "must be a list of strokes"),
    "null": (None, "strokes=None must be a list of strokes"),
    "nulls": ([None], "must be a list of strokes"),
    "dicts": ([[{}]], "must be a list of strokes"),
    "all over": ([[[x / 50, y / 50] for y in range(51)] for x in range(51)], "all of the paper is alike"),
    "too much": ([stroke[0] for stroke in SCRIBBLE], "200,000 points, and 20,000 are the most: press Clear or Undo"),
    "one stroke too long": ([[[0.5, 0.5]] * 20_001], "20,001 points"),
}


@pytest.mark.parametrize("case", NO_STROKES)
def test_strokes_that_cannot_be_are_refused_at_once(case):
    strokes, words = NO_STROKES[case]
    start = time.process_time()
    with pytest.raises(ValueError, match=words) as refusal:
        drawing_of(strokes)
    assert time.process_time() - start < 1
    assert len(str(refusal.value)) < 200


def test_paper_that_is_inked_but_for_a_dot_has_a_drawing():
    """In single precision the mean level would be that of full ink, and all of the paper would be paper."""
    levels = np.full((420, 420), 255, np.uint8)
    levels[7, 9] = 254
    ink = neighbours._ink(Image.fromarray(levels), 210, 210, 420)
    assert ink.sum() == 420 * 420 - 1


@pytest.mark.parametrize("count", [1, 10, 100, 1000, 10_000])
def test_any_scribble_is_a_drawing_or_told_in_words(count):
    try:
        drawing = drawing_of([stroke[0] for stroke in SCRIBBLE[:count]])
    except ValueError as refusal:
        assert "all of the paper is alike" in str(refusal)  # noqa: PT017
    else:
        assert drawing.sum() > 0


# The panel


@pytest.fixture
def gallery():
    """Two alphabets of 4 and 2 characters, 3 drawings each: drawing d of character c has c + d / 100 ink."""
    level = torch.arange(6)[:, None] * 40 + torch.arange(3)
    images = level[:, :, None, None].expand(6, 3, 28, 28).to(torch.uint8)
    return Characters(images, torch.tensor([0, 0, 0, 0, 1, 1]), ("first_one", "second"), "noise")


def mean_ink(drawings):
    return drawings.mean((2, 3)) * 255


def words(panel):
    return panel.picture.text.value


def drawings(panel):
    """What the picture shows: the drawing that is asked, and those near to it, ink 1 on paper 0."""
    table = panel._table
    return [1 - table._image.get_array()[y : y + 28, x : x + 28] for y, x in table._corners]


def texts(fig):
    return [text.get_text() for text in fig.findobj(Text)]


def test_the_nearest_are_in_order_and_never_the_drawing_itself(gallery, figures):
    panel = Neighbours(gallery, mean_ink, shown=4)
    panel.character.value, panel.drawing.value = 2, 3  # ink 42; the others of it have 40 and 41
    assert "Of the 4 drawings nearest to first one 2, drawing 3, 2 are of the same character" in words(panel)
    assert "In order: first one 2 at 1, first one 2 at 2, first one 3 at 38, first one 3 at 39." in words(panel)
    told = texts(figures[-1])
    for text in (
        "first one 2",
        "you asked",
        "✓ d = 1",
        "✓ d = 2",
        "✗ d = 38",
        "✗ d = 39",
    ):
        assert text in told
    assert any("18 drawings (noise)" in text for text in told)
    levels = [round(255 * float(image[0, 0])) for image in drawings(panel)]
    assert levels == [42, 41, 40, 80, 81]


def test_the_picker_knows_how_many_characters_an_alphabet_has(gallery, figures):
    panel = Neighbours(gallery, mean_ink, shown=4)
    assert (panel.character.max, panel.drawing.max) == (4, 3)
    panel.character.value = 4
    drawn = len(figures)
    panel.alphabet.value = 1
    assert (panel.character.max, panel.character.value) == (2, 2)
    assert "nearest to second 2, drawing 1" in words(panel)
    assert len(figures) == drawn + 1, "one change, one picture"


def test_an_alphabet_without_characters_is_not_offered(gallery, figures):
    panel = Neighbours(gallery.select(gallery.alphabet == 1), mean_ink, shown=2)
    assert panel.alphabet.options == (("second", 1),)
    assert "second 1" in words(panel)


def upload(panel, name, content):
    about = {"type": "", "size": len(content), "last_modified": datetime(2020, 1, 1)}
    panel.upload.value = ({"name": name, "content": memoryview(content), **about},)


def test_a_picture_is_answered_with_its_characters(gallery, figures):
    panel = Neighbours(gallery, lambda drawings: drawings.flatten(1), shown=4)
    upload(panel, "h.png", file(grey(H)))
    assert "nearest to your picture: first one 1 (3 drawings), first one 2 (1 drawing)" in words(panel)
    assert torch.from_numpy(drawings(panel)[0]).sub(OURS[0]).abs().max() < 1 / 255
    assert not any(mark in text for text in texts(figures[-1]) for mark in "✓✗"), "nobody knows what it is"


def test_a_file_that_is_no_picture_is_told_and_the_panel_goes_on(gallery, figures):
    panel = Neighbours(gallery, mean_ink, shown=4)
    before = words(panel)
    upload(panel, "<b>notes</b>.txt", b"no picture")
    assert "<b>&lt;b&gt;notes&lt;/b&gt;.txt</b>: this file is no picture" in panel.message.value
    assert "role='alert'" in panel.message.value
    assert words(panel) == before
    upload(panel, "h.png", file(grey(H)))
    assert panel.message.value == ""
    assert "nearest to your picture" in words(panel)


def test_the_last_thing_touched_counts(gallery, figures):
    panel = Neighbours(gallery, mean_ink, shown=4)
    for drawing in (3, 1):
        upload(panel, "h.png", file(grey(H)))
        assert "nearest to your picture" in words(panel), "the same file a second time too"
        panel.drawing.value = drawing
        assert f"nearest to first one 1, drawing {drawing}" in words(panel)


def test_a_button_leads_back_to_the_chosen_drawing(gallery, figures):
    panel = Neighbours(gallery, mean_ink, shown=4)
    panel.character.value, panel.drawing.value = 2, 3
    before = words(panel)
    upload(panel, "h.png", file(grey(H)))
    assert "nearest to your picture" in words(panel)
    panel.back.click()
    assert words(panel) == before
    panel.back.click()
    assert words(panel) == before, "a second time nothing changes"


def test_uploads_of_ipywidgets_7_and_8():
    seven = {"h.png": {"metadata": {"name": "h.png", "size": 3}, "content": b"ink"}}
    eight = ({"name": "h.png", "size": 3, "content": memoryview(b"ink")},)
    assert uploaded(seven) == uploaded(eight) == ("h.png", b"ink")


def test_a_drawing_on_the_pad_is_answered_stroke_by_stroke(gallery, figures):
    pytest.importorskip("anywidget")
    panel = Neighbours(gallery, mean_ink, shown=4)
    first, second = middle((26.5, 22.5), (26.5, 77.5)), middle((26.5, 49.5), (67.5, 49.5), (67.5, 80.5))
    panel.pad.strokes = [first]
    alone = drawings(panel)[0]
    panel.pad.strokes = [first, second]
    assert "nearest to your drawing" in words(panel)
    both = drawings(panel)[0]
    assert both.sum() > 1.5 * alone.sum()
    panel.pad.strokes = []
    assert "nearest to first one 1, drawing 1" in words(panel), "an empty pad asks nothing"


@pytest.mark.parametrize("case", ["outside", "words", "all over", "too much"])
def test_strokes_without_an_answer_are_told_and_the_pad_goes_on(case, gallery, figures):
    pytest.importorskip("anywidget")
    panel = Neighbours(gallery, mean_ink, shown=4)
    stroke = [[0.3, 0.3], [0.3, 0.7], [0.7, 0.7]]
    panel.pad.strokes = [stroke]
    before = words(panel)
    strokes, why = NO_STROKES[case]
    panel.pad.strokes = strokes
    assert words(panel) == before
    told = re.sub("&#x27;", "'", panel.message.value)
    assert re.search(f"<b>your drawing</b>: .*{why}", told)
    assert "The answer below is still the one before." in told
    panel.pad.strokes = [stroke, stroke]
    assert panel.message.value == ""
    assert "nearest to your drawing" in words(panel)
    panel.pad.strokes = strokes
    panel.pad.strokes = []  # Clear
    assert panel.message.value == ""
    assert "nearest to first one 1, drawing 1" in words(panel)


ERRORS = [IndexError("it is <odd>"), KeyboardInterrupt(), RuntimeError()]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    ("how", "where"),
    [("upload", "embed"), ("upload", "picture"), ("pad", "embed"), ("pad", "picture"), ("pick", "picture")],
)
def test_an_answer_that_fails_is_told_and_the_panel_goes_on(how, where, error, gallery, figures, monkeypatch):
    pytest.importorskip("anywidget")
    panel = Neighbours(gallery, mean_ink, shown=4)

    def fail(*_arguments):
        raise error

    def ask():
        if how == "upload":
            upload(panel, "h.png", file(grey(H)))
        elif how == "pad":
            panel.pad.strokes = [[[0.3, 0.3], [0.3, len(panel.pad.strokes) / 2]]]
        else:
            panel.alphabet.value, panel.drawing.value = 0, 1
            panel.drawing.value = 2

    before = words(panel)
    with monkeypatch.context() as patch:
        patch.setattr(panel, "embed", fail) if where == "embed" else patch.setattr(panel.picture, "draw", fail)
        with pytest.raises(type(error)):
            ask()
    assert words(panel) == before
    assert "The answer below is still the one before." in panel.message.value
    assert ("&lt;odd&gt;" in panel.message.value) == ("odd" in str(error))
    if how == "pick":
        panel.pick()  # where the sliders are now
    else:
        panel.pad.strokes = []
        ask()
    assert words(panel) != before
    assert panel.message.value == ""


def test_a_network_that_answers_with_no_numbers_is_told(gallery, figures):
    calls = []

    def embed(drawings):
        calls.append(1)
        return mean_ink(drawings) * (math.nan if len(calls) > 1 else 1)

    panel = Neighbours(gallery, embed, shown=4)
    before = words(panel)
    upload(panel, "h.png", file(grey(H)))
    assert "the embedding has numbers that are not finite" in panel.message.value
    assert words(panel) == before


def test_without_anywidget_the_panel_says_how_to_get_the_pad(gallery, figures, monkeypatch):
    monkeypatch.setattr(neighbours, "anywidget", None)
    panel = Neighbours(gallery, mean_ink, shown=4)
    assert "<code>anywidget</code>" in panel.pad.value
    assert panel.pad in panel.box.children[0].children
    upload(panel, "h.png", file(grey(H)))
    assert "nearest to your picture" in words(panel)


@pytest.fixture
def colab(monkeypatch):
    """A stand-in for Colab's `google.colab.output`, and in `while_displayed` what it was at each widget's display."""
    output = ModuleType("google.colab.output")
    exec(STAND_IN["output.py"], vars(output))
    output.while_displayed = []
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    monkeypatch.setitem(sys.modules, "google.colab.output", output)

    def display(bundle, **_options):
        if "application/vnd.jupyter.widget-view+json" in bundle:  # the still pictures need no widgets
            output.while_displayed.append(output.custom_widgets)

    monkeypatch.setattr(panels, "display", display)
    return output


def test_in_colab_only_the_panel_with_the_pad_is_displayed_with_custom_widgets(gallery, figures, colab):
    pytest.importorskip("anywidget")
    panel = Neighbours(gallery, mean_ink, shown=4)
    panels.show_widget(panel.box, b"", "another panel")
    panel.show()
    panels.show_widget(panel.box, b"", "another panel")
    assert colab.while_displayed == [False, True, False]
    panel.pad.strokes = [[[0.3, 0.3], [0.3, 0.7]]]
    assert "nearest to your drawing" in words(panel)


@pytest.mark.parametrize("missing", ["the module", "the function", "the version"])
def test_a_colab_without_custom_widgets_is_told_and_the_panel_goes_on(missing, gallery, figures, colab, monkeypatch):
    pytest.importorskip("anywidget")
    if missing == "the module":
        monkeypatch.setitem(sys.modules, "google.colab.output", None)
    elif missing == "the function":
        del colab.enable_custom_widget_manager
    else:

        def refuse():
            raise ValueError("unknown version: <5>")

        colab.enable_custom_widget_manager = refuse
    panel = Neighbours(gallery, mean_ink, shown=4)
    panel.show()
    assert colab.while_displayed == [False]
    assert "A pad to draw on cannot be shown in this Colab (" in panel.pad.value
    assert panel.pad.value.endswith("Upload a picture, or use the sliders.")
    assert ("unknown version: &lt;5&gt;" in panel.pad.value) is (missing == "the version")
    upload(panel, "h.png", file(grey(H)))
    assert "nearest to your picture" in words(panel)


def test_the_module_can_be_imported_without_anywidget(monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    spec = importlib.util.spec_from_file_location("metalab.lessons.siamese_contrastive_loss.again", neighbours.__file__)
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    assert again.anywidget is None
    assert not hasattr(again, "Pad")


def test_every_control_is_in_the_panel_and_a_still_picture_stands_in(gallery, figures, monkeypatch):
    shown = []
    monkeypatch.setattr(panels, "display", lambda bundle, **options: shown.append(bundle))
    panel = Neighbours(gallery, mean_ink, shown=4)
    panel.show()

    def parts_of(box):
        return [part for child in getattr(box, "children", ()) for part in (child, *parts_of(child))]

    inside = parts_of(panel.box)
    for part in (panel.alphabet, panel.character, panel.drawing, panel.upload, panel.back, panel.pad, panel.message):
        assert part in inside
    live, still = shown
    assert still["image/png"].startswith(b"\x89PNG")
    assert live["application/vnd.jupyter.widget-view+json"]["model_id"] == panel.box.model_id


def test_galleries_that_cannot_be_are_refused(gallery):
    for shown in (18, 0, 2.5, True, "4"):
        with pytest.raises((TypeError, ValueError), match=rf"shown={shown!r} must be a whole number of at least 1 and"):
            Neighbours(gallery, mean_ink, shown=shown)
    with pytest.raises(ValueError, match="at most 17, one less than the 18 drawings of the gallery"):
        Neighbours(gallery, mean_ink, shown=18)
    small = Characters(gallery.images[..., :14], gallery.alphabet, gallery.names, "noise")
    with pytest.raises(ValueError, match=r"the gallery has the shape \[6, 3, 28, 14\]; it must be \[C, D, 28, 28\]"):
        Neighbours(small, mean_ink)
    with pytest.raises(TypeError, match="the gallery=3 must be a tensor"):
        Neighbours(3, mean_ink)
    with pytest.raises(TypeError, match="embed=3 must be a function"):
        Neighbours(gallery, 3)
    with pytest.raises(ValueError, match=r"what embed returns has the shape \[18\]; it must be \[18, E\]"):
        Neighbours(gallery, lambda drawings: drawings.mean((1, 2, 3)))
    with pytest.raises(ValueError, match="embed returns numbers that are not finite"):
        Neighbours(gallery, lambda drawings: mean_ink(drawings) / 0)


def test_drawings_and_embeddings_of_another_shape_are_refused(gallery, figures):
    panel = Neighbours(gallery, mean_ink, shown=4)
    with pytest.raises(ValueError, match=r"drawing has the shape \[28, 28\]; it must be \[1, 28, 28\]"):
        panel.answer(torch.zeros(28, 28), "it")
    with pytest.raises(TypeError, match="drawing='it' must be a tensor"):
        panel.answer("it", "it")
    with pytest.raises(ValueError, match=r"embedding has the shape \[2\]; it must be \[1\]"):
        panel.nearest(torch.zeros(2))
