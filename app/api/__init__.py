"""REST API v1 (OpenAPI 3.1 at /api/v1/openapi.json): one module per resource, no rule of its own."""
