import pytest
import torch
from naive_maml import naive_meta_gradient, relative_error, slope
from problems import PROBLEMS, seeded

from metalab.learners import MAML, MultiStepLoss
from metalab.learners.multi_step_loss import annealed
from metalab.nets import MLP

UNEVEN = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("importance", [None, UNEVEN], ids=["equal", "uneven"])
def test_equals_the_naive_loop(problem, order, importance):
    options = {"order": order, "inner_steps": 3, "importance": importance}
    learner, params, episode = PROBLEMS[problem](MultiStepLoss, **options)
    ours, metrics = learner.meta_gradient(params, episode)
    theirs, _loss = naive_meta_gradient(learner, params, episode)
    assert relative_error(ours, theirs) < 1e-12
    alone = MAML(learner.net, learner.loss, learner.inner_lr, 3, transductive=learner.transductive)
    assert metrics["loss"] == pytest.approx(alone.meta_gradient(params, episode)[1]["loss"].item(), rel=1e-12)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_equals_finite_differences(problem):
    learner, params, episode = PROBLEMS[problem](MultiStepLoss, inner_steps=3, importance=UNEVEN)
    ours, _ = learner.meta_gradient(params, episode)
    direction = {n: torch.randn(p.shape, generator=seeded(4), dtype=torch.float64) for n, p in params.items()}
    along = sum((ours[n] * direction[n]).sum() for n in ours).item()
    assert slope(learner, params, episode, direction) == pytest.approx(along, rel=1e-5)


def test_with_the_last_loss_alone_it_is_maml():
    learner, params, episode = PROBLEMS["sine"](MultiStepLoss, inner_steps=2, importance=torch.tensor([0.0, 1.0]))
    plain = MAML(learner.net, learner.loss, learner.inner_lr, 2)
    assert relative_error(learner.meta_gradient(params, episode)[0], plain.meta_gradient(params, episode)[0]) < 1e-12


def test_weights_may_be_changed_in_place():
    weights = annealed(0.0, 2).double()
    learner, params, episode = PROBLEMS["sine"](MultiStepLoss, inner_steps=2, importance=weights)
    before, _ = learner.meta_gradient(params, episode)
    weights.copy_(annealed(1.0, 2))
    assert relative_error(learner.meta_gradient(params, episode)[0], before) > 1e-3


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_weights_go_from_equal_to_the_last_alone(steps):
    for progress in (0, 0.3, 1):
        weights = annealed(progress, steps)
        assert weights.sum() == pytest.approx(1)
        assert weights[:-1].tolist() == pytest.approx([max(1 - progress, 0.03) / steps] * (steps - 1))
    assert annealed(0, steps).tolist() == pytest.approx([1 / steps] * steps)


def test_bad_options_are_named():
    with pytest.raises(ValueError, match="inner_steps=0 must be a whole number of at least 1"):
        MultiStepLoss(MLP(), inner_steps=0)
    with pytest.raises(ValueError, match="importance has 2 weights: inner_steps=3 needs one for each"):
        MultiStepLoss(MLP(), inner_steps=3, importance=torch.ones(2))
    with pytest.raises(ValueError, match=r"progress=1\.5 must be a finite number, at least 0 and at most 1"):
        annealed(1.5, 3)
