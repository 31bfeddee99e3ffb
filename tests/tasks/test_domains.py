"""Domains: digits as scikit-learn has them, changed copies by other code, and tasks of varying ways and shots."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from metalab.tasks import glyphs
from metalab.tasks.domains import CHANGES, Varying, changed, digits

SOURCE = glyphs.draw(alphabets=2, characters=8, drawings=12)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_digits_are_scikit_learns():
    theirs = load_digits()
    for digit in range(10):
        small = torch.from_numpy(theirs.images[theirs.target == digit][:174])  # [174, 8, 8], 0 … 16
        large = torch.nn.functional.interpolate(small[:, None], size=(28, 28), mode="bilinear")[:, 0]
        assert (digits().images[digit].double() - large * 255 / 16).abs().max() <= 0.51


def test_no_change_at_strength_0():
    for change in CHANGES:
        assert torch.equal(changed(SOURCE, change, 0.0).images, SOURCE.images)


def test_the_whole_changes():
    images = SOURCE.images
    assert torch.equal(changed(SOURCE, "inverted").images, 255 - images)
    turned = torch.from_numpy(np.rot90(images.numpy(), -1, (2, 3)).copy())
    assert (changed(SOURCE, "turned").images.int() - turned.int()).abs().max() <= 1
    one = images[3, 4]
    thick = [[one[max(0, r - 2) : r + 3, max(0, c - 2) : c + 3].max() for c in range(28)] for r in range(28)]
    assert torch.equal(changed(SOURCE, "thick").images[3, 4], torch.tensor(thick))
    assert torch.equal(changed(SOURCE, "noisy", seed=3).images, changed(SOURCE, "noisy", seed=3).images)
    assert not torch.equal(changed(SOURCE, "noisy", seed=3).images, changed(SOURCE, "noisy", seed=4).images)


def test_tasks_vary_within_their_bounds_and_are_right():
    sample, generator = Varying(SOURCE, (3, 6), (1, 4), queries=2), seeded()
    ways, shots = set(), set()
    whole = SOURCE.images.float().div(255).flatten(2)
    for _ in range(60):
        episode = sample(3, generator)
        counts = torch.bincount(episode.support_y[0], minlength=episode.ways)
        ways.add(episode.ways)
        shots.update(counts.tolist())
        assert torch.equal(episode.query_y[2], torch.arange(episode.ways).repeat_interleave(2))
        for task in range(3):  # each label is one character, and no drawing comes twice
            pictures = torch.cat([episode.support_x[task], episode.query_x[task]]).flatten(1)
            labels = torch.cat([episode.support_y[task], episode.query_y[task]])
            place = (pictures[:, None, None] == whole).all(3).nonzero()
            assert len(place) == len(pictures) == len({(c, d) for _, c, d in place.tolist()})
            assert (
                len({(label.item(), c) for label, c in zip(labels, place[:, 1].tolist(), strict=True)}) == episode.ways
            )
    assert ways == {3, 4, 5, 6}
    assert shots == {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"ways": (3, 17)}, "characters=17"),
        ({"ways": (4, 3)}, "in order"),
        ({"shots": (0, 3)}, r"shots\[0\]=0"),
        ({"shots": (1, 12)}, "drawings=17"),
        ({"queries": 0}, "queries=0"),
    ],
)
def test_impossible_tasks(arguments, says):
    with pytest.raises(ValueError, match=says):
        Varying(SOURCE, **arguments)


def test_impossible_changes():
    with pytest.raises(ValueError, match="change="):
        changed(SOURCE, "bent")
    with pytest.raises(ValueError, match="strength="):
        changed(SOURCE, "thick", 1.5)
