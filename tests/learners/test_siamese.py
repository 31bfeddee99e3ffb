"""What contrastive, triplet and Koch's learners share, tested on all of them."""

from dataclasses import replace

import noise
import pytest
import torch
from on_device import OnDevice

from metalab.evaluate import evaluate
from metalab.learners import siamese
from metalab.learners.contrastive import Contrastive
from metalab.learners.koch import Koch
from metalab.learners.siamese import balanced_mean, distances, kinds_of_pairs
from metalab.learners.triplet import Triplet
from metalab.nets import Conv4
from metalab.tasks import Groups, as_episode, as_pairs, distort
from metalab.train import Diverged, Trainer

NET = Conv4(channels=5, pool="max")
LEARNERS = {
    "contrastive": Contrastive(NET),
    "contrastive, linear layer": Contrastive(Conv4(2, channels=5), margin=0.3),
    "batch-hard": Triplet(NET, margin=0.5),
    "semi-hard": Triplet(NET, margin=0.5, mining="semi-hard"),
    "koch": Koch(NET),
    "koch, linear layer": Koch(Conv4(3, channels=5)),
}
every_learner = pytest.mark.parametrize("learner", LEARNERS.values(), ids=LEARNERS)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def problem(learner, groups=2, characters=3, drawings=3):
    """Parameters and a batch in double precision, and the learner with the statistics of training pictures."""
    source = noise.noise(9, 6, seed=2)
    params = {name: p.double() for name, p in learner.init(seeded()).items()}
    params |= {name: 0.3 + 0 * p for name, p in params.items() if name.startswith("shift")}  # no unit is always off
    batch = Groups(source, characters, drawings)(groups, seeded(3)).double()
    stats = learner.net.statistics(params, source.batch(40, seeded(4))[0].double())
    return params, batch, replace(learner, stats=stats)


def collapsed(params):
    """Parameters that embed everything in one point, to the last bit: no ink gets through, and sums are exact."""
    return {
        name: p if name.startswith("pair") else torch.full_like(p, 0.0 if name.startswith("conv") else 0.25)
        for name, p in params.items()
    }


# ---------------------------------------------------------------- distances


def test_distances_are_euclidean():
    a, b = torch.randn(2, 3, 4, 5, generator=seeded()).double(), torch.randn(2, 3, 6, 5, generator=seeded(1)).double()
    torch.testing.assert_close(distances(a, b), torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist"))


def test_distances_have_the_right_slope():
    a, b = (torch.randn(2, 3, 4, generator=seeded(i)).double().requires_grad_() for i in (0, 1))
    assert torch.autograd.gradcheck(distances, (a, b))


def test_distances_are_safe_where_embeddings_coincide():
    z = torch.tensor([[1.0, 2.0], [1.0, 2.0], [4.0, 6.0]], requires_grad=True)
    d = distances(z, z)
    assert d.tolist() == [[0, 0, 5], [0, 0, 5], [5, 5, 0]]
    (slope,) = torch.autograd.grad(d[:2, :2].sum(), z)
    assert slope.tolist() == [[0, 0], [0, 0], [0, 0]]
    (slope,) = torch.autograd.grad(distances(z, z)[0].sum(), z)
    torch.testing.assert_close(slope, torch.tensor([[-0.6, -0.8], [0, 0], [0.6, 0.8]]))


def test_small_distances_are_not_lost_to_rounding():
    z = torch.tensor([[1000.0, 0.0], [1000.0, 0.001], [1000.0, 0.0]])
    assert distances(z, z)[0].tolist() == [0, pytest.approx(0.001), 0]


def test_distances_do_not_hide_what_is_not_a_number():
    z = torch.tensor([[0.0], [torch.nan], [torch.inf]])
    assert distances(z, z[:1])[:, 0].isfinite().tolist() == [True, False, False]


@pytest.mark.parametrize("compare", [distances, lambda a, b: LEARNERS["koch"].similarity({}, a, b)])
def test_embeddings_of_two_widths_are_named(compare):
    with pytest.raises(ValueError, match=r"a and b have the shapes \[2, 3\] and \[2, 1\]"):
        compare(torch.zeros(2, 3), torch.zeros(2, 1))


# ---------------------------------------------------------------- which pairs


def test_kinds_of_pairs():
    positive, negative = kinds_of_pairs(6, 3)
    for i in range(6):
        for j in range(6):
            assert positive[i, j] == (i // 3 == j // 3 and i != j)
            assert negative[i, j] == (i // 3 != j // 3)


@pytest.mark.parametrize(
    ("rows", "drawings", "message"),
    [
        (4, 1, "drawings=1 must be a whole number of at least 2"),
        (3, 3, "rows=3 must be 2, 3, … times drawings=3: at least two characters"),
        (7, 3, "rows=7 must be 2, 3, … times drawings=3"),
        (0, 2, "rows=0 must be"),
    ],
)
def test_groups_without_both_kinds_of_pairs_are_named(rows, drawings, message):
    with pytest.raises(ValueError, match=message):
        kinds_of_pairs(rows, drawings)


def test_positive_pairs_weigh_as_much_as_negative_ones():
    values = torch.rand(2, 8, 8, generator=seeded()).double()
    for ours, group in zip(balanced_mean(values, 2), values, strict=True):
        same = [group[i, j] for i in range(8) for j in range(8) if i // 2 == j // 2 and i != j]
        different = [group[i, j] for i in range(8) for j in range(8) if i // 2 != j // 2]
        torch.testing.assert_close(ours, sum(same) / 8 / 2 + sum(different) / 48 / 2)


# ---------------------------------------------------------------- training


@every_learner
def test_meta_gradient_is_that_of_the_groups_mean_loss(learner):
    """Every drawing goes through the net once, in one batch, and the slopes are those of finite differences."""
    params, batch, _ready = problem(learner)

    def mean_loss(theta):
        one = {name: p[None] for name, p in theta.items()}
        z = learner.net(one, batch.reshape(1, 18, 1, 28, 28)).view(2, 9, -1)
        return sum(learner.loss(learner.similarity(theta, group, group)[None], 3) for group in z) / 2

    leaves = {name: p.clone().requires_grad_() for name, p in params.items()}
    loss = mean_loss(leaves)
    theirs = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
    ours, metrics = learner.meta_gradient(params, batch)
    assert list(ours) == list(params)
    for name in params:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-9, atol=1e-12)
        assert ours[name].abs().sum() > 0
    assert metrics["loss"].item() == pytest.approx(loss.item(), rel=1e-12)

    along = {name: torch.randn(p.shape, generator=seeded(8), dtype=p.dtype) for name, p in params.items()}
    there, back = ({name: p + h * along[name] for name, p in params.items()} for h in (1e-6, -1e-6))
    slope = sum((ours[name] * along[name]).sum() for name in params).item()
    assert (mean_loss(there) - mean_loss(back)).item() / 2e-6 == pytest.approx(slope, rel=1e-4)


@every_learner
def test_metrics_are_of_the_batch(learner):
    params, batch, _ready = problem(learner)
    one = {name: p[None] for name, p in params.items()}
    z = learner.net(one, batch.reshape(1, 18, 1, 28, 28)).view(2, 9, -1)
    hits, same, different = [], [], []
    for group in z:
        s = learner.similarity(params, group, group)
        for i in range(9):
            others = [j for j in range(9) if j != i]
            hits.append(max(others, key=lambda j: s[i, j]) // 3 == i // 3)
            for j in others:
                (same if i // 3 == j // 3 else different).append(s[i, j].item())
    metrics = learner.meta_gradient(params, batch)[1]
    assert metrics["accuracy"].item() == pytest.approx(sum(hits) / 18)
    assert metrics["same"].item() == pytest.approx(sum(same) / len(same))
    assert metrics["different"].item() == pytest.approx(sum(different) / len(different))


@every_learner
def test_all_embeddings_in_one_point_give_finite_gradients(learner):
    params, batch, _ready = problem(learner)
    grads, metrics = learner.meta_gradient(collapsed(params), batch)
    assert all(g.isfinite().all() for g in grads.values())
    assert metrics["loss"].isfinite()
    # All others are equally alike: 2 of 8 are of the drawing's own character, not the first that comes.
    assert metrics["accuracy"].item() == pytest.approx(0.25)
    assert metrics["same"].item() == pytest.approx(metrics["different"].item())


@every_learner
def test_one_drawing_all_over_gives_finite_gradients(learner):
    params, batch, _ready = problem(learner)
    grads, metrics = learner.meta_gradient(params, batch[:1, :1, :1].expand_as(batch))
    assert all(g.isfinite().all() for g in grads.values())
    assert metrics["loss"].isfinite()


@every_learner
def test_the_order_of_the_characters_does_not_matter(learner):
    params, batch, _ready = problem(learner)
    (grads, metrics), (others, other_metrics) = (
        learner.meta_gradient(params, b) for b in (batch, batch.flip(0)[:, [2, 0, 1]][:, :, [1, 0, 2]])
    )
    for name in params:
        torch.testing.assert_close(grads[name], others[name], rtol=1e-8, atol=1e-11)
    torch.testing.assert_close(metrics, other_metrics)


@every_learner
def test_batches_without_both_kinds_of_pairs_are_named(learner):
    params, batch, _ready = problem(learner)
    with pytest.raises(ValueError, match="drawings=1 must be a whole number of at least 2"):
        learner.meta_gradient(params, batch[:, :, :1])
    with pytest.raises(ValueError, match="at least two characters"):
        learner.meta_gradient(params, batch[:, :1])


@every_learner
def test_a_training_step_never_waits_for_the_device(learner):
    source = noise.noise(8, 6, seed=0)
    groups = Groups(source, 3, 2, within_alphabet=True)
    trainer = Trainer(learner, lambda generator: distort(groups(2, generator), generator))
    before = trainer.step().metrics["loss"]
    seen = []
    for _ in range(2):
        with OnDevice() as mode:
            trainer._meta_step()
        seen.append(mode.shapes)
    assert seen[0] == seen[1]
    assert trainer.step().metrics["loss"] != before


@every_learner
def test_a_meta_gradient_mixes_no_devices(learner):
    params, batch, _ready = problem(learner)
    grads, metrics = learner.meta_gradient({name: p.to("meta") for name, p in params.items()}, batch.to("meta"))
    assert {name: (g.shape, g.device.type) for name, g in grads.items()} == {
        name: (p.shape, "meta") for name, p in params.items()
    }
    assert {value.device.type for value in metrics.values()} == {"meta"}


@every_learner
def test_training_learns_its_batch(learner):
    _params, batch, _ready = problem(learner)
    trainer = Trainer(learner, lambda generator: batch.float(), outer_lr=0.01)
    first = trainer.step().metrics
    last = trainer.step(60).metrics
    assert last["loss"] < 0.8 * first["loss"]
    assert last["same"] - last["different"] > first["same"] - first["different"]


@every_learner
def test_training_stops_where_a_picture_is_not_a_number(learner):
    _params, batch, _ready = problem(learner)
    with pytest.raises(Diverged, match="the loss is nan at meta-step 1"):
        Trainer(learner, lambda generator: batch.float() + torch.nan).step()


# ---------------------------------------------------------------- use


@every_learner
def test_a_query_is_of_the_class_of_its_nearest_support(learner):
    params, _batch, learner = problem(learner)
    episode = as_episode(Groups(noise.noise(9, 6, seed=2), 4, 5)(3, seeded(1)).double(), shots=2)
    logits = learner.predict(params, episode)
    assert logits.shape == (3, 12, 4)
    one = {name: p[None] for name, p in params.items()}
    for t in range(3):
        support_z = learner.net(one, episode.support_x[t : t + 1], stats=learner.stats)[0]
        for q in range(12):
            z = learner.net(one, episode.query_x[t, q : q + 1][None], stats=learner.stats)[0]
            for n in range(4):
                of_class = support_z[episode.support_y[t] == n]
                alike = max(learner.similarity(params, z, each[None]).item() for each in of_class)
                assert logits[t, q, n].item() == pytest.approx(alike, rel=1e-9)


@every_learner
def test_equal_embeddings_tie(learner):
    params, _batch, _ready = problem(learner)
    params = collapsed(params)
    groups = Groups(noise.noise(9, 6, seed=2), 5, 3)
    ready = learner.with_statistics(params, groups(2, seeded()).flatten(0, 2).double())
    score = evaluate(
        lambda episode: ready.predict(params, episode.to(torch.float64)),
        lambda tasks, generator: as_episode(groups(tasks, generator), shots=2),
        episodes=6,
    )
    assert score.mean == pytest.approx(0.2)


@every_learner
def test_pairs_are_compared_one_by_one(learner):
    params, _batch, learner = problem(learner)
    pairs = as_pairs(Groups(noise.noise(9, 6, seed=2), 2, 2)(6, seeded(1)).double())
    alike = learner.compare(params, pairs)
    first, second = (learner.embed(params, x) for x in (pairs.first, pairs.second))
    assert alike.shape == (6,)
    for i in range(6):
        one = learner.similarity(params, first[i : i + 1], second[i : i + 1])
        assert alike[i].item() == pytest.approx(one.item(), rel=1e-12)
    swapped = learner.compare(params, type(pairs)(pairs.second, pairs.first, pairs.same))
    torch.testing.assert_close(alike, swapped)


def test_pictures_are_embedded_in_chunks(monkeypatch):
    learner = LEARNERS["contrastive, linear layer"]
    params, batch, learner = problem(learner)
    whole = learner.embed(params, batch)
    assert whole.shape == (2, 3, 3, 2)
    sizes, network = [], learner._embed
    monkeypatch.setattr(type(learner), "_embed", lambda _, p, x, s: (sizes.append(len(x)), network(p, x, s))[1])
    for at_once, expected in ((4, [4, 4, 4, 4, 2]), (0.5, [1] * 18)):
        monkeypatch.setattr(siamese, "PIXELS", int(at_once * batch.shape[-2:].numel()))
        sizes.clear()
        torch.testing.assert_close(learner.embed(params, batch), whole)
        assert sizes == expected


@every_learner
def test_inputs_are_left_as_they_were(learner):
    params, batch, learner = problem(learner)
    kept = {name: p.clone() for name, p in params.items()}
    learner.meta_gradient(params, batch)
    z = learner.embed(params, batch)
    assert not z.requires_grad
    assert all(torch.equal(params[name], kept[name]) and not params[name].requires_grad for name in params)


@every_learner
def test_uses_need_statistics(learner):
    params, batch, _ready = problem(learner)
    pairs = as_pairs(Groups(noise.noise(9, 6, seed=2), 2, 2)(2, seeded(1)).double())
    episode = as_episode(batch, shots=1)
    for use in (
        lambda: learner.embed(params, batch),
        lambda: learner.compare(params, pairs),
        lambda: learner.predict(params, episode),
    ):
        with pytest.raises(ValueError, match="stats=None: batch norm has no statistics yet"):
            use()


def test_the_loss_is_each_learners_own():
    with pytest.raises(NotImplementedError):
        siamese.Siamese(NET).loss(torch.zeros(1, 4, 4), 2)
