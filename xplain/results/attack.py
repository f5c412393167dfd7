"""What an attack found: each item before and after, what the model says of both, and what its explanation did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np

from xplain.core.edits import Array
from xplain.core.keeping.plain import counted
from xplain.core.synthesis.attack import NORMS
from xplain.results.archive import Fault
from xplain.results.checks import Check, list_of, text, truth, whole
from xplain.results.result import ARRAY, ARRAY_PER_ITEM, PER_ITEM, Result

__all__ = ["Attack"]


def _amount(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < np.inf


@dataclass(frozen=True, kw_only=True, eq=False)
class Attack(Result):
    """What was found about N items; ``labels`` are the classes that the model said before.

    Everything here is true of what can be saved: ``after`` holds whole numbers where ``before`` does, and ``became`` is
    what a plain run of the model said of it.

    Args:
        before: The items: pictures uint8 ``[N, H, W, 3]`` as the model sees them (after the card's resize and crop), or
            tensors in their own units, ``[N, *item]``.
        after: The best candidate of each, in the same form; the item itself where nothing was found.
        norm: How changes are measured: ``linf``, ``l2``, ``l1`` or ``l0``; empty where changes have no bound.
        epsilons: Sizes that were allowed, the smallest first, ``[E]``: pictures count from 0 (black) to 1 (white),
            ``l0`` positions, other items their own units.
        success: Whether a success of that size was found, bool ``[N, E]``.
        became: The class that the model says of ``after``, int64 ``[N]``.
        goals: The class that was to be reached, per item; empty where any other than the first was good.
        margin: How far ``after`` is beyond the boundary, in units of the score, float64 ``[N]``; at most 0 for a
            failure.
        sizes: ``after - before`` in ``linf``, ``l2``, ``l1`` and ``l0``, in epsilon's units, float64 ``[N, 4]``.
        confidence: The model's share for the class it says, before and after, float64 ``[N, 2]``.
        steps: Steps that it took, int64 ``[N]``.
        queries: Evaluations and sweeps that were spent on each item, int64 ``[N]``.
        whole: Whether values are whole numbers of an 8-bit picture.
        maps: Explanations, float32 ``[N, 3, *map]``: of the class before on ``before`` and on ``after``, and of the
            class after on ``after``; or None.
        shared: What belongs to all items alike, such as a patch (uint8 ``[H, W, 3]``) or a universal change (in the
            model's layout); or None.
    """

    what: ClassVar[str] = "attack"
    checks: ClassVar[Mapping[str, Check]] = {
        "norm": ("a norm", lambda value: text(value) and value in ("", *NORMS)),
        "epsilons": ("a list of amounts", list_of(_amount)),
        "goals": ("a list of class numbers", list_of(whole)),
        "whole": ("true or false", truth),
    }

    before: Array = field(metadata=ARRAY_PER_ITEM)
    after: Array = field(metadata=ARRAY_PER_ITEM)
    success: Array = field(metadata=ARRAY_PER_ITEM)
    became: Array = field(metadata=ARRAY_PER_ITEM)
    margin: Array = field(metadata=ARRAY_PER_ITEM)
    sizes: Array = field(metadata=ARRAY_PER_ITEM)
    confidence: Array = field(metadata=ARRAY_PER_ITEM)
    steps: Array = field(metadata=ARRAY_PER_ITEM)
    queries: Array = field(metadata=ARRAY_PER_ITEM)
    norm: str = ""
    epsilons: tuple[float, ...] = ()
    goals: tuple[int, ...] = field(default=(), metadata=PER_ITEM)
    whole: bool = False
    maps: Array | None = field(default=None, metadata=ARRAY_PER_ITEM)
    shared: Array | None = field(default=None, metadata=ARRAY)

    @property
    def already(self) -> Array:
        """Whether an item was of the class to be reached from the start, bool ``[N]``; it was not attacked.

        Libraries that look at finished pictures alone, as foolbox does, count it as a success of size 0.
        """
        if not self.goals or self.invented:
            return np.zeros(len(self), bool)
        return np.asarray(np.asarray(self.labels) == np.asarray(self.goals))

    @property
    def fooled(self) -> Array:
        """Whether the largest size that was allowed sufficed, bool ``[N]``; not for one that is ``already`` there."""
        return np.asarray((self.margin > 0) & ~self.already)

    @property
    def rates(self) -> dict[str, float]:
        """The share of items that were fooled, by epsilon as a person writes it, of those that are not ``already``."""
        counted = self.success[~self.already]
        return {self.told(e): float(counted[:, k].mean()) for k, e in enumerate(self.epsilons) if len(counted)}

    @property
    def curve(self) -> dict[str, list[float]]:
        """Per class (what the model said before), the share that was fooled at each epsilon: the robustness curve."""
        names = np.array([self.called(label, n, "before") for n, label in enumerate(self.labels)])
        known = sorted(set(names[~self.already]))
        return {str(one): self.success[~self.already & (names == one)].mean(axis=0).tolist() for one in known}

    @property
    def invented(self) -> bool:
        """Whether the items were made of noise, so that no item of anybody's was fooled or held."""
        return bool(self.facts.get("made of"))

    @property
    def verdict(self) -> str:
        """How many were fooled, in words."""
        found, already = int(self.fooled.sum()), int(self.already.sum())
        count = len(self) - already
        wanted = sorted({self.called(goal, n, "to reach") for n, goal in enumerate(self.goals)})
        if self.invented:
            aim = wanted[0] if len(wanted) == 1 else "the target"
            return f"{self.method}: {found} of {counted(count, 'picture')} of noise taken for {aim}"
        left = f"; {already} {'is' if already == 1 else 'are'} already of that class" if already else ""
        towards = f" into {wanted[0]}" if len(wanted) == 1 else " into the class to reach" if wanted else ""
        return f"{self.method}: {found} of {counted(count, 'item')} fooled{towards}{left}"

    def verdict_of(self, item: int) -> str:
        """The same of one, in a word or two."""
        if self.invented:
            return "taken for the target" if self.fooled[item] else "not taken for the target"
        if self.already[item]:
            return "already of that class, not attacked"
        if self.fooled[item]:
            return "fooled"
        turned = bool(self.goals) and self.became[item] != self.labels[item]
        return "holds" if not turned else f"not taken for {self.called(self.goals[item], item, 'to reach')}"

    def told(self, epsilon: float) -> str:
        """A size as a person writes it: ``2/255`` for pictures in ``linf``."""
        if self.whole and self.norm == "linf":
            return f"{epsilon * 255:g}/255"
        return f"{epsilon:g}"

    def called(self, label: int, item: int, when: str) -> str:
        """A class's name, as the run found it; its number without one."""
        names = self.each.get(f"class {when}")
        return str(names[item]) if names is not None else str(label)

    def words_of(self, item: int) -> tuple[str, str]:
        """What the model said before, and after, each with its confidence."""
        names = self.called(self.labels[item], item, "before"), self.called(int(self.became[item]), item, "after")
        was, now = (f"{name} {sure:.2f}" for name, sure in zip(names, self.confidence[item], strict=True))
        return was, now

    def size_of(self, item: int) -> str:
        """How large an item's change is, in words."""
        linf, l2, _, _ = self.sizes[item]
        return f"linf {self._told_size(linf)}, l2 {l2:.3g}"

    def __repr__(self) -> str:
        asked = self.cost.queries + self.cost.sweeps
        return f"<Attack {self.method}: {int(self.fooled.sum())} of {len(self)} fooled, {asked} queries>"

    def __str__(self) -> str:
        lines = [self.verdict]
        lines += [f"  epsilon {told} ({self.norm}): {rate:.0%}" for told, rate in self.rates.items()]
        lines += [f"  {self.facts['held out']}"] if "held out" in self.facts else []
        lines += [f"  {self.facts['what moved first']}"] if "what moved first" in self.facts else []
        lines += [f"  through {name}: {_defended(one)}" for name, one in self.facts.get("defences", {}).items()]
        moved = self.each.get("rank correlation")
        for n in range(len(self)):
            was, now = self.words_of(n)
            if self.already[n]:
                lines.append(f"  {self.name_of(n)}: {was}, {self.verdict_of(n)}")
                continue
            if not self.fooled[n]:
                verdict = self.verdict_of(n)
                said = f"{was} holds" if verdict == "holds" else f"{was} -> {now}, {verdict}"
                said = f"{now}, not the target" if self.invented else said
                lines.append(f"  {self.name_of(n)}: {said} ({counted(self.queries[n], 'query', 'queries')})")
                continue
            told = "" if moved is None or np.isnan(moved[n][0]) else f", map {moved[n][0]:.2f}"
            spent = counted(self.steps[n], "step"), counted(self.queries[n], "query", "queries")
            asked = ", ".join([f"l0 {self.sizes[n, 3]:.0f}", *spent])
            lines.append(f"  {self.name_of(n)}: {was} -> {now} ({self.size_of(n)}, {asked}{told})")
        return "\n".join([*lines, *(f"  ! {said}" for said in self.said)])

    def _told_size(self, linf: float) -> str:
        return f"{linf * 255:g}/255" if self.whole else f"{linf:.3g}"

    @classmethod
    def made(cls, given: dict[str, Any]) -> Self:
        """A result with these fields; those of this kind alone are still as JSON has them."""
        tuples = {name: tuple(given.get(name, ())) for name in ("epsilons", "goals")}
        return cls(**{**given, **tuples})

    @classmethod
    def holds(cls, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> int:
        """The number of items; holds the arrays against one another.

        Raises:
            Fault: one is missing, or of another type or shape than it must have.
        """
        needed = set(cls.arrays()) - {"maps", "shared"}
        if absent := sorted(needed - arrays.keys()):
            raise Fault(f"it holds no {absent[0]}")
        before, count = arrays["before"], len(arrays["before"]) if arrays["before"].ndim else 0
        fits = {
            "after": (before.shape, before.dtype.kind),
            "success": ((count, len(meta.get("epsilons", ()))), "b"),
            "became": ((count,), "i"),
            "margin": ((count,), "f"),
            "sizes": ((count, len(NORMS)), "f"),
            "confidence": ((count, 2), "f"),
            "steps": ((count,), "i"),
            "queries": ((count,), "i"),
        }
        if before.ndim < 2 or before.dtype.kind not in "uf" or not count:
            raise Fault(f"its before is {before.dtype} {list(before.shape)}; items [N, ...] are needed")
        if len(meta.get("labels", ())) != count:
            raise Fault(f"it has {len(meta.get('labels', ()))} labels for {count} items")
        for name, (shape, kind) in fits.items():
            one = arrays[name]
            if one.shape != shape or one.dtype.kind != kind:
                raise Fault(f"its {name} is {one.dtype} {list(one.shape)}; {list(shape)} is needed")
        maps = arrays.get("maps")
        if maps is not None and (maps.ndim < 3 or maps.shape[:2] != (count, 3) or maps.dtype.kind != "f"):
            raise Fault(f"its maps are {maps.dtype} {list(maps.shape)}; [N, 3, ...] real numbers are needed")
        return count


def _defended(told: Mapping[str, Any]) -> str:
    """What a defence did, in words."""
    kept, undone, through = (float(told[name]) for name in ("clean kept", "undone", "fooled through"))
    found = "nothing was found to undo" if np.isnan(undone) else f"{undone:.0%} of what was found is undone"
    again = "all are already of that class" if np.isnan(through) else f"{through:.0%} are fooled"
    return f"{kept:.0%} keep their class, {found}; attacked through it, {again}"
