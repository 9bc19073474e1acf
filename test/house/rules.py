"""What the house rules look at: files of the checkout, and measures of their text, each with a test of its own."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_COMMENT_OR_STRING = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)
_BEFORE_BODY = re.compile(r"([\w:~]+)\s*\([^;{}]*\)\s*(?:const|noexcept|override|->\s*[\w:<>*& ]+|\s)*$")
_NOT_FUNCTIONS = {"if", "for", "while", "switch", "catch"}
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def files(*patterns: str) -> list[Path]:
    """Tracked and new files that match, ignored ones left out."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "--deduplicate", "-z", "--", *patterns]
    out = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for name in out.split("\0") if name and (path := ROOT / name).is_file()]


def function_lengths(source: str) -> dict[str, int]:
    """Lines of each outermost C++ function body, braces included, by name."""
    text = _COMMENT_OR_STRING.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), source)
    text = re.sub(r"^\s*#.*?(?<!\\)$", lambda match: re.sub(r"[^\n]", " ", match.group()), text, flags=re.M | re.S)
    lengths: dict[str, int] = {}
    at = 0
    while (start := text.find("{", at)) >= 0:
        name = _function_name(text[max(0, start - 600) : start])
        if name is None:
            at = start + 1
            continue
        end = _closing(text, start)
        lengths[name] = max(lengths.get(name, 0), text.count("\n", start, end) + 1)
        at = end + 1
    return lengths


def _function_name(before: str) -> str | None:
    found = _BEFORE_BODY.search(before)
    return None if found is None or found.group(1) in _NOT_FUNCTIONS else found.group(1)


def _closing(text: str, start: int) -> int:
    depth = 0
    for at in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return at
    return len(text) - 1


def dead_links(page: Path, text: str) -> list[str]:
    """Relative links of a Markdown text that lead nowhere."""
    links = [link.split("#")[0] for link in _LINK.findall(text) if not re.match(r"[a-z]+:|#", link)]
    return [link for link in links if not (page.parent / link).exists()]
