"""The least that a sidecar could be: the same op on memory of its own, and a reply that holds only the time it took.

python test/bench/_bare_server.py ADDRESS ROWS COLUMNS        what the sidecar costs above this is the sidecar's own
"""

from __future__ import annotations

import struct
import sys
import time

import numpy as np
import opswap
import zmq


def main(address: str, rows: int, columns: int) -> None:
    # Not zeros: pages that were never written are all the same one, which stays in the cache.
    source, out = (np.full((rows, columns), 1, np.float32) for _ in range(2))
    weight = np.ones(columns, np.float32)
    socket = zmq.Context.instance().socket(zmq.ROUTER)
    socket.bind(address)
    while True:
        peer, _request = socket.recv_multipart()
        before = time.perf_counter_ns()
        opswap.call("rms_norm", out, source, weight)
        socket.send_multipart([peer, struct.pack("<q", time.perf_counter_ns() - before)])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
