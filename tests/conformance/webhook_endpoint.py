"""An HTTPS endpoint that switches a machine, as an operator's own would: `webhook_endpoint.py CONFIG`.

CONFIG is JSON: port, certificate, socket (of the machine), token, password (of the user `muster`).
"""

import base64
import http.server
import json
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

SETTINGS = {"on": ("power", "1"), "off": ("power", "0"), "soft_off": ("shutdown", "1"), "pxe": ("boot", "pxe")}


def ask(path: str, request: dict[str, Any]) -> dict[str, Any]:
    """One question to the machine."""
    with socket.socket(socket.AF_UNIX) as machine:
        machine.connect(path)
        machine.sendall(json.dumps(request).encode() + b"\n")
        answer: dict[str, Any] = json.loads(machine.makefile("rb").readline())
        return answer


def main(config: dict[str, Any]) -> None:
    """Serve until killed."""
    allowed = {
        f"Bearer {config['token']}",
        "Basic " + base64.b64encode(f"muster:{config['password']}".encode()).decode(),
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.answer(switch=True)

        def do_GET(self) -> None:
            self.answer(switch=False)

        def answer(self, switch: bool) -> None:
            verb = self.path.strip("/")
            if self.headers.get("Authorization") not in allowed:
                self.say(401, "who are you?")
            elif switch and verb in SETTINGS:
                name, value = SETTINGS[verb]
                ask(config["socket"], {"do": "set", "names": [name], "values": [value]})
                self.say(200, "accepted")
            elif not switch and verb == "query":
                power = ask(config["socket"], {"do": "get", "names": ["power"]})["values"]["power"]
                self.say(200, json.dumps({"outlet": 7, "status": "on" if power == "1" else "off"}))
            else:
                self.say(404, "no such thing")

        def say(self, status: int, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(config["certificate"])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", config["port"]), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
