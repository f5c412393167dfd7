"""``xplain make``: pictures that a class, a unit or a layer likes, judged by the model and by others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from xplain import api
from xplain.cli.asking.flags import Force, OutFolder, Seed, options_for
from xplain.cli.asking.loading import Asking, Loading, ModelFile
from xplain.cli.keeping.output import Folder, file_stem
from xplain.cli.keeping.shown import keep_result
from xplain.cli.telling.console import Outcome, Progress
from xplain.core.declaring.registry import RECIPES
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.render.canvas import image

__all__ = ["make"]

_PREVIEW = "preview.png"


def make(
    shell: typer.Context,
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="The recipe, one of:", show_default=False)],
    model: ModelFile,
    loading: Loading,
    asking: Asking,
    pictures: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PICTURE", help="Pictures to begin from, for recipes that take some.", show_default=False
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="A label, a class number, 'LAYER\\[12]' or 'LAYER\\[12, 6, 6]'; repeat for several pictures."
        ),
    ] = None,
    judge: Annotated[
        list[str] | None, typer.Option(help="Another model that looks at the finished pictures; repeat for several.")
    ] = None,
    judge_card: Annotated[
        list[str] | None,
        typer.Option(help="The judge's card, a file or a preset; repeat for each judge, one alone is for all."),
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Size of what the model is shown, such as 224x224, where it takes any.")
    ] = None,
    side: Annotated[int, typer.Option(help="Longer side that given pictures keep, at most, in pixels.")] = 384,
    frames: Annotated[int, typer.Option(help="Frames of the way that the GIF has; 0 for none.")] = 24,
    resume: Annotated[
        Path | None,
        typer.Option(help="File where what is needed to go on is kept; where it is there, the way goes on from it."),
    ] = None,
    preview: Annotated[bool, typer.Option("--preview", help=f"Write {_PREVIEW} into --out while it goes on.")] = False,
    out: OutFolder = Path("xplain-made"),
    seed: Seed = 0,
    force: Force = False,
    **options: Any,
) -> Outcome:
    """Make pictures that excite a class or a unit of MODEL, or that show what a layer of it keeps.

    Writes each picture (.png), all of them side by side with what the model and its judges say of them, the way as a
    GIF, and the numbers (.npz). The flags of a recipe are shown by 'xplain make RECIPE --help'. Ctrl-C keeps what
    there is.

    Raises:
        XplainError: what concerns the recipe, the model or a picture.
    """
    entry = RECIPES.find(recipe)
    given = options_for([entry], options)[entry.name]
    loaded = loading.open(model)
    steps = int(given.get("steps", entry.read_options({}).get("steps", 1)))
    with Folder(out, force) as folder, Progress(steps, unit="steps") as progress:

        def seen(step: int, painted: Array) -> None:
            if step % max(1, steps // 16) == 0:
                whole = (painted[0] * 255).round().astype("uint8").transpose(1, 2, 0)
                folder.write_picture(_PREVIEW, image(whole.repeat(3 // whole.shape[2], axis=2)))

        made = api.make(
            loaded,
            entry.name,
            pictures or None,
            target=target if target is None or len(target) > 1 else target[0],
            judge=_judges(judge or [], judge_card or []),
            size=size,
            side=side,
            frames=frames,
            seed=seed,
            batch_size=asking.batch_size,
            max_queries=asking.max_queries,
            preview=seen if preview else None,
            stepped=progress.to,
            resume=resume,
            **given,
        )
        made = made.in_words(shell.obj.words)
        files = keep_result(folder, entry.name, made, shell.obj.line)
        folder.announce(made.files)
        for name, content in made.files.items():
            folder.write(name, content)
        files |= {name: name for name in made.files}
        taken: set[str] = set()
        called = [made.name_of(n).replace("/", "-") for n in range(len(made))]  # a layer's name is no folder
        names = [f"{entry.name}.{file_stem(one, taken)}.png" for one in called]
        folder.announce(names)
        for name, pixels in zip(names, made.pixels, strict=True):
            folder.write_picture(name, image(pixels))
        document = {
            "command": shell.obj.line,
            "model": {"source": loaded.outline.source, "sha256": loaded.outline.digest},
            "recipe": entry.name,
            "options": made.meta()["options"],
            "pictures": [_told(made, n, name) for n, name in enumerate(names)],
            "warnings": made.said,
            "out": str(folder.path),
            "files": files,
            "cost": {"sweeps": made.cost.sweeps, "queries": made.cost.queries, "seconds": round(made.cost.seconds, 3)},
        }
        folder.record({"state": "finished", "run": document})
    lines = [str(made), *(f"{name}: {folder.path / file}" for name, file in files.items())]
    return Outcome(document, "\n".join([*lines, f"pictures: {folder.path / names[0]}" if names else ""]))


def _judges(judges: list[str], cards: list[str]) -> list[Any]:
    """The judges, loaded with their cards where some are given.

    Raises:
        UsageError: several cards, and not one for each judge.
    """
    if not cards:
        return list(judges)
    each = cards * len(judges) if len(cards) == 1 else cards
    if len(each) != len(judges):
        raise UsageError(
            f"--judge-card is given {len(cards)} times for {len(judges)} judges. Give one for each, or one."
        )
    return [api.load(model, card=card) for model, card in zip(judges, each, strict=True)]


def _told(made: Any, n: int, file: str) -> dict[str, Any]:
    """What is said of one picture."""
    judges = [
        {"judge": judge, "share": float(share), "rank": int(rank)}
        for judge, share, rank in zip(made.judges, made.shares[n], made.ranks[n], strict=True)
        if rank == rank
    ]
    each = {name: entries[n] for name, entries in made.each.items()}
    each = {
        name: None if isinstance(one, float) and one != one else one for name, one in each.items()
    }  # JSON has no NaN
    return {"name": made.name_of(n), "file": file, "target": made.target_of(n), "judges": judges, **each}
