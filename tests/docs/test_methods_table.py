"""The README lists exactly the methods that are registered."""

from __future__ import annotations

from .methods_table import README, inserted


def test_the_table_of_methods_is_up_to_date():
    text = README.read_text()
    assert inserted(text) == text, "run: python tests/docs/methods_table.py"
