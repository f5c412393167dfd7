"""Making pictures in a session: the model and its card, targets, given pictures, the recipe, and the verdict."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from xplain.core.card import MOST_PIXELS, Card, load_card
from xplain.core.cost import Cost
from xplain.core.declaring.declared import Recipe
from xplain.core.declaring.options import Extent, Whole
from xplain.core.declaring.registry import RECIPES
from xplain.core.declaring.wording import option
from xplain.core.errors import BudgetError, CapabilityError, CardError, NonFinite, UsageError
from xplain.core.keeping.content import fingerprint
from xplain.core.query import Model, Slope
from xplain.core.synthesis.commission import Commission, Painted, Painting
from xplain.core.synthesis.ink import Ink
from xplain.core.target import Target
from xplain.core.targets.leaves import Leaf
from xplain.core.targets.target_parser import aim, needs_scores, ranks
from xplain.core.versions import versions
from xplain.engine import Settings
from xplain.models.outlines import attach_card
from xplain.models.through import Through
from xplain.results.picture import Picture
from xplain.results.provenance import Provenance
from xplain.session.request import Request
from xplain.session.results import words_of
from xplain.session.run import Session, load
from xplain.session.synthesis.judging import CROPS, Judge, judge_of, plane_of, stated_plane
from xplain.session.synthesis.lent import lent, pictures_given
from xplain.session.synthesis.studio import Studio
from xplain.session.synthesis.watching import Kept, Preview, Stepped, Watcher

__all__ = ["Maker", "Wanted", "read_size"]


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """What is asked of a recipe, besides what every request says.

    Args:
        given: Pictures by the name of their source, as a person gives them.
        size: Height and width of what the model is shown; None for what it states.
        side: Longer side that given pictures keep, at most.
        judges: Other models that look at the pictures.
        frames: Frames of the way to keep.
        preview: Called after each step with the pictures as they are.
        resume: A file that holds what is needed to go on.
        stepped: Called after each step with how many were made.
    """

    given: Mapping[str, Any] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    side: int = 384
    judges: Sequence[Any] = ()
    frames: int = 24
    preview: Preview | Any = None
    resume: Any = None
    stepped: Stepped | Any = None

    def __post_init__(self) -> None:
        for name, got, kind in (("frames", self.frames, Whole(0, 1000)), ("side", self.side, Whole(1, 4096))):
            try:
                kind.read(got)
            except (ValueError, TypeError):
                raise UsageError(option=name, got=got, accepted=kind.accepts) from None
        for name, told, of in (
            ("preview", self.preview, "(steps made, pictures [N, C, H, W])"),
            ("stepped", self.stepped, "the number of steps made"),
        ):
            if told is not None and not callable(told):
                raise UsageError(option=name, got=told, accepted=f"a function of {of}")


@dataclass(frozen=True, slots=True, eq=False)
class Maker:
    """One recipe with its options, in a session; made by ``Maker.named``.

    Args:
        session: The model, and what may be spent.
        recipe: The recipe.
        options: Its options, all of them.
        wanted: What else is asked.
        card: How pictures become the model's input.
    """

    session: Session
    recipe: Recipe
    options: Mapping[str, Any]
    wanted: Wanted
    card: Card

    @classmethod
    def named(cls, model: Any, request: Request, recipe: str, options: Mapping[str, Any], wanted: Wanted) -> Maker:
        """A recipe by name; what does not depend on pictures is looked at.

        Raises:
            UnknownName: no such recipe, source or option.
            UsageError: an option, a target or a picture that the recipe does not take.
            CapabilityError: the model gives no gradients.
            CardError: it is not known how a picture becomes the model's input.
        """
        entry = RECIPES.find(recipe)
        values = entry.read_options(options)
        if wanted.judges and not entry.judged:
            accepted = f"none: what recipe {entry.name!r} draws is no picture for a model"
            raise UsageError(option="judge", got=wanted.judges[0], accepted=accepted)
        session = Session(model, request)
        outline = session.model.outline
        if Slope not in session.model.answers:
            kinds = ", ".join(sorted(kind.__name__ for kind in session.model.answers))
            raise CapabilityError(
                f"Recipe {entry.name!r} follows gradients to the picture, which {outline.source} does not give: it "
                f"answers only {kinds}. Load the ONNX file or the torch module behind it, or train a substitute and "
                "judge the pictures with this model: ",
                option("judge"),
                ".",
            )
        given = load_card(request.card) if request.card is not None else None
        card = attach_card(outline, given).card if given is not None else outline.card
        if card is None:
            raise CardError(
                f"{outline.source} has no preprocessing card, so it is not known how a picture becomes its input. "
                "Write <model>.card.toml beside it, or give ",
                option("card"),
                " a file or a preset.",
            )
        if card.mode == "BANDS":
            raise CardError(f"{outline.source} takes {card.channels} bands, which are no picture of colours.")
        return cls(session, entry, values, wanted, card)

    def make(self) -> Picture:
        """The result. What there is before an interruption, or the end of the budget, is kept."""
        judges = [judge_of(load(judge)) for judge in self.wanted.judges]  # one that is none is known before any work
        others = lent(self.recipe, self.wanted.given)
        asked = Through(next(iter(others.values())), self.session.model) if others else self.session.model
        kept = self._kept()
        commission = self._commission({} if kept is None else kept.read(), others)
        wanted, steps = self.wanted, int(self.options.get("steps", 1))
        watcher = Watcher(commission, wanted.frames, steps, wanted.preview, kept, wanted.stepped)
        request = self.session.request
        settings = Settings(request.batch_size, self.session.budget, progress=request.progress, watch=watcher)
        try:
            flow = self.recipe.start(commission, self.options)
            try:
                (painted,), _ = self.session.ask([flow], asked, settings)
            except KeyboardInterrupt:
                watcher.put_aside()
                painted, kept = (_ended(flow) if self.recipe.learns else None) or watcher.interrupted(), None
                self.session.spent += Cost(sweeps=watcher.sweeps)
            found = self._result(commission, painted, watcher, settings, judges)
        except BaseException:  # while it is judged too
            watcher.put_aside()
            raise
        if kept is not None:
            kept.path.unlink(missing_ok=True)
        return found

    def _kept(self) -> Kept | None:
        if self.wanted.resume is None:
            return None
        if self.recipe.learns:
            accepted = f"none: recipe {self.recipe.name!r} trains a net, which is not put aside"
            raise UsageError(option="resume", got=self.wanted.resume, accepted=accepted)
        request, outline = self.session.request, self.session.model.outline
        wanted = {
            "model": outline.digest or outline.source,
            "recipe": self.recipe.name,
            "options": json.dumps({name: str(value) for name, value in self.options.items()}, sort_keys=True),
            "target": str(request.target.data() if isinstance(request.target, Target) else request.target),
            "seed": str(request.seed),
            "pictures": json.dumps({name: str(value)[:2000] for name, value in self.wanted.given.items()}),
        }
        return Kept(Path(self.wanted.resume), wanted)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what the model is shown."""
        if self.wanted.size is None and self.recipe.paints:
            return self.card.crop or (1, 1)  # nothing is resized, and nobody judges
        return self.wanted.size or plane_of(self.session.model.outline, self.card)

    # ------------------------------------------------------------------ what a recipe is told

    def _commission(self, kept: Mapping[str, Any], others: Mapping[str, Model]) -> Commission:
        outline = self.session.model.outline
        last = outline.named is not None and outline.named.letters == "NHWC"
        size = self.size
        found, names = pictures_given(self.recipe, self.wanted.given, (self.card, size, self.wanted.side))
        target, count = self._target()
        main = found.get("x", ())
        if target is not None and main and count not in (1, len(main)):
            raise UsageError(f"{count} targets are given for {len(main)} pictures; give one, or one for each.")
        words = words_of(target, count) if target is not None else ("",) * max(1, len(main))
        if main:
            words = tuple(f"{words[n % len(words)]} {fingerprint(one)}" for n, one in enumerate(main))
            if target is not None and count == 1 and len(main) > 1:
                target = target if not _own(target) else target.take(np.zeros(len(main), np.int64))
        keys = tuple(f"{word}#{words[:n].count(word)}" for n, word in enumerate(words))
        known = {name: one.outline for name, one in others.items()}
        return Commission(
            outline,
            Ink.of(self.card, last),
            size,
            keys,
            target,
            found,
            names,
            self.session.request.seed,
            kept,
            known,
            Studio(),
        )

    def _target(self) -> tuple[Target | None, int]:
        """The targets, as one for N pictures."""
        wanted, outline = self.session.request.target, self.session.model.outline
        if wanted is None:
            if self.recipe.target == "needed":
                raise UsageError(
                    f"Recipe {self.recipe.name!r} excites a class, a channel or a unit: say which with ",
                    option("target", "LABEL"),
                    ", such as a label's name, a class number, or 'LAYER[12]'.",
                )
            return None, 1
        if self.recipe.target == "none":
            accepted = f"none: recipe {self.recipe.name!r} aims at no class"
            raise UsageError(option="target", got=wanted, accepted=accepted)
        many = list(wanted) if isinstance(wanted, (list, tuple, np.ndarray)) else [wanted]
        if not many:
            raise UsageError("There is nothing to excite: the list of targets is empty.")
        for one in many:
            if isinstance(one, str) and one not in outline.labels and one in {layer.name for layer in outline.layers}:
                accepted = (
                    f"a channel of it, such as '{one}[0]', a class's number or its label; all of a layer is 'dream'"
                )
                raise UsageError(option="target", got=one, accepted=accepted)
        if any(ranks(one, outline) for one in many):
            accepted = "classes or units by name: there is no item yet whose best classes could be meant"
            raise UsageError(option="target", got=wanted, accepted=accepted)
        classes = outline.scores.classes
        aims = []
        for one in many:
            blank = None if not needs_scores(one, outline) else np.zeros((1, classes or 10**6))
            (found,) = aim(one, blank, outline)
            aims.append(found.target)
        return _side_by_side(aims), len(aims) if len(aims) > 1 else _items(aims[0])

    # ------------------------------------------------------------------ the result

    def _result(
        self,
        commission: Commission,
        painted: Painted,
        watcher: Watcher,
        settings: Settings,
        judges: Sequence[Judge],
    ) -> Picture:
        target = painted.target or commission.target
        count, outline = len(painted.picture), self.session.model.outline
        target = target if target is None or _items(target) in (1, count) else None
        words = words_of(target, count) if target is not None else ("",) * count
        labels = _labels(target, count)
        names = painted.names or tuple(words)
        whole = np.rint(np.clip(painted.picture, 0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
        pixels = list(np.ascontiguousarray(np.broadcast_to(whole, (*whole.shape[:3], 3))))
        called = [outline.label_name(label) for label in labels]
        own = Judge(self.session.model, self.card, stated_plane(outline) or self.size)
        bench = [own, *judges] if self.recipe.judged and not self.recipe.paints else [*judges]
        verdicts = [judge.verdict(pixels, labels, called) for judge in bench]
        value = np.full(count, np.nan)
        if target is not None and self.recipe.judged:
            with suppress(NonFinite):  # the verdict has said so
                value, cost = own.value(pixels, target)
                self.session.spent += cost
        for verdict in verdicts:
            self.session.spent += verdict.cost
        frames = painted.frames
        if frames is None:
            frames = watcher.film(count)
        return Picture(
            picture=np.asarray(painted.picture, np.float32),
            state=np.asarray(painted.state, np.float32),
            trace=np.ascontiguousarray(painted.trace.T, np.float64),
            judges=tuple(one.judge for one in verdicts),
            judged=np.stack([one.found for one in verdicts], axis=1)
            if verdicts
            else np.zeros((count, 0, len(CROPS), 2)),
            value=np.asarray(value, np.float64),
            frames=frames if frames is not None and len(frames) == count else None,
            original=painted.original,
            files=dict(painted.files),
            names=names,
            labels=tuple(labels),
            targets=tuple(words) if target is not None else (),
            explained=target,
            facts=dict(painted.notes),
            each={**painted.each, **({"first choice": verdicts[0].best} if verdicts else {})},
            warnings=(
                *outline.warnings,
                *painted.warnings,
                *watcher.caveats,
                *(caveat for one in verdicts for caveat in one.caveats),
            ),
            provenance=Provenance(
                method=self.recipe.name,
                options=dict(self.options),
                model=outline.digest,
                source=outline.called,
                card=self.card.to_toml(labels=False),
                layout="" if outline.named is None else str(outline.named.letters),
                seed=self.session.request.seed,
                cost=self.session.spent,
                rows_per_call=settings.calls,
                versions=versions(),
            ),
        )


def _ended(flow: Painting) -> Painted | None:
    """What a flow that learns makes of what it has learnt, told that nothing more is answered; None if it cannot."""
    try:
        flow.throw(BudgetError("it was interrupted."))
    except StopIteration as stop:
        done: Painted = stop.value
        return done
    except BudgetError:
        pass
    return None


def read_size(given: Any) -> tuple[int, int] | None:
    """Height and width as a person gives them: ``(224, 224)``, ``224`` or ``"224x224"``.

    Raises:
        UsageError: anything else.
    """
    if given is None:
        return None
    try:
        found = Extent().read(given)
    except (ValueError, TypeError):
        found = (0, 0, 0)
    pair = (found, found) if isinstance(found, int) else found
    if len(pair) != 2 or pair[0] * pair[1] > MOST_PIXELS:
        raise UsageError(option="size", got=given, accepted="height and width, such as (224, 224) or '224x224'")
    return (pair[0], pair[1])


def _own(target: Target) -> bool:
    return any(term.items is not None for _, term in target.terms)


def _items(target: Target) -> int:
    """For how many pictures a target is."""
    return next((int(leaf.items) for _, leaf in target.terms if leaf.items is not None), 1)


def _labels(target: Target | None, count: int) -> list[int]:
    """The class of each picture; empty for a target that is no class."""
    leaf = None if target is None else target.selectable
    if leaf is None:
        return []
    return [place[0] for place in (leaf.index if leaf.per_item else leaf.index * count)]


def _side_by_side(targets: Sequence[Target]) -> Target:
    """Targets of one form as one that has a place for each picture.

    Raises:
        UsageError: they read different tensors, or are made otherwise.
    """
    if len(targets) == 1:
        return targets[0]
    wrong = UsageError(
        "Targets that are made at once must be of one kind: all classes, or all places of one layer. Make the others "
        "by themselves."
    )
    terms = []
    for column in zip(*(one.terms for one in targets), strict=False):
        leaves = [term for _, term in column if isinstance(term, Leaf) and term.factors is None and not term.per_item]
        forms = {(weight, term.kind, *term.tensors) for weight, term in column}
        if len(leaves) < len(targets) or len(forms) > 1:
            raise wrong
        index = tuple(leaf.index[0] for leaf in leaves)
        given = tuple(leaf.names[0] if leaf.names else leaf.text() for leaf in leaves)
        terms.append((column[0][0], replace(leaves[0], index=index, per_item=True, names=given)))
    if len({len(one.terms) for one in targets}) > 1:
        raise wrong
    return Target(tuple(terms))
