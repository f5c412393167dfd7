"""How far an audit is."""

from __future__ import annotations

from dataclasses import dataclass

from xplain.core.keeping.plain import counted

__all__ = ["Progress"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an audit is.

    Args:
        sealed: Shards that are done.
        of: Shards in all.
        errors: Error rows that the shards of this run have; those of earlier runs stand in the records.
        rows: Rows that this run has made.
        seconds_left: About how long the rest takes at the speed of this run; None before a shard is done, and after
            the last.
        why: Why a run ended before all was done; empty where all is.
    """

    sealed: int
    of: int
    errors: int = 0
    rows: int = 0
    seconds_left: float | None = None
    why: str = ""

    @property
    def done(self) -> bool:
        """Whether every shard is sealed."""
        return self.sealed == self.of

    def __str__(self) -> str:
        words = [f"{self.sealed:,} of {counted(self.of, 'shard')} sealed"]
        words += [counted(self.errors, "error row")] if self.errors else []
        words += [f"about {_time(self.seconds_left)} left"] if self.seconds_left is not None else []
        return "; ".join([*words, *([self.why] if self.why else [])])


def _time(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
