"""An authority of its own for every attempt, whose key never leaves this process's memory.

It signs certificates for hosts whose requests must be read; programs inside trust it by a bundle of files.
"""

import datetime
import os
import ssl
from collections import OrderedDict
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from overnight.domain.hostnames import Host
from overnight.sandbox.pipes import memory_file

_DAYS = 7
_KEPT = 64
"""Certificates kept for hosts asked for last."""
_SYSTEM = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


class Authority:
    """Signs for one attempt; made in a millisecond, gone with it."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Overnight, for one attempt only")])
        key_usage = x509.KeyUsage(
            digital_signature=False, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
            encipher_only=False, decipher_only=False,
        )  # fmt: skip
        self._certificate = (
            _dated(x509.CertificateBuilder())
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(key_usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self._contexts: OrderedDict[str, ssl.SSLContext] = OrderedDict()

    @property
    def pem(self) -> str:
        """The authority's certificate, for programs inside to trust."""
        return self._certificate.public_bytes(serialization.Encoding.PEM).decode()

    def context(self, host: Host) -> ssl.SSLContext:
        """Return what a server needs to answer as `host`; only HTTP/1.1 is offered."""
        if host.text in self._contexts:
            self._contexts.move_to_end(host.text)
            return self._contexts[host.text]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        # The library takes files only; this one has no name and is gone when it is closed.
        descriptor = memory_file(self._leaf(host))
        try:
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
        self._contexts[host.text] = context
        if len(self._contexts) > _KEPT:
            self._contexts.popitem(last=False)
        return context

    def _leaf(self, host: Host) -> bytes:
        alternative = x509.IPAddress(host.address) if host.address else x509.DNSName(host.text)
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = (
            _dated(x509.CertificateBuilder())
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host.text[:64])]))
            .issuer_name(self._certificate.subject)
            .public_key(self._leaf_key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(issuer_key, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        key = self._leaf_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return key + certificate.public_bytes(serialization.Encoding.PEM)


def _dated(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        builder.serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
    )


def bundle(authority: Authority) -> str:
    """Return this machine's roots and the attempt's authority, as one file for programs inside."""
    usual: str | None = ssl.get_default_verify_paths().cafile
    for place in (usual, *_SYSTEM):
        if place and Path(place).is_file():
            return f"{Path(place).read_text('utf-8', 'replace').rstrip()}\n{authority.pem}"
    return authority.pem
