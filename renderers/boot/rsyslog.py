"""What an installed system's rsyslog is told: everything that is logged also goes to the machine's rack.

It is a file in rsyslog's folder of additions, which Debian's and Ubuntu's rsyslog.conf include before their own rules; where
a system has no rsyslog it does nothing.  TCP, so that what the rack cannot take now waits; the queue lies in memory and
never makes a program wait: what does not fit is lost for the rack and stays in the journal.
"""

from __future__ import annotations

from renderers import text

PATH = "/etc/rsyslog.d/60-muster.conf"
QUEUE_LINES = 10_000
RETRY_SECONDS = 10


def forward(host: str, port: int) -> str:
    """The file. host: address or name of the rack. ValueError for what is neither."""
    return text.fill("boot/rsyslog.conf.j2", host=host, port=port, queue_lines=QUEUE_LINES, retry_seconds=RETRY_SECONDS)
