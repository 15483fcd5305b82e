"""Channels: how a new bundle is activated on a daemon that runs; one module each, with the constant `CHANNEL`."""
