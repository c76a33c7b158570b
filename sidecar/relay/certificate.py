"""The certificate of a relay's port: checked when loaded, and loaded again without losing a connection."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sidecar.config import ConfigError
from sidecar.errors import UnavailableError
from sidecar.relay import cards

CERT_FIELD = "network.relay.certFile"
KEY_FIELD = "network.relay.keyFile"


class Certificate:
    """``context`` is for the listener; handshakes after :meth:`load` see the new files.

    Raises ConfigError naming the field for what is no certificate, has ended or does not fit its key, and
    UnavailableError for a file that cannot be read.
    """

    def __init__(self, cert_file: str, key_file: str, now_ms: Callable[[], int]) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.pin = ""
        """SHA-256 of the certificate's public key (``cards.pin``)."""
        self._cert_file = cert_file
        self._key_file = key_file
        self._now_ms = now_ms
        self.load()

    def load(self) -> None:
        """Read both files; what cannot be used leaves everything as it was."""
        certificate = self._leaf()
        _read(self._key_file, KEY_FIELD)
        for context in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self.context):  # the first one is to try
            try:
                context.load_cert_chain(self._cert_file, self._key_file, password=lambda: "")
            except (ssl.SSLError, ValueError):
                raise ConfigError(KEY_FIELD, "not the unencrypted key of the certificate") from None
        public = certificate.public_key()
        self.pin = cards.pin(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    def _leaf(self) -> x509.Certificate:
        """The relay's own certificate, which comes first in the file."""
        try:
            certificate = x509.load_pem_x509_certificates(_read(self._cert_file, CERT_FIELD))[0]
        except ValueError:
            raise ConfigError(CERT_FIELD, "not a certificate in PEM form") from None
        ends = certificate.not_valid_after_utc
        if ends <= datetime.fromtimestamp(self._now_ms() / 1000, UTC):
            raise ConfigError(CERT_FIELD, f"expired on {ends:%Y-%m-%d}")
        return certificate


def _read(path: str, field: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise UnavailableError(f"{field}: {path}: {error.strerror}", details={"field": field}) from None
