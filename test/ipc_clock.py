"""A clock that a test sets."""

from __future__ import annotations


class PlayedClock:
    """`wall` and `running` in ms; `boot` names this start of the machine."""

    def __init__(self, wall: int = 1_700_000_000_000, running: int = 5_000_000, boot: str = "first") -> None:
        self.wall, self.running, self.boot = wall, running, boot

    def wall_ms(self) -> int:
        return self.wall

    def running_ms(self) -> int:
        return self.running

    def passes(self, ms: int) -> None:
        """Time goes on, as both clocks have it."""
        self.wall += ms
        self.running += ms

    def starts_again(self, wall: int) -> None:
        """The machine starts, and its wall clock says `wall`."""
        self.wall, self.running, self.boot = wall, 1000, f"{self.boot}+"
