"""Clients' shared memory as the sidecar sees it: mapped by checked name, kept for a while, swept when its owner died.

Plain open and mmap on /dev/shm: `multiprocessing.shared_memory` would register segments with a resource tracker that
removes them when this process ends, although whoever creates a segment unlinks it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import re
import shutil
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import IpcError
from .messages import LIMITS, SPEC
from .process import is_alive

SHM = Path("/dev/shm")
NAME = re.compile(SPEC["types"]["TensorRef"]["fields"]["segment"]["pattern"])
KEPT = 256
SHARE_SHM = "client and sidecar must see one /dev/shm (docker run --ipc), and the client must stay open during the call"
ENLARGE_SHM = (
    "make it larger (docker run --shm-size=8g, or mount -o remount,size=8g /dev/shm), free what is in it, "
    "or call with --local, which needs none"
)


class MappedSegment:
    """A mapped segment: its address, and the views that calls have made of it.

    It is unmapped with the last reference, so whoever uses the address keeps the object.
    """

    def __init__(self, name: str, memory: mmap.mmap) -> None:
        self.name = name
        self.views: dict[tuple[Any, ...], tuple[int, Any]] = {}
        self._memory = memory
        self._bytes = len(memory)
        # The export pins the mapping: it cannot be closed under an address that somebody has.
        self._pin = ctypes.c_char.from_buffer(memory)
        self.address = ctypes.addressof(self._pin)

    def reaches(self, end: int) -> None:
        """Raises IpcError SEGMENT unless the segment, as it is now, has at least `end` bytes."""
        size = self._memory.size()
        # A file that has grown since is still mapped in its old size.
        if end > size or end > self._bytes:
            raise IpcError("OPSWAP_E_SEGMENT", f"{self.name}: a tensor ends at byte {end}, the segment has {size}")


class Segments:
    """Mapped segments, the least recently used dropped first. Safe to use from several threads."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._maps: OrderedDict[str, MappedSegment] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._maps)

    def get(self, name: str) -> MappedSegment:
        """The mapping of a segment. Raises IpcError SEGMENT when there is none, or it is not this user's own."""
        with self._lock:
            found = self._maps.get(name)
            if found is None:
                found = self._maps[name] = MappedSegment(name, _map(name))
                if len(self._maps) > self._kept:
                    self._maps.popitem(last=False)
            else:
                self._maps.move_to_end(name)
            return found

    def forget_removed(self) -> None:
        """Drops mappings whose name is gone, so that a closed client's memory is not held on to."""
        with self._lock:
            for name in [name for name in self._maps if not (SHM / name).exists()]:
                del self._maps[name]


def _map(name: str) -> mmap.mmap:
    if not NAME.fullmatch(name):
        raise IpcError("OPSWAP_E_SEGMENT", f"{name!r} is not a segment name of opswap")
    try:
        descriptor = os.open(SHM / name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        remedy = SHARE_SHM if error.errno == errno.ENOENT else None
        raise IpcError("OPSWAP_E_SEGMENT", f"{name}: {error.strerror}", remedy) from error
    try:
        size = _checked_size(name, os.fstat(descriptor))
        _fill(name, descriptor, size)
        return mmap.mmap(descriptor, size)
    except (OSError, ValueError) as error:
        raise IpcError("OPSWAP_E_SEGMENT", f"{name}: cannot be mapped: {error}") from error
    finally:
        os.close(descriptor)


def _fill(name: str, descriptor: int, size: int) -> None:
    """Gives every byte its memory: touching one that a full /dev/shm cannot give would end this process by SIGBUS."""
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.ENOMEM):
            raise
        room = shutil.disk_usage(SHM)
        raise IpcError(
            "OPSWAP_E_MEMORY",
            f"{name} needs {size} bytes of {SHM}, which has {room.free} of {room.total} free",
            ENLARGE_SHM,
        ) from error


def _checked_size(name: str, found: os.stat_result) -> int:
    """Only a private file of this user's: what others can write to is not taken for a tensor."""
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        raise IpcError(
            "OPSWAP_E_SEGMENT",
            f"{name}: expected a file of user {os.geteuid()} with mode 600; got owner {found.st_uid}, mode {mode:o}",
        )
    if not 0 < found.st_size <= LIMITS["segment_bytes"]:
        raise IpcError(
            "OPSWAP_E_SEGMENT", f"{name}: expected 1 to {LIMITS['segment_bytes']} bytes; got {found.st_size}"
        )
    return found.st_size


def sweep() -> list[str]:
    """Removes segments of this user whose owner has ended, and returns their names.

    Raises OSError when /dev/shm cannot be read or written; there is nothing to do where there is none.
    """
    removed = []
    alive: dict[tuple[int, str], bool] = {}
    for name, owner in _owned():
        if owner not in alive:
            alive[owner] = is_alive(*owner)
        if not alive[owner]:
            with contextlib.suppress(FileNotFoundError):
                (SHM / name).unlink()
                removed.append(name)
    return removed


def _owned() -> Iterator[tuple[str, tuple[int, str]]]:
    """Names of this user's segments, with pid and start time of the process that made them."""
    if not SHM.exists():
        return
    with os.scandir(SHM) as entries:
        for entry in entries:
            if not NAME.fullmatch(entry.name):
                continue
            with contextlib.suppress(FileNotFoundError):
                if entry.stat(follow_symlinks=False).st_uid == os.geteuid():
                    _, pid, start, _ = entry.name.split("-")
                    yield entry.name, (int(pid), start)
