"""python -m opswap.evidence run|show|export: evidence from the card of this machine."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from .refusal import Refused


def options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m opswap.evidence", description=__doc__.split(": ", 1)[1])
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="check and time the kernels on this machine's card, and keep the result")
    run.add_argument("op", nargs="?", help="one op; all that have kernels when left out")
    run.add_argument("--small", action="store_true", help="small cases only: a first look, which proves nothing")
    run.add_argument("--seed", type=int, help="of the random inputs; a fresh one when left out")
    run.add_argument("--seconds", type=float, default=420, help="for everything")
    run.add_argument("--op-seconds", type=float, default=90, help="for one op at most")
    verbs.add_parser("show", help="list the files that are kept, and what the library makes of each")
    export = verbs.add_parser("export", help="write what the repository's evidence/ takes")
    export.add_argument("folder", type=Path, help="a folder; evidence/ of a checkout, to commit it there")
    export.add_argument("--op", help="of this op alone")
    for verb in verbs.choices.values():
        verb.add_argument("--library", type=Path, help="this libopswap.so instead of the installed one")
        verb.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    from . import export, run, show

    asked = options(argv)
    verbs = {"run": run.run, "show": show.show, "export": export.export}
    try:
        return verbs[asked.verb](asked)
    except Refused as refused:
        if asked.json:
            print(json.dumps(refused.as_json()))
        else:
            sys.stderr.write(f"opswap: {refused}\n")
        return 3 if refused.code == "OPSWAP_E_NATIVE" else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
