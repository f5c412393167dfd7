"""The page of methods lists exactly the methods and rule tables that are registered."""

from __future__ import annotations

from .methods_table import PAGE, inserted


def test_the_tables_of_methods_and_rules_are_up_to_date():
    text = PAGE.read_text()
    assert inserted(text) == text, "run: python tests/docs/methods_table.py"
