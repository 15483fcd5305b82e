"""One power operation from beginning to end: do it, then look whether it happened.

A controller that accepts "on" has not switched anything on yet, and some never do; so after `on`, `off` and `cycle` the
state is read until it is reached or the time is over.  Drivers that cannot be asked are taken at their word.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from app.power.base import VERBS, Parameters, PowerDriver, PowerError, PowerState, checked

QUERY_PAUSE_SECONDS = 0.5
SHORTEST_SECRET = 4
"""Shorter ones are part of too many words: masking them would spoil the sentence and show where they are."""


@dataclass(frozen=True)
class PowerOutcome:
    """What came of an operation: `power` is the last state seen (`unknown` if nobody could look)."""

    power: PowerState
    seconds: float


def operate(
    driver: PowerDriver,
    verb: str,
    parameters: Parameters,
    deadline: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> PowerOutcome:
    """Carry out one verb within `deadline` seconds.  PowerError says why not, without any secret."""
    try:
        return _operate(driver, verb, parameters, deadline, clock, sleep)
    except PowerError as error:
        raise PowerError(error.kind, masked(driver, parameters, error.sentence)) from error


def masked(driver: PowerDriver, parameters: Parameters, sentence: str) -> str:
    """The sentence without the values of secret parameters: controllers may repeat what they were told."""
    for parameter in driver.parameters:
        value = parameters.get(parameter.name)
        if parameter.secret and value and len(value) >= SHORTEST_SECRET:
            sentence = sentence.replace(value, "********")
    return sentence


def _operate(
    driver: PowerDriver,
    verb: str,
    parameters: Parameters,
    deadline: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> PowerOutcome:
    if verb not in VERBS:
        raise PowerError("garbage", f"power verb {verb!r} does not exist; there are {', '.join(VERBS)}")
    full = checked(driver, parameters)
    begin = clock()

    def left() -> float:
        rest = deadline - (clock() - begin)
        if rest <= 0:
            raise PowerError("timeout", f"{verb} was not finished within {deadline:g} s")
        return rest

    power: PowerState = "unknown"
    if verb == "query":
        power = driver.query(full, left())
    elif verb == "pxe":
        driver.pxe_next(full, left())
    elif verb == "soft_off":
        driver.soft_off(full, left())
    else:
        if verb == "netboot":  # One order instead of two: the boot device first, then the start that it is for.
            driver.pxe_next(full, left())
        {"on": driver.on, "off": driver.off, "cycle": driver.cycle, "netboot": driver.cycle}[verb](full, left())
        if driver.queryable:
            wanted: PowerState = "off" if verb == "off" else "on"
            power = _await_power(verb, wanted, lambda: driver.query(full, left()), left, sleep)
    return PowerOutcome(power, clock() - begin)


def _await_power(
    verb: str,
    wanted: PowerState,
    query: Callable[[], PowerState],
    left: Callable[[], float],
    sleep: Callable[[float], None],
) -> PowerState:
    """Look until the machine is as wanted.  PowerError('timeout') says what it still was."""
    seen: PowerState | None = None
    try:
        while (power := query()) != wanted:
            seen = power
            sleep(min(QUERY_PAUSE_SECONDS, left()))
        return power
    except PowerError as error:
        if seen is None or not _is_over(left):
            raise
        raise PowerError(
            "timeout",
            f"the controller accepted {verb} but the machine is still {seen} when the time is over;"
            " look at the controller's own log",
        ) from error


def _is_over(left: Callable[[], float]) -> bool:
    """Whether there is no time for another question."""
    try:
        return left() <= QUERY_PAUSE_SECONDS
    except PowerError:
        return True
