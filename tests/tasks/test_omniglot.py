"""Omniglot: what is found is right, and what is damaged is never used. A tiny stand-in needs neither data nor network.

The last tests read the real archives, and are skipped where METALAB_DATA does not name them.
"""

import contextlib
import hashlib
import io
import math
import multiprocessing
import os
import pickle
import re
import socket
import struct
import sys
import tempfile
import threading
import time
import tracemalloc
import warnings
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.numpy
import torch
from PIL import Image
from wrong import NO_WHOLE_NUMBER

from metalab.__main__ import main
from metalab.tasks import download, omniglot
from metalab.tasks.omniglot import OmniglotNotFound, OmniglotRefused, Part

# ---------------------------------------------------------------- the stand-in: 2 + 2 alphabets, 7 characters


def png(ink):
    """`ink` [H, W] bool as the author stores it: one bit a pixel, 0 = ink."""
    file = io.BytesIO()
    Image.fromarray(~ink).save(file, "PNG")
    return file.getvalue()


def zipped(files, compression=zipfile.ZIP_DEFLATED):
    """An archive of (path, bytes) pairs; the same path may come twice."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Duplicate name")
        for path, content in files:
            archive.writestr(zipfile.ZipInfo(path), content, compression)  # ZipInfo: the same bytes at any hour
    return file.getvalue()


def stand_in(name, alphabets, seed):
    """(part, masks [n, 105, 105] bool in path order, files {path: png})."""
    part = Part(name, alphabets, fingerprint="", md5="", addresses=())
    masks = np.random.default_rng(seed).random((len(part.paths()), 105, 105)) < 0.2
    published = hashlib.sha256()
    for mask in masks:
        published.update(np.packbits(mask).tobytes())
    files = {path: png(mask) for path, mask in zip(part.paths(), masks, strict=True)}
    md5 = hashlib.md5(zipped(files.items())).hexdigest()
    return replace(part, fingerprint=published.hexdigest(), md5=md5), masks, files


BACKGROUND, BACKGROUND_MASKS, BACKGROUND_FILES = stand_in("images_background", {"Alpha": (3, 2), "Beta": (1, 2)}, 1)
EVALUATION, EVALUATION_MASKS, EVALUATION_FILES = stand_in("images_evaluation", {"Delta": (5, 2), "Eta": (7, 1)}, 2)
BACKGROUND_ZIP, EVALUATION_ZIP = zipped(BACKGROUND_FILES.items()), zipped(EVALUATION_FILES.items())
FIRST = "images_background/Alpha/character01/0003_01.png"


@pytest.fixture(autouse=True)
def small_world(monkeypatch, tmp_path):
    """Every test starts with the stand-in's tables, an empty cache, no METALAB_DATA, no network and no pauses."""
    monkeypatch.setattr(omniglot, "PARTS", (BACKGROUND, EVALUATION))
    monkeypatch.setattr(omniglot, "RANDOM_TRAIN", 4)
    monkeypatch.setattr(download, "PAUSES", (0, 0))
    monkeypatch.setenv("METALAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("METALAB_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)  # another test may have imported it


@pytest.fixture
def data(monkeypatch, tmp_path):
    """METALAB_DATA with both archives whole."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "images_background.zip").write_bytes(BACKGROUND_ZIP)
    (folder / "images_evaluation.zip").write_bytes(EVALUATION_ZIP)
    monkeypatch.setenv("METALAB_DATA", str(folder))
    return folder


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache" / omniglot.CACHE_FILE


def by_area(masks, side=28):
    """Pictures by another road: every pixel is made m x m, then n x n of these are averaged; 4 and 15 for 28."""
    m, n = side // math.gcd(side, 105), 105 // math.gcd(side, 105)
    fine = masks.repeat(m, axis=1).repeat(m, axis=2).reshape(-1, side, n, side, n)
    return torch.from_numpy(np.rint(255 * fine.mean((2, 4))).astype(np.uint8))  # [n, side, side]


BACKGROUND_IMAGES = by_area(BACKGROUND_MASKS).view(4, 20, 28, 28)
EVALUATION_IMAGES = by_area(EVALUATION_MASKS).view(3, 20, 28, 28)


def assert_is_stand_in(pair):
    train, test = pair
    assert torch.equal(train.images, BACKGROUND_IMAGES)
    assert torch.equal(test.images, EVALUATION_IMAGES)
    assert (train.names, test.names) == (("Alpha", "Beta"), ("Delta", "Eta"))
    assert (train.alphabet.tolist(), test.alphabet.tolist()) == ([0, 0, 1, 1], [0, 0, 1])
    assert train.source == test.source == "Omniglot"


# ---------------------------------------------------------------- what load gives


def test_the_default_split_is_the_authors(data):
    assert_is_stand_in(omniglot.load())


def test_random_split_deals_every_character_to_one_side(data):
    train, test = omniglot.load("random", seed=3)
    everything = torch.cat([BACKGROUND_IMAGES, EVALUATION_IMAGES])
    names = ["Alpha", "Alpha", "Beta", "Beta", "Delta", "Delta", "Eta"]
    assert (len(train), len(test)) == (4, 3)
    found = []
    for side in (train, test):
        for image, alphabet in zip(side.images, side.alphabet, strict=True):
            (character,) = [c for c in range(7) if torch.equal(everything[c], image)]
            assert side.names[alphabet] == names[character]
            found.append(character)
    assert sorted(found) == list(range(7))


def test_random_split_follows_the_seed_alone(data):
    splits = [omniglot.load("random", seed=seed)[0].images for seed in (0, 0, 1, 2, 3)]
    assert torch.equal(splits[0], splits[1])
    assert any(not torch.equal(splits[0], other) for other in splits[2:])


@pytest.mark.parametrize("split", ["letters", None, 0, ["alphabets"]])
def test_a_wrong_split_is_named(split):
    with pytest.raises(ValueError, match=r"split=.* must be 'alphabets', 'random', 'small1' or 'small2'"):
        omniglot.load(split)


def test_a_wrong_seed_and_a_wrong_leave_are_named():
    for seed in NO_WHOLE_NUMBER:
        with pytest.raises(TypeError, match=r"seed=.* must be a whole number"):
            omniglot.load("random", seed=seed)
    with pytest.raises(ValueError, match=r"seed=-1 must be a whole number of at least 0"):
        omniglot.load("random", seed=-1)
    for leave in (None, 0, "no"):
        with pytest.raises(TypeError, match=r"download=.* must be True or False"):
            omniglot.load(download=leave)


@pytest.mark.parametrize("side", [1, 27, 35, 52, 56, 105])
def test_pictures_have_the_side_that_is_asked_for(data, side):
    train, test = omniglot.load(side=side)
    assert torch.equal(train.images[0], by_area(BACKGROUND_MASKS[:20], side))
    assert torch.equal(test.images[2], by_area(EVALUATION_MASKS[40:], side))


def test_a_side_that_cannot_be_is_named():
    for side in (0, 106):
        with pytest.raises(ValueError, match=f"side={side} must be a whole number of at least 1 and at most 105"):
            omniglot.load(side=side)
    for side in NO_WHOLE_NUMBER:
        with pytest.raises(TypeError, match=r"side=.* must be a whole number"):
            omniglot.load(side=side)


def test_a_minimal_set_is_some_alphabets_to_train_on(data, monkeypatch):
    monkeypatch.setitem(omniglot.MINIMAL, "small1", ("Beta",))
    train, test = omniglot.load("small1")
    assert torch.equal(train.images, BACKGROUND_IMAGES[2:])
    assert (train.names, train.alphabet.tolist()) == (("Beta",), [0, 0])
    assert torch.equal(test.images, EVALUATION_IMAGES)


def test_the_minimal_sets_have_as_many_characters_as_the_authors():
    sizes = {
        name: sum(omniglot.BACKGROUND.alphabets[a][1] for a in alphabets)
        for name, alphabets in omniglot.MINIMAL.items()
    }
    assert sizes == {"small1": 136, "small2": 156}


def test_full_ink_and_no_ink_keep_their_ends():
    everything = np.packbits(np.ones((1, 105 * 105), bool), axis=1)
    assert (omniglot._shrink(everything) == 255).all()
    assert (omniglot._shrink(np.zeros_like(everything)) == 0).all()


# ---------------------------------------------------------------- archives in METALAB_DATA


def changed(path, content):
    return zipped({**BACKGROUND_FILES, path: content}.items())


def flipped(content, position):
    content = bytearray(content)
    content[position] ^= 0x10
    return bytes(content)


def bomb():
    """A drawing that inflates to 100 MB, in an archive whose directory says 300 bytes."""
    size = 100_000_000
    lie = zipped({**BACKGROUND_FILES, FIRST: bytes(size)}.items())
    return lie.replace(size.to_bytes(4, "little"), (300).to_bytes(4, "little"))


FEWER = {path: content for path, content in BACKGROUND_FILES.items() if path != FIRST}
OTHER = "images_background/Beta/character02/0002_20.png"
ONE_PIXEL = BACKGROUND_MASKS[0].copy()
ONE_PIXEL[50, 50] ^= True
DAMAGED = {
    "empty": (b"", "not a zip file"),
    "not a zip": (b"<html>Sign in</html>" * 99, "not a zip file"),
    "truncated": (BACKGROUND_ZIP[: len(BACKGROUND_ZIP) // 2], "not a zip file"),
    "a flipped bit in the archive": (flipped(BACKGROUND_ZIP, 500), FIRST),
    "a flipped bit in a PNG": (changed(OTHER, flipped(BACKGROUND_FILES[OTHER], 300)), OTHER),
    "a truncated PNG": (changed(OTHER, BACKGROUND_FILES[OTHER][:300]), OTHER),
    "not a PNG": (changed(OTHER, b"GIF89a"), OTHER),
    "an empty PNG": (changed(OTHER, b""), OTHER),
    "one pixel": (changed(FIRST, png(ONE_PIXEL)), "images_background: the SHA-256"),
    "two drawings swapped": (
        zipped({**BACKGROUND_FILES, FIRST: BACKGROUND_FILES[OTHER], OTHER: BACKGROUND_FILES[FIRST]}.items()),
        "images_background: the SHA-256",
    ),
    "smaller drawing": (changed(FIRST, png(ONE_PIXEL[:104])), f"{FIRST}: 105 x 104 pixels"),
    "grey drawing": (changed(FIRST, png(ONE_PIXEL.astype(np.uint8))), f"{FIRST}: .* mode L"),
    "a file too few": (zipped(FEWER.items()), f"1 files are missing, the first is '{FIRST}'"),
    "a file too many": (changed("images_background/Alpha/note.txt", b"hello"), "not expected.*note.txt"),
    "a path that climbs out": (changed("../../climbed.png", b"hello"), "not expected.*climbed.png"),
    "an absolute path": (changed("/climbed.png", b"hello"), "not expected.*climbed.png"),
    "a drawing twice": (zipped([*BACKGROUND_FILES.items(), (FIRST, png(ONE_PIXEL))]), f"there twice.*'{FIRST}'"),
    "the other archive": (EVALUATION_ZIP, "80 files are missing"),
    "a drawing too large": (changed(FIRST, bytes(20_000)), f"{FIRST}: 20,000 bytes"),
    "a bomb": (bomb(), FIRST),
    "a method that cannot be bounded": (zipped(BACKGROUND_FILES.items(), zipfile.ZIP_LZMA), f"{FIRST}: .*method 14"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_archive_is_named_and_refused(kind, data, tmp_path):
    archive, reason = DAMAGED[kind]
    (data / "images_background.zip").write_bytes(archive)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OmniglotRefused, match=f"(?s)data.images_background.zip is not used: .*{reason}"):
        omniglot.load()
    assert sorted(tmp_path.rglob("*")) == before  # nothing unpacked, nothing kept


def test_a_bomb_takes_no_memory(data):
    (data / "images_background.zip").write_bytes(DAMAGED["a bomb"][0])
    tracemalloc.start()
    with pytest.raises(OmniglotRefused):
        omniglot.load()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6  # 32 million is the most that an archive may have


def test_the_second_archive_is_checked_too(data):
    (data / "images_evaluation.zip").write_bytes(BACKGROUND_ZIP)
    with pytest.raises(OmniglotRefused, match=r"images_evaluation.zip is not used: 60 files are missing"):
        omniglot.load()


def test_an_archive_too_large_is_refused(data, monkeypatch):
    monkeypatch.setattr(omniglot, "LARGEST_ARCHIVE", len(EVALUATION_ZIP))
    with pytest.raises(OmniglotRefused, match=r"images_background.zip is not used: it has more than"):
        omniglot.load()


def test_an_archive_that_cannot_be_read_is_refused(data):
    (data / "images_background.zip").unlink()
    (data / "images_background.zip").mkdir()
    with pytest.raises(OmniglotRefused, match=r"images_background.zip is not used"):
        omniglot.load()


def test_a_repacked_archive_is_as_good(data):
    """Other compression, other order, folders, and what a Mac or Windows adds: the drawings are the same."""
    litter = [".DS_Store", "._images_background", "Thumbs.db", "desktop.ini", "Desktop.ini"]
    extras = [*litter, *(f"images_background/Alpha/{name}" for name in litter), "images_background/", "other/"]
    extras += ["__MACOSX/", "__MACOSX/note", "__MACOSX/images_background/._Alpha"]
    archive = zipped([*((name, b"") for name in extras), *reversed(BACKGROUND_FILES.items())], zipfile.ZIP_STORED)
    (data / "images_background.zip").write_bytes(archive)
    assert_is_stand_in(omniglot.load())


NO_FOLDERS = {
    "nothing": ("{tmp}/nowhere", "METALAB_DATA={tmp}/nowhere cannot be used as a folder (No such file or directory)"),
    "a file": ("{tmp}/file", "METALAB_DATA={tmp}/file cannot be used as a folder (Not a directory)"),
    "a pipe": ("{tmp}/pipe", "METALAB_DATA={tmp}/pipe cannot be used as a folder (Not a directory)"),
    "a link to nowhere": (
        "{tmp}/link",
        "METALAB_DATA={tmp}/link cannot be used as a folder (No such file or directory)",
    ),
    "a link to itself": (
        "{tmp}/loop",
        "METALAB_DATA={tmp}/loop cannot be used as a folder (Too many levels of symbolic",
    ),
    "no user's home": (
        "~nosuchuser/x",
        "METALAB_DATA=~nosuchuser/x begins with the home folder of a user who does not",
    ),
    "a space": (" ", "METALAB_DATA=  cannot be used as a folder (No such file or directory)"),
    "a long name": ("x" * 4000, "x… (4,000 characters) cannot be used as a folder (File name too long)"),
    "a zero byte": ("a\0b", r"METALAB_DATA=a\x00b cannot be used as a folder (embedded null byte)"),
    "an escape": ("\x1b[2J\n", r"METALAB_DATA=\x1b[2J\n cannot be used as a folder (No such file or directory)"),
    "no UTF-8": ("\udcff", r"METALAB_DATA=\udcff cannot be used as a folder (No such file or directory)"),
}


@pytest.mark.parametrize("kind", NO_FOLDERS)
def test_metalab_data_must_be_a_folder(kind, data, tmp_path, monkeypatch):
    omniglot.load()  # a good cache is no excuse
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    named, message = (text.format(tmp=tmp_path) for text in NO_FOLDERS[kind])
    monkeypatch.setattr(os, "environ", {**os.environ, "METALAB_DATA": named})  # the true one takes no zero byte
    with pytest.raises(OmniglotRefused) as caught:
        omniglot.load()
    text = str(caught.value)
    assert message in text
    assert "correct" in text
    assert text.isprintable()
    assert len(text) < 500


def test_an_empty_metalab_data_is_as_none(cache, monkeypatch):
    monkeypatch.setenv("METALAB_DATA", "")
    monkeypatch.setenv("METALAB_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parent))
    with pytest.raises(OmniglotNotFound, match=r"(?s)METALAB_DATA: empty\n  cache file .*/cache/metalab/.*: not there"):
        omniglot.load(download=False)


@contextlib.contextmanager
def without_rights(folder):
    """Take the right to enter a folder away; root is somebody else meanwhile, because root needs no right."""
    root = os.geteuid() == 0
    folder.chmod(0)
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o700)


def test_a_folder_that_may_not_be_entered_is_named(monkeypatch):
    with tempfile.TemporaryDirectory() as outer:
        os.chmod(outer, 0o755)
        closed = Path(outer, "closed")
        closed.mkdir()
        monkeypatch.setenv("METALAB_CACHE", f"{outer}/cache")
        for data in (closed, closed / "inner"):
            monkeypatch.setenv("METALAB_DATA", str(data))
            with without_rights(closed), pytest.raises(OmniglotRefused, match=rf"^[^\n]*{data}.*Permission denied"):
                omniglot.load()


def in_time(work):
    """Do the work in a thread, so that a test fails where it would hang."""
    done = []

    def record():
        try:
            done.append(work())
        except Exception as fault:
            done.append(fault)

    thread = threading.Thread(target=record, daemon=True)
    thread.start()
    thread.join(20)
    assert done, "it hangs"
    if isinstance(done[0], Exception):
        raise done[0]
    return done[0]


def put(kind, path):
    """Put what is no regular file at `path`."""
    path.unlink(missing_ok=True)
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a socket":
        there = os.getcwd()
        os.chdir(path.parent)  # the path of a socket must be short
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(path.name)
        os.chdir(there)
    elif kind == "a folder":
        path.mkdir()
    else:
        path.symlink_to({"a device": "/dev/zero", "a terminal": "/dev/ptmx"}[kind])


@pytest.mark.parametrize("kind", ["a pipe", "a socket", "a device", "a terminal", "a folder"])
def test_an_archive_that_is_no_file_is_refused(kind, data):
    put(kind, data / "images_evaluation.zip")
    with pytest.raises(OmniglotRefused, match=r"^[^\n]*data/images_evaluation.zip is not used: [^\n]*$"):
        in_time(omniglot.load)


@pytest.mark.parametrize("kind", ["a pipe", "a device", "a folder"])
def test_a_cache_that_is_no_file_is_named_and_left_alone(kind, data, cache):
    cache.parent.mkdir()
    put(kind, cache)
    with pytest.warns(UserWarning, match="cannot be used: |could not be kept in") as said:
        assert_is_stand_in(in_time(omniglot.load))
    assert len(said) == 2  # it cannot be read, and it cannot be written
    assert not cache.is_file()
    assert os.listdir(cache.parent) == [cache.name]


def test_a_folder_without_the_archives_is_passed_over(data, monkeypatch):
    omniglot.load()
    (data / "images_evaluation.zip").unlink()
    assert_is_stand_in(omniglot.load())  # from the cache
    assert omniglot.where().startswith("cache file")


# ---------------------------------------------------------------- the cache


def test_archives_are_decoded_once(data, cache, monkeypatch):
    omniglot.load()
    monkeypatch.setattr(omniglot, "_decode", None)
    assert_is_stand_in(omniglot.load())
    assert omniglot.where() == f"METALAB_DATA={data}"
    monkeypatch.delenv("METALAB_DATA")
    assert_is_stand_in(omniglot.load(download=False))
    assert omniglot.where() == f"cache file {cache}"
    assert os.listdir(cache.parent) == [cache.name]


def test_a_good_cache_does_not_hide_a_damaged_archive(data):
    omniglot.load()
    (data / "images_background.zip").write_bytes(DAMAGED["one pixel"][0])
    with pytest.raises(OmniglotRefused, match=r"images_background.zip is not used"):
        omniglot.load()


def rebuilt(cache, **arrays):
    """The cache file with some arrays replaced, or left out where None."""
    arrays = {**safetensors.numpy.load(cache.read_bytes()), **arrays}
    return safetensors.numpy.save({name: array for name, array in arrays.items() if array is not None})


class Trap:
    def __reduce__(self):
        return os.mkdir, ("sprung",)


def object_array():
    file = io.BytesIO()
    np.savez(file, images_background=np.array([Trap()], dtype=object))
    return file.getvalue()


PACKED = np.packbits(BACKGROUND_MASKS.reshape(80, -1), axis=1)
SPOILED = {
    "empty": lambda cache: b"",
    "truncated": lambda cache: cache.read_bytes()[:-1],
    "a byte too many": lambda cache: cache.read_bytes() + b"\0",
    "huge": lambda cache: cache.read_bytes() + bytes(10_000),
    "a flipped bit in the header": lambda cache: flipped(cache.read_bytes(), 20),
    "a flipped bit in the drawings": lambda cache: flipped(cache.read_bytes(), 50_000),
    "two drawings swapped": lambda cache: rebuilt(cache, images_background=PACKED[[1, 0, *range(2, 80)]]),
    "drawings missing": lambda cache: rebuilt(cache, images_background=None),
    "archives missing": lambda cache: rebuilt(cache, archives=None),
    "wrong shape, same bytes": lambda cache: rebuilt(cache, images_background=PACKED.reshape(1379, 80)),
    "wrong type": lambda cache: rebuilt(cache, images_background=PACKED.view(np.int8)),
    "a pickle": lambda cache: pickle.dumps(Trap()),
    "an object array": lambda cache: object_array(),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_a_damaged_cache_is_named_and_made_anew(kind, data, cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    omniglot.load()
    good = cache.read_bytes()
    cache.write_bytes(SPOILED[kind](cache))
    with pytest.warns(UserWarning, match=r"cache file .*omniglot-105.safetensors cannot be used: ") as said:
        assert_is_stand_in(omniglot.load())
    assert len(said) == 1
    assert said[0].filename == __file__  # the warning points at the caller
    assert cache.read_bytes() == good
    assert not Path("sprung").exists()


def test_a_damaged_cache_alone_is_not_used(data, cache, monkeypatch):
    omniglot.load()
    cache.write_bytes(SPOILED["a flipped bit in the drawings"](cache))
    monkeypatch.delenv("METALAB_DATA")
    with (
        pytest.warns(UserWarning, match="cannot be used"),
        pytest.raises(OmniglotNotFound, match=r"cannot be used: .*images_background: the SHA-256"),
    ):
        omniglot.load(download=False)


def refuse(path, data):
    raise PermissionError(13, "Permission denied", "x" * 4000)


def test_a_cache_that_cannot_be_written_is_said_and_no_more(data, cache, monkeypatch):
    monkeypatch.setattr(omniglot, "replace_file", refuse)
    with pytest.warns(UserWarning, match=r"could not be kept in .* \(Permission denied\), .*METALAB_CACHE") as said:
        assert_is_stand_in(omniglot.load())
    assert [warning.filename for warning in said] == [__file__]


@pytest.mark.parametrize(
    "named", ["{data}/images_background.zip", "{data}/images_background.zip/deep", "/" + "x" * 4000]
)
def test_a_metalab_cache_that_can_be_no_folder_is_said(named, data, monkeypatch):
    monkeypatch.setenv("METALAB_CACHE", named.format(data=data))
    with pytest.warns(UserWarning, match=r"(cannot be used: |could not be kept)[^\n]{3,700}$") as said:
        assert_is_stand_in(omniglot.load())
    assert 1 <= len(said) <= 2  # it cannot be read, and it cannot be written
    assert all(str(warning.message).isprintable() and len(str(warning.message)) < 700 for warning in said)


def test_a_metalab_cache_in_no_users_home_is_refused(data, monkeypatch):
    monkeypatch.setenv("METALAB_CACHE", "~nosuchuser/x")
    for call in (omniglot.load, omniglot.where, omniglot.cache_folder):
        with pytest.raises(OmniglotRefused, match="METALAB_CACHE=~nosuchuser/x begins with the home folder of a user"):
            call()


def test_no_home_at_all_is_said(data, monkeypatch):
    def nobody():
        raise RuntimeError("Could not determine home directory.")

    for variable in ("METALAB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    with pytest.raises(OmniglotRefused, match="no home folder for Omniglot's cache: set METALAB_CACHE to a folder"):
        omniglot.load()


def test_what_killed_processes_left_over_is_removed_after_a_day(data, cache, tmp_path):
    cache.parent.mkdir()
    precious, day = tmp_path / "precious", 24 * 3600
    precious.write_text("mine")
    (cache.parent / "folder").mkdir()
    partial = f".{cache.name}.{{}}.partial"
    for name, age in [(partial.format("0" * 32), 1.1), (partial.format("1" * 32), 0.9)]:
        (cache.parent / name).write_bytes(bytes(1000))
        os.utime(cache.parent / name, (time.time() - age * day,) * 2)
    others = [".other.0123.partial", partial.format("2")[1:], f".{cache.name}.3", "notes.partial", partial.format("4")]
    for name in others[:-1]:
        (cache.parent / name).touch()
        os.utime(cache.parent / name, (0, 0))
    (cache.parent / others[-1]).symlink_to(precious)
    os.utime(precious, (0, 0))
    omniglot.load()
    assert sorted(os.listdir(cache.parent)) == sorted([cache.name, "folder", partial.format("1" * 32), *others])
    assert precious.read_text() == "mine"


def test_the_cache_is_whole_whenever_it_is_seen(data, cache, monkeypatch):
    """At the moment of the switch the old file is untouched and the new one, beside it, is complete."""
    omniglot.load()
    good = cache.read_bytes()
    cache.write_bytes(b"old")
    seen = []

    def watch(new, old):
        seen.append((Path(new).parent, Path(new).read_bytes(), Path(old).read_bytes()))
        rename(new, old)

    rename = os.replace
    monkeypatch.setattr(os, "replace", watch)
    with pytest.warns(UserWarning, match="cannot be used"):
        omniglot.load()
    assert seen == [(cache.parent, good, b"old")]


@pytest.mark.parametrize(
    ("platform", "variables", "folder"),
    [
        ("linux", {}, "{home}/.cache/metalab"),
        ("linux", {"XDG_CACHE_HOME": "/else"}, "/else/metalab"),
        ("darwin", {}, "{home}/Library/Caches/metalab"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/metalab"),
        ("win32", {}, "{home}/AppData/Local/metalab"),
        ("linux", {"METALAB_CACHE": "~/mine"}, "{home}/mine"),
        ("win32", {"METALAB_CACHE": "/mine"}, "/mine"),
    ],
)
def test_the_cache_lies_where_the_system_keeps_caches(platform, variables, folder, monkeypatch, tmp_path):
    for name in ("METALAB_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path), **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert omniglot.cache_folder() == Path(folder.format(home=tmp_path))


# ---------------------------------------------------------------- downloading, from a server on this machine


class Server(ThreadingHTTPServer):
    """Answers each request for a path by the next of that path's `answers`; the last one is repeated."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = {}
        self.asked = []  # the path of every request
        self.never_left = 0  # clients that did not give up on a server fallen silent
        self.together = threading.Barrier(2)

    def offer(self, path, *answers):
        self.answers[path] = list(answers)
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path[1:]
        self.server.asked.append(path)
        answers = self.server.answers[path]
        (answers.pop(0) if len(answers) > 1 else answers[0])(self)

    def log_message(self, *args):
        pass


def sends(body, *, claims=None, status=200, sized=True):
    def answer(handler):
        handler.send_response(status)
        if sized:
            handler.send_header("Content-Length", str(len(body) if claims is None else claims))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def is_silent(handler):
    handler.connection.settimeout(20)
    try:
        handler.connection.recv(1)  # returns when the client hangs up
    except TimeoutError:
        handler.server.never_left += 1


def stalls(handler):
    sends(BACKGROUND_ZIP[:1000], claims=len(BACKGROUND_ZIP))(handler)
    is_silent(handler)


def resets(handler):
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(handler.connection.detach())


def hangs_up(handler):
    handler.close_connection = True


def waits_for_the_other(body):
    """Answers only when two clients are asking."""

    def answer(handler):
        handler.server.together.wait(timeout=60)
        sends(body)(handler)

    return answer


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def closed_address():
    """Nobody listens there: the port is ours, so nobody else takes it either."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/closed"


@pytest.fixture
def pauses(monkeypatch):
    """Records the pauses between tries in place of making them."""
    taken = []
    monkeypatch.setattr(download, "time", SimpleNamespace(sleep=taken.append, monotonic=time.monotonic))
    monkeypatch.setattr(download, "PAUSES", (1, 4))
    return taken


MD5 = hashlib.md5(BACKGROUND_ZIP).hexdigest()


def fetch(*addresses, at_most=omniglot.LARGEST_ARCHIVE):
    return download.fetch("background.zip", addresses, md5=MD5, at_most=at_most)


def test_the_first_address_is_enough(server, pauses):
    assert fetch(server.offer("a", sends(BACKGROUND_ZIP)), server.offer("b", sends(BACKGROUND_ZIP))) == BACKGROUND_ZIP
    assert (server.asked, pauses) == (["a"], [])


@pytest.mark.parametrize(
    "fault",
    [
        sends(b"", status=500),
        sends(b"", status=503),
        sends(b"", status=429),
        sends(BACKGROUND_ZIP[:1000], claims=len(BACKGROUND_ZIP)),
        hangs_up,
        resets,
        stalls,
        is_silent,
    ],
    ids=["500", "503", "429", "truncated", "hangs up", "resets", "stalls", "silent"],
)
def test_a_passing_fault_is_tried_again(fault, server, pauses, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    assert fetch(server.offer("a", fault, fault, sends(BACKGROUND_ZIP))) == BACKGROUND_ZIP
    assert (server.asked, pauses, server.never_left) == (["a"] * 3, [1, 4], 0)


def test_a_fault_that_does_not_pass_leads_to_the_next_address(server, pauses):
    assert fetch(server.offer("a", sends(b"", status=500)), server.offer("b", sends(BACKGROUND_ZIP))) == BACKGROUND_ZIP
    assert (server.asked, pauses) == (["a", "a", "a", "b"], [1, 4])


@pytest.mark.parametrize(
    "fault",
    [
        sends(b"", status=404),
        sends(b"<html>Sign in to this network</html>"),
        sends(flipped(BACKGROUND_ZIP, 500)),
        sends(BACKGROUND_ZIP[:-1], sized=False),
        sends(BACKGROUND_ZIP + b"more"),
    ],
    ids=["404", "a sign-in page", "one bit", "truncated, size not told", "too long"],
)
def test_a_lasting_fault_goes_to_the_next_address_at_once(fault, server, pauses):
    assert fetch(server.offer("a", fault), server.offer("b", sends(BACKGROUND_ZIP))) == BACKGROUND_ZIP
    assert (server.asked, pauses) == (["a", "b"], [])


def drips(where):
    """Sends a byte now and then and never ends: after a right beginning, in its headers, or between two chunks."""
    beginnings = {
        "body": b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n",
        "header": b"HTTP/1.1 200 OK\r\nX-Long: ",
        "status": b"HTTP/1.1 200 ",
        "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
    }

    def answer(handler):
        handler.close_connection = True
        with contextlib.suppress(OSError):  # the client hangs up
            handler.wfile.write(beginnings[where])
            for _ in range(1000):
                handler.wfile.write(b"0")
                time.sleep(0.02)

    return answer


@pytest.mark.parametrize("where", ["body", "header", "status", "chunk"])
@pytest.mark.parametrize(
    ("limits", "tries"),
    [({"TIMEOUT": 0.3}, 3), ({"TIMEOUT": 30, "DEADLINE": 0.3}, 1)],
    ids=["least rate", "deadline"],
)
def test_a_server_that_drips_holds_nobody(where, limits, tries, server, pauses, monkeypatch):
    """A byte each 20 ms never lets a socket time out."""
    for name, value in limits.items():
        monkeypatch.setattr(download, name, value)
    bad, gone = server.offer("a", drips(where)), server.offer("b", sends(b"", status=404))
    began = time.monotonic()
    with pytest.raises(download.DownloadFailed) as caught:
        fetch(bad, gone)
    assert time.monotonic() - began < 10
    assert server.asked == ["a"] * tries + ["b"]
    slow, missing = caught.value.tried
    assert re.fullmatch(rf"{bad}: is too slow, it sent \d+ bytes in \d+ seconds", slow)
    assert missing.startswith(f"{gone}: HTTP Error 404")


def test_a_server_that_falls_silent_after_a_fast_beginning_is_left_soon(server, pauses, monkeypatch):
    """By the least rate alone, it could rest for seconds on what it has sent."""
    monkeypatch.setattr(download, "TIMEOUT", 0.3)

    def answer(handler):
        sends(bytes(200_000), claims=10**6)(handler)
        is_silent(handler)

    began = time.monotonic()
    with pytest.raises(download.DownloadFailed, match=r"is too slow, it sent 200,\d+ bytes"):
        fetch(server.offer("a", answer))
    assert time.monotonic() - began < 8


def test_a_slow_server_that_is_fast_enough_is_waited_for(server, monkeypatch):
    """It takes longer than the time without a byte, and is above the least rate."""
    monkeypatch.setattr(download, "TIMEOUT", 0.4)

    def answer(handler):
        sends(b"", claims=len(BACKGROUND_ZIP))(handler)
        for start in range(0, len(BACKGROUND_ZIP), 16_000):
            handler.wfile.write(BACKGROUND_ZIP[start : start + 16_000])
            time.sleep(0.08)

    assert len(BACKGROUND_ZIP) > 8 * 16_000
    assert fetch(server.offer("a", answer)) == BACKGROUND_ZIP
    assert server.asked == ["a"]


def test_a_time_for_all_tries_at_an_address(server, monkeypatch):
    """The pauses count too: what would come after the deadline is not tried."""
    monkeypatch.setattr(download, "PAUSES", (0, 30))
    monkeypatch.setattr(download, "DEADLINE", 20)
    assert fetch(server.offer("a", sends(b"", status=503)), server.offer("b", sends(BACKGROUND_ZIP))) == BACKGROUND_ZIP
    assert server.asked == ["a", "a", "b"]


def redirects(to, body=b""):
    def answer(handler):
        handler.send_response(302)
        handler.send_header("Location", to)
        handler.end_headers()
        with contextlib.suppress(OSError):
            while body:
                handler.wfile.write(body)

    return answer


def test_redirects_are_followed_but_not_for_ever(server, pauses):
    good = server.offer("good", sends(BACKGROUND_ZIP))
    assert fetch(server.offer("a", redirects(good))) == BACKGROUND_ZIP
    server.asked.clear()
    circle = server.offer("circle", redirects("/circle"))
    assert fetch(circle, good) == BACKGROUND_ZIP
    assert 1 < server.asked.count("circle") <= 11
    with pytest.raises(download.DownloadFailed, match=rf"{circle}: HTTP Error 302: .*infinite loop"):
        fetch(circle)


def test_a_redirect_whose_own_body_never_ends_is_cut_off(server, pauses):
    bad = server.offer("a", redirects("/good", body=bytes(100_000)))
    assert fetch(bad, server.offer("good", sends(BACKGROUND_ZIP))) == BACKGROUND_ZIP
    assert server.asked == ["a", "good"]


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "http://[", "http://\x01/"])
def test_redirects_lead_to_http_alone(to, server, pauses):
    bad = server.offer("a", redirects(to))
    assert fetch(bad, server.offer("good", sends(BACKGROUND_ZIP))) == BACKGROUND_ZIP
    assert server.asked == ["a", "good"]
    with pytest.raises(download.DownloadFailed, match=r"not allowed|unknown url type: ftp|Invalid|control characters"):
        fetch(bad)


def test_a_flood_is_cut_off(server):
    with pytest.raises(download.DownloadFailed, match="sent more than 1,000 bytes"):
        fetch(server.offer("a", sends(BACKGROUND_ZIP)), at_most=1000)
    with pytest.raises(download.DownloadFailed, match="sent more than 1,000 bytes"):
        fetch(server.offer("a", sends(bytes(30_000), sized=False)), at_most=1000)


def writes(text):
    """Answers with this as its first line."""

    def answer(handler):
        handler.close_connection = True
        handler.wfile.write(text)

    return answer


@pytest.mark.parametrize(
    "text", [b"HTTP/1.1 404 \x1b[2J\x1b]0;x\x07" + b"y" * 5000 + b"\r\n\r\n", b"\x1b[31m" * 1000 + b"\r\n\r\n"]
)
def test_what_a_server_says_does_not_steer_the_terminal(text, server, pauses):
    with pytest.raises(download.DownloadFailed) as caught:
        fetch(server.offer("a", writes(text)))
    (line,) = caught.value.tried
    assert line.isprintable()
    assert len(line) < 300


@pytest.mark.parametrize(
    ("length", "reason"),
    [
        (len(BACKGROUND_ZIP) + 9, "ended after .* of .* bytes"),
        (len(BACKGROUND_ZIP) - 9, "sent a wrong file, its MD5"),
        (10**30, "ended after"),
    ],
)
def test_a_wrong_length_is_named(length, reason, server, pauses):
    with pytest.raises(download.DownloadFailed, match=reason):
        fetch(server.offer("a", sends(BACKGROUND_ZIP, claims=length)))


@pytest.mark.parametrize("length", ["-5", "x", ""])
def test_a_length_that_is_none_does_no_harm(length, server):
    text = b"HTTP/1.1 200 OK\r\nContent-Length: " + length.encode() + b"\r\n\r\n" + BACKGROUND_ZIP
    assert fetch(server.offer("a", writes(text))) == BACKGROUND_ZIP


RIGHT = {"name": "a.zip", "addresses": ["http://127.0.0.1:9/"], "md5": "0" * 32, "at_most": 9}


@pytest.mark.parametrize(
    ("error", "name", "values"),
    [
        (TypeError, "name", [None, b"a"]),
        (TypeError, "addresses", [None, 1, [b"http://x"], [None], {"http://x"}]),
        (ValueError, "addresses", ["http://x", [], ["file:///etc/passwd"], ["ftp://x"], ["x"], [""]]),
        (TypeError, "md5", [None, 0, b"0" * 32]),
        (ValueError, "md5", ["", "0" * 31, "0" * 33, "A" * 32, "0" * 32 + "\n"]),
        (TypeError, "at_most", NO_WHOLE_NUMBER),
        (ValueError, "at_most", [0, -1]),
    ],
)
def test_what_cannot_be_fetched_is_named(error, name, values):
    for value in values:
        with pytest.raises(error, match=f"{name}=.* must be"):
            download.fetch(**{**RIGHT, name: value})


def test_every_address_down_gives_a_line_for_each(server, closed_address, pauses):
    gone = server.offer("gone", sends(b"", status=404))
    wrong = server.offer("wrong", sends(b"wrong"))
    with pytest.raises(download.DownloadFailed, match=r"background.zip could not be downloaded") as caught:
        fetch(gone, wrong, closed_address)
    for line, address, reason in zip(
        caught.value.tried,
        [gone, wrong, closed_address],
        ["404", "wrong file, its MD5", "could not be reached: "],
        strict=True,
    ):
        assert line.startswith(f"{address}: ")
        assert reason in line
    assert pauses == []  # without a network the answer comes at once


def terminal(monkeypatch):  # no fixture: pytest's own capture begins anew after the fixtures
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", screen)
    return screen


def test_the_progress_bar_fills_and_goes(server, monkeypatch):
    screen = terminal(monkeypatch)
    fetch(server.offer("a", sends(BACKGROUND_ZIP)))
    lines = screen.getvalue().split("\r")
    assert lines[-3].startswith("background.zip  [####################] 100 % of 0.")
    assert (lines[-2].strip(), lines[-1]) == ("", "")
    assert len(lines[-2]) == len(lines[-3])


def test_the_progress_bar_goes_after_a_fault_too(server, monkeypatch):
    screen = terminal(monkeypatch)
    with pytest.raises(download.DownloadFailed):
        fetch(server.offer("a", sends(BACKGROUND_ZIP[:1000], claims=len(BACKGROUND_ZIP))))
    assert screen.getvalue().endswith(" \r")


def test_the_progress_bar_does_without_a_size(server, monkeypatch):
    screen = terminal(monkeypatch)
    fetch(server.offer("a", sends(BACKGROUND_ZIP, sized=False)))
    assert "\rbackground.zip  0 MB\r" in screen.getvalue()


def test_a_notebook_has_the_bar_too(server, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace())
    fetch(server.offer("a", sends(BACKGROUND_ZIP)))
    assert "100 %" in capsys.readouterr().err


def test_elsewhere_nothing_is_printed(server, capsys):
    fetch(server.offer("a", sends(BACKGROUND_ZIP)))
    assert capsys.readouterr() == ("", "")


# ---------------------------------------------------------------- the whole search


def parts_at(server, answer=sends):
    """The stand-in's parts, published on the server: the first address is gone, the second one has them."""
    gone = server.offer("gone", sends(b"", status=404))
    return tuple(
        replace(part, addresses=(gone, server.offer(part.archive, answer(archive))))
        for part, archive in [(BACKGROUND, BACKGROUND_ZIP), (EVALUATION, EVALUATION_ZIP)]
    )


def test_what_is_on_no_disk_is_downloaded_and_kept(server, cache, monkeypatch):
    monkeypatch.setattr(omniglot, "PARTS", parts_at(server))
    assert_is_stand_in(omniglot.load())
    assert server.asked == ["gone", "images_background.zip", "gone", "images_evaluation.zip"]
    assert omniglot.where() == f"cache file {cache}"
    assert_is_stand_in(omniglot.load())
    assert len(server.asked) == 4


def test_one_call_loads_and_says_where_from(server, data, cache, monkeypatch):
    pair, place = omniglot.load_from()
    assert_is_stand_in(pair)
    assert place == f"METALAB_DATA={data}"
    cache.unlink()
    monkeypatch.delenv("METALAB_DATA")
    monkeypatch.setattr(omniglot, "PARTS", parts_at(server))
    for expected in (f"the network; it is now in cache file {cache}", f"cache file {cache}"):
        (train, test), place = omniglot.load_from("random", seed=3)
        assert (len(train), len(test)) == (4, 3)
        assert place == expected


def test_a_download_that_cannot_be_kept_is_no_failure(server, cache, monkeypatch, capsys):
    monkeypatch.setattr(omniglot, "PARTS", parts_at(server))
    monkeypatch.setattr(omniglot, "replace_file", refuse)
    with pytest.warns(UserWarning, match="could not be kept"):
        assert main(["data"]) == 0
    said = "Omniglot: 4 training and 3 test characters, from the network; it could not be kept in cache file"
    assert capsys.readouterr().out == f"{said} {cache}\n"
    assert len(server.asked) == 4  # it was downloaded once


def test_a_damaged_cache_is_downloaded_anew(server, cache, monkeypatch):
    monkeypatch.setattr(omniglot, "PARTS", parts_at(server))
    omniglot.load()
    cache.write_bytes(SPOILED["truncated"](cache))
    with pytest.warns(UserWarning, match="cannot be used"):
        assert_is_stand_in(omniglot.load())
    assert len(server.asked) == 8
    assert_is_stand_in(omniglot.load())


def test_a_download_of_other_drawings_is_refused(server, cache, monkeypatch):
    """Should an MD5 be forged, the fingerprint of the drawings still stands."""
    forged = DAMAGED["one pixel"][0]
    part = replace(BACKGROUND, md5=hashlib.md5(forged).hexdigest(), addresses=(server.offer("forged", sends(forged)),))
    monkeypatch.setattr(omniglot, "PARTS", (part, parts_at(server)[1]))
    with pytest.raises(OmniglotRefused, match=r"downloaded images_background.zip is not used: .* the SHA-256"):
        omniglot.load()
    assert not cache.exists()


def test_nothing_anywhere_lists_every_place_and_what_to_do(closed_address, data, cache, monkeypatch, pauses):
    part = replace(BACKGROUND, addresses=(closed_address, f"{closed_address}/too"))
    monkeypatch.setattr(omniglot, "PARTS", (part, EVALUATION))
    (data / "images_evaluation.zip").unlink()
    with pytest.raises(OmniglotNotFound) as caught:
        omniglot.load()
    lines = str(caught.value).splitlines()
    assert lines[1] == f"  METALAB_DATA={data}: no images_evaluation.zip there"
    assert lines[2] == f"  cache file {cache}: not there"
    assert lines[3].startswith(f"  {closed_address}: ")
    assert lines[4].startswith(f"  {closed_address}/too: ")
    assert "set METALAB_DATA to" in lines[5]
    assert isinstance(caught.value, FileNotFoundError)
    assert pauses == []


def test_without_leave_nothing_is_downloaded(server, monkeypatch):
    monkeypatch.setattr(omniglot, "PARTS", parts_at(server))
    for look in (lambda: omniglot.load(download=False), omniglot.where):
        with pytest.raises(OmniglotNotFound, match=r"(?s)METALAB_DATA: not set.*not there.*download: not requested"):
            look()
    assert server.asked == []


def load_beside_another(parts, results):
    omniglot.PARTS = parts
    train, test = omniglot.load()
    results.put((train.images.numpy(), test.images.numpy()))


def test_two_processes_may_do_it_together(server, cache, monkeypatch):
    """The server answers only when both are asking, so both have found no cache, and both write one."""
    parts = parts_at(server, waits_for_the_other)
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    processes = [spawn.Process(target=load_beside_another, args=(parts, results)) for _ in range(2)]
    for process in processes:
        process.start()
    for _ in processes:
        train, test = results.get(timeout=90)
        assert np.array_equal(train, BACKGROUND_IMAGES)
        assert np.array_equal(test, EVALUATION_IMAGES)
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert server.asked.count("images_background.zip") == 2
    assert os.listdir(cache.parent) == [cache.name]
    assert_is_stand_in(omniglot.load(download=False))


# ---------------------------------------------------------------- the real tables, and the real drawings


def test_the_tables_are_omniglots():
    real = (omniglot.BACKGROUND, omniglot.EVALUATION)
    assert [len(part.alphabets) for part in real] == [30, 20]
    assert [len(part.paths()) // 20 for part in real] == [964, 659]
    assert all(part.paths() == sorted(part.paths()) for part in real)  # the fingerprints go by sorted paths
    assert not set(real[0].alphabets) & set(real[1].alphabets)
    numbers = [n for part in real for first, count in part.alphabets.values() for n in range(first, first + count)]
    assert sorted(numbers) == list(range(1, 1624))


REAL = Path(os.environ.get("METALAB_DATA") or "nowhere")  # read before any test changes it
needs_the_real_data = pytest.mark.skipif(
    not all((REAL / f"images_{part}.zip").is_file() for part in ("background", "evaluation")),
    reason="the real Omniglot archives are not in METALAB_DATA",
)


@pytest.fixture(scope="module")
def real_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("real")


@pytest.fixture
def real(monkeypatch, real_cache):
    monkeypatch.setattr(omniglot, "PARTS", (omniglot.BACKGROUND, omniglot.EVALUATION))
    monkeypatch.setattr(omniglot, "RANDOM_TRAIN", 1200)
    monkeypatch.setenv("METALAB_DATA", str(REAL))
    monkeypatch.setenv("METALAB_CACHE", str(real_cache))  # one decoding for all these tests


@needs_the_real_data
def test_the_real_split_shares_no_alphabet(real):
    train, test = omniglot.load()
    assert (train.images.shape, test.images.shape) == ((964, 20, 28, 28), (659, 20, 28, 28))
    assert (len(train.names), len(test.names)) == (30, 20)
    assert not set(train.names) & set(test.names)
    assert train.alphabet.unique().tolist() == list(range(30))
    assert test.alphabet.unique().tolist() == list(range(20))
    assert test.names[test.alphabet[-1]] == "ULOG"


@needs_the_real_data
def test_the_real_pictures_are_the_drawings(real):
    train, _ = omniglot.load()
    with zipfile.ZipFile(REAL / "images_background.zip") as archive:
        for character, drawer in [(0, 0), (20, 5), (963, 19)]:
            path = omniglot.BACKGROUND.paths()[20 * character + drawer]
            with Image.open(io.BytesIO(archive.read(path))) as picture:
                ink = ~np.asarray(picture)
            assert torch.equal(train.images[character, drawer], by_area(ink[None])[0])
            assert 0.01 < ink.mean() < 0.2  # thin strokes on paper, not the reverse


@needs_the_real_data
def test_the_real_random_split_mixes_alphabets(real):
    train, test = omniglot.load("random")
    assert (train.images.shape, test.images.shape) == ((1200, 20, 28, 28), (423, 20, 28, 28))
    assert set(train.alphabet.tolist()) & set(test.alphabet.tolist())  # why it is not the default
    counts = torch.bincount(torch.cat([train.alphabet, test.alphabet]))
    real_parts = (omniglot.BACKGROUND, omniglot.EVALUATION)
    assert counts.tolist() == [count for part in real_parts for _, count in part.alphabets.values()]
