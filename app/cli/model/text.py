"""The text of a model: YAML with things in a stable order and defaults left out, and back, naming lines that are wrong."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Any

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import yaml

from app.cli.model.kinds import (
    KINDS,
    OUTER,
    REQUIRED,
    SETTINGS,
    Field,
    Key,
    Kind,
    Model,
    Thing,
    complete,
    inner,
    outer_key,
    sort_key,
)

VERSION = 1
_NULL, _INT, _BOOL = (f"tag:yaml.org,2002:{word}" for word in ("null", "int", "bool"))
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_TARGETED = ("CNAME", "MX", "NS", "SRV")


class Wrong(ValueError):
    """Something in a file that cannot be; the sentence begins with its line."""

    def __init__(self, node: yaml.Node | yaml.Event, sentence: str) -> None:
        mark = node.start_mark
        super().__init__(f"line {mark.line + 1}: {sentence}" if mark is not None else sentence)


@dataclass
class Parsed:
    """A file: what it says, and on which line it says it.  ttls: of each domain, name and type of records."""

    model: Model = field(default_factory=dict)
    lines: dict[tuple[str, Key], int] = field(default_factory=dict)
    ttls: dict[tuple[str, str, str], int | None] = field(default_factory=dict)


def dump(model: Model) -> str:
    """The file of a whole model."""
    whole: dict[str, Any] = {"version": VERSION}
    for kind in OUTER:
        things = model.get(kind.name, {})
        if kind.name == "settings":
            whole[kind.name] = {key[0]: things[key]["value"] for key in sorted(things)}
        else:
            whole[kind.name] = _shown(model, kind, None)
    return yaml.dump(whole, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def _shown(model: Model, kind: Kind, outside: Key | None, groups: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """What a file says of the things of a kind, or of those that lie in one outer thing."""
    groups = groups if groups is not None else _grouped(model)
    things = groups[kind.name].get(outside, [])
    if not kind.in_order:
        things = sorted(things, key=lambda thing: sort_key(kind.key_of(thing)))
    said = []
    for thing in things:
        made = {
            one.name: thing[one.name]
            for one in kind.own
            if one.name in kind.key or one.default is REQUIRED or thing[one.name] != one.silent(thing)
        }
        for below in inner(kind):
            if parts := _shown(model, below, kind.key_of(thing), groups):
                made[below.name] = parts
        said.append(made)
    return said


def _grouped(model: Model) -> dict[str, dict[Key | None, list[Thing]]]:
    groups: dict[str, dict[Key | None, list[Thing]]] = {}
    for kind in KINDS.values():
        mine = groups.setdefault(kind.name, {})
        for thing in model.get(kind.name, {}).values():
            mine.setdefault(outer_key(kind, thing) if kind.inside else None, []).append(thing)
    return groups


class _Dumper(yaml.SafeDumper):
    """Long text as it is, not folded between quotes; lists indented as people do."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indent lists below their names."""
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        """The same list twice is written twice."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, "|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def parse(text: str) -> Parsed:
    """What a file says. Wrong names the line of what it cannot say."""
    try:
        root = _whole(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None else ""
        said = getattr(error, "problem", None) or getattr(error, "reason", None) or error
        raise ValueError(f"{where}this is no YAML: {said}") from error
    parsed = Parsed()
    sections = _mapping(root, "the file", ("version", *(kind.name for kind in OUTER)))
    version = sections.pop("version", None)
    if version is None or version.value != str(VERSION):
        raise Wrong(version or root, f"version: must be {VERSION}, the only one there is")
    for kind in OUTER:
        if kind.name in sections:
            if kind.name == "settings":
                _take_settings(parsed, sections[kind.name])
            else:
                _take(parsed, kind, sections[kind.name], {})
    return parsed


def _whole(text: str) -> yaml.Node:
    """The tree of a file that refers to no part of itself: a small file could be endless otherwise."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.AliasEvent):
            raise Wrong(event, "a file cannot refer to a part of itself (*name); write it again")
    root: yaml.Node | None = yaml.compose(text, Loader=loader)
    if root is None:
        raise yaml.YAMLError("it is empty")
    return root


def _mapping(node: yaml.Node, what: str, known: tuple[str, ...]) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        raise Wrong(node, f"{what}: must be names with values; there are {', '.join(known)}")
    made: dict[str, yaml.Node] = {}
    for name, value in node.value:
        word = name.value if isinstance(name, yaml.ScalarNode) else "?"
        if word not in known:
            raise Wrong(name, f"{what}: {word!r} is not known; there are {', '.join(known)}")
        if word in made:
            raise Wrong(name, f"{what}: {word} is said twice")
        made[word] = value
    return made


def _take(parsed: Parsed, kind: Kind, node: yaml.Node, inherited: Thing) -> None:
    """Add the things of a section."""
    _open(parsed, kind)
    if isinstance(node, yaml.ScalarNode) and node.tag == _NULL:
        return
    if not isinstance(node, yaml.SequenceNode):
        raise Wrong(node, f"{kind.name}: must be a list")
    known = (*(one.name for one in kind.own), *(below.name for below in inner(kind)))
    for item in node.value:
        said = _mapping(item, f"a {kind.word}", known)
        thing = dict(inherited)
        for one in kind.own:
            if one.name in said:
                thing[one.name] = _value(one, said[one.name], kind)
            elif one.default is REQUIRED:
                raise Wrong(item, f"a {kind.word}: it says no {one.name}")
        if kind.name == "records":
            _canonical(thing, said)
        thing = complete(kind, thing)
        if kind.name == "records":
            _check_ttl(parsed, thing, item)
        key = kind.key_of(thing)
        if (kind.name, key) in parsed.lines:
            raise Wrong(item, f"{kind.called(key)}: line {parsed.lines[kind.name, key]} says it already")
        parsed.model[kind.name][key] = thing
        parsed.lines[kind.name, key] = item.start_mark.line + 1
        for below in inner(kind):
            if below.name in said:
                _take(parsed, below, said[below.name], {mine: thing[theirs] for mine, theirs in below.inherits})


def _open(parsed: Parsed, kind: Kind) -> None:
    """A file that speaks of a kind speaks of what lies inside such things too."""
    parsed.model.setdefault(kind.name, {})
    for below in inner(kind):
        _open(parsed, below)


def _take_settings(parsed: Parsed, node: yaml.Node) -> None:
    made = parsed.model.setdefault("settings", {})
    if isinstance(node, yaml.ScalarNode) and node.tag == _NULL:
        return
    for name, value in _mapping(node, "settings", SETTINGS).items():
        if not isinstance(value, yaml.MappingNode):
            raise Wrong(value, f"setting {name}: must be names with values, as `muster setting list` shows them")
        made[(name,)] = {"name": name, "value": _plain(value)}
        parsed.lines["settings", (name,)] = value.start_mark.line + 1


def _plain(node: yaml.Node) -> Any:
    """A setting's value; the API knows what is right for each."""
    if isinstance(node, yaml.MappingNode):
        return {str(name.value): _plain(value) for name, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_plain(one) for one in node.value]
    if node.tag == _BOOL:
        return _flag(node)
    return _number(node) if node.tag == _INT else str(node.value)


def _value(one: Field, node: yaml.Node, kind: Kind) -> Any:
    what = f"{one.name} of a {kind.word}"
    if one.many:
        if not isinstance(node, yaml.SequenceNode):
            raise Wrong(node, f"{what}: must be a list")
        return [_scalar(one, part, what) for part in node.value]
    if isinstance(node, yaml.ScalarNode) and node.tag == _NULL:
        if one.default is None:
            return None
        raise Wrong(node, f"{what}: it needs a value")
    return _scalar(one, node, what)


def _scalar(one: Field, node: yaml.Node, what: str) -> Any:
    if not isinstance(node, yaml.ScalarNode):
        raise Wrong(node, f"{what}: must be one value")
    text = str(node.value)
    if one.form == "number":
        if node.tag != _INT:
            raise Wrong(node, f"{what}: {text!r} is no whole number")
        return _number(node)
    if one.form == "flag":
        if node.tag != _BOOL:
            raise Wrong(node, f"{what}: {text!r} is neither true nor false")
        return _flag(node)
    if one.choices and text not in one.choices:
        raise Wrong(node, f"{what}: {text!r} is none of {', '.join(one.choices)}")
    try:
        return _FORMS[one.form](text)
    except ValueError as error:
        raise Wrong(node, f"{what}: {error}") from error


def _number(node: yaml.Node) -> int:
    try:
        return int(node.value)
    except ValueError:
        raise Wrong(node, f"{node.value!r} is no whole number; write decimal digits, or put words in quotes") from None


def _flag(node: yaml.Node) -> bool:
    return str(node.value).lower() in ("true", "yes", "on")


def mac(text: str) -> str:
    """A MAC address in lower case with colons. ValueError when it is none."""
    shown = text.strip().lower().replace("-", ":")
    if not _MAC.fullmatch(shown):
        raise ValueError(f"{text!r} is no MAC address; write it as in 52:54:00:12:34:56")
    return shown


_FORMS: dict[str, Any] = {
    "text": lambda text: text,
    "words": lambda text: text,
    "mac": mac,
    "address": lambda text: str(ipaddress.ip_address(text)),
    "cidr": lambda text: str(ipaddress.ip_network(text)),
}


def _check_ttl(parsed: Parsed, thing: Thing, node: yaml.Node) -> None:
    """Records of one name and type share a TTL (RFC 2181, section 5.2)."""
    rrset = (thing["domain"], thing["name"], thing["type"])
    ttl = parsed.ttls.setdefault(rrset, thing["ttl_seconds"])
    if ttl != thing["ttl_seconds"]:
        raise Wrong(node, f"records {rrset[1]} {rrset[2]}: give all of them one ttl_seconds, as they are one answer")


def _canonical(thing: Thing, said: dict[str, yaml.Node]) -> None:
    """Name and data of a record in the form that the API shows: data of RFC 1035, names in it absolute."""
    origin = dns.name.from_text(thing["domain"])
    kind, data = thing["type"], thing["data"].strip()
    try:
        name = dns.name.from_text(thing["name"], origin).canonicalize()
        if not name.is_subdomain(origin):
            raise ValueError(f"{thing['name']} is not in {thing['domain']}")
        thing["name"] = name.relativize(origin).to_text()
    except (dns.exception.DNSException, UnicodeError, ValueError) as error:
        raise Wrong(said["name"], f"name of a record: {error}") from error
    try:
        if kind == "TXT" and not data.startswith('"'):
            raise ValueError("write the text of a TXT record between double quotes, and all of it between single ones")
        if kind in _TARGETED and "." in (target := data.split(" ")[-1]).rstrip(".") and not target.endswith("."):
            raise ValueError(f"{target} has dots, so end it with one")
        rdata = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.from_text(kind), data, origin, relativize=False)
    except (dns.exception.DNSException, UnicodeError, ValueError) as error:
        raise Wrong(said["data"], f"data of a {kind} record: {error or type(error).__name__}") from error
    shown = rdata.to_text()
    if kind in _TARGETED:
        *numbers, target = shown.split(" ")
        shown = " ".join([*numbers, dns.name.from_text(target).canonicalize().to_text()])
    thing["data"] = shown
