"""Network, placement, racks, images and settings through the API."""

from __future__ import annotations

import pytest

from app.services.context import Context
from app.store.models import Plan
from tests.api.conftest import Caller
from tests.factories.control import Seeded, make_machine, ring_of


def test_network_is_made_seen_changed_and_deleted(admin: Caller) -> None:
    """A fabric with a VLAN, a domain, a subnet and a range, made and unmade in order."""
    fabric = admin.post("/fabrics", {"name": "lab"}).get_json()
    vlan = admin.post("/vlans", {"fabric_id": fabric["id"], "vid": 100}).get_json()
    domain = admin.post("/domains", {"name": "two.muster"}).get_json()
    body = {"cidr": "10.30.0.0/24", "vlan_id": vlan["id"], "domain_id": domain["id"], "gateway": "10.30.0.1"}
    subnet = admin.post("/subnets", body).get_json()
    wish = {"subnet_id": subnet["id"], "start": "10.30.0.100", "end": "10.30.0.199"}
    dynamic = admin.post("/ranges", wish).get_json()

    assert ("lab", "two.muster", "dynamic") == (vlan["fabric"], subnet["domain"], dynamic["kind"])
    assert "kept" == admin("PATCH", f"/subnets/{subnet['id']}", {"name": "kept"}).get_json()["name"]
    assert 60 == admin("PATCH", f"/domains/{domain['id']}", {"ttl_seconds": 60}).get_json()["ttl_seconds"]
    assert 9000 == admin("PATCH", f"/vlans/{vlan['id']}", {"mtu": 9000}).get_json()["mtu"]
    assert "x" == admin("PATCH", f"/ranges/{dynamic['id']}", {"comment": "x"}).get_json()["comment"]
    assert [subnet["id"]] == [one["id"] for one in admin.get(f"/subnets?vlan_id={vlan['id']}").get_json()["items"]]
    assert 409 == admin("DELETE", f"/vlans/{vlan['id']}").status_code
    kinds = (("ranges", dynamic), ("subnets", subnet), ("vlans", vlan), ("domains", domain), ("fabrics", fabric))
    assert [204] * 5 == [admin("DELETE", f"/{kind}/{thing['id']}").status_code for kind, thing in kinds]


def test_overlap_is_refused_with_the_rule(admin: Caller, seeded: Seeded) -> None:
    """The problem names the field, the rule and the thing in the way."""
    answer = admin.post("/subnets", {"cidr": "10.20.0.0/25", "vlan_id": seeded.vlan_id}).get_json(force=True)

    assert (409, "cidr") == (answer["status"], answer["field"])
    assert answer["rule"]
    assert "10.20.0.0/24" in answer["detail"]


@pytest.mark.parametrize("word", ["zone", "pool", "tag"])
def test_places(admin: Caller, viewer: Caller, word: str) -> None:
    """Zones, pools and tags are made, renamed and deleted; names differ; viewers only look."""
    made = admin.post(f"/{word}s", {"name": "row-1", "note": "by the door"}).get_json()
    taken = admin.post(f"/{word}s", {"name": "row-1"})
    renamed = admin("PATCH", f"/{word}s/{made['id']}", {"name": "row-2"}).get_json()

    assert ("row-1", "by the door", 0) == (made["name"], made["note"], made["machines"])
    assert 409 == taken.status_code
    assert ("row-2", "by the door") == (renamed["name"], renamed["note"])
    assert 403 == viewer.post(f"/{word}s", {"name": "x"}).status_code
    assert 422 == admin.post(f"/{word}s", {"name": "no spaces"}).status_code
    assert 204 == admin("DELETE", f"/{word}s/{made['id']}").status_code
    assert 404 == admin.get(f"/{word}s/{made['id']}").status_code


def test_zone_in_use_stays_and_tag_in_use_goes(admin: Caller, context: Context, seeded: Seeded) -> None:
    """A zone with machines is not deleted; a tag leaves its machines."""
    make_machine(context, seeded, "one", tags=("gpu",))
    tag = admin.get("/tags").get_json()["items"][0]

    assert 409 == admin("DELETE", f"/zones/{seeded.zone_id}").status_code
    assert ("gpu", 1) == (tag["name"], tag["machines"])
    assert 204 == admin("DELETE", f"/tags/{tag['id']}").status_code
    assert [] == admin.get("/machines/one").get_json()["tags"]


def test_rack_says_why_it_is_not_in_sync(viewer: Caller, seeded: Seeded) -> None:
    """A rack that was never heard of and has nothing planned is not in sync, and says both."""
    shown = viewer.get(f"/racks/{seeded.rack_id}").get_json()

    assert not shown["in_sync"]
    assert ["it was never heard of", "generation 1 is not planned yet (planned is 0)"] == shown["reasons"]
    assert "token_hash" not in shown["rack"]


def test_reconcile_wakes_the_worker(operator: Caller, viewer: Caller, context: Context, seeded: Seeded) -> None:
    """Asking raises the rack's generation, so that a failed offer is tried again, and rings."""
    before = operator.get(f"/racks/{seeded.rack_id}").get_json()["rack"]["generation"]
    ring_of(context).take()
    answer = operator.post(f"/racks/{seeded.rack_id}/reconcile")

    assert (202, {"racks": ["rack-1"]}) == (answer.status_code, answer.get_json())
    assert ("reconcile", seeded.rack_id) in ring_of(context).take()
    assert before + 1 == operator.get(f"/racks/{seeded.rack_id}").get_json()["rack"]["generation"]
    assert 403 == viewer.post(f"/racks/{seeded.rack_id}/reconcile").status_code


def test_enrolment_codes_are_for_administrators(admin: Caller, operator: Caller) -> None:
    """An administrator gets a code; an operator does not."""
    assert 20 <= len(admin.post("/racks/codes", {"name": "rack-2"}).get_json()["code"])
    assert 403 == operator.post("/racks/codes", {}).status_code


def test_held_plan_is_approved_once(admin: Caller, context: Context, seeded: Seeded) -> None:
    """Approval lets a held plan go on; a second one is refused."""
    with context.store.write() as session:
        plan = Plan(rack_id=seeded.rack_id, generation=1, status="held", dangers=["deletes a subnet"], danger_hash="h")
        session.add(plan)
    held = admin.get(f"/racks/{seeded.rack_id}").get_json()["held"]
    approved = admin.post(f"/plans/{plan.id}/approve")

    assert [plan.id] == [one["id"] for one in held]
    assert (200, "approved") == (approved.status_code, approved.get_json()["status"])
    assert 409 == admin.post(f"/plans/{plan.id}/approve").status_code


def test_images_are_listed_and_imported_by_administrators(admin: Caller, operator: Caller) -> None:
    """A folder without a manifest is refused with a sentence; operators may only look."""
    assert ["debian-12-amd64"] == [item["name"] for item in operator.get("/images").get_json()["items"]]
    assert 403 == operator.post("/images/import", {"path": "/nowhere"}).status_code
    assert 422 == admin.post("/images/import", {"path": "/nowhere"}).status_code


def test_settings(admin: Caller, viewer: Caller, context: Context) -> None:
    """Settings have defaults and rules; keys are neither shown nor set."""
    shown = viewer.get("/settings").get_json()["settings"]
    changed = admin("PUT", "/settings/ntp_upstreams", {"value": {"servers": ["0.debian.pool.ntp.org"]}})

    assert {
        "enrolment_policy",
        "dns_forwarders",
        "dnssec_validation",
        "kernel_options",
        "ntp_upstreams",
        "network_discovery",
        "proxy",
        "rack_keys",
        "retention",
        "rollout",
    } == set(shown)
    assert 200 == changed.status_code
    assert ["0.debian.pool.ntp.org"] == viewer.get("/settings").get_json()["settings"]["ntp_upstreams"]["servers"]
    assert 422 == admin("PUT", "/settings/dns_forwarders", {"value": {"servers": ["resolver"]}}).status_code
    for options in ("quiet", ["a b"], ["root=/dev/sda1"], ["muster.token=x"], ["init=/bin/sh"], [f"x={'y' * 512}"]):
        assert 422 == admin("PUT", "/settings/kernel_options", {"value": {"options": options}}).status_code
    assert (
        200 == admin("PUT", "/settings/kernel_options", {"value": {"options": ["quiet", "iomem=relaxed"]}}).status_code
    )
    assert 422 == admin("PUT", "/settings/enrolment_policy", {"value": {"on": "yes"}}).status_code
    for days in (-1, 3651, True, "90"):
        assert 422 == admin("PUT", "/settings/rack_keys", {"value": {"omapi_days": days}}).status_code
    assert {"omapi_days": 90} == admin("PUT", "/settings/rack_keys", {"value": {"omapi_days": 90}}).get_json()["value"]
    assert 404 == admin("PUT", "/settings/offer_key", {"value": {"public": "x"}}).status_code
    assert 403 == viewer("PUT", "/settings/enrolment_policy", {"value": {"on": True}}).status_code
    assert any(call[0] == "reconcile" for call in ring_of(context).take())


def test_audit_names_the_caller(admin: Caller, operator: Caller) -> None:
    """Who made the tag stands in the audit, which operators do not read."""
    operator.post("/tags", {"name": "gpu"})
    rows = admin.get("/audit").get_json()["items"]

    assert ("alice", "create", "tag") in [(row["actor"], row["verb"], row["thing"]) for row in rows]
    assert 403 == operator.get("/audit").status_code


def test_fabrics_vlans_and_spaces(admin: Caller, seeded: Seeded) -> None:
    """Spaces, relays, default places and merges, as the API tells them; a refusal names field, rule and both things."""
    space = admin.post("/spaces", {"name": "inside", "description": "all of it"}).get_json()
    tag = admin.get(f"/spaces/{space['id']}").headers["ETag"]
    assert 304 == admin.get(f"/spaces/{space['id']}", headers={"If-None-Match": tag}).status_code
    vlan = admin("PATCH", f"/vlans/{seeded.vlan_id}", {"space_id": space["id"]}).get_json()
    relayed = admin.post("/vlans", {"vid": 40, "relay_vlan_id": seeded.vlan_id}).get_json()
    fabric = admin.post("/fabrics", {}).get_json()
    subnet = admin.post("/subnets", {"cidr": "10.40.0.0/24", "fabric": "edge"}).get_json()
    other = admin.post("/subnets", {"cidr": "10.41.0.0/24"}).get_json()
    chain = admin.post("/vlans", {"vid": 41, "relay_vlan_id": relayed["id"]})
    merged = admin.post(f"/fabrics/{fabric['id']}/merge", {"into_id": seeded.fabric_id}).get_json()
    spare = admin.post("/vlans", {"vid": 42}).get_json()
    kept = admin.post(f"/vlans/{spare['id']}/merge", {"into_id": relayed["id"]}).get_json()
    shown = admin.get("/spaces").get_json()["items"]

    assert ("inside", None) == (vlan["space"], relayed["space"])
    assert (seeded.fabric_id, seeded.vlan_id) == (relayed["fabric_id"], relayed["relay_vlan_id"])
    assert ("fabric-1", False, "fabric-0", relayed["id"]) == (
        fabric["name"], fabric["found"], merged["name"], kept["id"],
    )  # fmt: skip
    assert (None, space["id"]) == (subnet["space_id"], other["space_id"])
    assert [(1, 2, False)] == [(one["vlans"], one["subnets"], one["without_subnets"]) for one in shown]
    assert (409, "relay_vlan_id") == (chain.status_code, chain.get_json()["field"])
    assert 409 == admin("DELETE", f"/spaces/{space['id']}").status_code
    assert [relayed["id"]] == [
        one["id"] for one in admin.get(f"/vlans?relay_vlan_id={seeded.vlan_id}").get_json()["items"]
    ]
