"""Package repositories: where installed systems take their packages from, besides or instead of the image's sources.

A machine gets those of its system when it is deployed; one that is installed already keeps what it has.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from app.services import openpgp, urls, versions
from app.services.changes import audit, changing
from app.services.context import Context
from app.services.errors import Conflict, Invalid, NotFound
from app.services.images import CurrentImage
from app.services.names import check_label
from app.store.locks import hold
from app.store.models import Image, PackageRepository
from app.store.prepared import Prepared
from app.store.queries.page import page
from renderers.boot import apt

SYSTEMS = ("debian",)
CHANGEABLE = ("name", "url", "os", "main", "enabled", "suites", "components", "architectures", "key")
LOCK = "package-repositories"
MOST_WORDS = 20
_SHOWN = (
    *(PackageRepository.name, PackageRepository.url, PackageRepository.main, PackageRepository.suites),
    *(PackageRepository.components, PackageRepository.architectures, PackageRepository.key),
)
_ENABLED = Prepared(
    select(*_SHOWN)
    .where(PackageRepository.enabled, PackageRepository.os == bindparam("system"))
    .order_by(PackageRepository.id)
)
_RULES = {"suites": apt.SUITE, "components": apt.WORD, "architectures": apt.ARCHITECTURE}
_LIKE = {"suites": "$RELEASE-backports or bookworm", "components": "main", "architectures": "amd64"}


def find(
    context: Context,
    after: int | None = None,
    limit: int | None = None,
    *,
    name: str | None = None,
    os: str | None = None,
    enabled: bool | None = None,
) -> list[PackageRepository]:
    """A page of repositories by id."""
    statement = select(PackageRepository)
    if name is not None:
        statement = statement.where(PackageRepository.name == name)
    if os is not None:
        statement = statement.where(PackageRepository.os == os)
    if enabled is not None:
        statement = statement.where(PackageRepository.enabled == enabled)
    with context.store.read() as session:
        return list(session.scalars(page(statement, PackageRepository.id, after, limit)))


def get(context: Context, repository_id: int) -> PackageRepository:
    """One repository. NotFound when there is none."""
    with context.store.read() as session:
        return _row(session, repository_id)


def create(context: Context, name: str, url: str, **values: Any) -> PackageRepository:
    """Add a repository. Conflict when the name is taken, or there is a main one of the system."""
    context.require("admin", "add a package repository")
    defaults = {"os": "debian", "main": False, "enabled": True, "suites": [], "components": [], "architectures": []}
    given = _checked({**defaults, "key": "", **values, "name": name, "url": url})
    _fits(given)
    with changing(context) as session:
        hold(session, LOCK)
        row = PackageRepository(**given)
        _stands_beside(session, row)
        session.add(row)
        session.flush()
        audit(session, context, "create", "package_repository", row.id, **_told(given))
        return row


def update(context: Context, repository_id: int, **changes: Any) -> PackageRepository:
    """Change a repository; machines that are deployed afterwards get it so."""
    context.require("admin", "change a package repository")
    given = _checked(changes)
    with changing(context) as session:
        hold(session, LOCK)
        row = _row(session, repository_id)
        versions.check(context, row, f"package repository {row.name}")
        changed = {name: [getattr(row, name), value] for name, value in given.items() if getattr(row, name) != value}
        with session.no_autoflush:
            for name, (_, value) in changed.items():
                setattr(row, name, value)
            _fits({name: getattr(row, name) for name in CHANGEABLE})
            _stands_beside(session, row)
        if changed:
            audit(session, context, "update", "package_repository", row.id, **_told(changed))
        return row


def delete(context: Context, repository_id: int) -> None:
    """Delete a repository; machines that are deployed afterwards do not get it."""
    context.require("admin", "delete a package repository")
    with changing(context) as session:
        hold(session, LOCK)
        row = _row(session, repository_id)
        versions.check(context, row, f"package repository {row.name}")
        audit(session, context, "delete", "package_repository", row.id, name=row.name)
        session.delete(row)


def source_files(session: Session, image: Image | CurrentImage) -> dict[str, str]:
    """Path and text of the source files of a system that is installed from the image. ValueError as `apt.files`."""
    repositories = [
        apt.Repository(
            name=row.name,
            url=row.url,
            main=row.main,
            suites=tuple(row.suites),
            components=tuple(row.components),
            architectures=tuple(row.architectures),
            key=row.key,
        )
        for row in _ENABLED.all(session, system=image.os)
    ]
    return apt.files(tuple(repositories), image.release, image.architecture)


def _checked(given: dict[str, Any]) -> dict[str, Any]:
    """The values in the shape in which they are kept; each for itself."""
    values = dict(given)
    for name in values:
        if name not in CHANGEABLE:
            raise Invalid(f"{name} of a repository cannot be changed; what can: {', '.join(CHANGEABLE)}", field=name)
    if "name" in values:
        values["name"] = check_label(values["name"], "repository")
    if "url" in values:
        values["url"] = urls.check(values["url"])
    if values.get("os", "debian") not in SYSTEMS:
        raise Invalid(
            f"os {values['os']!r}: there are {', '.join(SYSTEMS)}", field="os", rule="a system Muster installs"
        )
    for name, rule in _RULES.items():
        if name in values:
            values[name] = _words(name, rule, values[name])
    if values.get("key"):
        try:
            values["key"] = openpgp.public_key(values["key"])
        except ValueError as error:
            raise Invalid(f"key: {error}", field="key", rule="an armored OpenPGP public key") from error
    return values


def _words(name: str, rule: re.Pattern[str], words: Sequence[str]) -> list[str]:
    if len(words) > MOST_WORDS or len(set(words)) != len(words):
        raise Invalid(f"{name}: at most {MOST_WORDS}, each named once", field=name)
    for word in words:
        if len(word) > 128 or not rule.fullmatch(word):
            raise Invalid(
                f"{name}: {word[:80]!r} cannot be written into an apt source; write words like {_LIKE[name]}",
                field=name,
            )
    return list(words)


def _fits(values: dict[str, Any]) -> None:
    """Invalid when the values do not go together."""
    paths = [suite for suite in values["suites"] if suite.endswith("/")]
    if paths and (values["components"] or len(paths) != len(values["suites"])):
        raise Invalid(
            f"suites: {paths[0]} is a path, which has no components and stands beside paths only (sources.list(5));"
            " take the components or the other suites away",
            field="suites",
            rule="a suite that ends with / has no components",
        )
    if values["main"] and paths:
        raise Invalid(
            f"suites: {paths[0]} is a path, and a whole system does not come from one; name suites like $RELEASE",
            field="suites",
            rule="a main repository has suites",
        )


def _stands_beside(session: Session, row: PackageRepository) -> None:
    """Conflict when another repository has its name, or is the main one of its system."""
    others = select(PackageRepository).where(PackageRepository.id != (row.id or 0))
    if session.scalar(others.where(PackageRepository.name == row.name)) is not None:
        raise Conflict(
            f"package repository {row.name}: it exists already; choose another name",
            field="name",
            rule="names of repositories differ",
        )
    if row.main:
        present = session.scalar(others.where(PackageRepository.main, PackageRepository.os == row.os))
        if present is not None:
            raise Conflict(
                f"package repository {row.name}: {present.name} ({present.url}) is the main one of {row.os} already;"
                f" change its URL, or make it an additional one first",
                field="main",
                rule="one main repository for each system",
                remedy=f"change package repository {present.id} ({present.name})",
            )


def _told(values: dict[str, Any]) -> dict[str, Any]:
    """What the audit says: keys are long, so only whether there is one."""
    told = dict(values)
    if "key" in told:
        key = told["key"]
        told["key"] = ["set" if one else "none" for one in key] if isinstance(key, list) else "set" if key else "none"
    return told


def _row(session: Session, repository_id: int) -> PackageRepository:
    row = session.get(PackageRepository, repository_id)
    if row is None:
        raise NotFound(f"there is no package repository {repository_id}; list them", field="repository_id")
    return row
