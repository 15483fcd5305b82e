"""Allocate: give a READY machine to whoever asks."""

from __future__ import annotations

from app.lifecycle.action import Action
from app.lifecycle.states import State

ACTION = Action(
    name="allocate",
    title="Allocate",
    past="allocated",
    from_states=frozenset({State.READY}),
    success=State.ALLOCATED,
)
