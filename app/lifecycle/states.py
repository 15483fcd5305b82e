"""States of a machine. Transient ones end in -ING and each has a success, a failure and a deadline."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a machine is in its life."""

    NEW = "NEW"
    COMMISSIONING = "COMMISSIONING"
    FAILED_COMMISSIONING = "FAILED_COMMISSIONING"
    READY = "READY"
    ALLOCATED = "ALLOCATED"
    DEPLOYING = "DEPLOYING"
    FAILED_DEPLOYMENT = "FAILED_DEPLOYMENT"
    DEPLOYED = "DEPLOYED"
    RELEASING = "RELEASING"
    FAILED_RELEASING = "FAILED_RELEASING"
    BROKEN = "BROKEN"

    @property
    def label(self) -> str:
        """The state as people read it: `Failed deployment`."""
        return self.value.replace("_", " ").capitalize()

    @property
    def is_transient(self) -> bool:
        """Whether an operation is under way in this state."""
        return self.value.endswith("ING") and not self.value.startswith("FAILED_")

    @property
    def is_failure(self) -> bool:
        """Whether the last operation failed, or a person called the machine broken."""
        return self.value.startswith("FAILED_") or self is State.BROKEN
