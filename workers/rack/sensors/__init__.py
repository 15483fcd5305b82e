"""What this rack sees of its networks without asking: read on a timer, told to the control plane, believed by nobody."""
