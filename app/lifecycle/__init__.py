"""The state machine of a machine's life: pure data and functions; no clock, database or network."""
