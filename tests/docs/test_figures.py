"""Every figure of the tables of README.md and measured.md stands in the table that its command writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
RESULTS = TOP / "benchmarks" / "results"
CALLED = {"run": "zoo", "cpu": "kernels-cpu", "web": "compiled_web"}
"""Tables that bear another name than the script that writes them."""

DERIVED = {
    ("occlusion", "0.86"): (652, 757),
    ("occlusion", "0.64"): (495, 775),
    ("large_file", "0.88"): (2550, 2910),
}
"""Figures that are quotients of two cells of their table."""


def rows(page: str) -> list[tuple[str, str, str]]:
    """Question, figures and the script of each row; ``the same`` is that of the row above."""
    found, script = [], ""
    for line in (TOP / page).read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) != 4 or set(cells[0]) <= set("-|") or cells[0].strip("| ") == "question":
            continue
        called = re.search(r"python (\S+)\.py", cells[3])
        if called:
            script = called[1].rpartition("/")[2]
        elif "the same" not in cells[3]:
            continue
        found.append((cells[0].strip("| "), cells[2], script))
    return found


def stands(figure: str, numbers: list[float]) -> bool:
    half = 0.51 * 10 ** -len(figure.partition(".")[2])
    return any(abs(number - float(figure)) <= half for number in numbers)


CASES = [(page, *row) for page in ("README.md", "docs/explanation/measured.md") for row in rows(page)]
TOLD = [case for case in CASES if (RESULTS / f"{CALLED.get(case[3], case[3])}.md").exists()]


def test_nearly_every_row_has_a_table():
    assert {case[3] for case in CASES} - {case[3] for case in TOLD} == {"stream"}
    assert len(TOLD) >= 25


@pytest.mark.parametrize(("page", "question", "said", "script"), TOLD, ids=[f"{c[0]}: {c[1][:60]}" for c in TOLD])
def test_a_figure_stands_in_its_table(page, question, said, script):
    table = (RESULTS / f"{CALLED.get(script, script)}.md").read_text(encoding="utf-8")
    numbers = [float(one) for one in re.findall(r"(?<![\w.])\d+\.?\d*(?:e[+-]?\d+)?", table.replace(",", ""))]
    floors = re.findall(r"(?:at least|above) (\d+\.\d+)", said)
    figures = set(re.findall(r"(?<![\w./-])\d+\.\d+(?![\w.]*`)", said)) - set(floors)
    for one in list(figures):
        above, below = DERIVED.get((script, one), (None, None))
        if above is not None and {above, below} <= set(numbers):
            assert stands(one, [above / below])
            figures.remove(one)
    assert [one for one in sorted(figures) if not stands(one, numbers)] == []


def test_rows_of_gradients_are_those_of_their_command():
    assert {said for _, question, said, script in CASES if script == "gradients" and "batch 8" in question}


def test_the_zoo_is_as_large_as_its_table():
    table = (RESULTS / "zoo.md").read_text(encoding="utf-8").partition("\nColumns:")[0]
    files = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:2] == "| "]
    files = files[1:]
    kept = [float(row[4]) for row in files if len(row) > 4 and re.fullmatch(r"[\d.]+", row[4])]
    (row,) = [(question, said) for _, question, said, script in CASES if script == "run"]
    assert f"{len({row[0] for row in files})} architectures" in row[0]
    assert f"{len(files)} files" in row[0]
    assert f"all {len(kept)} files" in row[1]
    assert min(kept) >= float(re.findall(r"at least (\d\.\d+)", row[1])[0])
