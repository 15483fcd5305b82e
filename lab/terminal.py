"""What the lab shows in the terminal: a line a step with its time, notes below it, and the closing table."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

WIDTH = 34


@dataclass
class StepRecord:
    """One finished step: its title, how long it took (seconds) and what was seen from outside that proves it."""

    title: str
    seconds: float
    proof: str


@dataclass
class Terminal:
    """Prints steps as they happen and remembers them for the table."""

    stream: TextIO = field(default_factory=lambda: sys.stdout)
    started: float = field(default_factory=time.monotonic)
    records: list[StepRecord] = field(default_factory=list)

    def say(self, text: str) -> None:
        """A line of its own."""
        print(text, file=self.stream, flush=True)

    def note(self, text: str) -> None:
        """A line below the running step."""
        self.say(f"          . {text}")

    @contextmanager
    def step(self, title: str) -> Iterator[list[str]]:
        """Time a step; what is appended to the yielded list is its proof. An exception is shown as the step's failure."""
        began = time.monotonic()
        self.say(f"{clock(began - self.started)}  > {title}")
        proof: list[str] = []
        try:
            yield proof
        except BaseException as error:
            self.say(f"{clock(time.monotonic() - self.started)}  x {title}: {str(error) or type(error).__name__}")
            raise
        took = time.monotonic() - began
        self.records.append(StepRecord(title, took, "; ".join(proof)))
        self.say(f"{clock(time.monotonic() - self.started)}  + {title:<{WIDTH}} {took:6.1f} s  {'; '.join(proof)}")

    def table(self) -> None:
        """All steps with their times."""
        self.say("")
        self.say(f"  {'step':<{WIDTH}} {'seconds':>8}  verified from outside")
        for record in self.records:
            self.say(f"  {record.title:<{WIDTH}} {record.seconds:8.1f}  {record.proof}")
        self.say(f"  {'all':<{WIDTH}} {time.monotonic() - self.started:8.1f}")


def clock(seconds: float) -> str:
    """Minutes and seconds since the start: `03:07`."""
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"
