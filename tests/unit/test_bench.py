"""The benchmarks' frame: what is found, what is shown, what fails."""

import pytest

from bench.__main__ import main
from bench.figure import Figure, benches, table


def test_every_benchmark_is_found() -> None:
    """One for each module of the folder that measures something, by name."""
    assert [
        "boot_steps",
        "bulk_create",
        "intent_load",
        "lifecycle_cost",
        "list_machines",
        "live_host",
        "live_host_rack",
        "live_name",
        "no_lost_discover",
        "no_op",
    ] == sorted(benches())


def test_figures_stand_in_columns() -> None:
    """A value within its limit is ok, one above it is short, one without a limit is only shown."""
    lines = table(
        [
            Figure("cost", 12.345, "ms", "peer: 100 ms", 20),
            Figure("start to end", 1.9, "", "by hand", 1.8),
            Figure("seen", 3, "s"),
        ]
    )

    assert [
        "cost          12.35 ms  peer: 100 ms  <= 20 ms  ok",
        "start to end  1.9       by hand       <= 1.8    short",
        "seen          3 s",
    ] == lines


def test_a_value_at_its_limit_is_ok() -> None:
    """The limit itself is allowed."""
    assert [True, False] == [Figure("x", value, "", "", 1.0).ok for value in (1.0, 1.001)]


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and the names that there are."""
    assert 2 == main(["nosuch"])
    assert (
        "bench: there is no benchmark 'nosuch'; there are boot_steps, bulk_create, intent_load, lifecycle_cost,"
        " list_machines, live_host, live_host_rack, live_name, no_lost_discover, no_op\n" == capsys.readouterr().err
    )


def test_the_list_names_all(capsys: pytest.CaptureFixture[str]) -> None:
    """--list prints a line a benchmark and measures nothing."""
    assert 0 == main(["--list"])
    assert [
        "boot_steps",
        "bulk_create",
        "intent_load",
        "lifecycle_cost",
        "list_machines",
        "live_host",
        "live_host_rack",
        "live_name",
        "no_lost_discover",
        "no_op",
    ] == [line.split()[0] for line in capsys.readouterr().out.splitlines()]
