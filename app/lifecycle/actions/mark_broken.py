"""Mark broken: keep a machine out of use until a person says that it is well."""

from __future__ import annotations

from app.lifecycle.action import Action, ActionParameter
from app.lifecycle.states import State

ACTION = Action(
    name="mark-broken",
    title="Mark broken",
    past="marked broken",
    from_states=frozenset(state for state in State if not state.is_transient and state is not State.BROKEN),
    success=State.BROKEN,
    parameters=(ActionParameter("comment", "str", "", "What is wrong with it; shown with the state."),),
)
