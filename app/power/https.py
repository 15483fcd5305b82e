"""HTTPS to a controller: whom to trust, and how much to believe of what it sends.

Controllers come with self-signed certificates, so there are three ways, chosen by three parameters that every driver
over HTTPS shares (`TRUST`): a pinned SHA-256 fingerprint of the certificate; the system's certificate authorities,
with one more in PEM if given; or, said explicitly, no check.  A certificate that is not trusted ends the conversation
before anything is sent.  Redirects to another host are refused, because they would take the credentials along; an
answer may have `ANSWER_LIMIT` bytes; proxies from the environment are not used.
"""

from __future__ import annotations

import http.client
import io
import re
import ssl
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse
from urllib3.exceptions import HTTPError

from app.power.base import Parameters, PowerError, PowerParameter

ANSWER_LIMIT = 4 * 2**20
_CHUNK = 64 * 1024
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


def fingerprint(text: str) -> str:
    """A SHA-256 fingerprint as 64 hexadecimal digits, from one with or without colons. ValueError if it is none."""
    plain = text.strip().lower().removeprefix("sha256:").replace(":", "").replace(" ", "")
    if not _FINGERPRINT.fullmatch(plain):
        raise ValueError(
            "is not a SHA-256 fingerprint (64 hexadecimal digits);"
            " read it with `openssl x509 -noout -fingerprint -sha256`"
        )
    return plain


def authority(text: str) -> str:
    """Certificates in PEM. ValueError if they are none."""
    try:
        ssl.create_default_context(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        raise ValueError("is not a certificate in PEM") from error
    return text


TRUST = (
    PowerParameter(
        "certificate", "SHA-256 fingerprint of its certificate, to trust this one", required=False, check=fingerprint
    ),
    PowerParameter("authority", "Certificate authority (PEM) to trust, too", required=False, check=authority),
    PowerParameter(
        "verify", "Check its certificate (no: anybody may read the password)", required=False, default="yes",
        choices=("yes", "no"),
    ),
)  # fmt: skip


class AnswerRefused(requests.RequestException):
    """An answer that is not taken: too long, or a redirect to somebody else."""


class TrustAdapter(HTTPAdapter):
    """The transport of one conversation: it alone decides about certificates, whatever its caller says of `verify`."""

    def __init__(self, parameters: Parameters) -> None:
        """Trust as the parameters of `TRUST` say."""
        pinned = parameters.get("certificate") or ""
        context = ssl.create_default_context(cadata=parameters.get("authority") or None)
        if pinned or parameters.get("verify") == "no":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        self._tls: dict[str, Any] = {"ssl_context": context}
        if pinned:
            self._tls["assert_fingerprint"] = fingerprint(pinned)
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Give every connection our own idea of trust."""
        super().init_poolmanager(*args, **{**kwargs, **self._tls})

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:
        """Only the address: requests would set trust here by its caller's `verify`."""
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Nothing: see above."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Send, and read a bounded answer."""
        answer = super().send(request, **{**kwargs, "stream": True, "proxies": None})
        try:
            location = answer.headers.get("Location")
            if answer.is_redirect and location and origin(urljoin(str(request.url), location)) != origin(request.url):
                raise AnswerRefused(f"it redirects to another host ({origin(urljoin(str(request.url), location))})")
            content = _read(answer.raw)
        except HTTPError as error:
            raise requests.ConnectionError(error, request=request) from error
        finally:
            answer.close()
        # The text is decoded already, so what says how it was encoded must go.
        headers = {name: value for name, value in answer.headers.items() if name.lower() != "content-encoding"}
        whole = HTTPResponse(
            io.BytesIO(content), headers=headers, status=answer.status_code, reason=answer.reason, preload_content=False
        )
        return self.build_response(request, whole)


def _read(raw: Any) -> bytes:
    content = bytearray()
    while chunk := raw.read(_CHUNK, decode_content=True):
        content += chunk
        if len(content) > ANSWER_LIMIT:
            raise AnswerRefused(f"its answer is longer than {ANSWER_LIMIT // 2**20} MiB")
    return bytes(content)


def origin(url: str | None) -> str:
    """Scheme, host and port of a URL: what may be shown of it."""
    parts = urlsplit(url or "")
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}:{port}"


def explain(where: str, error: BaseException) -> PowerError:
    """PowerError for what the transport raised; `where` names the controller."""
    chain = _chain(error)
    words = next((str(cause) for cause in chain if isinstance(cause, AnswerRefused)), None)
    if words is not None:
        return PowerError("garbage", f"{where}: {words}; check that this is the controller")
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in chain) or _mentions(chain, "fingerprint"):
        reason = _last_words(chain)
        return PowerError(
            "untrusted",
            f"{where}: its certificate is not trusted ({reason}); pin its SHA-256 fingerprint in `certificate`, or give"
            " its `authority`",
        )
    if any(isinstance(cause, ssl.SSLError) for cause in chain):
        return PowerError("garbage", f"{where}: TLS fails ({_last_words(chain)}); check the port")
    if any(isinstance(cause, requests.ConnectTimeout) for cause in chain):
        return PowerError("unreachable", f"{where} does not answer; check its address and network")
    if any(isinstance(cause, requests.ReadTimeout) for cause in chain) or _mentions(chain, "timed out"):
        return PowerError("timeout", f"{where} took the question and does not answer in time")
    gone = (http.client.RemoteDisconnected, ConnectionError)
    nonsense = (http.client.HTTPException, requests.exceptions.InvalidHeader, requests.exceptions.ContentDecodingError)
    if any(isinstance(cause, nonsense) for cause in chain) and not any(isinstance(cause, gone) for cause in chain):
        return PowerError("garbage", f"{where}: what it answers is not HTTP ({_last_words(chain)})")
    return PowerError("unreachable", f"{where} does not answer ({_last_words(chain)}); check its address and network")


def _chain(error: BaseException) -> list[BaseException]:
    """An exception and all that is behind it: causes, contexts, and those that libraries carry as arguments."""
    found: list[BaseException] = []
    pending: list[object] = [error]
    while pending:
        one = pending.pop(0)
        if isinstance(one, BaseException) and one not in found:
            found.append(one)
            pending += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    return found


def _mentions(chain: list[BaseException], words: str) -> bool:
    return any(words in str(cause).lower() for cause in chain)


def _last_words(chain: list[BaseException]) -> str:
    """What the innermost exception says, without objects' addresses."""
    text = str(chain[-1]) or type(chain[-1]).__name__
    return re.sub(r"<[^>]*>:? ?", "", text)[:200]
