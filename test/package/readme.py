"""The commands of README.md, as the tests run them."""

from __future__ import annotations

import re

from package.installed import ROOT


def block(title: str) -> str:
    """The first block of commands below a heading or a bold title."""
    text = (ROOT / "README.md").read_text()
    found = re.search(rf"^(?:#+ |\*\*){re.escape(title)}.*?^```\n(.*?)^```$", text, re.M | re.S)
    assert found, title
    return found[1]


def variables(commands: str) -> dict[str, str]:
    """What the block exports."""
    return dict(re.findall(r"^export (\w+)=(\S+)", commands, re.M))
