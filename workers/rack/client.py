"""The rack's side of rackapi: every call the control plane offers to racks.

Two kinds of failure are told apart, because the agent treats them differently: `ControlPlaneDown` (no answer, or an error
of the server: try again later, keep serving) and `ControlPlaneRefused` (an answer that will not change by asking again).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import quote

import requests

from workers.rack.offer import Envelope
from workers.rack.trust import authorities

TIMEOUT_SECONDS = 15.0
WAIT_SECONDS = 20


class ControlPlaneDown(Exception):
    """The control plane does not answer or fails; what the rack serves goes on."""


class ControlPlaneRefused(Exception):
    """The control plane answered and said no; `status` is the HTTP status."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(f"the control plane answers {status}: {sentence}")
        self.status = status


class ControlPlane:
    """One enrolled rack's view of the control plane; use one object per thread."""

    def __init__(self, url: str, token: str | None, timeout: float = TIMEOUT_SECONDS) -> None:
        self._base = f"{url.rstrip('/')}/rack/v1"
        self._timeout = timeout
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = authorities()
        if token is not None:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def enrol(self, request: dict[str, Any]) -> dict[str, Any]:
        """Give the one-time code, get identity and tokens."""
        return self._object(self._ask("POST", "/enrol", json=request))

    def wait(
        self,
        offer: int,
        records: int,
        power: int,
        questions: int = 0,
        seconds: int = WAIT_SECONDS,
        only: Collection[str] = (),
    ) -> dict[str, Any]:
        """Wait until something is newer than these numbers, at most that long. only: those that count; all without it.

        An older control plane does not know `only`, and counts all.
        """
        query: dict[str, str | int] = {"offer": offer, "records": records, "power": power, "seconds": seconds}
        query["questions"] = questions
        if only:
            query["for"] = ",".join(only)
        return self._object(self._ask("GET", "/wait", params=query, timeout=seconds + self._timeout))

    def offer(self, have: int) -> Envelope | None:
        """The present offer; None if it still is number `have` or there is none.  OfferError if it is malformed."""
        answer = self._ask("GET", "/offer", headers={"If-None-Match": f'"{have}"'}, accept=(404,))
        if answer.status_code in (304, 404):
            return None
        return Envelope.from_data(self._object(answer))

    def records(self, after: int, limit: int = 1000) -> dict[str, Any]:
        """Record changes after a sequence number, oldest first."""
        return self._object(self._ask("GET", "/records", params={"after": after, "limit": limit}))

    def snapshot(self, scopes: dict[str, tuple[int, int]]) -> dict[str, Any]:
        """What there is in some buckets (first, last) of some scopes, or in the first of them that fit into an answer."""
        return self._object(self._ask("POST", "/records/snapshot", json={"scopes": scopes}))

    def compare(self, sequence: int, roots: dict[str, int]) -> dict[str, Any]:
        """Which scopes differ from what they should hold at a sequence, by their digests."""
        return self._object(self._ask("POST", "/records/compare", json={"sequence": sequence, "roots": roots}))

    def report_drift(self, drift: dict[str, Any]) -> None:
        """Say which records were not as they should be, and which of them could not be mended."""
        self._ask("POST", "/reports/drift", json=drift)

    def report_apply(self, report: dict[str, Any]) -> None:
        """Say how the application of one service went."""
        self._ask("POST", "/reports/apply", json=report, headers=_named(report.get("request_id")))

    def report_observation(self, observation: dict[str, Any]) -> None:
        """Say what runs here."""
        self._ask("POST", "/reports/observation", json=observation)

    def report_neighbours(self, neighbours: list[dict[str, str]]) -> None:
        """Say who else is on this host's networks."""
        self._ask("POST", "/reports/neighbours", json={"neighbours": neighbours})

    def report_foreign_dhcp(self, report: Mapping[str, Any]) -> None:
        """Say on which interfaces was looked for DHCP servers that are not ours, and who answered."""
        self._ask("POST", "/reports/foreign-dhcp", json=dict(report))

    def report_leases(self, report: Mapping[str, Any]) -> list[dict[str, str]]:
        """Say which addresses are leased; those that are refused, with the reasons."""
        refused = self._object(self._ask("POST", "/reports/leases", json=dict(report))).get("refused", [])
        return [item for item in refused if isinstance(item, dict)]

    def report_syslog(self, report: Mapping[str, Any]) -> dict[str, Any]:
        """Bring lines of this rack's spool; up to which place the control plane has the file, and what it refused."""
        return self._object(self._ask("POST", "/reports/syslog", json=dict(report)))

    def report_records(self, report: dict[str, Any]) -> None:
        """Say up to which sequence records are live, and which are not."""
        self._ask("POST", "/reports/records", json=report, headers=_named(report.get("request_id")))

    def report_zones(self, serials: dict[str, int], foreign: list[dict[str, str]]) -> None:
        """Say which serial each zone has here, and what somebody else had changed."""
        zones = [{"zone": zone, "serial": serial} for zone, serial in serials.items()]
        self._ask("POST", "/reports/zones", json={"zones": zones, "foreign": foreign})

    def secret(self, name: str) -> str:
        """A secret that the newest offer refers to."""
        return str(self._object(self._ask("GET", f"/secrets/{quote(name, safe='')}"))["value"])

    def broker(self) -> dict[str, Any]:
        """Where the doorbell's broker is, and who this rack is there."""
        return self._object(self._ask("GET", "/broker"))

    def power_operations(self) -> list[dict[str, Any]]:
        """Power operations that nobody has claimed."""
        operations = self._object(self._ask("GET", "/power/operations")).get("operations", [])
        return [item for item in operations if isinstance(item, dict)]

    def claim_power(self, operation: int | str) -> dict[str, Any] | None:
        """Take an operation with its parameters; None if someone else has it."""
        answer = self._ask("POST", f"/power/operations/{quote(str(operation), safe='')}/claim", accept=(409,))
        return None if answer.status_code == 409 else self._object(answer)

    def report_power(self, operation: int | str, result: dict[str, Any]) -> None:
        """Say what came of a power operation."""
        self._ask("POST", f"/power/operations/{quote(str(operation), safe='')}/result", json=result)

    def questions(self) -> list[dict[str, Any]]:
        """Questions that nobody has claimed; none from a control plane that asks none."""
        answer = self._ask("GET", "/questions", accept=(404,))
        found = [] if answer.status_code == 404 else self._object(answer).get("questions", [])
        return [item for item in found if isinstance(item, dict)]

    def claim_question(self, question: int) -> dict[str, Any] | None:
        """Take a question with its particulars; None if nobody waits for it any more."""
        answer = self._ask("POST", f"/questions/{question}/claim", accept=(409,))
        return None if answer.status_code == 409 else self._object(answer)

    def answer_question(self, question: int, answer: Mapping[str, Any] | None, reason: str | None) -> None:
        """Answer a question, or say why it cannot be answered."""
        self._ask("POST", f"/questions/{question}/answer", json={"answer": answer, "reason": reason})

    def _ask(
        self, method: str, path: str, accept: tuple[int, ...] = (), timeout: float | None = None, **arguments: Any
    ) -> requests.Response:
        try:
            answer = self._session.request(
                method, self._base + path, timeout=timeout or self._timeout, allow_redirects=False, **arguments
            )
        except requests.RequestException as error:
            raise ControlPlaneDown(f"{method} {path}: {type(error).__name__}: {error}") from error
        if answer.status_code < 300 or answer.status_code == 304 or answer.status_code in accept:
            return answer
        sentence = _problem(answer)
        if answer.status_code >= 500 or answer.status_code in (408, 429):
            raise ControlPlaneDown(f"{method} {path}: {answer.status_code} {sentence}")
        raise ControlPlaneRefused(answer.status_code, f"{method} {path}: {sentence}")

    def _object(self, answer: requests.Response) -> dict[str, Any]:
        try:
            data = answer.json()
        except ValueError as error:
            raise ControlPlaneDown(f"{answer.url}: the answer is no JSON") from error
        if not isinstance(data, dict):
            raise ControlPlaneDown(f"{answer.url}: the answer is no JSON object")
        return data


def _named(request_id: Any) -> dict[str, str]:
    """The header that lets the control plane's log name the (last) request that a report is about."""
    return {"X-Request-Id": str(request_id).split()[-1]} if request_id else {}


def _problem(answer: requests.Response) -> str:
    """The sentence of an RFC 9457 problem, or the plain reason."""
    try:
        data = answer.json()
    except ValueError:
        return answer.reason or "no reason given"
    if isinstance(data, dict):
        return str(data.get("detail") or data.get("title") or answer.reason)
    return answer.reason or "no reason given"
