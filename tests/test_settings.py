from dataclasses import asdict, fields, replace

import noise
import pytest
import torch

from metalab.experiments.settings import ALGORITHMS, Settings
from metalab.learners.contrastive import Contrastive
from metalab.learners.koch import Koch
from metalab.learners.maml import MAML
from metalab.learners.matching import MatchingNet
from metalab.learners.prototypical import PrototypicalNet
from metalab.learners.reptile import Reptile
from metalab.learners.triplet import Triplet
from metalab.losses import cross_entropy, mse
from metalab.nets import MLP, Conv4
from metalab.train import Adam, Descent


def chosen(settings, *names):
    return tuple(getattr(settings, name) for name in names)


@pytest.mark.parametrize(("ways", "inner_lr", "inner_steps", "meta_batch"), [(5, 0.4, 1, 32), (20, 0.1, 5, 16)])
@pytest.mark.parametrize("shots", [1, 5])
def test_omniglot_is_as_in_the_maml_paper(ways, inner_lr, inner_steps, meta_batch, shots):
    s = Settings.of("omniglot", ways=ways, shots=shots)
    assert chosen(s, "inner_lr", "inner_steps", "meta_batch") == (inner_lr, inner_steps, meta_batch)
    assert chosen(s, "steps", "outer_lr", "queries", "channels", "pool") == (60_000, 1e-3, shots, 64, "stride")


def test_sine_is_as_in_the_maml_paper():
    s = Settings.of("sine", shots=10)
    assert chosen(s, "shots", "queries", "inner_lr", "inner_steps", "meta_batch") == (10, 10, 0.01, 1, 25)
    assert chosen(s, "steps", "outer_lr", "halve_every", "ways", "pool") == (70_000, 1e-3, None, None, None)


def test_protonet_is_as_in_its_paper():
    s = Settings.of("omniglot", "protonet")
    assert chosen(s, "ways", "shots", "queries", "meta_batch", "outer_lr", "pool") == (60, 1, 5, 1, 1e-3, "max")
    assert [s.rate(step) for step in (1, 2000, 2001, 4000, 4001)] == [1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4]


def test_without_halving_the_rate_stays():
    assert Settings.of("sine").rate(10**6) == 1e-3


@pytest.mark.parametrize(
    ("ways", "inner_lr", "inner_steps", "inner_batch", "steps"),
    [(5, 1e-3, 5, 10, 100_000), (20, 5e-4, 10, 20, 200_000)],
)
def test_reptile_is_as_in_its_paper(ways, inner_lr, inner_steps, inner_batch, steps):
    s = Settings.of("omniglot", "reptile", ways=ways)
    assert s.learner() == Reptile(Conv4(ways), inner_lr=inner_lr, inner_steps=inner_steps, inner_batch=inner_batch)
    assert chosen(s, "meta_batch", "steps", "shots", "queries") == (5, steps, 1, None)
    assert [s.rate(step) for step in (1, steps // 2 + 1, steps)] == [1, 0.5, pytest.approx(1 / steps)]
    assert s.optimizer() is Descent
    assert Settings.of("omniglot", ways=ways).optimizer() is Adam


@pytest.mark.parametrize("tasks", ["sine", "omniglot"])
def test_reptile_draws_shots_of_its_own_in_minibatches(tasks):
    settings = Settings.of(tasks, "reptile", meta_batch=2)
    train = None if tasks == "sine" else noise.noise(8, 12, seed=0)
    episode = settings.sampler(train)(torch.Generator().manual_seed(0))
    assert episode.support_x.shape[:2] == (2, 50)
    assert episode.query_x.shape[:2] == (2, settings.ways or 1)
    drawn = {tuple(row.flatten().tolist()) for row in episode.support_x[0]}
    assert len(drawn) == 50  # one pass over all of them


@pytest.mark.parametrize("tasks", ["sine", "omniglot"])
def test_sparse_learns_gates(tasks):
    sparse, maml = (Settings.of(tasks, algorithm).learner() for algorithm in ("sparse", "maml"))
    assert sparse == replace(maml, learn_gates=True)


@pytest.mark.parametrize(
    ("tasks", "algorithm", "order", "inner_steps", "adapts", "learn_rates"),
    [
        ("sine", "maml", 2, 1, None, False),
        ("sine", "fomaml", 1, 1, None, False),
        ("sine", "anil", 2, 1, ("w3", "b3"), False),
        ("sine", "metasgd", 2, 1, None, True),
        ("sine", "joint", 2, 0, None, False),
        ("omniglot", "maml", 2, 5, None, False),
        ("omniglot", "fomaml", 1, 5, None, False),
        ("omniglot", "anil", 2, 5, ("head", "bias"), False),
        ("omniglot", "metasgd", 2, 1, None, True),
    ],
)
def test_each_algorithm_is_what_its_name_says(tasks, algorithm, order, inner_steps, adapts, learn_rates):
    ways = {} if tasks == "sine" else {"ways": 20}
    settings = Settings.of(tasks, algorithm, **ways)
    net, loss = (MLP(), mse) if tasks == "sine" else (Conv4(20), cross_entropy)
    assert settings.learner() == MAML(
        net,
        loss,
        inner_lr=settings.inner_lr,
        inner_steps=inner_steps,
        order=order,
        adapts=adapts,
        learn_rates=learn_rates,
    )


def test_the_network_is_the_one_asked_for():
    assert Settings.of("omniglot", channels=8, pool="max").learner().net == Conv4(5, channels=8, pool="max")
    protonet = Settings.of("omniglot", "protonet", channels=8, pool="stride").learner()
    assert protonet == PrototypicalNet(Conv4(channels=8, pool="stride"))


def test_what_is_given_wins():
    given = {"shots": 2, "queries": 7, "inner_lr": 0.0, "inner_steps": 3, "halve_every": 5, "minutes": 0.5, "seed": 0}
    settings = Settings.of("omniglot", "fomaml", **given)
    assert asdict(settings).items() >= given.items()


@pytest.mark.parametrize(("tasks", "algorithm"), [(tasks, a) for tasks, known in ALGORITHMS.items() for a in known])
def test_a_note_keeps_every_setting(tasks, algorithm):
    settings = Settings.of(tasks, algorithm, minutes=2.5)
    assert Settings.from_note({**asdict(settings), "taken": 3}) == settings


def test_a_note_that_says_too_little_is_refused():
    note = asdict(Settings.of("sine"))
    del note["inner_lr"]
    with pytest.raises(ValueError, match="its note does not say 'inner_lr': write it by `python -m metalab train`"):
        Settings.from_note(note)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mnist",), "mnist is not known: choose one of sine, omniglot"),
        (
            ("sine", "sgd"),
            "--algorithm sgd is not known for sine: choose one of maml, fomaml, anil, metasgd, sparse, reptile, joint",
        ),
        (("omniglot", "joint"), "--algorithm joint is not known for omniglot: choose one of maml, .*protonet"),
    ],
)
def test_unknown_names_are_told_with_the_known(arguments, message):
    with pytest.raises(ValueError, match=message):
        Settings.of(*arguments)


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (("sine", "maml"), {"ways": 5}),
        (("sine", "maml"), {"pool": "max"}),
        (("sine", "joint"), {"inner_steps": 1}),
        (("omniglot", "protonet"), {"inner_lr": 0.1}),
        (("omniglot", "reptile"), {"queries": 2}),
    ],
)
def test_what_does_not_apply_is_refused(arguments, given):
    [name] = given
    flag = "--" + name.replace("_", "-")
    with pytest.raises(ValueError, match=f"{flag} does not apply to {arguments[1]} on {arguments[0]}: leave it out"):
        Settings.of(*arguments, **given)


NUMBERS = [f for f in fields(Settings) if f.metadata["type"] in (int, float)]


@pytest.mark.parametrize("name", [f.name for f in NUMBERS])
def test_numbers_that_cannot_be_are_refused_by_their_flag(name):
    zero = name in ("inner_lr", "seed", "save_every", "hardest", "distort", "within")
    algorithm = "contrastive" if name in ("margin", "hardest") else "maml"
    least = "at least 0" if zero else "above 0"
    for bad in (-1, float("nan"), 2**63, *([] if zero else [0])):
        with pytest.raises(ValueError, match=f"^--{name.replace('_', '-')} {bad} must be {least}, and below 2\\^63$"):
            Settings.of("omniglot", algorithm, **{name: bad})
    if zero:
        assert getattr(Settings.of("omniglot", algorithm, **{name: 0}), name) == 0


@pytest.mark.parametrize(
    ("algorithm", "learner"),
    [
        ("protonet", PrototypicalNet(Conv4(pool="max"))),
        ("matching", MatchingNet(Conv4(pool="max"))),
        ("contrastive", Contrastive(Conv4(pool="max"), margin=2.0, hardest=5)),
        ("triplet", Triplet(Conv4(pool="max"), margin=0.2)),
        ("koch", Koch(Conv4(pool="max"))),
    ],
)
def test_the_metric_family_has_one_protocol(algorithm, learner):
    settings = Settings.of("omniglot", algorithm)
    assert settings.learner() == learner
    assert chosen(settings, "ways", "shots", "queries", "steps") == (60, 1, 5, 20_000)
    assert settings.distort == (1.0 if algorithm == "koch" else 0.0)


def test_without_a_number_of_hardest_pairs_all_of_them_count():
    assert Settings.of("omniglot", "contrastive", hardest=0).learner().hardest is None


@pytest.mark.parametrize("algorithm", ["contrastive", "triplet", "koch"])
def test_siamese_learners_get_groups(algorithm):
    settings = Settings.of("omniglot", algorithm, ways=4, queries=2, meta_batch=2, distort=0.0)
    groups = settings.sampler(noise.noise(8, 12, seed=0))(torch.Generator().manual_seed(0))
    assert groups.shape[:3] == (2, 4, 3)


def test_tasks_within_an_alphabet_come_first():
    characters = noise.noise(8, 12, seed=0)
    characters = replace(characters, alphabet=torch.arange(8) // 4, names=("a", "b"))
    settings = Settings.of("omniglot", "protonet", ways=4, queries=1, meta_batch=2, within=1)
    sample, generator = settings.sampler(characters), torch.Generator().manual_seed(0)
    known = {
        drawing.flatten().div(255).numpy().tobytes(): int(a)
        for a, c in zip(characters.alphabet, characters.images.float(), strict=True)
        for drawing in c
    }
    kinds = [
        {known[x.flatten().numpy().tobytes()] for x in task} for _ in range(20) for task in sample(generator).support_x
    ]
    assert all(len(kind) == 1 for kind in kinds[::2])
    assert any(len(kind) == 2 for kind in kinds[1::2])


def test_distortions_change_the_drawings_and_nothing_else():
    plain, distorted = (
        Settings.of("omniglot", "protonet", ways=4, distort=strength).sampler(noise.noise(8, 12, seed=0))(
            torch.Generator().manual_seed(0)
        )
        for strength in (0.0, 1.0)
    )
    assert plain.support_y.equal(distorted.support_y)
    assert not plain.support_x.equal(distorted.support_x)


def test_more_tasks_within_an_alphabet_than_tasks_are_refused():
    with pytest.raises(ValueError, match="--within 2 is more than the 1 tasks of --meta-batch"):
        Settings.of("omniglot", "protonet", within=2)


def test_more_shots_and_queries_than_drawings_are_refused():
    settings = Settings.of("omniglot", shots=8, queries=5)
    with pytest.raises(ValueError, match="--shots 8 and --queries 5: a character has only 12 drawings"):
        settings.sampler(noise.noise(8, 12, seed=0))


@pytest.mark.parametrize("name", ["margin", "hardest", "distort", "within"])
def test_a_note_from_before_a_setting_came_into_being_is_read(name):
    settings = Settings.of("omniglot", "protonet")
    note = asdict(settings)
    del note[name]
    assert Settings.from_note(note) == settings
