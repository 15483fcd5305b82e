"""What starts one machine's emulated Redfish BMC (`lab.redfish_bmc`), and the certificate that an operator pins."""

import hashlib
import json
import ssl
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lab.bmc import Bmc

HTTPS_PORT = 443
DESCRIPTION = "redfish.json"


@dataclass(frozen=True)
class Settings:
    """What the emulator is told: the BMC, whose machine it is, and the chassis's socket."""

    bmc: Bmc
    serial: str
    firmware: str
    socket: str
    directory: str
    port: int = HTTPS_PORT

    @property
    def certificate(self) -> Path:
        """The BMC's key and self-signed certificate, made at its first start and kept."""
        return certificate_of(Path(self.directory))

    def argv(self) -> list[str]:
        """Return the command that runs the emulator, after `write`."""
        return [sys.executable, "-m", "lab.redfish_bmc", str(Path(self.directory) / DESCRIPTION)]

    def write(self) -> Path:
        """Write the emulator's description, which holds the factory password, and return its path."""
        path = Path(self.directory) / DESCRIPTION
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")
        return path


def read_settings(path: Path) -> Settings:
    """Return what `Settings.write` wrote."""
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return Settings(**{**document, "bmc": Bmc(**document["bmc"])})


def certificate_of(directory: Path) -> Path:
    """Return where the certificate of the BMC in this directory is."""
    return directory / "redfish.pem"


def fingerprint(certificate: Path) -> str:
    """Return the SHA-256 of the certificate in a PEM file, in hexadecimal: what an operator pins."""
    text = certificate.read_text(encoding="ascii")
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    pem = begin + text.partition(begin)[2].partition(end)[0] + end
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
