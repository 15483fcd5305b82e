"""The machine's own BMC, only read: what commissioning may do. Enlisting, which also makes an account, uses `..bmc`."""

from typing import Any

from .. import bmc
from ..probe import Probe


def collect(probe: Probe) -> dict[str, Any]:
    found, reason = bmc.read(probe)
    if found is None:
        return {"bmc": None, "reason": reason}
    return {
        "bmc": {
            "type": "ipmi",
            "address": found.address,
            "mac": found.mac,
            "version": found.version,
            "manufacturer_id": found.manufacturer_id,
        },
        "reason": None,
    }
