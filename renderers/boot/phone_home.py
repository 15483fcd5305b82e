"""What the installed system's first call needs: where its rack is, and the token that is good for that call only.

The system tries the URLs in turn, first by the rack's name and then by the address that the installer was served by, so a
name that does not resolve costs a moment and no deployment.
"""

from __future__ import annotations

import json

from renderers import text

PATH = "/etc/muster/phone-home.json"
CALL = "/machine/v1/phone-home"


def document(word: str, address: str, port: int, token: str) -> str:
    """The file.  word: name or address of the rack, tried first; address: the rack's.  ValueError for what is neither.

    `url` is for images that were built when there was one URL; those call by address.
    """
    text.address(address)
    urls = [
        text.url(f"http://{text.bracketed(host)}:{text.port(port)}{CALL}") for host in dict.fromkeys((word, address))
    ]
    return json.dumps({"urls": urls, "url": urls[-1], "token": text.plain(token)}) + "\n"
