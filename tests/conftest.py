"""How many examples hypothesis tries: `make test` many, `make check` fewer (`--hypothesis-profile=check`).

No example has a deadline: a busy host is no fault of what is tested.
"""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("full", max_examples=100, deadline=None)
settings.register_profile("check", max_examples=20, deadline=None)
settings.load_profile("full")
