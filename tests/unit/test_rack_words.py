"""What a rack tells people of a refusal: the daemon's own words, short and without secrets; and who may work for a rack."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from workers.rack.channels.base import ChannelError, gist, run
from workers.rack.report import words
from workers.rack.secret_files import SecretFiles
from workers.rack.single import AlreadyRunning, only_agent

SQUID = """\
2026/11/21 09:53:32| Processing: http_port 3128
2026/11/21 09:53:32| Processing: request_header_add X-Muster-Rack "rack-1:hush" machine_port
2026/11/21 09:53:32| ACL not found: machine_port
2026/11/21 09:53:32| FATAL: Bungled s.conf line 2: request_header_add X-Muster-Rack "rack-1:hush" machine_port
2026/11/21 09:53:32| Squid Cache (Version 5.7): Terminated abnormally.
CPU Usage: 0.012 seconds = 0.012 user + 0.000 sys
"""


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (SQUID, 'ACL not found: machine_port; FATAL: Bungled s.conf line 2: request_header_add X-Muster-Rack "rack-1:hush" machine_port'),
        ("\nn.conf:1: boolean expected near 'perhaps'\n", "n.conf:1: boolean expected near 'perhaps'"),
        ("2026-11-21T09:53:32Z Fatal error : Invalid directive at line 1", "Fatal error : Invalid directive at line 1"),
        ("one\ntwo\nthree\nfour\n", "two; three; four"),
        ("", ""),
    ],
)  # fmt: skip
def test_the_telling_lines_of_a_daemon(said: str, told: str) -> None:
    """Times and what only fills the screen are left out."""
    assert told == gist(said)


def test_a_refused_command_is_named_with_its_words() -> None:
    """Not `env`, and not an exit code where there are words."""
    with pytest.raises(ChannelError, match=r"^sh: no such thing, error$"):
        run(["env", "A=b", "sh", "-c", "echo no such thing, error; exit 3"])
    with pytest.raises(ChannelError, match="it ended with exit code 3 and said nothing"):
        run(["sh", "-c", "exit 3"])


def test_secrets_are_taken_out_of_a_daemons_words(tmp_path: Path) -> None:
    """The reference stands in their place."""
    secrets = SecretFiles(tmp_path)
    secrets.write("relay-token", "hush")

    assert 'line 2: "rack-1:@secret:relay-token@"' == secrets.hide('line 2: "rack-1:hush"')


def test_a_full_disk_in_plain_words() -> None:
    """Which disk, what the system says, what to do."""
    error = OSError(28, "No space left on device", "/var/lib/muster-rack/x")

    assert (
        "the rack's disk is full: No space left on device (/var/lib/muster-rack/x); make room on the rack host"
        == words(error)
    )


def test_one_agent_for_one_rack(tmp_path: Path) -> None:
    """The second is told which process holds the rack; when that is killed, the rack is free at once."""
    code = (
        "import sys, pathlib; from workers.rack.single import only_agent\n"
        "with only_agent(pathlib.Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert "held\n" == holder.stdout.readline()
        with pytest.raises(AlreadyRunning, match=f"process {holder.pid}, it holds"), only_agent(tmp_path):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with only_agent(tmp_path):
        pass
