"""An installation of opswap whose card is played: the emulated library under the package's name calls itself an H100,
torch.cuda is the host, and nvidia-smi is a script."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STATUS = "cuda: device 0 is NVIDIA H100 80GB HBM3 (sm_90, 132 SMs); driver for CUDA 13.0"
#: The library behind the stub needs a name of its own, of the same length: the loader keeps one library of a name.
NAME, BEHIND = "libopswap.so", "libplayed.so"
START = """import sys
if "worker" in " ".join(sys.orig_argv):
    from types import SimpleNamespace
    import gpu.fake_cuda as fake
    fake.install(SimpleNamespace(setattr=lambda target, name, value, raising=True: setattr(target, name, value)))
    import card_played
    card_played.shrink()
"""
#: Sizes of the card's own rates that a host can bear.
SHRINK = '''"""Makes what is measured on the played card small."""
def shrink() -> None:
    from opswap.evidence import measure
    measure.COPY_BYTES, measure.MATRIX = 1 << 16, 16
'''
SMI = """#!/bin/sh
case "$*" in
  *compute-apps*) printf '%s' "$PLAYED_PROCESSES" ;;
  *utilization*) echo "${PLAYED_LOAD:-0}" ;;
  *driver_version*) echo "580.1, ${PLAYED_CLOCK:-1980}, 2619" ;;
esac
"""


@dataclass(frozen=True)
class Played:
    """Where the installation lies, and how its commands are run."""

    folder: Path

    @property
    def evidence(self) -> Path:
        return self.folder / "state/opswap/evidence"

    def environment(self, **more: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("OPSWAP_", "LD_"))}
        paths = [self.folder / "play", self.folder, ROOT / "test"]
        mine = {
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}",
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OPSWAP_STUB_STATUS": STATUS,
            "XDG_STATE_HOME": str(self.folder / "state"),
        }
        return {**kept, **mine, **more}

    def run(self, command: Sequence[str], **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            list(command),
            cwd=self.folder,
            env=self.environment(**env),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


def install(folder: Path, emulated: Path, package: Path) -> Played:
    """`package` is the built Python package's folder opswap."""
    shutil.copytree(package, folder / "opswap", ignore=shutil.ignore_patterns("__pycache__"))
    library = emulated.read_bytes().replace(f"\0{NAME}\0".encode(), f"\0{BEHIND}\0".encode())
    (folder / "opswap" / BEHIND).write_bytes(library)
    source = [str(ROOT / "test/gpu/stub.cpp"), f"-I{ROOT / 'native/include'}"]
    links = ["-Wl,--no-as-needed", str(folder / "opswap" / BEHIND), "-Wl,-rpath,$ORIGIN", f"-Wl,-soname,{NAME}"]
    out = folder / "opswap" / NAME
    out.unlink()
    subprocess.run(["g++", "-std=c++20", "-shared", "-fPIC", *source, *links, "-o", str(out)], check=True)
    (folder / "play").mkdir()
    (folder / "play/sitecustomize.py").write_text(START)
    (folder / "play/card_played.py").write_text(SHRINK)
    (folder / "bin").mkdir()
    (folder / "bin/nvidia-smi").write_text(SMI)
    (folder / "bin/nvidia-smi").chmod(0o755)
    return Played(folder)
