"""One conversation with a Redfish service (DSP0266), by way of the DMTF's `redfish` package: log in, ask, log out.

The package itself verifies no certificate, tries everything eleven times and logs what it sends, so trust is
`app.power.https`'s, each request has one try and what is left of the deadline, and the package's logger is silent.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from app.power.base import Parameters, PowerError
from app.power.https import TrustAdapter, explain

ROOT = "/redfish/v1/"
SESSIONS = "/redfish/v1/SessionService/Sessions"
LOGOUT_SECONDS = 2.0
WORDS_LIMIT = 200
_NO_SESSION_SERVICE = (404, 405, 501)


class Conversation:
    """An open conversation; a context manager that logs out.  `deadline` is the number of seconds it may take in all."""

    def __init__(self, parameters: Parameters, deadline: float) -> None:
        import redfish.rest.v1 as dmtf  # it changes warnings and imports much: only where it is used

        # It logs whole requests; its own masking misses a password with a quote in it, and every token.
        logging.getLogger("redfish").setLevel(logging.CRITICAL + 1)
        self._parameters = parameters
        self.where = f"controller {parameters['address']}"
        self._reserve = min(LOGOUT_SECONDS, deadline / 5)
        self._end = time.monotonic() + deadline - self._reserve
        self._session_path: str | None = None
        self._broken: tuple[type[Exception], ...] = (dmtf.RetriesExhaustedError, dmtf.JsonDecodingError)
        self._client = dmtf.redfish_client(
            base_url=_base_url(parameters),
            max_retry=0,
            check_connectivity=False,
            https_adapter=TrustAdapter(parameters),
        )

    def __enter__(self) -> Conversation:
        """Log in."""
        try:
            self._log_in()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *error: object) -> None:
        """Log out, because controllers have few sessions to give; one that does not answer forgets ours by itself."""
        path, self._session_path = self._session_path, None
        if path is not None:
            with suppress(Exception):
                self._client.delete(path, timeout=self._reserve, max_retry=0)
        with suppress(Exception):
            self._client.set_session_key(None)
            self._client.logout()

    def left(self) -> float:
        """Seconds until the deadline; PowerError('timeout') when it has passed."""
        rest = self._end - time.monotonic()
        if rest <= 0:
            raise PowerError("timeout", f"{self.where} did not finish in time")
        return rest

    def get(self, path: str) -> tuple[dict[str, Any], str | None]:
        """A resource and its ETag, if it has one."""
        answer = self._ask("GET", path)
        document = self._object(path, answer)
        etag = answer.getheader("ETag") or document.get("@odata.etag")
        return document, str(etag) if etag else None

    def post(self, path: str, body: Mapping[str, Any]) -> None:
        """An action."""
        self._ask("POST", path, body=dict(body))

    def patch(self, path: str, body: Mapping[str, Any]) -> None:
        """Change a resource; If-Match where the service gives ETags (DSP0266, 6.5).

        Some services give a weak ETag and want it as a strong one, and some change it while they work: a precondition
        that fails is tried again with what the resource says then.
        """
        tried: list[str | None] = []
        while True:
            _, etag = self.get(path)
            candidates = [etag, etag.removeprefix("W/") if etag else None]
            untried = [one for one in candidates if one not in tried]
            headers = {"If-Match": untried[0]} if untried and untried[0] else {}
            tried += untried[:1]
            answer = self._ask("PATCH", path, body=dict(body), headers=headers, accept=(412,) if untried else ())
            if answer.status != 412:
                return

    def _log_in(self) -> None:
        how = self._parameters.get("auth") or "auto"
        root = self._root()
        offered = "SessionService" in root or "Sessions" in (root.get("Links") or {})
        if how == "basic" or (how == "auto" and root and not offered):
            self._use_basic()
            return
        login = (root.get("Links") or {}).get("Sessions") or {}
        path = str(login.get("@odata.id") or SESSIONS)
        body = {"UserName": self._parameters["username"], "Password": self._parameters["password"]}
        accept = _NO_SESSION_SERVICE if how == "auto" else ()
        answer = self._ask("POST", path, body=body, accept=accept)
        if answer.status in accept:
            self._use_basic()
            return
        token, location = answer.getheader("X-Auth-Token"), answer.getheader("Location")
        if not token:
            raise PowerError("garbage", f"{self.where}: it opened a session and gave no token; set `auth` to basic")
        if not location:
            with suppress(PowerError):
                location = self._object(path, answer).get("@odata.id")
        self._client.set_session_key(token)
        self._session_path = urlsplit(str(location)).path if location else None

    def _root(self) -> dict[str, Any]:
        """The service root, which is public (DSP0266, 13.3.1); {} where it is not, as on some."""
        answer = self._ask("GET", ROOT, accept=(401, 404))
        if answer.status == 401:
            return {}
        if answer.status == 404:
            raise PowerError("garbage", f"{self.where} has no Redfish service at {ROOT}; check its address and port")
        return self._object(ROOT, answer)

    def _use_basic(self) -> None:
        words = f"{self._parameters['username']}:{self._parameters['password']}".encode()
        self._client.set_authorization_key("Basic " + base64.b64encode(words).decode("ascii"))

    def _ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        accept: tuple[int, ...] = (),
    ) -> Any:
        """One request; PowerError for every answer that is neither good nor accepted."""
        call = getattr(self._client, method.lower())
        more = {} if method == "GET" else {"body": body}
        try:
            answer = call(path, headers=dict(headers or {}), timeout=self.left(), max_retry=0, **more)
        except self._broken as error:
            raise explain(self.where, error) from error
        if answer.status < 300 or answer.status in accept:
            return answer
        raise self._refusal(method, path, answer)

    def _refusal(self, method: str, path: str, answer: Any) -> PowerError:
        user = self._parameters["username"]
        if answer.status == 401:
            return PowerError("credentials", f"{self.where} rejects user {user!r}; correct the credentials")
        if answer.status == 403:
            return PowerError("credentials", f"{self.where}: user {user!r} may not {method} {path}; give it the right")
        words = _complaint(answer.text) or "no reason given"
        return PowerError("refused", f"{self.where} answers {answer.status} to {method} {path}: {words}")

    def _object(self, path: str, answer: Any) -> dict[str, Any]:
        try:
            document = answer.dict
        except self._broken as error:
            raise PowerError("garbage", f"{self.where}: what it answers at {path} is not JSON") from error
        if not isinstance(document, dict):
            raise PowerError("garbage", f"{self.where}: what it answers at {path} is no JSON object")
        return document


def _base_url(parameters: Parameters) -> str:
    host = parameters["address"].strip()
    with suppress(ValueError):
        host = f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    return f"https://{host}:{parameters.get('port') or 443}"


def _complaint(text: str) -> str:
    """What an error object says (DSP0266, 8.6), in a few words."""
    try:
        error = json.loads(text)["error"]
        told = [str(one["Message"]) for one in error.get("@Message.ExtendedInfo", []) if one.get("Message")]
        words = " ".join(told) or str(error.get("message") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        words = ""
    return " ".join(words.split())[:WORDS_LIMIT]
