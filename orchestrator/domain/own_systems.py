"""What a customer has done to the operating system of his guest or machine from outside of it: it is installed anew, its password
is set, or another one is booted beside it to rescue what is there.

Pure. What is asked for stands in the job's arguments, and on the record only when the job has ended well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

from orchestrator.domain import specs, wanted
from orchestrator.domain.errors import NotFound, RequestError
from orchestrator.domain.intents import RULE_HOLDS, RULE_LIFECYCLE, Intent, IntentKind
from orchestrator.domain.machines.testing import HardwareTest
from orchestrator.domain.plans import InstalledPlan, MachinePlan, Plan, PlanKind, Template
from orchestrator.domain.received import Received, refused
from orchestrator.domain.services import HoldEffect, HoldReason, Lifecycle, Service
from orchestrator.domain.terms import Terms

# The arguments of a job: the template that it is installed from ('' = the one it has), and whether all disks of a machine are
# erased first.
TEMPLATE = "template"
ALL_DISKS = "all_disks"
# The hash of the new password; and who may log in to the rescue system (left out: whose keys the service has).
PASSWORD = "password_hash"  # noqa: S105 - the name of an argument
KEYS = "ssh_keys"
# Whether a guest may send to port 25 of others: a word of ``Mail``.
MAIL = "mail"

ON_SYSTEMS = frozenset(
    {
        *(IntentKind.REINSTALL, IntentKind.RESET_PASSWORD, IntentKind.RESCUE, IntentKind.LEAVE_RESCUE),
        IntentKind.TEST_HARDWARE,
        IntentKind.SET_KEYS,
        IntentKind.SET_MAIL,
    }
)
# What is done to one that is suspended, too: it is in force when it comes back.
HELD_TOO = frozenset({IntentKind.SET_MAIL})
# The fact of a service whose machine runs the rescue system.
RESCUED = "rescue"
# Jobs that leave the machine as it runs.
_LEAVES_IT_ON = frozenset({IntentKind.CHECK, IntentKind.START})
_OF_GUESTS = frozenset({IntentKind.SET_KEYS, IntentKind.SET_MAIL})
# What there is in its place for a guest.
_OF_MACHINES = {
    IntentKind.RESCUE: "what a guest has lost is restored beside its disk, or it is installed anew",
    IntentKind.LEAVE_RESCUE: "no guest is ever in a rescue system",
    IntentKind.TEST_HARDWARE: "a guest has none of its own",
}


class Mail(StrEnum):
    """What is said of a service's outgoing mail."""

    OPEN = "open"
    CLOSED = "closed"
    PLAN = "plan"  # as its plan says

    @classmethod
    def of(cls, service: Service) -> Mail:
        return cls.PLAN if service.mail_out is None else cls.OPEN if service.mail_out else cls.CLOSED

    @property
    def out(self) -> bool | None:
        """As a service's record has it."""
        return None if self == Mail.PLAN else self == Mail.OPEN


def again(record: Service, kind: IntentKind, given: Mapping[str, object], *, who: str, why: str, terms: Terms) -> Received:
    """Decide an operator's command of one of these kinds, also from the arguments of its own job."""
    match kind:
        case IntentKind.REINSTALL:
            return reinstall(record, given, who=who, why=why, terms=terms)
        case IntentKind.RESET_PASSWORD:
            return reset_password(record, given, who=who, why=why, terms=terms)
        case IntentKind.RESCUE:
            return rescue(record, given, who=who, why=why, terms=terms)
        case IntentKind.SET_KEYS:
            return set_keys(record, given, who=who, why=why, terms=terms)
        case IntentKind.SET_MAIL:
            return set_mail(record, given, who=who, why=why, terms=terms)
        case _:
            arguments = HardwareTest.of(given).arguments() if kind == IntentKind.TEST_HARDWARE else {}
            return _hindered(kind, record, terms) or _received(kind, record, arguments, who=who, why=why)


def reinstall(record: Service, given: Mapping[str, object], *, who: str, why: str, terms: Terms) -> Received:
    """Install its system anew. That the template is declared and sold with its plan is asked for besides (``installable``)."""
    every = bool(given.get(ALL_DISKS))
    hindered = _hindered(IntentKind.REINSTALL, record, terms)
    if hindered is not None:
        return hindered
    if not record.erasable:
        names = ", ".join(sorted(hold.reason.value for hold in record.holds if _keeps(hold.effect, hold.reason)))
        return refused(record, f"its data may not be destroyed: held for {names}", RULE_HOLDS)
    if every and terms.kind != PlanKind.DEDICATED:
        return refused(record, "a guest has one disk: it is made anew, and nothing else is there to erase", RULE_LIFECYCLE)
    arguments = {TEMPLATE: str(given.get(TEMPLATE, "")), ALL_DISKS: every, "limited": record.throttled}
    return _received(IntentKind.REINSTALL, record, arguments, who=who, why=why)


def reset_password(record: Service, given: Mapping[str, object], *, who: str, why: str, terms: Terms) -> Received:
    """Set the password of root. Raises RequestError where it is not given as a hash."""
    hashed = specs.password_hash(str(given.get(PASSWORD, "")))
    hindered = _hindered(IntentKind.RESET_PASSWORD, record, terms)
    if hindered is not None:
        return hindered
    if not hashed:
        raise RequestError("the hash of the new password is missing", hint="mkpasswd -m yescrypt, or openssl passwd -6")
    return _received(IntentKind.RESET_PASSWORD, record, {PASSWORD: hashed}, who=who, why=why)


def set_keys(record: Service, given: Mapping[str, object], *, who: str, why: str, terms: Terms) -> Received:
    """Let these keys log in to a guest, and none that were ours before. Raises RequestError for what is none, and where none is
    given."""
    keys = _keys(given)
    hindered = _hindered(IntentKind.SET_KEYS, record, terms)
    if hindered is not None:
        return hindered
    if terms.kind == PlanKind.DEDICATED:
        instead = "nothing of ours runs in a machine's system: log in by its rescue system, or reset its password"
        return refused(record, f"set-keys is for guests: {instead}", RULE_LIFECYCLE)
    if not keys:
        raise RequestError("no SSH key is given: nobody could log in", hint="one line as in id_ed25519.pub")
    return _received(IntentKind.SET_KEYS, record, {KEYS: keys}, who=who, why=why)


def set_mail(record: Service, given: Mapping[str, object], *, who: str, why: str, terms: Terms) -> Received:
    """Let a guest send to port 25 of others, or not. Raises RequestError where no word for it is given."""
    said = str(given.get(MAIL, ""))
    if said not in set(Mail):
        raise RequestError(f"{said!r} is no word for outgoing mail", hint=" or ".join(Mail))
    hindered = _hindered(IntentKind.SET_MAIL, record, terms)
    if hindered is not None:
        return hindered
    if terms.kind == PlanKind.DEDICATED:
        return refused(record, "set-mail is for guests: a machine's network is not filtered by its node", RULE_LIFECYCLE)
    return _received(IntentKind.SET_MAIL, record, {MAIL: said}, who=who, why=why)


def _keys(given: Mapping[str, object]) -> list[str]:
    """Those of the arguments, each once, as they go into authorized_keys. Raises RequestError for what is none."""
    lines = given.get(KEYS)
    return list(dict.fromkeys(specs.ssh_key(str(line)) for line in lines)) if isinstance(lines, list | tuple) else []


def rescue(record: Service, given: Mapping[str, object], *, who: str, why: str, terms: Terms) -> Received:
    """Boot it into a rescue system that these keys may log in to, or the service's own. Raises RequestError for what is none."""
    keys = _keys(given) or list(specs.ssh_keys_of(record))
    hindered = _hindered(IntentKind.RESCUE, record, terms)
    if hindered is not None:
        return hindered
    if not keys:
        return refused(record, "it has no SSH key, and none was given: nobody could log in", RULE_LIFECYCLE)
    return _received(IntentKind.RESCUE, record, {KEYS: keys}, who=who, why=why)


def installable(service: Service, plan: Plan | None, templates: Mapping[str, Template]) -> None:
    """Return where the service, as it is to become, can be installed.

    Raises NotFound where plan or template are not declared, RequestError where they do not go together.
    """
    if not isinstance(plan, InstalledPlan):
        raise NotFound(f"there is no plan '{service.plan}' any more", hint="add it to plans/, restart the controller")
    wanted.spec(service, plan, templates)
    template = wanted.template_of(service, plan, templates)
    if isinstance(plan, MachinePlan) and template.format != "raw":
        raise RequestError(
            f"template {template.name} is {template.format}: a machine is written from a raw image",
            hint="qemu-img convert -O raw, and declare that file under another name",
        )


def moving(service: Service, kind: IntentKind, arguments: Mapping[str, object]) -> Service:
    """The service that a job of the kind makes of it."""
    if kind == IntentKind.REINSTALL and arguments.get(TEMPLATE):
        return replace(service, template=str(arguments[TEMPLATE]))
    if kind == IntentKind.RESET_PASSWORD and arguments.get(PASSWORD):
        return replace(service, password_hash=str(arguments[PASSWORD]))
    if kind == IntentKind.SET_KEYS:
        return replace(service, ssh_keys=tuple(_keys(arguments)))
    if kind == IntentKind.SET_MAIL:
        return replace(service, mail_out=Mail(str(arguments[MAIL])).out)
    return service


def after_job(service: Service, kind: IntentKind, arguments: Mapping[str, object], *, ended_well: bool) -> Service:
    """The record when the job is over; the same job's again changes nothing."""
    return moving(service, kind, arguments) if ended_well else service


def rescued(known: Mapping[str, Any], kind: IntentKind, *, begun: bool) -> dict[str, Any]:
    """What is known of the service's things after a job: whatever has switched its machine has ended its rescue system."""
    ends = begun and kind not in _LEAVES_IT_ON
    return {name: value for name, value in known.items() if not (ends and name == RESCUED)}


def _received(kind: IntentKind, record: Service, arguments: Mapping[str, object], *, who: str, why: str) -> Received:
    return Received(service=record, decision=Intent.on(kind, record, reason=why, who=who, arguments=arguments))


def _hindered(kind: IntentKind, record: Service, terms: Terms) -> Received | None:
    """Why it is not done to a service of this kind, or in this state."""
    if terms.kind == PlanKind.HOSTING:
        whom = "guests" if kind in _OF_GUESTS else "dedicated machines" if kind in _OF_MACHINES else "guests and machines"
        apart = f"{kind} is for {whom}: an account has no operating system of its own"
        return refused(record, apart, RULE_LIFECYCLE)
    if terms.kind != PlanKind.DEDICATED and kind in _OF_MACHINES:
        return refused(record, f"{kind} is for dedicated machines: {_OF_MACHINES[kind]}", RULE_LIFECYCLE)
    if record.state != Lifecycle.ACTIVE:
        return refused(record, f"it is {record.state}: {kind} needs an active service", RULE_LIFECYCLE)
    if record.stopped and kind not in HELD_TOO:
        return refused(record, f"it is suspended, held for {', '.join(record.stop_reasons)}", RULE_HOLDS)
    return None


def _keeps(effect: HoldEffect, reason: HoldReason) -> bool:
    return effect == HoldEffect.NO_ERASE or reason == HoldReason.LEGAL
