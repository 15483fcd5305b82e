"""IPMI 2.0 over the LAN (RMCP+), by way of pyghmi.

pyghmi keeps process-wide sockets and threads and may wait for ever on a controller that stops in the middle of a session,
so callers run this driver in a process they can kill.  Boot device: IPMI 2.0 section 28.12 (Set System Boot Options,
boot flags valid for the next boot only).  Its exceptions carry only words, so the kinds of failure are told apart by them.
"""

from __future__ import annotations

import time
from typing import Any

from app.power.base import Parameters, PowerError, PowerParameter, PowerState

DEFAULT_PORT = 623
CYCLE_PAUSE_SECONDS = 1.0
_CREDENTIAL_WORDS = ("password", "unauthorized", "username", "privilege", "invalid role", "hmac", "integrity")
_UNREACHABLE_WORDS = ("timeout", "timed out", "no longer connected", "unreachable", "refused", "not connected")


class IpmiDriver:
    """A baseboard management controller that speaks IPMI 2.0."""

    name = "ipmi"
    title = "IPMI 2.0"
    queryable = True
    parameters: tuple[PowerParameter, ...] = (
        PowerParameter("address", "Address"),
        PowerParameter("username", "User"),
        PowerParameter("password", "Password", secret=True),
        PowerParameter("port", "UDP port", required=False, default=str(DEFAULT_PORT)),
        PowerParameter("firmware", "Firmware for network boot (bios or uefi)", required=False, default="bios"),
    )

    def on(self, parameters: Parameters, deadline: float) -> None:
        """Chassis control: power up."""
        self._power(self._connect(parameters), parameters, "on")

    def off(self, parameters: Parameters, deadline: float) -> None:
        """Chassis control: power down."""
        self._power(self._connect(parameters), parameters, "off")

    def soft_off(self, parameters: Parameters, deadline: float) -> None:
        """Chassis control: soft shutdown by ACPI; nothing to do if the machine is off."""
        session = self._connect(parameters)
        if self._state(session, parameters) == "on":
            self._power(session, parameters, "softoff")

    def cycle(self, parameters: Parameters, deadline: float) -> None:
        """Off, seen off, on: the controller's own cycle is refused by many while the machine is off."""
        end = time.monotonic() + deadline
        session = self._connect(parameters)
        self._power(session, parameters, "off")
        while self._state(session, parameters) != "off":
            if time.monotonic() > end:
                raise PowerError(
                    "timeout", f"controller {parameters['address']}: the machine stays on after power down"
                )
            time.sleep(0.2)
        time.sleep(CYCLE_PAUSE_SECONDS)
        self._power(session, parameters, "on")

    def query(self, parameters: Parameters, deadline: float) -> PowerState:
        """Chassis status, bit 0 of the power state."""
        return self._state(self._connect(parameters), parameters)

    def pxe_next(self, parameters: Parameters, deadline: float) -> None:
        """Network boot once, for BIOS or UEFI as the machine's firmware asks."""
        session = self._connect(parameters)
        uefi = parameters.get("firmware") == "uefi"
        self._ask(parameters, lambda: session.set_bootdev("network", persist=False, uefiboot=uefi))

    def _connect(self, parameters: Parameters) -> Any:
        from pyghmi.ipmi import command  # it opens sockets and reads the environment: only where it is used

        port = parameters.get("port") or str(DEFAULT_PORT)
        if not port.isdigit() or not 0 < int(port) < 65536:
            raise PowerError(
                "garbage", f"IPMI port {port!r} is not a number from 1 to 65535; correct it on the machine"
            )
        return self._ask(
            parameters,
            lambda: command.Command(
                bmc=parameters["address"],
                userid=parameters["username"],
                password=parameters["password"],
                port=int(port),
                keepalive=False,
            ),
        )

    def _power(self, session: Any, parameters: Parameters, wanted: str) -> None:
        self._ask(parameters, lambda: session.set_power(wanted))

    def _state(self, session: Any, parameters: Parameters) -> PowerState:
        answer = self._ask(parameters, session.get_power)
        state = answer.get("powerstate") if isinstance(answer, dict) else None
        if state == "on":
            return "on"
        if state == "off":
            return "off"
        raise PowerError("garbage", f"controller {parameters['address']}: power state {state!r} is neither on nor off")

    def _ask(self, parameters: Parameters, question: Any) -> Any:
        """Run one question and turn what pyghmi raises or returns into a PowerError of the right kind."""
        from pyghmi import exceptions

        try:
            answer = question()
        except exceptions.PyghmiException as error:
            raise _explain(parameters, str(error)) from error
        except OSError as error:
            raise PowerError("unreachable", f"controller {parameters['address']}: {error}") from error
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise PowerError(
                "garbage",
                f"controller {parameters['address']}: its answer makes no sense ({type(error).__name__}: {error})",
            ) from error
        if isinstance(answer, dict) and answer.get("error"):
            raise _explain(parameters, str(answer["error"]))
        return answer


def _explain(parameters: Parameters, words: str) -> PowerError:
    """PowerError for what pyghmi said; the password never appears in it."""
    address = parameters["address"]
    low = words.lower()
    if any(word in low for word in _CREDENTIAL_WORDS):
        return PowerError(
            "credentials",
            f"controller {address} rejects user {parameters['username']!r}: {words}; correct the credentials",
        )
    # pyghmi says nothing at all (the text "None") when a session could not even begin.
    if low in ("", "none") or any(word in low for word in _UNREACHABLE_WORDS):
        return PowerError(
            "unreachable", f"controller {address} does not answer ({words}); check its address and network"
        )
    return PowerError("refused", f"controller {address} refused: {words or 'no reason given'}")


DRIVER = IpmiDriver()
