"""The study of domains: its methods agree with the learners of the package, and its file can be continued."""

import json

import torch

from metalab.experiments import domains as study
from metalab.learners import FineTuning, PrototypicalNet
from metalab.nets import Conv4
from metalab.tasks import glyphs, omniglot
from metalab.tasks.domains import Varying

SOURCE = glyphs.draw(alphabets=2, characters=10, drawings=12)
EPISODE = Varying(SOURCE, (4, 4), (1, 3), 2)(3, torch.Generator().manual_seed(0))
BODY = study.EMBEDDING.init(torch.Generator().manual_seed(1))
STATS = study.statistics(BODY, SOURCE)


def test_the_nearest_mean_is_the_prototypical_networks():
    ours = study.nearest_mean(BODY, EPISODE, STATS)
    assert torch.allclose(ours, PrototypicalNet(study.EMBEDDING, stats=STATS).predict(BODY, EPISODE), atol=1e-5)
    everything = study.nearest_mean(BODY, EPISODE, "all")
    theirs = PrototypicalNet(study.EMBEDDING, transductive=True).predict(BODY, EPISODE)
    assert torch.allclose(everything, theirs, atol=1e-5)


def test_a_head_of_means_answers_as_the_nearest_mean():
    for stats in (STATS, "support"):
        ours = study.adapted(BODY, EPISODE, stats, rate=0.1, steps=0).log_softmax(2)
        assert torch.allclose(ours, study.nearest_mean(BODY, EPISODE, stats).log_softmax(2), atol=1e-4)


def test_steps_from_zero_are_fine_tunings():
    net = Conv4(20, study.CHANNELS)
    learner = FineTuning(net, inner_lr=0.1, inner_steps=4, stats=STATS)
    theirs = learner.predict(net.init(torch.Generator().manual_seed(2)) | BODY, EPISODE)
    ours = study.adapted(BODY, EPISODE, STATS, rate=0.1, steps=4, means=False)
    assert torch.allclose(ours, theirs, atol=1e-5)
    last = FineTuning(net, inner_lr=0.5, inner_steps=5, body=False, stats=STATS)
    theirs = last.predict(net.init(torch.Generator().manual_seed(2)) | BODY, EPISODE)
    assert torch.allclose(study.last_layer(BODY, EPISODE, STATS, steps=5), theirs, atol=1e-5)


def test_the_support_sets_statistics_do_not_see_the_queries():
    alone = EPISODE[0:1]
    first = study.nearest_mean(BODY, alone, "support")[:, :2]
    fewer = type(alone)(alone.support_x, alone.support_y, alone.query_x[:, :2], alone.query_y[:, :2], ways=alone.ways)
    assert torch.allclose(study.nearest_mean(BODY, fewer, "support"), first, atol=1e-4)


def test_the_command_goes_on_where_it_was_cut(tmp_path, monkeypatch):
    part = glyphs.draw(alphabets=6, characters=12)
    monkeypatch.setattr(omniglot, "load", lambda: (part, glyphs.draw(alphabets=2, characters=12, seed=1)))
    path = tmp_path / "domains.json"
    call = ["--steps", "1", "--tasks", "2", "--json", str(path)]
    assert study.main([*call, "--seeds", "1"]) == 0
    before = json.loads(path.read_text())["runs"]
    assert study.main([*call, "--seeds", "2"]) == 0
    after = json.loads(path.read_text())["runs"]
    assert after[: len(before)] == before
    assert [run["seed"] for run in after] == [0] * 3 + [1] * 3
