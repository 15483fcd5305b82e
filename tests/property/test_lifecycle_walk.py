"""Random walks: whatever is asked, reported or timed out, no machine gets into a state that the table does not know."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import select

from app.lifecycle.states import State
from app.lifecycle.table import ActionRefused, actions, check, for_transient, transitions
from app.services import lifecycle, machines
from app.services.errors import Conflict
from app.store.models import BootToken, IpAddress, Operation
from tests.factories.control import clock_of, make_machine
from tests.factories.edge import make_lab
from workers.region.lifecycle import runner

MOVES = {(before, after) for before, after, _ in transitions()}


class Walk(RuleBasedStateMachine):
    """One machine, pushed about."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.lab = make_lab(Path(self.folder.name))
        self.machine_id = make_machine(self.lab.context, self.lab.seeded, state="NEW", inventory={"cpu": {}})
        mac = machines.get(self.lab.context, self.machine_id).interfaces[0].mac
        self.machine = self.lab.machine(mac=mac)
        self.before = State.NEW
        self.call = self.static = ""

    def teardown(self) -> None:
        self.lab.context.store.engine.dispose()
        self.folder.cleanup()

    def _state(self) -> State:
        return State(self.lab.row(self.machine_id).state)

    @rule(name=st.sampled_from(sorted(actions())))
    def ask(self, name: str) -> None:
        """A verb is taken exactly when the table allows it."""
        state = self._state()
        try:
            check(name, state)
        except ActionRefused:
            allowed = False
        else:
            allowed = True
        try:
            lifecycle.request(self.lab.context, self.machine_id, name)
        except Conflict:
            assert not allowed
        else:
            assert allowed

    @rule()
    def abort(self) -> None:
        """Only what runs can be aborted."""
        transient = self._state().is_transient
        try:
            lifecycle.abort(self.lab.context, self.machine_id)
        except Conflict:
            assert not transient
        else:
            assert transient

    @rule(ok=st.booleans())
    def rack(self, ok: bool) -> None:
        """The rack does what is waiting, well or badly."""
        self.lab.racks_apply()
        self.lab.carry_out_power(ok)

    @rule()
    def settle(self) -> None:
        """Worker and rack go on as far as they can."""
        self.lab.settle(self.machine_id)

    @rule(seconds=st.sampled_from((1, 60, 1000, 90_000)))
    def wait(self, seconds: int) -> None:
        """Time passes, a worker looks at the machine, and the sweep comes by."""
        clock_of(self.lab.context).move(seconds)
        runner.advance(self.lab.context, self.machine_id)
        runner.sweep(self.lab.context)

    @rule()
    def boot(self) -> None:
        """The machine boots from the network."""
        self.machine.boot()

    @rule(event=st.sampled_from(("started", "finished", "failed")))
    def report(self, event: str) -> None:
        """The machine fetches its task and reports with whatever token it last had; a dead one is refused."""
        if self.machine.token is None:
            return
        assert self.machine.get("/task").status_code in (200, 401, 403, 409)
        self.machine.report("cpu")
        assert self.machine.status(event) in (204, 401, 403, 409)
        runner.advance(self.lab.context, self.machine_id)

    @rule()
    def play_along(self) -> None:
        """Everybody does what is expected next: rack, machine and worker."""
        self.lab.settle(self.machine_id)
        purpose = None
        if self.machine.boot() == "ephemeral":
            task = self.machine.get("/task").json
            purpose = task["purpose"]
            for script in task["scripts"]:
                assert self.machine.report(script["name"]) == 204
            if purpose == "install":
                self.call = json.loads(task["install"]["files"][0]["content"])["token"]
                network = json.loads(task["install"]["seed"]["network-config"])
                self.static = network["ethernets"]["eth0"]["addresses"][0].partition("/")[0]
            assert self.machine.status("finished") == 204
        self.lab.settle(self.machine_id)
        if purpose == "install":
            body = {"hostname": "m", "ssh_host_keys": [], "boot_id": "b", "addresses": [self.static]}
            answer = self.machine.post("/phone-home", body, token=self.call, address=self.static)
            assert answer.status_code == 204
            self.lab.settle(self.machine_id)
        if purpose is not None:
            assert self._state() in (State.READY, State.DEPLOYED)

    @invariant()
    def every_move_is_in_the_table(self) -> None:
        """One rule may cause several moves; each state seen can be reached from the one before."""
        state = self._state()
        reach = {self.before}
        for _ in range(4):
            reach |= {after for before, after in MOVES if before in reach}
        assert state in reach
        self.before = state

    @invariant()
    def transient_means_an_operation_runs(self) -> None:
        """A transient state has exactly one running operation, of its own action; other states have none."""
        with self.lab.context.store.read() as session:
            running = session.scalars(select(Operation.action).where(Operation.status == "running")).all()
            live = session.scalars(select(BootToken.id).where(BootToken.revoked_at.is_(None))).all()
            given = session.scalars(select(IpAddress.id).where(IpAddress.kind == "auto")).all()
        state = self._state()
        assert list(running) == ([for_transient(state).name] if state.is_transient else [])
        if not state.is_transient:
            assert list(live) == []
        if state in (State.READY, State.ALLOCATED):
            assert list(given) == []


TestWalk = Walk.TestCase
TestWalk.settings = settings(
    max_examples=settings().max_examples // 5,  # A walk costs as much as hundreds of other examples.
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
