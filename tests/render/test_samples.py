"""Files of more than 8 bits per sample, and DICOM: what is black, what is white, and what is said of it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

import xplain
from xplain.core.card import Card
from xplain.core.errors import CardError, MissingDependency, PictureError
from xplain.render import pictures

RAMP = np.linspace(0, 1, 64).reshape(8, 8)
EIGHT = np.rint(RAMP * 255)


def grey(tmp_path, bits, kind="png"):
    path = tmp_path / f"grey{bits}.{kind}"
    Image.fromarray(np.rint(RAMP * (2**bits - 1)).astype(np.uint16)).save(path)
    return path


def colour(tmp_path, bits, kind="png", channels=3):
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / f"colour{bits}.{kind}"
    planes = [RAMP, RAMP[::-1], RAMP.T, np.ones_like(RAMP)][:channels]
    samples = np.rint(np.stack(planes, axis=2) * (2**bits - 1)).astype(np.uint16)
    if channels == 4:
        samples[:, :, 3] = 65535
    order = [2, 1, 0, 3][:channels] if channels == 4 else [2, 1, 0]
    assert cv2.imwrite(str(path), samples[:, :, order])
    return path


@pytest.mark.parametrize("kind", ["png", "tif"])
@pytest.mark.parametrize("bits", [8, 9, 10, 11, 12, 13, 14, 15])
def test_samples_that_leave_their_upper_bits_empty_are_not_black(tmp_path, bits, kind):
    told = []
    read = pictures.read(grey(tmp_path, bits, kind), told=told)
    assert np.abs(read[:, :, 0].astype(int) - EIGHT).max() <= 1
    assert len(told) == 1
    assert f"none is above {2**bits - 1}: it is read as {bits} bits, so {2**bits - 1} is white" in told[0]
    assert f"range = [0, {2**bits - 1}]" in told[0]
    stated = []
    again = pictures.read(grey(tmp_path, bits, kind), (0, 2**bits - 1), stated)  # the advice, followed
    assert np.array_equal(again, read)
    assert not stated


@pytest.mark.parametrize(
    ("largest", "white", "also"),
    [
        (200, 255, None),
        (400, 1023, 511),
        (1900, 4095, 2047),
        (3000, 4095, None),
        (2047, 2047, 4095),
        (8191, 8191, 16383),
        (32767, 32767, None),
    ],
)
def test_two_depths_that_fit_are_both_named(tmp_path, largest, white, also):
    path, told = tmp_path / "dim.png", []
    Image.fromarray(np.rint(RAMP * largest).astype(np.uint16)).save(path)
    read = pictures.read(path, told=told)
    assert np.array_equal(read, pictures.read(path, (0, white)))
    assert f"so {white} is white" in told[0]
    assert ("fits as well" in told[0]) == (also is not None)
    assert also is None or f"range = [0, {also}] if it has" in told[0]


@pytest.mark.parametrize("largest", [20000, 32766, 32768])
def test_a_dark_picture_of_16_bits_stays_dark(tmp_path, largest):
    path, told = tmp_path / "dark.png", []
    Image.fromarray(np.rint(RAMP * largest).astype(np.uint16)).save(path)
    assert pictures.read(path, told=told).max() == largest >> 8
    assert not told


@pytest.mark.parametrize("kind", ["png", "tif"])
@pytest.mark.parametrize("bits", [9, 10, 12, 14, 15, 16])
def test_colour_of_16_bits_keeps_its_lower_bits(tmp_path, bits, kind):
    told = []
    read = pictures.read(colour(tmp_path, bits, kind), told=told)
    for channel, plane in enumerate((RAMP, RAMP[::-1], RAMP.T)):
        assert np.abs(read[:, :, channel].astype(int) - plane * 255).max() <= 1
    assert len(told) == (bits < 16)


def test_colour_with_opacity(tmp_path):
    read = pictures.read(colour(tmp_path, 12, channels=4))
    assert np.abs(read[:, :, 0].astype(int) - EIGHT).max() <= 1


def test_full_range_and_8_bits_say_nothing_and_stay_as_they_are(tmp_path):
    told = []
    read = pictures.read(grey(tmp_path, 16), told=told)
    assert np.array_equal(read[:, :, 0], np.rint(RAMP * 65535).astype(np.uint16) >> 8)
    plain = tmp_path / "plain.png"
    Image.fromarray((EIGHT / 16).astype(np.uint8)).save(plain)
    assert pictures.read(plain, told=told).max() == 15
    black = tmp_path / "black.png"
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(black)
    assert pictures.read(black, told=told).max() == 0
    assert not told


def test_a_card_states_the_range_and_results_say_what_was_done(tmp_path):
    model = lambda batch: batch.reshape(len(batch), -1).mean(axis=1)  # noqa: E731
    path = grey(tmp_path, 12)
    found = xplain.explain(model, path, "occlusion", card="unit")
    assert any("it is read as 12 bits" in caveat.text and caveat.kind == "input" for caveat in found.warnings)
    card = {"mode": "L", "range": [0, 4095]}
    found = xplain.explain(model, path, "occlusion", card=card)
    assert not found.warnings
    assert "range = [0.0, 4095.0]" in found.card
    assert xplain.predict(model, path, card=card)[0, 0] == pytest.approx(0.5, abs=0.01)
    assert xplain.predict(model, path, card={**card, "range": [0, 65535]})[0, 0] == pytest.approx(0.03, abs=0.01)


def test_signed_and_floating_samples_need_a_range(tmp_path):
    for samples in (np.rint(RAMP * 2000 - 1000).astype(np.int32), (RAMP * 2000 - 1000).astype(np.float32)):
        path = tmp_path / "ct.tif"
        Image.fromarray(samples).save(path)
        with pytest.raises(PictureError, match=r"samples from -1000 to 1000, whose range .* range = \[-1000, 1000\]"):
            pictures.read(path)
        read = pictures.read(path, (-1000, 1000))
        assert np.abs(read[:, :, 0].astype(int) - EIGHT).max() <= 1


@pytest.mark.parametrize("value", [[5, 5], [9, 1], "dark", [1], [0, 1, 2]])
def test_ranges_that_are_none(value):
    with pytest.raises(CardError, match="range is"):
        Card.from_dict({"range": value})


def test_a_card_with_a_range_and_bands_survives_its_text():
    card = Card(range=(0.0, 4095.0), mode="BANDS", bands=13)
    assert Card.from_toml(card.to_toml()) == card


# ------------------------------------------------------------------ DICOM


def dicom(samples, **tags):
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = SecondaryCaptureImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    frames = samples.ndim == 3 and samples.shape[-1] != 3
    data.Rows, data.Columns = samples.shape[1:3] if frames else samples.shape[:2]
    data.SamplesPerPixel = 3 if samples.ndim == 3 and not frames else 1
    if data.SamplesPerPixel == 3:
        data.PlanarConfiguration = 0
    if frames:
        data.NumberOfFrames = len(samples)
    data.PhotometricInterpretation = "RGB" if data.SamplesPerPixel == 3 else "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8 * samples.dtype.itemsize
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(samples.dtype.kind == "i")
    data.PixelData = samples.tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    into = io.BytesIO()
    pydicom.dcmwrite(into, data, enforce_file_format=True)
    return into.getvalue()


def saved(tmp_path, *args, **tags):
    path = tmp_path / "scan.dcm"
    path.write_bytes(dicom(*args, **tags))
    return path


CT = np.rint(RAMP * 3000).astype(np.int16)  # stored; Hounsfield units are 1024 less


def test_dicom_is_seen_through_its_window(tmp_path):
    tags = {"RescaleSlope": 1, "RescaleIntercept": -1024, "RescaleType": "HU", "WindowCenter": 40, "WindowWidth": 400}
    told = []
    read = pictures.read(saved(tmp_path, CT, **tags), told=told)
    units = CT.astype(float) - 1024
    wanted = np.clip((units - 39.5) / 399 + 0.5, 0, 1) * 255
    assert np.abs(read[:, :, 0] - wanted).max() <= 0.5
    assert "is DICOM: seen through its window, 40 +- 200 HU" in told[0]
    exact = pictures.read(saved(tmp_path, CT, **tags, VOILUTFunction="LINEAR_EXACT"))
    assert np.abs(exact[:, :, 0] - np.clip((units - 40) / 400 + 0.5, 0, 1) * 255).max() <= 0.5
    sigmoid = pictures.read(saved(tmp_path, CT, **tags, VOILUTFunction="SIGMOID"))
    assert np.abs(sigmoid[:, :, 0] - 255 / (1 + np.exp(-4 * (units - 40) / 400))).max() <= 0.5
    ranged = pictures.read(saved(tmp_path, CT, **tags), (-1024, 1976), told)
    assert np.abs(ranged[:, :, 0] - EIGHT).max() <= 1
    assert "the card's range -1024 to 1976 HU" in told[1]


def test_dicom_whose_small_values_are_white_is_turned(tmp_path):
    told = []
    stored = np.rint(RAMP * 4095).astype(np.uint16)
    tags = {"BitsStored": 12, "HighBit": 11, "PhotometricInterpretation": "MONOCHROME1"}
    read = pictures.read(saved(tmp_path, stored, **tags), told=told)
    assert np.abs(read[:, :, 0] - (255 - EIGHT)).max() <= 1
    assert "it has no window, so its smallest value 0 is black and its largest 4095 white; inverted" in told[0]


def test_dicom_in_colour_and_of_several_frames(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (6, 5, 3)).astype(np.uint8)
    assert np.array_equal(pictures.read(saved(tmp_path, rgb)), rgb)
    with pytest.raises(PictureError, match=r"is a DICOM file of 4 frames; accepted: one.*layout='NCDHW'"):
        pictures.read(saved(tmp_path, np.zeros((4, 6, 5), np.uint16)))


def test_dicom_that_cannot_be_used(tmp_path, monkeypatch):
    path = tmp_path / "x.dcm"
    path.write_bytes(b"\0" * 128 + b"DICM" + b"\x02\0\0\0UL\x04\0" + b"\0" * 200)
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(MissingDependency, match=r"is a DICOM file, which needs pydicom: .*'xplain\[dicom\]'"):
        pictures.read(path)
    monkeypatch.undo()
    pytest.importorskip("pydicom")
    with pytest.raises(PictureError, match="is a DICOM file without a picture"):
        pictures.read(path)
    path.write_bytes(dicom(CT)[:-40])
    with pytest.raises(PictureError, match="damaged or truncated|number of bytes|without a picture"):
        pictures.read(path)
