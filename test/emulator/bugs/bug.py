"""A seeded bug: an edit of a kernel that is right, and what must be said of it, at which line, by which build."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
KERNELS = HERE.parents[2] / "kernels"
FOLDERS = {"kernels": HERE.parent, "common": KERNELS}


@dataclass(frozen=True)
class Bug:
    name: str
    drive: str
    file: str
    old: str
    new: str
    words: str  # of the report; "data race" and ASan's kinds are a sanitizer's
    at: str  # part of the edited file's line that the report names, or "row" or "column" of a wrong result
    build: str = "plain"
    every_seed: bool = True
    line_in: str = ""  # where `at` is, if not in the edited file

    def source(self) -> str:
        text = (FOLDERS[self.file.split("/")[0]] / self.file).read_text("utf-8")
        if text.count(self.old) != 1:
            raise SystemExit(
                f"{self.name}: {self.file} has its text {text.count(self.old)} times, needs 1: {self.old!r}"
            )
        return text.replace(self.old, self.new)

    def place(self) -> str:
        if self.at in ("row", "column", "most"):
            return self.at
        file = self.line_in or self.file
        text = self.source() if file == self.file else (FOLDERS[file.split("/")[0]] / file).read_text("utf-8")
        if self.at not in text:
            raise SystemExit(f"{self.name}: {file} does not have {self.at!r}")
        return f"{Path(file).name}:{text[: text.index(self.at)].count(chr(10)) + 1}"
