"""The boot image builder: from Debian's packages to what machines boot and what gets installed on them.

`python -m workers.region.images build` makes `<cache>/debian-12-amd64/` with five files:

- `vmlinuz`, `initrd`: Debian's kernel, and an initrd whose boot method `muster` fetches the next file over HTTP;
- `root.squashfs`: the ephemeral system in which machines are enlisted, commissioned, installed and erased;
- `rootfs.tar.zst`: the Debian 12 system that an installer unpacks on a disk, booted by BIOS and by UEFI;
- `manifest.json`: digests and sizes of these, and the digest of the recipe they were made from.

It promises that a finished directory appears at once and whole (built beside, then renamed), that nothing is built when
recipe and files agree, and that a failed or interrupted build leaves no mount, no process and no temporary tree.
It refuses to run without root, and names no mirror: the host's own apt sources say where packages come from.

`recipe` says what goes in, `sources` where it comes from, `commands` runs programs, `trees` changes unpacked roots,
`build` puts these in order, `manifest` describes and checks the result. The text files that go into the images are in
`templates/images/`: a tree for each image, and the hooks of mmdebstrap.
"""
