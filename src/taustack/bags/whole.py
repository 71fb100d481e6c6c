"""A folder that is there whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from taustack.errors import BadInput


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder `<name>.part` to write into, which gets its name at the end; what an error leaves is removed.

    What a killed process left under that name is written anew.

    Raises:
        BadInput: the folder is there already, or cannot be made or written.
    """
    part = folder.with_name(f"{folder.name}.part")
    if folder.exists():
        raise BadInput(folder, "", "there already", "a folder that can be made anew")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        yield part
        part.rename(folder)
    except OSError as error:
        raise BadInput(folder, "", error.strerror or str(error), "a place that can be written, with space for it") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
