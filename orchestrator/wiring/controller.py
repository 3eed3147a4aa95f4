"""The controller: everything that runs in one process, put together."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version

from agents.build import bundle
from orchestrator.api.context import ApiContext
from orchestrator.api.scrape import Scrape
from orchestrator.api.tally import TALLY_SECONDS, Tally
from orchestrator.api.vocabulary import parse
from orchestrator.config.model import Config, Settings
from orchestrator.config.policy_stored import from_store, to_store
from orchestrator.domain.playbooks import Playbook
from orchestrator.drivers.fake.deployments import FakeDeployments
from orchestrator.drivers.local import tls
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.drivers.local.keys import LocalSecrets
from orchestrator.drivers.local.notifier import HttpNotifier
from orchestrator.drivers.ssh import ensure_identity
from orchestrator.engine import Catalog, Engine, EngineSettings
from orchestrator.engine.consoles import Consoles
from orchestrator.engine.inspecting import Inspecting
from orchestrator.engine.inventory import Inventory
from orchestrator.engine.machine_watch import MachineWatch
from orchestrator.engine.settings import PolicyTexts
from orchestrator.engine.sweep import Beat
from orchestrator.engine.testing import HardwareTests
from orchestrator.engine.watch import NodeWatch
from orchestrator.observe.metrics import Metrics
from orchestrator.ports.clock import Clock
from orchestrator.steps.base import Ports
from orchestrator.steps.registry import STEPS
from orchestrator.store import overview
from orchestrator.store.account_uids import StoreAccountUids
from orchestrator.store.address_pool import StoreAddressPool
from orchestrator.store.fence import StoreFence
from orchestrator.store.ledger import StoreLedger
from orchestrator.store.machines import StoreMachinePool
from orchestrator.store.site_certificates import StoreSiteCertificates
from orchestrator.wiring import calendar_of, database_of
from orchestrator.wiring.backups import backup_book, node_backups, windows_of
from orchestrator.wiring.deploy import DeploymentsByMachine, store_deployments
from orchestrator.wiring.identity import identity_of
from orchestrator.wiring.links import Links
from orchestrator.wiring.machines import MachineLinks
from orchestrator.wiring.probe import WriteProbe
from orchestrator.wiring.state import state_copying

WATCH_SECONDS = 15.0
# BMCs are small, and a look at one takes a dozen requests.
MACHINE_WATCH_SECONDS = 60.0
INSPECTING_SECONDS = 15.0
# How often is looked whether a copy of the controller's own state is due.
STATE_SECONDS = 60.0


_log = logging.getLogger(__name__)


class Controller:
    """Everything that runs in one controller process. ``start`` before the API is served, ``stop`` after.

    ``at``, ``clock``: see ``wiring.build``.
    """

    def __init__(
        self,
        config: Config,
        playbooks: Mapping[str, Playbook],
        *,
        at: Callable[[str], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        settings = config.settings
        self.config = config
        self.clock: Clock = clock or SystemClock()
        self.db = database_of(settings)
        self.playbooks = playbooks
        self.secrets = LocalSecrets(settings.state_dir, {source.source: source.secret_files for source in settings.billing})
        # What waits for a node waits in the machine's time, whatever clock deadlines go by.
        self.links = Links(
            config, self.db, clock=SystemClock(), secrets=self.secrets, identity=identity_of(settings), bundle=bundle()
        )
        self.bmcs = MachineLinks(config, self.db, clock=SystemClock())
        self.machines = StoreMachinePool(self.db, config.machines, self.clock)
        self.addresses = StoreAddressPool(self.db, config.ranges, self.clock, settings.address_cool_down)
        self.ledger = StoreLedger(self.db, config.nodes, self.clock)
        self.book = backup_book(config, self.db, self.secrets, self.clock)
        self.desk_book = store_deployments(config, self.db, self.clock)
        world = self.bmcs.world
        self.deployments = DeploymentsByMachine(
            config.machines, real=self.desk_book, simulated=None if world is None else FakeDeployments(world, self.clock)
        )
        self._notifier = _notifier(settings, self.clock)
        self.catalog = Catalog(
            plans=config.plans,
            templates=config.templates,
            nodes=config.nodes,
            provider=settings.provider,
            policies=config.policies,
            calendar=calendar_of(config),
            asks_billing=self._notifier is not None,
            backups=node_backups(config),
            keep_restored=settings.backups.keep_restored,
            drills=settings.backups.drills,
            windows=windows_of(config, tells=self._notifier is not None),
            machines=config.machines,
            ranges=config.ranges,
        )
        own = settings.backups.state
        self.tally = Tally(self.db, self.catalog, self.clock)
        scrape = Scrape(
            self.db,
            catalog=self.catalog,
            addresses=self.addresses,
            clock=self.clock,
            posts=self._notifier is not None,
            state_every=None if own is None else own.every,
            tally=self.tally,
        )
        self.metrics = Metrics(snapshot=scrape.snapshot, services=scrape.services)
        self.engine = Engine(
            db=self.db,
            steps=STEPS,
            ports=self._ports(),
            playbooks=self.playbooks,
            catalog=self.catalog,
            settings=replace(_engine_settings(config), keys=self._fingerprint(), version=version("orchestrator")),
            parse=parse,
            policy_texts=PolicyTexts(to_store, from_store),
            notifier=self._notifier,
            on_step=self.metrics.step,
            on_delivery=self.metrics.delivery,
            lost_hypervisor=self.links.lost_hypervisor,
            **({} if at is None else {"at": at}),
        )
        self.watch = NodeWatch(self.db, config.nodes, self.links.node_facts, self.clock)
        self.machine_watch = MachineWatch(self.db, config.machines, self.bmcs.bmc, self.clock)
        self.inspecting = Inspecting(self.machines, self.bmcs.bmc, self.deployments, self.clock)
        self.testing = HardwareTests(self.db, self.machines, self.bmcs.bmc, self.deployments, self.clock)
        self.consoles = Consoles(
            self.db,
            self.catalog,
            self.links.consoles,
            SystemClock(),
            at_once=settings.consoles.at_once,
            idle=settings.consoles.idle,
        )
        self._ending = threading.Event()
        self.state = state_copying(config, self.db, ports=self._ports(), repositories=self.links.own, halting=self._ending)
        self._beats: list[Beat] = []

    def start(self, *, frozen: tuple[str, str] | None = None) -> None:
        """Take the state directory and begin to work. ``frozen`` and what is raised: see ``Engine.start``."""
        self.engine.start(frozen=frozen)
        self._tell_undeclared()
        self._beats = [
            self.engine.alone("node-watch", self.watch.once, seconds=WATCH_SECONDS),
            self.engine.alone("machine-watch", self.machine_watch.once, seconds=MACHINE_WATCH_SECONDS),
            self.engine.alone("inspecting", self.inspecting.once, seconds=INSPECTING_SECONDS),
            self.engine.alone("testing", self.testing.once, seconds=INSPECTING_SECONDS),
            Beat("tally", self.tally.once, seconds=TALLY_SECONDS),
        ]
        if self.state is not None:
            self._beats.append(self.engine.alone("state-copy", self.state.once, seconds=STATE_SECONDS))

    def _tell_undeclared(self) -> None:
        with self.db.read() as conn:
            found = overview.undeclared(conn, self.catalog.places)
        for name, service_ids in found.items():
            some = overview.some_of(service_ids)
            _log.error("%s is not declared any more, and has %s: nothing can be done to them", name, some)

    def stop(self) -> bool:
        """End; False where steps still run (see ``Engine.stop``)."""
        self._ending.set()
        self.consoles.close()
        drained = self.engine.stop()
        for beat in self._beats:
            beat.stop()
        self._beats = []
        self._let_go()
        if drained:
            self.db.close()
        return drained

    def close(self) -> None:
        """Let go of what a controller that was never started has opened."""
        self._let_go()
        self.db.close()

    def _let_go(self) -> None:
        self.links.close()
        self.bmcs.close()
        if self._notifier is not None:
            self._notifier.close()

    def api_context(self) -> ApiContext:
        """What the API works with."""
        return ApiContext(
            engine=self.engine,
            db=self.db,
            config=self.config,
            catalog=self.catalog,
            secrets=self.secrets,
            clock=self.clock,
            addresses=self.addresses,
            ledger=self.ledger,
            enrolment=self.links.enrolment,
            doctor=self.links.doctor,
            node_residue=self.links.node_residue,
            metrics=self.metrics,
            server_uid=os.getuid(),
            look=self.watch.look,
            testing=self.testing,
            consoles=self.consoles,
            inventory=Inventory(
                self.db,
                self.config.machines,
                access=self.bmcs.access,
                bmc=self.bmcs.bmc,
                look=self.machine_watch.look,
                clock=self.clock,
            ),
            problems=WriteProbe(self.db, self.clock).problems,
        )

    def _fingerprint(self) -> str:
        """Of every key that controllers of one database have in common."""
        settings = self.config.settings
        identity = identity_of(settings)
        parts = (self.secrets.fingerprint(), ensure_identity(identity) if identity.exists() else "")
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]

    def _ports(self) -> Ports:
        return Ports(
            hypervisor=self.links.hypervisor,
            sizes=self.links.sizes,
            access=self.links.access,
            volumes=self.links.volumes,
            agent=self.links.agent,
            meter=self.links.meter,
            repositories=self.links.repositories,
            keeper=self.links.keeper,
            book=self.book,
            exports=self.links.exports,
            hosting=self.links.hosting,
            bmc=self.bmcs.bmc,
            machines=self.machines,
            deployments=self.deployments,
            uids=StoreAccountUids(self.db, self.clock),
            certificates=StoreSiteCertificates(self.db, secrets=self.secrets, inspect=tls.inspect),
            reach=self.links.reach,
            addresses=self.addresses,
            ledger=self.ledger,
            fence=StoreFence(self.db, self.clock),
            secrets=self.secrets,
            clock=self.clock,
        )


def _engine_settings(config: Config) -> EngineSettings:
    settings = config.settings
    return EngineSettings(
        state_dir=settings.state_dir,
        limits=settings.brakes,
        workers=settings.job_threads,
        heavy_slots={node.name: node.heavy_slots for node in config.nodes},
        confirm_wait=settings.confirm_wait,
        keep_engine_rows=settings.keep_engine_rows,
        wait_for_nodes=settings.wait_for_nodes,
        keep_events=settings.keep_events,
        give_up_after=settings.give_up_after,
        keep_messages=settings.keep_messages,
    )


def _notifier(settings: Settings, clock: Clock) -> HttpNotifier | None:
    """What tells the billing system that is told of results."""
    told = settings.told
    if told is None or told.notify_secret_file is None:
        return None
    return HttpNotifier(told.notify_url, told.notify_secret_file, clock)
