"""Asking verbs and switching power from a machine's page: by htmx, by plain form, and the refusals of both."""

from __future__ import annotations

import pytest
from flask import Flask

from app.services import deployment, lifecycle, machines
from app.services.context import Context
from app.store.models import PowerOperation
from tests.factories.control import Seeded, make_machine
from tests.web.conftest import Browser, checked, signed_in


def state(context: Context, machine: int) -> str:
    """The machine's state now."""
    return machines.get(context, machine).state


def test_plain_form(context: Context, seeded: Seeded, alice: Browser) -> None:
    """Without scripts a verb is an ordinary form: it is asked, and the machine's page follows."""
    machine = make_machine(context, seeded, "node-1")
    form = alice.page("/machines/node-1").one("form", id="ask-allocate").attributes

    assert ("post", f"/machines/{machine}/ask/allocate") == (form["method"], form["action"])

    answer = alice.post(form["action"])

    assert (302, f"/machines/{machine}") == (answer.status_code, answer.location)
    assert "ALLOCATED" == state(context, machine)


def test_htmx(context: Context, seeded: Seeded, alice: Browser) -> None:
    """By htmx the answer is the page's live part as it is after the verb."""
    machine = make_machine(context, seeded, "node-1")
    form = alice.page("/machines/node-1").one("form", id="ask-allocate").attributes

    assert ("#live", form["action"]) == (form["hx-target"], form["hx-post"])

    part = checked(alice.post(form["hx-post"], htmx=True))

    assert "Allocated" == part.all("span", class_="chip")[0].text
    assert "alice" in [one.text for one in part.all("dd")]
    assert {"deploy", "release", "mark-broken"} == part.verbs()
    assert "ALLOCATED" == state(context, machine)


def test_parameters(context: Context, seeded: Seeded, alice: Browser) -> None:
    """A verb's parameters are fields of its form, with their choices; what was chosen is what is asked."""
    machine = make_machine(context, seeded, "node-1", state="DEPLOYED", owner_id=seeded.user_id)
    page = alice.page("/machines/node-1")
    choices = [one.text for one in page.all("option")]

    assert ["quick", "full", "none"] == choices
    assert ["quick"] == [one.text for one in page.all("option", selected="")]
    assert "disks are erased" in page.one("form", id="ask-release").text

    alice.post(f"/machines/{machine}/ask/release", {"erase": "full"})

    assert "full" == lifecycle.operations(context, machine, 1)[0].parameters["erase"]
    assert "RELEASING" == state(context, machine)


def test_deploy_with_image_and_user_data(context: Context, seeded: Seeded, alice: Browser) -> None:
    """Deploying takes an image of those there are, and user data."""
    machine = make_machine(context, seeded, "node-1")
    page = alice.page("/machines/node-1")

    assert ["the default", "debian-12-amd64"] == [one.text for one in page.all("option")]

    text = "#cloud-config\npackages: [htop]\n"
    checked(alice.post(f"/machines/{machine}/ask/deploy", {"image": "", "user_data": text}, htmx=True))
    operation = lifecycle.operations(context, machine, 1)[0]

    assert "debian-12-amd64" == operation.parameters["image"]
    assert text == deployment.user_data_of(context, operation.parameters)


def test_comment(context: Context, seeded: Seeded, alice: Browser) -> None:
    """What is wrong with a broken machine is shown on its page."""
    machine = make_machine(context, seeded, "node-1")
    part = checked(alice.post(f"/machines/{machine}/ask/mark-broken", {"comment": "no fan"}, htmx=True))

    assert "no fan" == part.one("p", class_="reason").text


def test_abort(context: Context, seeded: Seeded, alice: Browser) -> None:
    """What runs can be aborted, after a question."""
    machine = make_machine(context, seeded, "node-1")
    alice.post(f"/machines/{machine}/ask/commission")
    form = alice.page("/machines/node-1").one("form", id="ask-abort").attributes

    assert "Abort to commission node-1?" == form["hx-confirm"]

    alice.post(form["action"])

    assert "READY" == state(context, machine)


@pytest.mark.parametrize(
    ("verb", "status", "said"),
    [
        ("release", 409, "node-1"),
        ("abort", 409, "nothing is under way"),
        ("explode", 422, "'explode'"),
        ("%3Cscript%3E", 422, "<script>"),
    ],
)
def test_refusal(context: Context, seeded: Seeded, alice: Browser, verb: str, status: int, said: str) -> None:
    """A refusal by htmx is only a notice beside the page; the target is not swapped. By plain form it is a page."""
    machine = make_machine(context, seeded, "node-1")
    answer = alice.post(f"/machines/{machine}/ask/{verb}", htmx=True)
    notice = checked(answer, status)

    assert "none" == answer.headers["HX-Reswap"]
    assert "innerHTML:#refusal" == notice.elements[0].attributes["hx-swap-oob"]
    assert said in notice.one("div", class_="toast").text
    assert [] == notice.all("h1")

    page = checked(alice.post(f"/machines/{machine}/ask/{verb}"), status)

    assert said in page.one("main").text
    assert "READY" == state(context, machine)


def test_pages_have_the_place_for_notices(alice: Browser) -> None:
    """Every page has the region that notices go to, announced to screen readers, and htmx swaps errors only there."""
    page = alice.page("/machines")

    assert "alert" == page.one("div", id="refusal").attributes["role"]
    assert (
        '{"code": "[45]..", "swap": true, "swapOverride": "none", "error": true}'
        in page.one("meta", name="htmx-config").attributes["content"]
    )


@pytest.mark.parametrize("htmx", [True, False])
def test_viewer_may_not(context: Context, seeded: Seeded, vera: Browser, htmx: bool) -> None:
    """A viewer who sends the form anyway is refused."""
    machine = make_machine(context, seeded, "node-1")
    for path in ("ask/allocate", "ask/commission", "ask/abort", "power/on"):
        assert 403 == vera.post(f"/machines/{machine}/{path}", htmx=htmx).status_code
    assert "READY" == state(context, machine)


@pytest.mark.parametrize("htmx", [True, False])
@pytest.mark.parametrize("token", ["", "wrong"])
def test_csrf(context: Context, seeded: Seeded, alice: Browser, htmx: bool, token: str) -> None:
    """A form without the session's CSRF token changes nothing."""
    machine = make_machine(context, seeded, "node-1")
    for path in ("ask/allocate", "power/on"):
        assert 403 == alice.post(f"/machines/{machine}/{path}", htmx=htmx, csrf=token).status_code
    assert "READY" == state(context, machine)


def test_reading_changes_nothing(context: Context, seeded: Seeded, alice: Browser) -> None:
    """Verbs are not asked by following a link."""
    machine = make_machine(context, seeded, "node-1")

    assert 405 == alice.get(f"/machines/{machine}/ask/allocate").status_code
    assert 405 == alice.get(f"/machines/{machine}/power/off").status_code


def test_power(context: Context, seeded: Seeded, alice: Browser) -> None:
    """The power menu orders the rack to switch; switching off asks first."""
    make_machine(context, seeded, "node-1")
    page = alice.page("/machines/node-1")
    for verb in ("on", "off", "cycle", "query"):
        form = page.one("form", id=f"power-{verb}").attributes
        assert (verb in ("off", "cycle")) == ("hx-confirm" in form)
        checked(alice.post(form["action"], htmx=True))
    with context.store.read() as session:
        orders = [one.verb for one in session.query(PowerOperation).order_by(PowerOperation.id)]

    assert ["on", "off", "cycle", "query"] == orders


@pytest.mark.parametrize(("verb", "status"), [("pxe", 422), ("sleep", 422)])
def test_power_verbs_of_the_page(context: Context, seeded: Seeded, alice: Browser, verb: str, status: int) -> None:
    """Only the verbs of the menu can be ordered."""
    machine = make_machine(context, seeded, "node-1")

    assert repr(verb) in checked(alice.post(f"/machines/{machine}/power/{verb}", htmx=True), status).elements[0].text


def test_power_without_bmc(context: Context, seeded: Seeded, alice: Browser) -> None:
    """A machine without a BMC cannot be switched, and the notice says that a person must."""
    machine = make_machine(context, seeded, "node-1", bmc=False)

    assert "a person must" in checked(alice.post(f"/machines/{machine}/power/on", htmx=True), 409).elements[0].text


def test_someone_elses(context: Context, seeded: Seeded, application: Flask) -> None:
    """Another's machine is refused, also when the form was shown."""
    bob = signed_in(context, application, "bob", "operator")
    machine = make_machine(context, seeded, "node-1", state="DEPLOYED", owner_id=seeded.user_id)

    assert 403 == bob.post(f"/machines/{machine}/ask/release", htmx=True).status_code
    assert 403 == bob.post(f"/machines/{machine}/power/off", htmx=True).status_code
    assert "DEPLOYED" == state(context, machine)
