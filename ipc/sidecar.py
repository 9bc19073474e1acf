"""The sidecar's command: a process that runs ops on request, on tensors in its clients' shared memory.

    python -m opswap.ipc.sidecar [--name NAME] [--threads N] [--variants NAME ...] [--until-eof]

A candidate kernel that crashes takes this process with it and no engine.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from typing import cast

import zmq

from .errors import IpcError, code_of
from .library import Library
from .op_server import THREADS, OpServer

log = logging.getLogger("opswap.sidecar")
MOST_THREADS = 64
#: For the requests that are under way when whoever started this process has ended.
GRACE_S = 5.0


def add_variants(names: list[str], ops: list[str]) -> None:
    """Registers frameworks' own kernels: entry points of the group opswap.variants, which take the names of the ops."""
    from importlib.metadata import entry_points

    found = {entry.name: entry for entry in entry_points(group="opswap.variants")}
    for name in names:
        if name not in found:
            raise IpcError(
                "OPSWAP_E_USAGE",
                f"--variants {name}: expected one of {', '.join(sorted(found)) or 'none, for none is installed'}",
                "name one of these, or leave the option out",
            )
        try:
            found[name].load()(ops)
        except ImportError as error:
            raise IpcError(
                "OPSWAP_E_PYTHON",
                f"--variants {name}: {sys.executable} cannot import the framework: {error}",
                "set OPSWAP_PYTHON to a Python that has it, or leave the option out",
            ) from error


def _threads(text: str) -> int:
    count = int(text)
    if not 1 <= count <= MOST_THREADS:
        raise ValueError
    return count


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="opswap sidecar", description="Runs ops on request, for A/B tests.")
    parser.add_argument("--name", default="sidecar", help="name of the socket (default: %(default)s)")
    parser.add_argument(
        "--threads",
        type=_threads,
        default=THREADS,
        help=f"requests run at a time, 1 to {MOST_THREADS} (default: %(default)s)",
    )
    parser.add_argument("--variants", nargs="*", default=[], metavar="NAME", help="frameworks whose kernels to offer")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input ends, as its writer does")
    return parser.parse_args(argv)


def _end_with_input(stop: threading.Event) -> None:
    """Waits for the end of standard input, which is that of the process at its other end, even when it was killed."""
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    stop.set()
    # An op that hangs must not keep the name of a sidecar that nobody owns any more.
    time.sleep(GRACE_S)
    os._exit(1)


def _serve(options: argparse.Namespace, stop: threading.Event) -> None:
    import opswap
    from opswap._opswap import Tensor

    library = cast(Library, opswap)
    add_variants(options.variants, [op["op"] for op in library.manifest()["ops"]])
    OpServer(library, Tensor, options.name, options.threads, stop).run()


def _as_ipc_error(error: Exception) -> IpcError:
    if isinstance(error, IpcError):
        return error
    if isinstance(error, (OSError, zmq.ZMQError)):
        return IpcError("OPSWAP_E_IO", f"the sidecar cannot start: {error}")
    return IpcError(code_of(error), getattr(error, "message", None) or f"{type(error).__name__}: {error}")


def main(argv: list[str] | None = None) -> int:
    """Runs until SIGINT or SIGTERM. Returns 0; after a line that says what is wrong, 2 for a wrong option, else 1."""
    options = _options(argv)
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if os.environ.get("OPSWAP_DEBUG") == "1" else logging.INFO,
        format="%(name)s: %(message)s",
    )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if options.until_eof:
        threading.Thread(target=_end_with_input, args=(stop,), daemon=True).start()
    try:
        _serve(options, stop)
    # The last line of defence: whoever starts a sidecar reads a line with a code, never a traceback.
    except Exception as caught:
        error = _as_ipc_error(caught)
        sys.stderr.write(f"opswap: {error.message} [{error.code}]\n  {error.remedy}\n")
        log.debug("", exc_info=caught)
        return 2 if error.code == "OPSWAP_E_USAGE" else 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
