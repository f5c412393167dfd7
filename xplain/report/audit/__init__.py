"""The report of an audit: what is told, its page, and the same numbers as JSON and CSV."""

from __future__ import annotations

from xplain.report.audit.compared import Compared, compared_csv, compared_json, compared_page
from xplain.report.audit.page import audit_page
from xplain.report.audit.told import Told
from xplain.report.audit.twin import csv_of, json_of

__all__ = ["Compared", "Told", "audit_page", "compared_csv", "compared_json", "compared_page", "csv_of", "json_of"]
