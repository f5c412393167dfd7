"""DICOM files as pictures, through pydicom: rescaled, seen through their window, and not inverted.

    stored value -> slope * value + intercept (Hounsfield units, for example) -> window or range -> 0..255

A file's own window (or look-up table) says what a radiologist is shown; a card's ``range`` is in rescaled values and
goes before it. What was done is said with the result.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np

from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import MissingDependency, PictureError
from xplain.render.samples import Range, eight_bits

__all__ = ["is_dicom", "read_dicom"]

_DEFLATED = b"1.2.840.10008.1.2.1.99"


def is_dicom(content: bytes) -> bool:
    """Whether a file's bytes are DICOM: its magic stands at byte 128."""
    return content[128:132] == b"DICM"


def read_dicom(content: bytes, what: str, most: int, limits: Range | None, told: list[str]) -> Array:
    """The picture in a DICOM file, uint8 ``[H, W]`` or ``[H, W, 3]``.

    Args:
        content: The file.
        what: Names it.
        most: Largest number of pixels.
        limits: (low, high) of rescaled values, or None for the file's window.
        told: Gets a sentence on what was done.

    Raises:
        MissingDependency: pydicom is not installed.
        PictureError: several frames, too many pixels, or a file that cannot be decoded.
    """
    pydicom = _library(what)
    if _DEFLATED in content[:4096]:  # in the file's meta information, before anything is unpacked
        raise PictureError(f"{what} is a deflated DICOM file, of a size that only unpacking tells. Save it undeflated.")
    data = pydicom.dcmread(BytesIO(content), defer_size=None)
    if "PixelData" not in data:
        raise PictureError(f"{what} is a DICOM file without a picture.")
    frames = int(data.get("NumberOfFrames", 1) or 1)
    if frames > 1:
        raise PictureError(
            f"{what} is a DICOM file of {frames} frames; accepted: one. Export the one you mean, or give the volume as "
            "an array with its layout, such as ",
            option("layout", "NCDHW"),
            ".",
        )
    rows, columns = int(data.get("Rows", 0) or 0), int(data.get("Columns", 0) or 0)
    if not 0 < rows * columns <= most:
        raise PictureError(f"{what} has {columns} x {rows} pixels; accepted: 1 to {most:,}.")
    try:
        stored = np.asarray(data.pixel_array)
    except (RuntimeError, NotImplementedError) as error:  # a compression that needs a decoder of its own
        raise PictureError(
            f"{what} is compressed in a way that needs another package: {error}. Install pylibjpeg with its plugins "
            "(python -m pip install 'pylibjpeg[all]'), or save it uncompressed."
        ) from None
    colour = str(data.get("PhotometricInterpretation", ""))
    if stored.ndim == 3:
        if colour.startswith("YBR"):
            stored = pydicom.pixels.convert_color_space(stored, colour, "RGB")
        return eight_bits(stored, limits, what, told) if stored.dtype != np.uint8 else stored
    if colour == "PALETTE COLOR":
        return eight_bits(np.asarray(pydicom.pixels.apply_color_lut(stored, data)), (0.0, 65535.0), what, told)
    rescaled = np.asarray(pydicom.pixels.apply_modality_lut(stored, data), dtype=np.float64)
    grey, how = _shown(pydicom, data, rescaled, limits, what)
    if colour == "MONOCHROME1":
        grey, how = 255 - grey, f"{how}; inverted, because its small values are white"
    told.append(f"{what} is DICOM: {how}. A range in the card, in the same units, states another.")
    return grey


def _shown(pydicom: Any, data: Any, values: Array, limits: Range | None, what: str) -> tuple[Array, str]:
    """Rescaled values as uint8, and how."""
    unit = f" {data.RescaleType}" if data.get("RescaleType") else ""
    if limits is not None:
        return eight_bits(values, limits, what), f"the card's range {limits[0]:g} to {limits[1]:g}{unit}"
    if "VOILUTSequence" in data:
        bits = int(data.VOILUTSequence[0].LUTDescriptor[2])
        table = np.asarray(pydicom.pixels.apply_voi(values.astype(np.int32), data), dtype=np.float64)
        return eight_bits(table, (0.0, float(2**bits - 1)), what), "seen through the look-up table in the file"
    if data.get("WindowCenter") is not None and data.get("WindowWidth") is not None:
        centre, width = _first(data.WindowCenter), _first(data.WindowWidth)
        function = str(data.get("VOILUTFunction", "LINEAR") or "LINEAR").upper()
        name = f"seen through its window, {centre:g} +- {width / 2:g}{unit}"
        return _windowed(values, centre, width, function), name
    low, high = float(values.min()), float(values.max())
    how = f"it has no window, so its smallest value {low:g} is black and its largest {high:g} white{unit}"
    return eight_bits(values, (low, high if high > low else low + 1.0), what), how


def _windowed(values: Array, centre: float, width: float, function: str) -> Array:
    """DICOM PS3.3 C.11.2.1: the window's functions onto 0..255."""
    if function == "SIGMOID":
        share = 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - centre) / width, -700, 700)))
    elif function == "LINEAR_EXACT":
        share = (values - centre) / width + 0.5
    else:
        share = (values - (centre - 0.5)) / max(width - 1.0, 1e-9) + 0.5
    return np.rint(np.clip(share, 0.0, 1.0) * 255.0).astype(np.uint8)


def _first(value: Any) -> float:
    return float(value[0]) if hasattr(value, "__len__") and not isinstance(value, str) else float(value)


def _library(what: str) -> Any:
    try:
        import pydicom
        import pydicom.pixels
    except ImportError as error:
        raise MissingDependency(
            f"{what} is a DICOM file, which needs pydicom: python -m pip install 'xplain[dicom]'. Or convert it to PNG."
        ) from error
    return pydicom
