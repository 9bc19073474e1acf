"""A real engine that kills itself under a candidate: python killed_engine.py MODEL NAME OP IMPL."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    import vllm_driver  # sets the environment before vLLM reads it
    from vllm import LLM

    model, name, op, impl = sys.argv[1:]
    llm = LLM(model=model, **{**vllm_driver.ENGINE, "enforce_eager": True})
    from opswap.adapters.vllm import attach

    attached = attach(llm, name)
    attached.run(attached.agent.ask("use", {"changes": [{"op": op, "impl": impl}]}))
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
