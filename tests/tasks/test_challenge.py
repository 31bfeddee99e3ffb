"""The one-shot challenge: what the table names, and that the author's archive holds exactly this."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from metalab import checkpoint
from metalab.losses import accuracy
from metalab.tasks import Characters, omniglot
from metalab.tasks.challenge import one_shot_challenge
from metalab.tasks.omniglot import EVALUATION


def coded(side=28):
    """Characters of the evaluation set's form; three pixels say which character (two digits to 256) and drawer."""
    counts = torch.tensor([count for _first, count in EVALUATION.alphabets.values()])
    index = torch.arange(659)
    images = torch.zeros(659, 20, side, side, dtype=torch.uint8)
    images[:, :, 0, 0], images[:, :, 0, 1] = (index // 256)[:, None], (index % 256)[:, None]
    images[:, :, 0, 2] = torch.arange(20)
    return Characters(images, torch.arange(20).repeat_interleave(counts), tuple(EVALUATION.alphabets), "code")


def decode(x):
    """Characters and drawers of pictures [T, S, 1, 28, 28]."""
    pixels = (255 * x[:, :, 0, 0, :3]).round().long()
    return 256 * pixels[..., 0] + pixels[..., 1], pixels[..., 2]


def test_it_is_20_runs_of_20_ways_within_an_alphabet():
    evaluation = coded()
    episode = one_shot_challenge(evaluation)
    assert episode.support_x.shape == episode.query_x.shape == (20, 20, 1, 28, 28)
    assert episode.support_x.dtype == torch.float32
    assert episode.support_y.tolist() == episode.query_y.tolist() == [list(range(20))] * 20
    assert episode.ways == 20
    support, support_drawers = decode(episode.support_x)
    query, query_drawers = decode(episode.query_x)
    assert torch.equal(support, query)
    assert all(len(set(run)) == 20 for run in support.tolist())
    alphabets = evaluation.alphabet[support]
    assert (alphabets == alphabets[:, :1]).all()
    assert torch.equal(alphabets[::2], alphabets[1::2])  # two runs for each of ten alphabets
    assert len(alphabets.unique()) == 10
    # One person drew the support, another the queries.
    assert (support_drawers == support_drawers[:, :1]).all()
    assert (query_drawers == query_drawers[:, :1]).all()
    assert (support_drawers != query_drawers).all()


def test_pictures_are_the_evaluation_sets():
    evaluation = coded()
    evaluation.images[..., 1:, :] = torch.randint(256, (659, 20, 27, 28), generator=torch.Generator().manual_seed(0))
    episode = one_shot_challenge(evaluation)
    for x in (episode.support_x, episode.query_x):
        assert torch.equal(x.squeeze(2), evaluation.images[decode(x)].float() / 255)


def test_pictures_may_have_another_size():
    small, usual = (one_shot_challenge(coded(side)) for side in (4, 28))
    assert small.query_x.shape == (20, 20, 1, 4, 4)
    for ours, theirs in ((small.support_x, usual.support_x), (small.query_x, usual.query_x)):
        assert all(torch.equal(a, b) for a, b in zip(decode(ours), decode(theirs), strict=True))


def test_saying_the_same_of_all_is_right_once_in_20():
    episode = one_shot_challenge(coded())
    assert accuracy(torch.zeros(20, 20, 20), episode.query_y).mean().item() == pytest.approx(0.05)


def test_other_characters_are_refused():
    evaluation = coded()
    part = evaluation.select(torch.arange(100))
    with pytest.raises(ValueError, match=r"evaluation has 100 characters × 20 drawings of code: .*second part"):
        one_shot_challenge(part)
    glyphs = Characters(evaluation.images, evaluation.alphabet, tuple(f"glyphs {i}" for i in range(20)), "glyphs")
    with pytest.raises(ValueError, match=r"evaluation has 659 characters × 20 drawings of glyphs"):
        one_shot_challenge(glyphs)


def test_the_right_characters_in_another_order_are_refused():
    """The table counts characters from the beginning of their alphabet, so another order would be another challenge."""
    evaluation = coded()
    with pytest.raises(ValueError, match="evaluation has its characters in another order"):
        one_shot_challenge(evaluation.select(torch.arange(659).flip(0)))


@pytest.mark.parametrize("wrong", [None, torch.zeros(659, 20, 28, 28), (None, None)])
def test_what_is_no_set_of_characters_is_refused(wrong):
    with pytest.raises(TypeError, match=r"evaluation=.* must be Characters, the second part of omniglot.load\(\)"):
        one_shot_challenge(wrong)


REAL = Path(os.environ.get("METALAB_DATA") or "nowhere")


@pytest.mark.skipif(
    not all((REAL / name).is_file() for name in ("images_evaluation.zip", "all_runs.zip")),
    reason="the real archives are not in METALAB_DATA",
)
def test_the_authors_archive_holds_exactly_this():
    episode = one_shot_challenge(coded())
    paths = EVALUATION.paths()
    places = [decode(x) for x in (episode.support_x, episode.query_x)]
    with zipfile.ZipFile(REAL / "images_evaluation.zip") as drawings, zipfile.ZipFile(REAL / "all_runs.zip") as runs:

        def ink(archive, path):
            with Image.open(io.BytesIO(archive.read(path))) as picture:
                assert picture.size == (105, 105)
                return np.asarray(picture)

        for run in range(20):
            folder = f"run{run + 1:02}"
            # Each line: the path of a test picture, and that of the training picture of its class.
            answers = dict(line.split() for line in runs.read(f"{folder}/class_labels.txt").decode().splitlines())
            queries = {answer: item for item, answer in answers.items()}
            assert len(queries) == len(answers) == 20
            for n in range(20):
                support = f"{folder}/training/class{n + 1:02}.png"
                for (character, drawer), path in zip(places, (support, queries[support]), strict=True):
                    ours = paths[20 * int(character[run, n]) + int(drawer[run, n])]
                    assert np.array_equal(ink(drawings, ours), ink(runs, path))


def test_the_shipped_network_errs_less_than_kochs():
    """Scored by plain torch, one picture at a time as it were: nothing of the package's networks or learners."""
    try:
        train, test = omniglot.load()
    except omniglot.OmniglotNotFound:
        pytest.skip("Omniglot cannot be had here")
    params, about = checkpoint.shipped("omniglot_prototypical_challenge")
    assert about["split"] == "alphabets"  # trained on the 30 background alphabets only

    def forward(x, stats):
        """Embeddings of [B, 1, 28, 28]; each block's mean and variance are taken from `stats`, or put there."""
        for i in range(1, 5):
            weight = params[f"conv{i}"].view(3, 3, -1, 64).permute(3, 2, 0, 1)
            x = F.conv2d(x, weight, padding=1)
            mean, variance = stats.setdefault(i, (x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)))
            x = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-3).sqrt()
            x = F.max_pool2d(F.relu(x + params[f"shift{i}"][:, None, None]), 2)
        return x.flatten(1)

    stats = {}
    forward(train.batch(1000, torch.Generator().manual_seed(1))[0], stats)
    trial = one_shot_challenge(test)
    wrong = 0
    for support, query in zip(trial.support_x, trial.query_x, strict=True):
        nearest = torch.cdist(forward(query, stats), forward(support, stats)).argmin(1)
        wrong += (nearest != torch.arange(20)).sum().item()
    assert wrong / 400 <= 0.08
