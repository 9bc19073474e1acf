"""Real vLLM killed by -9 under a candidate, and started again, for `ab`: the candidate must then be barred.

python _ab_killed.py KILLS      prints JSON
python _ab_killed.py one MODEL  one engine: what it was left, then it runs a candidate and kills itself
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

OP, CANDIDATE = "rms_norm", "ref"
START_S = 600


def one(model: str) -> None:
    """Says what the engine before it left, lifts it, and dies under the candidate again."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "adapters/common"))
    sys.path.insert(0, str(Path(__file__).parents[1] / "adapters/vllm"))
    import opswap
    import vllm_driver  # sets the environment before vLLM reads it
    from opswap.adapters.vllm import attach
    from opswap.ipc.errors import IpcError
    from vllm import LLM

    llm = LLM(model=model, **{**vllm_driver.ENGINE, "enforce_eager": True})
    attached = attach(llm, "killed")
    change = {"changes": [{"op": OP, "impl": CANDIDATE}]}
    restored = attached.agent.restored
    told = {"restored": restored.outcome, "active": opswap.active(OP), "refused": ""}
    # These are for the rows that are not as they should be: a start on another build takes up nothing.
    told |= {"message": restored.message, "build": opswap.version()["build_digest"]}
    try:
        attached.run(attached.agent.ask("use", change))
    except IpcError as refused:
        told["refused"] = refused.code
        attached.run(attached.agent.ask("reset", {}))
        attached.run(attached.agent.ask("use", change))
    print(json.dumps(told), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def measure(kills: int) -> dict[str, Any]:
    sys.path.insert(0, str(Path(__file__).parents[1] / "adapters/common"))
    sys.path.insert(0, str(Path(__file__).parents[1] / "adapters/vllm"))
    from tiny import make_llama

    with tempfile.TemporaryDirectory(prefix="ok", dir="/tmp") as folder:
        model = make_llama(Path(folder) / "tiny-llama")
        os.environ["OPSWAP_RUNTIME_DIR"] = folder
        rows = [_start(model) for _ in range(kills + 1)][1:]
    wanted = {"restored": "barred", "active": "cpu", "refused": "OPSWAP_E_BARRED"}
    others = [row for row in rows if not wanted.items() <= row.items()]
    builds = len({row["build"] for row in rows})
    told = {"barred": kills - len(others), "of": kills, "builds": builds}
    return {**told, "reach": f"{kills} of {kills}", "others": others}


def _start(model: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "one", str(model)]
    died = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=START_S, check=False)
    if died.returncode != -signal.SIGKILL:
        raise SystemExit(f"an engine ended with {died.returncode} before it was killed")
    told: dict[str, Any] = json.loads(died.stdout.splitlines()[-1])
    return told


if __name__ == "__main__":
    if sys.argv[1] == "one":
        one(sys.argv[2])
    else:
        print(json.dumps(measure(int(sys.argv[1]))))
