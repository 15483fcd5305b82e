"""The state table: every verb from every state, and what the house promises of transient states."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.lifecycle import diagram
from app.lifecycle.action import Action
from app.lifecycle.states import State
from app.lifecycle.table import ActionRefused, actions, after_abort, allowed, check, for_transient, transitions
from workers.region.lifecycle.steps import kinds

ALLOWED = {
    State.NEW: {"commission", "mark-broken"},
    State.COMMISSIONING: set(),
    State.FAILED_COMMISSIONING: {"commission", "mark-broken"},
    State.READY: {"allocate", "commission", "deploy", "mark-broken"},
    State.ALLOCATED: {"deploy", "mark-broken", "release"},
    State.DEPLOYING: set(),
    State.FAILED_DEPLOYMENT: {"deploy", "mark-broken", "release"},
    State.DEPLOYED: {"mark-broken", "release"},
    State.RELEASING: set(),
    State.FAILED_RELEASING: {"mark-broken", "release"},
    State.BROKEN: {"commission", "mark-fixed"},
}


@pytest.mark.parametrize("state", State)
def test_each_state_allows_its_verbs_and_refuses_the_others(state: State) -> None:
    """Every verb in every state is either in the table above, or refused with what may be asked instead."""
    for name in actions():
        if name in ALLOWED[state]:
            assert check(name, state).name == name
        else:
            with pytest.raises(ActionRefused, match=f"the machine is {state.label}"):
                check(name, state)

    assert {action.name for action in allowed(state)} == ALLOWED[state]


def test_transient_states_are_those_with_an_operation() -> None:
    """Exactly three states are transient; a failed one is not, and each belongs to one action."""
    transient = {state for state in State if state.is_transient}

    assert transient == {State.COMMISSIONING, State.DEPLOYING, State.RELEASING}
    assert {for_transient(state).name for state in transient} == {"commission", "deploy", "release"}


def test_every_step_has_a_handler_a_deadline_and_a_sentence() -> None:
    """A step that nobody can carry out, or that may take for ever, is not in the table."""
    for action in actions().values():
        for step in action.steps:
            assert step.kind in kinds(), (action.name, step.name)
            assert 0 < step.wait_seconds <= 86_400
            assert len(step.failure.split()) > 5


def test_every_state_can_be_left_and_reached() -> None:
    """There is no dead end, and no state that nothing leads to."""
    moves = transitions()

    assert {before for before, _, _ in moves} == set(State)
    assert {after for _, after, _ in moves} == set(State)


def test_an_abort_leads_where_the_action_says() -> None:
    """Commissioning goes back to where it came from, a deployment keeps its owner, a release has failed."""
    assert after_abort(actions()["commission"], State.NEW) is State.NEW
    assert after_abort(actions()["deploy"], State.READY) is State.ALLOCATED
    assert after_abort(actions()["release"], State.DEPLOYED) is State.FAILED_RELEASING


def test_an_action_with_half_a_transient_state_is_refused() -> None:
    """Steps, a transient state and a failure state come together."""
    with pytest.raises(ValueError, match="come together"):
        Action("x", "X", "x", frozenset({State.NEW}), State.READY, transient=State.COMMISSIONING)


def test_the_published_diagram_is_current() -> None:
    """docs/state-diagram.md is what the table says now."""
    published = Path(__file__).resolve().parents[2] / "docs" / "state-diagram.md"

    assert published.read_text() == diagram.page()
