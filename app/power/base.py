"""What a power driver promises.

A driver is stateless: every call brings the parameters of one controller and the seconds it may take.  Calls block;
whoever calls them enforces the deadline from outside (`workers.rack.power` runs each in a process of its own), so a
driver may rely on libraries that hang.  `on` and `off` mean "see to it": they succeed when the machine already is so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

PowerState = Literal["on", "off", "unknown"]
PowerVerb = Literal["on", "off", "soft_off", "cycle", "query", "pxe", "netboot"]
PowerErrorKind = Literal["unreachable", "untrusted", "credentials", "timeout", "refused", "garbage"]
Parameters = Mapping[str, str]

VERBS: tuple[str, ...] = get_args(PowerVerb)


class PowerError(Exception):
    """A controller could not be made to do what was asked; `kind` is for programs, the sentence for people.

    unreachable: nothing answers there.  untrusted: it answers, but its certificate is not one to trust, and it was told
    nothing.  credentials: it answers and rejects the user or the password.
    timeout: it did not finish before the deadline.  refused: it understood and said no.
    garbage: what it answered, or what it was asked, makes no sense.
    """

    def __init__(self, kind: PowerErrorKind, sentence: str) -> None:
        super().__init__(sentence)
        self.kind: PowerErrorKind = kind
        self.sentence = sentence


@dataclass(frozen=True)
class PowerParameter:
    """One thing a driver must be told: shown in forms by its label, never shown again if it is secret.

    With `choices` it is one of these words.  `check` raises ValueError, saying the rule, for a value that cannot be meant.
    """

    name: str
    label: str
    secret: bool = False
    required: bool = True
    default: str = ""
    choices: tuple[str, ...] = ()
    check: Callable[[str], object] | None = None

    def complaint(self, value: str) -> str | None:
        """What is wrong with a value, without repeating a secret one; None if nothing is."""
        shown = "the value" if self.secret else repr(value)
        if self.choices and value not in self.choices:
            return f"{self.label} ({self.name}): {shown} is not one of {', '.join(self.choices)}"
        if self.check is not None:
            try:
                self.check(value)
            except ValueError as error:
                return f"{self.label} ({self.name}): {shown} {error}"
        return None


def port_number(text: str) -> int:
    """A port in figures. ValueError if it is none; a `check` of parameters."""
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ValueError("is not a port from 1 to 65535")
    return int(text)


@runtime_checkable
class PowerDriver(Protocol):
    """One kind of controller.  `deadline` is the number of seconds the call may take; every method may raise PowerError."""

    @property
    def name(self) -> str:
        """The word that stands in the API and in tables."""

    @property
    def title(self) -> str:
        """What people call it."""

    @property
    def parameters(self) -> tuple[PowerParameter, ...]:
        """What must be known of a controller."""

    @property
    def queryable(self) -> bool:
        """Whether `query` can say more than `unknown`."""

    def on(self, parameters: Parameters, deadline: float) -> None:
        """Switch on; success if it already is."""

    def off(self, parameters: Parameters, deadline: float) -> None:
        """Cut the power; success if it already is off."""

    def soft_off(self, parameters: Parameters, deadline: float) -> None:
        """Ask the operating system to shut down; does not wait for it."""

    def cycle(self, parameters: Parameters, deadline: float) -> None:
        """Off and on again; on if it was off."""

    def query(self, parameters: Parameters, deadline: float) -> PowerState:
        """Say whether the machine has power."""

    def pxe_next(self, parameters: Parameters, deadline: float) -> None:
        """Boot from the network at the next start, and only then."""


def checked(driver: PowerDriver, parameters: Parameters) -> dict[str, str]:
    """The parameters with defaults filled in.  PowerError('garbage') names what is missing or unknown."""
    known = {parameter.name: parameter for parameter in driver.parameters}
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise PowerError(
            "garbage", f"power driver {driver.name}: unknown parameter {unknown[0]!r}; it takes {sorted(known)}"
        )
    full = {name: str(parameters.get(name) or parameter.default) for name, parameter in known.items()}
    for name, parameter in known.items():
        if parameter.required and not full[name]:
            raise PowerError(
                "garbage", f"power driver {driver.name}: parameter {name!r} is missing; set it on the machine"
            )
        if full[name] and (complaint := parameter.complaint(full[name])):
            raise PowerError("garbage", f"power driver {driver.name}: {complaint}; correct it on the machine")
    return full
