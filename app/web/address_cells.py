"""The address map as it is drawn: a cell for each address of a /24, a cell for each block of what is larger. Pure.

IPv6 is not drawn: of 2^64 addresses nobody sees the few that are used, so they are listed.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass

from app.services.address_map import AddressMap, Found

MOST_CELLS = 256
KINDS = {
    "gateway": "gateway",
    "rack": "rack",
    "machine": "machine, while deployed",
    "sticky": "machine, for good",
    "bmc": "BMC",
    "static": "chosen by hand",
    "promised": "promised to a MAC address",
    "kept": "kept by hand",
    "discovered": "discovered: leased or seen",
    "used": "partly in use",
    "dynamic": "dynamic range (DHCP)",
    "reserved": "reserved range",
    "static_pool": "pool for machines",
    "free": "free",
    "outside": "network and broadcast",
}
OF_ADDRESS = {
    "auto": "machine", "sticky": "sticky", "static": "static", "reservation": "promised", "user_reserved": "kept",
    "rack": "rack", "bmc": "bmc",
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One address or block. kind: one of KINDS; words: what it is; href: where more is known; fill: 0 to 4 quarters used."""

    label: str
    kind: str
    words: str
    href: str | None = None
    fill: int = 0


@dataclass(frozen=True)
class Drawn:
    """The cells, and how many of each kind; no cells for IPv6."""

    cells: list[Cell]
    counts: dict[str, int]


def draw(seen: AddressMap) -> Drawn:
    """The cells of a map."""
    if seen.block.version == 6:
        return Drawn([], {})
    cells = _addresses(seen) if seen.inner_prefix is None else _blocks(seen, seen.inner_prefix)
    return Drawn(cells, dict(Counter(cell.kind for cell in cells)))


def how(found: Found) -> str:
    """How an address that nobody was given came to be known, and whose it is."""
    words = [found.hostname, found.mac]
    if found.leased_until is not None:
        words.append(f"leased by DHCP until {found.leased_until:%Y-%m-%d %H:%M} UTC")
    if found.seen_at is not None:
        words.append(f"seen by {found.rack} at {found.seen_at:%Y-%m-%d %H:%M} UTC")
    return ", ".join(word for word in words if word)


def _addresses(seen: AddressMap) -> list[Cell]:
    used = {one.address: one for one in seen.used}
    found = {one.address: one for one in seen.found}
    network = ipaddress.ip_network(seen.subnet.cidr)
    edges = {network.network_address, network.broadcast_address} if network.prefixlen < 31 else set()
    ranges = [(int(row.start_key, 16), int(row.end_key, 16), row.kind) for row in seen.ranges]
    cells = []
    for address in seen.block:
        text = str(address)
        one = used.get(text)
        inside = next((kind for first, last, kind in ranges if first <= int(address) <= last), None)
        kind, words, href = inside or "free", KINDS[inside or "free"], None
        if address in edges:
            kind, words = "outside", KINDS["outside"]
        observed = found.get(text)
        if observed is not None:
            kind, words = "discovered", how(observed)
        if one is not None:
            kind = OF_ADDRESS.get(one.kind, "kept")
            words = f"{one.hostname or KINDS[kind]} ({'device' if one.device_id else KINDS[kind]})"
            holder = ("machines", one.machine_id) if one.machine_id else ("devices", one.device_id)
            href = f"/{holder[0]}/{holder[1]}" if holder[1] else None
        if text == seen.subnet.gateway:
            words = KINDS["gateway"] if one is None and observed is None else f"{words}, gateway"
            kind = "gateway"
        cells.append(Cell(text.rpartition(".")[2], kind, f"{text}: {words}", href))
    return cells


def _blocks(seen: AddressMap, prefix: int) -> list[Cell]:
    ranges = [(int(row.start_key, 16), int(row.end_key, 16), row.kind) for row in seen.ranges]
    cells = []
    network = ipaddress.IPv4Network(str(seen.block))
    blocks = network.subnets(new_prefix=max(prefix, seen.block.prefixlen))
    for index, block in enumerate(blocks):
        if index >= MOST_CELLS:
            break
        first, last = int(block[0]), int(block[-1])
        spread: Counter[str] = Counter()
        for start, end, kind in ranges:
            spread[kind] += max(0, min(end, last) - max(start, first) + 1)
        count = seen.counts.get(str(block.network_address), 0)
        discovered = seen.found_counts.get(str(block.network_address), 0)
        # The kind that most of the block is; what is in use shows as the fill.
        kind = "free"
        if spread and spread.most_common(1)[0][1] * 2 > block.num_addresses:
            kind = spread.most_common(1)[0][0]
        elif count:
            kind = "used"
        elif discovered:
            kind = "discovered"
        fill = 0 if not count else 1 + min(3, count * 4 // block.num_addresses)
        words = [f"{count} in use"] + ([f"{discovered} discovered"] if discovered else [])
        words += [f"{size} in {KINDS[name]}" for name, size in spread.items() if size]
        octets = str(block.network_address).split(".")
        label = octets[2] if prefix == 24 else octets[1]
        href = f"/subnets/{seen.subnet.id}?block={block}"
        cells.append(Cell(label, kind, f"{block}: {', '.join(words)}", href, fill))
    return cells
