"""The driver for machines without a controller: it says what a person must do, and knows nothing of the result.

Asking is an answer of its own here: `on` and the others fail with kind `refused` and a sentence that tells the person
what to do, so that nobody believes a button was pressed.
"""

from __future__ import annotations

from typing import NoReturn

from app.power.base import Parameters, PowerError, PowerParameter, PowerState


class ManualDriver:
    """A person is the controller."""

    name = "manual"
    title = "By hand"
    queryable = False
    parameters: tuple[PowerParameter, ...] = (PowerParameter("location", "Where the machine stands", required=False),)

    def on(self, parameters: Parameters, deadline: float) -> None:
        """Refused, with what to do."""
        self._ask(parameters, "press its power button until it is on")

    def off(self, parameters: Parameters, deadline: float) -> None:
        """Refused, with what to do."""
        self._ask(parameters, "hold its power button until it is off")

    def soft_off(self, parameters: Parameters, deadline: float) -> None:
        """Refused, with what to do."""
        self._ask(parameters, "shut it down from its own console")

    def cycle(self, parameters: Parameters, deadline: float) -> None:
        """Refused, with what to do."""
        self._ask(parameters, "switch it off, wait ten seconds and switch it on")

    def query(self, parameters: Parameters, deadline: float) -> PowerState:
        """Always `unknown`: nobody can look."""
        return "unknown"

    def pxe_next(self, parameters: Parameters, deadline: float) -> None:
        """Refused, with what to do."""
        self._ask(parameters, "choose network boot in its firmware's boot menu at the next start")

    def _ask(self, parameters: Parameters, what: str) -> NoReturn:
        place = f" ({parameters['location']})" if parameters.get("location") else ""
        raise PowerError("refused", f"this machine has no controller: go to it{place} and {what}")


DRIVER = ManualDriver()
