"""Any controller that can be told by URLs: a switched power strip, a house's own automation.

Each verb is one request to the operator's URL; the power state is read out of the answer to `query_url` by two regular
expressions.  https unless plain http is allowed in so many words; no redirect is followed, so that a secret goes
nowhere else; of a URL only scheme and host are ever repeated, because paths and queries may hold keys.
"""

from __future__ import annotations

import base64
import re
import time
from urllib.parse import urlsplit

import requests

from app.power.base import Parameters, PowerError, PowerParameter, PowerState
from app.power.https import TRUST, TrustAdapter, explain, origin

PAUSE_SECONDS = 0.5
CYCLE_PAUSE_SECONDS = 1.0
WORDS_LIMIT = 200


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise ValueError("is not a URL like https://pdu.example/outlet/7/on")
    if parts.username or parts.password:
        raise ValueError("must not hold a user or a password; give `username` and `password`, or `token`")
    return text


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text, re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from None


def _header(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", text):
        raise ValueError("is not the name of a header: letters, digits and hyphens")
    return text


def _header_value(text: str) -> str:
    if not text.isascii() or not text.isprintable():
        raise ValueError("has characters that cannot stand in a header")
    return text


class WebhookDriver:
    """A controller that is told by URLs of the operator's."""

    name = "webhook"
    title = "Webhook"
    queryable = True
    parameters: tuple[PowerParameter, ...] = (
        PowerParameter("on_url", "URL that switches on", check=_url),
        PowerParameter("off_url", "URL that cuts the power", check=_url),
        PowerParameter("query_url", "URL whose answer tells the power state", check=_url),
        PowerParameter("soft_off_url", "URL that asks the system to shut down", required=False, check=_url),
        PowerParameter("cycle_url", "URL for off and on again; off and on if empty", required=False, check=_url),
        PowerParameter("pxe_url", "URL for network boot at the next start", required=False, check=_url),
        PowerParameter(
            "network_first", "The machine's firmware always tries the network first, so pxe needs no URL",
            required=False, default="no", choices=("yes", "no"),
        ),
        PowerParameter(
            "method", "HTTP method of what switches", required=False, default="POST",
            choices=("POST", "PUT", "PATCH", "GET"),
        ),
        PowerParameter("query_method", "HTTP method of the query", required=False, default="GET", choices=("GET", "POST")),
        PowerParameter("on_pattern", "The answer means on if this matches (regular expression)", required=False,
                       default=r"\bon\b|\brunning\b", check=_pattern),
        PowerParameter("off_pattern", "The answer means off if this matches (regular expression)", required=False,
                       default=r"\boff\b|\bstopped\b", check=_pattern),
        PowerParameter("token", "Bearer token", secret=True, required=False, check=_header_value),
        PowerParameter("header", "Name of a header that holds a secret", required=False, check=_header),
        PowerParameter("header_value", "Value of that header", secret=True, required=False, check=_header_value),
        PowerParameter("username", "User, for basic authentication", required=False),
        PowerParameter("password", "Password, for basic authentication", secret=True, required=False),
        *TRUST,
        PowerParameter(
            "allow_http", "Allow plain http: anybody on the way reads the secrets", required=False, default="no",
            choices=("yes", "no"),
        ),
    )  # fmt: skip

    def on(self, parameters: Parameters, deadline: float) -> None:
        """Ask `on_url`."""
        _ask(parameters, "on", time.monotonic() + deadline)

    def off(self, parameters: Parameters, deadline: float) -> None:
        """Ask `off_url`."""
        _ask(parameters, "off", time.monotonic() + deadline)

    def soft_off(self, parameters: Parameters, deadline: float) -> None:
        """Ask `soft_off_url`, unless the machine is off."""
        end = time.monotonic() + deadline
        _required(parameters, "soft_off")
        if _state(parameters, end) != "off":
            _ask(parameters, "soft_off", end)

    def cycle(self, parameters: Parameters, deadline: float) -> None:
        """Ask `cycle_url`; without one: off, seen off, on."""
        end = time.monotonic() + deadline
        if parameters.get("cycle_url"):
            _ask(parameters, "cycle", end)
            return
        _ask(parameters, "off", end)
        while _state(parameters, end) != "off":
            if _left(parameters, "off", end) <= PAUSE_SECONDS:
                raise PowerError("timeout", f"{_where(parameters, 'off')} accepted off but the machine stays on")
            time.sleep(PAUSE_SECONDS)
        time.sleep(min(CYCLE_PAUSE_SECONDS, _left(parameters, "on", end)))
        _ask(parameters, "on", end)

    def query(self, parameters: Parameters, deadline: float) -> PowerState:
        """Read the state out of the answer to `query_url`."""
        return _state(parameters, time.monotonic() + deadline)

    def pxe_next(self, parameters: Parameters, deadline: float) -> None:
        """Ask `pxe_url`; nothing to do for a machine that always tries the network first."""
        if not parameters.get("pxe_url") and parameters.get("network_first") == "yes":
            return
        _ask(parameters, "pxe", time.monotonic() + deadline)


def _state(parameters: Parameters, end: float) -> PowerState:
    text = _ask(parameters, "query", end)
    on = _pattern(parameters["on_pattern"]).search(text) is not None
    off = _pattern(parameters["off_pattern"]).search(text) is not None
    if on != off:
        return "on" if on else "off"
    matched = "both on_pattern and off_pattern match" if on else "neither on_pattern nor off_pattern matches"
    raise PowerError("garbage", f"{_where(parameters, 'query')}: {matched} its answer {_few(text)!r}")


def _ask(parameters: Parameters, verb: str, end: float) -> str:
    """One request to the verb's URL; the text of its answer."""
    url = _required(parameters, verb)
    where = _where(parameters, verb)
    secure = url.startswith("https:")
    if not secure and parameters.get("allow_http") != "yes":
        raise PowerError(
            "refused", f"{where}: plain http would show its secrets; use https, or set `allow_http` to yes"
        )
    headers = {"Accept": "*/*"}
    if parameters.get("token"):
        headers["Authorization"] = f"Bearer {parameters['token']}"
    elif parameters.get("username"):
        words = f"{parameters['username']}:{parameters.get('password') or ''}".encode()
        headers["Authorization"] = "Basic " + base64.b64encode(words).decode("ascii")
    if parameters.get("header"):
        headers[parameters["header"]] = parameters.get("header_value") or ""
    method = parameters["query_method" if verb == "query" else "method"]
    with requests.Session() as session:
        session.trust_env = False
        # A pinned certificate means nothing to plain http.
        session.mount("https://", TrustAdapter(parameters))
        session.mount("http://", TrustAdapter({}))
        try:
            answer = session.request(
                method, url, headers=headers, timeout=_left(parameters, verb, end), allow_redirects=False
            )
        except requests.RequestException as error:
            raise explain(where, error) from error
    if answer.is_redirect or 300 <= answer.status_code < 400:
        raise PowerError("garbage", f"{where}: {verb} is redirected; give the URL it redirects to")
    if answer.status_code in (401, 403):
        raise PowerError("credentials", f"{where} answers {answer.status_code} to {verb}; correct its secret")
    if answer.status_code >= 300:
        raise PowerError("refused", f"{where} answers {answer.status_code} to {verb}: {_few(answer.text)}")
    return answer.text


def _required(parameters: Parameters, verb: str) -> str:
    url = parameters.get(f"{verb}_url")
    if not url:
        remedy = "set it, or say in `network_first` that none is needed" if verb == "pxe" else "set it on the machine"
        raise PowerError("refused", f"this webhook has no {verb}_url; {remedy}")
    return url


def _where(parameters: Parameters, verb: str) -> str:
    return f"webhook {origin(parameters.get(f'{verb}_url'))}"


def _left(parameters: Parameters, verb: str, end: float) -> float:
    rest = end - time.monotonic()
    if rest <= 0:
        raise PowerError("timeout", f"{_where(parameters, verb)} did not finish in time")
    return rest


def _few(text: str) -> str:
    text = text.encode("ascii", "replace").decode()
    return " ".join(text.split())[:WORDS_LIMIT]


DRIVER = WebhookDriver()
