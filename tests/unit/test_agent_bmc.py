"""The machine's own BMC: reading it, and the account that enlisting makes."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from app.agent import bmc, enlist, inventory
from app.agent.errors import AgentError
from app.agent.probe import Probe
from app.agent.runner import Completed

DATA = Path(__file__).parent / "data" / "agent"
USERS = (DATA / "ipmi-users.txt").read_text()


class FakeTool:
    """Stands in for ipmitool and modprobe: a BMC on channel 2 with the users of the fixture."""

    def __init__(self, root: Path, present: bool = True) -> None:
        self.commands: list[list[str]] = []
        self.files: list[tuple[str, int]] = []
        self.names = bmc.parse_users(USERS)
        if present:
            (root / "dev").mkdir()
            (root / "dev/ipmi0").touch()

    def __call__(self, argv: Sequence[str], seconds: float) -> Completed:
        self.commands.append(list(argv))
        code, out = 0, ""
        if argv[1:3] == ["mc", "info"]:
            out = (DATA / "ipmi-mc-info.txt").read_text()
        elif argv[1:3] == ["lan", "print"]:
            code, out = (0, (DATA / "ipmi-lan.txt").read_text()) if argv[3] == "2" else (1, "")
        elif argv[1:3] == ["user", "list"]:
            out = "".join(f"{slot:<4d}{name:<17s}true    false\n" for slot, name in self.names.items())
        elif argv[1:4] == ["user", "set", "name"]:
            self.names[int(argv[4])] = argv[5]
        elif argv[1] == "exec":
            self.files.append((Path(argv[2]).read_text(), os.stat(argv[2]).st_mode & 0o777))
        return Completed(tuple(argv), code, out.encode(), b"")


def test_a_bmc_is_found_on_its_lan_channel(tmp_path: Path) -> None:
    """The first channel with an address counts; the MAC is lower case."""
    tool = FakeTool(tmp_path)

    assert bmc.read(Probe(tmp_path, tool)) == (bmc.Bmc("10.30.0.17", "ac:1f:6b:00:11:22", 2, "2.0", 10876), None)
    assert ["modprobe", "ipmi_si"] not in tool.commands


def test_commissioning_only_reads(tmp_path: Path) -> None:
    """The commission script changes nothing on the BMC."""
    tool = FakeTool(tmp_path)
    collect = inventory.find("bmc")

    assert collect is not None
    assert collect(Probe(tmp_path, tool)) == {
        "bmc": {
            "type": "ipmi",
            "address": "10.30.0.17",
            "mac": "ac:1f:6b:00:11:22",
            "version": "2.0",
            "manufacturer_id": 10876,
        },
        "reason": None,
    }
    assert [words for words in tool.commands if words[1:3] not in (["mc", "info"], ["lan", "print"])] == []


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([], "whether SMBIOS announces a BMC cannot be read"),
        (["0-0", "1-0"], "SMBIOS announces none (no type 38 record)"),
        (["0-0", "38-0"], "SMBIOS announces one (type 38), so its driver may be missing"),
    ],
)
def test_no_bmc_has_a_reason(tmp_path: Path, entries: list[str], said: str) -> None:
    """The reason names the device, the modules that were tried and what SMBIOS says."""
    for entry in entries:
        (tmp_path / "sys/firmware/dmi/entries" / entry).mkdir(parents=True)

    found, reason = bmc.read(Probe(tmp_path, FakeTool(tmp_path, present=False)))

    assert found is None
    assert reason == f"no BMC: there is no /dev/ipmi0 after loading ipmi_si, ipmi_ssif, ipmi_devintf; {said}"


def test_users_are_read_by_column() -> None:
    """A name may be empty or hold a blank."""
    assert bmc.parse_users(USERS) == {1: "", 2: "ADMIN", 3: "night shift", 4: "", 5: ""}


@pytest.mark.parametrize(
    ("users", "slot"),
    [
        ({1: "", 2: "ADMIN", 3: "", 4: "muster"}, 4),
        ({1: "", 2: "ADMIN", 3: "", 4: ""}, 3),
        ({1: "muster", 2: "(Empty User)"}, 2),
    ],
)
def test_our_slot_or_the_first_free_one(users: dict[int, str], slot: int) -> None:
    """Our own slot is used again, a free one else, and never slot 1."""
    assert bmc.choose_slot(users) == slot


def test_no_free_slot_is_an_error() -> None:
    """Somebody else's user is never overwritten."""
    with pytest.raises(AgentError, match="none of its 3 user slots is free"):
        bmc.choose_slot({1: "", 2: "ADMIN", 3: "ops"})


def test_the_password_stays_out_of_arguments_and_off_the_disk(tmp_path: Path) -> None:
    """It is in a private file for one command and gone afterwards; other users are untouched."""
    tool = FakeTool(tmp_path)
    probe = Probe(tmp_path, tool)
    folder = tmp_path / "run"
    folder.mkdir()
    found, _ = bmc.read(probe)
    assert found is not None

    account = bmc.make_account(probe, found, str(folder))

    assert (account.slot, account.username) == (4, "muster")
    assert len(account.password) == 16
    assert tool.files == [(f"user set password 4 {account.password}\n", 0o600)]
    assert not any(account.password in word for words in tool.commands for word in words)
    assert os.listdir(folder) == []
    assert account.password.encode() not in probe.stdout() + probe.stderr()
    assert account.password not in repr(account)
    assert tool.names == {1: "", 2: "ADMIN", 3: "night shift", 4: "muster", 5: ""}
    order = [words[1:3] for words in tool.commands if words[1] in ("exec", "user", "channel")]
    assert [words[0] if words[0] == "exec" else " ".join(words) for words in order] == [
        "user list",
        "user set",
        "exec",
        "user priv",
        "channel setaccess",
        "user enable",
        "user list",
    ]


def test_a_second_enlisting_renews_our_user(tmp_path: Path) -> None:
    """The slot stays the same, and the password is new."""
    tool = FakeTool(tmp_path)
    probe = Probe(tmp_path, tool)
    found, _ = bmc.read(probe)
    assert found is not None

    first = bmc.make_account(probe, found, str(tmp_path))
    second = bmc.make_account(probe, found, str(tmp_path))

    assert (first.slot, second.slot) == (4, 4)
    assert first.password != second.password


def test_a_bmc_that_misbehaves_does_not_stop_enlisting(tmp_path: Path) -> None:
    """When no slot is free, the BMC is left out and the reason says why."""
    tool = FakeTool(tmp_path)
    tool.names = {1: "", 2: "ADMIN"}

    found, reason = enlist.find_bmc(Probe(tmp_path, tool))

    assert found is None
    assert reason is not None
    assert "none of its 2 user slots is free" in reason


def test_the_boot_interface_is_marked() -> None:
    """The interface whose MAC the loader passed on is the boot interface; those without a MAC are left out."""
    links = {"eno1": {"mac": "3c:ec:ef:00:11:22"}, "eno2": {"mac": "3c:ec:ef:00:11:23"}, "ib0": {"mac": ""}}

    assert enlist.interfaces(["eno1", "eno2", "ib0"], links, "3c:ec:ef:00:11:23") == [
        {"name": "eno1", "mac": "3c:ec:ef:00:11:22", "boot": False},
        {"name": "eno2", "mac": "3c:ec:ef:00:11:23", "boot": True},
    ]


@pytest.mark.parametrize(("name", "hint"), [("node7.lab.example", "node7"), ("localhost", None), (None, None)])
def test_hostname_hint(name: str | None, hint: str | None) -> None:
    """A name that anything could have is no hint."""
    assert enlist.hostname_hint(name) == hint
