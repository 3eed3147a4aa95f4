"""The shape of orchestrator.yaml, nodes.yaml, templates.yaml and playbooks; the others have files of their own beside this one.

The JSON Schemas in configs/schemas/ and the checks at load come from these models. What concerns more than
one value (references between files, addresses inside their network) is in ``checks``.
"""

from __future__ import annotations

from datetime import time, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from orchestrator.config import backup_values as b
from orchestrator.config import fields as f
from orchestrator.domain.backups.offer import DRILLS, KEEP_RESTORED
from orchestrator.domain.playbooks import OnFailure


class File(BaseModel):
    """Unknown keys are errors; ``true`` is no number and ``1`` no text."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class BillingEntry(File):
    source: f.Name = Field(description="Name of the billing system; part of its webhook's path.")
    secret_files: list[f.PathText] = Field(
        min_length=1,
        max_length=8,
        description="Files that hold one webhook secret (whsec_…) each, newest first; all are accepted.",
    )
    notify_url: f.WebAddress = Field(
        default="", description="Where signed messages about jobs and notices are posted; '' = nowhere."
    )
    notify_secret_file: f.PathText | None = Field(default=None, description="File that holds the secret which signs them.")


class WebhooksSection(File):
    tolerance: f.Tolerance = Field(
        default=timedelta(minutes=5),
        json_schema_extra={"default": "5m"},
        description="How far a webhook's timestamp may be from now.",
    )
    body_limit: f.BodyLimit = Field(
        default=256 * 1024, json_schema_extra={"default": "256 KiB"}, description="Largest body of a request that is read."
    )
    keep: f.EventsKept = Field(
        default=timedelta(days=60),
        json_schema_extra={"default": "60d"},
        description="How long events are kept to recognise repeated ones.",
    )
    confirm_wait: f.ConfirmWait = Field(
        default=timedelta(days=3),
        json_schema_extra={"default": "3d"},
        description="How long billing has to confirm a termination before it is left to a person.",
    )


class MessagesSection(File):
    give_up_after: f.GivenUp = Field(
        default=timedelta(days=3),
        json_schema_extra={"default": "3d"},
        description="How long a message that is not taken is posted again and again; then it waits for a person.",
    )
    keep: f.Kept = Field(
        default=timedelta(days=400),
        json_schema_extra={"default": "400d"},
        description="How long messages that were taken are kept, with the record of every delivery.",
    )


class BrakesSection(File):
    suspensions_per_hour: int = Field(default=20, ge=0, le=100_000, description="More within an hour wait for 'job approve'.")
    terminations_per_hour: int = Field(default=5, ge=0, le=100_000, description="More within an hour wait for 'job approve'.")


class JobsSection(File):
    threads: int = Field(default=8, ge=1, le=64, description="Jobs that run at the same time.")
    keep: f.Kept = Field(
        default=timedelta(days=14),
        json_schema_extra={"default": "14d"},
        description="How long the engine's own records of finished jobs are kept.",
    )
    wait_for_nodes: f.NodeWait = Field(
        default=timedelta(minutes=30),
        json_schema_extra={"default": "30m"},
        description="How long a job waits for a node, a BMC or a backup target that cannot be reached, until it fails; 0s = not.",
    )


class TargetEntry(File):
    name: f.Name = Field(description="Name of the target, as nodes give it.")
    location: b.Location = Field(
        description="By which nodes reach it: a directory, sftp:user@host:/directory, rest:https://host:port/name/."
    )
    keeper: b.Location | Literal[""] = Field(
        default="", description="The controller's own way, by which alone things are deleted; '' = the nodes' own way deletes."
    )
    on_node: f.Name | Literal[""] = Field(default="", description="Node on whose disk it lies; '' = on that of no node.")
    user: b.RestUser = Field(default="", description="User of the rest-server.")
    secret_file: f.PathText | None = Field(default=None, description="File that holds the user's password.")
    ssh_key_file: f.PathText | None = Field(default=None, description="File with the private SSH key for sftp.")
    ssh_known_hosts_file: f.PathText | None = Field(default=None, description="File with the host keys of the SSH servers.")
    keeper_user: b.RestUser = Field(default="", description="User of the keeper's rest-server.")
    keeper_secret_file: f.PathText | None = Field(default=None, description="File that holds that user's password.")
    keeper_ssh_key_file: f.PathText | None = Field(default=None, description="File with the private SSH key of a keeper by sftp.")


class StateSection(File):
    target: f.Name = Field(description="Target that the copies go to.")
    key_file: f.PathText = Field(description="File with the key that opens them; keep a copy of it away from this machine.")
    every: f.StateInterval = Field(
        default=timedelta(days=1), json_schema_extra={"default": "24h"}, description="How often one is made."
    )
    keep: int = Field(default=7, ge=1, le=400, description="How many verified ones are kept.")
    on_own_machine: bool = Field(default=False, description="true = they may lie on the controller's own machine.")


class BackupsSection(File):
    targets: list[TargetEntry] = Field(default_factory=list, max_length=100, description="Where copies go.")
    opens: b.ClockTime = Field(
        default=time(0), json_schema_extra={"default": "00:00"}, description="From when on backups are begun, each day."
    )
    closes: b.ClockTime = Field(
        default=time(0), json_schema_extra={"default": "00:00"}, description="Until when; the same as 'opens' = all day."
    )
    slot: b.SlotLength = Field(
        default=timedelta(minutes=30), json_schema_extra={"default": "30m"}, description="How far apart backups of a node begin."
    )
    closed: list[b.WeekSpan] = Field(default_factory=list, max_length=50, description="Parts of the week in which none is made.")
    upload: b.KibRate = Field(default=0, description="What a run may send; 0 = no limit.")
    download: b.KibRate = Field(default=0, description="What a run may fetch; 0 = no limit.")
    niceness: int = Field(default=10, ge=0, le=19, description="How far a run stands back for the processor (nice).")
    io_priority: int = Field(default=7, ge=-1, le=7, description="Its turn at the disks, 7 the last; -1 = only when they idle.")
    keep_restored: f.Kept = Field(
        default=KEEP_RESTORED,
        json_schema_extra={"default": "7d"},
        description="How long a disk that a restore replaced is kept, and what was restored beside one.",
    )
    state: StateSection | None = Field(default=None, description="Copies of the controller's own state; left out: none are made.")
    drills: int = Field(
        default=DRILLS, ge=0, le=1000, description="Restore drills a week on each node, of services chosen at random; 0 = none."
    )


class DeploySection(File):
    listen: f.Listen = Field(
        min_length=1, description="host:port that dedicated machines and their BMCs are answered at, by TLS."
    )
    url: f.SecureAddress = Field(description="The same place as they reach it: https://…, at most 128 letters.")
    image: f.PathText = Field(description="The deploy image, as `orchestrator deploy-image build` has made it.")
    images: f.PathText = Field(description="Directory of the raw images that are written to machines.")


class TlsSection(File):
    certificate_file: f.PathText = Field(description="PEM: the certificate for `listen`, and those that lead to its authority.")
    key_file: f.PathText = Field(description="PEM: its private key, readable by the controller only.")


class LimitsSection(File):
    token_requests_per_minute: int = Field(
        default=1200, ge=0, le=1_000_000, strict=True, description="Of one token, and as many at once; 0 = no limit."
    )
    address_requests_per_minute: int = Field(
        default=2400,
        ge=0,
        le=1_000_000,
        strict=True,
        description="Of one address over TCP, but this machine's own; 0 = no limit.",
    )


class ConsolesSection(File):
    idle: f.ConsoleIdle = Field(
        default=timedelta(minutes=15),
        json_schema_extra={"default": "15m"},
        description="After so long without a key a console is closed.",
    )
    at_once: int = Field(default=8, ge=0, le=100, strict=True, description="Open at the same time on a controller; 0 = none.")


class MaintenanceSection(File):
    notice: f.RestartNotice = Field(
        default=timedelta(hours=24),
        json_schema_extra={"default": "24h"},
        description="So long before, at the least, customers hear of a planned restart.",
    )
    takes: f.RestartTakes = Field(
        default=timedelta(minutes=15),
        json_schema_extra={"default": "15m"},
        description="So long before the end of a window no restart is begun any more.",
    )


class OrchestratorFile(File):
    """orchestrator.yaml: the controller itself."""

    provider: f.Line = Field(min_length=1, description="Name of the hosting company, as customers know it.")
    timezone: f.TimeZone = Field(default="UTC", description="The provider's time zone (IANA name).")
    country: f.Country = Field(
        default="",
        description="Whose public holidays are no business days (ISO 3166-1); '' = nobody's.",
    )
    state_dir: f.PathText = Field(
        default="/var/lib/orchestrator", description="Directory of the database, the keys and the lock."
    )
    database_url: f.DatabaseUrl = Field(
        default="", description="'' = SQLite in state_dir/orchestrator.sqlite. Never with a password."
    )
    database_password_file: f.PathText | None = Field(
        default=None, description="File (mode 0600) with the password of PostgreSQL's user that database_url names."
    )
    socket: f.PathText = Field(default="/run/orchestrator/api.sock", description="Unix socket of the API.")
    listen: f.Listen = Field(default="", description="host:port of the API on TCP; '' = unix socket only.")
    tls: TlsSection | None = Field(default=None, description="By what `listen` speaks TLS; left out: plain HTTP.")
    limits: LimitsSection = Field(default_factory=LimitsSection, description="How much one caller may ask for over TCP.")
    consoles: ConsolesSection = Field(default_factory=ConsolesSection, description="Serial consoles of guests.")
    maintenance: MaintenanceSection = Field(default_factory=MaintenanceSection, description="Restarts in the windows of nodes.")
    billing: list[BillingEntry] = Field(default_factory=list, max_length=32, description="The billing systems that are heard.")
    webhooks: WebhooksSection = Field(default_factory=WebhooksSection, description="What is taken from billing systems.")
    messages: MessagesSection = Field(default_factory=MessagesSection, description="What billing systems are told.")
    brakes: BrakesSection = Field(default_factory=BrakesSection, description="How much may be suspended or destroyed unasked.")
    jobs: JobsSection = Field(default_factory=JobsSection, description="How jobs are run.")
    backups: BackupsSection = Field(default_factory=BackupsSection, description="Where and when copies of services are made.")
    deploy: DeploySection | None = Field(
        default=None, description="How dedicated machines are installed and erased; left out: none are."
    )
    address_cool_down: f.CoolDown = Field(
        default=timedelta(hours=24), json_schema_extra={"default": "24h"}, description="How long a released address stays unused."
    )


class ZoneEntry(File):
    name: f.Name = Field(description="Name of the zone.")
    description: f.Line = Field(default="", description="For people.")
    country: f.Country = Field(
        default="",
        description="Country it stands in (ISO 3166-1, two letters), for policies that keep data in one; '' = not said.",
    )


class NodeEntry(File):
    name: f.Name = Field(description="Name of the node.")
    zone: f.Name = Field(description="Zone it stands in.")
    kind: Literal["hypervisor", "hosting"] = Field(
        default="hypervisor", description="What it is for: guests, or accounts of shared hosting."
    )
    address: f.Host = Field(description="Host name or address that SSH connects to.")
    port: int = Field(default=22, ge=1, le=65535, description="Port of its SSH server.")
    user: f.User = Field(default="root", description="User that the controller logs in as.")
    driver: Literal["libvirt", "fake"] = Field(
        default="libvirt", description="'fake' is a simulated node, for trying things out."
    )
    libvirt_uri: f.LibvirtUri = Field(
        default="",
        description="'' = qemu+ssh to the address; qemu:///system for this machine, if its user is in the group libvirt.",
    )
    pool: f.Name = Field(default="default", description="libvirt storage pool of the guests' disks.")
    bridge: f.Bridge = Field(default="br0", description="Bridge that the guests are connected to.")
    cpu_ratio: f.Ratio = Field(default=4.0, description="vCPUs promised per CPU.")
    memory_ratio: f.Ratio = Field(default=1.0, description="Memory promised per memory left to guests.")
    disk_ratio: f.Ratio = Field(default=1.0, description="Disk promised per capacity of the pool.")
    reserved_memory: f.Size = Field(default=0, description="Memory that the node keeps for itself.")
    heavy_slots: int = Field(default=2, ge=1, le=64, description="Heavy steps (copies, wipes) at the same time.")
    maintenance: bool = Field(default=False, description="true = no new guests are placed here, and no backups made.")
    windows: list[b.WeekSpan] = Field(
        default_factory=list, max_length=50, description="Parts of the week in which its guests may be restarted."
    )
    backups: f.Name | Literal[""] = Field(default="", description="Target of its services' backups; '' = none are made.")
    backups_on_own_node: bool = Field(default=False, description="true = they may lie on the node itself.")
    backups_at_once: int = Field(default=1, ge=1, le=64, description="Backups of the node's services at the same time.")
    disk_watermark_percent: float = Field(
        default=90, gt=0, le=100, description="From how full on its pool takes nothing new, whatever is promised of it."
    )
    metadata_watermark_percent: float = Field(
        default=80, gt=0, le=100, description="The same of the pool's own books: its inodes, the metadata of a thin pool."
    )


class RangeEntry(File):
    name: f.Name = Field(description="Name of the range.")
    zone: f.Name = Field(description="Zone whose guests draw from it.")
    network: f.IpNetwork = Field(description="The network with its prefix length, as guests are told.")
    gateway: f.IpAddress = Field(description="Router; never given out.")
    first: f.IpAddress = Field(description="First address that may be given out.")
    last: f.IpAddress = Field(description="Last address that may be given out.")
    reserved: list[f.IpAddress] = Field(default_factory=list, max_length=1024, description="Addresses never given out.")
    dns: list[f.IpAddress] = Field(default_factory=list, max_length=8, description="Name servers, as guests are told.")


class NodesFile(File):
    """nodes.yaml: zones, hypervisors, hosting nodes and addresses."""

    zones: list[ZoneEntry] = Field(min_length=1, max_length=1000, description="The zones.")
    nodes: list[NodeEntry] = Field(default_factory=list, max_length=2000, description="The nodes.")
    address_ranges: list[RangeEntry] = Field(default_factory=list, max_length=2000, description="Addresses for guests.")


class TemplateEntry(File):
    name: f.Name = Field(description="Name of the template.")
    os: f.Line = Field(default="", description="What it is, for people.")
    volume: f.FileName = Field(min_length=1, description="File of the image in every node's pool.")
    sha256: f.Sha256 = Field(description="SHA-256 of that file.")
    size: f.DiskSize = Field(description="Virtual size of the image: the least a disk made of it can have.")
    format: Literal["qcow2", "raw"] = Field(default="qcow2", description="Format of the image.")
    kernel: f.FileName = Field(default="", description="Kernel file in the pool, for direct boot; '' = the image's boot loader.")
    initrd: f.FileName = Field(default="", description="Initramfs file in the pool, for direct boot.")
    kernel_arguments: f.Line = Field(default="", description="Kernel command line, for direct boot.")
    cloud_init: bool = Field(default=True, description="It reads a NoCloud seed.")
    agent: bool = Field(default=True, description="The QEMU guest agent runs in it.")
    ready: Literal["agent", "ssh", "running"] = Field(default="ssh", description="What shows that a guest of it is up.")


class TemplatesFile(File):
    """templates.yaml: the OS images on the nodes."""

    templates: list[TemplateEntry] = Field(max_length=1000, description="The templates; none where no guests are sold.")


class PlaybookEntry(File):
    id: f.Name | None = Field(default=None, description="Name for references; left out: the step's, dots as dashes.")
    step: f.Name = Field(description="The step to run.")
    with_: dict[str, Any] = Field(default_factory=dict, alias="with", description="Its arguments.")
    when: dict[str, Any] | None = Field(default=None, description="Run it only if this holds.")
    on_failure: Literal["undo", "halt", "continue"] = Field(default=OnFailure.UNDO.value, description="After it failed for good.")
    destructive: bool = Field(default=False, description="It destroys what cannot be brought back.")


class PlaybookFile(File):
    """playbooks/NAME.yaml: the steps of one intent for one kind of plan."""

    name: f.Name = Field(description="<kind>-<intent>, for dedicated machine-<intent>; the file is called so, too.")
    description: f.Line = Field(description="What it does, for people.")
    for_: Literal["vps", "hosting", "dedicated"] = Field(alias="for", description="The kind of plan it is for.")
    steps: list[PlaybookEntry] = Field(min_length=1, max_length=100, description="The steps, in order.")
