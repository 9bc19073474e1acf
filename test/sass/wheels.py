"""The peers' wheels: fetched by pip, known by their digests before anything in them is read, never executed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

#: Of one library in a wheel, and of all headers that are taken out of one.
MOST_LIBRARY, MOST_HEADERS = 256 << 20, 64 << 20
_CHUNK = 1 << 20


class BadWheel(ValueError):
    """A wheel that is not the one whose figures are committed."""


@dataclass(frozen=True)
class Wheel:
    project: str  # `fa3-fwd==0.0.3`
    file: str
    sha256: str

    @property
    def name(self) -> str:
        return self.project.replace("==", " ")


def download(wheels: list[Wheel], folder: Path) -> None:
    """pip compares digests too."""
    needs = folder / "wheels.txt"
    needs.write_text("".join(f"{wheel.project} --hash=sha256:{wheel.sha256}\n" for wheel in wheels))
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *options, "-r", str(needs)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise BadWheel(f"pip download gave no {', '.join(w.project for w in wheels)}:\n{ran.stderr.strip()}")


def digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_CHUNK):
            found.update(part)
    return found.hexdigest()


def checked(wheel: Wheel, folder: Path) -> Path:
    """The wheel's path, once it is known to be the one whose figures are committed."""
    path = folder / wheel.file
    if not path.is_file():
        others = ", ".join(sorted(p.name for p in folder.glob("*.whl"))) or "no wheels"
        raise BadWheel(f"the figures are of {wheel.file}, {folder} has {others}; another version has other loops")
    if (came := digest(path)) != wheel.sha256:
        raise BadWheel(f"{wheel.file} needs sha256 {wheel.sha256}, came {came}; nothing of it was read")
    return path


def _taken(archive: zipfile.ZipFile, info: zipfile.ZipInfo, into: Path, most: int) -> int:
    if info.file_size > most:
        raise BadWheel(f"{archive.filename}: {info.filename} has {info.file_size} bytes, at most {most} are taken out")
    archive.extract(info, into)  # which keeps names inside of the folder
    return info.file_size


def library(path: Path, member: str, into: Path) -> Path:
    with zipfile.ZipFile(path) as archive:
        if member not in archive.namelist():
            raise BadWheel(f"{path.name} has no {member}")
        _taken(archive, archive.getinfo(member), into, MOST_LIBRARY)
    return into / member


def headers(path: Path, prefix: str, into: Path) -> Path:
    left = MOST_HEADERS
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.filename.startswith(prefix) and not info.is_dir():
                left -= _taken(archive, info, into, left)
    return into / prefix
