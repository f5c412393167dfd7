"""Who may import whom, and which room may use which package: the table of the README, enforced on the source."""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import xplain

PACKAGE = Path(xplain.__file__).parent
EVERY_ROOM = frozenset(p.name for p in PACKAGE.iterdir() if p.is_dir() and (p / "__init__.py").exists())
ROOMS = {
    "core": set(),
    "native": {"core"},
    "rules": {"core"},
    "results": {"core"},
    "graph": {"core", "native"},
    "incremental": {"core", "native", "graph"},
    "render": {"core", "native"},
    "explainers": {"core", "native", "rules", "analyses"},
    "metrics": {"core", "native", "rules"},
    "analyses": {"core"},
    "models": {"core", "native", "graph", "rules", "incremental"},
    "engine": {"core", "native"},
    "report": {"core", "results", "render"},
    "demo": {"core", "render"},
    "plugins": {"core", "explainers"},
    "session": {
        *("core", "native", "rules", "graph", "incremental", "explainers", "metrics", "models", "engine", "results"),
        *("render", "analyses"),
    },
    "api": {"core", "session"},
    "measure": {"session"},
    "targets": {"core"},
    "testing": {"api", "core", "native", "results"},
    "serve": {"core", "session", "results", "render", "models"},
    "audit": {"core", "native", "session", "results", "render", "report", "analyses", "metrics"},
    "cli": {
        *("api", "measure", "session", "results", "report", "render", "core", "demo"),
        *("graph", "metrics", "models", "native", "serve", "audit"),
    },
}
"""Room to the rooms it may import besides itself; a room that is not named here may import all."""
FREE = {"__init__", "__main__"}

PACKAGES = {
    "numpy": EVERY_ROOM | {"testing"},
    "array_api_compat": {"core", "explainers", "metrics"},
    "torch": {"models/torch"},
    "anyio": {"serve"},
    "starlette": {"serve"},
    "xplain_web": {"serve/site.py"},
    "uvicorn": {"serve"},
    "h11": {"serve"},  # which comes with uvicorn
    "prometheus_client": {"serve"},
    "onnxruntime": {"models/onnx/session.py", "graph/runtime.py"},
    "onnx": {"graph"},
    "PIL": {"render", "serve/telling.py", "results", "demo", "models/endpoint"},
    "skimage": {
        "render",
        "explainers/features",
        "explainers/design/inpaint.py",
        "explainers/see/regions.py",
        "metrics/localisation.py",
        "metrics/regions.py",
    },
    "scipy": {
        "explainers/gradient/xrai.py",
        "explainers/perturbation/sobol.py",
        *("metrics/localisation.py", "metrics/road.py", "explainers/design/baseline.py"),
        *(
            "explainers/estimation/sampling.py",
            "analyses/dimension.py",
            "analyses/lattice.py",
            "analyses/near_texts.py",
            "analyses/scan.py",
            "audit/reports/beside.py",
            "analyses/groups.py",
            "render/spectra.py",
            "analyses/influence.py",
        ),
        "explainers/synthesis",
    },
    "openTSNE": {"analyses/projection.py"},
    "pyarrow": {"core/lenses/vector_table.py", "audit"},
    "duckdb": {"audit"},
    "fsspec": {"audit/stores/far.py"},
    "cryptography": {"audit"},
    "sklearn": {"analyses/projection.py", "analyses/clusters.py", "analyses/factorisation.py", "analyses/groups.py"},
    "umap": {"analyses/projection.py"},
    "pacmap": {"analyses/projection.py"},
    "usearch": {"analyses/neighbours.py"},
    "cv2": {"metrics/localisation.py"},
    "pydicom": {"render/dicom.py"},
    "jinja2": {"report"},
    "markupsafe": {"report"},
    "shap": {"render/shap_bridge.py"},
    "matplotlib": {"render/plot_sheet.py", "render/plots.py", "render/plots_of_rows.py", "render/plots_of_signals.py"},
    "pandas": {"render/frame.py"},
    "httpx": {"models/endpoint"},
    "httpcore": {"models/endpoint"},
    "grpc": {"models/endpoint/rpc.py"},
    "google": {"models/endpoint/wire.py"},
    "tokenizers": {"models/rows/encoder.py"},
    "typer": {"cli"},
    "tqdm": {"cli"},
    "rich": {"cli"},
}
"""Third-party package to the rooms, folders or single files that may import it; one not named may not be imported."""


@dataclass(frozen=True)
class Import:
    """One import in one file: the module's dotted name, and whether it happens when the file is imported."""

    file: str
    line: int
    module: str
    eager: bool

    @property
    def room(self) -> str:
        """The room of the file that imports."""
        return self.file.split("/")[0].removesuffix(".py")

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def imports_of(path: Path, root: Path = PACKAGE) -> list[Import]:
    """All imports of a file, those inside functions and under ``TYPE_CHECKING`` too."""
    file = path.relative_to(root).as_posix()
    found: list[Import] = []

    def walk(node: ast.AST, eager: bool) -> None:
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: imports are absolute here"
            # `from xplain import native` names the room in the alias
            deep = [f"{node.module}.{alias.name}" for alias in node.names]
            modules = deep if node.module == "xplain" else [str(node.module)]
        found.extend(Import(file, node.lineno, module, eager) for module in modules)
        inner_eager = eager and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            walk(child, inner_eager)

    walk(ast.parse(path.read_text(encoding="utf-8")), True)
    return found


def every_import() -> list[Import]:
    return [one for path in sorted(PACKAGE.rglob("*.py")) for one in imports_of(path)]


def broken_rooms(imports: list[Import]) -> list[str]:
    """Imports of a room that the table does not allow."""
    found = []
    for one in imports:
        parts = one.module.split(".")
        if parts[0] != "xplain" or one.room in FREE:
            continue
        target = parts[1] if len(parts) > 1 else "__init__"
        if target in ("_native", "__version__"):
            continue  # ``_native`` has its own test; the version is no room
        allowed = ROOMS[one.room] | {one.room}
        if target not in allowed:
            found.append(str(one))
    return found


def broken_packages(imports: list[Import]) -> list[str]:
    """Imports of a third-party package outside the rooms or files that may."""
    found = []
    for one in imports:
        package = one.module.split(".")[0]
        if package in ("xplain", "__future__") or package in sys.stdlib_module_names:
            continue
        allowed = PACKAGES.get(package, set())
        folder = one.file.rpartition("/")[0]
        if not allowed & {one.room, one.file, folder}:
            found.append(str(one))
    return found


def test_every_room_is_in_the_table():
    rooms = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p.is_dir() and any(p.glob("*.py")))}
    assert rooms <= set(ROOMS) | FREE


def test_rooms_import_only_what_the_table_allows():
    assert broken_rooms(every_import()) == []


def test_packages_are_imported_only_where_the_table_allows():
    assert broken_packages(every_import()) == []


def test_the_readme_shows_this_table():
    readme = (PACKAGE.parent / "README.md").read_text(encoding="utf-8")
    table = readme.partition("| room | holds | may import |\n")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| .* \| (.*) \|$", table, re.MULTILINE)
    shown = {room: set(re.findall(r"[\w-]+", may)) for rooms, may in rows for room in re.findall(r"\w+", rooms)}
    assert {"core", "native", "graph", "render", "explainers", "models", "engine", "report"} <= set(shown)
    for room, may in shown.items():
        assert "all" in may if room in FREE else may & set(ROOMS) == ROOMS[room], room


def test_the_compiled_module_has_one_door():
    assert [
        str(one) for one in every_import() if one.module.startswith("xplain._native") and one.room != "native"
    ] == []


@pytest.mark.parametrize(
    ("file", "source", "wrong"),
    [
        ("core/x.py", "from xplain.engine import drive", "rooms"),
        ("core/x.py", "from xplain import engine", "rooms"),
        ("core/x.py", "def f():\n    import xplain.models.load", "rooms"),
        ("results/attribution.py", "def overlay():\n    from xplain.render import draw", "rooms"),
        ("explainers/a/x.py", "import onnx", "packages"),
        ("models/load.py", "import torch.nn", "packages"),
        ("cli/x.py", "import onnxruntime", "packages"),
        ("graph/x.py", "import somebody_elses", "packages"),
    ],
)
def test_a_breach_is_seen(tmp_path, file, source, wrong):
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(source)
    imports = imports_of(path, tmp_path)
    assert [bool(broken_rooms(imports)), bool(broken_packages(imports))] == [wrong == "rooms", wrong == "packages"]
