"""Static files: open to all, kept by browsers for as long as their content stays, and nothing else."""

from __future__ import annotations

import pytest

from tests.web.conftest import Browser


def test_static_files(nobody: Browser) -> None:
    """Every file that a page names is there without a sign-in, may be kept for a year, and is known by its content."""
    page = nobody.page("/login")
    named = [one.attributes["src"] for one in page.all("script")]
    named += [one.attributes["href"] for one in page.all("link")] + [one.attributes["src"] for one in page.all("img")]

    assert {"muster.css", "muster.svg", "live.js", "htmx-2.0.11.min.js"} == {
        path.partition("?")[0].rpartition("/")[2] for path in named
    }
    for path in named:
        answer = nobody.get(path)
        assert (200, "public, max-age=31536000") == (answer.status_code, answer.headers["Cache-Control"])
        again = nobody.client.get(path, headers={"If-None-Match": answer.headers["ETag"]})
        assert 304 == again.status_code


@pytest.mark.parametrize("path", ["/static/muster.css", "/static/muster.css?v=0123456789abcdef"])
def test_unversioned(nobody: Browser, path: str) -> None:
    """A file asked for without the digest of its content is asked for again each time."""
    answer = nobody.get(path)

    assert (200, "no-cache") == (answer.status_code, answer.headers["Cache-Control"])


@pytest.mark.parametrize(
    "path", ["/static/../frame.py", "/static/%2e%2e/frame.py", "/static/%2fetc/passwd", "/static/nothing"]
)
def test_only_static_files(nobody: Browser, path: str) -> None:
    """Nothing outside the folder is served."""
    assert 404 == nobody.client.get(path, follow_redirects=True).status_code


def test_pages_are_not_kept(alice: Browser) -> None:
    """Pages and their parts are never kept by caches, and cannot be framed."""
    for answer in (alice.get("/machines"), alice.get("/machines", htmx=True), alice.get("/machines/404")):
        assert ("no-store", "DENY") == (answer.headers["Cache-Control"], answer.headers["X-Frame-Options"])
