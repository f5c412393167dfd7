"""Draw the pictures of the page on signals, spectra, bands and volumes.

    python docs/site/draw_signals.py            # into docs/pictures, seconds

Every scene has a cause that is known, so that a reader can judge the drawing. Nothing but the package is needed.
"""

from __future__ import annotations

import numpy as np
from draw import keep

import xplain

RNG = np.random.default_rng(0)


def series() -> None:
    """Three leads of an electrocardiogram, made up; the model reads one wave of lead II."""
    time = np.arange(500) / 250
    beats = sum(np.exp(-(((time - at) / 0.02) ** 2)) for at in (0.2, 1.0, 1.8))
    waves = sum(0.25 * np.exp(-(((time - at - 0.25) / 0.06) ** 2)) for at in (0.2, 1.0, 1.8))
    x = np.stack([0.6 * beats + waves, 1.1 * beats + waves, -0.8 * beats + 0.7 * waves]) + RNG.normal(0, 0.02, (3, 500))
    x[1, 200:300] += 0.25 * np.hanning(100)
    card = {"coordinates": {"channels": ["I", "II", "V1"], "rate": 250, "unit": "mV"}}
    model = xplain.load(lambda b: np.maximum(b[:, 1, 200:300] @ np.hanning(100) - 4, 0) ** 2, layout="NCT", card=card)
    options = {"features": "segments:20,apart=true", "samples": 300}
    a = xplain.explain(model, x[None].astype(np.float32), "kernel-shap", **options)
    keep(a.overlay(0), "series.webp")


def spectrogram() -> None:
    """Two tones, of which one is read."""
    plane = RNG.normal(-60, 4, (80, 120)).astype(np.float32)
    plane[20:23, 20:45] = -8
    plane[50:53, 70:95] = -8
    told = {"kind": "spectrogram", "frequency": "H", "bins": "mel-htk", "hertz": [0, 8000], "rate": 16000, "hop": 160}
    card = {"coordinates": {**told, "unit": "dB"}}
    model = xplain.load(lambda b: b[:, 0, 20:23, 20:45].mean((1, 2)), layout="NCHW", card=card)
    a = xplain.explain(model, plane[None, None], "occlusion", patch=6, stride=3, baseline=-60.0)
    keep(a.overlay(0), "spectrogram.webp")


def bands() -> None:
    """A field that is bright in the near infrared."""
    y, x = np.mgrid[0:48, 0:48]
    field = (np.hypot(y - 20, x - 28) < 12) * 1.0
    items = RNG.normal(0.3, 0.05, (1, 5, 48, 48)) + 0.05 * np.sin(x / 6)
    items[0, 3] += 0.6 * field
    items[0, 2] -= 0.15 * field
    told = {"channels": ["blue", "green", "red", "nir", "swir"], "rgb": ["nir", "red", "green"]}
    model = xplain.load(lambda b: ((b[:, 3] - b[:, 2]) * field).sum((1, 2)), layout="NCHW", card={"coordinates": told})
    labels = (np.arange(5)[:, None, None] * 64 + (y // 6) * 8 + x // 6).astype(np.int64)
    a = xplain.explain(model, items.astype(np.float32), "ablation", features=labels)
    keep(a.overlay(0, size=240, beside=True), "bands.webp")


def volume() -> None:
    """A body with one bright spot, in slices that are thicker than they are fine."""
    z, y, x = np.mgrid[0:14, 0:48, 0:48]
    body = (((z - 7) / 7) ** 2 + ((y - 24) / 20) ** 2 + ((x - 24) / 16) ** 2 < 1) * 0.5
    spot = ((z - 8) * 2) ** 2 + (y - 16) ** 2 + (x - 30) ** 2 < 20
    item = body + spot * 0.4 + RNG.normal(0, 0.03, body.shape)
    card = {"coordinates": {"spacing": [2.0, 1.0, 1.0], "length": "mm"}}
    model = xplain.load(lambda b: (b[:, 0] * spot).sum((1, 2, 3)), layout="NCDHW", card=card)
    a = xplain.explain(model, item[None, None].astype(np.float32), "occlusion", patch=(2, 6, 6), stride=(1, 3, 3))
    keep(a.overlay(0), "volume.webp")


if __name__ == "__main__":
    series()
    spectrogram()
    bands()
    volume()
