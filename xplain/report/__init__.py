"""Pages that people read and keep: one file each, no network, no script."""

from __future__ import annotations

from xplain.report.html import page, write
from xplain.report.pages import page_of

__all__ = ["page", "page_of", "write"]
