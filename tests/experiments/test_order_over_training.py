"""What first order leaves out over a training: what one batch shows, against other code, and the command."""

import json
import math
from dataclasses import replace

import pytest
import torch

from metalab.analysis.second_order import hessian_share, meta_loss
from metalab.experiments import order_over_training as study
from metalab.learners import MAML
from metalab.losses import mse
from metalab.nets import MLP, Conv4
from metalab.tasks import glyphs, sine


def problem(sizes=(1, 5, 5, 1)):
    learner = MAML(MLP(sizes), mse, inner_lr=0.05)
    generator = torch.Generator().manual_seed(0)
    params = {name: 40 * p.double() for name, p in learner.init(generator).items()}
    return learner, params, sine.sample(6, 10, 10, generator).to(torch.float64)


def of(learner, params, episode, order):
    gradient, _metrics = replace(learner, order=order).meta_gradient(params, episode)
    return torch.cat([g.flatten() for g in gradient.values()])


def test_a_batch_shows_what_the_two_meta_gradients_are():
    learner, params, episode = problem()
    seen = study.look(learner, params, episode)
    first, second = (of(learner, params, episode, order) for order in (1, 2))
    left_out = (first - second).norm()
    assert seen.share == pytest.approx((left_out / second.norm()).item())
    assert seen.of_first == pytest.approx((left_out / first.norm()).item())
    cosine = (first @ second / first.norm() / second.norm()).item()
    assert seen.angle == pytest.approx(math.degrees(math.acos(cosine)))
    assert seen.share == pytest.approx(hessian_share(learner, params, episode).whole)


def dense(learner, params, episode, task):
    """The Hessian of a task's support loss, and the gradients of both losses at the start, by autograd."""
    one = replace(learner, inner_steps=0)
    sizes = [p.numel() for p in params.values()]

    def at(flat, x, y):
        parts = zip(params.items(), flat.split(sizes), strict=True)
        theta = {name: part.view(1, *p.shape) for (name, p), part in parts}
        return learner.loss(one.net(theta, x[task : task + 1]), y[task : task + 1]).sum()

    start = torch.cat([p.flatten() for p in params.values()])
    hessian = torch.autograd.functional.hessian(lambda t: at(t, episode.support_x, episode.support_y), start)
    gradients = [
        torch.autograd.functional.jacobian(lambda t, x=x, y=y: at(t, x, y), start)
        for x, y in ((episode.support_x, episode.support_y), (episode.query_x, episode.query_y))
    ]
    return hessian, *gradients


def test_curvature_and_agreement_are_those_of_the_whole_hessian():
    learner, params, episode = problem()
    along, agree, largest = [], [], []
    for task in range(episode.tasks):
        hessian, g_support, g_query = dense(learner, params, episode, task)
        agree.append((g_support @ g_query / g_support.norm() / g_query.norm()).item())
        values = torch.linalg.eigvalsh(hessian)
        largest.append(values[values.abs().argmax()].item() * learner.inner_lr)
        adapted = torch.cat([p.flatten() for p in params.values()]) - learner.inner_lr * g_support
        parts = dict(zip(params, adapted.split([p.numel() for p in params.values()]), strict=True))
        theta = {name: part.view_as(params[name]).clone().requires_grad_() for name, part in parts.items()}
        fields = ("support_x", "support_y", "query_x", "query_y")
        one = replace(episode, **{f: getattr(episode, f)[task : task + 1] for f in fields})
        loss = meta_loss(replace(learner, inner_steps=0), theta, one)
        v = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(theta.values()))])
        along.append((learner.inner_lr * v @ hessian @ v / (v @ v)).item())
    seen = study.look(learner, params, episode)
    assert seen.along == pytest.approx(sum(along) / 6, rel=1e-6)
    assert seen.agree == pytest.approx(sum(agree) / 6, rel=1e-6)
    found = study.largest_curvature(learner, params, episode, torch.Generator().manual_seed(0))
    assert found.tolist() == pytest.approx(largest, rel=0.02)


def test_only_one_inner_step_is_looked_at():
    learner, params, episode = problem()
    with pytest.raises(ValueError, match="inner_steps=2 must be 1"):
        study.look(replace(learner, inner_steps=2), params, episode)


def test_the_command_measures_every_time_of_every_method(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(study, "BATCHES", 3)
    monkeypatch.setattr(study, "CURVED", 1)
    monkeypatch.setattr(study, "POWER", 2)
    monkeypatch.setattr(study, "STEPS", {"sine": 4, "omniglot": 4})
    monkeypatch.setattr(study, "CHANNELS", 4)
    monkeypatch.setattr(study.omniglot, "load", lambda: (glyphs.draw(alphabets=2, seed=0), None))
    out = tmp_path / "order.json"
    assert study.main(["--seeds", "2", "--out", str(out)]) == 0
    data = json.loads(out.read_text())
    kinds = [(row["tasks"], row["seed"], row["method"], row["when"]) for row in data["seen"]]
    assert kinds == [
        (tasks, seed, method, when)
        for tasks, methods in study.METHODS.items()
        for seed in (0, 1)
        for method in methods
        for when in ("start", "middle", "end")
    ]
    for row in data["seen"]:
        assert all(row[name][0] <= row[name][1] <= row[name][2] for name in ("share", "angle", "along", "largest"))
    starts = [row for row in data["seen"] if row["when"] == "start" and row["tasks"] == "sine" and row["seed"] == 0]
    assert starts[0]["share"] == starts[1]["share"] == starts[2]["share"], "the same start, seen on the same batches"


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_trained(tmp_path, capsys):
    with pytest.raises(SystemExit):
        study.main(["--tasks", "sine", "--out", str(tmp_path)])
    assert str(tmp_path) in capsys.readouterr().err


def test_characters_are_seen_as_they_are_trained():
    turned = glyphs.draw(alphabets=2, seed=0).with_rotations()
    names = []
    for method, training, learner, draw in study.trainings("omniglot", 0, turned):
        names.append((method, training.learner.order))
        assert isinstance(learner.net, Conv4)
        assert learner.inner_lr == training.learner.inner_lr == 0.4
        episode = draw(torch.Generator().manual_seed(0))
        assert (episode.tasks, episode.ways) == (study.TASKS, 5)
    assert names == [("first-order MAML", 1), ("MAML", 2)]
