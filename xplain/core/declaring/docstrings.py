"""What a Google docstring says, section by section."""

from __future__ import annotations

import inspect

__all__ = ["argument_docs", "docstring_sections"]


def docstring_sections(text: str) -> dict[str, str]:
    """A Google docstring as ``{"summary": ..., "body": ..., "args": ...}``, section names in lower case."""
    sections: dict[str, list[str]] = {"summary": [], "body": []}
    current = "summary"
    for line in text.splitlines():
        heading = line.rstrip()
        if heading.endswith(":") and not line.startswith(" ") and heading[:-1].replace(" ", "").isalpha():
            current = heading[:-1].lower()
            sections[current] = []
        elif current == "summary" and not line.strip():
            current = "body"
        else:
            sections[current].append(line)
    return {name: inspect.cleandoc("\n".join(lines)) for name, lines in sections.items()}


def argument_docs(section: str) -> dict[str, str]:
    """The ``Args`` section as ``{name: text}``."""
    docs: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        head, colon, rest = line.partition(":")
        if not line.startswith(" ") and colon and head.isidentifier():
            name, docs[head] = head, rest.strip()
        elif name:
            docs[name] += " " + line.strip()
    return docs
