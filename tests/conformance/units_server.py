"""`SystemdUnits` on the other side of a pipe: `python3 -m tests.conformance.units_server ROOT` inside a container.

Each line is one call, `{"method": ..., "arguments": [...]}`; each answer is `{"result": ...}` or `{"error": ...}`.
Standard library and `workers.rack.systemd` only, so that a bare system's python3 runs it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from workers.rack.systemd import SystemdUnits
from workers.rack.units import Unit, UnitError


def main() -> None:
    """Answer until the pipe is closed."""
    units = SystemdUnits(Path(sys.argv[1]))
    for line in sys.stdin:
        call = json.loads(line)
        arguments = call["arguments"]
        if call["method"] == "install":
            name, command, environment = arguments
            arguments = [Unit(name, tuple(command), tuple((key, value) for key, value in environment))]
        try:
            answer = {"result": getattr(units, call["method"])(*arguments)}
        except UnitError as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
