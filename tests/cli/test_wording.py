"""What Python calls ``card=`` is ``--card`` on a command line, and only where the verb has that flag."""

from __future__ import annotations

import pytest

from xplain.cli.wording import in_flags

NAMES = """
card max_cost max_queries layer features allow_external_data output input fixed limit seed baseline columns target
"""
FLAGS = {name: "--" + name.replace("_", "-") for name in NAMES.split()}


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ("Give card= a file or a preset.", "Give --card a file or a preset."),
        ("such as grad-cam with layer=.", "such as grad-cam with --layer."),
        ("above max_cost=0.1 EUR: paid", "above --max-cost 0.1 EUR: paid"),
        ("Use cells: features='grid:7'.", "Use cells: --features 'grid:7'."),
        ("load the path with allow_external_data=True.", "load the path with --allow-external-data."),
        ("give load(..., output=) the name", "give --output the name"),
        ("limits=Limits(nodes=...) if you trust it.", "--limit nodes=... if you trust it."),
        ("give their values: fixed={'n': ...}.", "give their values: --fixed n=...."),
        ("seed is -1; accepted: a whole number", "--seed is -1; accepted: a whole number"),
        ("limit evaluations with max_queries.", "limit evaluations with --max-queries."),
        ("baseline=row, then", "--baseline row.csv, then"),
        ("for rows use xplain.table.", "for rows give a table (.csv)."),
        # what is no option of the verb, or no option at all, stays as it is
        ("give load(..., version='2') or price=3.", "give load(..., version='2') or price=3."),
        ("The input is [1, 3]; m.onnx takes items", "The input is [1, 3]; m.onnx takes items"),
        ("Unknown label 'seed=3'. Did you mean 'max_cost'?", "Unknown label 'seed=3'. Did you mean 'max_cost'?"),
        ("There is no file '/data/card=1/max_cost.onnx'.", "There is no file '/data/card=1/max_cost.onnx'."),
        ("my_card.toml and my_seed stay", "my_card.toml and my_seed stay"),
        ("call explain(model, x, seed=3)", "call explain(model, x, seed=3)"),
    ],
)
def test_messages(python, said):
    assert in_flags(python, FLAGS) == said


def test_a_verb_without_the_flag_says_it_as_python_does():
    assert (
        in_flags("Give card= a file; or limits=Limits(nodes=3).", {}) == "Give card= a file; or limits=Limits(nodes=3)."
    )
