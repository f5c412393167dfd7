"""Reading pictures: what comes out, and what is said when nothing can."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xplain.core.card import PRESETS, Card
from xplain.core.errors import PictureError, UnknownName, XplainError
from xplain.render import pictures

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
# corners tell all eight orientations apart
CORNERS = np.array([[RED, RED, GREEN], [BLUE, WHITE, WHITE]], np.uint8)


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG whose header claims a size; it need not hold the pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


@pytest.fixture
def photo() -> np.ndarray:
    rows, columns = np.mgrid[0:40, 0:60]
    return np.stack([rows * 6, columns * 4, (rows + columns) * 2], axis=2).astype(np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_a_lossless_file_gives_its_own_pixels(tmp_path, photo, kind):
    path = tmp_path / f"photo.{kind.lower()}"
    Image.fromarray(photo).save(path)
    np.testing.assert_array_equal(pictures.read(path), photo)
    np.testing.assert_array_equal(pictures.read(str(path)), photo)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_a_lossy_file_gives_nearly_its_pixels(tmp_path, photo, kind):
    path = tmp_path / "photo"
    path.write_bytes(encoded(Image.fromarray(photo), kind, quality=95))
    assert np.abs(pictures.read(path).astype(int) - photo).mean() < 3


def test_arrays_and_pil_pictures(photo):
    np.testing.assert_array_equal(pictures.read(photo), photo)
    np.testing.assert_array_equal(pictures.read(Image.fromarray(photo)), photo)
    grey = photo[:, :, 0]
    for array in (grey, grey[:, :, None]):
        np.testing.assert_array_equal(pictures.read(array), np.stack([grey] * 3, axis=2))


def test_the_bytes_of_a_file_are_its_picture(tmp_path, photo):
    Image.fromarray(photo).save(tmp_path / "p.png")
    content = (tmp_path / "p.png").read_bytes()
    assert np.array_equal(pictures.read(content), photo)
    for bad, why in ((b"", "is empty"), (content[:30], "damaged"), (b"%PDF-1.4", "a PDF")):
        with pytest.raises(PictureError, match=why):
            pictures.read(bad)


def test_reading_copies_so_the_callers_array_is_safe(photo):
    before = photo.copy()
    pictures.read(photo)[:] = 0
    np.testing.assert_array_equal(photo, before)


def test_transparency_is_laid_over_white(tmp_path):
    layers = np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [0, 0, 0, 128]]], np.uint8)
    expected = np.array([[RED, WHITE, (127, 127, 127)]], np.uint8)
    np.testing.assert_allclose(pictures.read(layers), expected, atol=1)
    Image.fromarray(layers).save(tmp_path / "layers.png")
    np.testing.assert_allclose(pictures.read(tmp_path / "layers.png"), expected, atol=1)


def test_palette_with_and_without_transparency(tmp_path):
    picture = Image.fromarray(np.array([[0, 1]], np.uint8), "L").convert("P")
    picture.putpalette([*RED, *BLUE])
    picture.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(pictures.read(tmp_path / "palette.png"), [[RED, BLUE]])
    picture.save(tmp_path / "clear.png", transparency=1)
    np.testing.assert_array_equal(pictures.read(tmp_path / "clear.png"), [[RED, WHITE]])


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "print.jpg", quality=95)
    red = pictures.read(tmp_path / "print.jpg")
    assert red.shape == (8, 8, 3)
    assert red[:, :, 0].min() > 245
    assert red[:, :, 1:].max() < 10


@pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
def test_sixteen_bits_keep_the_upper_eight(tmp_path, name):
    samples = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    Image.fromarray(samples).save(tmp_path / name)
    assert pictures.read(tmp_path / name)[0, :, 0].tolist() == [0, 0, 1, 128, 255]


def test_one_bit_pictures(tmp_path):
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(pictures.read(tmp_path / "bits.png"), [[WHITE, (0, 0, 0)]])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_exif_orientation_is_applied(orientation, kind, tmp_path):
    # how a camera must have stored the picture so that the orientation tag turns it back
    stored = {
        1: CORNERS,
        2: CORNERS[:, ::-1],
        3: CORNERS[::-1, ::-1],
        4: CORNERS[::-1],
        5: CORNERS.transpose(1, 0, 2),
        6: np.rot90(CORNERS, 1),
        7: CORNERS[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(CORNERS, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned"
    path.write_bytes(encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif))
    np.testing.assert_array_equal(pictures.read(path), CORNERS)


def test_damaged_exif_does_not_refuse_good_pixels(tmp_path, photo):
    path = tmp_path / "exif.jpg"
    path.write_bytes(encoded(Image.fromarray(photo), "JPEG", exif=b"Exif\x00\x00MM\x00\x2a\xff\xff\xff\xff"))
    assert pictures.read(path).shape == (40, 60, 3)


def test_a_phones_jpeg_with_a_preview_gives_the_picture(tmp_path, photo):
    path = tmp_path / "phone.jpg"
    Image.fromarray(photo).save(path, "MPO", save_all=True, append_images=[Image.fromarray(photo[:10, :10])])
    assert pictures.read(path).shape == (40, 60, 3)


def frames(kind: str) -> bytes:
    pages = [Image.fromarray(np.full((4, 4, 3), v, np.uint8)) for v in (0, 120, 240)]
    return encoded(pages[0], kind, save_all=True, append_images=pages[1:])


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


GRADIENT = Image.fromarray(np.arange(64 * 64 * 3, dtype=np.uint32).astype(np.uint8).reshape(64, 64, 3))
BAD = {
    "empty": (b"", "is empty"),
    "text": (b"this is no picture at all", "is no picture that can be read.*accepted: PNG, JPEG"),
    "animated gif": (frames("GIF"), "has 3 frames; accepted: one. Export the one you mean"),
    "truncated gif": (half(encoded(GRADIENT.convert("P"), "GIF")), "is damaged or truncated"),
    "truncated ppm": (half(encoded(GRADIENT, "PPM")), "is damaged or truncated"),
    "pdf": (b"%PDF-1.7 ...", "is a PDF; accepted"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is an SVG drawing; accepted"),
    "heic": (b"\x00\x00\x00\x18ftypheic", "is an HEIC, AVIF or video file; accepted"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is no picture that can be read"),
    "truncated png": (half(encoded(GRADIENT, "PNG")), "is damaged or truncated: .*Save it again"),
    "truncated jpeg": (half(encoded(GRADIENT, "JPEG")), "is damaged or truncated"),
    "truncated webp": (half(encoded(GRADIENT, "WEBP")), "is (damaged or truncated|no picture)"),
    "truncated bmp": (half(encoded(GRADIENT, "BMP")), "is damaged or truncated"),
    "truncated tiff": (half(encoded(GRADIENT, "TIFF")), "is (damaged or truncated|no picture)"),
    "animated png": (frames("PNG"), "has 3 frames; accepted: one. Export the one you mean"),
    "animated webp": (frames("WEBP"), "has 3 frames; accepted: one"),
    "several pages": (frames("TIFF"), "has 3 pages; accepted: one"),
    "above the limit": (png(10_000, 5_001), r"has 10000 x 5001 pixels; accepted: up to 50,000,000"),
    "above Pillow's warning": (png(10_000, 10_000), "pixels; accepted: up to 50,000,000. Make it smaller"),
    "above Pillow's error": (png(60_000, 60_000), "pixels; accepted: up to 50,000,000. Make it smaller"),
    "no pixels": (png(0, 5), "has no pixels|damaged|no picture"),
    "float samples": (encoded(Image.new("F", (3, 3)), "TIFF"), "holds 32-bit samples.*accepted: 8 or 16 bits"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_with_a_reason(tmp_path, name):
    content, message = BAD[name]
    path = tmp_path / "bad picture.png"
    path.write_bytes(content)
    with pytest.raises(PictureError, match=message) as caught:
        pictures.read(path)
    assert "bad picture.png" in str(caught.value)


def test_the_limit_itself_is_accepted(monkeypatch, photo):
    monkeypatch.setattr(pictures, "MOST_PIXELS", 40 * 60)
    assert pictures.read(photo).shape == photo.shape
    monkeypatch.setattr(pictures, "MOST_PIXELS", 40 * 60 - 1)
    with pytest.raises(PictureError, match="60 x 40 pixels"):
        pictures.read(photo)


def test_large_files_are_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "MOST_BYTES", 10)
    path = tmp_path / "long.png"
    path.write_bytes(encoded(GRADIENT, "PNG"))
    with pytest.raises(PictureError, match=r"bytes; accepted: up to 10\."):
        pictures.read(path)


def test_places_that_hold_no_picture(tmp_path):
    with pytest.raises(PictureError, match=r"There is no picture .*nowhere.png.*case-sensitive"):
        pictures.read(tmp_path / "nowhere.png")
    with pytest.raises(PictureError, match="holds no picture"):
        pictures.read(tmp_path)
    (tmp_path / "a.png").touch()
    with pytest.raises(PictureError, match="is a folder; name a picture in it, such as 'a.png'"):
        pictures.read(tmp_path)
    with pytest.raises(PictureError, match="is an address; pictures are read from files"):
        pictures.read("https://example.org/cat.png")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PictureError, match="is not a regular file"):
        pictures.read(tmp_path / "pipe")


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4), np.float32), np.zeros((4, 4), np.uint16), np.zeros((4, 4, 2), np.uint8), np.zeros(4, np.uint8)],
    ids=["float", "uint16", "two channels", "flat"],
)
def test_arrays_that_are_no_picture(array):
    with pytest.raises(PictureError, match=r"A picture array is uint8 \[H, W\].*got \w+ \["):
        pictures.read(array)


def test_other_objects_and_empty_arrays():
    with pytest.raises(
        PictureError, match="A picture is a path, the bytes of a file, a PIL picture or a uint8 array; got int"
    ):
        pictures.read(3)
    with pytest.raises(PictureError, match=r"has no pixels: it is \[0, 4, 3\]"):
        pictures.read(np.zeros((0, 4, 3), np.uint8))


def test_samples_of_scikit_image_are_read_without_a_network():
    chelsea = pictures.read("skimage:chelsea")
    assert chelsea.shape == (300, 451, 3)
    assert {"chelsea", "coffee", "brick", "grass", "gravel"} <= set(pictures.samples())
    with pytest.raises(XplainError, match=r"Unknown picture .*'chelsey'. Did you mean 'chelsea'") as caught:
        pictures.read("skimage:chelsey")
    assert isinstance(caught.value, PictureError)
    assert not isinstance(caught.value, UnknownName)


def test_collect_takes_files_folders_globs_and_samples(tmp_path, monkeypatch):
    for name in ("b.png", "a.JPG", "notes.txt", ".hidden.png", "deep/c.webp", "[1].png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    assert pictures.collect(["b.png", "skimage:coffee", "b.png"]) == ["b.png", "skimage:coffee"]
    folder = [Path(p).name for p in pictures.collect([tmp_path])]
    assert folder == ["[1].png", "a.JPG", "b.png", "c.webp"]
    assert pictures.collect(["*.png"]) == ["[1].png", "b.png"]
    assert pictures.collect([f"{tmp_path}/**/*.webp"]) == [str(tmp_path / "deep/c.webp")]
    assert pictures.collect(["[1].png"]) == ["[1].png"]  # a file of that name goes before the pattern
    with pytest.raises(PictureError, match=r"No file matches .\*\.bmp."):
        pictures.collect(["*.bmp"])
    with pytest.raises(PictureError, match=r"There is no picture .c\.png'"):
        pictures.collect(["c.png"])
    (tmp_path / "none").mkdir()
    with pytest.raises(PictureError, match="Folder 'none' holds no picture"):
        pictures.collect(["none"])
    many = ["c.png", "b.png", "none", "*.bmp", "https://a.b/c.png"]
    assert pictures.collect(many) == many  # each of the others is told when it is read
    for name, said in zip(
        many, ("There is no picture", "", "holds no picture", "No file matches", "an address"), strict=True
    ):
        if said:
            with pytest.raises(PictureError, match=said):
                pictures.read(name)


def test_prepare_follows_the_cards_formula(photo):
    card = Card(mode="BGR", scale=1.0, mean=(10.0, 20.0, 30.0), std=(1.0, 2.0, 4.0))
    tensor, pixels = pictures.prepare(card, photo)
    np.testing.assert_array_equal(pixels, photo)
    assert tensor.dtype == np.float32
    blue, green, red = photo[:, :, 2], photo[:, :, 1], photo[:, :, 0]
    np.testing.assert_allclose(tensor, [blue - 10.0, (green - 20.0) / 2, (red - 30.0) / 4])
    last, _ = pictures.prepare(
        Card(mode="BGR", scale=1.0, mean=(10.0, 20.0, 30.0), std=(1.0, 2.0, 4.0), layout="NHWC"), photo
    )
    np.testing.assert_array_equal(last, tensor.transpose(1, 2, 0))


def test_prepare_grey_shows_grey(photo):
    tensor, pixels = pictures.prepare(PRESETS["raw-grey"], photo)
    assert tensor.shape == (1, 40, 60)
    for channel in range(3):
        np.testing.assert_array_equal(pixels[:, :, channel], tensor[0])


def test_prepare_crops_the_centre_and_pads_with_black():
    picture = np.arange(7 * 9, dtype=np.uint8).reshape(7, 9)
    tensor, pixels = pictures.prepare(Card(mode="L", scale=1.0, crop=(3, 12)), picture)
    assert tensor.shape == (1, 3, 12)
    assert pixels.shape == (3, 12, 3)
    np.testing.assert_array_equal(tensor[0, :, 1:10], picture[2:5])
    assert not tensor[0, :, :1].any()
    assert not tensor[0, :, 10:].any()


def test_prepare_resizes_the_shorter_side_then_exactly():
    tall = np.zeros((100, 50, 3), np.uint8)
    assert pictures.prepare(Card(resize_short=25), tall)[0].shape == (3, 50, 25)
    assert pictures.prepare(Card(resize=(8, 16)), tall)[0].shape == (3, 8, 16)
    with pytest.raises(PictureError, match="would enlarge a picture of 100 x 1 to"):
        pictures.prepare(Card(resize_short=60_000), np.zeros((1, 100, 3), np.uint8))


def test_prepare_gives_the_published_crop_of_a_photograph():
    """Known pixels of PIL's bilinear resize to 256 and the centre crop to 224 of scikit-image's cat."""
    _, pixels = pictures.prepare(PRESETS["imagenet"], "skimage:chelsea")
    whole = Image.fromarray(pictures.read("skimage:chelsea")).resize((385, 256), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(pixels, np.asarray(whole)[16:240, 80:304])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM"])
def test_random_damage_gives_a_picture_or_our_error(tmp_path, kind):
    """Decoders raise many classes of exception on hostile bytes; none but ours may come out."""
    rng = np.random.default_rng(7)
    sound = encoded(GRADIENT, kind)
    path = tmp_path / "hit"
    refused = 0
    for _ in range(150):
        hit = bytearray(sound)
        for place in rng.integers(0, min(len(hit), 200), rng.integers(1, 6)):
            hit[place] = rng.integers(0, 256)
        path.write_bytes(hit)
        try:
            assert pictures.read(path).shape[2] == 3
        except PictureError:
            refused += 1
    assert refused > 0


def test_reading_code_is_loaded_without_pillow_or_scikit_image():
    code = "import sys, xplain.render; print([m for m in ('PIL', 'skimage', 'jinja2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
