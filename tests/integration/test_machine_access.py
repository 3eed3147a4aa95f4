"""What a BMC presents before it is believed, and the file with its password: on a TLS server of the test."""

from __future__ import annotations

import hashlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from orchestrator.domain.errors import ConfigError, PermanentDriverError, TransientDriverError
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.wiring.machines import RedfishAccess
from tests.machine_words import machine

ACCESS = RedfishAccess(SystemClock())


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    directory = tmp_path_factory.mktemp("bmc")
    certificate, key = directory / "bmc.pem", directory / "bmc.key"
    words = [
        "req",
        "-x509",
        "-nodes",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-subj",
        "/CN=old bmc",
        "-days",
        "-1",
    ]
    done = subprocess.run(["openssl", *words, "-keyout", str(key), "-out", str(certificate)], capture_output=True, timeout=60)
    if done.returncode != 0:  # an openssl that makes none that has run out
        subprocess.run(["openssl", *words[:-2], "-keyout", str(key), "-out", str(certificate)], check=True, timeout=60)
    return certificate, key


@contextmanager
def answering(act: str, pair: tuple[Path, Path]) -> Iterator[str]:
    """A server that speaks TLS, speaks something else, or hangs up; its URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    if act == "tls":
                        context.wrap_socket(connection, server_side=True).close()
                    elif act == "plain":
                        connection.recv(1000)
                        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def test_the_certificate_is_told_whoever_signed_it_and_though_it_has_run_out(pair: tuple[Path, Path]) -> None:
    with answering("tls", pair) as url:
        found = ACCESS.certificate(machine(bmc=url), deadline=5)
    der = ssl.PEM_cert_to_DER_cert(pair[0].read_text())
    assert (found.sha256, found.subject) == (hashlib.sha256(der).hexdigest(), "CN=old bmc")
    assert found.until is not None


def test_what_speaks_no_tls_is_none(pair: tuple[Path, Path]) -> None:
    with answering("plain", pair) as url, pytest.raises(PermanentDriverError, match="speaks no TLS that we do"):
        ACCESS.certificate(machine(bmc=url), deadline=5)


def test_what_hangs_up_or_is_not_there_may_be_asked_again(pair: tuple[Path, Path]) -> None:
    with answering("nothing", pair) as url, pytest.raises(TransientDriverError):
        ACCESS.certificate(machine(bmc=url), deadline=5)
    with pytest.raises(TransientDriverError, match="cannot be reached"):
        ACCESS.certificate(machine(bmc=url), deadline=5)


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        (None, 0o600, "there is no file"),
        (b"secret\n", 0o644, "can be used by other users"),
        (b"\n", 0o600, "holds no line with it"),
        (b"two\nlines\n", 0o600, "holds no line with it"),
        (b"\xff\xfe", 0o600, "holds no text in UTF-8"),
    ],
)
def test_a_password_that_cannot_be_used_is_told_without_it(tmp_path: Path, content: bytes | None, mode: int, says: str) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    declared = machine(driver="redfish", bmc="https://127.0.0.1:1", bmc_user="u", bmc_secret_file=path)
    with pytest.raises(ConfigError, match=says) as refused:
        ACCESS.bmc(declared, certificate_sha256="ab" * 32)
    assert "password of the BMC of m1" in refused.value.message
    assert "two" not in str(refused.value)


def test_a_machine_without_a_file_for_it_is_told_what_to_say() -> None:
    with pytest.raises(ConfigError, match="no file is named"):
        ACCESS.bmc(machine(driver="redfish", bmc="https://127.0.0.1:1"), certificate_sha256="ab" * 32)
