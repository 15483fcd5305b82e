"""Golden cases: `tests/golden/<case>/intent.json` is a RackIntent as data; `expected/<service>/<path>` is what it gives."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any

from renderers import registry
from renderers.intent import RackIntent

ROOT = Path(__file__).resolve().parent


def cases() -> list[str]:
    """Names of all cases."""
    return sorted(path.parent.name for path in ROOT.glob("*/intent.json"))


def load(case: str) -> RackIntent:
    """The intent of a case; a misspelled field is an error."""
    return typing.cast(RackIntent, _build(RackIntent, json.loads((ROOT / case / "intent.json").read_text())))


def _build(kind: Any, data: Any) -> Any:
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        unknown = data.keys() - hints.keys()
        assert not unknown, f"{kind}: unknown fields {unknown}"
        return typing.cast(Any, kind)(**{name: _build(hints[name], value) for name, value in data.items()})
    if typing.get_origin(kind) is types.UnionType:
        return None if data is None else _build(typing.get_args(kind)[0], data)
    if typing.get_origin(kind) is tuple:
        return tuple(_build(typing.get_args(kind)[0], item) for item in data)
    return data


def rendered_outputs(case: str) -> dict[str, str]:
    """What the case gives now: each bundle's files, and `summary.json` with all that is not text of a file."""
    intent = load(case)
    made = {f"{bundle.service}/{file.path}": file.text for bundle in registry.render(intent) for file in bundle.files}
    made["summary.json"] = json.dumps(_summary(intent), indent=2) + "\n"
    return made


def _summary(intent: RackIntent) -> dict[str, object]:
    return {
        spec.name: {
            "command": list(spec.command_for(intent)),
            "files": {file.path: f"{file.mode:04o} {file.owner}" for file in spec.render(intent).files},
            "state_files": {item.path: item.source for item in spec.state_files(intent)},
            "probes": [{"kind": probe.kind, **dict(probe.parameters)} for probe in spec.probes(intent)],
            "contents": sorted(spec.contents(spec.render(intent))),
        }
        for spec in registry.services()
        if spec.wanted(intent)
    }


def stored_outputs(case: str) -> dict[str, str]:
    """What is stored for the case."""
    folder = ROOT / case / "expected"
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}
