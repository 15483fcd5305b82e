"""Boot images: which there are, which is current, and where their files are.

A folder made by the image builder holds `manifest.json` and the files it names.  Machines fetch files by digest, so a
new build never changes what a running installation reads.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session, selectinload

from app.services.changes import audit, changing
from app.services.context import Context
from app.services.errors import Conflict, Invalid, NotFound
from app.store.models import Image, ImageFile
from app.store.prepared import Prepared
from app.store.queries.page import newest

DEFAULT_NAME = "debian-12-amd64"
CHUNK = 1 << 20
KINDS = ("kernel", "initrd", "squashfs", "rootfs")
_CURRENT_NAME = Prepared(select(Image.id).where(Image.name == bindparam("name"), Image.current).limit(1))
_NEWEST = select(Image.id).where(Image.name == bindparam("name"), Image.current).order_by(Image.id.desc()).limit(1)
_CURRENT = Prepared(
    select(
        *(Image.id, Image.name, Image.os, Image.release, Image.architecture),
        *(ImageFile.kind, ImageFile.name.label("file_name"), ImageFile.sha256, ImageFile.blake2b, ImageFile.size_bytes),
    )
    .outerjoin(ImageFile, ImageFile.image_id == Image.id)
    .where(Image.id == _NEWEST.scalar_subquery())
    .order_by(ImageFile.id)
)
_KEYS = ("name", "os", "release", "architecture", "recipe", "files")


class CurrentFile(NamedTuple):
    """A file of an image that machines fetch: columns of `app.store.models.ImageFile`."""

    kind: str
    name: str
    sha256: str
    blake2b: str | None
    size_bytes: int


@dataclass(frozen=True)
class CurrentImage:
    """An image that is booted or installed now: columns of `app.store.models.Image`, and its files."""

    id: int
    name: str
    os: str
    release: str
    architecture: str
    files: tuple[CurrentFile, ...]


def import_folder(context: Context, path: str | Path) -> Image:
    """Take in a built image and make it the current one of its name. Invalid when a file is not what the manifest says."""
    context.require("admin", "import images")
    folder = Path(path).resolve()
    manifest = _manifest(folder)
    files = [_checked_file(folder, entry) for entry in manifest["files"]]
    missing = sorted(set(KINDS) - {file.kind for file in files})
    if missing:
        raise Invalid(f"image {manifest['name']}: {folder} has no file of kind {missing[0]}; build it again")
    with changing(context) as session:
        session.execute(update(Image).where(Image.name == manifest["name"]).values(current=False))
        statement = select(Image).where(Image.name == manifest["name"], Image.recipe == manifest["recipe"])
        image = session.scalars(statement.options(selectinload(Image.files))).one_or_none()
        if image is None:
            image = Image(name=manifest["name"], recipe=manifest["recipe"], created_at=context.clock(), files=[])
            session.add(image)
        image.os, image.release = manifest["os"], manifest["release"]
        image.architecture, image.current = manifest["architecture"], True
        image.files[:] = files
        session.flush()
        audit(session, context, "import", "image", image.id, name=image.name, recipe=image.recipe)
        return image


def current_name(session: Session, name: str) -> str:
    """The name, if there is an image that is installed when it is asked for. Conflict when there is none."""
    if _CURRENT_NAME.first(session, name=name) is None:
        raise _no_current(name)
    return name


def find(
    context: Context,
    after: int = 0,
    limit: int = 100,
    *,
    name: str | None = None,
    architecture: str | None = None,
    current: bool | None = None,
) -> list[Image]:
    """A page of images with their files, newest first; only those that are as asked."""
    wanted = {"name": name, "architecture": architecture, "current": current}
    statement = select(Image).options(selectinload(Image.files))
    statement = statement.filter_by(**{column: value for column, value in wanted.items() if value is not None})
    with context.store.read() as session:
        return list(session.scalars(newest(statement, Image.id, after, limit)))


def get(context: Context, image_id: int) -> Image:
    """One image with its files."""
    with context.store.read() as session:
        image = session.get(Image, image_id, options=[selectinload(Image.files)])
    if image is None:
        raise NotFound(f"image {image_id} does not exist; list the images", field="image_id")
    return image


def current(session: Session, name: str) -> CurrentImage:
    """The image that is installed when `name` is asked for. Conflict when there is none. One query."""
    rows = _CURRENT.all(session, name=name)
    if not rows:
        raise _no_current(name)
    files = tuple(CurrentFile(*row[5:]) for row in rows if row.kind is not None)
    first = rows[0]
    return CurrentImage(first.id, first.name, first.os, first.release, first.architecture, files)


def _no_current(name: str) -> Conflict:
    return Conflict(
        f"image {name}: there is no current image of this name; build it and import its folder", field="image"
    )


def file_of(image: CurrentImage, kind: str) -> CurrentFile:
    """The image's file of one kind. Conflict when it has none."""
    for file in image.files:
        if file.kind == kind:
            return file
    raise Conflict(f"image {image.name}: it has no {kind}; import it again")


def open_file(context: Context, sha256: str, name: str | None = None) -> ImageFile:
    """Where the file with this digest is (`path`), if it is there. NotFound otherwise."""
    with context.store.read() as session:
        statement = select(ImageFile).where(ImageFile.sha256 == sha256).order_by(ImageFile.id.desc())
        for file in session.scalars(statement):
            if (name is None or file.name == name) and Path(file.path).is_file():
                return file
    raise NotFound(f"image file {sha256[:12]}.../{name or '*'}: there is none; import the image again")


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text())
    except OSError as error:
        raise Invalid(f"{path}: cannot be read ({error.strerror}); give the folder of a built image") from error
    except ValueError as error:
        raise Invalid(f"{path}: is not JSON ({error}); build the image again") from error
    absent = [key for key in _KEYS if not isinstance(manifest, dict) or not manifest.get(key)]
    if absent:
        raise Invalid(f"{path}: the key {absent[0]!r} is missing; build the image again")
    return dict(manifest)


def _checked_file(folder: Path, entry: dict[str, Any]) -> ImageFile:
    name = str(entry.get("name"))
    path = folder / name
    if Path(name).name != name or not path.is_file():
        raise Invalid(f"image file {path}: is named in the manifest but is not there; build the image again")
    size = path.stat().st_size
    if size != entry.get("size_bytes"):
        raise Invalid(
            f"image file {path}: has {size} bytes, the manifest says {entry.get('size_bytes')}; build it again"
        )
    digest, quick = _digests(path)
    if digest != entry.get("sha256"):
        raise Invalid(f"image file {path}: its SHA-256 is {digest}, the manifest says otherwise; build it again")
    return ImageFile(
        kind=str(entry.get("kind")), name=name, sha256=digest, blake2b=quick, size_bytes=size, path=str(path)
    )


def _digests(path: Path) -> tuple[str, str]:
    """SHA-256 and BLAKE2b-256 of a file, read once."""
    sha256, blake2b = hashlib.sha256(), hashlib.blake2b(digest_size=32)
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            sha256.update(chunk)
            blake2b.update(chunk)
    return sha256.hexdigest(), blake2b.hexdigest()
