"""The shell completes verbs and flags."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("typed", "expected"), [("xplain exp", "explain"), ("xplain explain --shared", "--shared-scale")]
)
def test_the_shell_completes(typed, expected):
    words = typed.split(" ")
    asked = {"_XPLAIN_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    ran = subprocess.run(
        [sys.executable, "-c", "from xplain.cli import main; main()"],
        capture_output=True, text=True, check=True, env={**os.environ, **asked},
    )  # fmt: skip
    assert ran.stdout.split() == [expected]
