"""kernels/README.md names headers that are there, all of them; test_house_new.py makes its worked example run."""

from __future__ import annotations

import re

from house.rules import ROOT

TEXT = (ROOT / "kernels/README.md").read_text("utf-8")
#: What rooms do not include by themselves.
INNER = {"common/sm90/platform.h", "common/sm90/launch.h", "common/sm90/global.h", "common/sm90/shared.h"}
INNER |= {"common/sm90/wgmma_shapes.h"}


def named() -> set[str]:
    return set(re.findall(r"`(common/(?:device|sm90)/\w+\.h)`", TEXT))


def test_the_headers_it_names_are_there() -> None:
    assert named()
    assert [name for name in named() if not (ROOT / "kernels" / name).exists()] == []


def test_every_wrapper_header_is_named() -> None:
    there = {f"common/sm90/{path.name}" for path in (ROOT / "kernels/common/sm90").glob("*.h")}
    assert there - INNER - named() == set()
