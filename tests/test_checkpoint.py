import json
import random
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import metalab
from metalab import checkpoint

PARAMS = {"w": torch.arange(6.0).view(2, 3).T, "b": torch.tensor([1.5], dtype=torch.float64)}  # w is not contiguous
ABOUT = {"tasks": "sine", "steps": 3, "inner_lr": 0.01, "halve_every": None, "note": "α, 字"}
SHIPPED = sorted((Path(metalab.__file__).parent / "parameters").glob("*.safetensors"))


def test_round_trip_with_the_note(tmp_path):
    path = tmp_path / "new" / "folder" / "file.safetensors"
    checkpoint.save(path, PARAMS | {"grown": torch.ones(2, requires_grad=True)}, ABOUT)
    params, about = checkpoint.load(str(path))
    assert about == ABOUT
    assert set(params) == {"w", "b", "grown"}
    for name, p in PARAMS.items():
        assert torch.equal(params[name], p)
        assert params[name].dtype == p.dtype
    assert not params["grown"].requires_grad
    assert [file.name for file in path.parent.iterdir()] == ["file.safetensors"]


def test_parameters_may_lie_in_the_same_memory(tmp_path):
    """A trainer's are parts of one vector."""
    whole = torch.arange(6.0)
    checkpoint.save(tmp_path / "file", {"whole": whole, "a": whole[:2], "b": whole[2:].view(2, 2)}, ABOUT)
    params, _about = checkpoint.load(tmp_path / "file")
    assert [params[name].tolist() for name in ("whole", "a", "b")] == [whole.tolist(), [0, 1], [[2, 3], [4, 5]]]


def test_saving_replaces_what_was_there(tmp_path):
    checkpoint.save(tmp_path / "file", PARAMS, ABOUT)
    checkpoint.save(tmp_path / "file", {"other": torch.ones(1)}, {"steps": 4})
    params, about = checkpoint.load(tmp_path / "file")
    assert (list(params), about) == (["other"], {"steps": 4})


def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    checkpoint.save(path, PARAMS, ABOUT)

    def full(_descriptor):
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoint.replace_file.__globals__["os"], "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        checkpoint.save(path, {"w": torch.zeros(1)}, {})
    assert list(tmp_path.iterdir()) == [path]
    assert checkpoint.load(path)[1] == ABOUT


def test_others_may_read_the_file(tmp_path):
    (tmp_path / "ordinary").touch()
    checkpoint.save(tmp_path / "file", PARAMS, ABOUT)
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_a_note_that_json_cannot_hold_is_an_error_and_writes_nothing(tmp_path):
    with pytest.raises(TypeError, match="not JSON serializable"):
        checkpoint.save(tmp_path / "file", PARAMS, {"tensor": torch.ones(1)})
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there are no parameters at .*nowhere"):
        checkpoint.load(tmp_path / "nowhere")


def damaged(path):
    checkpoint.save(path, PARAMS, ABOUT)
    path.write_bytes(path.read_bytes()[:-4])


def pickled(path):
    torch.save(PARAMS, path)


def without_a_note(path):
    save_file({"w": torch.ones(1)}, path)


def with_a_note_of_another(path):
    save_file({"w": torch.ones(1)}, path, metadata={"about": "trained by somebody"})


def written_again(path, change):
    """Write a file again whose tensors and metadata were changed, with the checksum that it had."""
    checkpoint.save(path, PARAMS, ABOUT)
    with safe_open(path, framework="pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(metadata, tensors)
    save_file(tensors, path, metadata=metadata)


def with_another_number(path):
    written_again(path, lambda _metadata, tensors: tensors["b"].add_(1e-15))


def with_another_shape(path):
    written_again(path, lambda _metadata, tensors: tensors.update(w=tensors["w"].reshape(2, 3)))


def with_another_type(path):
    written_again(path, lambda _metadata, tensors: tensors.update(b=tensors["b"].view(torch.int64)))


def with_another_name(path):
    written_again(path, lambda _metadata, tensors: tensors.update(c=tensors.pop("b")))


def without_a_tensor(path):
    written_again(path, lambda _metadata, tensors: tensors.pop("b"))


def with_an_edited_note(path):
    written_again(path, lambda metadata, _tensors: metadata.update(about=json.dumps(ABOUT | {"steps": 4})))


def without_a_checksum(path):
    written_again(path, lambda metadata, _tensors: metadata.pop("sha256"))


def with_a_note_that_is_a_list(path, note="[1, 2]"):
    params = {name: p.contiguous() for name, p in PARAMS.items()}
    save_file(params, path, metadata={"about": note, "sha256": checkpoint._checksum(params, note)})


def with_a_deep_note(path):
    with_a_note_that_is_a_list(path, "[" * 100_000 + "]" * 100_000)


DAMAGED = [
    damaged,
    pickled,
    without_a_note,
    with_a_note_of_another,
    Path.touch,
    with_another_number,
    with_another_shape,
    with_another_type,
    with_another_name,
    without_a_tensor,
    with_an_edited_note,
    without_a_checksum,
    with_a_note_that_is_a_list,
    with_a_deep_note,
]


@pytest.mark.parametrize("write", DAMAGED)
def test_files_that_are_not_ours_are_refused(write, tmp_path):
    path = tmp_path / "file"
    write(path)
    with pytest.raises(ValueError, match="file is damaged or not a file of metalab's"):
        checkpoint.load(path)


def test_every_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "file"
    checkpoint.save(path, {"w": torch.randn(50)}, ABOUT)
    whole = path.read_bytes()
    luck = random.Random(0)
    for _ in range(200):
        place = luck.randrange(8 * len(whole))
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match="file is damaged or not a file of metalab's"):
            checkpoint.load(path)


@pytest.mark.parametrize("params", [None, [torch.ones(1)], {"w": [1.0]}, {1: torch.ones(1)}])
def test_what_are_no_parameters_is_refused(params, tmp_path):
    with pytest.raises(TypeError, match="must be a dictionary of tensors by name"):
        checkpoint.save(tmp_path / "file", params, {})


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_parameters_load(path):
    params, about = checkpoint.shipped(path.stem)
    assert about
    assert params
    assert all(torch.isfinite(p).all() for p in params.values())


def test_parameters_that_are_not_shipped_are_named():
    for name in ("no_such_thing", "", "../parameters/sine_maml_5shot", None, 1):
        with pytest.raises(ValueError, match=r"name=.* must be one of .*sine_maml_5shot"):
            checkpoint.shipped(name)


def test_half_precision_is_read_as_single_and_integers_stay(tmp_path):
    checkpoint.save(tmp_path / "x", {"w": torch.tensor([0.5], dtype=torch.float16), "n": torch.tensor([3])}, {})
    params, _about = checkpoint.load(tmp_path / "x")
    assert {name: (p.dtype, p.item()) for name, p in params.items()} == {
        "w": (torch.float32, 0.5),
        "n": (torch.int64, 3),
    }
