"""Options that name things: files that are read elsewhere, and layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

__all__ = ["Files", "Layers", "Names"]


@dataclass(frozen=True)
class Files:
    """Files that are read elsewhere; ``many``: a command line may name them one after another."""

    accepts: str = "a file, a folder, a glob or skimage:NAME"
    many: bool = False
    invalid: tuple[Any, ...] = ()
    names_files: bool = True

    def read(self, value: Any) -> Any:
        """The value as it is."""
        return value


@dataclass(frozen=True)
class Names:
    """Several names; text: parted by commas."""

    accepts: str = "one or several names; on a command line parted by commas"
    invalid: tuple[Any, ...] = ("", (), 3, ("a", ""), ",")

    def read(self, value: Any) -> tuple[str, ...]:
        """The names. Raises ValueError when refused."""
        if not isinstance(value, (str, list, tuple)):
            raise ValueError
        many = value.split(",") if isinstance(value, str) else list(value)
        if not many or not all(isinstance(one, str) and one.strip() for one in many):
            raise ValueError
        return tuple(one.strip() for one in many)


Layers: TypeAlias = Annotated[tuple[str, ...], Names()]
