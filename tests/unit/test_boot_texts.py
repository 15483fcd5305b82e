"""What machines are told: boot scripts, seeds, network and disk, and what is refused."""

import email
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import yaml

from renderers.boot import cloudinit, ipxe, netplan, storage
from tests.golden.boot.texts import DISKS, KEY, MACHINE, NICS, SEED, STRANGER, STRANGER6


def test_the_command_line_is_the_contract() -> None:
    """The kernel is told image, digest, address of the edge, token and lease, in words."""
    words = ipxe.command_line(MACHINE)

    assert (
        "initrd=initrd",
        "boot=muster",
        f"muster.root=http://10.20.0.1:5248/images/{'c' * 64}/root.squashfs",
        f"muster.root_sha256={'c' * 64}",
        "muster.url=http://10.20.0.1:5248/machine/v1",
        "muster.token=boot-token-0123456789",
        "ip=10.20.0.10::10.20.0.254:255.255.255.0:node-1::off:10.20.0.1",
        "BOOTIF=01-52-54-00-20-00-0a",
        "console=ttyS0,115200",
    ) == words


def test_the_cheaper_digest_goes_along() -> None:
    """A root with a BLAKE2b digest is named and checked by both; one that is no digest is refused."""
    words = ipxe.command_line(replace(MACHINE, root_blake2b="d" * 64))

    assert f"muster.root_blake2b={'d' * 64}" in words
    assert f"muster.root_sha256={'c' * 64}" in words
    with pytest.raises(ValueError, match="no digest of 64"):
        ipxe.command_line(replace(MACHINE, root_blake2b="d e"))


def test_a_stranger_hands_over_its_own_lease() -> None:
    """Without a known lease iPXE fills its own in."""
    words = ipxe.command_line(STRANGER)

    assert "ip=${netX/ip}::${netX/gateway}:${netX/netmask}:muster::off:${netX/dns}" in words
    assert "BOOTIF=01-${netX/mac:hexhyp}" in words
    assert "muster.url=http://10.20.0.1:5248/machine/v1" in words


def test_a_machine_served_by_ipv6_is_told_its_own_address() -> None:
    """iPXE cannot fill an IPv6 lease in, so address, length, gateway and DNS are written; `ip` says the host name only."""
    words = ipxe.command_line(STRANGER6)
    alone = ipxe.command_line(replace(STRANGER6, gateway=None, dns=None))

    assert {"ip=::::muster::off", "muster.ip6=fd20::1:0/64,fe80::1,fd20::1"} <= set(words)
    assert "muster.url=http://[fd20::1]:5248/machine/v1" in words
    assert "muster.ip6=fd20::1:0/64,," in alone
    assert "http://[fd20::1]:5248/boot/v1/script?mac=" in ipxe.start(5248, "fd20::1")


@pytest.mark.parametrize(
    "wrong",
    [
        {"address": None},
        {"prefix_length": None},
        {"prefix_length": 0},
        {"gateway": "10.0.0.1"},
        {"address": "10.0.0.9"},
    ],
)
def test_an_ipv6_lease_that_is_no_lease_is_refused(wrong: dict[str, Any]) -> None:
    """No address, no length, or another family: better no boot than a machine that waits for ever."""
    with pytest.raises(ValueError, match="muster"):
        ipxe.command_line(replace(STRANGER6, **wrong))


@pytest.mark.parametrize(("platform", "last"), [("pcbios", "exit 0"), ("efi", "exit 1")])
@pytest.mark.parametrize("script", [ipxe.local, ipxe.poweroff, lambda platform: ipxe.ephemeral(MACHINE, platform)])
def test_every_script_falls_through_to_the_disk(script: Callable[[str], str], platform: str, last: str) -> None:
    """The last command of every script leaves iPXE in the way that this firmware boots its disk after."""
    lines = script(platform).splitlines()

    assert ("#!ipxe", last) == (lines[0], lines[-1])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"token": "a b"}, "boot token"),
        ({"rack": "10.20.0.1/../x"}, "neither an address nor a host name"),
        ({"kernel_sha256": "A" * 64}, "no digest of 64"),
        ({"mac": "52-54-00-20-00-0a"}, "no MAC address"),
        ({"gateway": "10.20.0.254 x"}, "does not appear to be"),
        ({"kernel_options": ("a b",)}, "one word each"),
        ({"kernel_options": ("${x}",)}, "one word each"),
        ({"netmask": None}, "without a netmask"),
        ({"port": 0}, "no port number"),
    ],
)
def test_what_would_change_the_script_is_refused(change: dict[str, object], reason: str) -> None:
    """Values that are not what they should be never reach a script."""
    with pytest.raises(ValueError, match=reason):
        ipxe.ephemeral(replace(MACHINE, **change), "efi")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="platform 'arm'"):
        ipxe.local("arm")


def test_seeds_are_yaml_that_says_what_was_meant() -> None:
    """The documents read back as YAML, which is how cloud-init reads them."""
    seed = cloudinit.seed(SEED)
    network = yaml.safe_load(seed["network-config"])["ethernets"]
    vendor = yaml.safe_load(seed["vendor-data"])

    assert {"instance-id": "deploy-17", "local-hostname": "node-1", "public-keys": [KEY]} == yaml.safe_load(
        seed["meta-data"]
    )
    assert ("node-1.lab.muster", False, True) == (vendor["fqdn"], vendor["ssh_pwauth"], vendor["disable_root"])
    assert {"proxy": "http://10-20-0-0--24.muster-internal:3128", "preserve_sources_list": True} == vendor["apt"]
    assert {
        "match": {"macaddress": "52:54:00:20:00:0a"},
        "set-name": "eno1",
        "dhcp4": False,
        "dhcp6": False,
        "accept-ra": False,
        "optional": False,
        "addresses": ["10.20.0.10/24", "fd20::10/64"],
        "routes": [{"to": "0.0.0.0/0", "via": "10.20.0.254"}],
        "nameservers": {"addresses": ["10.20.0.1"], "search": ["lab.muster"]},
        "mtu": 9000,
    } == network["eno1"]
    assert network["eno2"]["optional"]


def test_one_piece_of_user_data_is_passed_on_byte_for_byte() -> None:
    """An operator's cloud-config, script or MIME text is not touched."""
    for piece in ("#cloud-config\nx: 'é'\n", "#!/bin/bash\nexit 0\n", "MIME-Version: 1.0\nContent-Type: x/y\n\nz"):
        assert piece == cloudinit.user_data((piece,))
    assert "#cloud-config\n{}\n" == cloudinit.user_data(("", " \n"))


def test_several_pieces_of_user_data_become_mime_parts() -> None:
    """Python's own MIME reader gets every piece back, with the type cloud-init needs, in order."""
    pieces = ("#cloud-config\na: é\n", "#!/bin/sh\necho --x\n", "#include\nhttp://10.20.0.60/x\n")
    parts = email.message_from_string(cloudinit.user_data(pieces)).get_payload()

    assert [
        ("text/cloud-config", pieces[0].encode()),
        ("text/x-shellscript", pieces[1].encode()),
        ("text/x-include-url", pieces[2].encode()),
    ] == [(part.get_content_type(), part.get_payload(decode=True)) for part in parts]
    with pytest.raises(ValueError, match="piece 2: begins with 'hello'"):
        cloudinit.user_data((pieces[0], "hello"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"hostname": "a.b"}, "one label"),
        ({"ssh_keys": ("ssh-ed25519 AAAA x\nssh-rsa BBBB",)}, "no public key of one line"),
        ({"nics": ()}, "no interface"),
        ({"nics": (NICS[1], replace(NICS[1], name="eno3"))}, "same mac"),
        ({"nics": (replace(NICS[0], gateways=("10.99.0.1",)),)}, "gateway 10.99.0.1 is in none of"),
        ({"nics": (replace(NICS[0], addresses=("10.20.0.10",)),)}, "no prefix length"),
        ({"nics": (replace(NICS[0], mtu=9),)}, "MTU 9"),
    ],
)
def test_seeds_refuse_what_a_machine_could_not_use(change: dict[str, object], reason: str) -> None:
    """A seed that would leave a machine unreachable is refused with the thing and the rule."""
    with pytest.raises(ValueError, match=reason):
        cloudinit.seed(replace(SEED, **change))  # type: ignore[arg-type]


def test_the_flat_layout_is_the_contract() -> None:
    """The first disk by name carries BIOS boot, ESP and root; the result is plain JSON."""
    made = json.loads(json.dumps(storage.flat(DISKS)))

    assert {"path": "/dev/vda", "serial": "SER-1", "by_id": "/dev/disk/by-id/virtio-SER-1"} == made["disk"]
    assert [("ef02", 1, None), ("ef00", 512, "/boot/efi"), ("8300", None, "/")] == [
        (item["type"], item["size_mib"], item["mount"]) for item in made["partitions"]
    ]
    assert "/dev/vdb" == storage.flat(DISKS, "vdb")["disk"]["path"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("names", "first"),
    [(("sdaa", "sdb"), "sdb"), (("nvme10n1", "nvme2n1"), "nvme2n1"), (("vdb", "vda"), "vda")],
)
def test_the_first_disk_is_the_first_for_people(names: tuple[str, ...], first: str) -> None:
    """Names are counted, not spelled: sdb comes before sdaa."""
    disks = tuple(storage.DiskFact(name, f"/dev/{name}", 8 * 1024**3) for name in names)

    assert f"/dev/{first}" == storage.flat(disks)["disk"]["path"]  # type: ignore[index]


def test_a_disk_that_is_too_small_is_refused_in_numbers() -> None:
    """The message has both sizes; no disk and an unknown disk are refused by name."""
    with pytest.raises(ValueError, match="has 8192 MiB, the flat layout needs 10515 MiB"):
        storage.flat(DISKS, "vda", root_minimum_mib=10_000)
    with pytest.raises(ValueError, match="has 1024 MiB, the flat layout needs 2563 MiB"):
        storage.flat((storage.DiskFact("vda", "/dev/vda", 1024**3),))
    with pytest.raises(ValueError, match="has no disk"):
        storage.flat(())
    with pytest.raises(ValueError, match="none of this name; it has vdb, vda"):
        storage.flat(DISKS, "sda")


def test_network_configuration_needs_no_addresses() -> None:
    """An interface without addresses does not hold up the boot."""
    assert {"optional": True} == {
        key: value
        for key, value in netplan.network_config((NICS[1],))["ethernets"]["eno2"].items()  # type: ignore[index]
        if key == "optional"
    }
