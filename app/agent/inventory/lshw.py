"""The whole machine as lshw(1) sees it; kept as raw XML for people and other tools, and not parsed."""

from ..probe import Probe


def collect(probe: Probe) -> None:
    probe.run(["lshw", "-xml", "-quiet"], raw=True)
