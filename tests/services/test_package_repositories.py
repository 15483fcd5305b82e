"""Package repositories: what may be one, who is told, and what a system is given."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.services import openpgp, package_repositories
from app.services.context import Actor, Context
from app.services.errors import Changed, Conflict, Forbidden, Invalid, NotFound, ServiceError
from app.services.package_repositories import create, update
from app.store.models import ChangeEvent, Image
from renderers.boot.apt import MAIN_FILE
from tests.factories.control import make_context, seed
from tests.golden.boot.texts import MIRROR_KEY

URL = "http://mirror.example.org/debian"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A store with a main repository, `main`."""
    made = make_context(tmp_path)
    create(made, "main", URL, main=True)
    return made


REFUSALS: list[tuple[str, Callable[[Context], Any], type[ServiceError], str]] = [
    ("a second main one", lambda c: create(c, "two", URL, main=True), Conflict, f"main ({URL}) is the main one of debian"),
    ("a taken name", lambda c: create(c, "main", URL), Conflict, "exists already"),
    ("a name of two words", lambda c: create(c, "a b", URL), Invalid, "hyphens"),
    ("another scheme", lambda c: create(c, "x", "ftp://mirror.example.org/"), Invalid, "no http or https URL"),
    ("a user name", lambda c: create(c, "x", "http://me:word@mirror.example.org/"), Invalid, "no http or https URL"),
    ("a query", lambda c: create(c, "x", f"{URL}?a=b"), Invalid, "it has a query"),
    ("v6 without brackets", lambda c: create(c, "x", "http://2001:db8::7/debian"), Invalid, "[2001:db8::7]"),
    ("brackets without v6", lambda c: create(c, "x", "http://[10.0.0.7]/debian"), Invalid, "10.0.0.7"),
    ("a port that is none", lambda c: create(c, "x", "http://mirror.example.org:70000/"), Invalid, "ort"),
    ("another system", lambda c: create(c, "x", URL, os="plan9"), Invalid, "there are debian"),
    ("a suite of two words", lambda c: create(c, "x", URL, suites=["a b"]), Invalid, "'a b'"),
    ("a suite that begins a field", lambda c: create(c, "x", URL, suites=["a\nTrusted: yes"]), Invalid, "suites"),
    ("another variable", lambda c: create(c, "x", URL, suites=["$HOME"]), Invalid, "'$HOME'"),
    ("a word twice", lambda c: create(c, "x", URL, components=["main", "main"]), Invalid, "each named once"),
    ("an odd architecture", lambda c: create(c, "x", URL, architectures=["AMD 64"]), Invalid, "write words like amd64"),
    ("components of a path", lambda c: create(c, "x", URL, suites=["all/"], components=["main"]), Invalid, "is a path"),
    ("a main path", lambda c: update(c, 1, suites=["all/"]), Invalid, "does not come from one"),
    ("words as a key", lambda c: create(c, "x", URL, key="0xDEADBEEF"), Invalid, "BEGIN PGP PUBLIC KEY BLOCK"),
    ("a cut key", lambda c: create(c, "x", URL, key=MIRROR_KEY.replace("mDMEaw", "")), Invalid, "checksum"),
    ("what cannot change", lambda c: update(c, 1, id=7), Invalid, "id of a repository"),
    ("one that is not there", lambda c: update(c, 7, name="x"), NotFound, "no package repository 7"),
]  # fmt: skip


@pytest.mark.parametrize(("ask", "error", "words"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_refusals_name_the_rule(
    context: Context, ask: Callable[[Context], Any], error: type[ServiceError], words: str
) -> None:
    """What breaks a rule is refused with the value and what to write instead, and changes nothing."""
    with pytest.raises(error) as refused:
        ask(context)

    assert words in refused.value.detail
    assert ["main"] == [row.name for row in package_repositories.find(context)]


def _armored(data: bytes) -> str:
    begin, end = MIRROR_KEY.splitlines()[0], MIRROR_KEY.splitlines()[-1]
    return f"{begin}\n\n{base64.b64encode(data).decode()}\n{end}\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MIRROR_KEY.replace("PUBLIC", "PRIVATE"), "private key"),
        (_armored(bytes([0xC5, 1, 4])), "private key"),
        (_armored(bytes([0xC6, 1, 4, 0xC7, 1, 4])), "private key"),
        (_armored(bytes([0xC2, 1, 4])), "first packet is no public key"),
        (_armored(bytes([0xC6, 9, 4])), "cut off"),
        (_armored(b"hello"), "no OpenPGP packet"),
        (_armored(b""), "first packet"),
        (MIRROR_KEY.replace("mDME", "m?ME"), "no base64"),
        (MIRROR_KEY + MIRROR_KEY, "one armored public key"),
    ],
)
def test_what_is_no_public_key_is_refused(text: str, words: str) -> None:
    """A private key is never kept, however it is labelled; damage is seen."""
    with pytest.raises(ValueError, match=words):
        openpgp.public_key(text)


def test_keys_are_kept_in_one_shape() -> None:
    """Line ends of other systems, headers and blanks around it make no other key."""
    untidy = "\r\n  " + MIRROR_KEY.replace("\n\n", "\nComment: ours\n\n").replace("\n", "\r\n")

    assert MIRROR_KEY == openpgp.public_key(untidy) == openpgp.public_key(MIRROR_KEY)


def test_changes_are_audited_and_need_their_version_and_role(context: Context) -> None:
    """Keys are too long for the audit; a stale version and an operator are refused; v6 literals are taken."""
    made = create(context, "extra", "http://[2001:db8::7]:8080/debian/", key=MIRROR_KEY, suites=["$RELEASE-backports"])
    update(context, made.id, url=URL, key="")
    stale = context.__class__(**{**context.__dict__, "expected": ("other",)})
    with pytest.raises(Changed):
        package_repositories.delete(stale, made.id)
    with pytest.raises(Forbidden):
        update(context.acting_as(Actor("op", "operator", None)), made.id, enabled=False)
    package_repositories.delete(context, made.id)
    with context.store.read() as session:
        rows = session.scalars(select(ChangeEvent).where(ChangeEvent.thing == "package_repository")).all()

    assert "http://[2001:db8::7]:8080/debian" == made.url
    told = [(row.verb, row.detail.get("key")) for row in rows if row.thing_id == made.id]
    assert [("create", "set"), ("update", ["set", "none"]), ("delete", None)] == told


def test_a_system_gets_what_is_enabled_for_it(tmp_path: Path) -> None:
    """Others' architectures and what is switched off are left out; the main one is where the image keeps its own."""
    context = make_context(tmp_path)
    seeded = seed(context)
    create(context, "main", URL, main=True)
    create(context, "arms", URL, architectures=["arm64"])
    create(context, "off", URL, enabled=False)
    create(context, "tools", URL, suites=["./"])
    with context.store.read() as session:
        image = session.get_one(Image, seeded.image_id)
        files = package_repositories.source_files(session, image)

    assert [MAIN_FILE, "/etc/apt/sources.list.d/muster-tools.sources"] == list(files)
    assert f"Suites: {image.release} {image.release}-updates\n" in files[MAIN_FILE]
    assert "Components" not in files["/etc/apt/sources.list.d/muster-tools.sources"]
