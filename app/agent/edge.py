"""
The client of the machine edge: JSON over HTTP with a bearer token, to one base address.

Connection errors and 5xx are tried again with growing pauses; 4xx never, because the same request would be refused
again. Redirects are not followed, because that would send the token elsewhere, and proxy variables are ignored: the
rack is the only host a machine may talk to. Error texts carry the method, the path and the control plane's own
explanation (RFC 9457 problem details), never the token.
"""

import contextlib
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from .errors import EdgeRefused, EdgeUnreachable

BACKOFF_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 30.0)
TIMEOUT_SECONDS = 30.0
_DETAIL_LIMIT = 500
_ANSWER_LIMIT = 16 * 1024 * 1024


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an error here."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> None:
        return None


def opener() -> urllib.request.OpenerDirector:
    """An opener that knows no proxy and follows no redirect."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())


def problem_detail(body: bytes) -> str:
    """The sentence in a problem document; else the start of the body."""
    text = body.decode("utf-8", "replace").strip()
    try:
        document = json.loads(text)
    except ValueError:
        return text[:_DETAIL_LIMIT]
    if isinstance(document, dict):
        return str(document.get("detail") or document.get("title") or text)[:_DETAIL_LIMIT]
    return text[:_DETAIL_LIMIT]


class Edge:
    """The calls a machine may make. `sleep` is the pause between tries, in seconds."""

    def __init__(
        self,
        url: str,
        token: str,
        sleep: Callable[[float], None] = time.sleep,
        timeout_seconds: float = TIMEOUT_SECONDS,
        backoff_seconds: tuple[float, ...] = BACKOFF_SECONDS,
    ) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._sleep = sleep
        self._timeout = timeout_seconds
        self._backoff = backoff_seconds
        self._opener = opener()

    def task(self) -> dict[str, Any]:
        """What this machine is to do."""
        answer = self._call("GET", "/task", None)
        if not isinstance(answer, dict):
            raise EdgeRefused("GET /task: the answer is not a JSON object; is muster.url right?", 200)
        return answer

    def status(self, event: str, step: str, message: str, fraction: float | None = None) -> None:
        """
        Report where the run is: `event` is started, progress, finished or failed; `fraction` is from 0 to 1.

        Progress is tried once and may get lost, so that a control plane that is away does not stop an install; a
        refusal (4xx) is raised even then, because it means that the operator has ended this run.
        """
        body = {"event": event, "step": step, "message": message, "fraction": fraction}
        if event != "progress":
            self._call("POST", "/status", body)
            return
        with contextlib.suppress(EdgeUnreachable):
            self._call("POST", "/status", body, backoff=())

    def enlist(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Make this machine known; the answer has its id and whether it is new."""
        answer = self._call("POST", "/enlist", payload)
        return answer if isinstance(answer, dict) else {}

    def results(self, payload: dict[str, Any]) -> None:
        """Hand over what one commission script found."""
        self._call("POST", "/results", payload)

    def _call(
        self, method: str, path: str, body: dict[str, Any] | None, backoff: tuple[float, ...] | None = None
    ) -> Any:
        pauses = self._backoff if backoff is None else backoff
        for pause in (*pauses, None):
            try:
                return self._once(method, path, body)
            except EdgeUnreachable as error:
                if pause is None:
                    raise EdgeUnreachable(f"{error}; gave up after {len(pauses) + 1} tries") from error
                self._sleep(pause)
        raise AssertionError("unreachable: the last try returns or raises")

    def _once(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json, application/problem+json"}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(  # noqa: S310 - cmdline allows http(s) only
            self._url + path, data=data, headers=headers, method=method
        )
        where = f"{method} {self._url}{path}"
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                answer = response.read(_ANSWER_LIMIT)
        except urllib.error.HTTPError as error:
            with error:
                detail = problem_detail(error.read(_DETAIL_LIMIT * 8))
            if error.code >= 500:
                raise EdgeUnreachable(f"{where}: the control plane answered {error.code}: {detail}") from error
            raise EdgeRefused(f"{where}: the control plane refused with {error.code}: {detail}", error.code) from error
        except (OSError, http.client.HTTPException) as error:
            raise EdgeUnreachable(f"{where}: no answer: {error}") from error
        if not answer.strip():
            return None
        try:
            return json.loads(answer)
        except ValueError as error:
            raise EdgeRefused(f"{where}: the answer is not JSON: {answer[:80]!r}", 200) from error
