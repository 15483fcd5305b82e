"""The algebra of plans: equal worlds need nothing, applying gives what is wanted, plans compose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderers.bundle import Bundle, RenderedFile
from renderers.plan import PlanRefused, changed_services, plan, world_of

PATHS = st.sampled_from(["a", "b", "c/d", "e", "f"])


@st.composite
def bundles(draw: st.DrawFn) -> tuple[Bundle, ...]:
    """Some services with one to five small files each."""
    made = []
    for service in sorted(draw(st.sets(st.sampled_from(["bind", "kea4", "squid"])))):
        paths = sorted(draw(st.sets(PATHS, min_size=1)))
        made.append(Bundle(service, tuple(RenderedFile(path, draw(st.sampled_from("xy"))) for path in paths)))
    return tuple(made)


@given(bundles())
def test_what_is_there_needs_no_plan(wanted: tuple[Bundle, ...]) -> None:
    """The plan of equals is empty and has no dangers."""
    made = plan(wanted, world_of(wanted))

    assert (True, (), None) == (made.is_empty, made.dangers, made.danger_hash)


@given(bundles(), bundles())
def test_a_plan_leads_to_what_is_wanted(wanted: tuple[Bundle, ...], there: tuple[Bundle, ...]) -> None:
    """Applied to the world it was made for, a plan gives the wanted world, after which nothing is left to do."""
    after = plan(wanted, world_of(there)).apply(world_of(there))

    assert world_of(wanted) == after
    assert plan(wanted, after).is_empty


@given(bundles(), bundles(), bundles())
def test_plans_compose(first: tuple[Bundle, ...], second: tuple[Bundle, ...], third: tuple[Bundle, ...]) -> None:
    """Going by way of another world ends where the direct plan ends."""
    start = world_of(first)
    direct = plan(third, start).apply(start)
    middle = plan(second, start).apply(start)

    assert direct == plan(third, middle).apply(middle)


@given(bundles(), bundles(), bundles())
def test_a_plan_refuses_another_world(
    wanted: tuple[Bundle, ...], there: tuple[Bundle, ...], other: tuple[Bundle, ...]
) -> None:
    """A plan applied to a world that differs where it changes something is refused, never half done."""
    made = plan(wanted, world_of(there))
    actual = world_of(other)
    fits = all(
        actual.get(change.service, {}).get(change.path) == getattr(change, "before", None) for change in made.changes
    )
    if fits:
        made.apply(actual)
    else:
        with pytest.raises(ValueError, match="make a new plan"):
            made.apply(actual)


@given(bundles(), bundles())
def test_service_digests_say_the_same(wanted: tuple[Bundle, ...], there: tuple[Bundle, ...]) -> None:
    """Comparing by digests of whole services names exactly the services that the plan touches."""
    digests = {bundle.service: bundle.digest for bundle in there}

    assert plan(wanted, world_of(there)).services == changed_services(wanted, digests)


@given(bundles(), bundles())
def test_an_approval_covers_what_it_names_and_nothing_more(
    wanted: tuple[Bundle, ...], there: tuple[Bundle, ...]
) -> None:
    """All hashes approve a plan; without one of them it is held; without dangers it never is."""
    made = plan(wanted, world_of(there))
    hashes = sorted(made.danger_hashes)
    made.refuse(hashes)
    made.refuse([made.danger_hash or ""])
    if hashes:
        with pytest.raises(PlanRefused):
            made.refuse(hashes[1:])
    else:
        made.refuse()
