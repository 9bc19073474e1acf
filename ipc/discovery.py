"""Where servers are found: a private folder (folders.py) with a socket and a record (JSON) per server.

`<name>.sock` is the socket, `<name>.json` the record, `<name>.lock` the lock that makes the name unique. The record's
modification time is the server's sign of life, and its state says whether there is somebody to talk to yet. The folder
may be on a path that others can write to, such as /tmp, so it is used only when it belongs to this user and to nobody
else.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import time
from pathlib import Path
from typing import IO, Any

from .errors import IpcError
from .folders import other_dirs, runtime_dir, unusable
from .messages import PROTOCOL
from .process import start_time

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
RECORD_BYTES = 65_536
SOCKET_PATH_MAX = 107  # sun_path less its final zero
#: How a server of each service gets its name.
ANOTHER_NAME = {
    "engine": "choose a name by OPSWAP_ENGINE_NAME, or by the argument name of `attach`",
    "sidecar": "choose a name by `opswap sidecar --name NAME`, and reach it by `opswap call --sidecar NAME`",
}
_held_here: set[Path] = set()


def socket_path(name: str, suffix: str, folder: Path | None = None) -> Path:
    """A socket of the server `name`, in the folder where this process holds that name, else where a server of it is.

    Raises IpcError RUNTIME_DIR when the path is too long, or the name is none.
    """
    path = (folder or _folder_of(name)) / f"{name}{suffix}"
    if not NAME.fullmatch(name) or len(os.fsencode(path)) > SOCKET_PATH_MAX:
        raise IpcError(
            "OPSWAP_E_RUNTIME_DIR",
            f"{path}: a socket path has at most {SOCKET_PATH_MAX} bytes",
            "set OPSWAP_RUNTIME_DIR to a shorter folder",
        )
    return path


def _folder_of(name: str) -> Path:
    held = [record.parent for record in _held_here if record.stem == name]
    if held:
        return held[0]
    own = runtime_dir()
    return next((folder for folder in (own, *other_dirs(own)) if _server_of(folder / f"{name}.json")), own)


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
        self._state = "ready"
        self._refuse_twin(folder)
        try:
            self._lock = self._take(folder / f"{name}.lock")
            self.socket.unlink(missing_ok=True)
        except OSError as error:
            raise unusable(folder, error) from error

    @property
    def address(self) -> str:
        """The ZeroMQ endpoint."""
        return f"ipc://{self.socket}"

    def state_file(self) -> Path:
        """Where the server remembers things from run to run; brought along where its last run was in another folder."""
        own = self.record.with_suffix(".state")
        lost = [other / own.name for other in other_dirs(own.parent) if (other / own.name).exists()]
        if lost and not own.exists():
            draft = self.record.with_suffix(f".{os.getpid()}.tmp")
            try:
                draft.write_bytes(lost[0].read_bytes())
                draft.replace(own)
                lost[0].unlink()
            except OSError as error:
                raise unusable(own.parent, error) from error
        return own

    def publish(self, state: str = "ready") -> None:
        """Writes the record: `starting`, or, when the socket is bound and there is somebody to talk to, `ready`.

        Raises IpcError RUNTIME_DIR when it cannot be written, and leaves nothing half written.
        """
        self._state = state
        draft = self.record.with_suffix(f".{os.getpid()}.tmp")
        try:
            draft.write_text(json.dumps(self._describe()), "utf-8")
            draft.replace(self.record)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise unusable(self.record.parent, error) from error

    def touch(self) -> None:
        """A sign of life; writes the record again when somebody removed it."""
        try:
            os.utime(self.record)
        except FileNotFoundError:
            self.publish(self._state)

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

    def _refuse_twin(self, folder: Path) -> None:
        """A client would find one of this name in another folder too, and could not tell which one is meant."""
        for other in other_dirs(folder):
            if pid := _server_of(other / self.record.name):
                raise self._taken(pid, other)

    def _take(self, path: Path) -> IO[bytes]:
        # A record lock ends with its process and is not inherited by workers that the engine forks, unlike flock.
        # Within one process it does not exclude anybody: the set does.
        if self.record in _held_here:
            raise self._taken(os.getpid(), path.parent)
        lock = path.open("ab")
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            if error.errno not in (errno.EACCES, errno.EAGAIN):  # a file system without locks, for example
                raise
            raise self._taken(_pid_in(self.record), path.parent) from None
        _held_here.add(self.record)
        return lock

    def _taken(self, pid: int | None, folder: Path) -> IpcError:
        who = f"process {pid}" if pid else "another process"
        message = f"{self.service} {self.name} is running already ({who}, in {folder})"
        return IpcError("OPSWAP_E_ENGINE_TAKEN", message, ANOTHER_NAME[self.service])

    def _describe(self) -> dict[str, Any]:
        return {
            "protocol": PROTOCOL,
            "service": self.service,
            "name": self.name,
            "pid": os.getpid(),
            "start_time": start_time(os.getpid()),
            "started": self._started,
            "state": self._state,
        }


def _pid_in(record: Path) -> int | None:
    pid = _field(record, "pid")
    return pid if isinstance(pid, int) else None


def _server_of(record: Path) -> int | None:
    """The process that a record is of; None when there is no record, or the process has ended."""
    pid, since = _pid_in(record), _field(record, "start_time")
    return pid if pid is not None and since is not None and start_time(pid) == since else None


def _field(record: Path, name: str) -> object:
    """A field of a record; None where it cannot be read."""
    with contextlib.suppress(OSError, ValueError, AttributeError), record.open("rb") as file:
        return json.loads(file.read(RECORD_BYTES)).get(name)
    return None
