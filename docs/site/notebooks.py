"""The tutorials as notebooks, made from their Markdown, so that there is one text.

    python docs/site/notebooks.py OUT            # writes them
    python docs/site/notebooks.py OUT --run      # and executes each, in a folder of its own; an error fails

Blocks that a comment leaves out of the tests stay text in the notebook too.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

TUTORIALS = Path(__file__).resolve().parents[1] / "tutorials"
_BLOCK = re.compile(r"(?:<!-- (?P<note>[^>]*?) -->\n)?```(?P<language>python|bash)\n(?P<text>.*?)```\n?", re.DOTALL)
_PICTURE = re.compile(r"!\[[^\]]*\]\(\.\./pictures/[^)]*\)\n*")


def notebook(page: Path) -> Any:
    """One tutorial as a notebook that has not run."""
    from nbformat import v4

    text = _PICTURE.sub("", page.read_text(encoding="utf-8"))
    # links lead to pages of the site, which a notebook lies beside
    text = re.sub(r"\]\(\.\./([^)]+)\.md\)", r"](../\1.html)", text)
    cells, at = [], 0
    for found in _BLOCK.finditer(text):
        if found["note"]:
            continue
        if said := text[at : found.start()].strip():
            cells.append(v4.new_markdown_cell(said))
        code = found["text"].rstrip()
        cells.append(v4.new_code_cell(f"%%bash\n{code}" if found["language"] == "bash" else code))
        at = found.end()
    if said := text[at:].strip():
        cells.append(v4.new_markdown_cell(said))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # the same text makes the same file
    return v4.new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})


def write(out: Path, run: bool = False) -> list[Path]:
    """Write every tutorial's notebook; ``run`` executes the Python of those that need no file of the reader's own."""
    import nbformat

    out.mkdir(parents=True, exist_ok=True)
    made = []
    for page in sorted(TUTORIALS.glob("*.md")):
        one = notebook(page)
        if run:
            execute(one, page.stem)
        target = out / f"{page.stem}.ipynb"
        nbformat.write(one, target)
        made.append(target)
    return made


def execute(one: Any, name: str) -> None:
    """Run the Python cells in order, in a folder of their own, and keep what they print; an error is raised."""
    from nbclient import NotebookClient
    from nbformat import v4

    asked = [cell for cell in one.cells if cell.cell_type == "code" and not cell.source.startswith("%%bash")]
    if any(re.search(r"\b(model|churn|sentiment)\.onnx", cell.source) for cell in asked):
        print(f"{name}: not executed, it explains the reader's own model.onnx")
        return
    with tempfile.TemporaryDirectory() as place:
        ran = v4.new_notebook(cells=asked, metadata=one.metadata)
        NotebookClient(ran, timeout=300, resources={"metadata": {"path": place}}).execute()


if __name__ == "__main__":
    for path in write(Path(sys.argv[1]), "--run" in sys.argv[2:]):
        print(path)
