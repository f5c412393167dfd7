"""The public door to recipes: what is asked is written down, and a ``Maker`` makes it."""

from __future__ import annotations

from typing import Any

from xplain.core.declaring.declared import Recipe
from xplain.core.declaring.registry import RECIPES
from xplain.engine import Progress
from xplain.results.picture import Picture
from xplain.session.request import Request
from xplain.session.synthesis.making import Maker, Wanted, read_size
from xplain.session.synthesis.watching import Preview, Stepped

__all__ = ["make", "recipes"]


def make(
    model: Any,
    recipe: str = "fourier",
    x: Any = None,
    *,
    target: Any = None,
    judge: Any = None,
    size: Any = None,
    side: int = 384,
    frames: int = 24,
    seed: int = 0,
    card: Any = None,
    batch_size: int | None = None,
    max_queries: int | None = None,
    progress: Progress | None = None,
    preview: Preview | None = None,
    stepped: Stepped | None = None,
    resume: Any = None,
    **options: Any,
) -> Picture:
    """Make pictures that excite a class or a unit of a model, or that show what a layer keeps.

        made = xplain.make("model.onnx", "fourier", target=["daisy", "espresso"], card="imagenet", judge="other.onnx")
        print(made); made.strip().save("classes.png"); made.gif("way.gif")

    What the model and its judges say is said of the picture as it is saved, in whole numbers of 0..255. The same
    arguments give the same bits, however many pictures are made at once. An interruption returns what there is.

    Args:
        model: What ``load`` takes, or a loaded model; it must give gradients (an ONNX file, a torch module).
        recipe: Name of a recipe; ``xplain.recipes()`` lists them.
        x: Pictures to begin from, for recipes that take some.
        target: A class, a label's name, ``"LAYER[12]"`` (a channel), ``"LAYER[12, 6, 6]"`` (a unit), or a list of
            such: one picture each.
        judge: Other models that look at the finished pictures, one or a list: paths or loaded models.
        size: Height and width of what the model is shown, such as ``(224, 224)`` or ``"224x224"``, where it takes any.
        side: Longer side that given pictures keep, at most, in pixels.
        frames: Frames of the way to keep, for ``Picture.gif``; 0 for none.
        seed: Root of all randomness.
        card: How a picture becomes the model's input, if the model has no card of its own.
        batch_size: Pictures per model call, at most; None chooses. Another number may change last bits.
        max_queries: Sweeps and evaluations that may be spent; what was made until then is kept.
        progress: Called with (evaluations done, evaluations asked so far).
        preview: Called after each step with (steps made, pictures ``[N, C, H, W]`` as they are), which costs a drawing
            of each.
        stepped: Called after each step with the number of steps made, which costs nothing.
        resume: A file where what is needed to go on is put aside; where it exists already, the way goes on from it, to
            the same bits; with ``optimiser="lbfgs"`` from the best state so far, whose curvature is learnt anew, so to
            others. It is removed when all is done.
        options: Options of the recipe, and the pictures that it takes beside ``x``, such as ``photographs=`` or
            ``guide=``.

    Raises:
        XplainError: every error on purpose is one of its kinds.
    """
    entry = RECIPES.find(recipe)
    sources = {one.name for one in entry.sources}
    given = {name: options.pop(name) for name in [*options] if name in sources}
    judges = judge if isinstance(judge, (list, tuple)) else [] if judge is None else [judge]
    wanted = Wanted({"x": x, **given}, read_size(size), side, judges, frames, preview, resume, stepped)
    request = Request(
        target=target, seed=seed, card=card, batch_size=batch_size, max_queries=max_queries, progress=progress
    )
    maker = Maker.named(model, request, recipe, options, wanted)
    with maker.session:
        return maker.make()


def recipes() -> list[Recipe]:
    """All recipes, by name: our own, and those of installed plugins."""
    return list(RECIPES)
