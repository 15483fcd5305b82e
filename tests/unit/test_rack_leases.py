"""Leases as a rack tells them: what lives of what its servers say, and what changed of what was told."""

from __future__ import annotations

import itertools
import json
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from workers.rack.channels.base import ChannelError
from workers.rack.channels.kea import KeaClient
from workers.rack.client import ControlPlaneDown
from workers.rack.dhcpd_leases import NEVER, LeaseEntry
from workers.rack.files import ServiceDirectories
from workers.rack.sensors import leases
from workers.rack.sensors.leases import LeaseSensor, Seen

NOW = 10_000.0
KEA4 = {
    "ip-address": "10.20.0.100", "hw-address": "52:54:00:00:00:0A", "hostname": "pad.lab.", "client-id": "ff:01", "cltt": 9_900,
    "valid-lft": 600, "state": 0, "subnet-id": 1,
}  # fmt: skip
KEA6 = {
    "ip-address": "2001:DB8::0:5", "duid": "00:03:00:01:52:54:00:00:00:0A", "iaid": 1, "type": "IA_NA", "cltt": 9_900,
    "valid-lft": 600, "state": 0, "hostname": "",
}  # fmt: skip
PAD = {
    "address": "10.20.0.100", "mac": "52:54:00:00:00:0a", "duid": None, "hostname": "pad.lab", "started_at": 9_900,
    "expires_at": 10_500,
}  # fmt: skip


def test_only_kea_leases_that_live_are_told() -> None:
    """Declined, reclaimed and expired ones, prefixes and nonsense are left out; a host name is made printable."""
    others = [
        {"ip-address": "10.20.0.101", "state": 1},
        {"ip-address": "10.20.0.102", "state": 2},
        {"ip-address": "10.20.0.103", "valid-lft": 60},
        {"ip-address": "10.20.0", "hostname": ""},
        {"ip-address": "10.20.0.104", "cltt": None},
        {"ip-address": "10.20.0.105", "valid-lft": 0xFFFFFFFF, "hostname": "a\x00b"},
    ]
    found = leases.of_kea([KEA4, *({**KEA4, **one} for one in others), {}], NOW)
    six = leases.of_kea([KEA6, {**KEA6, "type": "IA_PD", "ip-address": "2001:db8:1::"}], NOW)

    assert ["10.20.0.100", "10.20.0.105"] == list(found)
    assert PAD == found["10.20.0.100"]
    assert ("a?b", 9_900 + 0xFFFFFFFF) == (found["10.20.0.105"]["hostname"], found["10.20.0.105"]["expires_at"])
    assert {"2001:db8::5": "00:03:00:01:52:54:00:00:00:0a"} == {name: one["duid"] for name, one in six.items()}


def test_only_dhcpd_leases_that_live_are_told() -> None:
    """Free and abandoned ones are left out; one without an end gets the longest there is."""
    entries = [
        LeaseEntry("10.20.0.100", "52:54:00:00:00:0a", 9_900, 10_500, "active", "pad.lab"),
        LeaseEntry("10.20.0.101", "52:54:00:00:00:0b", 9_900, 10_500, "free"),
        LeaseEntry("10.20.0.102", "", 9_900, 10_500, "abandoned"),
        LeaseEntry("10.20.0.103", "52:54:00:00:00:0c", 0, NEVER, "active"),
        LeaseEntry("10.20.0.104", "52:54:00:00:00:0d", 9_000, 9_999, "active"),
    ]
    found = leases.of_files(entries, NOW)

    assert PAD == found["10.20.0.100"]
    assert {"10.20.0.100": 10_500, "10.20.0.103": 0xFFFFFFFF} == {
        name: one["expires_at"] for name, one in found.items()
    }


def many(count: int) -> Seen:
    """So many leases, not in order."""
    return leases.of_kea(
        ({**KEA4, "ip-address": f"10.20.{n >> 8}.{n & 255}"} for n in reversed(range(1, count + 1))), NOW
    )


@pytest.mark.parametrize(("count", "reports"), [(0, 1), (1, 1), (1000, 1), (1001, 2), (2500, 3)])
def test_the_whole_is_told_in_pages_that_leave_no_gap(count: int, reports: int) -> None:
    """Every address of the family is in one span exactly, and each lease in the report of its span."""
    found = many(count)
    made = leases.whole(found, 4)
    spans = [[int.from_bytes(socket.inet_aton(one["span"][name])) for name in ("first", "last")] for one in made]

    assert reports == len(made)
    assert (0, (1 << 32) - 1) == (spans[0][0], spans[-1][1])
    assert all(before[1] + 1 == after[0] for before, after in itertools.pairwise(spans))
    for (first, last), one in zip(spans, made, strict=True):
        assert all(first <= int.from_bytes(socket.inet_aton(item["address"])) <= last for item in one["leases"])
        assert len(one["leases"]) <= leases.PAGE
    assert sorted(found) == sorted(item["address"] for one in made for item in one["leases"])


def test_the_last_span_of_ipv6_ends_with_its_last_address() -> None:
    """As that of a family with no lease at all."""
    last = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"

    assert [{"leases": [], "ended": [], "span": {"first": "::", "last": last}}] == leases.whole({}, 6)


def test_changes_are_told_in_pages() -> None:
    """New and renewed ones, and those gone; nothing when nothing changed."""
    told = many(1500)
    found = {**dict(list(told.items())[1:]), "10.20.0.7": {**told["10.20.0.7"], "expires_at": 11_000}}
    gone = next(iter(told))

    assert [] == leases.changes(told, told)
    assert [{"leases": [found["10.20.0.7"]], "ended": [gone]}] == leases.changes(told, found)
    assert [1000, 500] == [len(one["ended"]) for one in leases.changes(told, {})]


class Plane:
    """A control plane that keeps what it is told, and may be away."""

    def __init__(self) -> None:
        self.told: list[Mapping[str, Any]] = []
        self.is_away = False

    def report_leases(self, report: Mapping[str, Any]) -> list[dict[str, str]]:
        """Keep it."""
        if self.is_away:
            raise ControlPlaneDown("away")
        self.told.append(report)
        return []


DHCPD = "lease 10.20.0.{} {{ starts epoch 9900; ends epoch {}; binding state active; hardware ethernet 52:54:00:00:00:0a; }}\n"


def test_a_failure_is_mended_by_telling_the_whole(tmp_path: Path) -> None:
    """First all, then what changed; all again after the control plane was away; nothing of a server that is off."""
    directories = ServiceDirectories(tmp_path, "dhcpd")
    directories.state.mkdir(parents=True)
    path = directories.state / "dhcpd.leases"
    plane, serving = Plane(), {"dhcpd"}
    sensor = LeaseSensor(
        lambda service: ServiceDirectories(tmp_path, service), serving.__contains__, plane, lambda: NOW
    )

    def turn(text: str) -> list[tuple[list[str], list[str], bool]]:
        path.write_text(text)
        plane.told.clear()
        sensor.soon()
        try:
            sensor.tell()
        except ControlPlaneDown:
            return []
        return [([item["address"] for item in one["leases"]], one["ended"], "span" in one) for one in plane.told]

    two = DHCPD.format(1, 20_000) + DHCPD.format(2, 20_000)

    assert [(["10.20.0.1", "10.20.0.2"], [], True)] == turn(two)
    assert [] == turn(two)
    assert [(["10.20.0.2"], [], False)] == turn(two + DHCPD.format(2, 30_000))
    assert [([], ["10.20.0.1"], False)] == turn(two + DHCPD.format(2, 30_000) + DHCPD.format(1, 9_950))
    plane.is_away = True
    assert [] == turn(two)
    plane.is_away = False
    assert [(["10.20.0.1", "10.20.0.2"], [], True)] == turn(two)
    sensor.tell()  # It is not time yet.
    assert 1 == len(plane.told)
    serving.clear()
    assert [] == turn("")
    serving.add("dhcpd")
    assert [([], [], True)] == turn("")


def test_a_server_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    """No lease of it is called gone because it does not answer."""
    plane = Plane()
    sensor = LeaseSensor(lambda service: ServiceDirectories(tmp_path, service), {"kea4"}.__contains__, plane)
    sensor.tell()

    assert [] == plane.told
    with pytest.raises(ChannelError, match="kea does not answer"):
        leases.read("kea4", ServiceDirectories(tmp_path, "kea4"), NOW)


def test_kea_is_read_in_pages(tmp_path: Path) -> None:
    """Each page begins after the last address of the one before; the last may be empty (result 3)."""
    asked = []
    path = tmp_path / "socket"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()

    def answer() -> None:
        for begin in (1, 3, 5):
            connection, _ = listener.accept()
            with connection:
                request = json.loads(connection.recv(65536))
                asked.append((request["command"], request["arguments"]))
                found = [{"ip-address": f"10.20.0.{n}"} for n in (begin, begin + 1) if n < 5]
                said = {"result": 0 if found else 3, "arguments": {"leases": found, "count": len(found)}}
                connection.sendall(json.dumps(said).encode())

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    with listener:
        pages = list(KeaClient(path, 5).lease_pages(2))
        thread.join(5)

    assert [2, 2, 0] == [len(page) for page in pages]
    assert [("lease4-get-page", {"from": after, "limit": 2}) for after in ("start", "10.20.0.2", "10.20.0.4")] == asked
