"""Whether KVM really runs a kernel here, tried once with a deadline.

/dev/kvm may exist, accept a boot sector, and still not run a stock kernel (seen under nested software
virtualisation), so only a kernel that reached its own panic for want of a root device proves KVM. Without a kernel to
try, emulation is used.
"""

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

EMULATION = ("-accel", "tcg,thread=multi", "-cpu", "qemu64,-svm")
"""QEMU's own processor but for virtualisation, which no guest uses here and the kernel takes seconds to set up."""
KVM = ("-accel", "kvm", "-cpu", "host")
KERNEL_OPTIONS = ("norandmaps", "mitigations=off", "cryptomgr.notests", "init_on_alloc=0", "hardened_usercopy=off")
"""What the lab's operator has kernels told on emulated machines (kernel-parameters.txt, options of every kernel): QEMU
keeps translated code by its address, and addresses that differ from process to process cost it a third of its time; it
does not speculate, so detours around speculation protect nothing; its arithmetic is the host's, which has been tested; and
it clears memory a word at a time, where a machine does so by the page."""
DEADLINE_SECONDS = 15.0
DEVICE = Path("/dev/kvm")


@dataclass(frozen=True)
class Accelerator:
    """QEMU's words for how to run guests, and the sentence that says why."""

    words: tuple[str, ...]
    reason: str

    @property
    def kernel_options(self) -> tuple[str, ...]:
        """What the kernels of machines are told because of it."""
        return KERNEL_OPTIONS if self.words == EMULATION else ()


def choose_accelerator(kernel: Path | None, deadline: float = DEADLINE_SECONDS) -> Accelerator:
    """Return KVM if `kernel` (a bzImage) boots under it within the deadline in seconds, else emulation."""
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return Accelerator(EMULATION, f"{DEVICE} cannot be opened: machines are emulated")
    if kernel is None or not kernel.exists():
        return Accelerator(EMULATION, f"there is no kernel to try {DEVICE} with: machines are emulated")
    with tempfile.TemporaryDirectory(prefix="muster-kvm-") as directory:
        log = Path(directory, "serial.log")
        argv = [
            "qemu-system-x86_64", *KVM, "-machine", "q35", "-m", "256", "-nodefaults", "-vga", "none", "-display",
            "none", "-serial", f"file:{log}", "-kernel", str(kernel), "-append", "console=ttyS0 panic=-1",
            "-no-reboot",
        ]  # fmt: skip
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=deadline, check=False)
        except subprocess.TimeoutExpired:
            return Accelerator(
                EMULATION, f"a kernel did not boot under {DEVICE} in {deadline:g} s: machines are emulated"
            )
        said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    if "Kernel panic - not syncing: VFS" in said:
        return Accelerator(KVM, f"a kernel booted under {DEVICE}")
    complaint = done.stderr.decode(errors="replace").strip().splitlines()[:1] or ["it said nothing"]
    return Accelerator(EMULATION, f"a kernel failed early under {DEVICE} ({complaint[0]}): machines are emulated")
