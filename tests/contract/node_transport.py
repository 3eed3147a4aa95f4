"""What every NodeTransport and the agent behind it must do; a suite for one implementation inherits this."""

from __future__ import annotations

from abc import ABC, abstractmethod

import pytest

from orchestrator.domain.certificates import WipedVolume
from orchestrator.domain.errors import AlreadyExists, NotFound, OrchestratorError, PermanentDriverError, Refused
from orchestrator.ports.node_transport import NodeTransport

SECONDS = 60.0
UNKNOWN_UUID = "00000000-0000-4000-8000-000000000000"


class NodeTransportContract(ABC):
    """The fixture ``agent`` is a transport to a node with one storage pool."""

    @abstractmethod
    def put_volume(self, name: str) -> str:
        """A plain volume of some 1 MiB in the pool; its path on the node."""

    @abstractmethod
    def put_template(self, name: str) -> tuple[str, str]:
        """A template in the pool; its path and the SHA-256 of its file."""

    @abstractmethod
    def put_log(self, guest: str) -> str:
        """A log that libvirt left behind for a guest of that name; its path."""

    @abstractmethod
    def pool_path(self) -> str: ...

    @abstractmethod
    def bridge(self) -> str: ...

    def test_hello_says_who_answers(self, agent: NodeTransport) -> None:
        answer = agent.call("hello", {}, deadline=SECONDS)
        assert set(answer) == {"version", "sha256", "hostname", "python"}
        assert len(answer["sha256"]) == 64

    def test_doctor_names_every_requirement_with_what_to_do(self, agent: NodeTransport) -> None:
        answer = agent.call("doctor", {"pool_path": self.pool_path(), "bridge": self.bridge()}, deadline=SECONDS)
        assert isinstance(answer["accelerated"], bool)
        assert answer["requirements"]
        for row in answer["requirements"]:
            assert set(row) == {"name", "ok", "found", "mend", "package"}
            assert row["ok"] or row["mend"]

    def test_how_full_a_pool_is_comes_in_percent_of_its_data_and_of_its_books(self, agent: NodeTransport) -> None:
        answer = agent.call("pool-fill", {"path": self.pool_path()}, deadline=SECONDS)
        assert set(answer) == {"data_percent", "metadata_percent", "thin"}
        assert 0 <= answer["data_percent"] <= 100
        assert 0 <= answer["metadata_percent"] <= 100

    def test_an_unknown_command_is_a_permanent_error(self, agent: NodeTransport) -> None:
        with pytest.raises(PermanentDriverError):
            agent.call("no-such-command", {}, deadline=SECONDS)

    def test_a_template_is_compared_with_the_wanted_hash(self, agent: NodeTransport) -> None:
        path, sha256 = self.put_template("contract-template.qcow2")
        assert agent.call("template-check", {"path": path, "sha256": sha256}, deadline=SECONDS)["ok"] is True
        other = agent.call("template-check", {"path": path, "sha256": "0" * 64}, deadline=SECONDS)
        assert (other["ok"], other["sha256"]) == (False, sha256)

    def test_a_missing_template_is_not_found(self, agent: NodeTransport) -> None:
        with pytest.raises(NotFound):
            agent.call("template-check", {"path": f"{self.pool_path()}/none.qcow2", "sha256": "0" * 64}, deadline=SECONDS)

    def test_a_volume_is_made_once_and_then_there(self, agent: NodeTransport) -> None:
        path = f"{self.pool_path()}/orch.vps-1.root.j9.qcow2"
        request = {"path": path, "capacity_bytes": 1 << 20, "seconds": 60, "passphrase": "0123456789abcdef"}
        made = agent.call("volume-make", request, deadline=SECONDS)
        assert made.pop("allocated_bytes") > 0
        assert made == {"path": path, "capacity_bytes": 1 << 20, "encrypted": True, "backing_path": ""}
        assert agent.call("volume-state", {"path": path}, deadline=SECONDS)["state"] == "present"
        with pytest.raises(AlreadyExists, match="already there"):
            agent.call("volume-make", request, deadline=SECONDS)
        agent.call("volume-wipe", {"path": path, "method": "overwrite"}, deadline=SECONDS)

    def test_a_volume_of_no_service_or_of_a_missing_template_is_not_made(self, agent: NodeTransport) -> None:
        request = {"capacity_bytes": 1 << 20, "seconds": 60}
        path, stranger = (f"{self.pool_path()}/{name}" for name in ("orch.vps-1.root.j8.qcow2", "debian-2.qcow2"))
        with pytest.raises(NotFound):
            agent.call("volume-make", {**request, "path": path, "template": stranger}, deadline=SECONDS)
        assert agent.call("volume-state", {"path": path}, deadline=SECONDS)["state"] == "absent"
        with pytest.raises(Refused):
            agent.call("volume-make", {**request, "path": stranger}, deadline=SECONDS)

    def test_a_volume_is_present_then_wiped_then_absent(self, agent: NodeTransport) -> None:
        path = self.put_volume("orch.vps-1.root.j1.raw")
        assert agent.call("volume-state", {"path": path}, deadline=SECONDS)["state"] == "present"
        report = agent.call("volume-wipe", {"path": path, "method": "overwrite", "samples": 4}, deadline=SECONDS)
        assert agent.call("volume-state", {"path": path}, deadline=SECONDS)["state"] == "absent"
        wiped = WipedVolume.from_report(report, name="orch.vps-1.root.j1.raw", node="n1")
        assert wiped.method == "overwrite"
        assert wiped.bytes_overwritten >= 1024 * 1024
        assert len(wiped.samples) == 4
        assert all(s["sha256_before"] != s["sha256_after"] for s in wiped.samples)
        assert wiped.limits

    def test_wiping_again_is_harmless(self, agent: NodeTransport) -> None:
        path = self.put_volume("orch.vps-1.root.j2.raw")
        request = {"path": path, "method": "overwrite", "samples": 4}
        report = agent.call("volume-wipe", request, deadline=SECONDS)
        again = agent.call("volume-wipe", request, deadline=SECONDS)
        assert again == report or again == {"path": path, "absent": True}

    def test_what_was_never_there_is_absent(self, agent: NodeTransport) -> None:
        path = f"{self.pool_path()}/orch.vps-1.root.j3.raw"
        assert agent.call("volume-state", {"path": path}, deadline=SECONDS)["state"] == "absent"
        answer = agent.call("volume-wipe", {"path": path, "method": "overwrite", "samples": 4}, deadline=SECONDS)
        assert answer == {"path": path, "absent": True}

    def test_erasing_the_key_of_a_plain_volume_is_refused_and_leaves_it(self, agent: NodeTransport) -> None:
        path = self.put_volume("orch.vps-1.root.j4.raw")
        with pytest.raises(OrchestratorError):
            agent.call("volume-wipe", {"path": path, "method": "crypto-erase", "samples": 4}, deadline=SECONDS)
        assert agent.call("volume-state", {"path": path}, deadline=SECONDS)["state"] == "present"

    def test_an_unknown_way_of_wiping_is_refused_and_leaves_the_volume(self, agent: NodeTransport) -> None:
        path = self.put_volume("orch.vps-1.root.j5.raw")
        with pytest.raises(OrchestratorError):
            agent.call("volume-wipe", {"path": path, "method": "zero", "samples": 4}, deadline=SECONDS)
        assert agent.call("volume-state", {"path": path}, deadline=SECONDS)["state"] == "present"

    def test_progress_is_a_fraction_and_a_sentence(self, agent: NodeTransport) -> None:
        path = self.put_volume("orch.vps-1.root.j6.raw")
        heard: list[tuple[float, str]] = []
        request = {"path": path, "method": "overwrite", "samples": 4}
        agent.call("volume-wipe", request, deadline=SECONDS, progress=lambda fraction, said: heard.append((fraction, said)))
        assert heard
        assert all(0.0 <= fraction <= 1.0 and said for fraction, said in heard)

    def test_a_secret_that_is_not_there_is_absent(self, agent: NodeTransport) -> None:
        answer = agent.call("secret-wipe", {"uuid": UNKNOWN_UUID}, deadline=SECONDS)
        assert answer == {"uuid": UNKNOWN_UUID, "absent": True}

    def test_a_name_that_is_no_text_is_told_so_that_it_can_be_written_down(self, agent: NodeTransport) -> None:
        log = self.put_log("orch.vps-8.\udcff\x1b[31m\x9b")
        request = {"service_id": "vps-8", "pool_path": self.pool_path(), "clean": True}
        told = log.replace("\udcff", "\\xff").replace("\x1b", "\\x1b").replace("\x9b", "\\x9b")
        assert agent.call("residue", request, deadline=SECONDS) == {"found": [told], "removed": [told]}
        assert agent.call("residue", request, deadline=SECONDS) == {"found": [], "removed": []}

    def test_residue_is_found_cleaned_and_never_a_neighbours(self, agent: NodeTransport) -> None:
        ours, neighbours = self.put_log("orch.vps-7"), self.put_log("orch.vps-70")
        volume = self.put_volume("orch.vps-7.root.j1.raw")
        request = {"service_id": "vps-7", "pool_path": self.pool_path(), "clean": False}
        assert agent.call("residue", request, deadline=SECONDS) == {"found": sorted([ours, volume]), "removed": []}
        cleaned = agent.call("residue", {**request, "clean": True}, deadline=SECONDS)
        assert cleaned["removed"] == [ours]
        assert agent.call("residue", request, deadline=SECONDS)["found"] == [volume]
        neighbour = {**request, "service_id": "vps-70"}
        assert agent.call("residue", neighbour, deadline=SECONDS)["found"] == [neighbours]
