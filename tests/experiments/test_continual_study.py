"""The study of streams: its closed forms agree with witnesses and know no order, and its file can be continued."""

import json

import numpy as np
import pytest
import torch
from problems import seeded

from metalab.experiments import continual as study
from metalab.tasks import glyphs, omniglot

Z = torch.randn(9, 20, 6, generator=seeded()) + 2 * torch.randn(9, 1, 6, generator=seeded(1))  # 9 classes


def test_a_stream_comes_class_by_class_and_asks_about_other_drawings():
    shown, y, asked = study.stream(Z, 4, seed=3)
    assert y.tolist() == [n for n in range(4) for _ in range(15)]
    for n in range(4):
        (which,) = [c for c in range(9) if torch.equal(Z[c, 15:], asked[n])]
        assert torch.equal(shown[y == n], Z[which, :15])
    mixed, labels, same = study.stream(Z, 4, seed=3, shuffled=True)
    assert torch.equal(same, asked)
    assert labels.tolist() != y.tolist()
    assert sorted(map(tuple, mixed[labels == 2].tolist())) == sorted(map(tuple, shown[y == 2].tolist()))
    with pytest.raises(ValueError, match="ways=10"):
        study.stream(Z, 10, seed=0)


def test_the_closed_form_is_ridge_regression():
    shown, y, asked = study.stream(Z, 5, seed=0)
    ours = study.in_closed_form(shown, y, asked, 3.0)
    rows = np.concatenate([shown.numpy(), np.sqrt(3.0) * np.eye(6)])
    targets = np.concatenate([2.0 * (y[:, None] == torch.arange(5)).numpy() - 1, np.zeros((6, 5))])
    weights = np.linalg.lstsq(rows, targets, rcond=None)[0]
    assert ours.numpy() == pytest.approx(asked.numpy() @ weights, rel=1e-4, abs=1e-4)


def test_means_and_closed_form_do_not_know_the_order_but_steps_do():
    ordered, mixed = (study.stream(Z, 6, seed=1, shuffled=shuffled) for shuffled in (False, True))
    for scores in (study.by_means, lambda *s: study.in_closed_form(*s, 1.0)):
        torch.testing.assert_close(scores(*ordered), scores(*mixed), rtol=1e-4, atol=1e-4)
    assert (study.by_steps(*ordered, 0.1) - study.by_steps(*mixed, 0.1)).abs().max() > 0.1


def test_centred_features_have_length_1_and_nothing_in_common():
    z = study.centred(Z, Z.mean((0, 1)))
    torch.testing.assert_close(z.norm(dim=2), torch.ones(9, 20))
    assert z.mean((0, 1)).norm() < 0.3 * (Z / Z.norm(dim=2, keepdim=True)).mean((0, 1)).norm()


def test_the_setting_is_that_of_the_highest_accuracy():
    """Scores of which the setting decides how many classes are answered rightly."""

    def scores(_z, _y, asked, value):
        told = torch.eye(len(asked))[:, None].expand(-1, 5, -1).clone()
        told[int(value) :] = 0
        told[int(value) :, :, 0] = 1
        return told

    assert study.chosen(Z, 6, scores, (1.0, 4.0, 2.0)) == 4.0


def test_waves_come_one_after_the_other_with_their_numbers():
    episode = study.wave_streams(3, seeded())
    number = episode.support_x[..., 1:].argmax(2)
    assert number.tolist() == [[n for n in range(10) for _ in range(32)]] * 3
    # two points of a wave fix A sin(x − φ), which then predicts all others of the same number, queries too
    x, y = episode.support_x[2, number[2] == 4, 0], episode.support_y[2, number[2] == 4, 0]
    sides = torch.stack([x.sin(), x.cos()], 1)
    wave = torch.linalg.lstsq(sides, y[:, None]).solution
    asked = episode.query_x[2, ..., 1:].argmax(1) == 4
    x, y = episode.query_x[2, asked, 0], episode.query_y[2, asked, 0]
    torch.testing.assert_close((torch.stack([x.sin(), x.cos()], 1) @ wave)[:, 0], y, rtol=1e-4, atol=1e-4)


def test_random_order_keeps_inputs_and_targets_together():
    episode = study.wave_streams(2, seeded())
    mixed = study.in_random_order(episode, seeded(5))
    assert not torch.equal(mixed.support_x, episode.support_x)
    place = [episode.support_x[1].tolist().index(row) for row in mixed.support_x[1].tolist()]
    assert torch.equal(mixed.support_y[1], episode.support_y[1, place])
    assert mixed.query_x is episode.query_x


def test_the_command_goes_on_where_it_was_cut(tmp_path, monkeypatch):
    part = glyphs.draw(alphabets=6, characters=20)
    monkeypatch.setattr(omniglot, "load", lambda: (part, glyphs.draw(alphabets=2, characters=12, seed=1)))
    monkeypatch.setattr(study, "WAVE_TESTS", 2)
    monkeypatch.setattr(study, "RATES", (0.01, 0.1))
    path = tmp_path / "continual.json"
    call = ["--steps", "1", "--classes", "3", "12", "--json", str(path)]
    assert study.main([*call, "--seeds", "1"]) == 0
    before = json.loads(path.read_text())
    assert [run["representation"] for run in before["runs"]] == list(study.REPRESENTATIONS)
    assert set(before["runs"][0]["classes"]) == {"3", "12"}
    for error in before["waves"][0]["error"].values():
        assert len(error) == study.WAVES
    path.write_text(json.dumps(before | {"runs": before["runs"][:1]}))
    assert study.main([*call, "--seeds", "1"]) == 0
    after = json.loads(path.read_text())
    for one, other in zip(before["runs"], after["runs"], strict=True):
        assert one | {"seconds": 0} == other | {"seconds": 0}
    with pytest.raises(SystemExit):
        study.main([*call, "--seeds", "1", "--steps", "2"])
