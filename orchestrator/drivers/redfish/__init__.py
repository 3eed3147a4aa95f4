"""Dedicated machines through Redfish (DSP0266, DSP0268), by sushy."""

from orchestrator.drivers.redfish.bmc import RedfishBmc as RedfishBmc
from orchestrator.drivers.redfish.certificate import presented as presented
from orchestrator.drivers.redfish.connection import Connection as Connection
