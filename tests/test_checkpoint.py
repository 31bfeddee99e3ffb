from pathlib import Path

import pytest
import torch
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

    write = Path.write_bytes

    def half(file, data):
        write(file, data[: len(data) // 2])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
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


@pytest.mark.parametrize("write", [damaged, pickled, without_a_note, with_a_note_of_another, Path.touch])
def test_files_that_are_not_ours_are_refused(write, tmp_path):
    path = tmp_path / "file"
    write(path)
    with pytest.raises(ValueError, match="file is damaged or not a file of metalab's"):
        checkpoint.load(path)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_parameters_load(path):
    params, about = checkpoint.shipped(path.stem)
    assert about
    assert params
    assert all(torch.isfinite(p).all() for p in params.values())


def test_parameters_that_are_not_shipped_are_named():
    with pytest.raises(FileNotFoundError, match=r"there are no parameters at .*no_such_thing\.safetensors"):
        checkpoint.shipped("no_such_thing")


def test_half_precision_is_read_as_single_and_integers_stay(tmp_path):
    checkpoint.save(tmp_path / "x", {"w": torch.tensor([0.5], dtype=torch.float16), "n": torch.tensor([3])}, {})
    params, _about = checkpoint.load(tmp_path / "x")
    assert {name: (p.dtype, p.item()) for name, p in params.items()} == {
        "w": (torch.float32, 0.5),
        "n": (torch.int64, 3),
    }
