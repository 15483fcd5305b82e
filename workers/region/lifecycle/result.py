"""What a step's handler may say, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.lifecycle.action import Step
from app.services.context import Context
from app.services.held import HeldMachine, HeldOperation


@dataclass(frozen=True)
class Done:
    """The step is finished; the next one follows in the same breath.

    rest: the next one waits for others, who see what this one wrote only after it is committed, and who will ring.
    """

    message: str = ""
    rest: bool = False


@dataclass(frozen=True)
class Waiting:
    """Nothing to do yet. after: look again after so many seconds at the latest; None means at the deadline."""

    after: float | None = None
    message: str = ""


@dataclass(frozen=True)
class Retry:
    """It did not work and is worth another try after so many seconds; the handler limits how often."""

    after: float
    reason: str


@dataclass(frozen=True)
class Failed:
    """The operation has failed, because of this sentence."""

    reason: str


Result = Done | Waiting | Retry | Failed


@dataclass(frozen=True)
class Scene:
    """All that a handler may touch: one transaction in which operation and machine are locked.

    A handler writes rows and notes rings; it never waits, and does nothing outside the transaction, so that a step
    that is interrupted was not taken.  What it must remember goes into `remember`.
    """

    session: Session
    context: Context
    machine: HeldMachine
    operation: HeldOperation
    step: Step

    @property
    def memory(self) -> Mapping[str, Any]:
        """What this step has remembered since it began."""
        return self.operation.step_data

    def remember(self, **values: Any) -> None:
        """Remember values until the step ends."""
        self.operation.step_data = {**self.operation.step_data, **values}


@dataclass(frozen=True)
class StepKind:
    """A kind of step: a module in `workers.region.lifecycle.steps` with a constant `STEP`."""

    name: str
    run: Callable[[Scene], Result]
