"""Shapes of what goes in and out, one module per resource; rules live in services."""
