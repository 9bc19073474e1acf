"""The user's folder of evidence, which the library reads at load: MODEL/OP.json, each under its own digest."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from .refusal import Refused
from .report import readable, write_evidence

#: Keys beyond those of the repository's evidence/.
OWN = ("digest", "build", "version", "refused", "date")
MOST_BYTES = 1 << 20


def folder() -> Path:
    """OPSWAP_EVIDENCE_DIR, else opswap/evidence in the user's state folder; native/core/local_evidence.cpp reads it."""
    if own := os.environ.get("OPSWAP_EVIDENCE_DIR"):
        return Path(own)
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local/state")
    return Path(state) / "opswap/evidence"


def refuse_unwritable(place: Path) -> None:
    """Before anything is measured."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            return
    except OSError as error:
        why = f"the folder of evidence {place} cannot be written ({error.strerror}); what is in it is read"
    remedy = "mount it for writing for this run, or set OPSWAP_EVIDENCE_DIR to a folder that can be written"
    raise Refused("OPSWAP_E_IO", why, remedy)


def sealed(data: dict[str, Any]) -> str:
    """The text of a file: its first line is the digest of what follows it."""
    body = readable(data).split("\n", 1)[1]
    return f'{{"digest": "{hashlib.sha256(body.encode()).hexdigest()}",\n{body}'


def keep(place: Path, data: dict[str, Any]) -> Path:
    try:
        return write_evidence(place, data, sealed(data))
    except OSError as error:
        raise Refused("OPSWAP_E_IO", f"{error.filename}: {error.strerror}", "make room there, and run again") from None


def files(place: Path) -> list[Path]:
    return sorted(place.glob("*/*.json"))


def shown(path: Path, most: int = 256) -> str:
    """A name as the library shows it: printable ASCII, and no more than so many bytes."""
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else "?" for byte in os.fsencode(path)[:most])


def read(path: Path) -> dict[str, Any]:
    """The content of a file that the library accepted."""
    with path.open("rb") as file:
        data: dict[str, Any] = json.loads(file.read(MOST_BYTES))
    return data
