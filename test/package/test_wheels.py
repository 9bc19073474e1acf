"""The files of build/packages themselves: checksums and sizes, what a wheel holds and says of itself, the bills."""

from __future__ import annotations

import hashlib
import json
import zipfile
from email import message_from_string
from pathlib import Path

from package.installed import ROOT, wheel_for


def content(packages: Path, tag: str, ending: str) -> bytes:
    with zipfile.ZipFile(wheel_for(packages, tag)) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith(ending)]
        return wheel.read(name)


def test_checksums_are_of_every_file(packages: Path) -> None:
    told = dict(line.split("  ")[::-1] for line in (packages / "SHA256SUMS").read_text().splitlines())
    files = {file.name: file for file in packages.iterdir() if file.name != "SHA256SUMS"}
    assert told == {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()}


def test_the_library_is_the_built_one(packages: Path, tag: str) -> None:
    assert content(packages, tag, "opswap/libopswap.so") == (ROOT / "build/native/libopswap.so").read_bytes()


def test_what_a_wheel_says_of_itself(packages: Path, tag: str) -> None:
    told = message_from_string(content(packages, tag, ".dist-info/METADATA").decode())
    assert (told["Name"], told["License-Expression"]) == ("opswap", "Apache-2.0")
    assert told["Requires-Python"] == "<3.14,>=3.10"
    assert told["Version"] == json.loads((ROOT / "package.json").read_text())["version"]
    needs = told.get_all("Requires-Dist")
    assert [need for need in needs if "extra" not in need] == ["pyzmq>=27", "msgpack>=1.1"]
    extra = {need.split(";")[0].strip() for need in needs if 'extra == "evidence"' in need}
    assert extra == {"numpy", "ml_dtypes", "torch"}


def test_a_wheel_has_one_tag(packages: Path, tag: str) -> None:
    lines = content(packages, tag, ".dist-info/WHEEL").decode().splitlines()
    (told,) = [line.removeprefix("Tag: ") for line in lines if line.startswith("Tag: ")]
    assert told.startswith(f"{tag}-{tag}-manylinux_") and told in wheel_for(packages, tag).name


def test_the_entry_points_are_those_of_the_adapters(packages: Path, tag: str) -> None:
    told = content(packages, tag, ".dist-info/entry_points.txt").decode()
    for file in ROOT.glob("adapters/*/entry_points.txt"):
        lines = [line.replace(" ", "") for line in file.read_text().splitlines() if line.strip() and line[0] != "#"]
        assert set(lines) <= set(told.replace(" ", "").splitlines()), file


def test_the_bill_names_what_is_inside(packages: Path, tag: str) -> None:
    bill = json.loads(content(packages, tag, ".dist-info/sboms/opswap.cdx.json"))
    parts = {part["name"]: part for part in bill["components"]}
    assert bill["bomFormat"] == "CycloneDX" and {"libopswap.so", "pybind11", "pyzmq", "msgpack"} <= set(parts)
    library = (ROOT / "build/native/libopswap.so").read_bytes()
    assert parts["libopswap.so"]["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(library).hexdigest()}]
    everything = {part["name"] for part in json.loads((packages / "opswap.cdx.json").read_text())["components"]}
    assert set(parts) | {"zeromq", "msgpackr", "ink"} <= everything


def test_sizes_are_those_of_the_files(packages: Path) -> None:
    sizes = json.loads((packages / "sizes.json").read_text())
    for name, size in {**sizes["wheels"], **sizes["tarballs"]}.items():
        assert (packages / name).stat().st_size == size
    parts = sizes["library"]
    assert parts["cpu"]["bytes"] + parts["cuda"]["bytes"] == parts["all"]["bytes"]
