"""How one run asks its questions: in full batches, past what is known already, within its budget."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from decimal import Decimal

import numpy as np

from xplain.core.abilities import Piece, abilities_of
from xplain.core.batches import Cut
from xplain.core.caveat import Caveat
from xplain.core.declaring.wording import option
from xplain.core.edits import Array, Untouched
from xplain.core.errors import CapabilityError, ModelError
from xplain.core.lenses.fold import Top, joined
from xplain.core.partial_answers import pieces
from xplain.core.price import Account
from xplain.core.query import Answer, Ensemble, Model, Peek, Query, Score, Slope, Sweep
from xplain.core.swept import Swept
from xplain.core.synthesis.slope import Sloped
from xplain.core.target import SCORES, EveryScore, Target, every_score
from xplain.engine.finite import check_rows, check_seen, check_sweep
from xplain.engine.row_keys import row_keys, runs, widest
from xplain.engine.schedule import batch_rows, chunks, cut_of, rows_together, whole_calls
from xplain.engine.sentinel import Sentinel
from xplain.engine.settings import Settings
from xplain.engine.slopes import canvases_at_once
from xplain.engine.slopes import joined as joined_slopes

__all__ = ["Run"]

_SHORTEST_WAIT, _LONGEST_WAIT = 0.02, 0.5  # seconds, for rows that another process is asking


class Run:
    """One run: the model, its settings, and what was spent."""

    def __init__(self, model: Model, settings: Settings) -> None:
        self.model, self.settings = model, settings
        self.queries = self.sweeps = self.reused = 0
        self.asked = self.done = 0
        self.able = abilities_of(model)
        self.price = self.able.price
        self.cost = Decimal(0)
        self.account = Account()
        self._seen = Decimal(0)  # of the account, what is paid already
        self._sentinel: Sentinel
        self._watched: Score | None = None
        self._watched_key = b""
        self._doubtful: list[bytes] = []  # stored since the sentinel last looked

    def ask(self, query: Query) -> Answer:
        """The whole answer to one question."""
        if type(query) not in self.model.answers:
            kinds = ", ".join(sorted(kind.__name__ for kind in self.model.answers))
            raise CapabilityError(
                f"The method asks {type(query).__name__}, but {self.model.outline.source} answers only {kinds}."
            )
        if isinstance(query, Score):
            return self._score(query)
        if isinstance(query, (Slope, Ensemble)):
            return self._slope(query) if isinstance(query, Slope) else self.model.answer(query)
        return self._peek(query) if isinstance(query, Peek) else self._sweep(query)

    def _score(self, query: Score) -> Array:
        key = self.settings.memo.key(query)
        known = self.settings.memo.get(query, key)
        first, last = query.rows
        if known is not None:
            self.reused += last - first
            return known
        rows = self._asked(query) if self.settings.store is None or query.at != "input" else self._recalled(query)
        answer = rows.reshape(len(query.x), query.edits.count, -1)
        if isinstance(query.target, Target):
            answer = answer[..., 0]
        self.settings.memo.put(key, answer)
        return answer

    def _asked(self, query: Score) -> Array:
        """Every row, asked."""
        first, last = query.rows
        self._require(last - first, query.x)
        self._begin_watch(query)
        self._begin(last - first)
        rows: Array | None = None
        for part, piece in self._pieces(query, (first, last)):
            if rows is None:
                rows = np.empty((last - first, piece.shape[1]))
            elif piece.shape[1] != rows.shape[1]:
                raise self._other_shape(rows.shape[1], piece.shape[1])
            check_rows(piece, replace(query, part=part), self.model.outline)
            rows[part[0] - first : part[1] - first] = piece
        return np.zeros((0, 1)) if rows is None else rows

    def _recalled(self, query: Score) -> Array:
        """Rows that the store knows as they are, the rest asked once each and stored as their answers arrive."""
        store = self.settings.store
        assert store is not None
        first, last = query.rows
        asked = replace(query, target=widest(query.target))
        keys = row_keys(self.model, asked)
        found = store.get(keys)
        if len(found) < len(set(keys)) and self._begin_watch(query):
            found = store.get(keys)  # the watched row may be one of them
        missing = {key: row for row, key in reversed(list(enumerate(keys, first))) if key not in found}
        self._require(len(missing), query.x)
        self._begin(len(missing))
        self.reused += last - first - len(missing)
        found |= self._shared(asked, missing, first, keys)
        widths = {len(row) for row in found.values()}
        if len(widths) > 1:
            raise self._other_shape(*sorted(widths)[:2])
        rows = np.stack([found[key] for key in keys]) if keys else np.zeros((0, 1))
        if asked.target is query.target or not isinstance(asked.target, EveryScore):
            return rows
        items = np.arange(first, last) // query.edits.count
        rows = query.target.read({SCORES: rows}, items).reshape(len(rows), -1)
        check_rows(rows, query, self.model.outline)
        return rows

    def _shared(self, asked: Score, missing: dict[bytes, int], first: int, keys: list[bytes]) -> dict[bytes, Array]:
        """Rows that no store knows yet: asked here, or waited for where another process is asking them.

        Args:
            asked: The question that they belong to.
            missing: Their keys, and the row of each.
            first: The row of ``keys[0]``.
            keys: All keys of the question, in order.
        """
        store = self.settings.store
        assert store is not None
        found: dict[bytes, Array] = {}
        left = sorted(missing, key=missing.__getitem__)
        together = rows_together(self.model, asked.x)
        pause = _SHORTEST_WAIT
        while left:
            known, mine = store.claim(left, together)
            try:
                wanted = {missing[key] for key in mine}
                for run in self._calls(asked, sorted(wanted)):
                    for part, piece in self._kept(asked, run, wanted):
                        every = dict(zip(keys[part[0] - first : part[1] - first], piece, strict=True))
                        fresh = {key: row for key, row in every.items() if key in mine}
                        store.put(fresh)
                        self._doubtful += fresh if self.settings.sentinel is not None else ()
                        found.update(fresh)
            finally:
                store.release(key for key in mine if key not in found)
            found.update(known)
            self.reused += len(known)
            self.asked -= len(known)
            left = [key for key in left if key not in found]
            if known or mine:
                pause = _SHORTEST_WAIT
            else:  # others are asking all that is left: their answers will come, or their claims will end
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_WAIT)
        return found

    def _calls(self, asked: Score, rows: list[int]) -> Iterator[tuple[int, int]]:
        """Runs of rows to ask: a model that may be filled up is asked whole calls, rows that are known among them.

        So a row that is asked later has the company that it would have had, and the same bits.
        """
        how = self._cut("scores", asked.x, asked.edits.count)
        if how is None or not how.by_item or self.able.batches is None or not self.able.batches.fills_up:
            yield from runs(rows)
            return
        yield from whole_calls(how, rows)

    def _kept(self, asked: Score, run: tuple[int, int], wanted: set[int]) -> Iterator[Piece]:
        """Pieces of the answer; where the run is interrupted, what had been answered by then is put all the same."""
        try:
            with closing(self._pieces(asked, run, wanted)) as answered:
                yield from answered
        finally:
            if self.able.late is not None and self.settings.store is not None:
                for part, piece in self.able.late(asked):
                    keys = row_keys(self.model, replace(asked, part=part))
                    self.settings.store.put(dict(zip(keys, piece, strict=True)))

    def caveats(self) -> tuple[Caveat, ...]:
        """What must be known of this run whatever its method found."""
        store, able = self.settings.store, self.able
        troubles = (store.trouble if store is not None else "", able.trouble() if able.trouble is not None else "")
        return tuple(Caveat(f"{trouble} The values are not touched by this.") for trouble in troubles if trouble)

    def _pieces(
        self, query: Score, run: tuple[int, int], wanted: set[int] | None = None
    ) -> Generator[Piece, None, None]:
        """Pieces of the answer to the rows ``run``; each is counted and paid when it has been taken care of.

        ``wanted``: the rows that count, all by default; the others fill up a call.
        """
        size = self.settings.batch_size
        rows = size if self.able.stream is not None and size is None else batch_rows(query.x, size)
        query = replace(query, cut=self._cut("scores", query.x, query.per_item), account=self.account)
        for part, piece in pieces(self.model, replace(query, part=run), rows, size):
            count = part[1] - part[0]
            if piece.ndim != 2 or len(piece) != count:
                raise CapabilityError(
                    f"The model answered {list(piece.shape)} to {count} rows; one row each was asked."
                )
            yield part, piece
            count = count if wanted is None else len(wanted.intersection(range(*part)))
            self.queries += count
            self._pay(count)
            if self._watched is not None and self._sentinel.due(count):
                self._look()

    def _cut(self, kind: str, x: Array, per_item: int, share: int = 1, many: bool = False) -> Cut | None:
        """How rows are cut into calls, by the model and the question alone; None for a model that is elsewhere.

        Args:
            kind: What is asked, for the record.
            x: Items.
            per_item: Rows of each.
            share: What a row takes, in rows of scores.
            many: Whether more items come by than these.
        """
        found = cut_of(self.model, x, per_item, self.settings.batch_size, share, self.settings.together, many)
        if found is None:
            return None
        if found.rows not in (told := self.settings.calls.setdefault(kind, [])):
            told.append(found.rows)
        return found

    def finish(self) -> None:
        """The last look at a model that may have been replaced since the one before."""
        if self._watched is not None and self._sentinel.since:
            self._look()

    def _begin_watch(self, query: Score) -> bool:
        """Before the first row is paid: learn what the model says, or said when the store was filled.

        Returns:
            Whether the watched row was asked now.
        """
        if self.settings.sentinel is None or self._watched is not None:
            return False
        # a target inside the model, or in a map, may be all that can be read of it
        what = every_score if SCORES in query.target.tensors else query.target
        what = what.take(np.zeros(1, np.int64)) if isinstance(what, Target) else what
        self._sentinel = self.settings.sentinel
        self._watched = Score(query.x[:1], Untouched(), what, layout=query.layout, account=self.account)
        store = self.settings.store
        if store is not None:
            self._watched_key = row_keys(self.model, self._watched)[0]
            known = store.get([self._watched_key])
            if known:
                self._sentinel.look(known[self._watched_key], self.model.outline)
        self._look()
        return True

    def _look(self) -> None:
        """Ask the watched item again."""
        assert self._watched is not None
        store = self.settings.store
        self._require(1, self._watched.x)
        self._begin(1)
        (answer,) = np.asarray(self.model.answer(self._watched), dtype=np.float64)
        self.queries += 1
        self._pay(1)
        try:
            self._sentinel.look(answer, self.model.outline)
        except ModelError:
            if store is not None:
                store.drop(self._doubtful)
            raise
        self._doubtful.clear()
        if store is not None:
            store.put({self._watched_key: answer})

    def _other_shape(self, one: int, other: int) -> ModelError:
        return ModelError(
            f"{self.model.outline.source} answered {one} scores to some rows and {other} to others. A classifier gives "
            "one score per class every time: look at the model, or say which output to read with ",
            option("output"),
            ".",
        )

    def _peek(self, query: Peek) -> dict[str, Array | Top]:
        self.settings.budget.require(len(query.x))
        self._begin(len(query.x))
        found: dict[str, list[Array | Top]] = {tap: [] for tap in query.taps}
        how = self._cut("values", query.x, 1, many=query.many)
        rows = batch_rows(query.x, self.settings.batch_size)
        for start, stop in chunks(0, len(query.x), rows) if how is None else how.parts(0, len(query.x)):
            part = self.model.answer(replace(query, x=query.x[start:stop], batch=None if how is None else how.rows))
            for tap in query.taps:
                found[tap].append(part[tap])
            self.queries += stop - start
            self._pay(stop - start)
        return {tap: joined(parts) for tap, parts in found.items()}

    def _slope(self, query: Slope) -> Sloped:
        """Numbers that are not finite are handed on: who moves the states keeps the last good ones."""
        self.settings.budget.require(len(query.state) * query.rows)
        self._begin(len(query.state) * query.rows)
        at_once = canvases_at_once(query, self.model, self.settings.batch_size)
        self.settings.calls["slopes"] = sorted({*self.settings.calls.get("slopes", []), at_once * query.rows})

        def ask(part: Slope) -> Sloped:
            found: Sloped = self.model.answer(part)
            self.sweeps += len(part.state) * query.rows
            self._pay(len(part.state) * query.rows)
            return found

        answer = joined_slopes(query, at_once, ask)
        if self.settings.watch is not None:
            self.settings.watch(query, answer)
        return answer

    def _sweep(self, query: Sweep) -> Swept:
        """Points are flattened, asked in batches, and summed point by point: chunking cannot change the order."""
        items, points = query.x.shape[:2]
        query.check_start()
        flat = query.x.reshape(items * points, 1, *query.x.shape[2:])
        weights = np.broadcast_to(query.shares, (items, points)).reshape(-1)
        baseline = query.baseline
        if baseline is not None:  # never written out for all: it may be one for a thousand items
            lifted = baseline[:, None] if baseline.ndim == query.x.ndim - 1 else baseline
            baseline = np.broadcast_to(lifted, (items, points, *query.x.shape[2:]))
        self.settings.budget.require(len(flat))
        self._begin(len(flat))
        rows = max(1, batch_rows(flat, self.settings.batch_size) // (1 if self.settings.batch_size else 2))
        one = points == 1 and query.weights is None  # nothing is added up, so it stays as it came
        values: dict[str, Array] = {}
        totals: dict[str, Array] = {}
        read: list[tuple[Array | None, ...]] = []
        how = self._cut("sweeps", flat[:, 0], points, share=2)
        if how is not None and points == 1 and self.able.cuts:  # several calls in one question
            parts = chunks(0, len(flat), max(1, 2 * rows // how.rows) * how.rows)
        else:
            parts = chunks(0, len(flat), rows) if how is None else how.parts(0, len(flat))
        for start, stop in parts:
            owners = np.arange(start, stop) // points
            asked = replace(
                query,
                x=flat[start:stop],
                target=query.target.take(owners),
                weights=None,
                baseline=None if baseline is None else baseline[owners, np.arange(start, stop) % points][:, None],
                batch=None if how is None else how.rows,
                **query.beside(owners),
            )
            part = self.model.answer(asked)
            if points == 1 and isinstance(part, Swept):
                check_seen(part, start)
                read.append((part.target, part.below, part.scores))
            check_sweep(part, asked, owners, self.able.why_not_finite)
            for tap, (value, cotangent) in part.items():
                if tap not in totals:
                    totals[tap] = np.zeros((items, *cotangent.shape[1:]), cotangent.dtype if one else np.float64)
                    own = one and np.may_share_memory(value, flat) and value.dtype == flat.dtype
                    values[tap] = flat[:, 0] if own else np.zeros((items, *value.shape[1:]), dtype=value.dtype)
                if one:
                    totals[tap][start:stop] = cotangent
                    if not np.may_share_memory(value, flat):  # else it is the item itself, which is not copied
                        values[tap][start:stop] = value
                    continue
                for k, owner in enumerate(owners):
                    totals[tap][owner] += weights[start + k] * cotangent[k]
                    values[tap][owner] = value[k]
            self.sweeps += stop - start
            self._pay(stop - start)
        told = (None if any(v is None for v in one) else np.concatenate(one) for one in zip(*read, strict=True))
        return Swept({tap: (values[tap], totals[tap]) for tap in totals}, *told).biased(getattr(part, "biases", {}))

    @property
    def calls(self) -> int:
        """Requests that left since the run began; 0 for a model that is asked without any."""
        return self.account.calls

    def _require(self, count: int, x: Array) -> None:
        """Rows of items like ``x`` must be payable, at the price of the requests that they will really make."""
        price = self.price
        if price is not None and self.able.rows_per_request is not None:
            price = replace(price, rows_per_call=self.able.rows_per_request(x))
        self.settings.budget.require(count, price)

    def _begin(self, count: int) -> None:
        self.asked += count

    def _pay(self, count: int) -> None:
        """Count evaluations as spent, at the price, or at what the model says was really spent: retries cost too."""
        if self.able.billed is not None:
            spent = self.account.spent
            cost, self._seen = spent - self._seen, spent
        else:
            cost = self.price.bill(count) if self.price is not None else Decimal(0)
        self.cost += cost
        self.settings.budget.spend(count, cost)
        self.done += count
        if self.settings.progress is not None:
            self.settings.progress(self.done, self.asked)
