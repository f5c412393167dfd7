"""What all routes share: the models, the desk, the jobs, and how a request becomes an answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from xplain.core.errors import UsageError, XplainError, unknown
from xplain.core.keeping.plain import counted
from xplain.serve.asked import Asked, asked, instance, scores_asked
from xplain.serve.desk import Desk
from xplain.serve.figures import Figures
from xplain.serve.guard import Refused, Token
from xplain.serve.job import Full, Job, Late, Stopped
from xplain.serve.running import Answer, answered
from xplain.serve.served import Served

__all__ = ["House", "instances"]

T = TypeVar("T")

_LOG = logging.getLogger("xplain.serve")


@dataclass(slots=True, eq=False)
class House:
    """The models that are served, and the requests on their way.

    Args:
        models: By name.
        figures: Counts.
        waiting: Requests that may wait.
        together: Items that are asked about at once.
        most_items: Items of one request.
        most_seconds: The longest deadline; every request that states none has this one.
        keep_seconds: How long the answer of a job is kept.
        most_kept: Items of the jobs that are kept: an answer takes about a megabyte for each.
        warmed: Told when every model has explained something.
    """

    models: Mapping[str, Served]
    figures: Figures
    waiting: int = 64
    together: int = 16
    most_items: int = 64
    most_seconds: float = 300.0
    keep_seconds: float = 600.0
    most_kept: int = 256
    warmed: Callable[[], None] = lambda: None
    desk: Desk = field(init=False)
    jobs: dict[str, Job] = field(init=False, default_factory=dict)
    ready: dict[str, str] = field(init=False, default_factory=dict)
    """Model to why it is not ready; empty once it is."""

    def __post_init__(self) -> None:
        self.desk = Desk(self.waiting, self.together, self.figures.ended)
        self.figures.watch(self.desk)
        self.ready = dict.fromkeys(self.models, "its first explanation is under way")

    def model(self, name: str | None) -> Served:
        """The model of this name; without one, the only model.

        Raises:
            Refused: there is none; the message names the nearest.
            UsageError: no name is given, and there are several.
        """
        if name is None:
            if len(self.models) == 1:
                return next(iter(self.models.values()))
            raise UsageError(f'Several models are served; say which: "model" is one of {", ".join(self.models)}.')
        if not isinstance(name, str) or name not in self.models:
            raise Refused(404, str(unknown("model", str(name)[:80], list(self.models))), "unknown")
        return self.models[name]

    def called(self, name: str) -> tuple[Served, str]:
        """The model, and the method, that a name such as ``mobilenet.grad-cam`` means; no method for the model alone.

        Raises:
            Refused: there is no such model.
            UnknownName: it answers no such method.
        """
        model, _, method = name.partition(".")
        served = self.model(model)
        return served, served.method(method).name if method else ""

    async def warm(self) -> None:
        """Explain one item by each model, so that the first caller does not wait for what is made once."""
        for served in self.models.values():
            self.ready[served.name] = await run_in_threadpool(_warmed, served)
        self.warmed()

    # ------------------------------------------------------------------ asking

    async def explanations(
        self, served: Served, given: Sequence[Any], told: Mapping[str, Any], who: Token | None
    ) -> Job:
        """Put a request for explanations into the queue.

        Raises:
            XplainError: it cannot be answered.
            Full: there is no room.
            Refused: the token's evaluations are spent.
        """
        return self._put(await self.asked(served, given, told), who)

    async def asked(self, served: Served, given: Sequence[Any], told: Mapping[str, Any]) -> Asked:
        """A request for explanations, read and checked.

        Raises:
            XplainError: it cannot be answered.
        """
        self.bound(len(given))
        return await self._timed(served, lambda: asked(served, given, told, self.most_seconds))

    async def scores(self, served: Served, given: Sequence[Any], who: Token | None) -> Job:
        """Put a request for scores into the queue; raises as ``explanations`` does."""
        self.bound(len(given))
        return await self.submit(served, lambda: scores_asked(served, given), who)

    async def submit(self, served: Served, read: Callable[[], Asked], who: Token | None) -> Job:
        """Put what ``read`` makes, away from the event loop, into the queue; raises as ``explanations`` does."""
        return self._put(await self._timed(served, read), who)

    async def answer(self, job: Job, request: Request) -> Answer:
        """Wait for a job while the caller does; a caller who leaves takes the job along.

        Raises:
            Exception: what the job ended with.
        """
        gone = asyncio.create_task(_gone(request))
        over = asyncio.create_task(job.wait())
        try:
            await asyncio.wait((gone, over), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not job.over:
                self.desk.cancel(job)
            gone.cancel()
            over.cancel()
        if job.answer is None:
            raise _told_to(job)
        return job.answer

    def bound(self, count: int) -> None:
        """Whether a request may have so many items.

        Raises:
            UsageError: it has too many.
        """
        if count > self.most_items:
            raise UsageError(
                f"A request may have {counted(self.most_items, 'item')} here; got {count}. Send them in "
                "several requests."
            )

    async def _timed(self, served: Served, read: Callable[[], T]) -> T:
        began = time.monotonic()
        try:
            with self.desk.coming():
                return await run_in_threadpool(read)
        finally:
            self.figures.preprocess.labels(served.name).observe(time.monotonic() - began)

    def _put(self, one: Asked, who: Token | None) -> Job:
        if who is not None and who.most is not None:
            left = who.most - who.spent
            if one.size > left:
                text = f"This takes {one.size} evaluations; {max(0, left)} of {who.most} are left for this token."
                raise Refused(429, text, "budget")
        job = self.desk.submit(Job(one, "" if who is None else who.name))
        if who is not None:
            who.spent += one.size
        return job

    def without_paths(self, told: dict[str, Any]) -> dict[str, Any]:
        """What is told of an error, models by the names that callers know: where a file lies is nobody's business."""
        found = dict(told)
        for served in self.models.values():
            source = served.model.outline.source
            for name, value in found.items():
                if isinstance(value, str) and source:
                    found[name] = value.replace(source, served.name)
        return found

    # ------------------------------------------------------------------ jobs

    def keep(self, job: Job) -> None:
        """Remember a job, so that it can be asked after; the oldest that are over are forgotten."""
        now = time.monotonic()
        count = len(job.asked.items) + sum(len(old.asked.items) for old in self.jobs.values())
        for old in list(self.jobs.values()):
            if old.over and (now - old.ended > self.keep_seconds or count > self.most_kept):
                count -= len(old.asked.items)
                del self.jobs[old.id]
        self.jobs[job.id] = job

    def job(self, name: str, who: Token | None) -> Job:
        """The job of this name, if it is the caller's own.

        Raises:
            Refused: there is none, or it is another's; which, is not said.
        """
        job = self.jobs.get(name)
        if job is None or job.owner != ("" if who is None else who.name):
            text = "There is no such job. Answers are kept for a while only, and none outlives the server: ask again."
            raise Refused(404, text, "unknown")
        return job

    def drop(self, job: Job) -> None:
        """Nobody wants a job any more: it is cancelled, or what it found is forgotten."""
        self.desk.cancel(job)
        if job.over:
            self.jobs.pop(job.id, None)


def instances(given: Any) -> list[Any]:
    """The items of a JSON body.

    Raises:
        UsageError: these are none.
    """
    if not isinstance(given, list):
        raise UsageError('"instances" is a list with one entry for each item.')
    return [instance(one) for one in given]


def _told_to(job: Job) -> BaseException:
    """Why there is no answer, as who waits for it is told: of a fault of the model's, or of ours, that it is one."""
    error = job.error
    if error is None:
        return Stopped()
    if isinstance(error, (XplainError, Full, Late)):
        return error
    _LOG.error("a model failed, or the server did", exc_info=error)
    return Refused(500, "The model, or the server, failed at this request; the server's log says where.", "fault")


async def _gone(request: Request) -> None:
    """Until the caller has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _warmed(served: Served) -> str:
    """Explain an item of zeros by the cheapest of what the model answers; why that failed, or nothing."""
    example = served.example()
    if example is None:
        return ""
    for name in ("grad-cam", "saliency", "occlusion", "ablation"):
        if any(entry.name == name for entry in served.methods):
            break
    else:
        name = served.methods[0].name
    try:
        answered([asked(served, [example], {"method": name}, 60.0)], lambda _done, _of: None)
    except Exception:
        # zeros need not be what a model or a method takes; that its scores come says that it runs
        try:
            answered([scores_asked(served, [example])], lambda _done, _of: None)
        except Exception as error:
            return f"its first answer failed: {type(error).__name__}"
    return ""
