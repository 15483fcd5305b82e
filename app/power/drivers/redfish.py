"""Redfish (DSP0266, schemas of DSP2046) over HTTPS.

One operation is one conversation: log in, find the system, ask, see it happen, log out.  A boot override is set for
the next boot only and read back, because some controllers take it and forget it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from app.power.base import Parameters, PowerError, PowerParameter, PowerState, port_number
from app.power.https import TRUST
from app.power.redfish_conversation import Conversation

PAUSE_SECONDS = 0.5
OVERRIDE_SECONDS = 10.0
CYCLE_PAUSE_SECONDS = 1.0
MEMBERS_LIMIT = 64
_STATES: dict[str, PowerState] = {"On": "on", "PoweringOff": "on", "Off": "off", "PoweringOn": "off"}
_RESETS = {
    "on": ("On", "ForceOn"),
    "off": ("ForceOff",),
    "soft_off": ("GracefulShutdown", "PushPowerButton"),
}
"""ResetType for each wish, the better first (DSP2046, ComputerSystem.Reset); a pushed button is ACPI's soft off."""
_TARGETS = {"pxe": "Pxe", "http": "UefiHttp"}
_MODES = {"bios": "Legacy", "uefi": "UEFI"}


def _uuid(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise ValueError("is not a UUID") from None


class RedfishDriver:
    """A controller that speaks Redfish; one of its systems is the machine."""

    name = "redfish"
    title = "Redfish"
    queryable = True
    parameters: tuple[PowerParameter, ...] = (
        PowerParameter("address", "Address"),
        PowerParameter("username", "User"),
        PowerParameter("password", "Password", secret=True),
        PowerParameter("port", "HTTPS port", required=False, default="443", check=port_number),
        PowerParameter(
            "auth", "How to log in (auto: a session if the controller has sessions, else basic)", required=False,
            default="auto", choices=("auto", "session", "basic"),
        ),
        *TRUST,
        PowerParameter("system", "System (its Id), if the controller has several", required=False),
        PowerParameter("system_uuid", "System's UUID: chooses it, or checks that it is the one", required=False, check=_uuid),
        PowerParameter(
            "firmware", "Firmware for network boot; as found when empty", required=False, choices=("bios", "uefi")
        ),
        PowerParameter(
            "network_boot", "Network boot by PXE or by UEFI HTTP", required=False, default="pxe",
            choices=("pxe", "http"),
        ),
    )  # fmt: skip

    def on(self, parameters: Parameters, deadline: float) -> None:
        """Reset to On; nothing to do if it is on."""
        with _system(parameters, deadline) as system:
            system.switch("on")

    def off(self, parameters: Parameters, deadline: float) -> None:
        """Reset to ForceOff; nothing to do if it is off."""
        with _system(parameters, deadline) as system:
            system.switch("off")

    def soft_off(self, parameters: Parameters, deadline: float) -> None:
        """Ask the operating system to shut down; nothing to do if the machine is off."""
        with _system(parameters, deadline) as system:
            if system.state() != "off":
                system.reset("soft_off")

    def cycle(self, parameters: Parameters, deadline: float) -> None:
        """Off, seen off, on: a restart is refused by many while the machine is off."""
        with _system(parameters, deadline) as system:
            system.switch("off")
            time.sleep(min(CYCLE_PAUSE_SECONDS, system.talk.left()))
            system.switch("on")

    def query(self, parameters: Parameters, deadline: float) -> PowerState:
        """PowerState of the system; `unknown` when the controller does not say."""
        with _system(parameters, deadline) as system:
            return system.state()

    def pxe_next(self, parameters: Parameters, deadline: float) -> None:
        """A boot override for the next boot only."""
        with _system(parameters, deadline) as system:
            system.boot_once(parameters.get("network_boot") or "pxe", parameters.get("firmware") or "")


class System:
    """One computer system of a controller, within one conversation."""

    def __init__(self, talk: Conversation, path: str, document: dict[str, Any]) -> None:
        self.talk = talk
        self._path = path
        self._document = document

    def state(self) -> PowerState:
        """Whether it has power, as read last."""
        state = self._document.get("PowerState")
        if state is None:
            return "unknown"
        if state in _STATES:
            return _STATES[state]
        raise PowerError("garbage", f"{self.talk.where}: power state {state!r} is none of {', '.join(_STATES)}")

    def switch(self, wanted: PowerState) -> None:
        """On or off, and wait until it is."""
        if self.state() == wanted:
            return
        self.reset(wanted)
        while self._read() != wanted:
            if self.talk.left() <= PAUSE_SECONDS:
                raise PowerError(
                    "timeout",
                    f"{self.talk.where} accepted {wanted} but the machine is still {self.state()}; look at its own log",
                )
            time.sleep(PAUSE_SECONDS)

    def reset(self, wish: str) -> None:
        """The reset action, by the first type that the controller allows."""
        action = (self._document.get("Actions") or {}).get("#ComputerSystem.Reset") or {}
        target = action.get("target")
        if not target:
            raise PowerError(
                "refused", f"{self.talk.where}: its system {self._path} has no reset action; check the user's rights"
            )
        allowed = action.get("ResetType@Redfish.AllowableValues") or self._allowed(action.get("@Redfish.ActionInfo"))
        fitting = [one for one in _RESETS[wish] if allowed is None or one in allowed]
        if allowed is not None and not fitting:
            raise PowerError("refused", f"{self.talk.where} cannot do {wish}: it allows {', '.join(map(str, allowed))}")
        self.talk.post(str(target), {"ResetType": fitting[0]})

    def boot_once(self, way: str, firmware: str) -> None:
        """Boot from the network at the next start; read back, within some seconds."""
        boot = self._document.get("Boot") or {}
        target = _TARGETS[way]
        allowed = boot.get("BootSourceOverrideTarget@Redfish.AllowableValues")
        if allowed is not None and target not in allowed:
            raise PowerError(
                "refused",
                f"{self.talk.where} cannot boot by {target}: it allows {', '.join(map(str, allowed))}; set `network_boot`",
            )
        wanted = {"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": target}
        if "BootSourceOverrideMode" in boot and firmware:
            wanted["BootSourceOverrideMode"] = _MODES[firmware]
        self.talk.patch(self._path, {"Boot": wanted})
        end = time.monotonic() + OVERRIDE_SECONDS
        while True:
            self._read()
            seen = {name: (self._document.get("Boot") or {}).get(name) for name in wanted}
            if seen == wanted:
                return
            if time.monotonic() > end or self.talk.left() <= PAUSE_SECONDS:
                raise PowerError(
                    "refused",
                    f"{self.talk.where} accepted the boot override and shows {seen} in place of {wanted};"
                    " set network boot first in the machine's firmware",
                )
            time.sleep(PAUSE_SECONDS)

    def _read(self) -> PowerState:
        self._document, _ = self.talk.get(self._path)
        return self.state()

    def _allowed(self, information: Any) -> list[str] | None:
        """The types by ActionInfo; None if the controller does not say."""
        path = information.get("@odata.id") if isinstance(information, dict) else information
        if not path:
            return None
        document, _ = self.talk.get(str(path))
        named = [one for one in document.get("Parameters") or [] if one.get("Name") == "ResetType"]
        return named[0].get("AllowableValues") if named else None


@contextmanager
def _system(parameters: Parameters, deadline: float) -> Iterator[System]:
    """A conversation about the one system that is meant.  What is not as the schemas say is `garbage`."""
    with Conversation(parameters, deadline) as talk:
        try:
            path, document = _choose(talk, parameters.get("system") or "", parameters.get("system_uuid") or "")
            yield System(talk, path, document)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise PowerError(
                "garbage", f"{talk.where}: its answer makes no sense ({type(error).__name__}: {error})"
            ) from error


def _choose(talk: Conversation, name: str, system_uuid: str) -> tuple[str, dict[str, Any]]:
    """The path and document of the system by its Id, by its UUID, or the only one."""
    paths = _members(talk)
    if name:
        paths = [path for path in paths if path.rstrip("/").rpartition("/")[2] == name] or _no_system(talk, name, paths)
    if len(paths) > 1 and not system_uuid:
        names = ", ".join(path.rstrip("/").rpartition("/")[2] for path in paths)
        raise PowerError("refused", f"{talk.where} has several systems ({names}); say which in `system`")
    seen = []
    for path in paths:
        document, _ = talk.get(path)
        if not system_uuid or _same(document.get("UUID"), system_uuid):
            return path, document
        seen.append(f"{path} has {document.get('UUID')}")
    raise PowerError(
        "refused",
        f"{talk.where} has no system with UUID {system_uuid}: {'; '.join(seen) or 'it has none at all'};"
        " is this another machine's controller?",
    )


def _members(talk: Conversation) -> list[str]:
    root, _ = talk.get("/redfish/v1/")
    path: str | None = str((root.get("Systems") or {}).get("@odata.id") or "/redfish/v1/Systems")
    found: list[str] = []
    while path and len(found) < MEMBERS_LIMIT:
        page, _ = talk.get(path)
        found += [str(member["@odata.id"]) for member in page["Members"]]
        path = page.get("Members@odata.nextLink")
    if not found:
        raise PowerError("refused", f"{talk.where} has no system; check the user's rights")
    return found


def _no_system(talk: Conversation, name: str, paths: list[str]) -> list[str]:
    names = ", ".join(path.rstrip("/").rpartition("/")[2] for path in paths)
    raise PowerError("refused", f"{talk.where} has no system {name!r}; it has {names}")


def _same(one: object, other: str) -> bool:
    try:
        return uuid.UUID(str(one)) == uuid.UUID(other)
    except ValueError:
        return False


DRIVER = RedfishDriver()
