"""Threads that share one ROUTER socket: whichever is free takes the next request, runs it, and answers.

A request is run by the thread that received it, so an answer costs no hand-over between threads. A ZeroMQ socket may
be used by one thread at a time: every call on it happens under a lock, and waiting happens outside of it, on the
socket's descriptor. The kernel wakes one waiting thread per event (EPOLLEXCLUSIVE). The descriptor tells of arrivals
only once, and any call on the socket may use that event up. So whoever has used the socket asks again, and wakes
another.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
from collections import Counter
from collections.abc import Callable

import zmq

log = logging.getLogger("opswap.router")
Frame = bytes
Work = Callable[[], Frame]
Read = Callable[[bytes, Frame], Work]
POLL_S = 1.0
# As plain integers: arithmetic on pyzmq's flags builds enum members, which costs more than the calls do.
EVENTS, POLLIN, NOBLOCK, SEND_MORE = int(zmq.EVENTS), int(zmq.POLLIN), int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)
RCVMORE = int(zmq.RCVMORE)


class RouterThreads:
    """`read(peer, frame)` is called by one thread at a time and returns the work; the work runs on many at a time.

    A message that is none, and a reply that nobody takes, are counted as `dropped`.
    """

    def __init__(self, socket: zmq.Socket[bytes], read: Read, threads: int, counters: Counter[str]) -> None:
        self._socket = socket
        self._read = read
        self._io = threading.Lock()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._stopping = False
        self._counters = counters
        counters["dropped"] = 0
        names = [f"opswap-{index}" for index in range(threads)]
        self._threads = [threading.Thread(target=self._run, name=name, daemon=True) for name in names]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Lets every thread finish the request it is on."""
        self._stopping = True
        os.eventfd_write(self._wake, 1)
        for thread in self._threads:
            thread.join()
        os.close(self._wake)

    def _run(self) -> None:
        with select.epoll() as waiting:
            for descriptor in (self._socket.fileno(), self._wake):
                waiting.register(descriptor, select.EPOLLIN | select.EPOLLEXCLUSIVE)
            while not self._stopping:
                self._wait(waiting)
                while arrived := self._receive():
                    peer, work = arrived
                    if not self._answer(peer, work()):
                        break
        # An event wakes one thread only: each that leaves wakes the next.
        os.eventfd_write(self._wake, 1)

    def _receive(self) -> tuple[bytes, Work] | None:
        """The next request, read and ready to run; None when there is none."""
        with self._io:
            while True:
                try:
                    frames = [self._socket.recv(NOBLOCK)]
                except zmq.Again:
                    return None
                while self._socket.get(RCVMORE):
                    frames.append(self._socket.recv())
                if len(frames) == 2:
                    peer, frame = frames
                    if self._has_arrived():
                        os.eventfd_write(self._wake, 1)
                    return peer, self._read(peer, frame)
                log.warning("a message of %d frames was dropped", len(frames) - 1)
                self._counters["dropped"] += 1

    def _answer(self, peer: bytes, frame: Frame) -> bool:
        """Sends a reply; true when requests have arrived, whose event this call may have used up."""
        with self._io:
            try:
                self._socket.send(peer, SEND_MORE)
                self._socket.send(frame, NOBLOCK)
            except zmq.ZMQError:
                # The client is gone (EHOSTUNREACH) or does not read (EAGAIN).
                self._counters["dropped"] += 1
            return self._has_arrived()

    def _has_arrived(self) -> bool:
        return bool(self._socket.get(EVENTS) & POLLIN)  # type: ignore[operator]

    def _wait(self, waiting: select.epoll) -> None:
        if any(descriptor == self._wake for descriptor, _event in waiting.poll(POLL_S)):
            # Another thread may have been quicker.
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wake)
