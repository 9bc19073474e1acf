"""Which recordings a quarantine replays, and which are too old to be kept. Only names and sizes are looked at here."""

from __future__ import annotations

import os
import re
import stat
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

NAME = re.compile(r"(?P<op>\w+)-(?P<bucket>.+)-(?P<time>\d+)-rank\d+-\d+\.safetensors")
MOST_FILES = 100_000


def recordings_of(folder: Path, op: str, most: int) -> list[str]:
    """Paths of `most` recordings of an op: the newest of every bucket, then the next ones of each."""
    of_bucket: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for entry, named in _own(folder):
        if named["op"] == op:
            of_bucket[named["bucket"]].append((int(named["time"]), entry.path))
    rows = [sorted(files, reverse=True) for _, files in sorted(of_bucket.items())]
    turns = [row[turn][1] for turn in range(most) for row in rows if turn < len(row)]
    return turns[:most]


def remove_older(folder: Path, seconds: float) -> int:
    """Removes recordings that were written longer ago; how many."""
    limit, removed = time.time() - seconds, 0
    for entry, _ in _own(folder):
        with suppress(OSError):  # whoever removed it meanwhile did what is done here
            if entry.stat(follow_symlinks=False).st_mtime < limit:
                Path(entry.path).unlink()
                removed += 1
    return removed


def _own(folder: Path) -> Iterator[tuple[os.DirEntry[str], re.Match[str]]]:
    """Files of this user's with a recording's name."""
    with suppress(OSError), os.scandir(folder) as entries:
        for number, entry in enumerate(entries):
            named = NAME.fullmatch(entry.name)
            if number >= MOST_FILES:
                return
            if named is not None and _is_own(entry):
                yield entry, named


def _is_own(entry: os.DirEntry[str]) -> bool:
    with suppress(OSError):  # one that was removed meanwhile does not hide the others
        found = entry.stat(follow_symlinks=False)
        return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
    return False
