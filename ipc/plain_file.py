"""Reading a file that decides what code runs: whole, bounded, through no link, of this user, no one else's to write."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .errors import IpcError

CHUNK = 1 << 20


@contextmanager
def opened_plain(path: Path, most: int) -> Iterator[BinaryIO]:
    """The file, open for reading. Raises IpcError CANDIDATE for one that others could have written."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise IpcError("OPSWAP_E_CANDIDATE", f"{path}: cannot be opened without following links: {why}") from error
    with os.fdopen(descriptor, "rb") as file:
        if trouble := _trouble(os.fstat(descriptor), most):
            raise IpcError("OPSWAP_E_CANDIDATE", f"{path}: {trouble}")
        yield file


def read_plain(path: Path, most: int) -> bytes:
    """All of its bytes, at most `most`."""
    with opened_plain(path, most) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise IpcError("OPSWAP_E_CANDIDATE", f"{path}: grew beyond {most} bytes while it was read")
    return data


def digest_of(path: Path, most: int) -> str:
    """sha256 of the file, in hexadecimal digits."""
    found = hashlib.sha256()
    with opened_plain(path, most) as file:
        while chunk := file.read(CHUNK):
            found.update(chunk)
    return found.hexdigest()


def _trouble(found: os.stat_result, most: int) -> str:
    if not stat.S_ISREG(found.st_mode):
        return "is not a plain file"
    if found.st_uid not in (os.geteuid(), 0):
        return f"belongs to uid {found.st_uid}; needs to be root's or of uid {os.geteuid()}, which runs the engine"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"has mode {stat.S_IMODE(found.st_mode):o}, so others may write it: chmod go-w makes it the user's alone"
    return f"has {found.st_size} bytes, at most {most} are taken" if found.st_size > most else ""
