"""One module per rendered service, each with one constant SERVICE; found by `renderers.registry`."""
