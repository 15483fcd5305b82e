"""Options that people write come out as the bytes that the protocol wants, or are refused with the line and the remedy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderers.dhcp import dhcpd_form, kea_merge, kea_options
from renderers.dhcp.catalogue import CATALOGUE, OWNED
from renderers.dhcp.options import BodyError, Option, of_snippets, parse
from renderers.dhcp.values import ENCODERS, WORDS
from renderers.intent import SnippetIntent

ANY = st.text() | st.text(alphabet="ab\"'\\#;{}()%$,|& \t\n\r\0\x7f\u0085\u2028é<?>/:0x1", max_size=30)
SCOPES = ("global", "vlan", "subnet", "range", "machine")


@pytest.mark.parametrize(
    ("line", "code", "data"),
    [
        ("ntp-servers 10.0.0.1, 10.0.0.2", 42, "0a0000010a000002"),
        ("interface-mtu 9000", 26, "2328"),
        ("time-offset -3600", 2, "fffff1f0"),
        ("ip-forwarding on", 19, "01"),
        ('root-path "nfs:/srv, ro"', 17, "6e66733a2f7372762c20726f"),
        ("domain-search a.example, b.example", 119, "0161076578616d706c65000162076578616d706c6500"),
        ("classless-static-route 10.0.0.0/8 via 10.1.1.1, 0.0.0.0/0 via 10.1.1.2", 121, "080a0a010101000a010102"),
        ("static-routes 10.0.0.0 10.1.1.1", 33, "0a0000000a010101"),
        ("option-224 0xDEADbeef", 224, "deadbeef"),
        ("vendor-encapsulated-options 01:04:0a:00:00:01", 43, "01040a000001"),
        ("dhcp6.dns-servers 2001:db8::1", 23, "20010db8000000000000000000000001"),
        ("DHCP6.option-56 0x0001", 56, "0001"),
    ],
)
def test_a_line_is_encoded_as_on_the_wire(line: str, code: int, data: str) -> None:
    """Each kind of value has the form of its RFC."""
    option = parse(f"# a remark\n\n{line}\n", "subnet")[0]

    assert (code, data) == (option.code, option.data.hex())


@pytest.mark.parametrize(
    ("line", "phrase"),
    [
        ("ntp-server 10.0.0.1", "do you mean ntp-servers?"),
        ("ntp-servers time.example", "no IPv4 address"),
        ("ntp-servers fd00::1", "no IPv4 address"),
        ("ntp-servers", "write one after the name"),
        ("interface-mtu 70000", "from 0 to 65535"),
        ("subnet-mask 255.255.255.0", "no such option"),
        ("option-1 0xffffff00", "follows from the subnet's network"),
        ("option-51 0x00000010", "lease_seconds"),
        ("option-53 0x05", "sets it in every answer"),
        ("dhcp6.option-3 0x00", "sets it in every answer"),
        ("boot-file-name evil.efi", "switch the architecture off"),
        ("option-67 0x00", "switch the architecture off"),
        ("option-224 zz", "write 0x0a14"),
        ('root-path "open', "quote is not closed"),
        ("static-routes 10.0.0.0", "pairs"),
        ("classless-static-route 10.0.0.1/8 via 10.1.1.1", "host bits"),
        ("option-224 0x" + "00" * 256, "an option holds 255"),
        ("option-300 0x00", "no such code"),
        ('root-path "@secret:tsig-update@"', "references to secrets"),
        ("merit-dump <?include", "`<?`"),
    ],
)
def test_a_wrong_line_is_refused_with_its_number(line: str, phrase: str) -> None:
    """The error says which line, what is wrong, and what to write."""
    with pytest.raises(BodyError) as refused:
        parse(f"domain-name a.example\n{line}", "subnet")

    assert 2 == refused.value.line
    assert phrase in str(refused.value)


def test_boot_files_may_be_named_for_a_range_or_a_machine() -> None:
    """What is refused for a network is good for the few."""
    assert [67] == [option.code for option in parse("boot-file-name switch.cfg", "range")]
    assert [66] == [option.code for option in parse("tftp-server-name 10.0.0.9", "machine")]


@given(ANY, st.sampled_from(SCOPES))
def test_no_text_breaks_the_reading(body: str, scope: str) -> None:
    """Every text gives options or a BodyError; what is given never holds a line end or an owned code."""
    for kind in ("option", "kea4", "kea6", "dhcpd"):
        try:
            if kind == "option":
                found = parse(body, scope)
                assert all(option.code not in OWNED[option.family] and option.value.isprintable() for option in found)
            elif kind == "dhcpd":
                dhcpd_form.check(body)
            else:
                kea_merge.parse(body, scope, kind)
        except BodyError:
            continue


@given(st.sampled_from(sorted(CATALOGUE)), ANY)
def test_a_named_option_has_one_line_in_every_form(name: str, value: str) -> None:
    """No value leaves its place in Kea's or dhcpd's file."""
    try:
        option = parse(f"{name} {value}", "machine")[0]
    except (BodyError, IndexError):
        return

    assert set("0123456789ABCDEF") >= set(kea_options.of(option)["data"])
    assert 1 == dhcpd_form.statement(option).count(";")
    assert dhcpd_form.statement(option).isprintable()


def test_the_catalogue_is_whole() -> None:
    """Codes are named once in a family, none of them is owned, each kind has an encoder and words for people."""
    pairs = [(entry.family, entry.code) for entry in CATALOGUE.values()]

    assert len(set(pairs)) == len(pairs)
    assert [] == [entry.name for entry in CATALOGUE.values() if entry.code in OWNED[entry.family]]
    assert {entry.kind for entry in CATALOGUE.values()} == set(ENCODERS) == set(WORDS)


def test_later_lines_and_snippets_go_over_earlier_ones() -> None:
    """The last word on a code counts, once."""
    first = SnippetIntent(1, "first", "option", "ntp-servers 10.0.0.1\ntcode Europe/Berlin\nntp-servers 10.0.0.2")
    second = SnippetIntent(2, "second", "option", "ntp-servers 10.0.0.3\ndhcp6.dns-servers ::1")
    found = of_snippets((first, second), "vlan", 4)

    assert {"ntp-servers": "10.0.0.3", "tcode": "Europe/Berlin"} == {item.name: item.value for item in found}


@pytest.mark.parametrize(
    ("scope", "body", "phrase", "line"),
    [
        ("global", '{"valid-lifetime": 1,\n "interfaces-config": {}}', "interfaces-config is Muster's own", 2),
        ("global", '{"control-socket": {}}', "control-socket", 1),
        ("global", '{\n"hooks-libraries": [{"library": "/tmp/x.so"}]}', "hooks-libraries", 2),
        ("global", '{"lease-database": {}}', "lease-database", 1),
        ("global", '{"loggers": []}', "loggers", 1),
        ("global", '{"cache-threshold": 0.25}', "cache-threshold is Muster's own", 1),
        ("subnet", '{"id": 5}', "id is Muster's own", 1),
        ("subnet", '{"pools": []}', "pools", 1),
        ("subnet", '{"reservations": []}', "reservations", 1),
        ("range", '{"pool": "10.0.0.1 - 10.0.0.2"}', "pool is", 1),
        ("vlan", '{"subnet4": []}', "subnet4", 1),
        ("subnet", '{"comment": "a\\u0000include /etc/shadow"}', "control characters", 1),
        ("subnet", '{"user-context": {\n"x": "<?include"}}', "`<?`", 2),
        ("subnet", '{"comment": "@secret:tsig-update@"}', "secret", 1),
        ("subnet", '{"valid-lifetime": 1,\n"valid-lifetime": 2}', "twice", 1),
        ("subnet", '{"valid-lifetime": 1,\n}', "no JSON", 2),
        ("subnet", "[]", "JSON object", None),
        ("subnet", '{"option-data": {}}', "list of objects", 1),
        (
            "global",
            '{"client-classes": [{"name": "bios", "test": "\'a\' == \'a\'"}]}',
            "no name for a class of yours",
            1,
        ),
        ("global", '{"client-classes": [{"name": "ipxe-12"}]}', "no name for a class of yours", 1),
    ],
)
def test_what_muster_owns_cannot_be_merged(scope: str, body: str, phrase: str, line: int | None) -> None:
    """The key is named, with its line."""
    with pytest.raises(BodyError) as refused:
        kea_merge.parse(body, scope, "kea4")

    assert phrase in str(refused.value)
    assert line == refused.value.line


def test_merging_joins_objects_appends_classes_and_replaces_values() -> None:
    """The rules of the module's first paragraph."""
    entry = {"a": {"x": 1, "y": 2}, "client-classes": [1], "valid-lifetime": 5}
    added = {"a": {"y": 3}, "client-classes": [2], "valid-lifetime": 6, "option-data": [{"code": 1}]}

    assert {"a": {"x": 1, "y": 3}, "client-classes": [1, 2], "valid-lifetime": 6} == kea_merge.merge(entry, [added])
    assert 5 == entry["valid-lifetime"]


def test_an_option_takes_the_place_of_the_same_option_however_it_is_named() -> None:
    """By name or by code, in one space."""
    own = [kea_options.option("ntp-servers", "10.0.0.1"), kea_options.option("domain-name", "a")]
    over = kea_options.overlay(own, [kea_options.of(Option(4, 42, "ntp-servers", "10.0.0.2", bytes([10, 0, 0, 2])))])

    assert [42, "domain-name"] == [entry.get("code", entry.get("name")) for entry in over]
    assert 3 == len(kea_options.overlay(own, [{"name": "ntp-servers", "space": "other", "data": "x"}]))


@pytest.mark.parametrize(
    ("body", "phrase", "line"),
    [
        ("max-lease-time 60;\n}\nsubnet 1.2.3.0 netmask 255.255.255.0 {", "closes more", 2),
        ('if exists agent.circuit-id {\n log(info, "x");', "not closed", 2),
        ("max-lease-time 60", "add ;", 1),
        ('include "/etc/shadow";', "include", 1),
        ('if known {\n execute("/bin/sh");\n}', "execute", 2),
        ('option domain-name "@secret:omapi@";', "references to secrets", 1),
        ("max-lease-time 60;\n# @secret:omapi@", "references to secrets", 2),
        ("omapi-port 7911;", "omapi-port", 1),
        ("if known { host x { } }", "host", 1),
        ('option domain-name "open;\n', "quote is not closed", 1),
    ],
)
def test_dhcpd_text_stays_in_its_scope(body: str, phrase: str, line: int) -> None:
    """Blocks that are not its own, structure, files and programs are refused with the line."""
    with pytest.raises(BodyError) as refused:
        dhcpd_form.check(body)

    assert phrase in str(refused.value)
    assert line == refused.value.line


def test_dhcpd_text_that_is_good_is_taken() -> None:
    """Conditions, definitions, quotes with marks in them and remarks."""
    dhcpd_form.check(
        '# } not counted\nif option vendor-class-identifier = "a } b" {\n  max-lease-time 60;\n}\n'
        "option space pxe;\noption pxe.magic code 208 = string;\n"
    )
