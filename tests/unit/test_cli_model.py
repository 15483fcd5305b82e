"""The network model as a file: what a file may say, where it is wrong, and what differs."""

from __future__ import annotations

import pytest

from app.cli.model.kinds import KINDS
from app.cli.model.plan import CREATE, DELETE, UPDATE, dangling, plan
from app.cli.model.text import Wrong, dump, parse

SUBNETS = """version: 1
subnets:
  - {cidr: 10.0.0.0/24, vlan: fabric-0/0, domain: lab}
  - {cidr: 10.0.1.0/24, vlan: fabric-0/0, domain: lab, gateway: 10.0.1.1}
  - {cidr: 10.0.10.0/24, vlan: fabric-0/0, domain: lab}
"""
RECORDS = "version: 1\ndomains:\n  - name: lab\n    records:\n      - "
WRONG = {
    "a word nobody knows": (
        SUBNETS + "  - {cidr: 10.0.3.0/24, vlan: a/0, domain: lab, gatway: 10.0.3.1}\n",
        6,
        "gatway",
    ),
    "a section nobody knows": ("version: 1\nsubnet: []\n", 2, "'subnet' is not known"),
    "another version": ("version: 2\n", 1, "must be 1"),
    "no version": ("\nspaces: []\n", 2, "version"),
    "said twice": (SUBNETS + "  - {cidr: 10.0.0.0/24, vlan: a/0, domain: lab}\n", 6, "line 3 says it already"),
    "twice in one": ("version: 1\nspaces:\n  - name: a\n    name: b\n", 4, "said twice"),
    "host bits": ("version: 1\nsubnets:\n  - cidr: 10.0.0.1/24\n    vlan: a/0\n    domain: lab\n", 3, "host bits"),
    "nothing required": ("version: 1\nsubnets:\n  - cidr: 10.0.0.0/24\n", 3, "says no vlan"),
    "no number": ("version: 1\nfabrics:\n  - name: a\n    vlans:\n      - vid: x\n", 5, "'x' is no whole number"),
    "no flag": (
        "version: 1\nfabrics:\n  - name: a\n    vlans:\n      - vid: 1\n        dhcp_on: 1\n",
        6,
        "neither true",
    ),
    "no choice": (RECORDS + "{name: a, type: PTR, data: x.}\n", 5, "'PTR' is none of"),
    "no mac": ("version: 1\nreservations:\n  - address: 10.0.0.5\n    mac: 52:54\n", 4, "no MAC address"),
    "no list": ("version: 1\nspaces: {name: a}\n", 2, "must be a list"),
    "no data": (RECORDS + "{name: a, type: A, data: 10.0.0.300}\n", 5, "data of a A record"),
    "a dot is missing": (RECORDS + "{name: a, type: CNAME, data: b.lab}\n", 5, "end it with one"),
    "a text without quotes": (RECORDS + "{name: a, type: TXT, data: hello}\n", 5, "between double quotes"),
    "two TTLs": (
        RECORDS + "{name: a, type: A, data: 1.1.1.1}\n      - {name: A, type: A, data: 1.1.1.2, ttl_seconds: 5}\n",
        6,
        "one ttl",
    ),
    "an alias": ("version: 1\nspaces: &a\n  - *a\n", 3, "cannot refer"),
    "no yaml": ("version: 1\nspaces: [\n", 3, "no YAML"),
    "empty": ("# nothing\n", None, "it is empty"),
    "a tag": ("version: 1\nspaces:\n  - name: !!python/object:os.system [x]\n", 3, "must be one value"),
    "a setting of no network": ("version: 1\nsettings:\n  retention: {event_days: 1}\n", 3, "'retention' is not known"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_with_its_line(case: str) -> None:
    """Unknown words, bad values and broken text are refused before anything is asked of a control plane."""
    text, line, words = WRONG[case]
    with pytest.raises(ValueError, match=r".") as caught:
        parse(text)

    assert words in str(caught.value)
    assert line is None or str(caught.value).startswith(f"line {line}: ")
    assert line is None or isinstance(caught.value, Wrong) or "no YAML" in str(caught.value)


def test_values_are_compared_in_one_form() -> None:
    """Upper case, long IPv6, MACs that YAML takes for numbers and relative names mean what the API shows."""
    said = parse(
        "version: 1\n"
        "reservations:\n  - {address: 2001:DB8:0::5, mac: 52-54-00-AA-00-01}\n  - {address: 10.0.0.5, mac: 52:54:00:12:34:56}\n"
        "domains:\n  - name: lab\n    records:\n"
        "      - {name: WWW, type: CNAME, data: Web1}\n      - {name: www.lab., type: MX, data: 10 mail}\n"
    ).model

    assert ["52:54:00:aa:00:01", "52:54:00:12:34:56"] == [one["mac"] for one in said["reservations"].values()]
    assert [("2001:db8::5",), ("10.0.0.5",)] == list(said["reservations"])
    assert [("lab", "www", "CNAME", "web1.lab."), ("lab", "www", "MX", "10 mail.lab.")] == list(said["records"])


def test_networks_stand_in_the_order_of_their_numbers() -> None:
    """10.0.10.0 comes after 10.0.1.0, and one form is written however a file was written."""
    shuffled = parse(SUBNETS).model
    shuffled["subnets"] = dict(reversed(shuffled["subnets"].items()))
    text = dump(shuffled)

    assert [text.index(f"cidr: 10.0.{number}.0/24") for number in (0, 1, 10)] == sorted(
        text.index(f"cidr: 10.0.{number}.0/24") for number in (0, 1, 10)
    )
    assert text == dump(parse(text).model)


def test_a_section_that_is_missing_is_left_alone() -> None:
    """A file that says nothing of devices prunes none; one that speaks of subnets speaks of their ranges."""
    present = parse(SUBNETS.replace("domain: lab}", "domain: lab, ranges: [{start: 10.0.0.5, end: 10.0.0.9, kind: dynamic}]}", 1)
                    + "devices:\n  - {hostname: a, domain: lab, zone: default}\n").model  # fmt: skip
    made = plan(parse(SUBNETS).model, present, prune=True)

    assert ["delete range 10.0.0.0/24 10.0.0.5"] == [str(change) for change in made.changes]
    assert () == made.kept


def test_deletes_need_asking_and_a_limit() -> None:
    """Without prune they are only named; with it, three in ten of a kind go, and more are refused by name."""
    ten = parse("version: 1\nspaces:\n" + "".join(f"  - name: s{number}\n" for number in range(10))).model
    seven, six = ({"spaces": dict(list(ten["spaces"].items())[:count])} for count in (7, 6))
    kept, pruned, over = plan(seven, ten), plan(seven, ten, prune=True), plan(six, ten, prune=True)

    assert (0, 3) == (len(kept.changes), len(kept.kept))
    assert (3, 0, []) == (pruned.count(DELETE), len(pruned.kept), pruned.too_many())
    assert ["4 of 10 spaces would be deleted, which is more than 30 %"] == over.too_many()


def test_what_goes_along_is_not_named_twice() -> None:
    """A device takes its interfaces and links with it; the untagged VLAN of a fabric stays as long as the fabric."""
    interface = "{mac: 52:54:00:00:00:01, name: e, links: [{subnet: 10.0.0.0/24, mode: dhcp}]}"
    device = f"{{hostname: a, domain: lab, zone: default, interfaces: [{interface}]}}"
    present = parse(f"version: 1\ndevices: [{device}]\nfabrics: [{{name: f, vlans: [{{vid: 0}}, {{vid: 5}}]}}]\n").model
    made = plan(parse("version: 1\ndevices: []\nfabrics: [{name: f}]\n").model, present, prune=True)

    assert ["delete VLAN f 5", "delete device a"] == [str(change) for change in made.changes]


def test_the_difference_can_be_read() -> None:
    """Values before and after, and only the lines of a long text that differ."""
    snippet = "version: 1\nsnippets:\n  - {{name: one, kind: option, body: {body}}}\n"
    before, after = (parse(snippet.format(body=body)).model for body in ('"a 1\\nb 2"', '"a 1\\nc 3"'))
    subnets = parse(SUBNETS.replace("10.0.1.1", "10.0.1.254")).model

    assert ["~ DHCP snippet one", "    body:", "      - b 2", "      + c 3"] == list(plan(after, before).lines())
    assert ["~ subnet 10.0.1.0/24", "    gateway: 10.0.1.1 -> 10.0.1.254"] == list(
        plan(subnets, parse(SUBNETS).model).lines()
    )
    assert [CREATE] * 3 == [change.verb for change in plan(subnets, {}).changes]
    assert [UPDATE] == [change.verb for change in plan(subnets, parse(SUBNETS).model).changes]


def test_references_to_nothing_are_found() -> None:
    """A VLAN or a domain that is neither there nor in the file is named before anything is done."""
    wanted = parse(SUBNETS).model
    made = plan(wanted, {})
    found = [(change.key[0], field) for change, field, _ in dangling(made, wanted, {"vlans": {"fabric-0/0": 1}})]

    assert [("10.0.0.0/24", "domain"), ("10.0.1.0/24", "domain"), ("10.0.10.0/24", "domain")] == found
    assert [] == list(dangling(made, wanted, {"vlans": {"fabric-0/0": 1}, "domains": {"lab": 1}}))


def test_every_kind_names_itself_by_its_own_fields() -> None:
    """Keys and inherited values are fields; what lies inside a thing inherits what names that."""
    for kind in KINDS.values():
        names = {field.name for field in kind.fields}

        assert set(kind.key) <= names
        assert kind.inside is None or tuple(theirs for _, theirs in kind.inherits) == KINDS[kind.inside].key
