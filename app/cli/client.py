"""The API as commands see it: where it is, with which token, and what its refusals mean for the exit code.

The profile (`~/.config/muster/profile.json`, for its owner only) is written by `muster login`; MUSTER_URL and
MUSTER_TOKEN win over it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

DEFAULT_URL = "http://127.0.0.1:5240"
REFUSED, NOT_REACHABLE, NOT_SIGNED_IN = 1, 3, 4
TIMEOUT_SECONDS = 30


class CliError(Exception):
    """A sentence for people and the exit code that goes with it."""

    def __init__(self, sentence: str, exit_code: int = REFUSED) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


def profile_path() -> Path:
    """Where the profile is."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "muster" / "profile.json"


def read_profile() -> dict[str, str]:
    """The profile; empty when nobody has logged in."""
    path = profile_path()
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CliError(f"the profile {path} cannot be read ({error}); run `muster login` again") from error
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def write_profile(url: str, token: str, user: str) -> Path:
    """Keep where and as whom to call, readable by its owner only."""
    path = profile_path()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"url": url, "token": token, "user": user}, file)
    fresh.replace(path)
    return path


class Session:
    """Calls the API for one command."""

    def __init__(self, url: str | None, as_json: bool = False, wait: int | None = None) -> None:
        """wait: how many seconds to wait for the racks after a change."""
        self._url = url
        self._wait = wait
        self.as_json = as_json
        self._http = requests.Session()

    @property
    def url(self) -> str:
        """The control plane's address: option, environment, profile, default."""
        return (self._url or read_profile().get("url") or DEFAULT_URL).rstrip("/")

    def call(self, method: str, path: str, body: Any = None, *, signed: bool = True, **parameters: Any) -> Any:
        """One call's JSON. CliError says what was refused, with the exit code that fits."""
        answer = self.raw(method, path, body, signed=signed, **parameters)
        try:
            return answer.json() if answer.content else None
        except ValueError as error:
            said = f"{self.url} answers with something that is no JSON; is --url the control plane's address?"
            raise CliError(said, NOT_REACHABLE) from error

    def raw(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        signed: bool = True,
        stream: bool = False,
        headers: dict[str, str] | None = None,
        **parameters: Any,
    ) -> requests.Response:
        """One call's response, checked."""
        url = f"{self.url}/api/v1{path}"
        headers = dict(headers or {})
        if signed:
            headers["Authorization"] = f"Bearer {self._token()}"
        given = {name: value for name, value in parameters.items() if value not in (None, (), [])}
        waits = self._wait is not None and signed and method != "GET"
        if waits:
            given["wait"] = self._wait
        try:
            answer = self._http.request(
                method,
                url,
                json=body,
                params=given,
                headers=headers,
                timeout=TIMEOUT_SECONDS + (self._wait or 0),
                stream=stream,
            )
        except requests.RequestException as error:
            raise _unreachable(self.url, error) from error
        if answer.status_code >= 400:
            raise _refusal(answer)
        if not stream and "html" in answer.headers.get("Content-Type", ""):
            raise CliError(
                f"{self.url} answers with a web page, so it is not the control plane's API; is --url right, or does a "
                "proxy on the way want you to sign in?",
                NOT_REACHABLE,
            )
        if waits:
            _say_live(answer)
        return answer

    def pages(self, path: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """All items of a list, page by page."""
        after = parameters.pop("after", 0)
        while True:
            found = self.call("GET", path, after=after, limit=500, **parameters)
            yield from found["items"]
            if not found.get("next"):
                return
            after = found["next"]

    def _token(self) -> str:
        token = os.environ.get("MUSTER_TOKEN") or read_profile().get("token")
        if not token:
            raise CliError("you are not signed in; run `muster login` or set MUSTER_TOKEN", NOT_SIGNED_IN)
        return token


def _say_live(answer: requests.Response) -> None:
    """Say beside the answer whether the racks serve the change, and how to ask later."""
    if answer.headers.get("Muster-Live") == "yes":
        print("The racks serve it.", file=sys.stderr)
    elif "Muster-Live" in answer.headers:
        racks = answer.headers.get("Muster-Missing") or "a rack"
        sequence = answer.headers.get("Muster-Sequence", "0")
        generations = answer.headers.get("Muster-Generations")
        command = f"muster change show {sequence}" + (f" --generations {generations}" if generations else "")
        print(f"Not served yet by {racks}; `{command}` says how far it is.", file=sys.stderr)


def _unreachable(url: str, error: requests.RequestException) -> CliError:
    """Why there was no answer, and what to do."""
    reason = str(error)
    if isinstance(error, requests.exceptions.SSLError):
        said = f"the certificate of {url} is not trusted ({_innermost(error)})"
        remedy = "name the authority with REQUESTS_CA_BUNDLE=/path/to/ca.pem, or correct --url"
    elif isinstance(error, requests.exceptions.ProxyError):
        said, remedy = f"the proxy on the way to {url} does not answer", "look at HTTPS_PROXY and NO_PROXY"
    elif isinstance(error, (requests.exceptions.MissingSchema, requests.exceptions.InvalidURL)) or "schema" in reason:
        said, remedy = f"{url!r} is no address of a control plane", "give one as in http://127.0.0.1:5240"
    elif isinstance(error, requests.Timeout):
        said = f"the control plane at {url} cannot be reached: no answer within {TIMEOUT_SECONDS} s"
        remedy = "look whether it is busy, or whether a firewall is in between"
    elif "refused" in reason:
        said = f"the control plane at {url} cannot be reached: nothing listens there"
        remedy = "start it with `muster run`, or give its address with --url or MUSTER_URL"
    elif "resolve" in reason or "resolution" in reason or "not known" in reason:
        said, remedy = (
            f"the control plane at {url} cannot be reached: its name is unknown",
            "correct --url or MUSTER_URL",
        )
    elif "BadStatusLine" in reason or "RemoteDisconnected" in reason:
        said = f"what listens at {url} does not speak HTTP, or hung up"
        remedy = "try https:// instead of http://, or correct --url"
    else:
        said, remedy = f"the control plane at {url} cannot be reached: {_innermost(error)}", "is --url right?"
    return CliError(f"{said}; {remedy}", NOT_REACHABLE)


def _innermost(error: BaseException) -> str:
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error) or type(error).__name__


def _refusal(answer: requests.Response) -> CliError:
    try:
        said = answer.json()
    except ValueError:
        said = None
    problem = said if isinstance(said, dict) else {}  # A proxy in between may answer anything.
    sentence = str(problem.get("detail") or f"{answer.status_code} {answer.reason}")
    if not problem and answer.status_code in (502, 503, 504):
        sentence += ": a proxy answers, the control plane behind it does not; look at `muster run`"
        return CliError(sentence, NOT_REACHABLE)
    if not problem and "html" in answer.headers.get("Content-Type", ""):
        sentence += ": a web page answers, not the control plane's API; is --url right?"
    if answer.status_code == 401:
        return CliError(f"{sentence}; run `muster login`, or set MUSTER_TOKEN to another token", NOT_SIGNED_IN)
    if problem.get("remedy"):
        sentence += f" ({problem['remedy']})"
    if answer.status_code >= 500 and problem.get("request_id"):
        sentence += f" [request {problem['request_id']}]"
    return CliError(sentence, REFUSED)
