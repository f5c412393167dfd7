"""Pictures in a terminal: what is sent decodes to the picture, and only where a terminal is known to show it."""

from __future__ import annotations

import base64
import io
import os
import pty
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from xplain.render.terminal import characters, way_of

PIXELS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]], [[0, 0, 0], [9, 8, 7]]], np.uint8)


def png(pixels):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(
    ("environment", "way"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, "blocks"),
        ({"TERM": "xterm-256color"}, "none"),
        ({"TERM": "dumb", "COLORTERM": "truecolor"}, "none"),
        ({"TERM": "xterm-kitty", "NO_COLOR": "1"}, "none"),
        ({"TERM": "screen-256color", "KITTY_WINDOW_ID": "1"}, "none"),
        ({"TERM": "xterm-kitty", "XPLAIN_PICTURES": "none"}, "none"),
        ({"TERM": "vt340", "XPLAIN_PICTURES": "Sixel"}, "sixel"),
        ({"TERM": "xterm-kitty", "XPLAIN_PICTURES": "nonsense"}, "kitty"),
        ({}, "none"),
    ],
)
def test_a_terminal_is_believed_to_show_what_it_says(environment, way):
    assert way_of(environment) == way


def test_half_blocks_hold_two_rows_of_pixels_in_a_line():
    lines = characters(png(PIXELS), "blocks").splitlines()
    found = re.findall(r"\x1b\[38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m▀", "".join(lines))
    colours = np.array(found, int).reshape(2, 2, 2, 3)  # line, column, upper or lower
    np.testing.assert_array_equal(colours.transpose(0, 2, 1, 3).reshape(4, 2, 3)[:3], PIXELS)
    assert all(line.endswith("\x1b[0m") for line in lines)
    wide = characters(png(np.zeros((40, 200, 3), np.uint8)), "blocks", columns=50)
    assert (wide.count("▀"), len(wide.splitlines())) == (250, 5)


def test_kitty_and_iterm_are_sent_the_file():
    file = png(np.random.default_rng(0).integers(0, 255, (60, 60, 3), np.uint8))
    pieces = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", characters(file, "kitty"))
    assert len(pieces) > 2
    assert all(len(piece) <= 4096 for _, piece in pieces)
    assert [how[-3:] for how, _ in pieces] == ["m=1"] * (len(pieces) - 1) + ["m=0"]
    assert base64.b64decode("".join(piece for _, piece in pieces)) == file
    told = re.fullmatch(
        r"\x1b\]1337;File=inline=1;size=(\d+);preserveAspectRatio=1:(.*)\a\n", characters(file, "iterm")
    )
    assert (int(told[1]), base64.b64decode(told[2])) == (len(file), file)


def test_sixels_decode_to_the_picture():
    """A decoder of a few lines, from the VT330's manual: bands of six rows, ``$`` back to the left, ``-`` a band on."""
    pixels = np.zeros((14, 9, 3), np.uint8)
    pixels[2:9, 3:8] = (255, 0, 0)
    pixels[11:, :2] = (0, 255, 255)
    body = characters(png(pixels), "sixel").removesuffix("\x1b\\\n")
    assert body.startswith('\x1bPq"1;1;9;14')
    found, palette, band, column, colour = np.full((18, 9, 3), 77), {}, 0, 0, 0
    tokens = r"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)([?-~])|([?-~])|(\$)|(-)"
    for one in re.finditer(tokens, body[len('\x1bPq"1;1;9;14') :]):
        number, r, g, b, chosen, times, letter, single, back, down = one.groups()
        if number:
            palette[int(number)] = [round(int(v) * 2.55) for v in (r, g, b)]
        elif chosen:
            colour = int(chosen)
        elif letter or single:
            for _ in range(int(times or 1)):
                for row in range(6):
                    if (ord(letter or single) - 63) >> row & 1:
                        found[6 * band + row, column] = palette[colour]
                column += 1
        elif back or down:
            column, band = 0, band + bool(down)
    np.testing.assert_array_equal(found[:14], pixels)
    assert (found[14:] == 77).all()


def test_a_terminal_sees_the_map_and_a_pipe_does_not(tmp_path):
    from cli.tiny import write_model, write_picture

    model, picture = write_model(tmp_path / "tiny.onnx"), write_picture(tmp_path / "a.png")
    command = [sys.executable, "-m", "xplain", "explain", str(model), str(picture), "-m", "occlusion"]
    command += ["--out", str(tmp_path / "out")]
    environment = {**os.environ, "TERM": "xterm-kitty", "NO_COLOR": "", "XPLAIN_PICTURES": "auto", "TMUX": ""}
    piped = subprocess.run(command, env=environment, capture_output=True, check=True).stdout
    assert b"\x1b" not in piped
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, env=environment, stdout=theirs, stderr=subprocess.DEVNULL) as process:
        os.close(theirs)
        seen = b""
        try:
            while piece := os.read(ours, 65536):
                seen += piece
        except OSError:  # the other side is closed
            pass
        assert process.wait() == 0
    os.close(ours)
    coded = b"".join(re.findall(rb"\x1b_G[^;]*;([^\x1b]*)\x1b\\", seen))
    assert base64.b64decode(coded) == (tmp_path / "out" / "a.occlusion.png").read_bytes()
