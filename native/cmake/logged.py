"""logged.py LOG COMMAND...: runs a compilation, writes its messages to LOG and what it took to the last line of it."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path


def main(log: str, *command: str) -> int:
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cost = f"cost: {used.ru_utime + used.ru_stime:.2f} s of CPU, {used.ru_maxrss // 1024} MB"
    Path(log).write_text(f"{ran.stdout}{cost}\n")
    if ran.returncode or "warning" in ran.stdout:
        print(ran.stdout)
    return ran.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
