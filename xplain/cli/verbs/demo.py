"""``xplain demo``: see it work on a picture whose cause is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from xplain import api
from xplain.cli.asking.flags import Force, OutFolder, Seed
from xplain.cli.keeping.output import Folder
from xplain.cli.keeping.pages import PAGE, Drawing, Sheets
from xplain.cli.run import Order, Run, explain_items
from xplain.cli.telling.console import Outcome, table
from xplain.core.keeping.plain import counted
from xplain.results.attribution import Attribution
from xplain.session.predictions import in_words

__all__ = ["demo"]

_METHODS: dict[str, dict[str, Any]] = {"occlusion": {"patch": 20, "stride": 10}, "rise": {"samples": 500}}


def demo(
    shell: typer.Context,
    out: OutFolder = Path("xplain-demo"),
    seed: Seed = 0,
    force: Force = False,
) -> Outcome:
    """Explain pictures whose cause is known, with a small model that comes along, and draw the result.

    Each picture is a background with a patch of another texture, and the model is asked why it sees that texture. The
    cause is the patch, so it can be said how much of the positive attribution lies where it should.

    Raises:
        OutputError: the folder cannot be used.
    """
    with Folder(out, force) as folder:
        return _drawn(folder, seed, shell.obj.line)


def _drawn(folder: Folder, seed: int, command: str) -> Outcome:
    from xplain.demo import SCENES, demo_model_path, demo_picture, share_on_cause

    loaded = api.load(demo_model_path())
    run, sheets = Run(), Sheets(folder, Drawing())
    scenes = {name: demo_picture(name) for name in SCENES}
    files = {name: _write(folder, f"{name}.png", picture) for name, (picture, _, _) in scenes.items()}
    for name, (_, _, label) in scenes.items():
        explain_items(loaded, [files[name]], [files[name]], Order(_METHODS, label, seed), run, sheets)
    sheets.finish(loaded.outline, command)
    causes = []
    for told, (name, (_, truth, label)) in zip(run.items, scenes.items(), strict=True):
        for one in told["explanations"]:
            values = Attribution.load(folder.path / one["files"]["npz"]).values[0]
            share = share_on_cause(values, truth)
            causes.append(
                {"picture": name, "label": label, "method": one["method"], "share": share, "area": float(truth.mean())}
            )
    document = {"command": command, "out": str(folder.path), **run.document(), "causes": causes}
    folder.record({"state": "finished", "run": document})
    drawn = [folder.path / item["explanations"][0]["files"]["png"] for item in run.items]
    return Outcome(document, _text(document, folder), pictures=drawn)


def _write(folder: Folder, name: str, pixels: Any) -> str:
    from xplain.render.canvas import image

    folder.announce([name])
    return str(folder.write_picture(name, image(pixels)))


def _text(document: dict[str, Any], folder: Folder) -> str:
    rows = [
        (one["picture"], one["label"], one["method"], f"{one['share']:.0%}", f"{one['area']:.0%}")
        for one in document["causes"]
    ]
    said = [f"{Path(one['picture']).name}: {in_words(one['predictions'])}" for one in document["pictures"]]
    cost = document["cost"]
    return "\n".join(
        [
            *said,
            "",
            "How much of the positive attribution lies on the patch that is the cause (a map that knows nothing: its",
            "area):",
            table(rows, ("picture", "asked for", "method", "on cause", "area")),
            "",
            f"{counted(cost['queries'], 'evaluation')} in {cost['seconds']:.1f} s. Open {folder.path / PAGE}",
            "",
            "The same with your own model, and a card that says how a picture becomes its input:",
            "  xplain inspect model.onnx",
            "  xplain explain model.onnx photos/ --card imagenet --method occlusion --out result",
        ]
    )
