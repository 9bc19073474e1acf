"""Where servers are found: a private folder with a socket and a record (JSON) per server.

`<name>.sock` is the socket, `<name>.json` the record, `<name>.lock` the lock that makes the name unique. The record's
modification time is the server's sign of life. The folder may be on a path that others can write to, such as /tmp, so
it is used only when it belongs to this user and to nobody else.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import stat
import time
from pathlib import Path
from typing import IO, Any

from .errors import IpcError
from .messages import PROTOCOL
from .process import start_time

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SOCKET_PATH_MAX = 107  # sun_path less its final zero
#: How a server of each service gets its name.
ANOTHER_NAME = {
    "engine": "choose a name by OPSWAP_ENGINE_NAME, or by the argument name of `attach`",
    "sidecar": "choose a name by `opswap sidecar --name NAME`, and reach it by `opswap call --sidecar NAME`",
}
_held_here: set[Path] = set()


def runtime_dir() -> Path:
    """The folder of sockets and records; made if need be. Raises IpcError RUNTIME_DIR when others could write to it."""
    folder = _choose_dir()
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700, parents=True)
        found = folder.lstat()
    except OSError as error:
        raise _unusable(folder, error) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise IpcError(
            "OPSWAP_E_RUNTIME_DIR",
            f"{folder} must be a folder of this user's with mode 700; "
            f"it has owner {found.st_uid} and mode {stat.S_IMODE(found.st_mode):o}",
        )
    return folder


def _unusable(folder: Path, error: OSError) -> IpcError:
    what = f"{error.filename or folder}: {error.strerror}"
    return IpcError("OPSWAP_E_RUNTIME_DIR", f"the runtime folder {folder} cannot be used: {what}")


def _choose_dir() -> Path:
    explicit, session = os.environ.get("OPSWAP_RUNTIME_DIR"), os.environ.get("XDG_RUNTIME_DIR")
    if explicit:
        return Path(explicit).absolute()
    if session and Path(session).is_dir():
        return Path(session) / "opswap"
    return Path(f"/tmp/opswap-{os.getuid()}")


def socket_path(name: str, suffix: str, folder: Path | None = None) -> Path:
    """A socket of the server `name`. Raises IpcError RUNTIME_DIR when the path is too long, or the name is none."""
    path = (folder or runtime_dir()) / f"{name}{suffix}"
    if not NAME.fullmatch(name) or len(os.fsencode(path)) > SOCKET_PATH_MAX:
        raise IpcError(
            "OPSWAP_E_RUNTIME_DIR",
            f"{path}: a socket path has at most {SOCKET_PATH_MAX} bytes",
            "set OPSWAP_RUNTIME_DIR to a shorter folder",
        )
    return path


class Registration:
    """A server's place in the runtime folder: taken once, given up when the server stops or its process ends."""

    def __init__(self, service: str, name: str, folder: Path | None = None) -> None:
        """Takes the name, and clears away what a dead server of this name left.

        Raises IpcError ENGINE_TAKEN when a running process has it, USAGE when it cannot be a file name, RUNTIME_DIR
        when the folder cannot be written.
        """
        if not NAME.fullmatch(name):
            raise IpcError(
                "OPSWAP_E_USAGE",
                f"{service} name: expected 1 to 64 letters, digits, '.', '_' or '-'; got {name!r}",
                ANOTHER_NAME[service],
            )
        self.service, self.name = service, name
        folder = folder or runtime_dir()
        self.socket, self.record = socket_path(name, ".sock", folder), folder / f"{name}.json"
        self._started = int(time.time() * 1000)
        try:
            self._lock = self._take(folder / f"{name}.lock")
            self.socket.unlink(missing_ok=True)
        except OSError as error:
            raise _unusable(folder, error) from error

    @property
    def address(self) -> str:
        """The ZeroMQ endpoint."""
        return f"ipc://{self.socket}"

    def publish(self) -> None:
        """Writes the record; call when the socket is bound, since a record says that there is somebody to talk to.

        Raises IpcError RUNTIME_DIR when it cannot be written, and leaves nothing half written.
        """
        draft = self.record.with_suffix(f".{os.getpid()}.tmp")
        try:
            draft.write_text(json.dumps(self._describe()), "utf-8")
            draft.replace(self.record)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise _unusable(self.record.parent, error) from error

    def touch(self) -> None:
        """A sign of life; writes the record again when somebody removed it."""
        try:
            os.utime(self.record)
        except FileNotFoundError:
            self.publish()

    def close(self) -> None:
        """Gives the name up. Idempotent."""
        if self._lock.closed:
            return
        # A folder that was taken away meanwhile has taken the names with it.
        with contextlib.suppress(OSError):
            self.record.unlink(missing_ok=True)
            self.socket.unlink(missing_ok=True)
        _held_here.discard(self.record)
        self._lock.close()

    def _take(self, path: Path) -> IO[bytes]:
        # A record lock ends with its process and is not inherited by workers that the engine forks, unlike flock.
        # Within one process it does not exclude anybody: the set does.
        if self.record in _held_here:
            raise self._taken(os.getpid())
        lock = path.open("ab")
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            if error.errno not in (errno.EACCES, errno.EAGAIN):  # a file system without locks, for example
                raise
            raise self._taken(_pid_in(self.record)) from None
        _held_here.add(self.record)
        return lock

    def _taken(self, pid: int | None) -> IpcError:
        who = f"process {pid}" if pid else "another process"
        message = f"{self.service} {self.name} is running already ({who})"
        return IpcError("OPSWAP_E_ENGINE_TAKEN", message, ANOTHER_NAME[self.service])

    def _describe(self) -> dict[str, Any]:
        return {
            "protocol": PROTOCOL,
            "service": self.service,
            "name": self.name,
            "pid": os.getpid(),
            "start_time": start_time(os.getpid()),
            "started": self._started,
        }


def _pid_in(record: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
        pid = json.loads(record.read_text("utf-8")).get("pid")
        return pid if isinstance(pid, int) else None
    return None
