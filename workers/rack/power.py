"""Carries out power operations, as a process of its own beside the agent.

A thread for each operation (a bounded pool), a process for each conversation, one conversation at a time with one
controller, and a deadline that is enforced by killing: a controller that hangs costs its own operation and delays nobody.
Queries, which the control plane orders of every machine now and then, have a pool of their own and less time, so that a
row of controllers that hang keeps no machine from being switched.  Operations of one machine are taken in the order of
their numbers.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog

from workers.rack.client import ControlPlane, ControlPlaneDown, ControlPlaneRefused
from workers.rack.config import RackConfig
from workers.rack.offer import request_ids
from workers.rack.secret_files import RACK_TOKEN, SecretFiles
from workers.rack.waiting import LongPoll, wait_for

log = structlog.get_logger()

WORKERS = 64
QUERY_WORKERS = 16
QUERY_SECONDS = 20.0
TURN_SECONDS = 10.0
DEFAULT_DEADLINE_SECONDS = 60.0
WORDS_SECONDS = 3.0
REPORT_TRIES = 20
REPORT_PAUSE_SECONDS = 3.0


class PowerRunner:
    """Takes operations from the control plane.  `make_client` gives each thread a client of its own."""

    def __init__(
        self,
        make_client: Callable[[], ControlPlane],
        workers: int = WORKERS,
        queries: int = QUERY_WORKERS,
        query_seconds: float = QUERY_SECONDS,
    ) -> None:
        self._query_seconds = query_seconds
        self._make_client = make_client
        self._client = make_client()
        self._pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="power")
        self._queries = ThreadPoolExecutor(max_workers=queries, thread_name_prefix="query")
        self._guard = threading.Lock()
        self._busy: set[str] = set()
        self._controllers: dict[str, threading.Lock] = {}
        self.wake = threading.Event()

    def run(self, stop: threading.Event) -> None:
        """Until a stop is asked for; operations under way are finished or run into their deadline."""
        LongPoll(self._make_client(), self.wake, stop, kinds=("power",)).start()
        while not stop.is_set():
            try:
                self.turn()
            except (ControlPlaneDown, ControlPlaneRefused) as error:
                log.warning("power.later", reason=str(error))
            except Exception:
                log.exception("power.failed")
            wait_for(self.wake, stop, TURN_SECONDS)
        for pool in (self._pool, self._queries):
            pool.shutdown(wait=True, cancel_futures=True)

    def turn(self) -> int:
        """Start every operation whose machine is idle; how many."""
        started = 0
        for item in sorted(self._client.power_operations(), key=_order):
            machine = str(item.get("machine") or f"operation {item['id']}")
            with self._guard:
                if machine in self._busy:
                    continue
                self._busy.add(machine)
            pool = self._queries if item.get("verb") == "query" else self._pool
            pool.submit(self._carry_out, item["id"], machine)
            started += 1
        return started

    def _carry_out(self, operation: int | str, machine: str) -> None:
        client = self._make_client()
        try:
            order = client.claim_power(operation)
            if order is None:
                return
            begin = time.monotonic()
            seconds = float(order.get("deadline_seconds") or DEFAULT_DEADLINE_SECONDS)
            if order.get("verb") == "query":
                seconds = min(seconds, self._query_seconds)
            address = controller_of(order.get("parameters", {}), machine)
            lock = self._controller(address)
            if lock.acquire(timeout=seconds):
                try:
                    result = converse(order, max(0.1, seconds - (time.monotonic() - begin)))
                finally:
                    lock.release()
            else:
                result = _timeout(f"another operation kept controller {address} busy for {seconds:g} s", seconds)
            result["seconds"] = round(time.monotonic() - begin, 3)
            log.info(
                "power.done",
                operation=operation,
                verb=order.get("verb"),
                ok=result["ok"],
                reason=result["reason"],
                request_id=request_ids(order.get("request_id")),
            )
            self._report(client, operation, result)
        except (ControlPlaneDown, ControlPlaneRefused) as error:
            log.warning("power.unreported", operation=operation, reason=str(error))
        except Exception:
            log.exception("power.operation_failed", operation=operation)
        finally:
            with self._guard:
                self._busy.discard(machine)
            self.wake.set()

    def _report(self, client: ControlPlane, operation: int | str, result: dict[str, Any]) -> None:
        """The control plane may be away just now; what was done must be told all the same."""
        for attempt in range(REPORT_TRIES):
            try:
                client.report_power(operation, result)
                return
            except ControlPlaneDown:
                if attempt == REPORT_TRIES - 1:
                    raise
                time.sleep(REPORT_PAUSE_SECONDS)

    def _controller(self, address: str) -> threading.Lock:
        with self._guard:
            return self._controllers.setdefault(address, threading.Lock())


def controller_of(parameters: dict[str, Any], machine: str) -> str:
    """Which controller an order talks to: address and port, since several may stand behind one address."""
    address, port = parameters.get("address"), parameters.get("port")
    if not address:
        return f"machine {machine}"
    return f"{address} port {port}" if port else str(address)


def converse(order: dict[str, Any], seconds: float) -> dict[str, Any]:
    """One operation in a process of its own; it is killed at the deadline, and the answer is then a timeout.

    The answer is as rackapi takes it: ok, power, reason, seconds; the kind of failure leads the reason.
    """
    # A driver that has time left to say what it waited for in vain, and to log out, is of more use than a killed one.
    own = seconds - min(WORDS_SECONDS, seconds / 4)
    request = {**{name: order.get(name) for name in ("driver", "verb", "parameters")}, "deadline_seconds": own}
    process = subprocess.Popen(
        [sys.executable, "-m", "workers.rack.power_operation"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    begin = time.monotonic()
    try:
        output, _ = process.communicate(json.dumps(request), timeout=seconds)
        answer = json.loads(output)
    except subprocess.TimeoutExpired:
        address = order.get("parameters", {}).get("address")
        where = f"controller {address}" if address else "the controller"
        return _timeout(f"{where} did not finish {order.get('verb')} within {seconds:.1f} s", seconds)
    except ValueError:
        answer = {
            "ok": False,
            "power": "error",
            "kind": "garbage",
            "reason": "the power process ended without an answer",
        }
    finally:
        _end(process)
    reason = None if answer["ok"] else f"{answer['kind']}: {answer['reason']}"
    return {
        "ok": bool(answer["ok"]),
        "power": str(answer["power"]),
        "reason": reason,
        "seconds": round(time.monotonic() - begin, 3),
    }


def _timeout(sentence: str, seconds: float) -> dict[str, Any]:
    return {"ok": False, "power": "error", "reason": f"timeout: {sentence}", "seconds": round(seconds, 3)}


def _end(process: subprocess.Popen[str]) -> None:
    """Kill the process and whatever it started, and collect it."""
    if process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def _order(item: dict[str, Any]) -> tuple[int, str]:
    """Numbers by size; names by themselves."""
    text = str(item["id"])
    return (int(text), "") if text.isdigit() else (0, text)


def serve(config: RackConfig, stop: threading.Event) -> None:
    """`muster-rack power`."""
    token = SecretFiles(config.root).read(RACK_TOKEN)
    PowerRunner(lambda: ControlPlane(config.control_plane, token)).run(stop)
