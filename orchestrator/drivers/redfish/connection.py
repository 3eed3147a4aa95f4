"""Calls to one BMC: one at a time, not faster than it can bear, each ended by its deadline, over TLS with the pinned certificate.

sushy would repeat what was not answered in time, a reset included, and go on far beyond any deadline. Here each request is made
once: whether it is made again is decided by whoever sees first what came of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
import sushy
from requests.adapters import HTTPAdapter
from sushy import auth, connector
from sushy.resources.system.system import System

from orchestrator.domain.errors import ConfigError, OrchestratorError, PermanentDriverError, TransientDriverError
from orchestrator.drivers.calls import logged
from orchestrator.drivers.redfish.errors import translate
from orchestrator.ports.clock import Clock

T = TypeVar("T")

SECONDS_BETWEEN = 0.1
"""Seconds from one request's end to the next one's beginning: BMCs are small, and some restart when they are hurried."""
CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class _Pinned(HTTPAdapter):
    """The certificate is the one that was seen at enrolment, whoever signed it: BMCs sign theirs themselves."""

    def __init__(self, sha256: str) -> None:
        self._sha256 = sha256
        super().__init__(max_retries=0)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options, assert_fingerprint=self._sha256, assert_hostname=False)


class _Connector(connector.Connector):  # type: ignore[misc]
    """sushy's, with a pause between requests and an end to each."""

    def __init__(self, url: str, *, sha256: str, clock: Clock) -> None:
        # Whose certificate is pinned is asked for that one, whoever signed it; nobody else is believed without an authority.
        super().__init__(url, verify=not sha256, server_side_retries=1, server_side_retries_delay=1)
        self._clock = clock
        self._ends = 0.0
        self._next = 0.0
        if sha256:
            self._session.mount("https://", _Pinned(sha256))

    def begin(self, deadline: float) -> None:
        self._ends = self._clock.monotonic() + deadline

    def _op(self, method: str, path: str = "", **options: Any) -> requests.Response:
        now = self._clock.monotonic()
        self._clock.sleep(max(0.0, self._next - now))
        left = self._ends - self._clock.monotonic()
        if left <= 0:
            raise TransientDriverError("the time for the call is over")
        options["timeout"] = (min(left, CONNECT_SECONDS), min(left, READ_SECONDS))
        try:
            answer: requests.Response = super()._op(method, path, **options)
            return answer
        finally:
            self._next = self._clock.monotonic() + SECONDS_BETWEEN


class Connection:
    """What is known of a BMC, and the one call at a time that it bears. ``system``: its path; '' = the only one that it has.

    ``certificate_sha256``: of the certificate's DER form, 64 hexadecimal digits. Raises ConfigError for an address without TLS
    that is not this machine's own.
    """

    def __init__(
        self, url: str, *, user: str, password: str, certificate_sha256: str, system: str = "", machine: str, clock: Clock
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
            raise ConfigError(f"the BMC of {machine} would be asked without TLS", hint=f"write https:// before {parts.hostname}")
        if parts.scheme == "https" and not certificate_sha256:
            raise ConfigError(f"no certificate of the BMC of {machine} is pinned", hint="enrol the machine")
        self.machine = machine
        self.clock = clock
        self._url = url
        self._user, self._password = user, password
        self._sha256 = certificate_sha256
        self._system = system
        self._turn = threading.Lock()

    def run(self, doing: str, work: Callable[[System], T], *, deadline: float) -> T:
        """Do ``work`` with the machine as the BMC shows it now. ``doing`` begins the error's sentence. Raises our errors; with
        ``busy`` among an error's details nothing was asked of the BMC.

        What a call that was given up asked for may still take effect: look before acting again.
        """
        with logged(doing, by="redfish", node=self.machine):
            return self._in_a_thread(f"{doing} at the BMC of {self.machine}", work, deadline=deadline)

    def _in_a_thread(self, sentence: str, work: Callable[[System], T], *, deadline: float) -> T:
        began = self.clock.monotonic()
        if not self._turn.acquire(timeout=deadline):
            raise TransientDriverError(f"{sentence}: another call did not end within {deadline:g} s", busy=True)
        left = deadline - (self.clock.monotonic() - began)
        outcome: list[T] = []
        failure: list[BaseException] = []

        def call() -> None:
            try:
                outcome.append(work(self._open(left)))
            except BaseException as error:  # noqa: BLE001 - handed to the waiting caller, who raises it
                failure.append(error)
            finally:
                self._turn.release()

        # A thread, because a body that trickles in outlasts every timeout of the sockets.
        thread = threading.Thread(target=call, name=f"bmc-{self.machine}", daemon=True)
        thread.start()
        thread.join(left)
        if failure:
            raise _ours(failure[0], sentence) from failure[0]
        if not outcome:
            raise TransientDriverError(f"{sentence}: it did not answer within {deadline:g} s")
        return outcome[0]

    def _open(self, seconds: float) -> System:
        """Nothing is kept from one call to the next: sushy would go on telling what was."""
        conn = _Connector(self._url, sha256=self._sha256, clock=self.clock)
        conn.begin(seconds)
        root = sushy.Sushy(
            self._url, auth=auth.BasicAuth(username=self._user, password=self._password), connector=conn, public_connector=conn
        )
        if self._system:
            return root.get_system(self._system)
        members = root.get_system_collection().get_members()
        if len(members) != 1:
            raise PermanentDriverError(f"it has {len(members)} systems", hint="say in machines.yaml which of them is the machine")
        return members[0]


def _ours(error: BaseException, sentence: str) -> BaseException:
    if isinstance(error, OrchestratorError):
        return type(error)(f"{sentence}: {error.message}", hint=error.hint)
    return translate(error, sentence)
