"""A folder that is there whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from taustack.errors import BadInput, while_writing


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A path with the folder's name, elsewhere, for somebody to make the folder there; it comes to its place at the end.

    What an error leaves is removed; what a killed process left is written anew.

    Raises:
        BadInput: the folder is there already, or cannot be made or written.
    """
    part = folder.with_name(f".{folder.name}.part")
    if folder.exists():
        raise BadInput(folder, "", "there already", "a folder that can be made anew")
    try:
        with while_writing(folder):
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            yield part / folder.name
            (part / folder.name).rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
