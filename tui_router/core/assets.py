"""Where the files beside the code are: in an installed wheel or in a checkout."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

_HERE = Path(__file__).parent.parent


@lru_cache
def root() -> Path:
    """Return the folder that holds `data/` and `styles/`.

    A wheel carries them inside the package (`tui_router/_assets`), so that no generic top-level name lands in
    site-packages; a checkout has them at its top.
    """
    packed = _HERE / "_assets"
    return packed if packed.is_dir() else _HERE.parent


def data(name: str) -> Path:
    """Return a file of `data/`."""
    return root() / "data" / name


def style(name: str) -> Path:
    """Return a file of `styles/`."""
    return root() / "styles" / name
