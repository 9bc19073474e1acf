"""The library, built with what the machine has: CMake and Ninja, or the compilers alone. Needs no network."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gpu.abi import ROOT

CXX = "g++"
WARNINGS_OFF = ["-w"]
INCLUDES = ("native/include", "native/core", "kernels")


class BuildError(Exception):
    """Why there is no library; one line, then the compiler's words."""


def _run(command: list[str], cwd: Path | None = None) -> str:
    ran = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise BuildError(f"{' '.join(command[:3])} ... failed\n{(ran.stdout + ran.stderr)[-4000:]}")
    return ran.stdout


def find_nvcc() -> str:
    names = [os.environ.get("CUDACXX"), shutil.which("nvcc"), "/usr/local/cuda/bin/nvcc"]
    found = next((n for n in names if n and Path(n).exists()), None)
    if found is None:
        raise BuildError("no nvcc: not on PATH, not in /usr/local/cuda/bin, and CUDACXX is not set")
    return found


def with_cmake(folder: Path, options: list[str]) -> Path:
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    common = ["-DOPSWAP_NODE=OFF", f"-DOPSWAP_PYTHON={sys.executable}", "-DOPSWAP_LEVELS="]
    _run(["cmake", *generator, "-S", str(ROOT / "native"), "-B", str(folder), *common, *options])
    _run(["cmake", "--build", str(folder), "--parallel", str(os.cpu_count() or 2)])
    return folder / "libopswap.so"


class Plain:
    """g++ and nvcc without a build tool: the frame and the CUDA kernels, without the CPU's implementations."""

    def __init__(self, folder: Path, nvcc: str, root: Path = ROOT) -> None:
        self._folder, self._nvcc, self._root = folder, nvcc, root
        self._gen = folder / "gen"
        self._cuda = Path(nvcc).resolve().parent.parent
        self._includes = [f"-I{root / i}" for i in INCLUDES] + [f"-I{self._gen}"]

    def _generate(self, *verb: str) -> str:
        return _run([sys.executable, "-m", "gen", str(self._root), *verb], self._root / "native")

    def _cpp(self, source: Path) -> Path:
        out = self._folder / f"{source.name}.o"
        headers = [f"-isystem{self._cuda / p}" for p in ("include", "targets/x86_64-linux/include")]
        flags = ["-std=gnu++20", "-O2", "-fPIC", "-fvisibility=hidden", "-DOPSWAP_WITH_CUDA", "-DOPSWAP_WITH_SM90"]
        _run([CXX, *flags, *WARNINGS_OFF, *self._includes, *headers, "-c", str(source), "-o", str(out)])
        return out

    def _cu(self, line: str) -> Path:
        room, _, scalar, namespace, source, name = line.split("|")
        out = self._folder / f"{name}.o"
        flags = (self._root / "native/cmake/nvcc.flags").read_text().replace("@CXX@", CXX).split()
        names = [
            f"-DOPSWAP_PASS={namespace}",
            f'-DOPSWAP_OP="{room}"',
            *([f"-DOPSWAP_SCALAR={scalar}"] if scalar else []),
        ]
        _run([self._nvcc, *flags, "-lineinfo", *names, *self._includes, "-c", str(self._root / source), "-o", str(out)])
        return out

    def build(self) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._generate("build", str(self._gen))
        sources = [*sorted((self._root / "native/core").glob("*.cpp")), self._gen / "registry.gen.cpp"]
        with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
            kernels = pool.map(self._cu, self._generate("objects").split())
            objects = [*pool.map(self._cpp, sources), *kernels]
        library = self._folder / "libopswap.so"
        folders = [self._cuda / p for p in ("lib64", "lib", "targets/x86_64-linux/lib")]
        paths = [f"-L{p}" for p in folders if p.exists()]
        exports = f"-Wl,--version-script={self._root / 'native/cmake/exports.map'}"
        links = ["-lcudart_static", "-lrt", "-ldl", "-lpthread"]
        _run([CXX, "-shared", exports, *map(str, objects), *paths, *links, "-o", str(library)])
        return library


def sources_digest() -> str:
    digest = hashlib.sha256()
    for folder in ("native", "kernels", "evidence"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()


def build(folder: Path) -> tuple[Path, str]:
    """The library and how it was built; what is there and of these sources is used again."""
    stamp, digest = folder / "of", sources_digest()
    library = folder / "libopswap.so"
    if library.exists() and stamp.exists() and stamp.read_text() == digest:
        return library, "built before"
    nvcc = find_nvcc()
    if shutil.which("cmake"):
        library, how = (
            with_cmake(folder, ["-DOPSWAP_CUDA=on", "-DOPSWAP_CUDA_LINES=ON", f"-DOPSWAP_NVCC={nvcc}"]),
            "by CMake",
        )
    else:
        library, how = Plain(folder, nvcc).build(), "by the compilers alone: no cmake here"
    stamp.write_text(digest)
    return library, how
