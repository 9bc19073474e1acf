#!/usr/bin/env bash
# uvloop: a process that asyncio starts in a process group of its own (process_group=0, Python 3.11 and later), so that it
# and what it starts can be ended together.
# Expected: as on asyncio's own loop, whose place uvloop takes. vLLM's server runs on uvloop.
# Seen: ValueError, since uvloop lists the arguments of Popen that it knows, and this one is not among them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv python
python/bin/pip install --quiet --disable-pip-version-check uvloop==0.23.0
cat > ask.py <<'PY'
import asyncio
import sys

import uvloop

LEADS = "import os; print('leads its group:', os.getpgrp() == os.getpid())"


async def start() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", LEADS, process_group=0, stdout=-1)
    print((await process.communicate())[0].decode().strip())


for name, run in (("asyncio", asyncio.run), ("uvloop", uvloop.run)):
    try:
        run(start())
    except ValueError as error:
        print(f"{name}: {error}")
PY
python/bin/python ask.py | tee seen
printf '%s\n' "leads its group: True" "uvloop: unexpected kwargs: process_group" > expected
diff expected seen && echo "as seen with uvloop 0.23.0"
