"""Starting and stopping guests, and waiting until it is true."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import libvirt
import libvirt_qemu

from orchestrator.domain.errors import PermanentDriverError, Refused, TransientDriverError, WrongState
from orchestrator.drivers.libvirt.connection import Budget, Connection, Session
from orchestrator.drivers.libvirt.domains import domain_facts, power_state, require
from orchestrator.drivers.libvirt.errors import code_of, hook_words
from orchestrator.drivers.libvirt.guest_xml import read_domain
from orchestrator.ports.hypervisor import GuestFacts, GuestMark, Power, PowerAction

POLL_SECONDS = 0.5
ASK_AGAIN_SECONDS = 4.0  # a guest that still boots does not hear the first request
PING_SECONDS = 5
# Newer bindings have a code of its own for an agent that hears and does not answer.
AGENT_COMMAND_TIMEOUT: int = getattr(libvirt, "VIR_ERR_AGENT_COMMAND_TIMEOUT", libvirt.VIR_ERR_AGENT_UNRESPONSIVE)
OFF = (Power.STOPPED, Power.CRASHED)


def act(connection: Connection, name: str, action: PowerAction, *, deadline: float) -> GuestFacts:
    """Carry out the action and return when it took effect."""
    budget = connection.budget(deadline)
    act_of: dict[PowerAction, Callable[[Connection, str, Budget], None]] = {
        PowerAction.START: _start,
        PowerAction.SHUTDOWN: _shut_down,
        PowerAction.DESTROY: _destroy,
        PowerAction.REBOOT: _reboot,
        PowerAction.RESET: _reset,
    }
    act_of[action](connection, name, budget)
    return connection.run(
        f"looking at {name}", lambda session: domain_facts(require(session, name)), deadline=max(1.0, budget.remaining)
    )


def _start(connection: Connection, name: str, budget: Budget) -> None:
    connection.run(f"starting {name}", lambda session: _start_domain(require(session, name), name), deadline=budget.remaining)


def _start_domain(domain: Any, name: str) -> None:
    """Start it, or let a paused one go on; whether it may start is decided by the host's hook, not here."""
    mark = read_domain(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)).mark
    power = power_state(domain)
    if power is Power.PAUSED:
        if mark is not None and mark.holds:  # no hook runs when a paused guest goes on
            raise Refused(f"{name} is paused and held for {', '.join(mark.holds)}")
        domain.resume()
    elif power is not Power.RUNNING:
        try:
            domain.create()
        except libvirt.libvirtError as error:
            if code_of(error) == libvirt.VIR_ERR_HOOK_SCRIPT_FAILED:
                raise _hook_refusal(error, name, mark) from error
            if code_of(error) == libvirt.VIR_ERR_OPERATION_INVALID and domain.isActive():
                return  # somebody else was faster
            raise


def _hook_refusal(error: libvirt.libvirtError, name: str, mark: GuestMark | None) -> Exception:
    words = hook_words(error.get_error_message() or "")
    if mark is not None and mark.holds:
        return Refused(words, guest=name, holds=list(mark.holds))
    return PermanentDriverError(f"a hook of the host failed for {name}, which is not held: {words}")


def _shut_down(connection: Connection, name: str, budget: Budget) -> None:
    """Ask the guest, again from time to time, until it is off."""

    def ask(session: Session) -> None:
        domain = require(session, name)
        try:
            if power_state(domain) is not Power.STOPPED:
                domain.shutdown()
        except libvirt.libvirtError as error:
            if code_of(error) not in (libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_AGENT_UNRESPONSIVE):
                raise

    while not budget.passed:
        connection.run(f"asking {name} to shut down", ask, deadline=budget.remaining)
        if _off_within(connection, name, budget, seconds=ASK_AGAIN_SECONDS):
            return
    raise TransientDriverError(f"{name} did not shut down in the time it was given")


def _off_within(connection: Connection, name: str, budget: Budget, *, seconds: float) -> bool:
    waited = 0.0
    while waited < seconds and not budget.passed:
        power = connection.run(
            f"looking at {name}", lambda session: power_state(require(session, name)), deadline=max(1.0, budget.remaining)
        )
        if power in OFF:
            return True
        budget.sleep(POLL_SECONDS)
        waited += POLL_SECONDS
    return False


def _destroy(connection: Connection, name: str, budget: Budget) -> None:
    def pull(session: Session) -> None:
        domain = require(session, name)
        try:
            if domain.isActive():
                domain.destroy()
        except libvirt.libvirtError as error:
            if code_of(error) != libvirt.VIR_ERR_OPERATION_INVALID:  # it stopped by itself meanwhile
                raise

    connection.run(f"stopping {name}", pull, deadline=budget.remaining)
    if not _off_within(connection, name, budget, seconds=max(POLL_SECONDS, budget.remaining)):
        raise TransientDriverError(f"{name} still runs after it was destroyed")


def _reboot(connection: Connection, name: str, budget: Budget) -> None:
    """Ask for a reboot and wait for libvirt's word that the guest went through its reset."""
    seen = threading.Event()

    def ask(session: Session) -> tuple[Any, int]:
        domain = _running(session, name)
        conn = session.conn
        watch = conn.domainEventRegisterAny(domain, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, lambda *_: seen.set(), None)
        try:
            domain.reboot()
        except libvirt.libvirtError:
            conn.domainEventDeregisterAny(watch)
            raise
        return conn, watch

    conn, watch = connection.run(f"rebooting {name}", ask, deadline=budget.remaining)
    came = seen.wait(budget.remaining)
    connection.run(f"rebooting {name}", lambda _session: _stop_watching(conn, watch), deadline=max(1.0, budget.remaining))
    if not came:
        raise TransientDriverError(f"{name} did not reboot in the time it was given")


def _stop_watching(conn: Any, watch: int) -> None:
    if conn.isAlive():
        conn.domainEventDeregisterAny(watch)


def _reset(connection: Connection, name: str, budget: Budget) -> None:
    connection.run(f"resetting {name}", lambda session: _running(session, name).reset(), deadline=budget.remaining)


def _running(session: Session, name: str) -> Any:
    domain = require(session, name)
    if power_state(domain) is not Power.RUNNING:
        raise WrongState(f"{name} does not run and cannot be restarted")
    return domain


def agent_ping(connection: Connection, name: str, *, deadline: float) -> bool:
    """Whether the agent inside the guest answers; a guest that is off, or has none, does not."""
    silent = (
        libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
        libvirt.VIR_ERR_AGENT_UNSYNCED,
        AGENT_COMMAND_TIMEOUT,
        libvirt.VIR_ERR_OPERATION_INVALID,
        libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
    )
    seconds = max(1, min(PING_SECONDS, int(deadline)))

    def ping(session: Session) -> bool:
        domain = require(session, name)
        try:
            answer = libvirt_qemu.qemuAgentCommand(domain, json.dumps({"execute": "guest-ping"}), seconds, 0)
        except libvirt.libvirtError as error:
            if code_of(error) in silent:
                return False
            raise
        return "return" in json.loads(answer)

    return connection.run(f"asking the agent of {name}", ping, deadline=deadline)
