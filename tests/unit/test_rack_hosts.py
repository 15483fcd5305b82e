"""What hosts are refused before any daemon hears of them, and how strategies are found."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from workers.rack.files import ServiceDirectories
from workers.rack.host_keeper import HostKeeper
from workers.rack.host_strategies import base
from workers.rack.hosts import Host, HostChange, conflicts, parse_host
from workers.rack.offer import Offer, SubnetOffer
from workers.rack.record_store import RecordChange, RecordStore
from workers.rack.secret_files import SecretFiles

SUBNETS = {1: SubnetOffer(1, 7, "10.0.0.0/24", "eth0", "10.0.0.1")}


def host(number: int, address: str | None) -> Host | None:
    """The host of a machine at an address, None without one."""
    return Host(1, f"52:54:00:00:00:{number:02x}", address, None) if address else None


def change(number: int, before: str | None, after: str | None) -> HostChange:
    """A machine that had one address and shall have another."""
    return HostChange("vlan:7", f"host:1:52:54:00:00:00:{number:02x}", host(number, before), host(number, after))


A, B = "10.0.0.10", "10.0.0.11"


@pytest.mark.parametrize(
    ("scenario", "changes", "refused"),
    [
        ("a free address", [change(1, None, A)], []),
        ("an address outside", [change(1, None, "10.0.1.1")], [1]),
        ("an address that is held", [change(2, None, B)], [2]),
        ("two newcomers for one", [change(1, None, A), change(2, None, A)], [2]),
        ("two that swap", [change(9, B, A), change(1, A, B)], []),
        ("one that takes what another leaves", [change(1, None, B), change(9, B, None)], []),
        ("one that takes what another may not leave", [change(1, None, B), change(9, B, "10.9.9.9")], [1, 9]),
        ("one that stays", [change(9, B, B)], []),
    ],
)
def test_the_newcomer_is_refused(scenario: str, changes: list[HostChange], refused: list[int]) -> None:
    """An address belongs to one machine, and only who really leaves makes room."""
    held = {B: [Host(1, "52:54:00:00:00:09", B, None)]}
    found = conflicts(changes, lambda item: held.get(item.after.address, []) if item.after else [], SUBNETS)

    assert [f"host:1:52:54:00:00:00:{number:02x}" for number in refused] == sorted(key for _, key in found), scenario


def test_a_host_reads_its_record_and_says_it_to_kea() -> None:
    """Both families; a value that is not its key's is refused."""
    key = "host:1:52:54:00:00:00:01"
    value = {"subnet_id": 1, "mac": "52:54:00:00:00:01", "hostname": "n1"}

    assert parse_host(key, value | {"address": A}).as_kea() == {
        "hw-address": "52:54:00:00:00:01",
        "ip-address": A,
        "hostname": "n1",
    }
    assert parse_host(key, value | {"address": "2001:db8::1"}).as_kea()["ip-addresses"] == ["2001:db8::1"]
    with pytest.raises(ValueError, match="do not match"):
        parse_host(key, value | {"address": A, "subnet_id": 2})


def test_strategies_are_found_and_ranked() -> None:
    """Every daemon has one that always fits, and it is the last resort."""
    for service in ("kea4", "kea6"):
        assert base.candidates(service)[-1].name == "config-set"


def test_what_could_not_be_written_down_is_written_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk costs the hosts that a daemon keeps in its memory nothing but time."""
    written: list[set[int]] = []
    troubles = [OSError("no space left on device")]

    def settle(daemon: base.HostDaemon, subnet_ids: set[int]) -> None:
        if troubles:
            raise troubles.pop()
        written.append(subnet_ids)

    strategy = SimpleNamespace(apply=lambda daemon, changes: {}, settle=settle)
    monkeypatch.setattr(base, "choose", lambda daemon: strategy)
    moment = [1000.0]
    keeper = HostKeeper(
        RecordStore(tmp_path / "records.db"), lambda service: ServiceDirectories(tmp_path, service),
        SecretFiles(tmp_path / "secrets"), lambda service: service == "kea4", askers={}, clock=lambda: moment[0],
    )  # fmt: skip
    offer = Offer(1, 1, (), (), {}, {}, {}, frozenset({"vlan:7"}), (), tuple(SUBNETS.values()))
    keeper.apply([RecordChange(1, "vlan:7", "host:1:52:54:00:00:00:01", None)], offer)
    with pytest.raises(OSError, match="no space"):
        keeper.settle(offer)
    moment[0] += 1000
    keeper.settle(offer)

    assert [{1}] == written


@pytest.mark.parametrize("name", ["hosts-database", "config-set", "omapi"])
def test_what_is_on_the_disk_already_is_not_read_to_be_written_down(tmp_path: Path, name: str) -> None:
    """After each change of one of 50,000 hosts, nobody reads all of them."""
    (strategy,) = [one for one in base.strategies() if one.name == name]

    def stored(subnet_id: int) -> list[Host]:
        raise AssertionError(subnet_id)

    service = sorted(strategy.services)[0]
    daemon = base.HostDaemon(service, ServiceDirectories(tmp_path, service), SecretFiles(tmp_path), stored)
    strategy.settle(daemon, {1})
