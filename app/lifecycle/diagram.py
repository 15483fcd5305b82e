"""The state diagram in Mermaid, made from the table: `python -m app.lifecycle.diagram > docs/state-diagram.md`."""

from __future__ import annotations

from app.lifecycle.states import State
from app.lifecycle.table import actions, transitions

PAGE = """# States of a machine

This page is made from `app/lifecycle` by `python -m app.lifecycle.diagram > docs/state-diagram.md`; do not edit it.

```mermaid
{diagram}
```

| verb | asked in | while it runs | then | when it fails | when aborted | role |
|---|---|---|---|---|---|---|
{rows}

Each step of a verb has a deadline; when it passes, the verb has failed and the machine's reason says what was awaited.

{steps}
"""


def diagram() -> str:
    """The diagram's source: one arrow for each pair of states, labelled with all that leads along it."""
    labels: dict[tuple[State, State], list[str]] = {}
    for before, after, label in transitions():
        labels.setdefault((before, after), []).append(label)
    lines = ["stateDiagram-v2", f"    [*] --> {State.NEW}: enlist"]
    lines += [f"    {before} --> {after}: {', '.join(names)}" for (before, after), names in sorted(labels.items())]
    return "\n".join(lines)


def page() -> str:
    """The whole page: the diagram, the verbs and their steps."""
    rows, steps = [], []
    for action in actions().values():
        asked = ", ".join(sorted(action.from_states))
        aborted = (action.aborted or "back to where it was asked") if action.transient else "-"
        cells = (
            action.name,
            asked,
            action.transient or "-",
            action.success,
            action.failure or "-",
            aborted,
            action.role,
        )
        rows.append("| " + " | ".join(cells) + " |")
        if action.steps:
            steps.append(f"## Steps of {action.name}\n")
            steps += [
                f"{n}. `{step.name}` ({step.wait_seconds} s): {step.title}." for n, step in enumerate(action.steps, 1)
            ]
            steps.append("")
    return PAGE.format(diagram=diagram(), rows="\n".join(rows), steps="\n".join(steps).rstrip())


if __name__ == "__main__":
    print(page(), end="")
