"""``xplain audit status``: how far an audit is."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from xplain import audit
from xplain.cli.telling.console import OK, PARTIAL, Outcome

__all__ = ["status"]


def status(
    out: Annotated[str, typer.Argument(metavar="AUDIT", help="The audit's folder or URL.", show_default=False)],
) -> Outcome:
    """Say how far AUDIT is, also while it runs: shards that are sealed, and error rows in them.

    Exit code 0 where all shards are sealed, 4 where some are left.

    Raises:
        XplainError: the folder holds no audit.
    """
    found = audit.status(out)
    return Outcome({**asdict(found), "done": found.done}, str(found), OK if found.done else PARTIAL)
