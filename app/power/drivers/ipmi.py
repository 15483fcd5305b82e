"""IPMI 2.0 over the LAN (RMCP+), by way of pyghmi.

pyghmi keeps process-wide sockets and threads and may wait for ever on a controller that stops in the middle of a session,
so callers run this driver in a process they can kill.  Boot device: IPMI 2.0 section 28.12 (Set System Boot Options,
boot flags valid for the next boot only).  Its exceptions carry only words, so the kinds of failure are told apart by them.
"""

from __future__ import annotations

import atexit
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from app.power.base import Parameters, PowerError, PowerParameter, PowerState, port_number

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
        PowerParameter("port", "UDP port", required=False, default=str(DEFAULT_PORT), check=port_number),
        PowerParameter(
            "firmware", "Firmware for network boot", required=False, default="bios", choices=("bios", "uefi")
        ),
    )

    def on(self, parameters: Parameters, deadline: float) -> None:
        """Chassis control: power up."""
        with self._session(parameters) as session:
            self._power(session, parameters, "on")

    def off(self, parameters: Parameters, deadline: float) -> None:
        """Chassis control: power down."""
        with self._session(parameters) as session:
            self._power(session, parameters, "off")

    def soft_off(self, parameters: Parameters, deadline: float) -> None:
        """Chassis control: soft shutdown by ACPI; nothing to do if the machine is off."""
        with self._session(parameters) as session:
            if self._state(session, parameters) == "on":
                self._power(session, parameters, "softoff")

    def cycle(self, parameters: Parameters, deadline: float) -> None:
        """Off, seen off, on: the controller's own cycle is refused by many while the machine is off."""
        end = time.monotonic() + deadline
        with self._session(parameters) as session:
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
        with self._session(parameters) as session:
            return self._state(session, parameters)

    def pxe_next(self, parameters: Parameters, deadline: float) -> None:
        """Network boot once, for BIOS or UEFI as the machine's firmware asks."""
        uefi = parameters.get("firmware") == "uefi"
        with self._session(parameters) as session:
            self._ask(parameters, lambda: session.set_bootdev("network", persist=False, uefiboot=uefi))

    def __init__(self) -> None:
        self._sessions: dict[tuple[str, ...], Any] = {}

    @contextmanager
    def _session(self, parameters: Parameters) -> Iterator[Any]:
        """The one session with a controller; pyghmi hangs or fails when a second is opened in the same process.

        It is logged out when the process ends, because controllers have few sessions to give; one that failed is dropped.
        """
        key = tuple(parameters.get(name, "") for name in ("address", "port", "username", "password"))
        if key not in self._sessions:
            self._sessions[key] = self._connect(parameters)
            atexit.register(_log_out, self._sessions[key])
        try:
            yield self._sessions[key]
        except PowerError:
            self._sessions.pop(key, None)
            raise

    def _connect(self, parameters: Parameters) -> Any:
        from pyghmi.ipmi import command  # it opens sockets and reads the environment: only where it is used

        return self._ask(
            parameters,
            lambda: command.Command(
                bmc=parameters["address"],
                userid=parameters["username"],
                password=parameters["password"],
                port=port_number(parameters.get("port") or str(DEFAULT_PORT)),
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


def _log_out(session: Any) -> None:
    """Best effort: the controller would forget the session by itself after a minute."""
    with suppress(Exception):
        session.ipmi_session.logout()


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
