"""Masks secrets in log lines, by the name of a field and by the look of a text; imported by control plane and racks alike.

Names are the first line: what is called a password is one.  Looks are the second, for sentences of libraries that quote a
URL with its password, a header or one of our tokens.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any

SECRET_WORDS = ("password", "passwd", "token", "secret", "authorization", "cookie", "private_key")
MASK = "***"
LOOKS = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), rf"\1 {MASK}"),
    (re.compile(r"\bmuster_[A-Za-z0-9_-]{20,}"), f"muster_{MASK}"),
    (re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+@"), rf"\1:{MASK}@"),
    (re.compile(r"(?i)\b(muster\.token|token|password|passwd|secret)=[^\s&'\"]+"), rf"\1={MASK}"),
)


def mask_secrets(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: secret values are replaced, at any depth."""
    return {name: masked(name, value) for name, value in event.items()}


def masked(name: str, value: Any) -> Any:
    """The value of a field as it may be shown."""
    if isinstance(value, dict):
        return {key: masked(str(key), inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(name, inner) for inner in value]
    if value is not None and _is_secret(name):
        return MASK
    return without_secrets(value) if isinstance(value, str) else value


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    """Whether a field of this name holds a secret; the same names come with every line."""
    return any(word in name.lower() for word in SECRET_WORDS)


def without_secrets(text: str) -> str:
    """The text without what looks like a secret."""
    for look, instead in LOOKS:
        text = look.sub(instead, text)
    return text
