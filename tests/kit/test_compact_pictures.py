"""What a notebook keeps of a picture is small, and looks like the picture."""

import io

import numpy as np
from PIL import Image

from metalab.lessons.kit.figures import compact, png
from metalab.lessons.sine_regression.concepts import draw_start


def pixels(picture):
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)


def test_a_stored_picture_looks_the_same_in_fewer_bytes():
    picture = png(draw_start()[0])
    stored = compact(picture)
    gaps = np.abs(pixels(stored) - pixels(picture))
    assert gaps.mean() < 0.5, "of 255"
    assert gaps.max() < 60
    assert len(stored) < 0.6 * len(picture)
