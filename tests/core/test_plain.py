"""Text that is printed cannot steer a terminal."""

from __future__ import annotations

import unicodedata

import pytest

from xplain.core import errors
from xplain.core.caveat import Caveat
from xplain.core.keeping.plain import plain

CONTROLS = [
    chr(n) for n in range(0x110000) if unicodedata.category(chr(n)) in ("Cc", "Zl", "Zp") and chr(n) not in "\n\t"
]
DIRECTIONS = [
    chr(n)
    for n in range(0x3000)
    if unicodedata.bidirectional(chr(n)) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
] + ["\u200e", "\u200f", "\u061c"]


def test_every_control_and_every_mark_of_direction_goes():
    assert len(CONTROLS) > 60
    assert len(DIRECTIONS) >= 12
    for letter in (*CONTROLS, *DIRECTIONS, "\ud800", "\udcff"):
        assert plain(f"a{letter}b") == "a\ufffdb", hex(ord(letter))


def test_what_people_write_stays():
    text = "Grüße, Ελλάδα, שלום, مرحبا, नमस्ते, 日本語, 👩\u200d🔬, می\u200cخواهم, a\u00a0b\n\tindented"
    assert plain(text) == text
    assert plain("a\nb\tc", one_line=True) == "a\ufffdb\ufffdc"


@pytest.mark.parametrize(
    "kind", [errors.UsageError, errors.Unsafe, errors.ModelError, errors.OutputError, errors.UnknownName]
)
def test_errors_and_caveats_are_a_door(kind):
    said = "Tensor '\x1b]0;PWNED\x07\x1b[31m\u202e' is bad"
    for text in (str(kind(said)), str(Caveat(said)), str(errors.unknown("layer", said, [said + "s"]))):
        assert not {"\x1b", "\x07", "\u202e"} & set(text)
        assert "PWNED" in text
