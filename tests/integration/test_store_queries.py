from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import IntegrityError, StatementError

from orchestrator.domain.errors import AlreadyExists, EventConflict, NotFound, RequestError
from orchestrator.domain.plans import Node
from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Lifecycle, Refund, Service, ServiceFacts
from orchestrator.ports.hypervisor import NodeFacts
from orchestrator.store import certificates, commands, events, idempotency, nodes, services, settings, tokens
from orchestrator.store.database import Database
from orchestrator.store.events import EventRecord
from orchestrator.store.idempotency import KeptAnswer

NOW = datetime(2026, 1, 1, 12, 0, 0, 250000, tzinfo=UTC)
DEBT = Hold(reason=HoldReason.NONPAYMENT, effect=HoldEffect.STOP, by="event whmcs/e1", why="overdue", since=NOW)
LEGAL = Hold(
    reason=HoldReason.LEGAL,
    effect=HoldEffect.NO_ERASE,
    by="anna",
    why="court order",
    since=NOW + timedelta(days=1),
    evidence="case 7",
    until=NOW + timedelta(days=90),
)
SERVICE = Service(
    id="s1",
    client_id="c1",
    plan="vps-s",
    state=Lifecycle.ACTIVE,
    version=7,
    order_id="o1",
    domain="example.com",
    hostname="web1",
    template="debian",
    ssh_keys=("ssh-ed25519 AAAA one", "ssh-ed25519 BBBB two"),
    password_hash="$6$salt$hash",
    zone="z1",
    due_at=NOW,
    paid_until=NOW + timedelta(days=30),
    payments=3,
    refunds=(Refund("i1", NOW), Refund("i2", NOW + timedelta(days=3))),
    holds=(DEBT, LEGAL),
    created_at=NOW,
    point_of_no_return=NOW + timedelta(days=60),
    suspension_proven_at=NOW + timedelta(days=61),
)


def event(number: int, **changes: object) -> EventRecord:
    record = EventRecord(
        source="whmcs",
        id=f"evt_{number}",
        body_sha256="aa",
        body='{"ü": 1}',
        sent_at=NOW,
        received_at=NOW + timedelta(days=number),
        outcome="accepted",
        type="order.paid",
        service_id=f"s{number % 2}",
    )
    return replace(record, **changes)  # type: ignore[arg-type]  # a test's own words


class TestServices:
    def test_a_record_reads_back_whole(self, db: Database) -> None:
        with db.write() as conn:
            services.put(conn, SERVICE, now=NOW)
        with db.read() as conn:
            assert services.get(conn, "s1") == SERVICE
            assert services.get(conn, "s2") is None

    def test_a_change_replaces_the_record_and_its_holds_and_keeps_facts_and_birth(self, db: Database) -> None:
        changed = replace(SERVICE, holds=(LEGAL,), payments=4, created_at=None, due_at=None)
        with db.write() as conn:
            services.put(conn, SERVICE, now=NOW)
            services.set_facts(conn, "s1", ServiceFacts(node="n1", values={"guest": {"uuid": "u"}}), now=NOW)
            services.put(conn, changed, now=NOW + timedelta(days=9))
            assert services.get(conn, "s1") == replace(changed, created_at=NOW, node="n1")
            assert services.facts(conn, "s1") == ServiceFacts(node="n1", nodes_ever=("n1",), values={"guest": {"uuid": "u"}})

    def test_a_new_record_is_born_now(self, db: Database) -> None:
        with db.write() as conn:
            services.put(conn, Service(id="s1", client_id="c", plan="p"), now=NOW)
            found = services.get(conn, "s1")
        assert found is not None
        assert found.created_at == NOW

    def test_a_node_once_known_is_never_forgotten(self, db: Database) -> None:
        with db.write() as conn:
            services.put(conn, SERVICE, now=NOW)
            services.set_facts(conn, "s1", ServiceFacts(node="n1"), now=NOW)
            services.set_facts(conn, "s1", ServiceFacts(node="n2"), now=NOW + timedelta(hours=1))
            services.set_facts(conn, "s1", ServiceFacts(), now=NOW + timedelta(hours=2))
            found = services.facts(conn, "s1")
        assert found == ServiceFacts(node="", nodes_ever=("n1", "n2"))

    def test_an_unknown_service_has_no_facts(self, db: Database) -> None:
        with db.read() as conn:
            assert services.facts(conn, "s1") == ServiceFacts()

    def test_pages_by_id_hold_every_service_once_while_others_come(self, db: Database) -> None:
        with db.write() as conn:
            for number in range(7):
                services.put(conn, replace(SERVICE, id=f"s{number}"), now=NOW)
        seen: list[str] = []
        after: str | None = None
        for _ in range(10):
            with db.write() as conn:
                rows, after = services.list_page(conn, limit=3, after=after)
                services.put(conn, replace(SERVICE, id=f"r{len(seen)}"), now=NOW)
            seen += [row.id for row in rows]
            assert all(row.holds == (DEBT, LEGAL) for row in rows)
            if after is None:
                break
        assert seen == [f"s{number}" for number in range(7)]

    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            ({"state": "active"}, ["s1"]),
            ({"state": "ordered"}, ["s2"]),
            ({"plan": "vps-s"}, ["s1", "s2"]),
            ({"plan": "vps-s", "state": "erased"}, []),
            ({"node": "n1"}, ["s2"]),
            ({"client_id": "c2"}, ["s2"]),
        ],
    )
    def test_filters_go_together(self, db: Database, filters: dict[str, str], expected: list[str]) -> None:
        with db.write() as conn:
            services.put(conn, SERVICE, now=NOW)
            services.put(conn, replace(SERVICE, id="s2", state=Lifecycle.ORDERED, client_id="c2"), now=NOW)
            services.set_facts(conn, "s2", ServiceFacts(node="n1"), now=NOW)
            rows, after = services.list_page(conn, **filters)  # type: ignore[arg-type]  # keywords out of the table
        assert [row.id for row in rows] == expected
        assert after is None

    def test_a_page_holds_those_with_a_hold_and_those_that_a_hold_stops(self, db: Database) -> None:
        with db.write() as conn:
            for name, standing in (("both", (DEBT, LEGAL)), ("debt", (DEBT,)), ("free", ()), ("legal", (LEGAL,))):
                services.put(conn, replace(SERVICE, id=name, holds=standing), now=NOW)
        with db.read() as conn:

            def found(hold: str | None = None, suspended: bool | None = None) -> list[str]:
                return [row.id for row in services.list_page(conn, hold=hold, suspended=suspended)[0]]

            assert found(suspended=True) == ["both", "debt"]
            assert found(suspended=False) == ["free", "legal"]
            assert found(hold="legal") == ["both", "legal"]
            assert found(hold="legal", suspended=False) == ["legal"]
            assert found() == ["both", "debt", "free", "legal"]

    def test_counts_by_plan_and_state(self, db: Database) -> None:
        with db.write() as conn:
            for number, state in enumerate((Lifecycle.ACTIVE, Lifecycle.ACTIVE, Lifecycle.ERASED)):
                services.put(conn, replace(SERVICE, id=f"s{number}", state=state), now=NOW)
            assert services.count(conn) == {("vps-s", "active"): 2, ("vps-s", "erased"): 1}

    def test_a_naive_time_never_reaches_the_store(self, db: Database) -> None:
        with pytest.raises(StatementError, match="naive"), db.write() as conn:
            services.put(conn, replace(SERVICE, due_at=datetime(2026, 1, 1)), now=NOW)  # noqa: DTZ001 - the point of it


class TestEvents:
    def test_an_event_reads_back_by_id_and_by_number(self, db: Database) -> None:
        with db.write() as conn:
            seq = events.add(conn, event(1, version=4, problem="p", detail="d", job_id="j"))
            kept = events.get(conn, "whmcs", "evt_1")
            assert kept == event(1, version=4, problem="p", detail="d", job_id="j", seq=seq)
            assert events.by_seq(conn, seq) == kept
            assert events.get(conn, "other", "evt_1") is None

    def test_one_id_of_one_source_is_kept_once(self, db: Database) -> None:
        with db.write() as conn:
            events.add(conn, event(1))
            events.add(conn, event(1, source="other"))
        with pytest.raises(IntegrityError), db.write() as conn:
            events.add(conn, event(1, body="another"))

    def test_outcome_and_replays_are_noted(self, db: Database) -> None:
        with db.write() as conn:
            seq = events.add(conn, event(1, outcome="dead", problem="no plan"))
            events.set_outcome(conn, seq, outcome="accepted", detail="it waits", job_id="j9")
            events.count_replay(conn, seq)
            assert events.by_seq(conn, seq) == event(1, seq=seq, detail="it waits", job_id="j9", replays=1)

    def test_the_newest_come_first_and_the_dead_can_be_picked(self, db: Database) -> None:
        with db.write() as conn:
            for number in range(5):
                events.add(conn, event(number, outcome="dead" if number in (1, 3) else "accepted"))
            first, after = events.list_page(conn, limit=3)
            second, end = events.list_page(conn, limit=3, after=after)
            dead, _ = events.list_page(conn, outcome="dead")
            of_s1, _ = events.list_page(conn, service_id="s1")
        assert [row.id for row in (*first, *second)] == ["evt_4", "evt_3", "evt_2", "evt_1", "evt_0"]
        assert end is None
        assert [row.id for row in dead] == ["evt_3", "evt_1"]
        assert [row.id for row in of_s1] == ["evt_3", "evt_1"]

    def test_old_events_are_forgotten_in_portions_but_never_the_dead(self, db: Database) -> None:
        with db.write() as conn:
            for number in range(6):
                events.add(conn, event(number, outcome="dead" if number == 0 else "accepted"))
            old = NOW + timedelta(days=4)
            assert events.forget(conn, before=old, most=2) == 2
            assert events.forget(conn, before=old, most=2) == 1
            assert events.forget(conn, before=old, most=2) == 0
            assert events.count(conn) == {"dead": 1, "accepted": 2}

    def test_a_number_is_never_given_twice(self, db: Database) -> None:
        with db.write() as conn:
            first = events.add(conn, event(1))
            events.forget(conn, before=NOW + timedelta(days=99))
            assert events.add(conn, event(2)) > first

    def test_a_page_is_never_larger_than_its_bound(self, db: Database) -> None:
        with db.write() as conn:
            for number in range(3):
                events.add(conn, event(number))
            assert len(events.list_page(conn, limit=0)[0]) == 1
            assert len(events.list_page(conn, limit=10**9)[0]) == 3


class TestCommands:
    def test_a_command_counts_once_per_service_action_and_version(self, db: Database) -> None:
        with db.write() as conn:
            commands.add(conn, "s1", "service.suspend", version=3, source="whmcs", event_id="e1")
            assert commands.seen(conn, "s1", "service.suspend", 3)
            assert not commands.seen(conn, "s1", "service.suspend", 4)
            assert not commands.seen(conn, "s1", "service.terminate", 3)
            assert not commands.seen(conn, "s2", "service.suspend", 3)
        with pytest.raises(IntegrityError), db.write() as conn:
            commands.add(conn, "s1", "service.suspend", version=3, source="whmcs", event_id="e2")


class TestSettings:
    def test_a_value_is_replaced_and_removed(self, db: Database) -> None:
        with db.write() as conn:
            settings.put(conn, "a", {"x": [1, None]}, now=NOW)
            settings.put(conn, "a", {"x": [2]}, now=NOW)
            assert settings.get(conn, "a") == {"x": [2]}
            settings.remove(conn, "a")
            settings.remove(conn, "a")
            assert settings.get(conn, "a") is None

    def test_the_first_freeze_stands_until_it_is_lifted(self, db: Database) -> None:
        with db.write() as conn:
            assert settings.freeze(conn) is None
            first = settings.set_freeze(conn, by="anna", why="wrong invoices", now=NOW)
            assert settings.set_freeze(conn, by="bob", why="me too", now=NOW + timedelta(hours=1)) == first
            assert settings.freeze(conn) == first
            settings.lift_freeze(conn)
            assert settings.freeze(conn) is None


class TestNodes:
    FACTS = NodeFacts(
        hostname="h1",
        cpus=8,
        memory_bytes=2**34,
        pool_capacity_bytes=2**40,
        pool_available_bytes=2**39,
        accelerated=True,
        libvirt_version="9.0.0",
        hypervisor_version="7.2.0",
        guests=3,
    )

    def test_enrolment_and_sight_make_one_record(self, db: Database) -> None:
        with db.write() as conn:
            assert nodes.get(conn, "n1") is None
            nodes.set_enrolled(conn, "n1", host_key="ssh-ed25519 AAAA", agent_version="1", agent_sha256="ff", now=NOW)
            nodes.set_seen(conn, "n1", self.FACTS, now=NOW)
            found = nodes.get(conn, "n1")
        assert found is not None
        assert (found.host_key, found.enrolled_at, found.up, found.seen_at) == ("ssh-ed25519 AAAA", NOW, True, NOW)
        assert found.facts["libvirt_version"] == "9.0.0"

    def test_an_unreachable_node_keeps_what_was_known_of_it(self, db: Database) -> None:
        with db.write() as conn:
            nodes.set_seen(conn, "n1", self.FACTS, now=NOW)
            nodes.set_unreachable(conn, "n1", "no route")
            (state,) = nodes.states(conn, (Node(name="n1", zone="z", address="192.0.2.1"),))
            assert [record.problem for record in nodes.list_all(conn)] == ["no route"]
        assert (state.up, state.enrolled, state.cpus, state.disk_bytes, state.seen_at) == (False, False, 8, 2**40, NOW)

    def test_only_declared_nodes_have_a_state(self, db: Database) -> None:
        with db.write() as conn:
            nodes.set_seen(conn, "gone", self.FACTS, now=NOW)
            assert nodes.states(conn, ()) == ()


class TestTokens:
    TOKEN = "t" * 40

    def test_a_token_is_found_by_itself_and_never_stored(self, db: Database) -> None:
        with db.write() as conn:
            record = tokens.add(conn, name="ci", role="operator", token=self.TOKEN, now=NOW)
            assert tokens.find(conn, self.TOKEN, now=NOW) == record
            assert tokens.find(conn, "x" * 40, now=NOW) is None
            assert tokens.find(conn, "\udcff", now=NOW) is None
            assert self.TOKEN not in str(conn.exec_driver_sql("SELECT * FROM tokens").all())

    def test_a_revoked_token_opens_nothing_and_its_name_stays_taken(self, db: Database) -> None:
        with db.write() as conn:
            tokens.add(conn, name="ci", role="operator", token=self.TOKEN, now=NOW)
            for hour in range(2):
                tokens.revoke(conn, "ci", now=NOW + timedelta(hours=hour))
            assert tokens.find(conn, self.TOKEN, now=NOW) is None
            assert [record.revoked_at for record in tokens.list_all(conn)] == [NOW]
        with pytest.raises(AlreadyExists), db.write() as conn:
            tokens.add(conn, name="ci", role="admin", token="u" * 40, now=NOW)
        with pytest.raises(NotFound), db.write() as conn:
            tokens.revoke(conn, "nobody", now=NOW)

    @pytest.mark.parametrize(("role", "token"), [("root", TOKEN), ("admin", "short")])
    def test_unknown_roles_and_guessable_tokens_are_refused(self, db: Database, role: str, token: str) -> None:
        with pytest.raises(RequestError), db.write() as conn:
            tokens.add(conn, name="ci", role=role, token=token, now=NOW)


class TestIdempotencyKeys:
    KEPT = KeptAnswer(status=202, answer={"job": "j1"})

    def test_the_first_answer_is_given_again_to_the_same_caller_and_request(self, db: Database) -> None:
        with db.write() as conn:
            assert idempotency.get(conn, who="ci", key="k", request_sha256="aa", now=NOW) is None
            idempotency.put(conn, who="ci", key="k", request_sha256="aa", kept=self.KEPT, now=NOW)
            assert idempotency.get(conn, who="ci", key="k", request_sha256="aa", now=NOW) == self.KEPT
            assert idempotency.get(conn, who="other", key="k", request_sha256="aa", now=NOW) is None

    def test_another_request_under_the_same_key_is_a_conflict(self, db: Database) -> None:
        with db.write() as conn:
            idempotency.put(conn, who="ci", key="k", request_sha256="aa", kept=self.KEPT, now=NOW)
        with pytest.raises(EventConflict), db.read() as conn:
            idempotency.get(conn, who="ci", key="k", request_sha256="bb", now=NOW)

    def test_a_key_is_free_again_after_a_day(self, db: Database) -> None:
        later = NOW + timedelta(hours=24)
        with db.write() as conn:
            idempotency.put(conn, who="ci", key="k", request_sha256="aa", kept=self.KEPT, now=NOW)
            assert idempotency.get(conn, who="ci", key="k", request_sha256="bb", now=later) is None
            idempotency.put(conn, who="ci", key="k", request_sha256="bb", kept=self.KEPT, now=later)
            assert idempotency.get(conn, who="ci", key="k", request_sha256="bb", now=later) == self.KEPT


class TestCertificates:
    def test_they_page_by_id_and_the_newest_of_a_service_is_known(self, db: Database) -> None:
        with db.write() as conn:
            for number in range(3):
                record = certificates.CertificateRecord(
                    id=f"wipe-j{number}",
                    service_id="s1",
                    job_id=f"j{number}",
                    certificate={"n": number},
                    created_at=NOW + timedelta(days=number),
                )
                certificates.add(conn, record)
            rows, after = certificates.list_page(conn, limit=2)
            rest, end = certificates.list_page(conn, limit=2, after=after, service_id="s1")
            newest = certificates.of_service(conn, "s1")
            assert certificates.get(conn, "wipe-j1") == rows[1]
            assert certificates.get(conn, "wipe-j9") is None
        assert [row.id for row in (*rows, *rest)] == ["wipe-j0", "wipe-j1", "wipe-j2"]
        assert end is None
        assert newest is not None
        assert newest.certificate == {"n": 2}
