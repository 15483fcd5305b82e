"""
Commissioning: run the scripts that the task lists, one by one, and hand over what each one found as soon as it ends.

A script that fails or takes too long does not stop the others: its own status says so, and the control plane decides
what that means for the machine.
"""

import base64
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import inventory
from .edge import Edge
from .errors import AgentError, CommandFailed
from .probe import Probe
from .runner import OUTPUT_LIMIT, DeadlinePassed, call_with_deadline, say

CUT = b"\n[cut: only the beginning of this stream is kept]\n"


@dataclass(frozen=True)
class Outcome:
    """How a script ended: passed, failed, timedout or skipped; `exit_code` is None unless it ended by itself."""

    script: str
    status: str
    exit_code: int | None
    seconds: float
    stdout: bytes
    stderr: bytes
    result: dict[str, Any] | None

    def payload(self) -> dict[str, Any]:
        """What POST /results takes."""
        return {
            "script": self.script,
            "status": self.status,
            "exit_code": self.exit_code,
            "seconds": round(self.seconds, 3),
            "stdout": base64.b64encode(_cut(self.stdout)).decode("ascii"),
            "stderr": base64.b64encode(_cut(self.stderr)).decode("ascii"),
            "result": self.result,
        }


def _cut(stream: bytes) -> bytes:
    """The stream, and where it is as long as may be kept, word that there was more."""
    return stream if len(stream) < OUTPUT_LIMIT else stream[: OUTPUT_LIMIT - len(CUT)] + CUT


def run_script(name: str, timeout_seconds: float, probe: Probe | None = None) -> Outcome:
    """Run one script to its end or its deadline."""
    collect = inventory.find(name)
    if collect is None:
        reason = f"this agent has no script {name!r}; it has {', '.join(inventory.known())}\n"
        return Outcome(name, "skipped", None, 0.0, b"", reason.encode(), None)
    seen = probe or Probe(seconds=timeout_seconds)
    started = time.monotonic()
    status, complaint = "passed", ""
    code: int | None = 0
    result: dict[str, Any] | None = None
    try:
        # The script's own commands end at the deadline; the grace lets it say which one it was.
        result = call_with_deadline(lambda: collect(seen), timeout_seconds + 2.0)
    except DeadlinePassed:
        status, code, complaint = "timedout", None, f"{name}: did not end within {timeout_seconds:g} seconds"
    except CommandFailed as error:
        status, code, complaint = ("timedout" if error.timed_out else "failed"), error.exit_code, f"{name}: {error}"
    except AgentError as error:
        status, code, complaint = "failed", 1, f"{name}: {error}"
    except Exception:  # A bug in one script must not cost the others; its traceback goes to the operator.
        status, code, complaint = "failed", 1, f"{name}: unexpected error\n{traceback.format_exc()}"
    seconds = time.monotonic() - started
    stderr = seen.stderr() + (complaint + "\n").encode() if complaint else seen.stderr()
    return Outcome(name, status, code, seconds, seen.stdout(), stderr, result)


def commission(edge: Edge, scripts: list[dict[str, Any]], run: Callable[[str, float], Outcome] = run_script) -> str:
    """Run the task's scripts and report each; the sentence that ends the run names those that did not pass."""
    outcomes: list[Outcome] = []
    for number, script in enumerate(scripts):
        name = str(script["name"])
        edge.status("progress", name, f"running {name}", number / len(scripts))
        outcome = run(name, float(script.get("timeout_seconds") or 60))
        say(f"commission: {name} {outcome.status} in {outcome.seconds:.1f} s")
        edge.results(outcome.payload())
        outcomes.append(outcome)
    bad = [f"{outcome.script} {outcome.status}" for outcome in outcomes if outcome.status != "passed"]
    summary = f"{len(outcomes) - len(bad)} of {len(outcomes)} scripts passed"
    return f"{summary}; {', '.join(bad)}" if bad else summary
