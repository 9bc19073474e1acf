"""The files of build/packages themselves: what is in them, and that their checksums hold."""

from __future__ import annotations

import hashlib
from pathlib import Path


def test_checksums_are_of_every_file(packages: Path) -> None:
    told = dict(line.split("  ")[::-1] for line in (packages / "SHA256SUMS").read_text().splitlines())
    files = {file.name: file for file in packages.iterdir() if file.name != "SHA256SUMS"}
    assert told == {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()}
