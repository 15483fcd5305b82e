"""Lifecycle verbs, one module each with one constant `ACTION`."""
