"""PGM and PPM: their header says what is white, in text and in bytes, of 1 to 16 bits; and GIF of one frame."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from xplain.core.errors import PictureError
from xplain.render import pictures


def written(kind, samples, white, note="# by hand\n"):
    """A file of samples ``[H, W]`` or ``[H, W, 3]``; P2 and P3 as text, P5 and P6 as bytes, the higher one first."""
    height, width = samples.shape[:2]
    head = f"{kind}\n{note}{width} {height}\n{white}\n".encode()
    if kind in ("P2", "P3"):
        return head + "\n".join(f"{n} # one more" if k == 0 else str(n) for k, n in enumerate(samples.ravel())).encode()
    return head + samples.astype(np.uint8 if white < 256 else ">u2").tobytes()


def samples(colours, white):
    """Every size of sample, the largest at a corner."""
    made = np.random.default_rng(white).integers(0, white + 1, (6, 5, 3) if colours else (6, 5))
    made[0, 0], made[-1, -1] = 0, white
    return made


@pytest.mark.parametrize("white", [1, 15, 100, 255, 1023, 4095, 40000])
@pytest.mark.parametrize("kind", ["P2", "P3", "P5", "P6"])
def test_the_header_says_what_is_white(kind, white):
    made = samples(kind in ("P3", "P6"), white)
    said = []
    pixels = pictures.read(written(kind, made, white), None, said)
    expected = np.rint(made / white * 255)
    np.testing.assert_array_equal(pixels, expected if made.ndim == 3 else expected[..., None].repeat(3, 2))
    assert not said  # nothing is guessed


@pytest.mark.parametrize("kind", ["P2", "P3", "P5", "P6"])
def test_sixteen_bits_are_read_as_those_of_other_files(kind):
    made = samples(kind in ("P3", "P6"), 65535)
    upper = made >> 8
    expected = upper if made.ndim == 3 else upper[..., None].repeat(3, 2)
    np.testing.assert_array_equal(pictures.read(written(kind, made, 65535)), expected)
    said = []  # as a 12-bit camera writes them
    made = samples(kind in ("P3", "P6"), 4095)
    pixels = pictures.read(written(kind, made, 65535), None, said)
    assert pixels.max() == 255
    assert "read as 12 bits" in said[0]
    assert pictures.read(written(kind, made, 65535), (0, 65535)).max() == 16  # what a card states is kept to


def test_a_card_moves_the_range_of_a_header():
    made = samples(False, 1023)
    np.testing.assert_array_equal(
        pictures.read(written("P5", made, 1023), (0, 511))[..., 0], np.rint(np.clip(made / 511, 0, 1) * 255)
    )


def test_bitmaps(tmp_path):
    (tmp_path / "a.pbm").write_bytes(b"P1\n3 2\n1 0 1\n0 1 0\n")
    np.testing.assert_array_equal(pictures.read(tmp_path / "a.pbm")[..., 0], [[0, 255, 0], [255, 0, 255]])


WHOLE = written("P5", samples(False, 4095), 4095)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (WHOLE[:-1], r"holds 29 of 30 numbers\. Save it again"),
        (WHOLE.replace(b"4095", b"99999"), "damaged"),
        (b"P2\n2 2\n15\n1 2 3", "holds 0 of 4 numbers"),
        (b"P2\n2 2\n15\n1 2 x 3 ", "is damaged or truncated: .*unmatched data"),
        (b"P2\n2 2\n15\n1 2 16 3", "not in 0 to 15"),
        (b"P2\n2 2\n15\n1 2 -1 3", "not in 0 to 15"),
        (b"P5\n90000 90000\n4095\n\0\0", "too many pixels; accepted: up to 50,000,000"),
        (b"P2\n7000 7000\n4095\n1 2 3", "holds 0 of 49,000,000 numbers"),
        (b"P5\n-5 -5\n4095\n\0\0", "no picture that can be read"),
        (b"Pf\n1 1\n-1.0\n\0\0\0?", "whose range is not known"),
    ],
)
def test_damaged_and_hostile_files(content, said):
    with pytest.raises(PictureError, match=said):
        pictures.read(content)


def gif(count):
    frames = [Image.fromarray(np.full((4, 6), 80 * n + 40, np.uint8)) for n in range(count)]
    file = BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


def test_a_gif_of_one_frame_is_a_picture_and_a_film_is_refused():
    np.testing.assert_array_equal(pictures.read(gif(1)), np.full((4, 6, 3), 40, np.uint8))
    with pytest.raises(PictureError, match=r"has 3 frames; accepted: one\. Export the one you mean"):
        pictures.read(gif(3))


def test_folders_hold_them(tmp_path):
    for name in ("a.gif", "b.pgm", "c.PPM", "d.pnm", "e.txt"):
        (tmp_path / name).touch()
    assert [one.rpartition("/")[2] for one in pictures.collect([tmp_path])] == ["a.gif", "b.pgm", "c.PPM", "d.pnm"]
