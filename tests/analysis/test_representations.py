"""Representations against formulas, and of networks whose layers are known."""

from dataclasses import replace

import noise
import pytest
import torch

from metalab.analysis.representations import activations, layer_similarity, linear_cka
from metalab.learners import ANIL, MAML
from metalab.losses import mse
from metalab.nets import MLP, Conv4
from metalab.tasks import sine


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def sine_problem():
    learner = MAML(MLP((1, 8, 8, 1)), mse, inner_lr=0.05, inner_steps=2)
    params = {name: 60 * p for name, p in learner.init(seeded()).items()}
    return learner, params, sine.sample(3, 5, 6, seeded(1))


def character_problem(kind=MAML, pool="stride"):
    learner = kind(Conv4(3, channels=4, pool=pool), inner_steps=2)
    return learner, learner.init(seeded()), noise.noise(8, 6, seed=2).sample(2, 3, 1, 2, seeded(3))


def test_cka_sees_no_rotation_no_shift_and_no_scale():
    x = normal(20, 6, seed=0)
    turned, _ = torch.linalg.qr(normal(6, 6, seed=1))
    for other in (x @ turned, x + 3, -0.1 * x, torch.cat([x, 0 * x], 1)):
        assert linear_cka(x, other).item() == pytest.approx(1)


def test_cka_sees_stretching_and_unrelated_features():
    x = normal(200, 6, seed=0)
    stretched = x * torch.tensor([10.0, 1, 1, 1, 1, 1])
    assert 0.1 < linear_cka(x, stretched).item() < 0.9  # it is not invariant to every linear map
    assert linear_cka(x, normal(200, 6, seed=1)).item() < 0.1
    column = torch.tensor([1.0, -1, 1, -1]).unsqueeze(1)
    assert linear_cka(column, torch.tensor([1.0, 1, -1, -1]).unsqueeze(1)).item() == 0


def test_cka_is_kornbliths_formula_for_each_of_many():
    x, y = normal(3, 9, 4, seed=0), normal(3, 9, 7, seed=1)
    for a, b, together in zip(x, y, linear_cka(x, y), strict=True):
        a, b = a - a.mean(0), b - b.mean(0)
        expected = (b.T @ a).square().sum() / ((a.T @ a).norm() * (b.T @ b).norm())
        assert together.item() == pytest.approx(expected.item())
    torch.testing.assert_close(linear_cka(x, y), linear_cka(y, x))


@pytest.mark.parametrize(("a", "b"), [(4, 5), (2, 2)])
def test_cka_of_too_few_or_different_inputs_is_refused(a, b):
    with pytest.raises(ValueError, match=f"x has {a} inputs and y has {b}: they must be the same inputs, at least 3"):
        linear_cka(torch.zeros(a, 2), torch.zeros(b, 2))


def test_activations_are_what_the_layers_give():
    learner, params, episode = sine_problem()
    theta = learner.adapt(params, episode)[-1]
    found = activations(learner.net, theta, episode.query_x)
    hidden = torch.relu(episode.query_x @ theta["w1"] + theta["b1"].unsqueeze(1))
    assert list(found) == ["w1", "w2", "w3"]
    torch.testing.assert_close(found["w1"], hidden)
    torch.testing.assert_close(found["w2"], torch.relu(hidden @ theta["w2"] + theta["b2"].unsqueeze(1)))
    torch.testing.assert_close(found["w3"], learner.net(theta, episode.query_x))


def test_activations_of_pictures_are_one_row_a_picture():
    learner, params, episode = character_problem()
    theta = learner.adapt(params, episode)[0]
    found = activations(learner.net, theta, episode.query_x)
    sizes = {"conv1": 14 * 14 * 4, "conv2": 7 * 7 * 4, "conv3": 4 * 4 * 4, "conv4": 4, "head": 3}
    assert {name: tuple(z.shape) for name, z in found.items()} == {n: (2, 6, size) for n, size in sizes.items()}
    torch.testing.assert_close(found["conv4"], replace(learner.net, outputs=None)(theta, episode.query_x))
    torch.testing.assert_close(found["head"], learner.net(theta, episode.query_x))


def test_anils_body_stays_as_it_was():
    learner, params, episode = character_problem(ANIL)
    body = {"conv1", "conv2", "conv3", "conv4"}
    anil = layer_similarity(learner, params, episode)
    assert all(anil[name].tolist() == pytest.approx([1, 1]) for name in body)
    assert anil["head"].max() < 0.999
    maml = layer_similarity(*character_problem(MAML))
    assert all(maml[name].max() < 0.99999 for name in ("conv3", "conv4"))


def test_a_net_without_a_chain_is_refused():
    with pytest.raises(ValueError, match=r"Conv4\(.*'max'\) has no chain of layers for inputs of shape \[2, 6, 1, 28"):
        layer_similarity(*character_problem(pool="max"))
