"""dhcpd's file of leases: what is written is read, the last word counts, and no text makes the reader fail."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from workers.rack.dhcpd_leases import NEVER, HostEntry, LeaseEntry, parse, render, render_host_end, render_lease

addresses = st.ip_addresses(v=4).map(str)
macs = st.binary(min_size=6, max_size=6).map(lambda value: value.hex(":"))
names = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True)
times = st.integers(0, 4_000_000_000) | st.just(NEVER)
leases = st.builds(
    LeaseEntry,
    addresses,
    macs,
    times,
    times,
    st.sampled_from(["active", "free", "expired", "released", "abandoned", "backup"]),
    st.none() | names,
    st.none() | st.binary(min_size=1, max_size=20).map(bytes.hex),
)
values = st.binary(min_size=1, max_size=60)
options = st.lists(
    st.tuples(st.from_regex(r"muster-[1-9][0-9]?", fullmatch=True), values), max_size=4, unique_by=lambda one: one[0]
)
hosts = st.builds(HostEntry, names, macs, addresses, st.none() | names, options.map(tuple), st.binary(max_size=5))


@settings(max_examples=settings().max_examples // 2)
@given(st.lists(leases, max_size=8), st.lists(hosts, max_size=8))
def test_what_is_written_is_read(written: list[LeaseEntry], made: list[HostEntry]) -> None:
    """Every field comes back, client ids of any bytes too; of two words on one address or name the last counts."""
    found = parse(render(written, made))

    assert found.leases == {lease.address: lease for lease in written}
    assert found.hosts == {host.name: host for host in made}


@settings(max_examples=settings().max_examples // 2)
@given(hosts, st.booleans())
def test_a_host_that_was_deleted_is_gone(host: HostEntry, again: bool) -> None:
    """Until it is made again."""
    found = parse(render([], [host]) + render_host_end(host.name) + (render([], [host]) if again else ""))

    assert found.hosts == ({host.name: host} if again else {})


@settings(max_examples=settings().max_examples // 2)
@given(leases, leases, st.data())
def test_an_entry_that_is_being_written_is_not_there_yet(
    first: LeaseEntry, second: LeaseEntry, data: st.DataObject
) -> None:
    """A file that is cut off anywhere inside its last entry says what it said before."""
    tail = render_lease(second)
    cut = data.draw(st.integers(0, len(tail) - 3))
    found = parse(render_lease(first) + tail[:cut])

    assert found.leases == {first.address: first}


@settings(max_examples=settings().max_examples // 2)
@given(st.text(alphabet='lease host{};"\\# 10.0.1\n', max_size=200))
def test_no_text_makes_the_reader_fail(text: str) -> None:
    """Whatever is in the file, what is understood is read."""
    parse(text)


def test_a_file_of_dhcpds_own() -> None:
    """As version 4.4.3 has written it."""
    found = parse(
        """
# The format of this file is documented in the dhcpd.leases(5) manual page.
authoring-byte-order little-endian;
server-duid "\\000\\001\\000\\0011\\227";
lease 10.20.0.100 {
  starts 4 2026/11/26 17:30:00;
  ends 4 2026/11/26 17:40:00;
  cltt 4 2026/11/26 17:30:00;
  binding state active;
  next binding state free;
  rewind binding state free;
  hardware ethernet 52:54:00:20:00:0b;
  uid "\\001RT\\000 \\000\\013";
  set vendor-class-identifier = "PXEClient";
  client-hostname "n1";
}
host muster-1-525400200001 {
  dynamic;
  hardware ethernet 52:54:00:20:00:01;
  fixed-address 10.20.0.10;
        supersede host-name = "n1";
        supersede log-servers = 0a:14:
                                00:5e;
        supersede tcode = "0a:14";
        supersede dhcp-parameter-request-list = concat (option
                                                              dhcp-parameter-request-list, 
                                                        07:65:01);
}
"""
    )

    assert found.leases["10.20.0.100"] == LeaseEntry(
        "10.20.0.100", "52:54:00:20:00:0b", 1795714200, 1795714800, "active", "n1", "0152540020000b"
    )
    assert found.hosts == {
        "muster-1-525400200001": HostEntry(
            "muster-1-525400200001",
            "52:54:00:20:00:01",
            "10.20.0.10",
            "n1",
            (("log-servers", b"\x0a\x14\x00\x5e"), ("tcode", b"0a:14")),
            b"\x07\x65\x01",
        )
    }
