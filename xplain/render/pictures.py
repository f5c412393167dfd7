"""Pictures in, and pictures as the model saw them: safe reading, and applying a preprocessing card.

Picture files are not trusted: formats come from a short list, sizes are known before anything is decoded, and
whatever a decoder raises becomes one ``PictureError`` that names the file.
"""

from __future__ import annotations

import glob
import importlib.util
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from xplain.core.card import MOST_PIXELS, Card
from xplain.core.edits import Array
from xplain.core.errors import PictureError, unknown
from xplain.core.keeping.files import RECORD, is_record, there
from xplain.render.dicom import is_dicom, read_dicom
from xplain.render.formats import ACCEPTED, SUFFIXES, decoding, one_frame, opened, too_large
from xplain.render.pnm import pnm_samples
from xplain.render.samples import Range, deep_samples, eight_bits

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["MOST_BYTES", "MOST_PIXELS", "SAMPLE", "Source", "collect", "decoders", "prepare", "read", "samples"]

Source: TypeAlias = "str | os.PathLike[str] | bytes | Array | Image"

MOST_BYTES = 256 * 1024 * 1024
"""Largest picture file that is read, in bytes."""

SAMPLE = "skimage:"
"""Prefix of a picture that comes with scikit-image, such as ``skimage:chelsea``."""

_ORIENTATION_TAG = 0x0112
_WILD = "*?["


def read(source: Source, limits: Range | None = None, told: list[str] | None = None) -> Array:
    """Read one picture as it should be looked at.

    EXIF orientation is applied; transparency is laid over white; palette, grey and CMYK pictures become RGB; samples of
    more than 8 bits become 0..255 by the range that is stated, or that they suggest (``xplain.render.samples``). DICOM
    files are seen through their window. Colour profiles are ignored, as training pipelines ignore them.

    Args:
        source: A path, ``skimage:NAME``, the bytes of a file, a PIL picture, or a uint8 array ``[H, W]``,
            ``[H, W, 1]``, ``[H, W, 3]`` or ``[H, W, 4]``.
        limits: (black, white) in the samples' own numbers, for samples of more than 8 bits; None for what they suggest.
        told: Gets a sentence for everything that was done and may be wrong.

    Returns:
        uint8 ``[H, W, 3]``, RGB.

    Raises:
        PictureError: the picture cannot be read; the message says why and what is accepted.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    told = [] if told is None else told
    if isinstance(source, (str, os.PathLike)):
        return _from_file(os.fspath(source), limits, told)
    if isinstance(source, bytes):
        return _from_bytes(source, "the given picture", limits, told)
    from PIL import Image

    if isinstance(source, Image.Image):
        with decoding("the given picture"):
            return _decode(source, "the given picture", None, limits, told)
    raise PictureError(
        f"A picture is a path, the bytes of a file, a PIL picture or a uint8 array; got {type(source).__name__}."
    )


def prepare(card: Card, picture: Source, out: Array | None = None) -> tuple[Array, Array]:
    """The tensor that a model with this card sees, and the same pixels for a person.

    ``tensor = (pixels * scale - mean) / std`` after resizing (PIL, with antialiasing) and the centre crop.

    Args:
        card: How pictures become tensors; ``card.sized(h, w)`` gives it the model's size where it states none.
        picture: Anything that ``read`` takes.
        out: Where the tensor is written, such as a row of a batch; None for fresh memory, and so where it has another
            shape.

    Returns:
        ``(tensor, pixels)``: float32 ``[C, h, w]`` or ``[h, w, C]`` by the card's layout, channels in the order of its
        mode; and uint8 ``[h, w, 3]`` in RGB (grey repeated where the card is grey), position for position what the
        tensor holds.

    Raises:
        PictureError: the picture cannot be read, or the card would enlarge it beyond ``MOST_PIXELS``.
    """
    pixels = _crop(_resize(read(picture), card), card)
    if card.mode == "L":
        channels = _grey(pixels)
        pixels = np.repeat(channels, 3, axis=2)
    else:
        channels = pixels[:, :, ::-1] if card.mode == "BGR" else pixels
    tensor = card.tensor(channels)
    tensor = tensor if card.layout == "NHWC" else tensor.transpose(2, 0, 1)
    if out is None or (out.shape, out.dtype) != (tensor.shape, tensor.dtype):
        return np.ascontiguousarray(tensor), pixels
    out[...] = tensor
    return out, pixels


def collect(sources: Iterable[str | os.PathLike[str]]) -> list[str]:
    """The pictures that a person named: files, folders (with all below them), globs and ``skimage:NAME``, in order.

    A folder gives the files whose names end as pictures do, sorted; hidden ones are left out, and what lies in a folder
    below it that xplain has written its results into. Nothing is opened. Of several, one that gives no picture stays as
    it was named: whoever reads it is told why, and goes on to the others.

    Raises:
        PictureError: no source gives a picture; the message is of the first.
    """
    found: dict[str, None] = {}  # an ordered set: a file named twice is explained once
    missing: dict[str, PictureError] = {}
    for given in sources:
        source = os.fspath(given)
        try:
            found.update(dict.fromkeys(_named(source)))
        except PictureError as error:
            missing[source] = error
            found[source] = None
    if found and len(missing) == len(found):
        raise next(iter(missing.values()))
    return list(found)


def _named(source: str) -> list[str]:
    """The pictures behind one name."""
    path = Path(source)
    if source.startswith(SAMPLE) or there(path) == "file":
        return [source]
    if there(path) == "folder":
        return _below(path)
    if any(c in source for c in _WILD):
        matches = glob.glob(source, recursive=True)  # noqa: PTH207 - Path.glob would give hidden files too
        if hits := sorted(p for p in matches if there(p) == "file"):
            return hits
    raise _absent(source)


def decoders() -> dict[str, str]:
    """Versions of the libraries that turn files into pixels: another one may round otherwise."""
    from PIL import features

    found = {"libjpeg": "jpg", "libjpeg-turbo": "libjpeg_turbo", "zlib": "zlib", "webp": "webp"}
    known = {name: features.version(feature) for name, feature in found.items()}
    return {name: version for name, version in known.items() if version is not None}


def samples() -> list[str]:
    """Names of the pictures that lie inside the installed scikit-image; nothing is ever downloaded."""
    return sorted({path.stem for path in _sample_folder().iterdir() if path.suffix in SUFFIXES})


def _below(folder: Path) -> list[str]:
    own = {p.parent for p in folder.rglob(RECORD) if p.parent != folder and is_record(p)}
    hits = [
        str(p)
        for p in sorted(folder.rglob("*"))
        if p.suffix.lower() in SUFFIXES
        and p.is_file()
        and not any(s[0] == "." for s in p.relative_to(folder).parts)
        and own.isdisjoint(p.parents)
    ]
    if not hits:
        raise PictureError(f"Folder {str(folder)!r} holds no picture; {ACCEPTED}.")
    return hits


def _absent(source: str) -> PictureError:
    if any(c in source for c in _WILD):
        return PictureError(f"No file matches {source!r}.")
    if "://" in source:
        return PictureError(f"{source!r} is an address; pictures are read from files. Download it first.")
    return PictureError(f"There is no picture {source!r} in {str(Path.cwd())!r}; names are case-sensitive.")


def _sample_folder() -> Path:
    # located, not imported: skimage.data offers to download what is not there
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise PictureError(f"Pictures named {SAMPLE}NAME need scikit-image: pip install scikit-image.")
    return Path(spec.submodule_search_locations[0]) / "data"


def _from_file(source: str, limits: Range | None, told: list[str]) -> Array:
    path = Path(source)
    if source.startswith(SAMPLE):
        name = source.removeprefix(SAMPLE)
        files = {p.stem: p for p in _sample_folder().iterdir() if p.suffix in SUFFIXES}
        if name not in files:
            raise PictureError(str(unknown("picture of the installed scikit-image:", name, sorted(files))))
        path = files[name]
    elif there(path) == "folder":
        raise PictureError(f"{source!r} is a folder; name a picture in it, such as {Path(_below(path)[0]).name!r}.")
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise PictureError(f"{source!r} is not a regular file.")
        if facts.st_size > MOST_BYTES:
            raise PictureError(f"{source!r} has {facts.st_size:,} bytes; accepted: up to {MOST_BYTES:,}.")
        content = path.read_bytes()
    except FileNotFoundError:
        raise _absent(source) from None
    except PictureError:
        raise
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise PictureError(f"{source[:300]!r} cannot be read: {why}.") from None
    return _from_bytes(content, repr(source), limits, told)


def _from_bytes(content: bytes, what: str, limits: Range | None, told: list[str]) -> Array:
    if not content:
        raise PictureError(f"{what} is empty.")
    with decoding(what):
        if is_dicom(content):
            return _from_array(read_dicom(content, what, MOST_PIXELS, limits, told))
        with opened(content, what) as picture:
            return _decode(picture, what, content, limits, told)


def _decode(picture: Image, what: str, content: bytes | None, limits: Range | None, told: list[str]) -> Array:
    """Pixels of an opened picture; sizes and frames are checked before anything is decoded."""
    width, height = picture.size
    if width * height == 0:
        raise PictureError(f"{what} has no pixels: it is {width} wide and {height} high.")
    if width * height > MOST_PIXELS:
        raise PictureError(too_large(what, f"{width} x {height}"))
    one_frame(picture, what)
    portable = pnm_samples(picture, what, content)
    if portable is not None:
        samples, stated = portable
        return _three(eight_bits(samples, limits or stated, what, told))
    deep = deep_samples(picture, content)
    if deep is None:
        return _upright(_to_rgb(picture), picture)
    colours, opacity = (deep, None) if deep.ndim == 2 or deep.shape[2] == 3 else (deep[:, :, :3], deep[:, :, 3:])
    pixels = eight_bits(colours, limits, what, told)
    if opacity is not None:  # full opacity is full range, whatever the colours' is
        shown = opacity.astype(np.float64) / max(float(opacity.max()), 1.0)
        pixels = np.rint(pixels * shown + 255.0 * (1.0 - shown)).astype(np.uint8)
    return _upright(_three(pixels), picture)


def _three(pixels: Array) -> Array:
    """Grey ``[H, W]`` as three equal channels; colours as they are."""
    return pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)


def _to_rgb(picture: Image) -> Array:
    from PIL import Image

    if picture.has_transparency_data:
        layers = picture.convert("RGBA")
        return np.asarray(Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers).convert("RGB"))
    return np.asarray(picture.convert("RGB"))


def _upright(pixels: Array, picture: Image) -> Array:
    """Apply the EXIF orientation; damaged EXIF counts as none. A TIFF is already turned when it is loaded."""
    try:
        orientation = picture.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # metadata is as untrusted as pixels, and less needed
        orientation = 1
    turned = {
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, -1),
        7: pixels[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(pixels),
    }
    return np.array(turned.get(orientation, pixels), order="C")


def _from_array(array: Array) -> Array:
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if array.dtype != np.uint8 or not fits:
        raise PictureError(
            f"A picture array is uint8 [H, W], [H, W, 1], [H, W, 3] or [H, W, 4]; got {array.dtype} "
            f"{list(array.shape)}. A floating array is used as the model's tensor; several pictures go in a list."
        )
    if array.size == 0:
        raise PictureError(f"The given picture has no pixels: it is {list(array.shape)}.")
    if array.shape[0] * array.shape[1] > MOST_PIXELS:
        raise PictureError(too_large("The given picture", f"{array.shape[1]} x {array.shape[0]}"))
    planes = array if array.ndim == 3 else array[:, :, None]
    if planes.shape[2] == 1:
        return np.repeat(planes, 3, axis=2)
    if planes.shape[2] == 4:
        from PIL import Image

        return _to_rgb(Image.fromarray(planes))
    return np.array(planes, order="C")


def _resize(pixels: Array, card: Card) -> Array:
    height, width = pixels.shape[:2]
    if card.resize_short:
        ratio = card.resize_short / min(height, width)
        pixels = _resample(pixels, (round(height * ratio), round(width * ratio)), card)
    if card.resize:
        pixels = _resample(pixels, card.resize, card)
    return pixels


def _resample(pixels: Array, size: tuple[int, int], card: Card) -> Array:
    from PIL import Image

    if size == pixels.shape[:2]:
        return pixels
    if size[0] * size[1] > MOST_PIXELS:
        raise PictureError(
            f"The preprocessing card would enlarge a picture of {pixels.shape[1]} x {pixels.shape[0]} to "
            f"{size[1]} x {size[0]} pixels; accepted: up to {MOST_PIXELS:,}. Crop the picture first."
        )
    resized = Image.fromarray(pixels).resize(size[::-1], Image.Resampling[card.resample.upper()])
    return np.asarray(resized)


def _crop(pixels: Array, card: Card) -> Array:
    """Centre crop; what the picture does not cover stays black."""
    if card.crop is None:
        return pixels
    out = np.zeros((*card.crop, 3), np.uint8)
    source: list[Any] = []
    place: list[Any] = []
    for have, want in zip(pixels.shape[:2], card.crop, strict=True):
        extent = min(have, want)
        source.append(slice((have - extent) // 2, (have - extent) // 2 + extent))
        place.append(slice((want - extent) // 2, (want - extent) // 2 + extent))
    out[tuple(place)] = pixels[tuple(source)]
    return out


def _grey(pixels: Array) -> Array:
    """ITU-R 601 luma, uint8 ``[H, W, 1]``; a grey picture is returned unchanged."""
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]
