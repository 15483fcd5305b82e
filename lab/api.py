"""The lab's own small client of the REST API: it uses Muster as any operator's script would."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import requests

LOOK_SECONDS = 1.0
"""Between two looks at what is waited for: each costs the control plane what an emulated machine could have had."""


class ApiRefused(Exception):
    """The control plane refused; the sentence is its problem's detail."""


class Api:
    """Calls with a bearer token."""

    def __init__(self, base: str) -> None:
        self.base = f"{base}/api/v1"
        self.session = requests.Session()
        self.session.trust_env = False

    def sign_in(self, name: str, password: str) -> str:
        """Sign in and go on with an API token of one's own, which is also returned."""
        token = str(
            self.call("POST", "/login", json={"name": name, "password": password, "token_name": "lab"})["token"]
        )
        self.session.headers["Authorization"] = f"Bearer {token}"
        return token

    def twin(self) -> Api:
        """Return a client with the same token and connections of its own, for another thread."""
        twin = Api("")
        twin.base = self.base
        twin.session.headers.update(self.session.headers)
        return twin

    def call(self, method: str, path: str, **words: Any) -> Any:
        """One call; ApiRefused on an answer of 400 or more."""
        answer = self.session.request(method, self.base + path, timeout=30, **words)
        if answer.status_code >= 400:
            try:
                problem = answer.json()
                said = f"{problem.get('title')}: {problem.get('detail')} {problem.get('remedy') or ''}".strip()
            except ValueError:
                said = answer.text[:300]
            raise ApiRefused(f"{method} {path}: {answer.status_code}: {said}")
        return answer.json() if answer.content else None

    def get(self, path: str, **parameters: Any) -> Any:
        """GET with query parameters."""
        return self.call("GET", path, params=parameters)

    def post(self, path: str, body: Any = None) -> Any:
        """POST a JSON body."""
        return self.call("POST", path, json=body if body is not None else {})

    def wait_for(
        self, what: str, look: Callable[[], Any], deadline_seconds: float, pause: Callable[[float], None] = time.sleep
    ) -> Any:
        """What `look` gives once it is not None; ApiRefused with `what` when the deadline passes."""
        end = time.monotonic() + deadline_seconds
        while time.monotonic() < end:
            found = look()
            if found is not None:
                return found
            pause(LOOK_SECONDS)
        raise ApiRefused(f"waited {deadline_seconds:.0f} s in vain for {what}")
