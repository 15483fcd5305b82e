"""What Muster may hand out of a subnet, worked out from intervals, is what trying every address finds."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from app.services.addressing import closed, open_parts

FIRST, LAST = 1, 62
KINDS = ("dynamic", "reserved", "static_pool")


@st.composite
def ranges(draw: st.DrawFn, kinds: tuple[str, ...] = KINDS) -> list[tuple[str, int, int]]:
    """Ranges inside the space that do not overlap, in any order."""
    ends = sorted(draw(st.sets(st.integers(FIRST, LAST), max_size=8)))
    pairs = list(zip(ends[::2], ends[1::2], strict=False))
    return draw(st.permutations([(draw(st.sampled_from(kinds)), *pair) for pair in pairs]))


def allowed(number: int, managed: bool, spans: list[tuple[str, int, int]]) -> bool:
    """The rule, for one address."""
    kind = next((kind for kind, start, end in spans if start <= number <= end), None)
    if not managed:
        return kind == "reserved"
    return kind == "static_pool" if any(one[0] == "static_pool" for one in spans) else kind is None


@given(st.booleans(), ranges())
def test_open_is_what_the_rules_allow(managed: bool, spans: list[tuple[str, int, int]]) -> None:
    """Each address of the space is open or closed as the rule says of it alone."""
    parts = list(open_parts((FIRST, LAST), closed((FIRST, LAST), managed, spans)))
    found = {number for first, last in parts for number in range(first, last + 1)}

    assert {number for number in range(FIRST, LAST + 1) if allowed(number, managed, spans)} == found


@given(st.lists(st.tuples(st.integers(0, 70), st.integers(0, 9)).map(lambda pair: (pair[0], pair[0] + pair[1]))))
def test_open_parts_are_apart_and_in_order(blocked: list[tuple[int, int]]) -> None:
    """Parts are what no interval blocks, none touches the next, also where intervals overlap."""
    parts = list(open_parts((FIRST, LAST), sorted(blocked)))
    found = {number for first, last in parts for number in range(first, last + 1)}

    assert {n for n in range(FIRST, LAST + 1) if not any(low <= n <= high for low, high in blocked)} == found
    assert all(one[1] + 1 < other[0] for one, other in itertools.pairwise(parts))
