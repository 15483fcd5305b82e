"""What machines are given, for fixed inputs: name of the file and its text."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from renderers.boot import apt, cloudinit, ipxe, netplan, phone_home, rsyslog, storage

FOLDER = Path(__file__).resolve().parent / "expected"
MACHINE = ipxe.Ephemeral(
    rack="10.20.0.1",
    port=5248,
    token="boot-token-0123456789",
    kernel_sha256="a" * 64,
    initrd_sha256="b" * 64,
    root_sha256="c" * 64,
    hostname="node-1",
    mac="52:54:00:20:00:0a",
    address="10.20.0.10",
    netmask="255.255.255.0",
    gateway="10.20.0.254",
    dns="10.20.0.1",
)
STRANGER = ipxe.Ephemeral(
    "10.20.0.1", 5248, "enlist-token-0123", "a" * 64, "b" * 64, "c" * 64, kernel_options=("quiet",)
)
STRANGER6 = replace(STRANGER, rack="fd20::1", address="fd20::1:0", prefix_length=64, gateway="fe80::1", dns="fd20::1")
NICS = (
    netplan.Nic(
        "eno1",
        "52:54:00:20:00:0a",
        ("10.20.0.10/24", "fd20::10/64"),
        ("10.20.0.254",),
        ("10.20.0.1",),
        ("lab.muster",),
        9000,
    ),
    netplan.Nic("eno2", "52:54:00:20:00:0b"),
)
NICS6 = (
    netplan.Nic(
        "eno1",
        "52:54:00:20:00:0c",
        ("2001:db8:21::10/64", "fd21::10/120"),
        ("fe80::1",),
        ("2001:db8:21::2",),
        ("six.example.org",),
    ),
    netplan.Nic("eno2", "52:54:00:20:00:0d", ("2001:db8:22::10/64",), ("2001:db8:22::1",)),
)
ROUTED = (
    netplan.Nic(
        "eno1",
        "52:54:00:20:00:0c",
        ("10.20.0.12/24", "2001:db8:20::12/64"),
        ("10.20.0.254", "fe80::1"),
        ("10.20.0.1",),
        ("lab.muster",),
        routes=(
            netplan.Route("10.30.0.0/16", "10.20.0.253"),
            netplan.Route("10.31.0.0/24", "10.20.0.252", 50),
            netplan.Route("2001:db8:30::/48", "2001:db8:20::fd"),
        ),
    ),
    netplan.Nic("eno2", "52:54:00:20:00:0d", ("10.40.0.12/24",), dhcp6=True, dhcp_metric=200),
    netplan.Nic("eno3", "52:54:00:20:00:0e", dhcp4=True, dhcp_metric=200),
)
"""Static routes of both families, a router that is named by its link-local address, and interfaces that ask DHCP."""
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEexampleexampleexampleexampleexampleexample ops@example.org"
SEED = cloudinit.SeedIntent(
    instance_id="deploy-17",
    hostname="node-1",
    domain="lab.muster",
    nics=NICS,
    ssh_keys=(KEY,),
    ntp_servers=("10.20.0.1",),
    proxy="http://10-20-0-0--24.muster-internal:3128",
    user_data=("#cloud-config\npackages: [htop]\n", "#!/bin/sh\necho 'ok' > /run/marker\n"),
)
RACKS = {"by-name": "10-20-0-0--24.muster-internal", "by-address": "10.20.0.1", "by-address-6": "fd20::1"}
MIRROR_KEY = Path(__file__).resolve().with_name("mirror.asc").read_text()
REPOSITORIES = (
    apt.Repository("main", "http://[2001:db8::7]/debian", main=True, components=("main", "non-free-firmware")),
    apt.Repository("tools", "https://mirror.example.org/tools", suites=("$RELEASE-tools", "any"), key=MIRROR_KEY),
    apt.Repository("drivers", "http://10.20.0.60/drivers", suites=("./",), architectures=("amd64", "arm64")),
    apt.Repository("other", "http://10.20.0.60/other", architectures=("arm64",)),
)
DISKS = (
    storage.DiskFact("vdb", "/dev/vdb", 40 * 1024**3),
    storage.DiskFact("vda", "/dev/vda", 8 * 1024**3, "SER-1", "/dev/disk/by-id/virtio-SER-1"),
)


def rendered_texts() -> dict[str, str]:
    """Every text by file name."""
    made = {"start.ipxe": ipxe.start(), "local-bios-sanboot.ipxe": ipxe.local("pcbios", sanboot=True)}
    for platform in ipxe.PLATFORMS:
        made[f"local-{platform}.ipxe"] = ipxe.local(platform)
        made[f"poweroff-{platform}.ipxe"] = ipxe.poweroff(platform)
        made[f"ephemeral-{platform}.ipxe"] = ipxe.ephemeral(MACHINE, platform)
    made["start-6.ipxe"] = ipxe.start(5248, "fd20::1")
    made["enlist-6-efi.ipxe"] = ipxe.ephemeral(STRANGER6, "efi")
    made["enlist-pcbios.ipxe"] = ipxe.ephemeral(STRANGER, "pcbios")
    made |= {f"seed/{name}": text for name, text in cloudinit.seed(SEED).items()}
    sources = apt.files(REPOSITORIES, "bookworm", "amd64")
    made |= {f"apt/{Path(path).name}": text for path, text in sources.items()}
    made |= {f"syslog/{name}": rsyslog.forward(host, 514) for name, host in RACKS.items()}
    calls = {name: (host, "10.20.0.1") for name, host in RACKS.items() if name != "by-address-6"}
    calls["by-name-6"] = ("fd20----64.muster-internal", "fd20::1")
    made |= {
        f"phone-home/{name}.json": phone_home.document(word, address, 5248, "first-call-token-0123")
        for name, (word, address) in calls.items()
    }
    made["network-config-6"] = netplan.dump(NICS6)
    made["netplan-routes.json"] = netplan.dump(ROUTED)
    made["storage-flat.json"] = json.dumps(storage.flat(DISKS), indent=2) + "\n"
    return made


def stored_texts() -> dict[str, str]:
    """What is stored."""
    return {str(path.relative_to(FOLDER)): path.read_text() for path in sorted(FOLDER.rglob("*")) if path.is_file()}
