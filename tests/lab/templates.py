"""Puts a built image into the lab's pool, as an operator would put a template onto a node."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.lab import images
from tests.lab.environment import Lab


@dataclass(frozen=True)
class Installed:
    """A template in the pool of the lab."""

    name: str
    volume: str
    """Name of the volume in the pool."""
    path: Path
    sha256: str
    """Of the volume's file, in hex."""
    size: int
    """Bytes that a guest sees."""
    kernel: Path
    initrd: Path
    kernel_arguments: str


def install(lab: Lab, name: str) -> Installed:
    """Copy the image `name` into the pool, once per lab. Raises `LabError` when it is not built."""
    image = images.load(name, lab.images)
    for file in (image.kernel, image.initrd, image.volume):
        target = lab.pool_path / file
        if not target.exists():
            unfinished = target.with_suffix(".copying")
            shutil.copyfile(lab.images / file, unfinished)
            unfinished.rename(target)
    subprocess.run(["virsh", "-q", "-c", lab.uri, "pool-refresh", lab.pool], check=True, timeout=60)
    return Installed(
        name=name,
        volume=image.volume,
        path=lab.pool_path / image.volume,
        sha256=image.sha256,
        size=image.size,
        kernel=lab.pool_path / image.kernel,
        initrd=lab.pool_path / image.initrd,
        kernel_arguments=image.kernel_arguments,
    )
