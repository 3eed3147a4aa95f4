"""Builds the deploy image: the small system that a dedicated machine is booted from to be inspected, written, erased and tested.

From Debian's own packages of this machine's release: nothing of them runs here, their files are unpacked and chosen from. One ISO
boots on BIOS (isolinux) and on UEFI (Debian's signed shim and GRUB, so that Secure Boot may stay on).
"""

from orchestrator.drivers.deployimage.build import build as build
from orchestrator.drivers.deployimage.iso import Description as Description
