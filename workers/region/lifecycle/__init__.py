"""Carries operations on: `runner` takes the steps, `steps/` has one handler for each kind of step."""
