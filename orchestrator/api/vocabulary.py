"""The body of a webhook, as billing systems write it: version 1 of the vocabulary (FIELD-NOTES section 4).

Read with ``parse`` after the signature held. The schema is strict: unknown fields, wrong types and times without a zone
are refused, because a misspelt ``paid_untill`` that is silently dropped is a payment that lifts nothing. What a sender wants
to add for itself goes into ``data.metadata``, which is kept with the event and never looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from orchestrator.api.account_schemas import AccountData
from orchestrator.config.problems import did_you_mean
from orchestrator.config.sentences import dotted, known_keys, sentence
from orchestrator.domain import specs
from orchestrator.domain.account_settings import AccountChange
from orchestrator.domain.errors import RequestError
from orchestrator.domain.events import VOCABULARY_VERSION, Event, EventType
from orchestrator.domain.services import SERVICE_ID

# Integers end in a signed 64-bit column.
MAX_VERSION = 2**63 - 1
_HINT = "the vocabulary is described in docs/webhooks.md"


# C0, DEL and C1; and what turns the direction of a line (Unicode Bidi_Control), so that it reads as something it is not.
CONTROLS = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
# The years as of other times.
_PERIOD = re.compile(r"(19[7-9][0-9]|[2-8][0-9]{3})-(0[1-9]|1[0-2])")
_CONTROL = re.compile(f"[{CONTROLS}]")


def _plain(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("control characters are not allowed")
    return text


def _by(rule: Callable[[str], str]) -> Callable[[str], str]:
    """A rule of the domain as a validator: the same that is applied when a guest is made, so that billing hears it now."""

    def check(text: str) -> str:
        if text:
            try:
                rule(text)
            except RequestError as exc:
                raise ValueError(exc.message) from None
        return text

    return check


def _service_id(text: str) -> str:
    if not SERVICE_ID.fullmatch(text):
        raise ValueError("1 to 48 letters, digits, '-' and '_', beginning with a letter or digit")
    return text


def _period(text: str) -> str:
    if text and not _PERIOD.fullmatch(text):
        raise ValueError("a month such as 2026-11 is expected")
    return text


def _dated(moment: datetime) -> datetime:
    if not 1970 <= moment.year <= 9000:
        raise ValueError("a time between the years 1970 and 9000 is expected")
    return moment


ServiceId = Annotated[str, AfterValidator(_service_id), Field(json_schema_extra={"pattern": f"^{SERVICE_ID.pattern}$"})]
Text = Annotated[str, StringConstraints(max_length=255), AfterValidator(_plain)]
Name = Annotated[str, StringConstraints(max_length=253), AfterValidator(_plain), AfterValidator(_by(specs.hostname))]
SshKey = Annotated[str, StringConstraints(max_length=16384), AfterValidator(_plain), AfterValidator(_by(specs.ssh_key))]
PasswordHash = Annotated[str, StringConstraints(max_length=512), AfterValidator(_by(specs.password_hash))]
Period = Annotated[str, AfterValidator(_period), Field(json_schema_extra={"pattern": _PERIOD.pattern})]
Moment = Annotated[AwareDatetime, AfterValidator(_dated)]

_REQUIRED: dict[EventType, tuple[str, ...]] = {
    EventType.ORDER_CREATED: ("client_id", "plan"),
    EventType.INVOICE_CHARGED_BACK: ("invoice_id",),
    EventType.INVOICE_DISPUTED: ("invoice_id",),
    EventType.INVOICE_DISPUTE_SETTLED: ("invoice_id", "upheld"),
    EventType.USAGE_TRAFFIC: ("period", "bytes"),
    EventType.SERVICE_CREATE: ("client_id", "plan"),
    EventType.TERMINATION_CONFIRMED: ("job_id",),
    EventType.TERMINATION_REFUSED: ("job_id",),
    EventType.SERVICE_CHANGE_PLAN: ("plan",),
    EventType.SERVICE_RESET_PASSWORD: ("password_hash",),
    EventType.SERVICE_SET_ACCOUNT: ("account",),
}


class EventData(BaseModel):
    """What the event is about. Only ``service_id`` is always needed; commands also need ``version``."""

    model_config = ConfigDict(extra="forbid", strict=True)

    service_id: ServiceId
    client_id: Text = ""
    order_id: Text = ""
    invoice_id: Text = ""
    plan: Text = ""
    domain: Name = ""
    hostname: Name = ""
    template: Text = ""
    zone: Text = ""
    ssh_keys: list[SshKey] = Field(default_factory=list, max_length=32)
    password_hash: PasswordHash = ""
    job_id: Text = ""
    reason: Text = ""
    due_at: Moment | None = None
    paid_until: Moment | None = None
    issued_at: Moment | None = None
    part: bool = False
    upheld: bool | None = None
    period: Period = ""
    bytes: int | None = Field(default=None, ge=0, le=MAX_VERSION)
    version: int | None = Field(default=None, ge=0, le=MAX_VERSION)
    confirmed: bool = False
    money_back: bool = False
    restart: Literal["", "never", "now", "window"] = ""
    account: AccountData | None = None
    metadata: dict[str, JsonValue] = Field(default_factory=dict)


class EventBody(BaseModel):
    """One event. ``vocabulary`` is the version of this schema; ``timestamp`` is when the event happened."""

    model_config = ConfigDict(extra="forbid", strict=True)

    vocabulary: Literal[1] = 1
    type: EventType
    timestamp: Moment | None = None
    data: EventData

    @field_validator("type", mode="before")
    @classmethod
    def _known_type(cls, value: Any) -> Any:
        if isinstance(value, str) and value not in list(EventType):
            near = did_you_mean(value, EventType)
            raise ValueError(f"no such event{near}: one of version {VOCABULARY_VERSION} is {', '.join(EventType)}")
        # Strict mode takes members only, not their values, when the input is already Python.
        return EventType(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _complete(self) -> EventBody:
        missing = [name for name in _REQUIRED.get(self.type, ()) if getattr(self.data, name) in (None, "")]
        if self.type.is_command and self.data.version is None:
            missing.append("version")
        if missing:
            raise ValueError(f"{self.type} needs data.{', data.'.join(missing)}")
        if self.type.is_command and self.data.version == 0:
            raise ValueError(f"{self.type} needs a data.version from 1 on: 0 is never newer than what was carried out")
        return self


class _Ambiguous(ValueError):
    """JSON that different readers read differently (RFC 8259, section 4), or that is none."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Ambiguous("a member is named twice")
    return found


def _no_number(name: str) -> None:
    raise _Ambiguous(f"{name} is not JSON")


def _refuse_ambiguous(body: bytes) -> None:
    """What is no JSON at all is left to the schema, which says where."""
    try:
        json.loads(body, object_pairs_hook=_once, parse_constant=_no_number)
    except _Ambiguous as exc:
        raise RequestError(
            f"the event cannot be read: body: {exc}", hint=_HINT, problems=[{"path": "body", "sentence": str(exc)}]
        ) from None
    except (ValueError, RecursionError):
        return


def parse(body: bytes, *, source: str, message_id: str, sent_at: datetime) -> Event:
    """The event in a verified body. ``sent_at`` (aware) stands where the body has no ``timestamp`` of its own.

    Raises RequestError with details["problems"] = [{path, sentence}], in the words of the sender's own fields.
    """
    _refuse_ambiguous(body)
    try:
        read = EventBody.model_validate_json(body)
    except ValidationError as exc:
        problems = [
            {
                "path": dotted(error["loc"]),
                "sentence": sentence(error, known=known_keys(EventBody, error["loc"][:-1])),
            }
            for error in exc.errors(include_url=False)
        ]
        first = problems[0]
        raise RequestError(
            f"the event cannot be read: {first['path']}: {first['sentence']}",
            hint=_HINT,
            problems=problems,
        ) from None
    fields = read.data.model_dump(exclude={"metadata", "ssh_keys", "account"})
    return Event(
        source=source,
        id=message_id,
        type=read.type,
        sent_at=read.timestamp or sent_at,
        ssh_keys=tuple(read.data.ssh_keys),
        account=None if read.data.account is None else _account(read.data.account),
        **fields,
    )


def _account(data: AccountData) -> AccountChange:
    """Told as every other field that cannot be used."""
    try:
        return data.change()
    except RequestError as exc:
        problem = {"path": "body.data.account", "sentence": exc.message}
        raise RequestError(f"the event cannot be read: data.account: {exc.message}", hint=exc.hint, problems=[problem]) from None
