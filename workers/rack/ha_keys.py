"""The key with which this rack's Kea speaks to its partner's, made here; only the certificate is ever told.

Both servers trust exactly two certificates, so the certificate signs itself, names nobody that is checked, and lives as
long as the key: a new key is made by deleting the old one.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from renderers.dhcp.kea_ha import CERTIFICATE, KEY, KEY_SERVICE
from workers.rack.files import ServiceDirectories, change_owner, write_atomically

USER = "_kea"
YEARS = 100


def ensure(root: Path, rack: str) -> str:
    """This rack's certificate (PEM), made with its key when one of the two is missing.  KeyError without Kea's user."""
    state = ServiceDirectories(root, KEY_SERVICE).state
    key, certificate = state / KEY, state / CERTIFICATE
    if not (key.is_file() and certificate.is_file()):
        private, public = _make(rack)
        key.parent.mkdir(parents=True, exist_ok=True)
        for directory in (state, key.parent):
            change_owner(directory, USER)
        key.parent.chmod(0o700)
        write_atomically(key, private, mode=0o600, owner=USER)
        write_atomically(certificate, public, mode=0o644, owner=USER)
    return certificate.read_text()


def _make(rack: str) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, rack)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=365 * YEARS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, made.public_bytes(serialization.Encoding.PEM)
