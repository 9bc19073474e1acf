"""New environments with a wheel in them, whose programs see no compiler, no checkout and no home of the user's."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: Programs that compile or link; an installed pack needs none of them.
COMPILER = re.compile(
    r"^([\w.-]+-)?(gcc|g\+\+|cc|c\+\+|c89|c99|cpp|clang|clang\+\+|nvcc|ld|as|tcc|icx|icpx|ccache)(-[\d.]+)?$"
)
Result = subprocess.CompletedProcess[str]


def uv(*args: str | Path, check: bool = True) -> Result:
    """The locked resolver, with its own cache, so that what was fetched once is linked and not fetched again."""
    env = {**os.environ, "UV_PYTHON_DOWNLOADS": "never", "UV_NO_CONFIG": "1"}
    command = [os.environ["OPSWAP_UV"], *map(str, args)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=check)


def path_without_compiler(folder: Path) -> str:
    """A folder of links to every program of the system but compilers."""
    folder.mkdir()
    for name in ("/usr/local/bin", "/usr/bin", "/bin"):
        for program in Path(name).iterdir() if Path(name).is_dir() else ():
            link = folder / program.name
            if not COMPILER.match(program.name) and not link.exists() and not link.is_symlink():
                link.symlink_to(program)
    return str(folder)


@dataclass(frozen=True)
class Installed:
    """One environment and a home of its own."""

    folder: Path
    home: Path
    path: str

    @property
    def python(self) -> Path:
        return self.folder / "bin/python"

    @property
    def package(self) -> Path:
        """The installed folder `opswap`."""
        return next(self.folder.glob("lib/python*/site-packages")) / "opswap"

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("LANG", "TZ") if name in os.environ}
        return {**kept, "PATH": f"{self.folder / 'bin'}:{self.path}", "HOME": str(self.home), **more}

    def run(self, *args: str | Path, **more: str) -> Result:
        """A program of the environment, or of the system; its failure is in the result."""
        env, command = self.environment(**more), list(map(str, args))
        command[0] = shutil.which(command[0], path=env["PATH"]) or command[0]
        quiet = subprocess.DEVNULL
        return subprocess.run(command, env=env, cwd=self.home, stdin=quiet, capture_output=True, text=True, check=False)

    def says(self, code: str, **more: str) -> str:
        """What a Python program prints; its own error output is shown where it fails."""
        done = self.run(self.python, "-c", code, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def last_error(self, code: str, **more: str) -> str:
        """The last line of a Python program that must end with an exception."""
        done = self.run(self.python, "-c", code, **more)
        assert done.returncode == 1, done.stdout + done.stderr
        return done.stderr.strip().splitlines()[-1]

    def doctor(self, **more: str) -> tuple[int, dict[str, dict[str, str]]]:
        """The installation's doctor: its exit status, and its checks by name."""
        done = self.run(self.python, "-m", "opswap.adapters.vllm.doctor", "--json", **more)
        assert done.stdout, done.stderr
        return done.returncode, {check["name"]: check for check in json.loads(done.stdout)}

    def files(self) -> set[str]:
        """Every file of environment and home, but Python's bytecode."""
        places = (self.folder, self.home)
        names = (str(file) for place in places for file in place.rglob("*") if not file.is_dir())
        return {name for name in names if "__pycache__" not in name}


def minor_of(python: str) -> str:
    """`cp311`, as wheels name it."""
    question = "import sys; print(f'cp{sys.version_info[0]}{sys.version_info[1]}')"
    return subprocess.run([python, "-c", question], capture_output=True, text=True, check=True).stdout.strip()


def wheel_for(packages: Path, tag: str) -> Path:
    (wheel,) = packages.glob(f"opswap-*-{tag}-{tag}-*.whl")
    return wheel
