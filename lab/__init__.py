"""A virtual rack and virtual machines on one host: namespaces, real daemons, QEMU, emulated BMCs.

The product never imports this package; tests and the walk do.
"""
