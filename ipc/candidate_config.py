"""The engine's own configuration of candidates: which folders they may come from, and whose signatures count.

It is a file of the engine's user that the environment of the engine names, so that no client can widen it.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import IpcError
from .plain_file import read_plain

#: Names the file; where it is not set, nothing can be registered.
CONFIGURATION = "OPSWAP_CANDIDATES"
MAX_BYTES = 64 << 10
MOST_FOLDERS = MOST_KEYS = 64
KEY_BYTES = 32
#: Names under which candidates are listed.
NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True)
class Configuration:
    """Folders as they are without links, and ed25519 public keys by name."""

    folders: tuple[Path, ...]
    trusted_keys: dict[str, bytes] = field(default_factory=dict)

    def folder_of(self, path: Path) -> Path:
        """The listed folder that `path`, which has no links any more, lies in. Raises IpcError CANDIDATE."""
        for folder in self.folders:
            if folder in path.parents or folder == path:
                return folder
        listed = ", ".join(map(str, self.folders)) or "none"
        raise refused(f"{path} lies in none of the folders that the engine's configuration lists ({listed})")


def refused(reason: str) -> IpcError:
    return IpcError("OPSWAP_E_CANDIDATE", reason)


def configured(environment: Mapping[str, str] = os.environ) -> Configuration:
    """What the engine's environment names. Raises IpcError CANDIDATE where it names nothing or nothing sound."""
    named = environment.get(CONFIGURATION)
    if not named:
        raise refused(f"this engine takes no candidates; start it with {CONFIGURATION}=FILE (docs/candidates.md)")
    try:
        value = json.loads(read_plain(Path(named), MAX_BYTES))
    except (ValueError, RecursionError) as error:
        raise refused(f"{named}: is not JSON: {error}") from error
    if not isinstance(value, dict) or not set(value) <= {"folders", "trusted_keys"} or "folders" not in value:
        keys = list(value) if isinstance(value, dict) else type(value).__name__
        raise refused(f"{named}: expected an object of folders and, if there are any, trusted_keys; got {keys}")
    return Configuration(_folders(named, value["folders"]), _keys(named, value.get("trusted_keys", {})))


def _folders(named: str, value: Any) -> tuple[Path, ...]:
    if not isinstance(value, list) or len(value) > MOST_FOLDERS or not all(map(_is_absolute, value)):
        raise refused(f"{named}: folders: expected at most {MOST_FOLDERS} absolute paths")
    return tuple(Path(os.path.realpath(each)) for each in value)


def _is_absolute(path: Any) -> bool:
    return isinstance(path, str) and Path(path).is_absolute() and "\0" not in path


def _keys(named: str, value: Any) -> dict[str, bytes]:
    if not isinstance(value, dict) or len(value) > MOST_KEYS:
        raise refused(f"{named}: trusted_keys: expected an object of at most {MOST_KEYS} keys by name")
    return {name: _key(named, name, text) for name, text in value.items()}


def _key(named: str, name: str, text: Any) -> bytes:
    try:
        key = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES:
        raise refused(f"{named}: trusted_keys: {name}: expected the base64 of an ed25519 public key, {KEY_BYTES} bytes")
    return key
