"""A seeded bug: an edit of a kernel that is right, and what must be said of it, at which line, by which build."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
KERNELS = HERE.parents[1] / "kernels"


def source_of(file: str) -> str:
    """`kernels/x` is an example of the emulator, everything else lies in the repository's kernels."""
    return ((HERE.parent if file.startswith("kernels/") else KERNELS) / file).read_text("utf-8")


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
    seeds: int = 8  # of 8 under which the bug is named; under the others nothing at all is said
    why: str = ""  # it is not named under every seed, or has a second name
    also: tuple[str, str] | None = None  # words and line of the other thing that this bug may be found as
    line_in: str = ""  # where `at` is, if not in the edited file

    def __post_init__(self) -> None:
        if bool(self.why) != (self.seeds < 8 or bool(self.also)):
            raise SystemExit(f"{self.name}: a bug without a single name under every seed says why, no other does")

    def source(self) -> str:
        text = source_of(self.file)
        if text.count(self.old) != 1:
            raise SystemExit(
                f"{self.name}: {self.file} has its text {text.count(self.old)} times, needs 1: {self.old!r}"
            )
        return text.replace(self.old, self.new)

    def place(self, at: str) -> str:
        if at in ("row", "column", "most", ""):
            return at
        file = self.line_in or self.file
        text = self.source() if file == self.file else source_of(file)
        if at not in text:
            raise SystemExit(f"{self.name}: {file} does not have {at!r}")
        return f"{Path(file).name}:{text[: text.index(at)].count(chr(10)) + 1}"
