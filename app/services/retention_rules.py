"""How long and how much is kept: the setting `retention`, its defaults and bounds."""

from __future__ import annotations

from typing import Any

SETTING = "retention"
DEFAULTS: dict[str, int] = {
    "event_days": 90,
    "events_each": 5_000,
    "audit_days": 730,
    "results_each": 10,
    "operations_each": 200,
    "applies_each": 500,
    "plans_each": 200,
    "offers_each": 20,
    "power_days": 30,
    "token_days": 30,
    "record_days": 1,
    "neighbour_days": 30,
    "job_days": 30,
    "syslog_days": 30,
    "syslog_each": 50_000,
    "syslog_lines": 1_000_000,
}
"""days: how long; each: how many for a machine, a rack, or a script on a machine.
neighbour_days: since an address was last seen in use.  job_days: since bulk work ended.
record_days: of words on a record that a newer one has replaced, and of the word that there is none any more.
syslog_each: lines of each machine.  syslog_lines: of all together; this one is kept whenever lines come."""
LEAST, MOST = 1, 1_000_000
MOST_OF = {"syslog_lines": 100_000_000}


def checked(value: dict[str, Any]) -> dict[str, Any]:
    """The setting as it is kept: what is left out has its default. ValueError says what is wrong."""
    unknown = sorted(set(value) - set(DEFAULTS))
    if unknown:
        raise ValueError(f"{unknown[0]!r} is unknown; there are {', '.join(DEFAULTS)}")
    for name, number in value.items():
        if not isinstance(number, int) or isinstance(number, bool) or not LEAST <= number <= MOST_OF.get(name, MOST):
            raise ValueError(
                f"{name} is {number!r}; it must be a whole number from {LEAST} to {MOST_OF.get(name, MOST)}"
            )
    return DEFAULTS | value
