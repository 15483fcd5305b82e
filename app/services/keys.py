"""Public SSH keys of people: checked when they come in, so that a bad one is not found out at a deployed machine."""

from __future__ import annotations

import base64
import binascii
import hashlib

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from app.services import versions
from app.services.changes import audit, changing
from app.services.context import Context
from app.services.errors import Conflict, Forbidden, Invalid, NotFound
from app.store.models import SshKey
from app.store.queries.page import page

SMALLEST_RSA_BITS = 2048
LONGEST = 16_384
TYPES = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-", "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com")


def read(text: str) -> tuple[str, str, str]:
    """The key as one canonical line (type, data), its fingerprint as `ssh-keygen -l` prints it, and its comment."""
    parts = text.strip().split(None, 2)
    if "\n" in text.strip() or len(text) > LONGEST or len(parts) < 2 or not parts[0].startswith(TYPES):
        raise Invalid(
            "this is no public SSH key; give one line such as 'ssh-ed25519 AAAA... name@host'",
            field="public_key",
            remedy="copy the file that ends in .pub; a private key never leaves its owner",
        )
    kind, data = parts[0], parts[1]
    comment = parts[2] if len(parts) > 2 else ""
    try:
        blob = base64.b64decode(data, validate=True)
        if not kind.startswith("sk-"):  # Keys on hardware tokens: OpenSSH's own format, beyond the library.
            key = load_ssh_public_key(f"{kind} {data}".encode())
            if isinstance(key, RSAPublicKey) and key.key_size < SMALLEST_RSA_BITS:
                raise Invalid(
                    f"the RSA key has {key.key_size} bits; it must have at least {SMALLEST_RSA_BITS}",
                    field="public_key",
                )
        elif not blob.startswith(len(kind).to_bytes(4, "big") + kind.encode()):
            raise ValueError("the data is of another kind")
    except (ValueError, binascii.Error, UnsupportedAlgorithm) as error:
        raise Invalid(f"the {kind} key cannot be read: {error}; copy it again, whole", field="public_key") from error
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return f"{kind} {data}", f"SHA256:{digest}", comment


def add(context: Context, text: str) -> SshKey:
    """Keep a key of the caller; machines that the caller deploys from now on take it."""
    user_id = context.actor.user_id
    if user_id is None:
        raise Forbidden("only users hold SSH keys; sign in as one")
    public_key, fingerprint, comment = read(text)
    if any(not character.isprintable() for character in comment) or len(comment) > 200:
        raise Invalid("the key's comment must be printable and at most 200 characters", field="public_key")
    line = f"{public_key} {comment}".strip()
    row = SshKey(user_id=user_id, public_key=line, fingerprint=fingerprint, comment=comment, created_at=context.clock())
    try:
        with changing(context) as session:
            session.add(row)
            session.flush()
            audit(session, context, "create", "ssh-key", row.id, fingerprint=fingerprint)
    except IntegrityError as error:
        raise Conflict(f"the key {fingerprint} is yours already", field="public_key") from error
    return row


def find(
    context: Context,
    user_id: int | None = None,
    *,
    fingerprint: str | None = None,
    text: str | None = None,
    after: int = 0,
    limit: int = 100,
) -> list[SshKey]:
    """A page of the caller's keys, or (for an administrator) of another user's. text: part of the comment."""
    user_id = context.actor.user_id if user_id is None else user_id
    if user_id != context.actor.user_id:
        context.require("admin", "see other people's SSH keys")
    statement = select(SshKey).where(SshKey.user_id == user_id)
    if fingerprint is not None:
        statement = statement.where(SshKey.fingerprint == fingerprint)
    if text:
        statement = statement.where(SshKey.comment.contains(text, autoescape=True))
    with context.store.read() as session:
        return list(session.scalars(page(statement, SshKey.id, after, limit)))


def get(context: Context, key_id: int) -> SshKey:
    """A key of the caller, or anybody's for an administrator."""
    with context.store.read() as session:
        return _visible(context, session.get(SshKey, key_id), key_id)


def delete(context: Context, key_id: int) -> None:
    """Forget a key of the caller (anybody's, for an administrator). Deployed machines keep what they have."""
    with changing(context) as session:
        row = _visible(context, session.get(SshKey, key_id, with_for_update=True), key_id)
        versions.check(context, row, f"SSH key {row.fingerprint}")
        audit(session, context, "delete", "ssh-key", row.id, fingerprint=row.fingerprint)
        session.delete(row)


def _visible(context: Context, row: SshKey | None, key_id: int) -> SshKey:
    """The row, if it is the caller's or the caller an administrator. NotFound otherwise."""
    mine = row is not None and row.user_id == context.actor.user_id
    if row is None or (not mine and context.actor.role not in ("admin", "system")):
        raise NotFound(f"SSH key {key_id} does not exist among yours; list them", field="key_id")
    return row
