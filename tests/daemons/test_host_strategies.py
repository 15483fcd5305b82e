"""What every way of making DHCP hosts live promises, held with the real daemons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from renderers.dhcp.options import parse_line
from tests.daemons.host_lab import SUBNET, HostLab, host_lab, key_of, mac_of
from tests.daemons.rack_root import eventually
from workers.rack import host_keeper
from workers.rack.host_questions import Heard
from workers.rack.host_strategies import base
from workers.rack.hosts import Host, HostChange

STRATEGIES = ("host-commands", "hosts-database", "config-set", "omapi")


@pytest.fixture(scope="module", params=STRATEGIES)
def standing(request: pytest.FixtureRequest) -> Iterator[HostLab]:
    """One daemon for all tests of a strategy."""
    with host_lab(request.param) as made:
        yield made


@pytest.fixture
def lab(standing: HostLab) -> HostLab:
    """The daemon without any host."""
    keys = standing.store.values("vlan:1")
    standing.send((int(key[-5:-3], 16) << 8 | int(key[-2:], 16), None) for key in keys)
    assert standing.present() == {}
    return standing


def test_the_daemon_itself_says_which_strategy_fits(lab: HostLab) -> None:
    """Every daemon of the suite is driven by the strategy it stands for."""
    assert lab.strategy == base.choose(lab.daemon).name


def test_a_host_is_added_moved_and_taken_away(lab: HostLab) -> None:
    """A client is offered the very address, the new one after a change of address or MAC, and none of it after the end."""
    assert lab.send([(1, "10.20.0.10")]) == {}
    assert lab.offered(1).address == "10.20.0.10"

    assert lab.send([(1, "10.20.0.11")]) == {}
    assert lab.offered(1).address == "10.20.0.11"

    # Another network card: the old MAC's record goes, the new one takes its address, in one batch and in any order.
    assert lab.send([(2, "10.20.0.11"), (1, None)]) == {}
    assert lab.offered(2).address == "10.20.0.11"
    assert lab.offered(1).address != "10.20.0.11"
    assert lab.present() == {key_of(2): "10.20.0.11"}

    assert lab.send([(2, None)]) == {}
    assert lab.offered(2).address not in ("10.20.0.10", "10.20.0.11")
    assert lab.present() == {}


def test_a_machines_own_options_are_on_the_wire(lab: HostLab) -> None:
    """They come with its host, change with it and go, and what the daemon has is read back as what was sent."""
    for value in ("10.20.0.94", "10.20.0.95"):
        assert lab.send([(1, "10.20.0.10")], options=[{"name": "log-servers", "value": value}]) == {}
        assert lab.offered(1).options[7] == bytes(map(int, value.split(".")))

        (present,) = lab.on_rack(lambda: lab.keeper.present(lab.offer))[SUBNET].values()
        assert [present] == list(lab.daemon.stored(SUBNET))
    assert lab.send([(1, "10.20.0.10")]) == {}
    assert 7 not in lab.offered(1).options


def test_options_that_somebody_else_has_changed_are_found_and_mended(lab: HostLab) -> None:
    """Codes without a name, values of any length and of printable bytes too; they outlive a restart as they are."""
    said = {
        "option-224": "0x0102",
        "option-225": f"0x{bytes(range(200)).hex()}",
        "tcode": "Europe/Berlin",
        "option-34": "0x01",
    }
    options = [{"name": name, "value": value} for name, value in said.items()]
    assert lab.send([(1, "10.20.0.10")], options=options) == {}
    (stored,) = lab.daemon.stored(SUBNET)
    lab.on_rack(lambda: lab.keeper.settle(lab.offer))
    lab.restart()

    assert [stored] == list(lab.on_rack(lambda: lab.keeper.present(lab.offer))[SUBNET].values())

    other = replace(stored, options=(parse_line("option-224 0x0103", "machine"), *stored.options[:-1]))
    lab.apply([HostChange("vlan:1", stored.key, stored, other)])
    (present,) = lab.on_rack(lambda: lab.keeper.present(lab.offer))[SUBNET].values()

    assert present != stored
    lab.on_rack(lambda: lab.keeper.mend(lab.offer))
    assert [stored] == list(lab.on_rack(lambda: lab.keeper.present(lab.offer))[SUBNET].values())
    eventually(lambda: _equal(b"\1\2", lab.offered(1).options[224]), 15)


def test_an_option_that_a_client_does_not_get_is_taken_back() -> None:
    """What is offered is compared with what was promised, option by option."""
    host = Host(SUBNET, mac_of(1), "10.20.0.10", None, (parse_line("log-servers 10.20.0.94", "machine"),))

    assert Heard("10.20.0.10", {7: bytes([10, 20, 0, 94])}).differs(host) == ""
    assert "gets 0x0a14005d for log-servers" in Heard("10.20.0.10", {7: bytes([10, 20, 0, 93])}).differs(host)
    assert "gets nothing for log-servers" in Heard("10.20.0.10", {}).differs(host)


def test_a_value_that_a_daemon_could_not_read_again_is_refused(lab: HostLab) -> None:
    """dhcpd writes a quote into its file of leases as it is, so it is refused by name; Kea sends it."""
    failed = lab.send([(1, "10.20.0.10")], options=[{"name": "tcode", "value": 'a";b'}])

    if lab.strategy == "omapi":
        assert "cannot keep a quote" in failed[key_of(1)]
        assert lab.present() == {}
    else:
        assert failed == {}
        assert lab.offered(1).options[101] == b'a";b'


def test_the_last_word_on_a_key_counts(lab: HostLab) -> None:
    """Deleted and added in one batch is a change; a batch that is sent again changes nothing."""
    lab.send([(1, "10.20.0.10")])

    assert lab.send([(1, None), (1, "10.20.0.12")]) == {}
    assert lab.send([(1, "10.20.0.12")]) == {}
    assert lab.offered(1).address == "10.20.0.12"
    assert lab.present() == {key_of(1): "10.20.0.12"}


def test_five_hundred_in_a_batch_and_two_that_swap(lab: HostLab) -> None:
    """All of them are there, and addresses may be exchanged inside a batch."""
    wanted = {number: f"10.20.{number >> 8}.{number & 255}" for number in range(512, 1012)}

    assert lab.send(wanted.items()) == {}
    assert lab.present() == {key_of(number): address for number, address in wanted.items()}
    assert lab.offered(1011).address == wanted[1011]

    assert lab.send((number, None) for number in wanted) == {}
    assert lab.present() == {}

    lab.send([(2, "10.20.0.2"), (3, "10.20.0.3")])
    assert lab.send([(2, "10.20.0.3"), (3, "10.20.0.2")]) == {}
    assert (lab.offered(2).address, lab.offered(3).address) == ("10.20.0.3", "10.20.0.2")


def test_an_address_that_is_taken_is_refused_and_the_rest_is_live(lab: HostLab) -> None:
    """The newcomer is named with the holder; what came with it is served."""
    lab.send([(1, "10.20.0.10")])
    failed = lab.send([(2, "10.20.0.10"), (3, "10.20.0.13"), (4, "10.99.0.1")])

    assert set(failed) == {key_of(2), key_of(4)}
    assert mac_of(1) in failed[key_of(2)]
    assert "10.20.0.0/16" in failed[key_of(4)]
    assert lab.offered(3).address == "10.20.0.13"
    assert lab.present() == {key_of(1): "10.20.0.10", key_of(3): "10.20.0.13"}


def test_the_lease_of_who_has_lost_an_address_is_ended(lab: HostLab) -> None:
    """The next machine is offered the address at once, though the first one's lease would live on."""
    lab.send([(1, "10.20.0.14")])
    assert lab.lease(1) == "10.20.0.14"

    assert lab.send([(1, None), (2, "10.20.0.14")]) == {}
    assert lab.offered(2).address == "10.20.0.14"
    assert lab.lease(2) == "10.20.0.14"


def test_what_a_client_does_not_get_is_taken_back(lab: HostLab) -> None:
    """An address that a living client has leased from the pool is refused, and what was there before is back."""
    lab.send([(5, "10.20.0.15")])
    taken = lab.lease(0x200)
    failed = lab.send([(5, taken)])

    assert "another machine may hold it" in failed[key_of(5)]
    assert lab.present() == {key_of(5): "10.20.0.15"}
    assert lab.offered(5).address == "10.20.0.15"


def test_hosts_outlive_a_restart_and_strangers_in_the_store_do_not(
    lab: HostLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon starts into the same hosts; what the rack does not know of is taken out, what is missing is put back."""
    monkeypatch.setattr(
        host_keeper, "SETTLE_SECONDS", 0.0
    )  # Else they are written down some seconds after the last time.
    lab.send([(1, "10.20.0.16"), (2, "10.20.0.17")])
    lab.on_rack(lambda: lab.keeper.settle(lab.offer))
    lab.restart()
    eventually(lambda: _equal("10.20.0.16", lab.offered(1).address), 15)

    strange = Host(SUBNET, mac_of(3), "10.20.0.18", None)
    lost = Host(SUBNET, mac_of(2), "10.20.0.17", "n2")
    lab.apply([HostChange("vlan:1", strange.key, None, strange), HostChange("vlan:1", lost.key, lost, None)])
    assert lab.present() == {key_of(1): "10.20.0.16", key_of(3): "10.20.0.18"}

    lab.on_rack(lambda: lab.keeper.mend(lab.offer))

    assert lab.present() == {key_of(1): "10.20.0.16", key_of(2): "10.20.0.17"}
    assert lab.offered(2).address == "10.20.0.17"
    assert lab.offered(3).address != "10.20.0.18"


def test_a_host_that_is_refused_does_not_keep_the_others_from_being_loaded(lab: HostLab) -> None:
    """Kea refuses a second host at an address, dhcpd a name that it cannot read."""
    if lab.strategy not in ("host-commands", "omapi"):
        return  # These take all hosts at once, and the rack's store holds none that do not fit beside each other.
    hosts = [
        Host(SUBNET, mac_of(1), "10.20.0.20", "n1"),
        Host(SUBNET, mac_of(2), "10.20.0.20", 'n";bogus "'),
        Host(SUBNET, mac_of(3), "10.20.0.21", "n3"),
    ]
    refused = lab.on_rack(lambda: base.choose(lab.daemon).load(lab.daemon, {SUBNET: hosts}))

    assert [key_of(2)] == list(refused)
    assert lab.present() == {key_of(1): "10.20.0.20", key_of(3): "10.20.0.21"}
    lab.on_rack(lambda: base.choose(lab.daemon).load(lab.daemon, {SUBNET: []}))


def _equal(expected: object, actual: object) -> None:
    assert expected == actual
