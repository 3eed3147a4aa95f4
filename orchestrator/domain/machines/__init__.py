"""Dedicated machines: what is declared of them, in which state each is, how what is found differs, and which is taken."""

from orchestrator.domain.machines.differences import Difference as Difference
from orchestrator.domain.machines.differences import DiskFound as DiskFound
from orchestrator.domain.machines.differences import Found as Found
from orchestrator.domain.machines.differences import Told as Told
from orchestrator.domain.machines.differences import differences as differences
from orchestrator.domain.machines.differences import differing as differing
from orchestrator.domain.machines.differences import system_disk as system_disk
from orchestrator.domain.machines.differences import system_mac as system_mac
from orchestrator.domain.machines.gone import GoneDisk as GoneDisk
from orchestrator.domain.machines.gone import gone_disks as gone_disks
from orchestrator.domain.machines.gone import without_disk as without_disk
from orchestrator.domain.machines.placing import MachineWanted as MachineWanted
from orchestrator.domain.machines.placing import choose as choose
from orchestrator.domain.machines.states import TRANSITIONS as TRANSITIONS
from orchestrator.domain.machines.states import Machine as Machine
from orchestrator.domain.machines.states import MachineRecord as MachineRecord
from orchestrator.domain.machines.states import MachineState as MachineState
from orchestrator.domain.machines.states import Standing as Standing
from orchestrator.domain.machines.states import moved as moved
