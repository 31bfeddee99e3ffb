"""The study of domains: its methods agree with the learners of the package, and its file can be continued."""

import json

import torch
import torch.nn.functional as F

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


def test_a_centred_last_layer_is_fitted_as_autograd_would():
    centred = study.last_layer(BODY, EPISODE, STATS, steps=5, centred=True)
    support, query = study.embed(BODY, EPISODE, STATS)
    mean = support.mean(1, keepdim=True)
    weight = torch.zeros(3, support.shape[2] + 1, 4, requires_grad=True)
    x, asked = (torch.cat([z - mean, torch.ones_like(z[..., :1])], 2) for z in (support, query))
    for _ in range(5):  # autograd is the witness
        losses = F.cross_entropy((x @ weight).transpose(1, 2), EPISODE.support_y, reduction="none").mean(1)
        (grad,) = torch.autograd.grad(losses.sum(), weight)
        weight = (weight - 0.5 * grad).detach().requires_grad_()
    torch.testing.assert_close(centred, (asked @ weight).detach(), rtol=1e-4, atol=1e-5)


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


def test_a_method_that_is_missing_is_measured_after_the_same_training(tmp_path, monkeypatch):
    part = glyphs.draw(alphabets=6, characters=12)
    monkeypatch.setattr(omniglot, "load", lambda: (part, glyphs.draw(alphabets=2, characters=12, seed=1)))
    path = tmp_path / "domains.json"
    call = ["--steps", "1", "--tasks", "2", "--seeds", "1", "--json", str(path)]
    assert study.main(call) == 0
    whole = json.loads(path.read_text())
    assert all(set(run["accuracy"]) == set(study.WANTED[run["training"]]) for run in whole["runs"])
    cut = json.loads(path.read_text())
    del cut["runs"][0]["accuracy"]["last layer, centred"]
    path.write_text(json.dumps(cut))
    assert study.main(call) == 0
    again = json.loads(path.read_text())
    assert [run["accuracy"] for run in again["runs"]] == [run["accuracy"] for run in whole["runs"]]
