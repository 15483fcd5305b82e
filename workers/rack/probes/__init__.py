"""Probes: one question a client would ask, one module for each kind, each with the constant `PROBE`."""
