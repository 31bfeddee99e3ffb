"""The command that judges bands: its tasks are the same for all, it counts what failed, and it goes on where it was."""

import json

import pytest
import torch
from problems import seeded

from metalab.experiments import uncertainty as study
from metalab.tasks import sine


def test_with_more_points_the_first_ones_and_the_queries_stay():
    two, five = study.exam("in range", 2), study.exam("in range", 5)
    assert torch.equal(two.support_y, five.support_y[:, :2])
    assert torch.equal(two.query_y, five.query_y)


@pytest.mark.parametrize(("way", "support", "query"), [(way, *ranges) for way, ranges in study.RANGES.items()])
def test_points_lie_where_a_way_says(way, support, query):
    exam = study.exam(way, 5)
    for x, (low, high) in ((exam.support_x, support), (exam.query_x, query)):
        assert low <= x.min() < low + 0.1
        assert high - 0.1 < x.max() <= high


def test_measurements_have_the_noise():
    episode = sine.sample(200, 20, 20, seeded())
    noisy = study.measured(episode, seeded(1))
    for a, b in ((episode.support_y, noisy.support_y), (episode.query_y, noisy.query_y)):
        assert (b - a).std().item() == pytest.approx(study.NOISE, rel=0.05)


def test_few_waves_stay_the_same_and_no_point_is_both_support_and_query():
    method = study.METHODS["dkt"]
    sample, waves = study.few(method, 3, seed=0)
    seen = set()
    for step in range(5):
        episode = sample(seeded(step))
        both = torch.cat([episode.support_x, episode.query_x], 1)[..., 0]
        assert all(len(set(row)) == len(row) for row in both.tolist())
        seen |= {round(x, 6) for x in both.flatten().tolist()}
    assert len(seen) <= 3 * study.POINTS
    assert len(waves.amplitude) == 3


def test_an_honest_answer_is_found_honest():
    truth = study.exam("in range", 5)
    waves_and_noise = lambda episode: (episode.query_y - off, torch.full_like(episode.query_y, 0.04))  # noqa: E731
    off = 0.2 * torch.randn(truth.query_y.shape, generator=seeded(3))
    found = study.judge(waves_and_noise, truth)
    assert found["coverage"] == pytest.approx(list(study.LEVELS), abs=0.01)
    assert found["error"] == pytest.approx(0.04, rel=0.05)
    assert found["failed"] == 0


def test_tasks_that_failed_are_left_out_and_counted():
    truth = study.exam("in range", 5)

    def answer(episode):
        mean = episode.query_y.clone()
        mean[3], mean[5] = float("nan"), 1e4
        return mean, torch.ones_like(mean)

    found = study.judge(answer, truth)
    assert found["failed"] == 2
    assert found["error"] == 0


def test_an_ensemble_of_one_has_the_noise_alone():
    maml = study.METHODS["maml"].learner
    params = maml.init(seeded())
    _mean, variance = study.ensemble([params])(study.exam("in range", 5, tasks=3))
    torch.testing.assert_close(variance, torch.full_like(variance, study.NOISE**2))


def test_a_second_call_goes_on_where_the_first_was_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "FEW", (10,))
    out = tmp_path / "found.json"
    command = ["--seeds", "1", "--steps", "2", "--json", str(out), "--members", str(tmp_path / "m.safetensors")]
    assert study.main(command) == 0
    whole = json.loads(out.read_text())
    assert {run["method"] for run in whole["runs"]} == {*study.JUDGED, "ensemble"}
    assert (tmp_path / "m.safetensors").exists()
    cut = dict(whole, runs=whole["runs"][:2])
    out.write_text(json.dumps(cut))
    assert study.main(command) == 0
    again = json.loads(out.read_text())
    assert sorted(again["runs"], key=lambda r: r["method"]) == sorted(whole["runs"], key=lambda r: r["method"])
    with pytest.raises(SystemExit):
        study.main([*command, "--steps", "3"])
