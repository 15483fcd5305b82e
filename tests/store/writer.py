"""A process that writes through the services, at random, until it is told to stop or is killed."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection

from sqlalchemy import func, select

from app.services import addresses, lifecycle, machines
from app.services.allocation import Constraints, allocate
from app.services.context import Actor, Context
from app.services.errors import ServiceError
from app.store.models import IpAddress, Machine, Rack, RecordChange, utc_now
from app.store.unit_of_work import Store, make_engine
from tests.factories.control import FakeRing, ReversibleBox
from workers.region.lifecycle import runner


@dataclass
class Told:
    """What came of a writer's calls: done, refused by a rule, and what should not have come."""

    done: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    surprises: list[str] = field(default_factory=list)
    allocated: list[tuple[int, float]] = field(default_factory=list)


def open_context(url: str) -> Context:
    """A context as a process of its own has it, with the wall clock."""
    return Context(Store(make_engine(url)), utc_now, ReversibleBox(), FakeRing())


class Writer:
    """One process's verbs. number: which writer it is, so that names of different ones can be told apart or collide."""

    def __init__(self, context: Context, subnet_id: int, user_id: int, number: int) -> None:
        self.context = replace(context, actor=Actor(f"writer-{number}", "admin", user_id))
        self.subnet_id, self.number = subnet_id, number
        self.chance = random.Random()
        self.verbs: dict[str, Callable[[], object]] = {
            "create": self.create, "allocate": self.allocate, "deploy": self.deploy, "look": self.look,
            "abort": self.abort, "release": self.release, "reserve": self.reserve, "give back": self.give_back,
            "rename": self.rename, "rack": self.rack_applies,
        }  # fmt: skip

    def one_of(self, *states: str) -> int:
        """A machine in one of the states; ServiceError when there is none."""
        with self.context.store.read() as session:
            found = list(session.scalars(select(Machine.id).where(Machine.state.in_(states))))
        if not found:
            raise ServiceError(f"no machine is {' or '.join(states)}")
        return self.chance.choice(found)

    def create(self) -> object:
        """Few MAC addresses, whose names collide too, so that writers get in each other's way."""
        return machines.create(
            self.context, [f"52:54:{self.chance.randrange(6):02x}:00:01:{self.chance.randrange(9):02x}"]
        )

    def allocate(self) -> object:
        return allocate(self.context, Constraints())

    def deploy(self) -> object:
        return lifecycle.request(self.context, self.one_of("ALLOCATED", "READY"), "deploy")

    def look(self) -> object:
        return runner.advance(self.context, self.one_of("DEPLOYING"))

    def abort(self) -> object:
        return lifecycle.abort(self.context, self.one_of("DEPLOYING"))

    def release(self) -> object:
        return lifecycle.request(self.context, self.one_of("ALLOCATED"), "release")

    def reserve(self) -> object:
        return addresses.reserve(self.context, self.subnet_id, f"10.20.0.{self.chance.randrange(2, 60)}")

    def give_back(self) -> None:
        with self.context.store.read() as session:
            found = list(session.scalars(select(IpAddress.id).where(IpAddress.kind == "user_reserved")))
        if not found:
            raise ServiceError("nothing is reserved")
        addresses.delete(self.context, self.chance.choice(found))

    def rename(self) -> object:
        return machines.update(self.context, self.one_of("READY", "NEW"), hostname=f"name-{self.chance.randrange(30)}")

    def rack_applies(self) -> None:
        with self.context.store.write() as session:
            last = session.scalar(select(func.max(RecordChange.sequence))) or 0
            for rack in session.scalars(select(Rack)):
                rack.applied_records = max(last, rack.applied_records)

    def go(self, until: Callable[[int], bool]) -> Told:
        """One verb after the other; whatever is no refusal of a rule is a surprise."""
        told, turns = Told(), 0
        while not until(turns):
            turns += 1
            name = self.chance.choice(list(self.verbs))
            try:
                self.verbs[name]()
                told.done[name] = told.done.get(name, 0) + 1
            except ServiceError:
                told.refused += 1
            except Exception as error:
                told.surprises.append(f"{name}: {type(error).__name__}: {error}"[:400])
        return told


def write_for_ever(url: str, subnet_id: int, user_id: int, number: int) -> None:
    """Until killed."""
    context = open_context(url)
    Writer(context, subnet_id, user_id, number).go(lambda turns: False)


def write_for_a_while(url: str, subnet_id: int, user_id: int, number: int, seconds: float, answer: Connection) -> None:
    """For so many seconds; then say how it went."""
    context = open_context(url)
    answer.send("ready")
    answer.recv()  # All begin together.
    end = time.monotonic() + seconds
    answer.send(Writer(context, subnet_id, user_id, number).go(lambda turns: turns >= 20 and time.monotonic() > end))
    context.store.engine.dispose()
