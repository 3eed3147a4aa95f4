"""Every step there is, by name."""

from __future__ import annotations

from typing import Any

from orchestrator.domain.workflow import Arguments
from orchestrator.steps.account import (
    AccountCheck,
    AccountCreate,
    AccountFits,
    AccountIdentify,
    AccountLimitsMove,
    AccountPromise,
    AccountRecord,
    AccountReserve,
    AccountVerify,
)
from orchestrator.steps.account_adopt import AccountDropGathered, AccountGather, AccountSetAside
from orchestrator.steps.account_archive import AccountArchive
from orchestrator.steps.account_aside import AccountDiscard, AccountRestoreAside
from orchestrator.steps.account_backup import AccountPack, AccountUnpack
from orchestrator.steps.account_end import AccountProveGone, AccountWipeOut
from orchestrator.steps.account_holds import AccountProveSuspended, AccountSuspend, AccountUnsuspend
from orchestrator.steps.account_import import AccountImport
from orchestrator.steps.account_restore import (
    AccountClose,
    AccountLoad,
    AccountReopen,
    AccountRestorable,
    AccountRestore,
)
from orchestrator.steps.account_settings import AccountCertificate, AccountSet
from orchestrator.steps.archive import ArchiveKeep, ArchiveRestore
from orchestrator.steps.arguments import describe
from orchestrator.steps.backup_destroy import BackupDestroy
from orchestrator.steps.backup_make import BackupMake
from orchestrator.steps.backup_prepare import BackupPrepare
from orchestrator.steps.backup_settle import BackupSettle
from orchestrator.steps.base import Step
from orchestrator.steps.certificate import CertificateErasure, CertificateIssue
from orchestrator.steps.destroy import GuestRecord, GuestUndefine
from orchestrator.steps.discard import VolumeDiscard
from orchestrator.steps.disk_export import DiskExport, DiskRelease
from orchestrator.steps.drift import DriftReport, GuestCheck, ReservationCheck, VolumeCheck
from orchestrator.steps.guest import GuestDefine, GuestVerify, GuestWait
from orchestrator.steps.guest_access import GuestKeys, GuestPassword
from orchestrator.steps.guest_mail import GuestMail
from orchestrator.steps.guest_renew import GuestRenew, VolumeRenew
from orchestrator.steps.guest_size import (
    GuestFits,
    GuestMeasure,
    GuestPromise,
    GuestResize,
    GuestRestart,
    GuestVerifySize,
    VolumeGrow,
)
from orchestrator.steps.holds import GuestHold, GuestProveSuspended, GuestReleaseHold, GuestRestorePower
from orchestrator.steps.limits import GuestLimit, GuestUnlimit, GuestVerifyNetwork
from orchestrator.steps.machine_end import MachineClean, MachineErase, MachineKeep
from orchestrator.steps.machine_install import MachineAnswers, MachineBoot, MachineInspect, MachineVerify, MachineWrite
from orchestrator.steps.machine_place import MachineAddresses, MachineFree, MachineReserve
from orchestrator.steps.machine_power import MachineCheck, MachineOff, MachineOn, MachineProveSuspended, MachineSuspend
from orchestrator.steps.machine_renew import MachineClear, MachineRewrite
from orchestrator.steps.machine_systems import MachineLetGo, MachinePassword, MachineRescue, MachineTest
from orchestrator.steps.move import DiskArrive, DiskCarry, DiskCompare, GuestArrived, GuestGoOn, GuestSetOut, GuestSettle
from orchestrator.steps.move_place import NodeLetGo, NodeSwitch, NodeTakeIn
from orchestrator.steps.network import AddressAllocate, AddressRelease
from orchestrator.steps.place import NodeRelease, NodeReserve
from orchestrator.steps.power import GuestReboot, GuestStart, GuestStop
from orchestrator.steps.recover import BackupFind, GuestRebuild, NodeGivenUp, NodeLeft, NodeNoneLeft
from orchestrator.steps.residue import ResidueProve
from orchestrator.steps.restore import DiskSwitch, GuestBringBack, RestoreWrite
from orchestrator.steps.storage import SeedCreate, TemplateCheck, VolumeCreate
from orchestrator.steps.wipe import VolumeWipe

_ALL: tuple[Step[Any], ...] = (
    NodeReserve(),
    NodeRelease(),
    ReservationCheck(),
    AddressAllocate(),
    AddressRelease(),
    TemplateCheck(),
    VolumeCreate(),
    VolumeRenew(),
    VolumeCheck(),
    VolumeWipe(),
    ArchiveKeep(),
    ArchiveRestore(),
    BackupDestroy(),
    BackupPrepare(),
    DiskExport(),
    BackupMake(),
    BackupSettle(),
    DiskRelease(),
    RestoreWrite(),
    DiskSwitch(),
    GuestBringBack(),
    VolumeDiscard(),
    SeedCreate(),
    GuestDefine(),
    GuestRenew(),
    GuestStart(),
    GuestWait(),
    GuestVerify(),
    GuestCheck(),
    GuestStop(),
    GuestReboot(),
    GuestHold(),
    GuestProveSuspended(),
    GuestReleaseHold(),
    GuestRestorePower(),
    GuestLimit(),
    GuestUnlimit(),
    GuestVerifyNetwork(),
    NodeGivenUp(),
    NodeLeft(),
    NodeNoneLeft(),
    NodeTakeIn(),
    BackupFind(),
    GuestRebuild(),
    GuestSetOut(),
    DiskCarry(),
    DiskArrive(),
    DiskCompare(),
    GuestSettle(),
    GuestGoOn(),
    GuestArrived(),
    NodeSwitch(),
    NodeLetGo(),
    GuestRecord(),
    GuestUndefine(),
    ResidueProve(),
    CertificateIssue(),
    CertificateErasure(),
    DriftReport(),
    AccountReserve(),
    AccountIdentify(),
    AccountCreate(),
    AccountVerify(),
    AccountCheck(),
    AccountRecord(),
    AccountFits(),
    AccountPromise(),
    AccountLimitsMove(),
    AccountSet(),
    AccountCertificate(),
    AccountImport(),
    AccountSetAside(),
    AccountGather(),
    AccountDropGathered(),
    AccountSuspend(),
    AccountProveSuspended(),
    AccountUnsuspend(),
    AccountPack(),
    AccountUnpack(),
    AccountRestorable(),
    AccountClose(),
    AccountRestore(),
    AccountLoad(),
    AccountReopen(),
    AccountRestoreAside(),
    AccountDiscard(),
    AccountArchive(),
    AccountWipeOut(),
    AccountProveGone(),
    GuestMeasure(),
    GuestFits(),
    GuestPromise(),
    GuestResize(),
    GuestRestart(),
    VolumeGrow(),
    GuestPassword(),
    GuestKeys(),
    GuestMail(),
    GuestVerifySize(),
    MachineReserve(),
    MachineAddresses(),
    MachineInspect(),
    MachineWrite(),
    MachineClear(),
    MachineRewrite(),
    MachinePassword(),
    MachineRescue(),
    MachineLetGo(),
    MachineTest(),
    MachineBoot(),
    MachineAnswers(),
    MachineVerify(),
    MachineCheck(),
    MachineOff(),
    MachineSuspend(),
    MachineProveSuspended(),
    MachineOn(),
    MachineKeep(),
    MachineErase(),
    MachineClean(),
    MachineFree(),
)

STEPS: dict[str, Step[Any]] = {step.name: step for step in _ALL}


def arguments() -> dict[str, Arguments]:
    """What each step takes, for checking playbooks (``domain.workflow.problems``)."""
    return {name: describe(step.args, destructive=step.destructive) for name, step in STEPS.items()}
