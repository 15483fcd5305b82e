"""Signing in and out, and what nobody may see."""

from __future__ import annotations

import pytest

from app.services.context import Context
from tests.web.conftest import PASSWORD, Browser, checked, sign_up

LEAVING = (
    "//evil.example/",
    "https://evil.example/",
    "/\\evil.example",
    "/machines\\evil",
    "javascript:alert(1)",
    "/a\nSet-Cookie: b=c",
    "",
)


def test_home_leads_to_sign_in(nobody: Browser) -> None:
    """The home page asks for a sign-in, as every page does, and remembers where one wanted to go."""
    assert "/login?next=%2F" == nobody.get("/").location
    assert "/login?next=%2Fmachines%3Fstate%3DREADY" == nobody.get("/machines?state=READY").location


def test_right_password(context: Context, nobody: Browser) -> None:
    """The right password leads to where one wanted to go, in a session that the page then shows."""
    sign_up(context, "alice", "operator")
    form = nobody.page("/login?next=/racks")

    assert "/racks" == form.one("input", name="next").attributes["value"]

    answer = nobody.post("/login", {"name": "alice", "password": PASSWORD, "next": "/racks"})

    assert (302, "/racks") == (answer.status_code, answer.location)
    assert nobody.page("/racks").one("form", class_="who").text.startswith("alice operator")


def test_wrong_password(context: Context, nobody: Browser) -> None:
    """A wrong password is 401 with the form again, the name kept, and no word on which half was wrong."""
    sign_up(context, "alice", "operator")
    nobody.get("/login")
    shown = [
        checked(nobody.post("/login", {"name": name, "password": "wrong password"}), 401) for name in ("alice", "zoe")
    ]

    assert "alice" == shown[0].one("input", name="name").attributes["value"]
    assert "" != shown[0].one("p", class_="refused").text
    assert shown[0].one("p", class_="refused").text == shown[1].one("p", class_="refused").text
    assert 302 == nobody.get("/machines").status_code


def test_guessing_is_slowed(context: Context, nobody: Browser) -> None:
    """After ten wrong passwords even the right one has to wait: 429, with the form."""
    sign_up(context, "alice", "operator")
    nobody.get("/login")
    for _ in range(10):
        nobody.post("/login", {"name": "alice", "password": "wrong password"})

    assert "minutes" in checked(nobody.post("/login", {"name": "alice", "password": PASSWORD}), 429).one("form").text


@pytest.mark.parametrize("target", LEAVING)
def test_no_open_redirect(context: Context, nobody: Browser, target: str) -> None:
    """A target that would leave these pages becomes the first page."""
    sign_up(context, "alice", "operator")
    nobody.get("/login")
    answer = nobody.post("/login", {"name": "alice", "password": PASSWORD, "next": target})

    assert (302, "/") == (answer.status_code, answer.location)


@pytest.mark.parametrize("token", ["", "wrong"])
def test_sign_in_needs_csrf(context: Context, nobody: Browser, token: str) -> None:
    """A sign-in without the form's CSRF token is refused, even with the right password."""
    sign_up(context, "alice", "operator")
    nobody.get("/login")
    page = checked(nobody.post("/login", {"name": "alice", "password": PASSWORD}, csrf=token), 403)

    assert "CSRF" in page.one("p", class_="refused").text
    assert 302 == nobody.get("/machines").status_code


def test_sign_out(alice: Browser) -> None:
    """Signing out ends the session; it too needs the CSRF token."""
    assert 403 == alice.post("/logout", csrf="wrong").status_code
    assert 200 == alice.get("/machines").status_code
    assert "/login" == alice.post("/logout").location
    assert "/login?next=%2Fmachines" == alice.get("/machines").location


def test_changing_needs_a_session(nobody: Browser) -> None:
    """A form sent after the session has ended leads to the sign-in page, and from there to the first page."""
    assert "/login?next=%2F" == nobody.post("/machines/1/ask/commission").location


def test_htmx_is_sent_to_sign_in(nobody: Browser) -> None:
    """A part of a page is not replaced by the sign-in form: the browser is told to go there."""
    answer = nobody.get("/machines/1/live", htmx=True)

    assert (204, "/login?next=%2F") == (answer.status_code, answer.headers["HX-Redirect"])


def test_cookie(alice: Browser) -> None:
    """The session cookie is kept from scripts and from other sites' requests."""
    cookie = alice.client.get_cookie("muster_session")

    assert cookie is not None
    assert (True, "Lax") == (cookie.http_only, cookie.same_site)
