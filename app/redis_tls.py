"""TLS to Redis that trusts the CAs it was given and no others.

redis-py adds them to those of the host, any of which could then vouch for a broker of its own.
"""

from __future__ import annotations

import ssl
from typing import Any

from redis.connection import SSLConnection


class OnlyOurs(SSLConnection):
    """redis-py's connection; with `ssl_ca_certs` only what these have signed is believed (RFC 5280, section 6: trust anchors)."""

    def _wrap_socket_with_ssl(self, sock: Any) -> Any:
        if self.ca_certs is None:
            return super()._wrap_socket_with_ssl(sock)  # type: ignore[no-untyped-call]
        context = ssl.create_default_context(cafile=self.ca_certs)  # Names are checked, too.
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certfile:
            context.load_cert_chain(self.certfile, self.keyfile)
        return context.wrap_socket(sock, server_hostname=self.host)
