"""A simulated machine without IPv4: UEFI HTTP boot by DHCPv6, the loader over HTTP, iPXE, the script, callbacks.

What the initramfs would configure from the kernel's command line (`muster.ip6`), it configures too.
"""

from __future__ import annotations

import re
import time

from lab import namespace
from lab.dhcp6_client import UEFI_HTTP, UEFI_X64, Client6, Lease6
from lab.dhcp_client import Lease
from lab.simulated import TOKEN, URL, BootFailed, Outcome, SimulatedMachine

IP6 = re.compile(r"muster\.ip6=(\S+?)/(\d+),(\S*?),(\S*)")
LINK_SECONDS = 5.0
FIRMWARE = Client6("eth0", iaid=1, architecture=UEFI_HTTP, vendor_class="HTTPClient")
IPXE = Client6("eth0", iaid=2, architecture=UEFI_X64, user_class="iPXE", vendor_class="PXEClient")


class SimulatedMachine6(SimulatedMachine):
    """One simulated server on a site's first VLAN that has IPv6 only."""

    def start(self) -> Outcome:
        """Boot as far as the boot script; `url` and `token` are what it gave, and the purpose is not known yet."""
        firmware = self._take(FIRMWARE)
        if firmware.options.get(16, b"")[6:] != b"HTTPClient":
            raise BootFailed(f"{self.mac}: the firmware ignores an answer without vendor class HTTPClient")
        status, loader = self.request("GET", firmware.boot_file)
        if status != 200:
            raise BootFailed(f"{self.mac}: GET {firmware.boot_file} answered {status}")
        namespace.inside(self.space, lambda: FIRMWARE.release(firmware))
        taken = self._take(IPXE)
        lease = Lease(taken.address, "", "", taken.boot_file, 128, taken.options)
        script = self._follow(lease)
        found_token, found_url, found_address = TOKEN.search(script), URL.search(script), IP6.search(script)
        if not found_token or not found_url:
            return Outcome("local", lease, len(loader), script)
        if not found_address:
            raise BootFailed(f"{self.mac}: the script has no muster.ip6, so the kernel would have no address: {script}")
        self.url, self.token = found_url.group(1), found_token.group(1)
        self.use_address("/".join(found_address.group(1, 2)))
        return Outcome("", lease, len(loader), script)

    def _take(self, who: Client6) -> Lease6:
        """Ask for an address, as soon as the card has a link-local one."""
        end = time.monotonic() + LINK_SECONDS
        while True:
            try:
                lease = namespace.inside(self.space, who.solicit_and_request)
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        # DHCPv6 says nothing of a prefix (RFC 8415, section 21.6): what is on the link, routers say.
        self.use_address(f"{lease.address}/64")
        return lease
