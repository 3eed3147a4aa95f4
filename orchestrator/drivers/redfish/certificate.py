"""What certificate a BMC presents, before anything is sent to it."""

from __future__ import annotations

import hashlib
import socket
import ssl
from urllib.parse import urlsplit

from cryptography import x509

from orchestrator.domain.errors import PermanentDriverError, TransientDriverError
from orchestrator.ports.machine_access import BmcCertificate

_PORT = 443


def presented(url: str, *, machine: str, deadline: float) -> BmcCertificate:
    """See ``MachineAccess.certificate``."""
    parts = urlsplit(url)
    # Nothing of what it says is believed by this: somebody compares what it presents.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((parts.hostname or "", parts.port or _PORT), timeout=deadline) as plain,
            context.wrap_socket(plain, server_hostname=parts.hostname) as secured,
        ):
            der = secured.getpeercert(binary_form=True)
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as exc:  # it hung up: BMCs do while they start anew
        raise TransientDriverError(f"the BMC of {machine} at {url} hung up") from exc
    except ssl.SSLError as exc:
        raise PermanentDriverError(
            f"what answers at {url} for the BMC of {machine} speaks no TLS that we do: {exc.reason}"
        ) from exc
    except OSError as exc:
        raise TransientDriverError(f"the BMC of {machine} at {url} cannot be reached: {exc.strerror or exc}") from exc
    if not der:
        raise PermanentDriverError(f"the BMC of {machine} presents no certificate")
    return _read(der)


def _read(der: bytes) -> BmcCertificate:
    """Also where it cannot be read: it is its hash that counts."""
    sha256 = hashlib.sha256(der).hexdigest()
    try:
        certificate = x509.load_der_x509_certificate(der)
        return BmcCertificate(sha256=sha256, subject=certificate.subject.rfc4514_string(), until=certificate.not_valid_after_utc)
    except ValueError:
        return BmcCertificate(sha256=sha256)
