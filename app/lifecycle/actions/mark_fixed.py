"""Mark fixed: put a broken machine back into the pool. It belongs to nobody afterwards and keeps no address."""

from __future__ import annotations

from app.lifecycle.action import Action
from app.lifecycle.states import State

ACTION = Action(
    name="mark-fixed",
    title="Mark fixed",
    past="marked fixed",
    from_states=frozenset({State.BROKEN}),
    success=State.READY,
    confirm="The machine is taken from its owner; what is on its disks stays there.",
)
