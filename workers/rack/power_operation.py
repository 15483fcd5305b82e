"""One power operation in a process of its own, so that a controller that hangs can be left by killing it.

Reads one JSON object on standard input (driver, verb, parameters, deadline_seconds), writes one on standard output
(ok, power, reason, kind, seconds).  Nothing secret is in the argument vector or the environment.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from app.power.base import PowerError
from app.power.operation import operate
from app.power.registry import driver


def perform(request: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request; what goes wrong is part of it."""
    begin = time.monotonic()
    power: str = "error"
    kind: str | None = None
    reason: str | None = None
    try:
        parameters = {str(name): str(value) for name, value in request["parameters"].items() if value is not None}
        chosen = driver(str(request["driver"]))
        outcome = operate(chosen, str(request["verb"]), parameters, float(request["deadline_seconds"]))
        power = outcome.power
    except PowerError as error:
        kind, reason = str(error.kind), error.sentence
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        kind, reason = "garbage", f"the operation is malformed: {error}"
    return {
        "ok": kind is None,
        "power": power,
        "kind": kind,
        "reason": reason,
        "seconds": round(time.monotonic() - begin, 3),
    }


def main() -> int:
    """Standard input to standard output.  Libraries that print must not spoil the answer, so they get standard error."""
    answer_to, sys.stdout = sys.stdout, sys.stderr
    request = json.loads(sys.stdin.read())
    answer_to.write(json.dumps(perform(request)) + "\n")
    answer_to.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
