"""The shape of machines.yaml, and of plans of kind dedicated."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_interface
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, WithJsonSchema

from orchestrator.config import fields as f
from orchestrator.config.files import File
from orchestrator.config.plan_files import SoldFile

_MAC = re.compile(r"([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}")
# What manufacturers write on drives (ATA8-ACS, NVMe: 20 characters of ASCII), and what hypervisors make up.
_SERIAL = r"[A-Za-z0-9][A-Za-z0-9._:+/ -]{0,62}[A-Za-z0-9]"
_SYSTEM = r"(/[A-Za-z0-9._~:@%-]+)+"


def _mac(value: object) -> str:
    if not isinstance(value, str) or not _MAC.fullmatch(value):
        raise ValueError(f"'{value}' is no MAC: write six pairs of hexadecimal digits, such as '52:54:00:12:34:56'")
    if int(value[:2], 16) & 1:
        raise ValueError(f"'{value}' is the MAC of a group, not of a network card")
    return value.lower()


def _serial(value: object) -> str:
    if isinstance(value, int | float):
        raise ValueError(f"must be a text: put {value} in quotes")
    if not isinstance(value, str) or not re.fullmatch(_SERIAL, value):
        raise ValueError(f"'{str(value)[:60]}' is no serial number of a disk: write it as `lsblk -o NAME,SERIAL` does")
    return value


def _bmc(value: object) -> str:
    if value == "":
        return ""
    wrong = f"'{str(value)[:60]}' is no address of a BMC: write https://, its host, and a port where it is not 443"
    if not isinstance(value, str) or not re.fullmatch(r"https://[!-~]+", value):
        raise ValueError(wrong)
    try:
        parts, port = urlsplit(value), urlsplit(value).port
    except ValueError:
        raise ValueError(wrong) from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("user and password do not stand in the address: name them with 'bmc_user' and 'bmc_secret_file'")
    if not parts.hostname or parts.query or parts.fragment or parts.path.strip("/") or port == 0:
        raise ValueError(wrong)
    return value.rstrip("/")


def _system(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(rf"({_SYSTEM})?", value):
        raise ValueError(f"'{str(value)[:60]}' is no path of a system, such as '/redfish/v1/Systems/1'")
    return value


def _interface(value: object) -> IPv4Interface | IPv6Interface | None:
    if value == "":
        return None
    form = "an address with its prefix length, such as '10.77.0.50/16'"
    if not isinstance(value, str) or "/" not in value:
        raise ValueError(f"'{value}' is not {form}")
    try:
        return ip_interface(value)
    except ValueError as error:
        raise ValueError(f"{error}: write {form}") from None


def _gateway(value: object) -> IPv4Address | IPv6Address | None:
    if value == "":
        return None
    try:
        if not isinstance(value, str) or "%" in value:
            raise ValueError
        return ip_address(value)
    except ValueError:
        raise ValueError(f"'{value}' is no IPv4 or IPv6 address") from None


def _user(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[!-9;-~]{0,64}", value):
        raise ValueError(f"'{str(value)[:60]}' is no user of a BMC: at most 64 printable characters without ':'")
    return value


Mac = Annotated[str, BeforeValidator(_mac), WithJsonSchema({"type": "string", "pattern": f"^{_MAC.pattern}$"})]
MacOrNone = Annotated[str, BeforeValidator(lambda value: value and _mac(value)), WithJsonSchema({"type": "string"})]
Serial = Annotated[str, BeforeValidator(_serial), WithJsonSchema({"type": "string", "pattern": f"^{_SERIAL}$"})]
BmcAddress = Annotated[str, BeforeValidator(_bmc), WithJsonSchema({"type": "string"})]
BmcUser = Annotated[str, BeforeValidator(_user), WithJsonSchema({"type": "string", "maxLength": 64})]
SystemPath = Annotated[str, BeforeValidator(_system), WithJsonSchema({"type": "string"})]
Interface = Annotated[IPv4Interface | IPv6Interface | None, BeforeValidator(_interface), WithJsonSchema({"type": "string"})]

Gateway = Annotated[IPv4Address | IPv6Address | None, BeforeValidator(_gateway), WithJsonSchema({"type": "string"})]


class MachineEntry(File):
    name: f.Name = Field(description="Name of the machine; no node may have it.")
    zone: f.Name = Field(description="Zone it stands in.")
    class_: f.Name = Field(alias="class", description="What it is sold as, as plans of kind dedicated name it.")
    driver: Literal["redfish", "fake"] = Field(
        default="redfish", description="'fake' is a simulated machine, for trying things out."
    )
    bmc: BmcAddress = Field(default="", description="https:// address of its BMC; '' of a simulated one.")
    bmc_user: BmcUser = Field(default="", description="User that the controller is at the BMC.")
    bmc_secret_file: f.PathText | None = Field(default=None, description="File that holds that user's password.")
    bmc_system: SystemPath = Field(default="", description="Path of the machine at its BMC; '' = it has only one.")
    macs: list[Mac] = Field(default_factory=list, max_length=32, description="Its network cards; empty = not said.")
    disks: list[Serial] = Field(
        default_factory=list,
        max_length=256,
        description="Serial numbers of its disks, the first takes the system; empty = what is found, the smallest takes it.",
    )
    deploy_address: Interface = Field(
        default=None, json_schema_extra={"default": ""}, description="Address of the deploy image; '' = what DHCP gives it."
    )
    deploy_gateway: Gateway = Field(
        default=None, json_schema_extra={"default": ""}, description="Its router; '' = none is needed."
    )
    deploy_mac: MacOrNone = Field(default="", description="Card that the deploy image uses; '' = the first of macs.")
    maintenance: bool = Field(default=False, description="true = no service is placed on it.")


class MachinesFile(File):
    """machines.yaml: the dedicated machines."""

    machines: list[MachineEntry] = Field(default_factory=list, max_length=2000, description="The machines.")


class MachinePlanFile(SoldFile):
    """plans/NAME.yaml of kind dedicated: whole machines."""

    kind: Literal["dedicated"] = Field(description="What the customer gets: a machine.")
    class_: f.Name = Field(alias="class", description="Class of the machines that are sold by it, as machines.yaml names it.")
    ipv4: int = Field(default=1, ge=0, le=64, description="IPv4 addresses.")
    ipv6: int = Field(default=1, ge=0, le=64, description="IPv6 addresses.")
    templates: list[f.Name] = Field(min_length=1, max_length=200, description="Templates a customer may choose from.")
    default_template: f.Name | None = Field(default=None, description="The one taken unasked; left out: the first of templates.")
