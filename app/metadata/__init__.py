"""What machines call, always through a rack's relay: boot scripts, tasks and reports, image files.

`mount(application)` puts it in place: /boot/v1, /machine/v1 and /images.
"""

from app.metadata.views import blueprint, mount

__all__ = ["blueprint", "mount"]
