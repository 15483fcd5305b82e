"""Armored OpenPGP public keys (RFC 9580, sections 4 and 6.2): whether a text is one, and in what shape it is kept.  Pure.

Only the frame is read: armor, checksum, and which packets there are.  Signatures and expiry are apt's to judge.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

LONGEST = 200_000
"""Characters; the whole keyring of Debian's archive has a third of that."""
_BEGIN, _END = "-----BEGIN PGP PUBLIC KEY BLOCK-----", "-----END PGP PUBLIC KEY BLOCK-----"
_PRIVATE = "-----BEGIN PGP PRIVATE KEY BLOCK-----"
_SECRET_KEY, _PUBLIC_KEY, _SECRET_SUBKEY = 5, 6, 7


def public_key(text: str) -> str:
    """The key as armored text without headers, one line end after each line. ValueError says what is wrong with it."""
    if len(text) > LONGEST:
        raise ValueError(f"it has {len(text)} characters; use at most {LONGEST}")
    lines = [line.strip() for line in text.strip().splitlines()]
    if _PRIVATE in lines:
        raise ValueError("it is a private key, which no machine may have; export the public one (gpg --armor --export)")
    if not lines or lines[0] != _BEGIN or lines[-1] != _END or lines.count(_BEGIN) != 1:
        raise ValueError(f"one armored public key begins with {_BEGIN} and ends with {_END} (gpg --armor --export)")
    inner = lines[1:-1]
    # Headers (`Version: ...`) end with an empty line.
    body = inner[inner.index("") + 1 :] if "" in inner else inner
    body = [line for line in body if line]
    checksum = body.pop() if body and body[-1].startswith("=") and len(body[-1]) == 5 else ""
    try:
        data = base64.b64decode("".join(body), validate=True)
        expected = int.from_bytes(base64.b64decode(checksum[1:], validate=True), "big") if checksum else None
    except (binascii.Error, ValueError):
        raise ValueError("its lines are no base64; copy it again, whole") from None
    if expected is not None and expected != _crc24(data):
        raise ValueError("its checksum does not fit; copy it again, whole")
    tags = list(_tags(data))
    if {_SECRET_KEY, _SECRET_SUBKEY} & set(tags):
        raise ValueError(
            "it holds a private key, which no machine may have; export the public one (gpg --armor --export)"
        )
    if not tags or tags[0] != _PUBLIC_KEY:
        raise ValueError("its first packet is no public key; export it with gpg --armor --export")
    return "\n".join([_BEGIN, "", *body, *([checksum] if checksum else []), _END, ""])


def _tags(data: bytes) -> Iterator[int]:
    """The kinds of the packets, in order (RFC 9580, section 4.2). ValueError where one is cut off."""
    at = 0
    while at < len(data):
        first = data[at]
        if not first & 0x80:
            raise ValueError(f"byte {at} begins no OpenPGP packet; copy it again, whole")
        tag = first & 0x3F if first & 0x40 else (first >> 2) & 0x0F
        head, length = _new_length(data, at) if first & 0x40 else _old_length(data, at, first & 3)
        at += head + length
        if at > len(data):
            raise ValueError("it is cut off; copy it again, whole")
        yield tag


def _new_length(data: bytes, at: int) -> tuple[int, int]:
    octet = data[at + 1] if at + 1 < len(data) else 0
    if octet < 192:
        return 2, octet
    if octet < 224:
        return 3, ((octet - 192) << 8) + (data[at + 2] if at + 2 < len(data) else 0) + 192
    if octet < 255:
        raise ValueError("a packet of partial length is in it, which keys do not have")
    return 6, int.from_bytes(data[at + 2 : at + 6], "big")


def _old_length(data: bytes, at: int, kind: int) -> tuple[int, int]:
    if kind == 3:
        raise ValueError("a packet of unknown length is in it, which keys do not have")
    size = 1 << kind
    return 1 + size, int.from_bytes(data[at + 1 : at + 1 + size], "big")


def _crc24(data: bytes) -> int:
    """RFC 9580, section 6.1."""
    crc = 0xB704CE
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= 0x1864CFB
    return crc & 0xFFFFFF
