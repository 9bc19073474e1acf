"""kernels/README.md shows a kernel that the emulator's tests run, and names headers that are there."""

from __future__ import annotations

import re

from house.rules import ROOT

TEXT = (ROOT / "kernels/README.md").read_text("utf-8")


def test_the_worked_example_is_the_file_it_names() -> None:
    shown = TEXT.split("```cpp\n")[1].split("```")[0]
    assert shown in (ROOT / "test/emulator/kernels/norm_rows.h").read_text("utf-8")
    assert "norm_rows_example" in shown


def test_the_headers_it_names_are_there() -> None:
    named = re.findall(r"`(common/(?:device|sm90)/\w+\.h)`", TEXT)
    assert named
    assert [name for name in named if not (ROOT / "kernels" / name).exists()] == []
