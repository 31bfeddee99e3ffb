"""What a run can be told: which settings are refused, and what they make of the data."""

from dataclasses import asdict, fields, replace

import noise
import pytest
import torch

from metalab.experiments.recipes import RECIPES, TASKS
from metalab.experiments.settings import LATER, BadSetting, Settings, algorithms, flag
from metalab.residual import Residual


@pytest.mark.parametrize("tasks", ["sine", "omniglot"])
def test_reptile_draws_shots_of_its_own_in_minibatches(tasks):
    settings = Settings.of(tasks, "reptile", meta_batch=2)
    train = None if tasks == "sine" else noise.noise(8, 12, seed=0)
    episode = settings.sampler(train)(torch.Generator().manual_seed(0))
    assert episode.support_x.shape[:2] == (2, 50)
    assert episode.query_x.shape[:2] == (2, settings.ways or 1)
    drawn = {tuple(row.flatten().tolist()) for row in episode.support_x[0]}
    assert len(drawn) == 50  # one pass over all of them


def test_what_is_given_wins():
    given = {"shots": 2, "queries": 7, "inner_lr": 0.0, "inner_steps": 3, "halve_every": 5, "minutes": 0.5, "seed": 0}
    settings = Settings.of("omniglot", "fomaml", **given)
    assert asdict(settings).items() >= given.items()


@pytest.mark.parametrize(("tasks", "algorithm"), [(tasks, a) for tasks in TASKS for a in algorithms(tasks)])
def test_a_note_keeps_every_setting(tasks, algorithm):
    settings = Settings.of(tasks, algorithm, minutes=2.5)
    assert Settings.from_note({**asdict(settings), "taken": 3}) == settings


@pytest.mark.parametrize("name", [f.name for f in fields(Settings) if f.name not in LATER])
def test_a_note_that_says_too_little_is_refused(name):
    note = asdict(Settings.of("sine"))
    del note[name]
    with pytest.raises(ValueError, match=f"its note does not say '{name}': write it by `python -m metalab train`"):
        Settings.from_note(note)


@pytest.mark.parametrize(("tasks", "algorithm"), [("sine", "maml"), ("omniglot", "reptile"), ("omniglot", "koch")])
def test_an_older_note_means_what_there_was_then(tasks, algorithm):
    settings = Settings.of(tasks, algorithm)
    note = {name: value for name, value in asdict(settings).items() if name not in LATER}
    assert Settings.from_note(note) == settings


def test_a_cosine_falls_from_the_full_rate_to_0():
    settings = Settings.of("omniglot", "prototypical", schedule="cosine", outer_lr=2.0, steps=100)
    assert [settings.rate(step) for step in (1, 51, 101)] == pytest.approx([2.0, 1.0, 0.0])


def test_a_residual_network_and_larger_pictures_can_be_asked_for():
    settings = Settings.of("omniglot", "n_pair", network="residual", channels=8, side=56)
    assert settings.learner().net == Residual((8, 16, 32, 32), halve_first=True)
    assert not replace(settings, side=28).learner().net.halve_first
    assert "does not apply to maml" in complaint(Settings.of, "omniglot", "maml", network="residual")[0]
    said = complaint(Settings.of, "omniglot", side=106)
    assert said == tuple(f"{side}106 is more than the 105 pixels of a drawing" for side in ("side=", "--side "))


def complaint(action, *arguments, **given):
    """What a caller reads, and what a user of the command line reads."""
    with pytest.raises(BadSetting) as caught:
        action(*arguments, **given)
    return str(caught.value), caught.value.for_the_command_line()


def test_each_kind_of_tasks_has_its_algorithms():
    shared = ["maml", "fomaml", "anil", "meta_sgd", "sparse_maml"]
    assert set(algorithms("sine")) >= {*shared, "joint", "reptile"}
    metric = {"prototypical", "matching", "contrastive", "triplet", "koch"}
    assert set(algorithms("omniglot")) >= {*shared, "reptile", *metric}
    assert "joint" not in algorithms("omniglot")
    assert set(algorithms("sine")) | set(algorithms("omniglot")) == set(RECIPES)


def test_unknown_names_are_told_with_the_known():
    known = "is not known: choose one of sine, omniglot"
    assert complaint(Settings.of, "mnist") == (f"tasks=mnist {known}", f"mnist {known}")
    for tasks, algorithm in (("sine", "sgd"), ("sine", "prototypical"), ("omniglot", "joint")):
        known = f"is not known for {tasks}: choose one of {', '.join(algorithms(tasks))}"
        said = complaint(Settings.of, tasks, algorithm)
        assert said == (f"algorithm={algorithm} {known}", f"--algorithm {algorithm} {known}")


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (("sine", "maml"), {"ways": 5}),
        (("sine", "maml"), {"pool": "max"}),
        (("sine", "joint"), {"inner_steps": 1}),
        (("omniglot", "prototypical"), {"inner_lr": 0.1}),
        (("omniglot", "reptile"), {"queries": 2}),
    ],
)
def test_what_does_not_apply_is_refused(arguments, given):
    [name] = given
    rest = f"does not apply to {arguments[1]} on {arguments[0]}: leave it out"
    flag = "--" + name.replace("_", "-")
    assert complaint(Settings.of, *arguments, **given) == (f"{name} {rest}", f"{flag} {rest}")


def test_a_setting_that_does_not_exist_is_refused():
    said, _ = complaint(Settings.of, "sine", wyas=5)
    assert said == "wyas is no setting: leave it out"


@pytest.mark.parametrize("name", ["halve_every", "minutes"])
def test_what_has_no_limit_can_be_given_one(name):
    assert getattr(Settings.of("sine"), name) is None
    assert getattr(Settings.of("sine", **{name: 3}), name) == 3


def test_flags_are_spelt_as_on_the_command_line():
    assert [flag(name) for name in ("ways", "inner_lr")] == ["--ways", "--inner-lr"]


NUMBERS = [f for f in fields(Settings) if f.metadata["type"] in (int, float)]


@pytest.mark.parametrize("name", [f.name for f in NUMBERS])
def test_numbers_that_cannot_be_are_refused_by_their_name_and_their_flag(name):
    zero = name in ("inner_lr", "seed", "save_every", "hardest", "distort", "within")
    algorithm = "contrastive" if name in ("margin", "hardest") else "maml"
    least = "at least 0" if zero else "above 0"
    whole = next(f.metadata["type"] for f in NUMBERS if f.name == name) is int
    for bad in (-1, 2**63, *([] if zero else [0]), *([] if whole else [float("nan"), float("inf")])):
        said, on_the_command_line = complaint(Settings.of, "omniglot", algorithm, **{name: bad})
        assert said == f"{name}={bad} must be {least}, and below 2^63"
        assert on_the_command_line == f"--{name.replace('_', '-')} {bad} must be {least}, and below 2^63"
    if zero:
        assert getattr(Settings.of("omniglot", algorithm, **{name: 0}), name) == 0


@pytest.mark.parametrize("name", [f.name for f in fields(Settings) if f.name not in LATER])
def test_a_setting_of_another_type_is_refused_by_its_name(name):
    kind = next(f.metadata["type"] for f in fields(Settings) if f.name == name)
    settings = Settings.of("omniglot", "contrastive" if name in ("margin", "hardest") else "maml")
    wrong = [True, [1], {}, *([1, 1.5] if kind is str else ["2"]), *([1.5, float("nan")] if kind is int else [])]
    for bad in wrong:
        said, _ = complaint(replace, settings, **{name: bad})
        assert said.startswith(f"{name}={bad!r} must be") or said.startswith(f"{name}={bad} ")


@pytest.mark.parametrize("name", [f.name for f in fields(Settings) if f.name not in ("halve_every", "minutes")])
def test_a_setting_that_applies_is_not_left_out(name):
    algorithm = "contrastive" if name in ("margin", "hardest", "network") else "maml"
    said, _ = complaint(replace, Settings.of("omniglot", algorithm), **{name: None})
    assert said.startswith((f"{name} is missing: it must be given", f"{name}=None is not known"))


@pytest.mark.parametrize(
    ("tasks", "algorithm", "given", "blamed"),
    [
        ("sine", "maml", {"meta_batch": 10**12}, "meta_batch"),
        ("sine", "maml", {"shots": 10**12}, "shots"),
        ("sine", "maml", {"queries": 10**12}, "queries"),
        ("sine", "maml", {"inner_steps": 10**12}, "inner_steps"),
        ("omniglot", "maml", {"channels": 100_000}, "channels"),
        ("omniglot", "prototypical", {"channels": 100_000}, "channels"),
        ("omniglot", "reptile", {"meta_batch": 10**9}, "meta_batch"),
        ("omniglot", "triplet", {"ways": 10**9}, "ways"),
    ],
)
def test_what_cannot_fit_is_refused_by_its_name(tasks, algorithm, given, blamed):
    settings = Settings.of(tasks, algorithm, **given)
    said, on_the_command_line = complaint(settings.check_memory, 2**40)
    assert said.startswith(f"{blamed}={given[blamed]} is too large: it needs ")
    assert on_the_command_line.startswith(f"--{blamed.replace('_', '-')} {given[blamed]} is too large: it needs ")


def test_all_papers_settings_fit_into_a_gibibyte():
    for tasks in ("sine", "omniglot"):
        for algorithm in algorithms(tasks):
            Settings.of(tasks, algorithm, **({"ways": 20, "shots": 5} if tasks == "omniglot" else {})).check_memory(
                2**30
            )


@pytest.mark.parametrize("algorithm", ["contrastive", "triplet", "koch"])
def test_siamese_learners_get_groups(algorithm):
    settings = Settings.of("omniglot", algorithm, ways=4, queries=2, meta_batch=2, distort=0.0)
    groups = settings.sampler(noise.noise(8, 12, seed=0))(torch.Generator().manual_seed(0))
    assert groups.shape[:3] == (2, 4, 3)


def test_tasks_within_an_alphabet_come_first():
    characters = noise.noise(8, 12, seed=0)
    characters = replace(characters, alphabet=torch.arange(8) // 4, names=("a", "b"))
    settings = Settings.of("omniglot", "prototypical", ways=4, queries=1, meta_batch=2, within=1)
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
        Settings.of("omniglot", "prototypical", ways=4, distort=strength).sampler(noise.noise(8, 12, seed=0))(
            torch.Generator().manual_seed(0)
        )
        for strength in (0.0, 1.0)
    )
    assert plain.support_y.equal(distorted.support_y)
    assert not plain.support_x.equal(distorted.support_x)


def test_more_tasks_within_an_alphabet_than_tasks_are_refused():
    assert complaint(Settings.of, "omniglot", "prototypical", within=2) == (
        "within=2 is more than the 1 tasks of meta_batch",
        "--within 2 is more than the 1 tasks of --meta-batch",
    )


def test_more_shots_and_queries_than_drawings_are_refused():
    assert complaint(Settings.of("omniglot", shots=8, queries=5).sampler, noise.noise(8, 12, seed=0)) == (
        "shots=8 and queries=5: a character has only 12 drawings",
        "--shots 8 and --queries 5: a character has only 12 drawings",
    )


def test_more_ways_than_characters_are_refused():
    assert complaint(Settings.of("omniglot", ways=9).sampler, noise.noise(8, 12, seed=0)) == (
        "ways=9 is more than the 8 characters of the set",
        "--ways 9 is more than the 8 characters of the set",
    )
