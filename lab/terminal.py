"""What the lab shows in the terminal: a line a step with its time, notes below it, and the closing table.

Machines are walked side by side, each in a thread, so every line says whose it is: a terminal has `beside` it others
that write to the same stream under a machine's name.  When the lab ends early, `end` makes whoever still waits stop.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Self, TextIO

WIDTH, WHO_WIDTH = 34, 5


class Ended(Exception):
    """The lab ends before this step did."""


@dataclass
class StepRecord:
    """One finished step: whose, its title, how long it took (seconds) and what was seen from outside that proves it."""

    who: str
    title: str
    seconds: float
    proof: str


@dataclass
class Terminal:
    """Prints steps as they happen and remembers them for the table. who: the machine whose steps these are."""

    stream: TextIO = field(default_factory=lambda: sys.stdout)
    started: float = field(default_factory=time.monotonic)
    records: list[StepRecord] = field(default_factory=list)
    who: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ended: threading.Event = field(default_factory=threading.Event)

    def beside(self, who: str) -> Self:
        """Return a terminal for one machine's steps, with the stream, the clock and the table of this one."""
        return replace(self, who=who)

    def end(self) -> None:
        """Silence this terminal and those beside it, and stop whoever waits with `pause`."""
        self._ended.set()

    def pause(self, seconds: float) -> None:
        """Wait; raises Ended when the lab ends meanwhile."""
        if self._ended.wait(seconds):
            raise Ended("the lab has ended")

    def say(self, text: str) -> None:
        """Print a line of its own."""
        with self._lock:
            print(text, file=self.stream, flush=True)

    def note(self, text: str) -> None:
        """Print a line below the running step."""
        self._mark(".", text)

    @contextmanager
    def step(self, title: str) -> Iterator[list[str]]:
        """Time a step; what is appended to the yielded list is its proof. An exception is shown as the step's failure."""
        began = time.monotonic()
        self._mark(">", title)
        proof: list[str] = []
        try:
            yield proof
        except BaseException as error:
            if not self._ended.is_set():
                self._mark("x", f"{title}: {str(error) or type(error).__name__}")
            raise
        took = time.monotonic() - began
        self.records.append(StepRecord(self.who, title, took, "; ".join(proof)))
        self._mark("+", f"{title:<{WIDTH}} {took:6.1f} s  {'; '.join(proof)}")

    def table(self) -> None:
        """Print all steps with their times: the lab's own, then machine by machine."""
        self.say(f"\n  {'':<{WHO_WIDTH}} {'step':<{WIDTH}} {'seconds':>8}  verified from outside")
        order = list(dict.fromkeys(record.who for record in self.records))
        for record in sorted(self.records, key=lambda record: order.index(record.who)):
            self.say(f"  {record.who:<{WHO_WIDTH}} {record.title:<{WIDTH}} {record.seconds:8.1f}  {record.proof}")
        self.say(f"  {'':<{WHO_WIDTH}} {'all':<{WIDTH}} {time.monotonic() - self.started:8.1f}")

    def _mark(self, mark: str, text: str) -> None:
        now = clock(time.monotonic() - self.started)
        when, indent = ("     ", "    ") if mark == "." else (now, "")
        self.say(f"{when}  {mark} {self.who:<{WHO_WIDTH}} {indent}{text}")


def clock(seconds: float) -> str:
    """Minutes and seconds since the start: `03:07`."""
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"
