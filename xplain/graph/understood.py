"""Turn whatever a library raises on a damaged model file into a ``ModelError``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from xplain.core.errors import ModelError, XplainError

__all__ = ["understood"]


@contextmanager
def understood(name: str, doing: str = "cannot be understood") -> Iterator[None]:
    """Turn any exception that nobody raised on purpose into a ``ModelError``; its cause stays attached.

    Args:
        name: The model for a message.
        doing: What failed.

    Raises:
        ModelError: something inside raised what is no error of ours.
    """
    try:
        yield
    except XplainError:
        raise
    except Exception as error:  # onnx and numpy raise many classes when they meet damaged content
        said = str(error).strip().splitlines()
        raise ModelError(
            f"{name} {doing} ({type(error).__name__}: {said[0][:200] if said else ''}). The file is damaged, or newer "
            "than the installed onnx. Check it with onnx.checker, or export it again."
        ) from error
