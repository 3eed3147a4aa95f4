"""The certificate that the desk of the deploy image shows. Machines pin it by its SHA-256: nobody needs to have signed it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from orchestrator.domain.errors import ConfigError
from orchestrator.drivers.local.files import is_there, make_file, read_secret, read_trusted

CERTIFICATE, KEY = "desk.pem", "desk.key"
_YEARS = timedelta(days=365 * 30)  # as long as nobody looks at its end: a new one would need every machine's deployment anew


def init_desk(state_dir: Path) -> None:
    """Make key and certificate below ``keys/`` where they are missing. Raises ConfigError."""
    directory = state_dir / "keys"
    make_file(directory / KEY, _new_key())
    certificate, key = directory / CERTIFICATE, directory / KEY
    if is_there(certificate):
        return
    private = load_pem_private_key(read_secret(key, what="the desk's key"), password=None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise ConfigError(
            f"{key} is no key of the kind that `orchestrator init` makes", hint="remove it and run: orchestrator init"
        )
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "orchestrator deploy desk")])
    made = x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
    now = datetime.now(UTC)
    signed = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + _YEARS).sign(private, SHA256())
    make_file(certificate, signed.public_bytes(Encoding.PEM))


def desk_identity(state_dir: Path) -> tuple[Path, Path]:
    """Certificate and key. Raises ConfigError where they are missing, or others can read the key."""
    certificate, key = state_dir / "keys" / CERTIFICATE, state_dir / "keys" / KEY
    for path in (certificate, key):
        if not is_there(path):
            raise ConfigError(f"{path} is missing: by it the deploy image knows the controller", hint="run: orchestrator init")
    read_secret(key, what="the desk's key")
    return certificate, key


def fingerprint(certificate: Path) -> str:
    """The SHA-256 of the certificate (DER), in hex. Raises ConfigError."""
    try:
        read = x509.load_pem_x509_certificate(read_trusted(certificate, what="the desk's certificate"))
    except ValueError as exc:
        raise ConfigError(f"{certificate} is no certificate", hint="remove it and run: orchestrator init") from exc
    return hashlib.sha256(read.public_bytes(Encoding.DER)).hexdigest()


def _new_key() -> bytes:
    private = ec.generate_private_key(ec.SECP256R1())
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
