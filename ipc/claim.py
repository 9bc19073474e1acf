"""A name that is taken before there is a server of it: while an engine loads its model.

The record says `starting`, so that clients can tell it from one that is not there, and another engine of this name is
refused before it loads anything. A thread gives the signs of life, since loading may hold the event loop up.
"""

from __future__ import annotations

import contextlib
import threading

from .discovery import Registration
from .errors import IpcError

BEAT_S = 1.0


class Claim:
    """Holds `registration` until a server takes it over, or it is closed."""

    def __init__(self, service: str, name: str) -> None:
        """Raises IpcError as Registration does."""
        self.registration = Registration(service, name)
        try:
            self.registration.publish("starting")
        except IpcError:
            self.registration.close()
            raise
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="opswap-claim", daemon=True)
        self._thread.start()

    def hand_over(self) -> Registration:
        """The registration, whose signs of life are the taker's from now on. Idempotent."""
        self._over.set()
        self._thread.join()
        return self.registration

    def close(self) -> None:
        """Gives the name up."""
        self.hand_over().close()

    def _beat(self) -> None:
        while not self._over.wait(BEAT_S):
            with contextlib.suppress(OSError, IpcError):  # the next beat tries again
                self.registration.touch()
