"""What a certificate says and whether a key is its own (RFC 5280), by the cryptography library."""

from __future__ import annotations

import hashlib
from datetime import UTC

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat, load_pem_private_key

from orchestrator.domain.errors import RequestError
from orchestrator.ports.site_certificates import Inspected, Pair

LENGTH = 32_768
"""Of each text: what the node's agent takes."""
_RSA_BITS = 2048


def inspect(certificate: str, key: str) -> Inspected:
    """See SiteCertificates. The first certificate is the site's; those behind it lead to its authority."""
    _require_short(certificate, key)
    try:
        chain = x509.load_pem_x509_certificates(certificate.encode())
        own = chain[0].public_key()
        alternative = chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = tuple(alternative.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        names = ()
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.UnsupportedGeneralNameType, x509.DuplicateExtension):
        raise RequestError(
            "the certificate cannot be read", hint="PEM: the site's own first, then those that lead to its authority"
        ) from None
    try:
        private = load_pem_private_key(key.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise RequestError("the key cannot be read", hint="PEM, not behind a passphrase") from None
    if not isinstance(private, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey)):
        raise RequestError("the key is of a kind that no web server takes", hint="RSA, ECDSA or Ed25519")
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size < _RSA_BITS:
        raise RequestError(f"the key is too short: {private.key_size} bits", hint=f"RSA of {_RSA_BITS} bits or more, or ECDSA")
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*form) != own.public_bytes(*form):
        raise RequestError("the key is not that of the certificate", hint="the certificate of the site stands first in its file")
    if not names:
        raise RequestError("the certificate names no domain (subjectAltName): no browser takes it")
    chained = "".join(each.public_bytes(Encoding.PEM).decode() for each in chain)
    plain = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    _require_short(chained, plain)  # written anew it may be longer
    return Inspected(
        pair=Pair(certificate=chained, key=plain),
        names=names,
        since=chain[0].not_valid_before_utc.astimezone(UTC),
        until=chain[0].not_valid_after_utc.astimezone(UTC),
        sha256=hashlib.sha256(chain[0].public_bytes(Encoding.DER)).hexdigest(),
    )


def _require_short(certificate: str, key: str) -> None:
    if len(certificate) > LENGTH or len(key) > LENGTH:
        raise RequestError(f"certificate or key is longer than {LENGTH} characters", hint="PEM files; no bundle of authorities")
