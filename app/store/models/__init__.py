"""All models, by subject."""

from app.store.models.base import Base, utc_now
from app.store.models.image import Image, ImageFile, Setting
from app.store.models.journal import ChangeEvent, Event
from app.store.models.machine import (
    Bmc,
    BootToken,
    Disk,
    Interface,
    Machine,
    Operation,
    PowerOperation,
    ScriptResult,
)
from app.store.models.network import Domain, Fabric, IpAddress, IpRange, Subnet, Vlan
from app.store.models.placement import Pool, Tag, Zone, machine_tag
from app.store.models.rack import (
    Apply,
    Counter,
    EnrolmentCode,
    Observation,
    Offer,
    Plan,
    Rack,
    RackChange,
    RecordChange,
    RecordFailure,
)
from app.store.models.user import ApiToken, IdempotencyKey, LoginAttempts, SshKey, User, WebSession
from app.store.models.worker import Worker

__all__ = [
    "ApiToken", "Apply", "Base", "Bmc", "BootToken", "ChangeEvent", "Counter", "Disk", "Domain", "EnrolmentCode", "Event",
    "Fabric", "IdempotencyKey", "Image", "ImageFile", "Interface", "IpAddress", "IpRange", "LoginAttempts", "Machine", "Observation",
    "Offer", "Operation",
    "Plan", "Pool", "PowerOperation", "Rack", "RackChange", "RecordChange", "RecordFailure", "ScriptResult", "Setting",
    "SshKey", "Subnet", "Tag", "User", "Vlan", "WebSession", "Worker", "Zone", "machine_tag", "utc_now",
]  # fmt: skip
