"""Power: what Muster can ask of a machine's management controller; imports nothing else of `app`."""
