"""The second half of the demonstration: two customers do not pay, days pass, and one of them pays in the last minute.

Small guests of a provider whose policy is the shipped ``enterpage``: suspended 2 days after the due date, terminated 7 days after
the suspension is proven to be in force.
"""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from tests.e2e import sight
from tests.e2e.showing import Checks, certified, console, found_on_device, guest, left, refuses, title, watch
from tests.e2e.site import PlanLine, Site, SiteFailed
from tests.e2e.traces import virsh
from tests.e2e.wound import Dial
from tests.lab import tiny

LATE, NEVER = "demo-2", "demo-3"
BOTH = (LATE, NEVER)
# In the clear, so that its data can be seen on the raw device as long as it is there.
PLAN = PlanLine(name="vps-tiny", template="tiny", memory="112 MiB", disk="160 MiB", encrypted=False, policy="enterpage")
SUSPENDED_AFTER, TERMINATED_AFTER = timedelta(days=2), timedelta(days=7)
MINUTE = timedelta(minutes=1)
WRITTEN_AT = 64 << 20  # where on its disk the customer writes
QUESTION = "termination.confirm"


def run(site: Site, dial: Dial, checks: Checks) -> None:
    """``site`` stands still, and has no policies yet; ``dial`` shows the machine's time."""
    site.plans = (*site.plans, PLAN)
    site.main = (sys.executable, "-m", "tests.e2e.wound", str(dial.directory))
    site.configure()
    site.start()
    markers = {service: f"secret-of-{service}-{secrets.token_hex(16)}" for service in BOTH}
    due = _order(site, dial, markers)
    _forecast(site, due, checks)
    _two_days(site, dial, due, checks)
    end = _last_minute(site, dial, markers[LATE], checks)
    _asked(site, dial, end, markers[NEVER], checks)
    left(site, NEVER, markers[NEVER], checks)
    _afterwards(site, markers[LATE], checks)


def _order(site: Site, dial: Dial, markers: dict[str, str]) -> datetime:
    """Two running guests with something of their customers on them; the due date."""
    title(f"Two more orders are paid: {LATE} and {NEVER}, small ones, under the policy enterpage")
    answers = [
        site.send("order.paid", service, client_id=f"c-{service}", order_id=f"o-{service}", plan=PLAN.name, hostname=service)
        for service in BOTH
    ]
    for answer in answers:
        watch(site, answer)
    for service, marker in markers.items():
        tiny.plant(sight.address(site, service), WRITTEN_AT, marker.encode(), copies=200)
    title("Billing says: the next invoice of both is due today, and not paid")
    due = dial.now()
    for service in BOTH:
        answer = site.send("invoice.overdue", service, invoice_id=f"i-{service}", due_at=due.isoformat())
        console.print(f"   {service}: {answer.status_code} {answer.text}")
    return due


def _forecast(site: Site, due: datetime, checks: Checks) -> None:
    title("What is going to happen, and by which clause: orchestrator forecast")
    console.print(site.cli("forecast"))
    for service in BOTH:
        acts = {act["action"]: act for act in _ahead(site, service)}
        wanted = {"suspend": due + SUSPENDED_AFTER, "terminate": due + SUSPENDED_AFTER + TERMINATED_AFTER}
        found = {action: datetime.fromisoformat(act["at"]) for action, act in acts.items()}
        named = all(acts[action]["clause"] for action in acts)
        seen = ", ".join(f"{action} {at - due} after it was due" for action, at in found.items())
        checks.note(f"{service}: suspended after 2 days, terminated after 9, by a clause", found == wanted and named, seen)


def _two_days(site: Site, dial: Dial, due: datetime, checks: Checks) -> None:
    title("Two days pass, less five minutes")
    dial.wind(due + SUSPENDED_AFTER - 5 * MINUTE)
    _powers("nobody is suspended too early", dict.fromkeys(BOTH, "running"), checks)
    title("and ten minutes")
    dial.wind(due + SUSPENDED_AFTER + 5 * MINUTE)
    console.print(site.cli("service", "list"))
    _powers("the clock suspended both guests", dict.fromkeys(BOTH, "shut off"), checks)
    refuses(NEVER, checks)


def _last_minute(site: Site, dial: Dial, marker: str, checks: Checks) -> datetime:
    """One of them pays; when the later of the two is due to end."""
    title("Seven days pass, less one minute")
    ends = [datetime.fromisoformat(act["at"]) for s in BOTH for act in _ahead(site, s) if act["action"] == "terminate"]
    if len(ends) != len(BOTH):
        raise SiteFailed(f"not both are to be terminated: {site.ask('forecast')}")
    dial.wind(min(ends) - MINUTE)
    there = [service for service in BOTH if guest(service) in virsh("list", "--all", "--name").stdout.split()]
    checks.note("a minute before the end both are still there", there == [*BOTH], there)
    title(f"Billing says: {LATE} was paid")
    answer = site.send("invoice.paid", LATE, invoice_id=f"i-{LATE}", paid_until=(dial.now() + timedelta(days=30)).isoformat())
    watch(site, answer)
    checks.note(f"{LATE} runs again, with its data", _untouched(site, marker), _power(LATE))
    return max(ends)


def _asked(site: Site, dial: Dial, end: datetime, marker: str, checks: Checks) -> None:
    title("The last minute passes, and five more; billing is asked before anything is destroyed")
    dial.wind(end + 5 * MINUTE)
    asked = _until(lambda: [m for m in site.billing.messages.values() if m["type"] == QUESTION])
    console.print_json(json.dumps(asked))
    signed = bool(asked) and not site.billing.refused
    checks.note(f"billing was asked once, signed, about {NEVER}", signed and _about(asked) == [NEVER], _about(asked))
    if not asked:
        raise SiteFailed(f"nothing was asked\n{site.tail()}")
    question = asked[0]["data"]
    job = site.job(question["job_id"])
    found = found_on_device(site, marker)
    waits = job["state"] == "waiting_approval" and guest(NEVER) in virsh("list", "--all", "--name").stdout.split()
    checks.note("until it answers its job waits", waits, job["approval_reason"])
    checks.note("its data is on the raw device", found > 0, f"what the customer wrote is found {found} times")
    title("Billing answers: termination.confirmed")
    watch(site, site.send("termination.confirmed", NEVER, job_id=question["job_id"]))
    certified(site, NEVER, checks, show=False)


def _afterwards(site: Site, marker: str, checks: Checks) -> None:
    title(f"Why {NEVER} was ended: orchestrator audit list")
    console.print(site.cli("audit", "list", "--service", NEVER))
    rows = {row["what"]: row for row in site.ask("audit", "list", "--service", NEVER)["items"]}
    for what in ("deadline suspend", "deadline terminate"):
        row = rows.get(what, {"who": "", "facts": {}})
        seen = f"{row['who']}: {row['facts'].get('clause')}"
        checks.note(f"the audit has `{what}` with policy and clause", seen.startswith("policy enterpage: Billing"), seen)
    checks.note(f"{LATE}, who paid, is left alone", _untouched(site, marker), _power(LATE))


def _untouched(site: Site, marker: str, *, seconds: float = 60.0) -> bool:
    """Whether the guest that was paid for runs, and has what its customer wrote. One that just started is waited for."""
    address, until = sight.address(site, LATE), time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            return tiny.show(address, WRITTEN_AT, len(marker)) == marker.encode() and _power(LATE) == "running"
        except OSError:
            time.sleep(0.5)
    return False


def _ahead(site: Site, service: str) -> list[dict[str, Any]]:
    """What the forecast says of a service."""
    items = site.ask("forecast", "--service", service)["items"]
    return [act for item in items for act in item["acts"]]


def _power(service: str) -> str:
    return virsh("domstate", guest(service)).stdout.strip()


def _powers(claim: str, wanted: dict[str, str], checks: Checks) -> None:
    seen = {service: _power(service) for service in wanted}
    checks.note(claim, seen == wanted, ", ".join(f"{service} {power}" for service, power in seen.items()))


def _about(messages: list[dict[str, Any]]) -> list[str]:
    return [str(message["data"]["service_id"]) for message in messages]


def _until(look: Callable[[], list[dict[str, Any]]], *, seconds: float = 20.0) -> list[dict[str, Any]]:
    """What is seen once it is there, or in the end."""
    until = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < until:
        time.sleep(0.2)
    return found
