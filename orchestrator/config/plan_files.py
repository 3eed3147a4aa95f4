"""The shape of plans/NAME.yaml, for guests and for accounts; that of dedicated machines is in ``machine_files``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from orchestrator.config import fields as f
from orchestrator.config import policy_values as v
from orchestrator.config.files import File
from orchestrator.domain.plans import LIMITED_CPU, LIMITED_NETWORK


class SoldFile(File):
    """What every plans/NAME.yaml says, whatever is sold by it."""

    name: f.Name = Field(description="Name of the plan; the file is called so, too.")
    kind: str = Field(description="What the customer gets.")
    description: f.Line = Field(default="", description="For people.")
    zones: list[f.Name] = Field(default_factory=list, max_length=200, description="Zones it is sold in; empty = all.")
    traffic: f.Traffic | None = Field(default=None, description="Traffic in a calendar month; left out: as much as one likes.")
    traffic_over_per_gb: int = Field(
        default=0, ge=0, le=10**12, description="Whole rupiah for each started GB (10^9 bytes) over it; 0 = nothing."
    )
    price_per_hour: int = Field(
        default=0, ge=0, le=10**12, description="Whole rupiah for each started hour, of a service by the hour; 0 = it is not."
    )
    backups_bought: bool = Field(
        default=False, description="Backups are part of what is sold, or more of them than the policy gives unasked."
    )
    backup_cap: f.BackupCap | None = Field(
        default=None, description="No backup of a service with more allocated; left out: a guest has no cap."
    )
    backup_cap_inodes: int | None = Field(
        default=None, ge=1, le=10**12, description="No backup of an account with more files, directories and links."
    )
    policy: f.Name = Field(default="default", description="The promises that hold for its services: a name in policies/.")
    forbids: v.Uses = Field(default_factory=list, description="What its customers may not run; empty = nothing.")


class PlanFile(SoldFile):
    """plans/NAME.yaml of kind vps: guests on hypervisors."""

    kind: Literal["vps"] = Field(description="What the customer gets: a guest.")
    vcpus: int = Field(ge=1, le=512, description="Virtual CPUs.")
    vcpus_most: int = Field(
        default=0, ge=0, le=512, description="Up to so many a change to a larger plan can add while the guest runs; 0 = none."
    )
    cpu_percent: int = Field(default=100, ge=1, le=100, description="Per cent of a core that each vCPU may use.")
    memory: f.MemorySize = Field(description="Memory.")
    disk: f.DiskSize = Field(description="Size of the disk.")
    disk_rate: f.Rate = Field(default=0, description="Reads and writes together; 0 = no limit.")
    disk_iops: int = Field(default=0, ge=0, le=10_000_000, description="Operations per second; 0 = no limit.")
    network_rate: f.Rate = Field(default=0, description="Each direction; 0 = no limit.")
    limited_network: f.LimitedRate = Field(
        default=LIMITED_NETWORK,
        json_schema_extra={"default": "1 Mbit/s"},
        description="Each direction, while a hold limits the service; never above network_rate.",
    )
    traffic_over: Literal["charge", "throttle"] = Field(
        default="charge",
        description="Beyond the traffic: what is over is charged, or the network is throttled until the month ends.",
    )
    traffic_over_rate: f.LimitedRate | None = Field(
        default=None, description="Each direction, of a guest that is throttled for its traffic; never above network_rate."
    )
    encrypted: bool = Field(
        default=True, description="The disk is encrypted with a key of its own, which makes the wipe certain."
    )
    full_copy: bool = Field(default=False, description="The disk is a full copy of the template instead of an overlay.")
    outgoing_mail: Literal["closed", "open"] = Field(
        default="closed", description="Whether guests may send to port 25 of others; a service can be told otherwise."
    )
    ipv4: int = Field(default=1, ge=0, le=64, description="IPv4 addresses.")
    ipv6: int = Field(default=1, ge=0, le=64, description="IPv6 addresses.")
    templates: list[f.Name] = Field(min_length=1, max_length=200, description="Templates a customer may choose from.")
    default_template: f.Name | None = Field(default=None, description="The one taken unasked; left out: the first of templates.")


class HostingPlanFile(SoldFile):
    """plans/NAME.yaml of kind hosting: accounts on hosting nodes."""

    kind: Literal["hosting"] = Field(description="What the customer gets: an account.")
    disk: f.DiskSize = Field(description="Hard quota of its files.")
    inodes: int = Field(ge=10, le=1 << 40, description="Hard quota of files, directories and links.")
    cpu_percent: int = Field(default=100, ge=1, le=102_400, description="Per cent of one core, for all that it runs.")
    limited_cpu_percent: int = Field(
        default=LIMITED_CPU, ge=1, le=102_400, description="While a hold limits the service; never above cpu_percent."
    )
    memory: f.MemorySize = Field(description="For all that it runs.")
    tasks: int = Field(default=100, ge=4, le=1 << 22, description="Processes and threads at the same time.")
    io_rate: f.Rate = Field(default=0, description="Reads, and writes, of the disk; 0 = no limit.")
    iops: int = Field(default=0, ge=0, le=1 << 30, description="Reads, and writes, per second; 0 = no limit.")
    sites: int = Field(default=1, ge=0, le=200, description="Sites that it may have.")
    databases: int = Field(default=0, ge=0, le=200, description="Databases that it may have.")
    php: list[f.PhpVersion] = Field(
        default_factory=list, max_length=20, description="Versions of PHP; the first is taken unasked; empty = files only."
    )
