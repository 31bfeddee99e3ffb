"""What is no episode is refused by name, and what is one is taken without a look at its values."""

from dataclasses import fields, replace

import pytest
import torch
from wrong import NO_TENSOR, NO_WHOLE_NUMBER

from metalab.tasks import Episode, as_episode

INT, DOUBLE = torch.int64, torch.float64


def labelled(**changed):
    """Four tasks of 3 ways, with 2 shots and 5 queries of each."""
    tensors = {
        "support_x": torch.zeros(4, 6, 1, 7, 8),
        "support_y": torch.zeros(4, 6, dtype=INT),
        "query_x": torch.zeros(4, 15, 1, 7, 8),
        "query_y": torch.zeros(4, 15, dtype=INT),
    }
    return {**tensors, "ways": 3, **changed}


def regression(**changed):
    tensors = {"support_x": torch.zeros(4, 6, 1), "support_y": torch.zeros(4, 6, 2)}
    return {**tensors, "query_x": torch.zeros(4, 5, 1), "query_y": torch.zeros(4, 5, 2), **changed}


@pytest.mark.parametrize("what", [labelled(), regression(), regression(ways=torch.tensor([3]).numpy()[0])])
def test_an_episode_is_taken(what):
    episode = Episode(**what)
    assert episode.tasks == 4
    assert (episode[1:3].tasks, episode[::2].tasks, episode[3:].query_y.shape[0]) == (2, 2, 1)
    assert replace(episode, ways=2).ways == 2


@pytest.mark.parametrize("what", [labelled(), regression()])
def test_no_value_is_read(what):
    """On this device there are shapes without numbers: to read one is an error."""
    episode = Episode(**what).to("meta")
    assert episode[:2].support_x.device.type == episode.to(torch.float64).query_y.device.type == "meta"
    assert as_episode(torch.zeros(2, 3, 4, 1, device="meta"), 1).support_y.device.type == "meta"


WRONG = [
    (labelled, {"support_x": torch.zeros(4, 6)}, r"support_x has the shape \[4, 6\]"),
    (labelled, {"support_x": torch.zeros(3, 6, 1, 7, 8)}, "support_y has the shape"),
    (labelled, {"support_x": torch.zeros(4, 7, 1, 7, 8)}, "support_y has the shape"),
    (labelled, {"query_x": torch.zeros(5, 15, 1, 7, 8)}, "query_x has the shape"),
    (labelled, {"query_x": torch.zeros(4, 14, 1, 7, 8)}, "query_y has the shape"),
    (
        labelled,
        {"query_x": torch.zeros(4, 15, 1, 7, 9)},
        r"support_x .*, 7, 8\], and query_x .*\[4, 15, 1, 7, 9\]: after",
    ),
    (labelled, {"query_x": torch.zeros(4, 15, 1, 7)}, "after the first two axes, they must be the same"),
    (labelled, {"support_y": torch.zeros(4, 6, 1, dtype=INT)}, "support_y has the shape"),
    (labelled, {"query_y": torch.zeros(4, 15, 1, dtype=INT)}, "query_y has the shape"),
    (labelled, {"query_y": torch.zeros(3, 15, dtype=INT)}, "query_y has the shape"),
    (labelled, {"support_y": torch.zeros(4, 6, dtype=torch.int32)}, "support_y has the dtype torch.int32; labels must"),
    (labelled, {"support_y": torch.zeros(4, 6, dtype=torch.bool)}, "support_y has the dtype torch.bool; labels must"),
    (labelled, {"query_y": torch.zeros(4, 15)}, "query_y has the dtype torch.float32; labels must be torch.int64"),
    (labelled, {"support_y": torch.zeros(4, 6)}, "support_y has the shape"),
    (labelled, {"support_x": torch.zeros(4, 6, 1, 7, 8, dtype=torch.uint8)}, "support_x has the dtype torch.uint8"),
    (labelled, {"query_x": torch.zeros(4, 15, 1, 7, 8, dtype=DOUBLE)}, "query_x has the dtype torch.float64"),
    (labelled, {"query_x": torch.zeros(4, 15, 1, 7, 8, device="meta")}, "query_x has the device meta"),
    (labelled, {"query_y": torch.zeros(4, 15, dtype=INT, device="meta")}, "query_y is on meta, and must be on cpu"),
    (labelled, {"ways": 0}, "ways=0 must be a whole number of at least 1"),
    (labelled, {"ways": -3}, "ways=-3 must be"),
    (regression, {"support_y": torch.zeros(4, 6)}, r"support_y has the shape \[4, 6\]; it must be \[T, S, out\]"),
    (regression, {"support_y": torch.zeros(4, 6, 2, 1)}, "support_y has the shape"),
    (regression, {"query_y": torch.zeros(4, 5, 1)}, "query_y has the shape"),
    (regression, {"query_y": torch.zeros(4, 5, dtype=INT)}, "query_y has the shape"),
    (regression, {"query_y": torch.zeros(4, 5, 2, dtype=DOUBLE)}, "query_y has the dtype torch.float64"),
    (regression, {"support_y": torch.zeros(4, 6, 2, device="meta")}, "support_y has the device meta"),
    *[
        (regression, {name: torch.zeros(shape)}, f"{name} has the shape")
        for name, shapes in {
            "support_x": [(), (4,), (0, 6, 1), (4, 0, 1), (4, 6, 0)],
            "support_y": [(), (0, 6, 2), (4, 0, 2), (4, 6, 0)],
            "query_x": [(), (0, 5, 1), (4, 0, 1), (4, 5, 0)],
            "query_y": [(), (0, 5, 2), (4, 0, 2), (4, 5, 0)],
        }.items()
        for shape in shapes
    ],
]


@pytest.mark.parametrize(("whole", "changed", "message"), WRONG)
def test_what_does_not_fit_is_named(whole, changed, message):
    with pytest.raises(ValueError, match=message):
        Episode(**whole(**changed))


@pytest.mark.parametrize(
    ("whole", "change", "message"),
    [
        (labelled, lambda t: t.int(), "support_y has the dtype torch.int32; labels must be torch.int64"),
        (labelled, lambda t: t[..., None], "support_y has the shape"),
        (labelled, lambda t: t.double(), "support_y has the shape"),
        (regression, lambda t: t.double(), "support_y has the dtype torch.float64, and support_x has torch.float32"),
        (regression, lambda t: t.long(), "support_y has the shape"),
        (regression, lambda t: t[..., None], "support_y has the shape"),
        (regression, lambda t: t[..., 0], "support_y has the shape"),
    ],
)
def test_answers_that_fit_one_another_must_fit_the_inputs_too(whole, change, message):
    what = whole()
    what.update({name: change(what[name]) for name in ("support_y", "query_y")})
    with pytest.raises(ValueError, match=message):
        Episode(**what)


def test_all_axes_may_not_be_empty_together():
    with pytest.raises(ValueError, match="support_x has the shape"):
        Episode(*[torch.zeros(0, 5, 1)] * 4)
    with pytest.raises(ValueError, match="support_x has the shape"):
        Episode(torch.zeros(4, 6, 1, 0, 8), labelled()["support_y"], torch.zeros(4, 15, 1, 0, 8), labelled()["query_y"])


@pytest.mark.parametrize("name", [f.name for f in fields(Episode)])
@pytest.mark.parametrize("whole", [labelled, regression])
def test_another_type_is_named(name, whole):
    for value in NO_WHOLE_NUMBER if name == "ways" else NO_TENSOR:
        with pytest.raises(TypeError, match=f"{name}=.* must be a"):
            Episode(**whole(**{name: value}))


@pytest.mark.parametrize("index", [0, None, "0", torch.tensor([0]), [0, 1], (slice(2),)])
def test_an_episode_is_cut_by_slices_alone(index):
    with pytest.raises(TypeError, match=r"must be a slice, as in episode\[0:1\]"):
        Episode(**regression())[index]


@pytest.mark.parametrize("tasks", [slice(4, None), slice(2, 2), slice(0)])
def test_a_slice_without_tasks_is_refused(tasks):
    with pytest.raises(ValueError, match=r"support_x has the shape \[0, 6, 1\]"):
        Episode(**regression())[tasks]


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (torch.int64, ValueError, "target=torch.int64 must be a floating-point dtype"),
        (torch.bool, ValueError, "target=torch.bool must be a floating-point dtype"),
        ("mps", ValueError, r"target='mps' must be .cpu. or .cuda."),
        ("nowhere", ValueError, "target='nowhere' must be"),
        (f"cuda:{torch.cuda.device_count()}", ValueError, "PyTorch finds no such GPU here"),
        (None, TypeError, "target=None must be"),
        (1.5, TypeError, "target=1.5 must be"),
    ],
)
def test_it_goes_to_devices_and_precisions_alone(target, error, message):
    for whole in (labelled, regression):
        with pytest.raises(error, match=message):
            Episode(**whole()).to(target)


@pytest.mark.parametrize("shots", [0, -1, 5, 6])
def test_shots_that_leave_no_query_are_named(shots):
    with pytest.raises(
        ValueError, match=f"shots={shots} must be a whole number of at least 1 and at most 4, because a "
    ):
        as_episode(torch.zeros(1, 3, 5, 1), shots)


@pytest.mark.parametrize("shots", NO_WHOLE_NUMBER)
def test_shots_of_another_type_are_named(shots):
    with pytest.raises(TypeError, match=r"shots=.* must be a whole number"):
        as_episode(torch.zeros(1, 3, 5, 1), shots)


@pytest.mark.parametrize(
    "shape", [(), (2, 3, 4), (0, 3, 4, 1), (2, 0, 4, 1), (2, 3, 0, 1), (2, 3, 4, 0), (2, 3, 4, 1, 0)]
)
def test_groups_of_another_shape_are_named(shape):
    with pytest.raises(ValueError, match="groups has the shape"):
        as_episode(torch.zeros(shape), 1)


def test_groups_of_another_type_are_named():
    for value in NO_TENSOR:
        with pytest.raises(TypeError, match=r"groups=.* must be a tensor"):
            as_episode(value, 1)
    with pytest.raises(ValueError, match=r"support_x has the dtype torch.uint8"):
        as_episode(torch.zeros(1, 3, 5, 1, dtype=torch.uint8), 1)
