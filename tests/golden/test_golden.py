"""Whole outputs of every rendered service are what was reviewed."""

import pytest

from renderers import registry
from tests.golden.boot.texts import rendered_texts, stored_texts
from tests.golden.case import cases, load, rendered_outputs, stored_outputs


@pytest.mark.parametrize("case", cases())
def test_outputs_are_as_reviewed(case: str) -> None:
    """Every file, mode, owner, command line and probe of a case equals the stored one (`make golden` rewrites)."""
    stored = stored_outputs(case)

    assert stored == rendered_outputs(case)


def test_every_service_has_a_case() -> None:
    """No service is without a golden case."""
    covered = {spec.name for case in cases() for spec in registry.services() if spec.wanted(load(case))}

    assert {spec.name for spec in registry.services()} == covered


def test_texts_for_machines_are_as_reviewed() -> None:
    """Boot scripts, seeds and layouts equal the stored ones."""
    stored = stored_texts()

    assert stored == rendered_texts()
