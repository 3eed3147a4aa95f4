"""What is in the deploy image, by name: packages, kernel modules, programs, and what of Python stays out."""

from __future__ import annotations

PACKAGES = (
    "busybox-static",
    "dropbear-bin",
    "grub-efi-amd64-signed",
    "hdparm",
    "isolinux",
    "libpython3-stdlib",
    "linux-image-amd64",
    "python3-minimal",
    "shim-signed",
    "syslinux-common",
)

# What cards of usual servers are driven by. Those that need firmware which is not free (bnx2, bnx2x, qede, ice beyond its safe
# mode) work as far as their own memory holds it.
NETWORK = (
    *("amd-xgbe", "atlantic", "be2net", "bnx2", "bnx2x", "bnxt_en", "cxgb4", "cxgb4vf", "e1000", "e1000e", "ena", "enic", "gve"),
    *("hv_netvsc", "i40e", "iavf", "ice", "igb", "igbvf", "igc", "ixgbe", "ixgbevf", "mlx4_core", "mlx4_en", "mlx5_core", "nfp"),
    *("qede", "r8169", "realtek", "broadcom", "sfc", "tg3", "virtio_net", "vmxnet3"),
)
STORAGE = (
    *("3w-9xxx", "3w-sas", "aacraid", "ahci", "arcmsr", "ata_generic", "ata_piix", "hpsa", "hv_storvsc", "isci", "megaraid_sas"),
    *("mpi3mr", "mpt3sas", "mptsas", "mptspi", "mvsas", "nvme", "pm80xx", "sata_mv", "sata_nv", "sata_sil", "sata_sil24"),
    *("sata_svw", "sd_mod", "sg", "smartpqi", "sr_mod", "virtio_blk", "virtio_scsi", "vmd", "vmw_pvscsi"),
)
# The drive that a BMC puts before the machine is one of USB.
BUSES = (
    *("ehci_pci", "ohci_pci", "uas", "uhci_hcd", "usb_storage", "virtio_pci", "virtio_rng", "xhci_pci"),
    *("efivarfs", "isofs"),
)
# What a customer's system is made of: for setting its password, and for whoever is let into a rescue system.
# The checksums are asked for by name when one is mounted: no list of what a module needs has them.
FILES = (
    *("btrfs", "ext4", "nls_ascii", "nls_iso8859_1", "vfat", "xfs"),
    *("crc32c_generic", "crc32c_intel", "sha256_generic", "xxhash_generic"),
)
MODULES = (*NETWORK, *STORAGE, *BUSES, *FILES)

# Programs by their place below usr/; what they are linked with comes along.
PROGRAMS = ("bin/dropbearkey", "sbin/dropbear", "sbin/hdparm")
APPLETS = ("cat", "ip", "ls", "mkdir", "modprobe", "mount", "sh", "sleep", "sort", "udhcpc")

# Below usr/lib/python3.*: what the agent never imports.
LEFT_OUT = (
    *("__phello__", "asyncio", "config-*", "ctypes/macholib", "curses", "dbm", "distutils", "ensurepip", "idlelib", "lib2to3"),
    *("multiprocessing", "pydoc*", "sqlite3", "sysconfig", "test", "tkinter", "turtle*", "unittest", "venv", "wsgiref", "xml"),
    *("xmlrpc", "zoneinfo", "LICENSE.txt", "sitecustomize.py", "_sysconfigdata*"),
    *("lib-dynload/_asyncio*", "lib-dynload/_codecs_*", "lib-dynload/_crypt*", "lib-dynload/_curses*", "lib-dynload/_dbm*"),
    *("lib-dynload/_decimal*", "lib-dynload/_multiprocessing*", "lib-dynload/_sqlite3*", "lib-dynload/_test*"),
    *("lib-dynload/_xx*", "lib-dynload/nis*", "lib-dynload/ossaudiodev*", "lib-dynload/readline*", "lib-dynload/_tkinter*"),
)

ARGUMENTS = "quiet panic=60 console=tty0 console=ttyS0,115200n8"
SEED_ARGUMENT = "deploy.seed"

INIT = """#!/bin/sh
# The first process: what there is of hardware gets its drivers, then the agent has the machine.
export PATH=/usr/bin:/usr/sbin HOME=/ PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
for pass in 1 2 3; do
    cat $(ls /sys/bus/*/devices/*/modalias) 2>/dev/null | sort -u >/run/aliases
    modprobe -a -b -q $(cat /run/aliases) 2>/dev/null
    sleep 1
done
modprobe -a -q sd_mod sg efivarfs 2>/dev/null
cd /deploy
while :; do
    python3 -B -s -m agents.deploy
    sleep 5
done
"""

# busybox's udhcpc calls it with what the server said; see udhcpc(8).
DHCP = """#!/bin/sh
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
ip address flush dev "$interface"
ip address add "$ip/${mask:-24}" dev "$interface"
for gateway in $router; do
    ip route replace default via "$gateway" dev "$interface"
    break
done
"""
