"""The state table: which verbs exist, from where they may be asked, and where they lead."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from app.lifecycle import actions as action_package
from app.lifecycle.action import Action
from app.lifecycle.states import State


class ActionRefused(ValueError):
    """The verb may not be asked of a machine in this state."""


@cache
def actions() -> Mapping[str, Action]:
    """All verbs by name. ValueError on a duplicate name or a module without `ACTION`."""
    found: dict[str, Action] = {}
    for module_info in pkgutil.iter_modules(action_package.__path__):
        module = importlib.import_module(f"{action_package.__name__}.{module_info.name}")
        action = getattr(module, "ACTION", None)
        if not isinstance(action, Action):
            raise ValueError(f"{module.__name__}: has no constant ACTION")
        if action.name in found:
            raise ValueError(f"{module.__name__}: a second action named {action.name!r}")
        found[action.name] = action
    return MappingProxyType(dict(sorted(found.items())))


def allowed(state: State) -> tuple[Action, ...]:
    """Verbs that may be asked of a machine in `state`."""
    return tuple(action for action in actions().values() if state in action.from_states)


def check(action_name: str, state: State) -> Action:
    """The action, if it may start in `state`; ActionRefused says from which states it may and what may be asked now."""
    try:
        action = actions()[action_name]
    except KeyError:
        raise ActionRefused(f"no action named {action_name!r}; known are {', '.join(actions())}") from None
    if state not in action.from_states:
        may = ", ".join(other.name for other in allowed(state)) or "nothing"
        wanted = ", ".join(sorted(one.label for one in action.from_states))
        raise ActionRefused(
            f"{action.name}: the machine is {state.label}, it must be one of: {wanted}; now it may be asked to: {may}"
        )
    return action


def for_transient(state: State) -> Action:
    """The action that is under way in a transient state."""
    for action in actions().values():
        if action.transient is state:
            return action
    raise KeyError(f"{state} is not transient")


def after_abort(action: Action, asked_in: State) -> State:
    """Where a machine is after its running `action`, asked for in state `asked_in`, was aborted."""
    return action.aborted or asked_in


def transitions() -> tuple[tuple[State, State, str], ...]:
    """All moves there are, as (from, to, label): verbs by name, `finished`, `failed` and `abort` for what runs."""
    moves: set[tuple[State, State, str]] = set()
    for action in actions().values():
        for state in action.from_states:
            instant = action.transient is None or state in action.instant_from
            moves.add((state, action.success if action.transient is None or instant else action.transient, action.name))
        if action.transient is not None and action.failure is not None:
            moves.add((action.transient, action.success, "finished"))
            moves.add((action.transient, action.failure, "failed"))
            for state in action.from_states - action.instant_from:
                moves.add((action.transient, after_abort(action, state), "abort"))
    return tuple(sorted(moves))
