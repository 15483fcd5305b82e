"""Action: one lifecycle verb as data. A module in `app/lifecycle/actions/` with a constant `ACTION` adds a verb.

Routes, buttons, CLI verbs, audit texts and the state diagram are made from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.lifecycle.states import State


@dataclass(frozen=True)
class Step:
    """One piece of an action.

    kind names a handler of `workers.region.lifecycle.steps`.  wait_seconds: how long the step may take before it has
    failed; `failure` is the sentence for people when that happens (what was awaited, what to look at).
    when: parameters of the operation to whether the step is wanted.
    """

    name: str
    kind: str
    wait_seconds: int
    failure: str
    parameters: Mapping[str, Any]
    title: str
    when: Callable[[Mapping[str, Any]], bool] = lambda parameters: True


@dataclass(frozen=True)
class ActionParameter:
    """A parameter a verb takes. type: str, int, bool or list; choices when only some values are right."""

    name: str
    type: str
    default: Any
    help: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Action:
    """One lifecycle verb.

    An action without steps moves straight from a from-state to `success`.  One with steps enters `transient`, and ends
    in `success` or `failure`.  From a state in `instant_from` there is nothing to carry out: it goes to `success` at
    once.  aborted: where an abort of the running action leads; None means back to the state in which it was asked for.
    role: the least role that may ask for it (viewer < operator < admin).
    """

    name: str
    title: str
    past: str
    from_states: frozenset[State]
    success: State
    transient: State | None = None
    failure: State | None = None
    role: str = "operator"
    steps: tuple[Step, ...] = ()
    parameters: tuple[ActionParameter, ...] = ()
    confirm: str | None = None
    listed: bool = True
    instant_from: frozenset[State] = frozenset()
    aborted: State | None = None

    def __post_init__(self) -> None:
        if bool(self.steps) != (self.transient is not None) or (self.transient is None) != (self.failure is None):
            raise ValueError(f"action {self.name}: steps, a transient state and a failure state come together")
        if not self.instant_from <= self.from_states:
            raise ValueError(f"action {self.name}: instant_from must be part of from_states")
        names = [step.name for step in self.steps]
        if len(names) != len(set(names)):
            raise ValueError(f"action {self.name}: step names must differ, got {names}")
