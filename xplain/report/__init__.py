"""Pages that people read and keep: one file each, no network, no script."""

from __future__ import annotations

from xplain.report.html import page, write

__all__ = ["page", "write"]
