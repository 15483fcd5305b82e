"""Files of the network model under random models: writing and reading lose nothing, and plans lead where they should."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.cli.model.kinds import KINDS, Model, outer_key
from app.cli.model.plan import CREATE, DELETE, Plan, plan
from app.cli.model.text import dump, parse

NAMES = st.sampled_from(
    ["a", "b", "null", "yes", "1e3", "0x10", "#c", "two words", "-", "ü", "3:20", "~", "'q\"", "{x", "a: b"]
)
WORDS = st.one_of(NAMES, st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=20),
                  st.sampled_from(["x\ny", " x\n  y\n", "a\n\nb ", "\ttab\n"]))  # fmt: skip
FORMS: dict[str, Any] = {
    "text": NAMES,
    "words": WORDS,
    "number": st.integers(0, 5),
    "flag": st.booleans(),
    "mac": st.integers(0, 3).map(lambda number: f"52:54:00:00:00:{number:02x}"),
    "address": st.sampled_from(["10.0.0.1", "10.0.0.20", "2001:db8::1"]),
    "cidr": st.sampled_from(["10.0.0.0/24", "10.0.10.0/24", "2001:db8::/64"]),
    "value": st.dictionaries(NAMES, st.one_of(st.booleans(), st.lists(NAMES, max_size=2)), max_size=2),
}
RECORDS = st.sampled_from([("A", "10.0.0.1"), ("TXT", '"a b"'), ("MX", "10 mail."), ("CNAME", "x.y.")])


@st.composite
def models(draw: st.DrawFn) -> Model:
    """A model whose things lie in things that exist."""
    made: Model = {name: {} for name in KINDS}
    for kind in KINDS.values():
        outer = [list(key) for key in made[kind.inside]] if kind.inside else [[]]
        for _ in range(draw(st.integers(0, 3)) if outer else 0):
            inherited = dict(zip((mine for mine, _ in kind.inherits), draw(st.sampled_from(outer)), strict=True))
            thing: dict[str, Any] = {}
            for field in kind.fields:
                values = st.sampled_from(field.choices) if field.choices else FORMS[field.form]
                values = st.lists(values, max_size=2) if field.many else values
                values = st.one_of(st.none(), values) if field.default is None else values
                thing[field.name] = inherited.get(field.name) if field.name in inherited else draw(values)
            if kind.name == "records":
                thing["type"], thing["data"] = draw(RECORDS)
                thing["name"] = draw(st.sampled_from(["@", "www", "*.x"]))
                thing["ttl_seconds"] = None if thing["type"] == "A" else 60
            if kind.name == "domains":
                thing["name"] = draw(st.sampled_from(["lab", "example.org"]))
            if kind.name == "settings":
                thing["name"] = draw(st.sampled_from(["dns_forwarders", "ntp_upstreams"]))
            made[kind.name].setdefault(kind.key_of(thing), thing)
    return made


def carried_out(made: Plan, present: Model) -> Model:
    """What a plan makes of a model; things inside others go with them."""
    after = {name: dict(things) for name, things in present.items()}
    for change in made.changes:
        if change.verb == DELETE:
            del after[change.kind.name][change.key]
        else:
            after[change.kind.name][change.key] = dict(change.after or {})
    for kind in KINDS.values():
        if kind.goes_along:
            outer = after[str(kind.inside)]
            after[kind.name] = {key: one for key, one in after[kind.name].items() if outer_key(kind, one) in outer}
    return after


def _bare(model: Model) -> Model:
    """Without what no plan deletes."""
    bare = {**model, "vlans": {key: one for key, one in model["vlans"].items() if one["vid"] != 0}}
    return {name: things for name, things in bare.items() if name != "settings"}


@settings(max_examples=settings().max_examples // 2)
@given(models())
def test_a_file_loses_nothing(model: Model) -> None:
    """What is written and read again is the same, in one text; and nothing differs from itself."""
    text = dump(model)
    read = parse(text).model

    assert model == read
    assert text == dump(read)
    assert () == plan(read, model, prune=True).changes


@settings(max_examples=settings().max_examples // 2)
@given(models(), models())
def test_a_plan_leads_to_its_file(wanted: Model, present: Model) -> None:
    """Pruned, the file is what is there afterwards; not pruned, all that it says is there, and nothing is gone."""
    pruned = carried_out(plan(wanted, present, prune=True), present)
    kept = carried_out(plan(wanted, present), present)

    assert _bare(wanted) == _bare(pruned)
    assert () == plan(wanted, pruned, prune=True).changes
    assert () == plan(wanted, kept).changes
    assert all(set(present[name]) <= set(kept[name]) for name in KINDS)
    assert all(change.verb == CREATE for change in plan(wanted, {name: {} for name in KINDS}).changes)
