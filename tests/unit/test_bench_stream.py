"""The stream of DISCOVERs that benchmarks ask with."""

import pytest

from bench.discover_stream import DiscoverStream


def test_a_stream_that_dies_is_no_stream_without_losses() -> None:
    """Its namespace is not there, so it asks nobody; that is an error, and not 0 lost of 0."""
    with (
        pytest.raises(RuntimeError, match="has ended early"),
        DiscoverStream("no-such-namespace", "end0", ["02:00:00:00:00:01"], 10),
    ):
        pass
