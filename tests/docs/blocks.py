"""Code blocks of Markdown pages, and what runs them as they are printed.

A page's blocks are run in order, in one folder and with one namespace, so that a later block may use what an earlier
one made. An HTML comment on the line above a block changes that:

| comment | what happens |
|---|---|
| ``<!-- needs a server -->`` (a GPU, a real model, ...) | not run; the words are the reason |
| ``<!-- run: ... -->`` | not run here: the script of that name runs it, such as README's install commands |
| ``<!-- exits 1 -->`` | the commands must end with that code |
| ``<!-- raises UsageError -->`` | the Python must raise that error |
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from xplain.cli import application

FENCE = re.compile(
    r"(?:^[ ]*<!-- (?P<note>[^>]*?) -->\n)?^(?P<indent>[ ]*)```(?P<language>\w+)[^\n]*\n(?P<text>.*?)^(?P=indent)```",
    re.DOTALL | re.MULTILINE,
)
_SHELL = set("|&;<>$`*")


@dataclass(frozen=True)
class Block:
    """One block of code.

    Args:
        page: The file that it stands in.
        line: The line of its first line of code there, from 1.
        language: What is written after the fence.
        text: The code, without the indentation of the fence.
        note: The comment above it; empty if there is none.
    """

    page: Path
    line: int
    language: str
    text: str
    note: str = ""

    @property
    def left_out(self) -> str:
        """Why tests do not run it; empty if they do."""
        return self.note if re.match(r"needs |run: ", self.note) else ""

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """All blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, found.start("text")) + 1,
            found["language"],
            textwrap.dedent(found["text"]),
            found["note"] or "",
        )
        for found in FENCE.finditer(text)
    ]


def commands_of(block: Block) -> list[str]:
    """The commands of a block: a line each, unless it ends in a backslash; comments are left out."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]


def smaller(text: str) -> str:
    """The same with less work, for the tiny model that stands for the reader's: its own card holds its size."""
    text = re.sub(r" --card imagenet\b", "", re.sub(r"--samples \d+", "--samples 20 --cells 4", text))
    return text.replace('card="imagenet"', "card=None")


def run_command(command: str, where: str, code: int = 0) -> str:
    """Run one command line as a shell would; one that is xplain's alone is run in this process, which is quicker.

    Args:
        command: The line.
        where: Where it stands, for the message of a failure.
        code: What it must exit with.

    Returns:
        What it printed.
    """
    words = shlex.split(command, comments=True)
    if words[0] == "xplain" and not _SHELL & set(command.split(" #")[0]):
        done = CliRunner().invoke(application(words[1:]), words[1:], prog_name="xplain")
        out, said, ended = done.stdout, done.stderr, done.exit_code
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
    else:
        # the shell finds the command line of the xplain that is tested, whatever is installed
        shell = (
            f"xplain() {{ {shlex.quote(sys.executable)} -c 'from xplain.cli import main; main()' \"$@\"; }}\n{command}"
        )
        threads = {"OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        ran = subprocess.run(
            ["bash", "-c", shell], capture_output=True, text=True, check=False, env={**os.environ, **threads}
        )
        out, said, ended = ran.stdout, ran.stderr, ran.returncode
    assert ended == code, f"{where}: {command}\nexits {ended}\n{out}\n{said}"
    return out


def run(block: Block, names: dict[str, Any]) -> None:
    """Run a block as it is printed.

    Args:
        block: A block of Python or bash.
        names: The page's names; a block of Python sees them and adds its own.
    """
    if block.language == "bash":
        code = int(found[1]) if (found := re.match(r"exits (\d+)", block.note)) else 0
        for command in commands_of(block):
            run_command(smaller(command), str(block), code)
        return
    # as many lines before the code as stand there on the page, so that a traceback names the page's own line
    program = compile("\n" * (block.line - 1) + smaller(block.text), str(block.page), "exec")
    if expected := re.match(r"raises (\w+)", block.note):
        with pytest.raises(Exception) as raised:
            exec(program, names)
        assert type(raised.value).__name__ == expected[1], f"{block}: {raised.value!r}"
        return
    exec(program, names)
