"""The advice of messages on what axes measure, and on items that are arrays, followed."""

from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import xplain
from xplain.core.card import Card
from xplain.core.positions.coordinates import Coordinates
from xplain.session.array_files import open_array, read_wave

Told = Callable[[Callable[[], Any]], str]

COORDINATES: dict[str, Callable[[Told, Path], Any]] = {}

SERIES = np.ones((1, 3, 12), np.float32)
SOUND = {"frequency": "H", "bins": "mel-htk", "hertz": [0, 8000], "rate": 16000, "hop": 160}


def advice(fragment: str) -> Callable[[Any], Any]:
    """Keep a case for the message with this fragment."""

    def keep(case: Any) -> Any:
        COORDINATES[fragment] = case
        return case

    return keep


def explained(x: np.ndarray, layout: str | None, **told: Any) -> Any:
    """Items explained under a card that says what axes measure."""
    own = {name: told.pop(name) for name in ("layout",) if name in told}
    card = {"coordinates": told, **own}
    return xplain.explain(lambda b: b.reshape(len(b), -1).sum(1), x, "occlusion", layout=layout, card=card, patch=1)


@advice("bands and coordinates name the channels differently; name them once.")
def _(told: Told, _folder: Path) -> None:
    told(lambda: Card.from_dict({"bands": ["a", "b"], "coordinates": {"channels": ["a", "c"]}}))
    Card.from_dict({"bands": ["a", "b"]})


@advice("but {}: {}. Name each of them once.")
def _(told: Told, _folder: Path) -> None:
    told(lambda: explained(SERIES, "NCT", channels=["I"]))
    explained(SERIES, "NCT", channels=["I", "II", "V1"])


@advice("of space. State one for each of")
def _(told: Told, _folder: Path) -> None:
    x = np.ones((1, 1, 3, 4, 5), np.float32)
    said = told(lambda: explained(x, "NCDHW", spacing=[1, 1]))
    explained(x, "NCDHW", spacing=[1] * said.rpartition("each of ")[2].count(",") + [1])


@advice("its axes could not be drawn. State them")
def _(told: Told, _folder: Path) -> None:
    told(lambda: Coordinates.from_dict({"kind": "spectrogram", "rate": 16000}))
    Coordinates.from_dict({"kind": "spectrogram", **SOUND})


@advice("which only a spectrogram has. Add kind =")
def _(told: Told, _folder: Path) -> None:
    told(lambda: Coordinates.from_dict(SOUND))
    Coordinates.from_dict({"kind": "spectrogram", **SOUND})
    Coordinates.from_dict({"rate": 16000})


@advice("State the axis that runs over frequencies beside one of time.")
def _(told: Told, _folder: Path) -> None:
    told(lambda: explained(SERIES, "NCT", kind="spectrogram", **SOUND))
    explained(SERIES, "NCT", kind="spectrogram", **{**SOUND, "frequency": "C"})


@advice("no axis is time (T). State the layout, as in")
def _(told: Told, _folder: Path) -> None:
    told(lambda: explained(SERIES, "NHW", rate=250))
    explained(SERIES, "NCT", rate=250)


@advice("not for pictures. Give arrays in the model's own layout.")
def _(told: Told, _folder: Path) -> None:
    card = {"coordinates": {"kind": "spectrogram", **SOUND}}
    model = xplain.load(lambda b: b.sum((1, 2, 3)), layout="NCHW", card=card)
    told(lambda: xplain.explain(model, np.zeros((8, 8), np.uint8), "occlusion"))
    xplain.explain(model, np.zeros((1, 1, 8, 8), np.float32), "occlusion")


@advice("cut or pad them alike, or give each alone")
def _(told: Told, _folder: Path) -> None:
    def mean(batch: Any) -> Any:
        return batch.mean((1, 2))

    many = [SERIES[0], SERIES[0, :, :9]]
    told(lambda: xplain.explain(mean, many, "occlusion", layout="NCT", patch=1))
    xplain.explain(mean, [one[:, :9] for one in many], "occlusion", layout="NCT", patch=1)
    model = xplain.load(mean, layout="NCT")
    assert len(list(xplain.explain_stream(model, iter(many), {"occlusion": {"patch": 1}}))) == 2


def wav(path: Path, rate: int, channels: int) -> Path:
    """A file of ten frames of silence."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(20 * channels))
    return path


def hears(**told: Any) -> Any:
    """The outline of a model of sounds ``[N, T]``."""
    card = {"coordinates": told} if told else None
    return xplain.load(lambda b: b.mean(1), layout="NT", card=card).outline


@advice("State it beside the model, in MODEL.card.toml: [coordinates]")
def _(told: Told, folder: Path) -> None:
    file = wav(folder / "a.wav", 16000, 1)
    told(lambda: read_wave(file, hears()))
    assert len(read_wave(file, hears(kind="waveform", rate=16000))) == 10


@advice("Resample it to that rate.")
def _(told: Told, folder: Path) -> None:
    heard = hears(kind="waveform", rate=16000)
    told(lambda: read_wave(wav(folder / "a.wav", 8000, 1), heard))
    read_wave(wav(folder / "a.wav", 16000, 1), heard)


@advice("takes one. Mix them first.")
def _(told: Told, folder: Path) -> None:
    heard = hears(kind="waveform", rate=16000)
    told(lambda: read_wave(wav(folder / "a.wav", 16000, 2), heard))
    read_wave(wav(folder / "a.wav", 16000, 1), heard)


@advice("compute these as training did, and give arrays.")
def _(told: Told, folder: Path) -> None:
    file = wav(folder / "a.wav", 16000, 1)
    pictured = xplain.load(lambda b: b.mean((1, 2, 3))[:, None], layout="NCHW").outline
    told(lambda: read_wave(file, pictured))
    np.save(folder / "a.npy", np.zeros((1, 40, 10), np.float32))
    assert open_array(folder / "a.npy", pictured).shape == (1, 40, 10)
