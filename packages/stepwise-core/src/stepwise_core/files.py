"""Writing files so that a reader sees the old content or the new, never half of it."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomic(path: Path, text: str) -> None:
    """Write a text file: beside it first, then moved into place.

    Raises:
        OSError: if there is no space or no permission; the old file is still there then.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~umask())  # mkstemp makes private files
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def folder_written_atomically(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path` that takes its place when the block ends, and vanishes if it fails."""
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    try:
        yield temporary
        for file in temporary.iterdir():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
        os.chmod(temporary, 0o777 & ~umask())
        if path.exists():
            outdated = temporary.with_name(temporary.name + "-old")
            path.rename(outdated)
            temporary.rename(path)
            shutil.rmtree(outdated)
        else:
            temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def replace_link(link: Path, target: str) -> None:
    """Point a symbolic link at a sibling, in one step.

    A copy that followed links has a folder in the link's place; its content is under its own name too, so it goes.
    """
    if link.is_dir() and not link.is_symlink():
        shutil.rmtree(link)
    temporary = link.with_name(f".{link.name}-{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    os.replace(temporary, link)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def umask() -> int:
    """Return which permissions new files of this process do not get."""
    mask = os.umask(0)  # the only way to read it is to set it
    os.umask(mask)
    return mask
