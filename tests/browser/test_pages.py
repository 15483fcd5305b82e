"""The pages in a real Chromium: every one opens clean, in light and dark, wide and narrow; live, by hand and by key."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from app.services import addresses, jobs, subnets
from app.services.changes import changing, event
from app.store.models import Machine, Operation
from tests.browser.conftest import PATIENCE_MS, Site, Visitor
from tests.browser.scene import HOSTILE

Visit = Callable[..., Visitor]
expect.set_options(timeout=PATIENCE_MS)


def paths(site: Site) -> list[str]:
    """Every page that can be looked at, with things that exist."""
    one, busy = site.machines["node-01"], site.machines["busy-1"]
    subnet, rack = site.server.seeded.subnet_id, site.server.seeded.rack_id
    return [
        "/", "/machines", "/machines/new", f"/machines/{busy}", f"/machines/{one}/edit", f"/machines/{one}/bmc",
        f"/machines/{one}/bmc?driver=ipmi", f"/machines/{one}/delete", f"/machines/act?verb=deploy&machine={one}",
        f"/machines/acted?verb=deploy&asked={busy}-2",
        f"/machines/{site.machines[HOSTILE]}",
        "/networks", f"/subnets/{subnet}", "/subnets/2", "/subnets/2?block=10.40.1.0/24", "/subnets/3", "/subnets/new",
        f"/subnets/{subnet}/edit", f"/subnets/{subnet}/ranges/new", f"/subnets/{subnet}/reserve",
        f"/subnets/{subnet}/delete", "/fabrics/new", "/fabrics/1/edit", "/vlans/new", "/vlans/1/edit", "/ranges/1/edit",
        "/ranges/1/delete", "/racks", f"/racks/{rack}", "/racks/2", "/racks/new", f"/racks/{rack}/delete", "/events",
        f"/events?machine={busy}&level=info", "/audit", "/users", "/users/new", "/users/1/edit", "/users/1/password",
        "/account", "/account/password", "/account/keys/new", "/account/tokens/new", "/settings",
        "/rollouts", "/rollouts/1", "/settings/enrolment_policy", "/settings/dns_forwarders", "/settings/images/new", "/places/zone/new",
        "/places/tag/1/edit", "/domains", "/domains/1", "/domains/new", "/domains/1/edit", "/domains/1/records/new",
        "/domains/secondaries/new", "/devices", "/devices/new", "/snippets", "/snippets/new", "/spaces/new",
        f"/subnets/{subnet}/reservations/new", "/syslog", f"/machines/{busy}/syslog",
        f"/subnets/{subnet}/routes/new", f"/subnets/{subnet}/renumber",
    ]  # fmt: skip


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 480)])
def test_every_page_opens_clean(visit: Visit, site: Site, scheme: str, width: int) -> None:
    """No page makes the console or the policy complain, none is wider than the window, and hostile names stay text."""
    visitor = visit("root", color_scheme=scheme, viewport={"width": width, "height": 900})
    wide, without = [], []
    for path in paths(site):
        page = visitor.go(path)
        if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
            wide.append(path)
        if not re.search("Muster$", page.title()) or page.locator("h1").count() != 1:
            without.append((path, page.title()))

    assert [] == wide
    assert [] == without


def test_light_and_dark_differ(visit: Visit) -> None:
    """The colours follow what the visitor's system prefers, and text stays readable on its ground."""
    grounds = {}
    for scheme in ("light", "dark"):
        page = visit("vera", color_scheme=scheme).go("/machines")
        colours = page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        )
        back, ink = (luminance(one) for one in colours)
        grounds[scheme] = back

        assert (max(back, ink) + 0.05) / (min(back, ink) + 0.05) > 7

    assert grounds["dark"] < 0.1 < grounds["light"]


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2) of a computed colour."""
    parts = [int(one) / 255 for one in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_sign_in_and_out(visit: Visit, site: Site) -> None:
    """A wrong password is refused with the name kept; the right one leads to the overview; signing out ends it."""
    visitor = visit()
    page = visitor.go("/machines")
    page.get_by_label("Name").fill("vera")
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Sign in").click()

    expect(page.get_by_role("alert").first).to_contain_text("wrong")
    expect(page.get_by_label("Name")).to_have_value("vera")

    visitor.sign_in("vera")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login")
    visitor.go("/machines")

    assert "/login" in page.url


def test_news_do_not_lead_who_signs_out_elsewhere(visit: Visit) -> None:
    """News that come when the session has ended and its answer is under way: the sign-in page asks for no way back."""
    page = visit("vera").page
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    led: list[str] = []
    page.on("response", lambda answer: led.extend(answer.headers.get("hx-redirect", "").split()))

    def slowly(route: Route) -> None:
        answer = route.fetch(max_redirects=0)
        time.sleep(3)  # The session is over, and the page asks on.
        route.fulfill(response=answer)

    page.route("**/logout", slowly)
    page.evaluate("setInterval(() => document.dispatchEvent(new Event('visibilitychange')), 200)")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(re.compile("/login"))

    assert ["/login?next=%2F"] == sorted(set(led))
    assert page.url.endswith("/login")


def test_news_arrive_without_a_reload(visit: Visit, site: Site) -> None:
    """A machine's new state shows in the list and on its page, while focus and choices stay; two tabs hold one stream."""
    visitor = visit("alice")
    page = visitor.go("/machines?text=node-05")
    second = visitor.watch(visitor.context.new_page())
    second.goto(f"{site.server.url}/machines/{site.machines['node-05']}")
    page.bring_to_front()
    page.locator(f"#pick-{site.machines['node-05']}").check()
    page.evaluate("window.stays = true")
    with changing(site.server.context) as session:
        machine = session.get_one(Machine, site.machines["node-05"])
        machine.state = "ALLOCATED"
        event(session, site.server.context, "machine.state", "node-05 is Allocated.", machine_id=machine.id)

    expect(page.locator("#rows")).to_contain_text("Allocated")
    second.bring_to_front()
    expect(second.locator("h1")).to_contain_text("Allocated")
    expect(second.locator(".timeline")).to_contain_text("node-05 is Allocated.")
    assert page.evaluate("window.stays")
    assert page.locator(f"#pick-{site.machines['node-05']}").is_checked()


def test_many_are_chosen_and_acted_on(visit: Visit, site: Site) -> None:
    """What will happen to each is said first; then it is done, and each machine's own result is shown."""
    page = visit("alice").go("/machines?text=node-1")
    for name in ("node-10", "node-11"):
        page.get_by_label(f"Choose {name}").check()
    expect(page.locator("[data-count]")).to_have_text("2 chosen:")
    page.get_by_label("Choose all on this page").check()
    expect(page.locator("[data-count]")).to_have_text("10 chosen:")
    page.get_by_label("Choose all on this page").uncheck()
    page.get_by_label("Choose node-10").check()
    page.get_by_label("Choose node-11").check()
    page.get_by_label("What to do with the chosen machines").select_option("allocate")
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("tr.can")).to_have_count(2)
    page.locator("#do-act").click()

    expect(page.get_by_role("status").first).to_contain_text("all 2")
    expect(page.locator("tbody .chip")).to_have_text(["Allocated", "Allocated"])

    visitor_page = page
    visitor_page.goto(
        f"{site.server.url}/machines/act?verb=commission&machine={site.machines['node-10']}&machine={site.machines['web-17']}"
    )
    expect(visitor_page.locator("tr.cannot")).to_contain_text("node-10")
    expect(visitor_page.locator("tr.can")).to_contain_text("web-17")


def test_what_was_asked_of_many_is_followed_live(visit: Visit, site: Site) -> None:
    """Each machine's steps, its end and its failure show where it was asked for, without a reload; focus stays."""
    page = visit("alice", color_scheme="dark").go("/machines?text=web-1")
    for name in ("web-17", "web-18", "web-16"):
        page.get_by_label(f"Choose {name}").check()
    page.get_by_label("What to do with the chosen machines").select_option("commission")
    page.get_by_role("button", name="Go on").click()
    page.locator("#do-act").click()

    expect(page.locator("tr.cannot")).to_contain_text("web-16")
    expect(page.locator("#asked-said")).to_have_text("0 of 2 done, 2 under way.")
    page.evaluate("window.stays = true")
    link = page.locator(f"#to-machine-{site.machines['web-18']}")
    link.focus()
    context = site.server.context
    with changing(context) as session:
        rows = session.query(Operation).filter(Operation.action == "commission", Operation.status == "running")
        by_machine = {row.machine_id: row for row in rows}
        running = by_machine[site.machines["web-17"]]
        running.step, running.progress = "scripts", {"message": "running disks", "fraction": 0.5}
        failed = by_machine[site.machines["web-18"]]
        failed.status, failed.finished_at, failed.reason = "failed", context.clock(), "its BMC does not answer"
        for name in ("web-17", "web-18"):
            event(session, context, "machine.step", f"{name}: a step.", machine_id=site.machines[name])

    row = page.locator(f"#asked-{site.machines['web-17']}")
    expect(row).to_contain_text("running disks")
    assert 0 < float(row.locator("progress").get_attribute("value") or 0) < 1
    expect(page.locator(f"#asked-{site.machines['web-18']}")).to_contain_text("its BMC does not answer")
    expect(page.locator("#asked-said")).to_have_text("0 of 2 done, 1 under way, 1 failed.")
    expect(link).to_be_focused()
    assert page.evaluate("window.stays")
    page.locator("#to-here").press("Enter")
    expect(page.locator("h1")).to_have_text("Commission: 2 machines")
    expect(page.locator("#asked-said")).to_have_text("0 of 2 done, 1 under way, 1 failed.")


def test_forms_refuse_at_the_field_and_then_succeed(visit: Visit) -> None:
    """A wrong gateway is refused at its field, with rule and what was typed; mended, the subnet is there with its map."""
    page = visit("root").go("/subnets/new")
    page.get_by_label("Network").fill("10.77.0.0/24")
    page.get_by_label("Gateway").fill("10.78.0.1")
    page.get_by_role("button", name="Add subnet").click()
    wrong = page.locator("#field-gateway")

    expect(wrong).to_have_attribute("aria-invalid", "true")
    expect(wrong).to_be_focused()
    expect(page.locator("#field-gateway-wrong")).to_contain_text("Rule: the gateway lies in its subnet")
    expect(page.get_by_label("Network")).to_have_value("10.77.0.0/24")

    wrong.fill("10.77.0.1")
    page.get_by_role("button", name="Add subnet").click()

    expect(page.get_by_role("status").first).to_contain_text("10.77.0.0/24 was added")
    expect(page.locator("#map .cell")).to_have_count(256)
    expect(page.locator("#map .cell.gateway")).to_have_text("1")


def test_a_machine_is_added_with_its_bmc(visit: Visit) -> None:
    """Add, choose a driver, give its parameters; the password is not shown again."""
    page = visit("alice").go("/machines/new")
    page.get_by_label("MAC addresses").fill("02:00:5e:00:00:01")
    page.get_by_label("Hostname").fill("by-hand")
    page.get_by_role("button", name="Add machine").click()
    page.get_by_label("Power driver").select_option("ipmi")
    page.get_by_role("button", name="Next").click()
    page.get_by_label("Address").fill("10.20.1.77")
    page.get_by_label("User").fill("muster")
    page.get_by_label("Password").fill("never-shown-again")
    page.get_by_role("button", name="Save").click()

    expect(page.locator("h1")).to_contain_text("by-hand")
    expect(page.locator("#card-machine")).to_contain_text("10.20.1.77")

    page.locator("#to-bmc").click()
    page.get_by_role("button", name="Next").click()

    expect(page.get_by_label("Password")).to_have_value("")
    assert "never-shown-again" not in page.content()


def test_the_map_shows_every_kind(visit: Visit, site: Site) -> None:
    """Addresses are coloured by what they are for and lead to their machine; a large subnet opens block by block."""
    page = visit("vera").go(f"/subnets/{site.server.seeded.subnet_id}")
    for kind, count in {
        "gateway": 1,
        "rack": 1,
        "kept": 1,
        "sticky": 1,
        "machine": 13,
        "dynamic": 100,
        "reserved": 11,
    }.items():
        expect(page.locator(f"#map .cell.{kind}")).to_have_count(count)
    colours = {
        kind: page.locator(f"#map .cell.{kind}").first.evaluate("one => getComputedStyle(one).backgroundColor")
        for kind in ("gateway", "rack", "machine", "sticky", "kept", "dynamic", "reserved", "free")
    }
    assert len(set(colours.values())) == len(colours)
    page.get_by_role("link", name="10.20.0.10: web-00").click()
    expect(page.locator("h1")).to_contain_text("web-00")

    page.goto(f"{site.server.url}/subnets/2")
    expect(page.locator("#map .cell")).to_have_count(16)
    page.get_by_role("link", name="10.40.1.0/24: 119 in use").click()
    expect(page.locator("#map .cell.kept")).to_have_count(119)


def test_a_subnet_is_renumbered(visit: Visit, site: Site) -> None:
    """What would happen is shown while one types; the job's page goes on by itself to the end, with what stays."""
    context = site.server.context
    row = subnets.create(context, "10.81.0.0/24", site.server.seeded.vlan_id, gateway="10.81.0.1")
    for last in (7, 200):
        addresses.reserve(context, row.id, f"10.81.0.{last}")
    page = visit("root").go(f"/subnets/{row.id}/renumber")
    page.get_by_label("New network").fill("10.82.0.0/25")
    expect(page.locator("#verdict .refused")).to_contain_text("10.81.0.200 has no place in 10.82.0.0/25")
    page.get_by_label("New network").fill("10.82.0.0/24")
    expect(page.locator("#verdict .taken")).to_contain_text("2 other addresses move")
    page.get_by_role("button", name="Renumber").click()
    page.wait_for_url("**/jobs/*")
    expect(page.locator("#job-said")).to_contain_text("0 of 4")
    page.evaluate("window.stays = true")
    jobs.run(context, int(page.url.rpartition("/")[2]), patience=0)

    expect(page.locator("#job-said")).to_contain_text("4 of 4")
    expect(page.locator("#end-job")).to_have_count(0)
    assert page.evaluate("window.stays")
    page.goto(f"{site.server.url}/networks")
    expect(page.locator("#main")).to_contain_text("10.82.0.0/24")
    expect(page.locator("#main")).not_to_contain_text("10.81.0.0/24")


def test_all_by_keyboard(visit: Visit, site: Site) -> None:
    """From the skip link to a sent form without a mouse; focus is always to be seen."""
    page = visit("alice").go("/machines?text=node-2")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    reach(page, f"#pick-{site.machines['node-20']}")
    page.keyboard.press("Space")
    expect(page.locator("[data-count]")).to_have_text("1 chosen:")
    reach(page, "#selection-verb")
    page.locator("#selection-verb").press("m")  # Chooses by its first letter: Mark broken.
    reach(page, "#selection-go")
    page.keyboard.press("Enter")
    page.wait_for_url("**/machines/act?*")
    reach(page, "#do-act")
    page.keyboard.press("Enter")

    expect(page.get_by_role("status").first).to_contain_text("all 1")


def reach(page: Page, selector: str) -> None:
    """Press Tab until the element has the focus, which must show."""
    for _ in range(80):
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert "none" != outline, f"the focus of {selector} is not to be seen"
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{selector} is not reached by Tab")


def test_viewers_see_and_change_nothing(visit: Visit) -> None:
    """A viewer finds no button that would be refused."""
    page = visit("vera").go("/machines")
    expect(page.locator("input[type=checkbox]")).to_have_count(0)
    expect(page.locator("#selection")).to_have_count(0)
    for path in ("/networks", "/racks", "/settings"):
        page.goto(
            page.url.partition("/machines")[0] + path
            if "/machines" in page.url
            else re.sub(r"(://[^/]+).*", rf"\1{path}", page.url)
        )
        expect(page.locator("main .button")).to_have_count(0)


def test_tokens_are_shown_once(visit: Visit) -> None:
    """A new API token is shown once and listed by its beginning."""
    page = visit("alice").go("/account/tokens/new")
    page.get_by_label("Where it will be used").fill("laptop")
    page.get_by_role("button", name="Make token").click()
    text = page.locator("#secret").input_value()
    page.get_by_role("link", name="Done").click()

    assert text.startswith("muster_")
    expect(page.locator("main")).to_contain_text("laptop")
    assert text not in page.content()
