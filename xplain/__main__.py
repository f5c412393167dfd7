"""``python -m xplain``: the command line, where the script ``xplain`` is not on the path."""

from __future__ import annotations

from xplain.cli import main

if __name__ == "__main__":
    main()
