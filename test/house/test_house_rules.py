"""Rules over the whole checkout. A rule that stops being true stops the build, not a reviewer."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from house.rules import ROOT, dead_links, files, function_lengths

TS_LINES = 300
CPP_FUNCTION_LINES = 60


def test_typescript_files_are_short() -> None:
    own = [path for path in files("*.ts", "*.tsx", "*.mjs") if "generated" not in path.parts]
    assert own
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in own}
    assert {name: lines for name, lines in long.items() if lines > TS_LINES} == {}


def test_host_functions_are_short() -> None:
    sources = files("native/*.cpp", "native/*.h", "kernels/*.cpp", "kernels/*.h")
    lengths = {
        f"{path.relative_to(ROOT)}: {name}": lines
        for path in sources
        for name, lines in function_lengths(path.read_text()).items()
    }
    assert len(lengths) > len(sources)
    assert {name: lines for name, lines in lengths.items() if lines > CPP_FUNCTION_LINES} == {}


ASM = re.compile(r"\basm\b(\s+volatile)?\s*\(")


def test_assembly_is_in_one_place() -> None:
    fibers = ROOT / "emulator/runtime/switch.h"  # the host's, not the card's
    sources = [p for p in files("*.cpp", "*.h", "*.cu", "*.cuh") if "sm90" not in p.parts and p != fibers]
    assert sources
    assert [str(p.relative_to(ROOT)) for p in sources if ASM.search(p.read_text())] == []


def test_the_assembly_of_the_host_is_one_statement_for_one_file() -> None:
    fibers = ROOT / "emulator/runtime/switch.h"
    assert len(ASM.findall(fibers.read_text())) == 1
    users = [p for p in files("*.cpp", "*.h", "*.cu", "*.cuh") if re.search(r'#include ".*\bswitch\.h"', p.read_text())]
    assert [p.name for p in users] == ["scheduler.cpp"]


def test_every_relative_link_leads_somewhere() -> None:
    dead = {str(page.relative_to(ROOT)): dead_links(page, page.read_text()) for page in files("*.md")}
    assert "README.md" in dead
    assert {page: links for page, links in dead.items() if links} == {}


@pytest.mark.parametrize(
    ("folder", "command"),
    [("native", ["-m", "gen", str(ROOT), "check"]), (".", ["ipc/generate.py", "--check"])],
    ids=["ops", "protocol"],
)
def test_generated_files_are_fresh(folder: str, command: list[str]) -> None:
    ran = subprocess.run([sys.executable, *command], cwd=ROOT / folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_locks_hold_hashes_and_no_addresses() -> None:
    locks = files("env/*.lock")
    assert locks
    for lock in locks:
        text = lock.read_text()
        assert "://" not in text, lock
        entries = re.findall(r"^[A-Za-z0-9][^\n]*==[^\n]*(?:\n    --hash=\S+(?: \\)?)+", text, re.M)
        assert entries, lock
        assert len(entries) == len(re.findall(r"^[A-Za-z0-9]", text, re.M)), lock
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    assert [name for name, entry in packages.items() if "resolved" in entry] == []


def test_node_packages_are_pinned() -> None:
    package = json.loads((ROOT / "package.json").read_text())
    pins = {**package["dependencies"], **package["devDependencies"]}
    assert {name: pin for name, pin in pins.items() if not re.fullmatch(r"\d+\.\d+\.\d+", pin)} == {}


def test_a_wheel_is_built_with_the_toolchain_of_the_environment() -> None:
    pins = re.findall(r"^[a-z0-9-]+==[\w.]+", (ROOT / "env/cuda.in").read_text(), re.M)
    assert pins
    assert set(re.findall(r'"(nvidia-[a-z0-9-]+==[\w.]+)', (ROOT / "pyproject.toml").read_text())) == set(pins)


def test_readme_and_command_line_agree() -> None:
    readme = (ROOT / "README.md").read_text()
    verbs = {path.stem for path in (ROOT / "ts-client/src/commands").glob("*.ts") if is_verb(path)}
    shown = set(re.findall(r"npx opswap ([a-z-]+)", readme))
    assert shown == verbs
    scripts = set(json.loads((ROOT / "package.json").read_text())["scripts"])
    text = readme + (ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"npm run ([a-z:]+)", text)) | set(re.findall(r"npm (start|test)\b", text))
    assert named == scripts


def is_verb(path: Path) -> bool:
    name = re.sub(r"-(.)", lambda found: found[1].upper(), path.stem)
    return f"{name}Command(context" in path.read_text()
