"""The stubs say what the registry says; ``typed_calls.py`` beside this holds mypy to them, in .ci/run."""

from __future__ import annotations

import re

import xplain

from .stubs import stubs


def test_the_stubs_are_up_to_date():
    for path, text in stubs().items():
        assert path.read_text(encoding="utf-8") == text, "run: python tests/docs/methods_table.py"


def test_every_method_and_option_is_in_the_stubs():
    text = "\n".join(stubs().values())
    for entry in xplain.methods():
        if entry.family == "plugin":
            continue
        name = "".join(word.capitalize() for word in entry.name.replace("+", "-plus").split("-"))
        (body,) = re.findall(rf"class {name}\(Asked, total=False\):\n((?:    .*\n)+)", text)
        assert set(re.findall(r"^    (\w+):", body, re.MULTILINE)) == set(entry.options)
        assert f'Literal["{entry.name}"' in text
