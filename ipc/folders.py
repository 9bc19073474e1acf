"""The runtime folders: where servers put their sockets and records, and where clients look for them.

A server takes the first of them; a client looks into all. So a service that was started without a session and a shell
that has one find each other. OPSWAP_RUNTIME_DIR stands for one folder alone, on both sides.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from .errors import IpcError

#: Where systemd keeps the users' runtime folders, and where there is room without one.
SESSIONS, SHARED = Path("/run/user"), Path("/tmp")


def runtime_dirs() -> list[Path]:
    """OPSWAP_RUNTIME_DIR alone; else `opswap` in XDG_RUNTIME_DIR and in /run/user/UID, where those are folders of this
    user's, then /tmp/opswap-UID. They need not exist."""
    if explicit := os.environ.get("OPSWAP_RUNTIME_DIR"):
        return [Path(explicit).absolute()]
    user = os.geteuid()
    sessions = [Path(os.environ.get("XDG_RUNTIME_DIR", "")), SESSIONS / str(user)]
    own = [folder / "opswap" for folder in sessions if folder.is_absolute() and _is_of(user, folder)]
    return list(dict.fromkeys([*own, SHARED / f"opswap-{user}"]))


def runtime_dir() -> Path:
    """The first of them, made if need be. Raises IpcError RUNTIME_DIR when others could write to it."""
    folder = runtime_dirs()[0]
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700, parents=True)
        found = folder.lstat()
    except OSError as error:
        raise unusable(folder, error) from error
    if not _is_private(found):
        raise IpcError(
            "OPSWAP_E_RUNTIME_DIR",
            f"{folder} must be a folder of this user's with mode 700; "
            f"it has owner {found.st_uid} and mode {stat.S_IMODE(found.st_mode):o}",
        )
    return folder


def other_dirs(folder: Path) -> list[Path]:
    """The runtime folders besides `folder` that are there and private to this user."""
    return [other for other in runtime_dirs() if other != folder and _is_safe(other)]


def unusable(folder: Path, error: OSError) -> IpcError:
    what = f"{error.filename or folder}: {error.strerror}"
    return IpcError("OPSWAP_E_RUNTIME_DIR", f"the runtime folder {folder} cannot be used: {what}")


def _is_of(user: int, folder: Path) -> bool:
    with contextlib.suppress(OSError):
        found = folder.stat()
        return stat.S_ISDIR(found.st_mode) and found.st_uid == user
    return False


def _is_private(found: os.stat_result) -> bool:
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o077


def _is_safe(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return _is_private(folder.lstat())
    return False
