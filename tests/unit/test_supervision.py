"""Which supervisor a rack takes: what its configuration names, else what is there."""

from __future__ import annotations

import dataclasses
import json
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.rack.config import ConfigError, RackConfig, load_config
from workers.rack.supervision import choose_units
from workers.rack.systemd import SystemdUnits, unit_file
from workers.rack.units import SupervisorUnits, Unit, UnitError


@pytest.fixture
def config() -> Iterator[RackConfig]:
    """A rack whose state directory's name is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="mu-") as root:
        (Path(root) / "run").mkdir()
        yield RackConfig(Path(root), "https://muster.example", 1, "one", "rack.one", "key")


@pytest.mark.parametrize(
    ("setting", "booted", "socket_state", "expected"),
    [
        ("auto", True, "none", SystemdUnits),
        ("auto", True, "served", SupervisorUnits),
        ("auto", True, "left", SystemdUnits),
        ("auto", False, "none", SupervisorUnits),
        ("auto", False, "served", SupervisorUnits),
        ("systemd", False, "served", SystemdUnits),
        ("supervisord", True, "none", SupervisorUnits),
    ],
)
def test_the_supervisor_is_the_named_one_or_the_one_that_is_there(
    config: RackConfig, setting: str, booted: bool, socket_state: str, expected: type
) -> None:
    """A supervisord that answers comes before the systemd that booted the host; one that was killed does not count."""
    with socket.socket(socket.AF_UNIX) as listener:
        if socket_state != "none":
            listener.bind(str(config.supervisor_path))
        if socket_state == "served":
            listener.listen()
        sign = config.root if booted else config.root / "absent"
        chosen = choose_units(dataclasses.replace(config, supervisor=setting), booted=sign)

    assert isinstance(chosen, expected)


def test_a_rack_keeps_its_choice_and_knows_no_third(config: RackConfig) -> None:
    """A rack that was enrolled by an earlier version has none written down, which is `auto`; a wrong word is refused."""
    dataclasses.replace(config, supervisor="systemd").save()
    path = config.root / "rack.json"
    data = json.loads(path.read_text())
    kept = load_config(config.root).supervisor
    path.write_text(json.dumps({name: value for name, value in data.items() if name != "supervisor"}))
    earlier = load_config(config.root).supervisor
    path.write_text(json.dumps({**data, "supervisor": "runit"}))

    assert ("systemd", "auto") == (kept, earlier)
    with pytest.raises(ConfigError, match="supervisor 'runit' is unknown; write one of auto, systemd, supervisord"):
        load_config(config.root)


def test_words_are_written_so_that_systemd_reads_them_back() -> None:
    """Quotes, escapes, specifiers, variables and line ends are escaped; what a file cannot hold is refused by name."""
    text = unit_file(Unit("kea4", ("kea-dhcp4", "-c", 'a b"c\\', "%n", "$HOME", "x\ny"), (("DIR", "100% $x"),)))

    assert r'ExecStart="kea-dhcp4" "-c" "a b\"c\\" "%%n" "$$HOME" "x\x0ay"' in text.splitlines()
    assert 'Environment="DIR=100%% $x"' in text.splitlines()
    for unit in (Unit("x", ("a\0b",)), Unit("x", ("\udcff",)), Unit("x", ("a",), (("B A D", "1"),))):
        with pytest.raises(UnitError):
            unit_file(unit)
