"""docs/power.md says of every power driver what the registry says."""

from pathlib import Path

import pytest

from app.power.base import PowerDriver
from app.power.registry import driver, drivers

PAGE = Path(__file__).resolve().parents[2] / "docs" / "power.md"
HEAD = "| parameter | what | value |\n|---|---|---|\n"


def table(chosen: PowerDriver) -> str:
    """A driver's parameters as they must stand in the page."""
    rows = []
    for one in chosen.parameters:
        words = [", ".join(f"`{choice}`" for choice in one.choices)] if one.choices else []
        words += ["secret"] if one.secret else []
        words += ["required"] if one.required else []
        words += [f"default `{one.default}`".replace("|", "\\|")] if one.default else []
        rows.append(f"| `{one.name}` | {one.label} | {'; '.join(words) or 'optional'} |\n")
    return HEAD + "".join(rows)


@pytest.mark.parametrize("name", drivers())
def test_every_driver_stands_in_the_page_with_its_parameters(name: str) -> None:
    """The section has the driver's name and title and exactly its parameters; the failure shows the table to paste."""
    chosen = driver(name)
    section = PAGE.read_text(encoding="utf-8").partition(f"\n## `{name}`: {chosen.title}\n")[2].partition("\n## ")[0]

    assert table(chosen) in section, f"docs/power.md, section {name}, must hold:\n{table(chosen)}"


def test_the_page_has_no_other_driver() -> None:
    """A section of a driver that is gone is gone too."""
    found = [line.split("`")[1] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("## `")]

    assert list(drivers()) == sorted(found)
