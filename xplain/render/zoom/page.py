"""A map as one HTML file that zooms ten thousand pictures: no network, nothing evaluated, nothing trusted.

Pictures lie in sheets of several sizes, sorted so that neighbours share a sheet; a browser decodes a sheet when it is
first looked at. Far away a picture is a dot of its mean colour. Names and labels come from outside: they stand in the
page as JSON, which is no script, and are shown as text. The page's policy allows its own script and style by their
digests, and pictures inside the file.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
from importlib.resources import files
from typing import Any

import numpy as np

from xplain.core.declaring.registry import renderer
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.keeping.plain import brief_layer, counted, plain
from xplain.core.lenses.embedding import COLOURINGS
from xplain.render.mosaic import ShownMap, middle_of_group, share_beside, share_of
from xplain.render.palette import colours_of

__all__ = ["MOST", "zoom"]

MOST = 40_000
"""Pictures that a page holds; a browser keeps about 150 MB for so many, and a file has 30."""

_SHEET = 1024
_LONGEST = 200

_TOLD = {
    "none": "nothing",
    "class": "predicted class",
    "true": "true class",
    "error": "right or wrong",
    "score": "score",
    "group": "group",
}


@renderer("zoom", draws="atlas")
def zoom(atlas: ShownMap, *, title: str = "", most: int = MOST) -> str:
    """The page as text.

    Args:
        atlas: What to show.
        title: Its heading; empty for the layer's name.
        most: Pictures that it holds, at most 40,000; of more items so many evenly spread ones are shown, and the page
            says so.

    Raises:
        UsageError: ``most`` is out of range.
    """
    if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= MOST:
        raise UsageError(option="most", got=most, accepted=f"1 to {MOST:,} pictures, which a browser still holds")
    count = len(atlas)
    some = np.arange(count) if count <= most else np.unique(np.linspace(0, count - 1, most).astype(int))
    some = some[_by_nearness(atlas.places[some])]
    layer = brief_layer(str(atlas.facts.get("layer", "")))
    heading = title or f"{counted(count, 'item')} at layer {layer}, by {atlas.facts.get('by', 'place')}"
    style, script = _text("zoom.css"), _text("zoom.js")
    parts = {
        "title": html.escape(plain(heading)),
        "says": html.escape(plain(atlas.says)) + "." + _caution(str(atlas.facts.get("by", ""))),
        "notes": _notes(atlas, len(some)),
        "style": style,
        "script": script,
        "style hash": _digest(style),
        "script hash": _digest(script),
        "data": _script_safe(_data(atlas, some)),
    }
    page = _text("zoom.html")
    pieces = page.split("{{")
    return pieces[0] + "".join(parts[name] + rest for name, _, rest in (one.partition("}}") for one in pieces[1:]))


def _data(atlas: ShownMap, some: Array) -> dict[str, Any]:
    """Everything that the script reads."""
    low, high = atlas.places.min(axis=0), atlas.places.max(axis=0)
    extent = float((high - low).max()) or 1.0
    spot = (atlas.places - (low + high) / 2) / extent + 0.5
    spot = np.stack([spot[:, 0], 1 - spot[:, 1]], axis=1)
    cells = atlas.cells[some]
    # a part of the items keeps the order of its cells, in a grid that is as large as it needs
    rows, columns = (_dense(cells[:, k]) for k in (0, 1))
    side = float(max(rows.max(), columns.max()) + 1)
    grid = np.stack([columns + 0.5, rows + 0.5], axis=1) / side
    grid += (1 - np.array([columns.max() + 1, rows.max() + 1]) / side) / 2
    classes = sorted({*atlas.predicted, *atlas.truth})
    place = {name: k for k, name in enumerate(classes)}
    tiles = None if atlas.thumbnails is None else atlas.thumbnails[some]
    mean = np.full((len(some), 3), 110, np.uint8) if tiles is None else tiles.mean(axis=(1, 2)).astype(np.uint8)
    scores = np.asarray(atlas.confidence)[some]
    return {
        "names": [_short(atlas.names[n] if atlas.names else str(n)) for n in some],
        "map": _packed(spot[some]),
        "grid": _packed(grid),
        "extent": {"map": float(np.clip(np.sqrt(0.5 / len(some)), 0.002, 0.06)), "grid": 1 / side},
        "mean": _base64(mean.tobytes()),
        "classes": [_short(name) for name in classes],
        "predicted": [place[atlas.predicted[n]] for n in some] if atlas.predicted else [],
        "truth": [place[atlas.truth[n]] for n in some] if atlas.truth else [],
        "scores": [f"{value:.3g}" for value in scores] if np.isfinite(scores).all() else [],
        "cluster": [int(k) for k in atlas.cluster[some]],
        "clusters": [_short(name) or f"group {k + 1}" for k, name in enumerate(atlas.cluster_names)],
        "groups": _groups(atlas, spot),
        "colours": _colours(atlas, some),
        "colour": atlas.colour,
        "type": "webp",
        "sheets": [] if tiles is None else _sheets(tiles),
    }


def _groups(atlas: ShownMap, spot: Array) -> list[dict[str, Any]]:
    found = []
    for number, name in enumerate(atlas.cluster_names):
        count = int((atlas.cluster == number).sum())
        if not count:
            continue
        x, y = (float(k) for k in middle_of_group(atlas, number, spot))
        label = _short(name, 40) or f"group {number + 1}"
        held = counted(count, "item")
        told = f"{label}: {share_of(atlas, number):.0%} of {held}" if name else f"{label}: {held}"
        found.append({"name": label + (share_beside(atlas, number) if name else ""), "told": told, "x": x, "y": y})
    return found


def _colours(atlas: ShownMap, some: Array) -> list[dict[str, Any]]:
    """Every colouring that these items can have."""
    found: list[dict[str, Any]] = []
    for name in COLOURINGS:
        try:
            made = colours_of(atlas, name)
        except UsageError:
            continue
        if name == "score" and not np.isfinite(atlas.confidence).any():
            continue
        legend = [] if made is None else [[list(rgb), _short(text)] for rgb, text in made.legend]
        of = "" if made is None else _base64(np.ascontiguousarray(made.rgb[some]).tobytes())
        found.append({"name": name, "told": _TOLD[name], "legend": legend, "of": of})
    return found


def _sheets(tiles: Array) -> list[dict[str, Any]]:
    """The pictures in sheets of 1,024 pixels, at their own size and halves of it down to 8 pixels, smallest first."""
    from PIL import Image

    levels = []
    side = tiles.shape[1]
    while side >= 8:
        across = _SHEET // side
        sheets = []
        for first in range(0, len(tiles), across * across):
            own = tiles[first : first + across * across]
            rows = -(-len(own) // across)
            paper = np.zeros((rows, across, side, side, 3), np.uint8)
            paper.reshape(-1, side, side, 3)[: len(own)] = own
            flat = paper.swapaxes(1, 2).reshape(rows * side, across * side, 3)
            buffer = io.BytesIO()
            Image.fromarray(flat).save(buffer, "WEBP", quality=72, method=2)
            sheets.append(_base64(buffer.getvalue()))
        levels.append({"side": side, "across": across, "files": sheets})
        if side % 2:
            break
        tiles = tiles.reshape(len(tiles), side // 2, 2, side // 2, 2, 3).mean(axis=(2, 4)).astype(np.uint8)
        side //= 2
    return levels[::-1]


def _by_nearness(places: Array) -> Array:
    """An order in which what is near on the map is near in the list: along a Morton curve."""
    low, extent = places.min(axis=0), np.ptp(places, axis=0)
    cells = ((places - low) / np.where(extent > 0, extent, 1) * 1023).astype(np.int64)
    code = np.zeros(len(places), np.int64)
    for bit in range(10):
        code |= ((cells[:, 0] >> bit) & 1) << (2 * bit) | ((cells[:, 1] >> bit) & 1) << (2 * bit + 1)
    return np.argsort(code, kind="stable")


def _dense(numbers: Array) -> Array:
    """Numbers without gaps, in their order."""
    return np.unique(numbers, return_inverse=True)[1]


def _caution(by: str) -> str:
    if by == "pca":
        return " A principal components map is linear: what is far apart is far apart in the layer's space too."
    return " Sizes of groups and distances between them mean little on such a map."


def _notes(atlas: ShownMap, shown: int) -> str:
    told = (
        [f"{shown:,} of {len(atlas):,} items are shown, evenly spread: a page holds so many."]
        if shown < len(atlas)
        else []
    )
    told += [str(one) for one in atlas.warnings]
    about = [
        f"{k}: {atlas.facts[k]}" for k in ("layer", "positions", "library", "perplexity", "metric") if k in atlas.facts
    ]
    lines = [f'<p class="more">{html.escape(plain("; ".join(about)))}</p>'] if about else []
    return "".join([*(f"<p>{html.escape(plain(one))}</p>" for one in told), *lines])


def _short(text: str, most: int = _LONGEST) -> str:
    said = plain(str(text))
    return said if len(said) <= most else f"{said[: most - 1]}…"


def _packed(numbers: Array) -> str:
    return _base64(np.ascontiguousarray(numbers, "<f4").tobytes())


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _script_safe(data: Any) -> str:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign in ("<", ">", "&", "\u2028", "\u2029"):
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _text(name: str) -> str:
    return files("xplain.render.zoom").joinpath(name).read_text(encoding="utf-8")
