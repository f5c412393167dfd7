"""Field paths: where in a JSON answer something lies. A small, linear-time part of JMESPath.

The package jmespath is not used: its ``[*]`` leaves out what is missing, so the scores of the next items would move up
in place of those that a server left out, and its filters and functions take time that no size of the answer bounds.

predictions[*].score     the score of every prediction
result.tags[0]."top-k"   quoted names may hold anything
[*][1]                   the second element of every element
"""

from __future__ import annotations

import re
from typing import Any

from xplain.core.errors import ModelError, UsageError

__all__ = ["FieldPath"]

_STEP = re.compile(r'\.?(?:(?P<name>[A-Za-z_][\w-]*)|"(?P<quoted>[^"]*)"|\[(?P<index>-?[0-9]{1,9})\]|(?P<all>\[\*\]))')


class FieldPath:
    """A path of names, numbers and ``[*]``.

    Raises:
        UsageError: the text is no path.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._steps: list[str | int | None] = []  # a name, an index, or None for all
        at = 0
        while at < len(text):
            step = _STEP.match(text, at)
            if step is None or (at == 0 and text.startswith(".")):
                raise UsageError(
                    f'Field path {text!r} cannot be read at {text[at : at + 20]!r}; accepted: names, "quoted names", '
                    "[number] and [*], joined by dots, such as predictions[*].score."
                )
            if step["all"]:
                self._steps.append(None)
            elif step["index"] is not None:
                self._steps.append(int(step["index"]))
            else:
                self._steps.append(step["name"] if step["name"] is not None else step["quoted"])
            at = step.end()

    @property
    def many(self) -> bool:
        """Whether the path finds a list, through ``[*]``."""
        return None in self._steps

    def find(self, value: Any, what: str) -> Any:
        """What lies there; with ``[*]`` a list of it.

        Raises:
            ModelError: nothing lies there.
        """
        return self._walk(value, 0, what)

    def _walk(self, value: Any, at: int, what: str) -> Any:
        for k in range(at, len(self._steps)):
            step = self._steps[k]
            if step is None:
                if not isinstance(value, list):
                    raise self._missing(k, what)
                return [self._walk(one, k + 1, what) for one in value]
            fits = isinstance(value, dict) if isinstance(step, str) else isinstance(value, list)
            try:
                value = value[step] if fits else None
            except (KeyError, IndexError):
                fits = False
            if not fits:
                raise self._missing(k, what)
        return value

    def _missing(self, k: int, what: str) -> ModelError:
        shown = ["[*]" if s is None else f"[{s}]" if isinstance(s, int) else s for s in self._steps]
        return ModelError(f"{what} has nothing at {self.text!r}: {shown[k]!r} is not there.")
