"""Power drivers: one module for each kind of controller, each with the constant `DRIVER`; found by `app.power.registry`."""
