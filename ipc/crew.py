"""Threads that share one ROUTER socket: one waits for frames, the others work, and whoever is free waits next.

A request is run by the thread that received it, so an answer costs no hand-over between threads. A ZeroMQ socket may
be used by one thread at a time: every call on it happens under a lock, and waiting happens outside of it, on the
socket's descriptor. That descriptor tells of changes only once, so a sender that has swallowed the sign of an arrival
says so through `_wake`.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Callable

import zmq

log = logging.getLogger("opswap.crew")
Frame = bytes
Work = Callable[[], Frame]
Read = Callable[[bytes, Frame], Work]
POLL_MS = 1000


class Crew:
    """`read(peer, frame)` is called by one thread at a time and returns the work; the work runs on many at a time."""

    def __init__(self, socket: zmq.Socket[bytes], read: Read, threads: int) -> None:
        self._socket = socket
        self._read = read
        self._leading = threading.Lock()
        self._io = threading.Lock()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._stopping = False
        self.dropped = 0
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
        poller = select.poll()
        poller.register(self._socket.fileno(), select.POLLIN)
        poller.register(self._wake, select.POLLIN)
        while not self._stopping:
            with self._leading:
                arrived = self._next(poller)
                if arrived is None:
                    continue
                peer, work = arrived
            self._send(peer, work())

    def _next(self, poller: select.poll) -> tuple[bytes, Work] | None:
        """Waits for a frame and reads it; None when the crew stops, or when what came was not one frame."""
        while not self._stopping:
            frames = self._receive()
            if frames is None:
                self._rest(poller)
            elif len(frames) == 2:
                peer, frame = frames
                return peer, self._read(peer, frame)
            else:
                log.warning("a message of %d frames was dropped", len(frames) - 1)
                self.dropped += 1
        return None

    def _receive(self) -> list[bytes] | None:
        with self._io:
            try:
                return self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return None

    def _rest(self, poller: select.poll) -> None:
        poller.poll(POLL_MS)
        # While stopping the sign stays up: every thread has to see it.
        if not self._stopping:
            try:
                os.eventfd_read(self._wake)
            except BlockingIOError:
                return

    def _send(self, peer: bytes, frame: Frame) -> None:
        with self._io:
            try:
                self._socket.send_multipart([peer, frame], zmq.NOBLOCK)
            except zmq.ZMQError:
                # The client is gone (EHOSTUNREACH) or does not read (EAGAIN).
                self.dropped += 1
            arrived = int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN
        if arrived:
            os.eventfd_write(self._wake, 1)
