"""Omniglot: 1,623 characters of 50 alphabets, each drawn by 20 people.

The data are by Lake, Salakhutdinov & Tenenbaum ("Human-level concept learning through probabilistic program induction",
Science 350, 2015). They are published under the MIT licence at https://github.com/brendenlake/omniglot.

No byte is trusted before it is checked. An archive is read in memory, is never unpacked to disk, and must hold exactly
the paths that this module expects. The SHA-256 of all its drawings must be the one in the tables below, and it is
computed again whenever the cache is read. Alphabets and labels follow from these tables, so that no file can change
them.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import re
import stat
import sys
import warnings
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from PIL import Image

from .. import arguments
from ..files import replace_file
from .characters import Characters
from .download import DownloadFailed, fetch

DRAWERS = 20
SIDE = 105  # pixels of the author's drawings
PACKED = 1379  # bytes of one 105 x 105 ink mask, with eight pixels in a byte
RANDOM_TRAIN = 1200  # number of training characters in the random split
LARGEST_PNG = 16_384  # bytes; the author's largest has 522
LARGEST_ARCHIVE = 32_000_000  # bytes; the author's larger one has 9.5 million
CACHE_FILE = "omniglot-105.safetensors"
# Folders are no files, and a Mac or Windows adds these files to a folder or to an archive that it packs.
LITTER = re.compile(
    r".*/|__MACOSX/.*|(?:.*/)?(?:\.DS_Store|\._[^/]*|Thumbs\.db|desktop\.ini)", re.DOTALL | re.IGNORECASE
)

# The last commit of the author's repository, and the Software Heritage archive, where the same two files are found by
# their git hashes.
AUTHOR = "https://raw.githubusercontent.com/brendenlake/omniglot/057f034baf2ecb8530bc5710e5a23584d2a519cc/python"
HERITAGE = "https://archive.softwareheritage.org/api/1/content"


class OmniglotNotFound(FileNotFoundError):
    """Omniglot is in none of the places that were searched. The message lists them and says what to do."""


class OmniglotRefused(ValueError):
    """An archive is damaged or altered, or METALAB_DATA or METALAB_CACHE cannot name a folder. The message says which,
    and why."""


@dataclass(frozen=True)
class Part:
    """One of the author's two archives: what it must contain, and where it is published."""

    name: str  # of the archive, and of the only folder in it
    alphabets: dict[str, tuple[int, int]]  # name: (number of its first character, number of its characters)
    fingerprint: str  # SHA-256 of the drawings in the order of their paths, each as numpy.packbits of its ink mask
    md5: str  # of the author's archive; a repacked archive has another MD5, but the same fingerprint
    addresses: tuple[str, ...]

    @property
    def archive(self) -> str:
        """The file name of the archive."""
        return f"{self.name}.zip"

    def paths(self) -> list[str]:
        """Return the path of every drawing, in sorted order."""
        return [
            f"{self.name}/{alphabet}/character{index + 1:02}/{first + index:04}_{drawer + 1:02}.png"
            for alphabet, (first, characters) in self.alphabets.items()
            for index in range(characters)
            for drawer in range(DRAWERS)
        ]


BACKGROUND = Part(
    name="images_background",
    alphabets={
        "Alphabet_of_the_Magi": (709, 20),
        "Anglo-Saxon_Futhorc": (296, 29),
        "Arcadian": (1, 26),
        "Armenian": (27, 41),
        "Asomtavruli_(Georgian)": (68, 40),
        "Balinese": (108, 24),
        "Bengali": (132, 46),
        "Blackfoot_(Canadian_Aboriginal_Syllabics)": (178, 14),
        "Braille": (192, 26),
        "Burmese_(Myanmar)": (770, 34),
        "Cyrillic": (218, 33),
        "Early_Aramaic": (251, 22),
        "Futurama": (325, 26),
        "Grantha": (351, 43),
        "Greek": (394, 24),
        "Gujarati": (418, 48),
        "Hebrew": (466, 22),
        "Inuktitut_(Canadian_Aboriginal_Syllabics)": (540, 16),
        "Japanese_(hiragana)": (488, 52),
        "Japanese_(katakana)": (596, 47),
        "Korean": (643, 40),
        "Latin": (683, 26),
        "Malay_(Jawi_-_Arabic)": (556, 40),
        "Mkhedruli_(Georgian)": (729, 41),
        "N_Ko": (804, 33),
        "Ojibwe_(Canadian_Aboriginal_Syllabics)": (837, 14),
        "Sanskrit": (851, 42),
        "Syriac_(Estrangelo)": (273, 23),
        "Tagalog": (893, 17),
        "Tifinagh": (910, 55),
    },
    fingerprint="fa99ab70a348e2f9f02e33f6c9beb789eb1241418acf7ebc2f703301815bf452",
    md5="68d2efa1b9178cc56df9314c21c6e718",
    addresses=(
        f"{AUTHOR}/images_background.zip",
        f"{HERITAGE}/sha1_git:71fd167eb6fdd312049395fbd247147a4b234231/raw/",
    ),
)
EVALUATION = Part(
    name="images_evaluation",
    alphabets={
        "Angelic": (965, 20),
        "Atemayar_Qelisayer": (985, 26),
        "Atlantean": (1011, 26),
        "Aurek-Besh": (1037, 26),
        "Avesta": (1063, 26),
        "Ge_ez": (1089, 26),
        "Glagolitic": (1115, 45),
        "Gurmukhi": (1160, 45),
        "Kannada": (1205, 41),
        "Keble": (1246, 26),
        "Malayalam": (1272, 47),
        "Manipuri": (1319, 40),
        "Mongolian": (1359, 30),
        "Old_Church_Slavonic_(Cyrillic)": (1389, 45),
        "Oriya": (1434, 46),
        "Sylheti": (1503, 28),
        "Syriac_(Serto)": (1480, 23),
        "Tengwar": (1531, 25),
        "Tibetan": (1556, 42),
        "ULOG": (1598, 26),
    },
    fingerprint="5bdcd30aa88e9096667576ae13f63e07dfe325d8711bf643359338d5dcd36144",
    md5="6b91aef0f799c5bb55b94e3f2daec811",
    addresses=(
        f"{AUTHOR}/images_evaluation.zip",
        f"{HERITAGE}/sha1_git:8ccde0ed1565641f1fa8c57cdc6ff634e15fc5c1/raw/",
    ),
)
PARTS = (BACKGROUND, EVALUATION)
# The author's minimal sets of five background alphabets, images_background_small1 and images_background_small2.
MINIMAL = {
    "small1": ("Balinese", "Early_Aramaic", "Greek", "Korean", "Latin"),
    "small2": ("Greek", "Japanese_(katakana)", "Latin", "Sanskrit", "Tagalog"),
}
SPLITS = ("alphabets", "random", *MINIMAL)


def load(
    split: str = "alphabets", *, side: int = 28, seed: int = 0, download: bool = True
) -> tuple[Characters, Characters]:
    """Return Omniglot's characters for training and for testing, in pictures of `side` x `side` pixels.

    They are searched for in the folder that METALAB_DATA names (the archives images_background.zip and
    images_evaluation.zip) and then in the user's cache (`cache_folder`). If they are in neither, they are downloaded.
    The decoded drawings are kept in the cache.

    A pixel is the share of ink in its area of the 105 x 105 drawing, rounded to 1/255. It is computed in integers, so
    it is the same on every machine. The strokes are wide enough for a reduction to 28 pixels: 98 of 100 drawings still
    have pixels of full ink.

    Args:
        split: "alphabets" is the author's split: train on 30 alphabets (964 characters), test on 20 others (659).
            "random" shuffles all 1,623 characters and trains on 1,200 of them, as most papers do. Nearly every alphabet
            is then on both sides, which makes the test easier; use it only to compare with those papers.
            "small1" and "small2" are the author's minimal sets: train on 5 of the 30 alphabets (136 or 156 characters),
            test on the same 20.
        side: the pixels of a side, 1 … 105. Most papers take 28; 105 leaves the drawings as they are.
        seed: the seed of the random split; the split by alphabets does not depend on it.
        download: whether to use the network when Omniglot is not found on disk.

    Returns:
        (train, test): Characters with images [C, 20, side, side] uint8, 255 = ink, one drawing by each of 20 people.

    Raises:
        TypeError: `side` or `seed` is no whole number, or `download` is neither True nor False.
        ValueError: there is no such `split`, `side` is not in 1 … 105, or `seed` is less than 0.
        OmniglotNotFound: Omniglot is not on disk, and was not downloaded.
        OmniglotRefused: METALAB_DATA or METALAB_CACHE is set but cannot name a folder, or an archive is damaged or
            altered.
    """
    return load_from(split, side=side, seed=seed, download=download)[0]


def load_from(
    split: str = "alphabets", *, side: int = 28, seed: int = 0, download: bool = True
) -> tuple[tuple[Characters, Characters], str]:
    """Return what `load` returns for these arguments, and say in words where it comes from. Errors are as in `load`."""
    arguments.one_of(SPLITS, split=split)
    arguments.whole(most=SIDE, what="the pixels of a drawing", side=side)
    arguments.whole(least=0, seed=seed)
    arguments.flag(download=download)
    drawings, place = _find(download)
    train, test = (_characters(part, packed, side) for part, packed in zip(PARTS, drawings, strict=True))
    if split in MINIMAL:
        train = train.of(MINIMAL[split])
    if split != "random":
        return (train, test), place
    everything = Characters(
        images=torch.cat([train.images, test.images]),
        alphabet=torch.cat([train.alphabet, test.alphabet + len(train.names)]),
        names=train.names + test.names,
        source=train.source,
    )
    order = torch.randperm(len(everything), generator=torch.Generator().manual_seed(seed))
    train, test = (everything.select(index.sort().values) for index in (order[:RANDOM_TRAIN], order[RANDOM_TRAIN:]))
    return (train, test), place


def where() -> str:
    """Return, in words, the place that `load` would take Omniglot from, after verifying what is there.

    Raises:
        OmniglotNotFound, OmniglotRefused: as `load(download=False)` does.
    """
    return _find(download=False)[1]


def cache_folder() -> Path:
    """Return the folder of the cache: METALAB_CACHE if it is set, else `metalab` in the system's folder for a user's
    caches.

    Raises:
        OmniglotRefused: METALAB_CACHE names the home of a user who does not exist, or is not set and there is no home.
    """
    if folder := _folder("METALAB_CACHE"):
        return folder
    try:
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "metalab"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "metalab"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "metalab"
    except RuntimeError:
        raise OmniglotRefused("You have no home folder for Omniglot's cache: set METALAB_CACHE to a folder") from None


def _folder(variable: str) -> Path | None:
    """Return the folder that an environment variable names, or None if the variable is not set or empty.

    Raises:
        OmniglotRefused: it names the home of a user who does not exist.
    """
    named = os.environ.get(variable)
    try:
        return Path(named).expanduser() if named else None
    except RuntimeError:
        raise OmniglotRefused(
            f"{variable}={_shown(named)} begins with the home folder of a user who does not exist; correct or unset it"
        ) from None


def _shown(text: object) -> str:
    """Return a path or a fault as a message shows it: in one line, of a length to read, without control characters."""
    line = str(text)
    if not line.isprintable():
        line = ascii(line)[1:-1]
    return line if len(line) <= 300 else f"{line[:300]}… ({len(line):,} characters)"


def _reason(fault: Exception) -> str:
    """Return a fault in words. The path is left out, because the message around it has it."""
    return _shown((isinstance(fault, OSError) and fault.strerror) or fault)


def _warn(message: str) -> None:
    """Warn, and point at the line that called this module."""
    frame, level = sys._getframe(), 1
    while frame and frame.f_globals is globals():
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)


def _find(download: bool) -> tuple[list[np.ndarray], str]:
    """Return the packed drawings of each part, verified, and say in words where they were found."""
    tried = []
    cache = cache_folder() / CACHE_FILE
    cache_shown = f"cache file {_shown(cache)}"
    cached, cached_from = None, None
    try:
        cached, cached_from = _read_cache(cache)
        in_cache = "verified"
    except FileNotFoundError:
        in_cache = "not there"
    except (OSError, ValueError) as fault:
        in_cache = f"cannot be used: {_reason(fault)}"
        _warn(f"Omniglot's {cache_shown} {in_cache}")

    if folder := _folder("METALAB_DATA"):
        place = f"METALAB_DATA={_shown(os.environ['METALAB_DATA'])}"
        archives = _read_archives(folder, place)
        if None not in archives:
            if cached is not None and cached_from == _digests(archives):  # the cache is of these very archives
                return cached, place
            return _decode_and_keep(archives, [_shown(folder / part.archive) for part in PARTS], cache)[0], place
        missing = [part.archive for part, archive in zip(PARTS, archives, strict=True) if archive is None]
        tried.append(f"{place}: no {' and no '.join(missing)} there")
    else:
        tried.append(f"METALAB_DATA: {'not set' if os.environ.get('METALAB_DATA') is None else 'empty'}")

    if cached is not None:
        return cached, cache_shown
    tried.append(f"{cache_shown}: {in_cache}")

    if download:
        try:
            archives = [fetch(p.archive, p.addresses, md5=p.md5, at_most=LARGEST_ARCHIVE) for p in PARTS]
            drawings, kept = _decode_and_keep(archives, [f"the downloaded {part.archive}" for part in PARTS], cache)
            return drawings, f"the network; it {'is now' if kept else 'could not be kept'} in {cache_shown}"
        except DownloadFailed as fault:
            tried += fault.tried
    else:
        tried.append("download: not requested")
    raise OmniglotNotFound(
        "\n  ".join(["Omniglot was not found. These places were tried, in this order:", *tried])
        + f"\nEither load it once with a network (about 16 MB), or get {' and '.join(p.archive for p in PARTS)} from "
        "the folder `python` of https://github.com/brendenlake/omniglot and set METALAB_DATA to the folder they lie in."
    )


def _read_archives(folder: Path, place: str) -> list[bytes | None]:
    """Read the archive of each part in the folder METALAB_DATA; None stands for one that is not there.

    Raises:
        OmniglotRefused: the folder is none (`place` names it), or an archive cannot be read or is too large.
    """
    try:
        os.stat(os.path.join(folder, ""))  # with a separator at its end, a file or a link to nowhere is an error
    except (OSError, ValueError) as fault:
        text = f"{place} cannot be used as a folder ({_reason(fault)}); correct it, or unset it to look elsewhere"
        raise OmniglotRefused(text) from fault
    archives = []
    for path in (folder / part.archive for part in PARTS):
        try:
            archives.append(_read(path, LARGEST_ARCHIVE))
        except FileNotFoundError:
            archives.append(None)
        except (OSError, ValueError) as fault:
            raise OmniglotRefused(f"{_shown(path)} is not used: {_reason(fault)}") from fault
    return archives


def _read(path: Path, at_most: int) -> bytes:
    """Read a regular file.

    Raises:
        OSError: it cannot be read.
        ValueError: it has more than `at_most` bytes, or is a pipe or a device, where reading might never end.
    """
    # Opening a pipe would wait for a writer.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is not a regular file")
        data = file.read(at_most + 1)
    if len(data) > at_most:
        raise ValueError(f"it has more than {at_most:,} bytes")
    return data


def _digests(archives: list[bytes]) -> bytes:
    """Return the SHA-256 of each archive, 32 bytes each."""
    return b"".join(hashlib.sha256(archive).digest() for archive in archives)


def _decode_and_keep(archives: list[bytes], names: list[str], cache: Path) -> tuple[list[np.ndarray], bool]:
    """Return the packed drawings of both archives, verified, and whether they could be kept in the cache.

    Raises:
        OmniglotRefused: an archive is damaged or altered; `names` says which.
    """
    drawings = []
    for archive, name, part in zip(archives, names, PARTS, strict=True):
        try:
            drawings.append(_decode(archive, part))
        except Exception as fault:  # a damaged archive can raise nearly anything in zipfile and zlib
            raise OmniglotRefused(f"{name} is not used: {_reason(fault)}") from fault
    return drawings, _write_cache(cache, drawings, _digests(archives))


def _decode(archive: bytes, part: Part) -> np.ndarray:
    """Return an archive's drawings as packed ink masks [n, 1379] uint8, in the order of their paths.

    Raises:
        Exception: the archive is not that of `part`; a damaged one can raise nearly anything.
    """
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        found = [name for name in opened.namelist() if not LITTER.fullmatch(name)]
        wanted = part.paths()
        missing, surplus = Counter(wanted) - Counter(found), Counter(found) - Counter(wanted)
        for what, names in {"missing": missing, "not expected, or there twice": surplus}.items():
            if names:
                raise ValueError(f"{len(names)} files are {what}, the first is {min(names)!r:.200}")
        drawings = np.stack([_decode_drawing(opened, path) for path in wanted])
    _verify(drawings, part)
    return drawings


def _decode_drawing(archive: zipfile.ZipFile, path: str) -> np.ndarray:
    """Return one drawing as a packed ink mask [1379] uint8.

    Raises:
        ValueError: it is damaged, too large, or not a black-and-white picture of 105 x 105 pixels.
    """
    try:
        entry = archive.getinfo(path)
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or entry.file_size > LARGEST_PNG:
            raise ValueError(f"{entry.file_size:,} bytes, compressed by method {entry.compress_type}")
        with archive.open(entry) as file:
            png = file.read(LARGEST_PNG)  # never more, whatever size the archive claims
        with Image.open(io.BytesIO(png), formats=["PNG"]) as picture:
            if picture.size != (SIDE, SIDE) or picture.mode != "1":
                raise ValueError(
                    f"{picture.width} x {picture.height} pixels of mode {picture.mode}, not 105 x 105 of 1"
                )
            return np.packbits(~np.asarray(picture))  # the author's ink is 0
    except Exception as fault:  # a damaged PNG can raise nearly anything in zipfile, zlib and Pillow
        raise ValueError(f"{path}: {fault}") from fault


def _verify(drawings: np.ndarray, part: Part) -> None:
    """Check packed drawings against the fingerprint of a part.

    Raises:
        ValueError: they are not that part's drawings.
    """
    shape = (len(part.paths()), PACKED)
    if drawings.dtype != np.uint8 or drawings.shape != shape:
        raise ValueError(f"{part.name}: {drawings.dtype} of shape {drawings.shape}, not uint8 of {shape}")
    found = hashlib.sha256(drawings).hexdigest()
    if found != part.fingerprint:
        raise ValueError(f"{part.name}: the SHA-256 of its drawings is {found}, not {part.fingerprint}")


def _read_cache(cache: Path) -> tuple[list[np.ndarray], bytes]:
    """Return the packed drawings of each part, verified, and the SHA-256 of the archives they were decoded from.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: the file cannot be read.
        ValueError: its content is not Omniglot.
    """
    # The limit leaves room for the drawings and a header. A safetensors file holds plain numbers; unlike a pickle, it
    # cannot run code.
    data = _read(cache, sum(len(part.paths()) for part in PARTS) * PACKED + 4096)
    try:
        arrays = safetensors.numpy.load(data)
        drawings = [arrays[part.name] for part in PARTS]
        decoded_from = arrays["archives"].tobytes()
        for part, packed in zip(PARTS, drawings, strict=True):
            _verify(packed, part)
    except Exception as fault:  # a damaged file can make the reader raise nearly anything
        raise ValueError(f"it is damaged, {fault}") from fault
    return drawings, decoded_from


def _write_cache(cache: Path, drawings: list[np.ndarray], decoded_from: bytes) -> bool:
    """Replace the cache file in one step: other processes see the old file or the new one, never a part of it.

    Returns:
        Whether it was written. If it was not, a warning says so.
    """
    arrays = {part.name: packed for part, packed in zip(PARTS, drawings, strict=True)}
    arrays["archives"] = np.frombuffer(decoded_from, np.uint8)
    try:
        if cache.exists() and not cache.is_file():  # `replace_file` would write into a pipe, and wait for its reader
            raise ValueError("it is not a regular file")
        replace_file(cache, safetensors.numpy.save(arrays))
        return True
    except (OSError, ValueError) as fault:
        _warn(
            f"Omniglot could not be kept in {_shown(cache)} ({_reason(fault)}), so the next load starts again from the "
            "archives; set METALAB_CACHE to a folder that can be written"
        )
        return False


def _characters(part: Part, drawings: np.ndarray, side: int) -> Characters:
    """Return a part's characters from its packed drawings [n, 1379], in pictures of side x side pixels."""
    counts = torch.tensor([characters for _, characters in part.alphabets.values()])
    return Characters(
        images=torch.from_numpy(_shrink(drawings, side)).view(-1, DRAWERS, side, side),
        alphabet=torch.arange(len(counts)).repeat_interleave(counts),
        names=tuple(part.alphabets),
        source="Omniglot",
    )


def _overlap(side: int) -> np.ndarray:
    """Return how much each of m new pixels overlaps each of n old ones, in units of 1/m old pixel: [m, n].

    105 pixels become `side`. Both are multiples of their greatest common divisor, so that n pixels become m.
    """
    m, n = (pixels // math.gcd(SIDE, side) for pixels in (side, SIDE))
    new, old = n * np.arange(m)[:, None], m * np.arange(n)  # where the pixels begin; they are n and m units wide
    return (np.minimum(new + n, old + m) - np.maximum(new, old)).clip(min=0)


def _shrink(packed: np.ndarray, side: int = 28) -> np.ndarray:
    """Return pictures [n, side, side] uint8 of packed ink masks [n, 1379], by the area of ink in each pixel."""
    overlap = _overlap(side)
    whole = int(overlap[0].sum()) ** 2  # the area of a new pixel
    overlap = overlap.astype(np.uint8 if whole < 256 else np.uint16)
    shade = np.rint(np.arange(whole + 1) * (255 / whole)).astype(np.uint8)
    pictures = np.empty((len(packed), side, side), np.uint8)
    for start in range(0, len(packed), 500):  # a few MB at a time
        ink = np.unpackbits(packed[start : start + 500], axis=1, count=SIDE * SIDE).reshape(-1, SIDE, SIDE)
        area = _shrink_rows(_shrink_rows(ink, overlap).swapaxes(1, 2), overlap).swapaxes(1, 2)
        pictures[start : start + 500] = shade[area]
    return pictures


def _shrink_rows(area: np.ndarray, overlap: np.ndarray) -> np.ndarray:
    """Shrink [n, 105, k] to [n, side, k]: each row is the sum of the rows that it overlaps, in the units of overlap."""
    count, _, columns = area.shape
    m, n = overlap.shape
    area = area.reshape(count, -1, n, columns)
    small = np.zeros((count, SIDE // n, m, columns), overlap.dtype)  # holds any sum: it is at most a pixel's area
    for new, old in np.argwhere(overlap):
        small[:, :, new] += overlap[new, old] * area[:, :, old]
    return small.reshape(count, -1, columns)
