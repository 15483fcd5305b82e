"""What ipmi_sim starts to read or change a machine's power, boot device and LAN settings: asks the machine's chassis.

    chassis_control.py SOCKET get NAME...        prints NAME:VALUE lines
    chassis_control.py SOCKET set NAME VALUE...
    chassis_control.py SOCKET check NAME VALUE...

Power is 0 or 1; `reset 1` resets, `shutdown 1` asks the guest to power off; boot is none, pxe, default (the disk),
cdrom or bios. ipmi_sim waits for this program and starts it for every question, so it imports next to nothing and
holds no rule. It runs without the lab on its path (`python3 -I -S`).
"""

import json
import socket
import sys


def main(argv: list[str]) -> int:
    """Ask the chassis; exit status 1 and a sentence on standard error when it refuses or is gone."""
    if len(argv) < 3 or argv[1] not in ("get", "set", "check"):
        print("usage: chassis_control.py SOCKET get|set|check NAME [VALUE]...", file=sys.stderr)
        return 2
    path, operation, *words = argv
    names = words if operation == "get" else words[::2]
    values = [] if operation == "get" else words[1::2]
    request = {"do": operation, "names": names, "values": values}
    try:
        with socket.socket(socket.AF_UNIX) as chassis:
            chassis.settimeout(30)
            chassis.connect(path)
            chassis.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(chassis.makefile("rb").readline())
    except (OSError, ValueError) as error:
        print(f"chassis at {path} does not answer: {error}", file=sys.stderr)
        return 1
    if "error" in answer:
        print(answer["error"], file=sys.stderr)
        return 1
    for name, value in answer.get("values", {}).items():
        print(f"{name}:{value}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
