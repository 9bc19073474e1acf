"""The folder of a second build: its description, which is signed, and the library that the description is about."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .candidate_config import NAME, Configuration, refused
from .candidate_files import BUILD_BYTES, Row
from .errors import IpcError
from .plain_file import digest_of, read_plain

DESCRIPTION, SIGNATURE = "build.json", "build.json.sig"
DESCRIPTION_BYTES, SIGNATURE_BYTES = 64 << 10, 1 << 10
SCHEMA = 1
#: The library lists its own variants as cpu@avx2.
ISAS = ("portable", "avx2", "avx512")
#: What opswap.version() gives.
Version = dict[str, Any]
FIELDS = {
    "schema": int,
    "name": str,
    "library": str,
    "sha256": str,
    "pack_version": str,
    "abi_major": int,
    "build_digest": str,
    "ops": dict,
}


def build_row(
    folder: Path, name: str | None, configuration: Configuration, ours: Version, op_versions: Mapping[str, int]
) -> Row:
    """The row of a build whose signature, digest, ABI and op versions hold. Raises IpcError."""
    text = read_plain(folder / DESCRIPTION, DESCRIPTION_BYTES)
    signer = _signer(folder, text, configuration.trusted_keys)
    build = _described(folder, text)
    _refuse_other(folder, build, ours, op_versions)
    library = folder / build["library"]
    digest = digest_of(library, BUILD_BYTES)
    if digest != build["sha256"]:
        raise refused(f"{library}: has sha256 {digest[:16]}, {DESCRIPTION} says {build['sha256'][:16]}")
    listed = name or build["name"]
    if listed in ISAS:
        raise refused(f"{folder}: {listed} names an instruction set: give another name")
    told = {"kind": "build", "path": str(library), "name": listed, "digest": digest, "signer": signer}
    ops = [op for op in build["ops"] if op in op_versions]
    return {**told, "build_digest": build["build_digest"], "ops": ops}


def _signer(folder: Path, text: bytes, trusted: Mapping[str, bytes]) -> str:
    """The name of the trusted key that signed `text`. Raises IpcError SIGNATURE, MISSING where cryptography is not
    installed."""
    from opswap.errors import require

    require("a signed build", "cryptography")
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        signature = base64.b64decode(read_plain(folder / SIGNATURE, SIGNATURE_BYTES).strip(), validate=True)
    except binascii.Error:
        raise _unsigned(f"{folder / SIGNATURE}: is not base64") from None
    for name, key in trusted.items():
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, text)
        except InvalidSignature:
            continue
        return name
    keys = ", ".join(trusted) or "none"
    raise _unsigned(f"{folder / DESCRIPTION}: is not signed by a key that this engine trusts ({keys})")


def _unsigned(reason: str) -> IpcError:
    return IpcError("OPSWAP_E_SIGNATURE", reason)


def _described(folder: Path, text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise refused(f"{folder / DESCRIPTION}: is not JSON: {error}") from error
    if not isinstance(value, dict) or set(value) != set(FIELDS):
        raise refused(f"{folder / DESCRIPTION}: expected the fields {', '.join(FIELDS)}")
    wrong = [name for name, kind in FIELDS.items() if type(value[name]) is not kind]
    wrong += [op for op, version in value["ops"].items() if type(version) is not int] if not wrong else []
    if wrong or value["schema"] != SCHEMA or not NAME.fullmatch(value["name"]):
        raise refused(
            f"{folder / DESCRIPTION}: {wrong[0] if wrong else 'schema or name'} is not as schema {SCHEMA} has it"
        )
    library = value["library"]
    if "/" in library or not library.startswith("libopswap") or not library.endswith(".so"):
        raise refused(f"{folder / DESCRIPTION}: library is {library!r}, needs to be a libopswap*.so beside it")
    return value


def _refuse_other(folder: Path, build: dict[str, Any], ours: Version, op_versions: Mapping[str, int]) -> None:
    if build["abi_major"] != ours["abi_major"]:
        raise IpcError(
            "OPSWAP_E_ABI", f"{folder}: was built for ABI {build['abi_major']}, this engine has {ours['abi_major']}"
        )
    if build["build_digest"] == ours["build_digest"]:
        raise refused(f"{folder}: is the build that this engine runs already ({build['build_digest'][:16]})")
    for op, version in build["ops"].items():
        if version != op_versions.get(op, version):
            what = f"{folder}: has version {version} of {op}, this engine has {op_versions[op]}"
            raise IpcError("OPSWAP_E_BUILD", what, "build it from sources whose ops have the versions of this engine's")
