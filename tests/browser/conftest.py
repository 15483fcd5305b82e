"""A real Chromium on the real web server over a furnished site. Whatever a page complains of fails its test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Response, sync_playwright

from tests.browser.scene import furnish
from tests.browser.server import PASSWORD, Server, running_server
from tests.daemons.requires import require_file

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE_MS = 60_000.0


@dataclass
class Site:
    """The server with its site; ids of machines by hostname."""

    server: Server
    machines: dict[str, int]


@dataclass
class Visitor:
    """Somebody at a browser of their own. complaints: what the console, the policy or the server said against a page."""

    site: Site
    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> Page:
        """Note what goes wrong on a page."""
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))
        page.on("response", self._response)
        return page

    def _console(self, message: ConsoleMessage) -> None:
        # A refused form is an answer of 4xx, which Chromium notes; `_response` judges those.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.complaints.append(f"{self.page.url}: {message.text}")

    def _response(self, answer: Response) -> None:
        if answer.status >= 500 or (answer.status >= 400 and answer.request.resource_type != "document"):
            self.complaints.append(f"{answer.url}: {answer.status}")

    def go(self, path: str) -> Page:
        """Open a page of the site."""
        self.page.goto(self.site.server.url + path)
        return self.page

    def sign_in(self, name: str) -> None:
        """By the form."""
        self.go("/login")
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(self.site.server.url + "/")


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_server(tmp_path_factory.mktemp("site")) as server:
        machines = furnish(server.context, server.seeded)
        for name, role in (("root", "admin"), ("alice", "operator"), ("vera", "viewer")):
            server.sign_up(name, role)
        yield Site(server, machines)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    require_file(CHROMIUM, "on Debian: apt install chromium")
    with sync_playwright() as playwright:
        # Root cannot have Chromium's sandbox; the pages are our own.
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=120_000)
        yield launched
        launched.close()


@pytest.fixture
def visit(site: Site, browser: Browser) -> Iterator[Callable[..., Visitor]]:
    """Lets somebody visit, signed in by name if one is given; afterwards nothing may have complained."""
    visitors: list[Visitor] = []

    def begin(name: str | None = None, **settings: object) -> Visitor:
        context = browser.new_context(**settings)  # type: ignore[arg-type]
        visitor = Visitor(site, context, context.new_page())
        visitor.watch(visitor.page)
        visitors.append(visitor)
        if name is not None:
            visitor.sign_in(name)
        return visitor

    yield begin
    for visitor in visitors:
        visitor.context.close()

    assert [] == [one for visitor in visitors for one in visitor.complaints]
