"""Keys and certificates, made with the library cryptography: X.509 for TLS, OpenSSH's for SSH.

Imported only where something is signed or made: by the authority, and for the moment of joining or renewing.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import secrets
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import AttributeOID, ExtendedKeyUsageOID, NameOID

from octapi.errors import TrustError
from octapi.trust.names import CLIENT, Peer, host_name

if TYPE_CHECKING:
    from collections.abc import Sequence

#: certificates begin this much before they are made, against clocks that differ, in seconds
BACKDATE_S: Final = 3600
AUTHORITY_LIFE_S: Final = 20 * 365 * 86400


def new_key() -> str:
    """Make a private key on the curve P-256, as PEM."""
    return key_pem(ec.generate_private_key(ec.SECP256R1()))


def key_pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> str:
    """Return a private key as PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def load_key(pem: str) -> ec.EllipticCurvePrivateKey:
    """Read a private key."""
    key = serialization.load_pem_private_key(pem.encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TrustError("The key is not one of OctaPi's: it must be on an elliptic curve.")
    return key


def pin_of(certificate: str) -> bytes:
    """Return the SHA-256 of a certificate's public key (RFC 7469)."""
    public = x509.load_pem_x509_certificate(certificate.encode()).public_key()
    return hashlib.sha256(
        public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    ).digest()


def pinned(text: str, pin: bytes) -> str:
    """Return the first certificate in ``text``, as PEM and nothing else, if ``pin`` is its own; else an empty text.

    What is compared is all that is returned: a second certificate behind the first would be believed unseen.
    """
    try:
        found = x509.load_pem_x509_certificate(text.encode())
    except ValueError:
        return ""
    alone = found.public_bytes(serialization.Encoding.PEM).decode()
    return alone if pin_of(alone) == pin else ""


def pin_of_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the pin that a certificate of a key has."""
    public = key.public_key()
    return hashlib.sha256(
        public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    ).digest()


def authority_id(certificate: str) -> str:
    """Return the short name under which an authority is asked for: 16 hexadecimal digits of its pin."""
    return pin_of(certificate).hex()[:16]


def request(key: str, nonce: bytes) -> str:
    """Make a signing request (PKCS #10) that proves the key for this one connection, as PEM."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, nonce.hex().encode())
    return builder.sign(load_key(key), hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def for_browsers(authority_key: str, authority: str, names: Sequence[str], begins: float, ends: float) -> str:
    """Make a key and a certificate for a web server under these names and addresses, as PEM.

    It names no member of the cluster, so nothing but a browser accepts it.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.load_pem_x509_certificate(authority.encode())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "OctaPi page")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment(begins))
        .not_valid_after(moment(ends))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([general_name(name) for name in names]), critical=False)
        .sign(load_key(authority_key), hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode() + key_pem(key)


def general_name(name: str) -> x509.GeneralName:
    """Return a host's name or address as a certificate holds it."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def fingerprint(pem: str) -> str:
    """Return a certificate's SHA-256 as browsers show it."""
    digest = x509.load_pem_x509_certificate(pem.encode()).fingerprint(hashes.SHA256())
    return ":".join(f"{byte:02X}" for byte in digest)


def proven_key(pem: str, nonce: bytes) -> ec.EllipticCurvePublicKey:
    """Return the public key of a request, and nothing else of it.

    Raises :exc:`TrustError` unless it is signed by its own key and answers this connection's nonce.
    """
    try:
        found = x509.load_pem_x509_csr(pem.encode())
        public = found.public_key()
        challenge = found.attributes.get_attribute_for_oid(AttributeOID.CHALLENGE_PASSWORD).value
        is_signed = found.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.AttributeNotFound) as error:
        raise TrustError("The signing request is damaged.") from error
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise TrustError("The signing request has a key of another kind than P-256.")
    if not is_signed or not secrets.compare_digest(challenge, nonce.hex().encode()):
        raise TrustError("The signing request does not prove its key for this connection.")
    return public


def moment(epoch: float) -> datetime.datetime:
    """Return a time as cryptography wants it."""
    return datetime.datetime.fromtimestamp(int(epoch), datetime.UTC)


def new_authority(cluster: str, now: float) -> tuple[str, str]:
    """Make an authority, and return its key and its own certificate as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "OctaPi"),
            # the name holds the key's digest, so that no two authorities share one
            x509.NameAttribute(NameOID.COMMON_NAME, f"{cluster[:40]} {identifier.digest.hex()[:16]}"),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment(now - BACKDATE_S))
        .not_valid_after(moment(now + AUTHORITY_LIFE_S))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return key_pem(key), certificate.public_bytes(serialization.Encoding.PEM).decode()


def usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """Return what a key may do: sign certificates, or speak TLS."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def issue(
    authority_key: str, authority: str, peer: Peer, public: ec.EllipticCurvePublicKey, begins: float, ends: float
) -> str:
    """Sign a certificate for ``peer``, as PEM; a client's cannot be used to listen."""
    issuer = x509.load_pem_x509_certificate(authority.encode())
    purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
    alternatives: list[x509.GeneralName] = [x509.UniformResourceIdentifier(peer.uri())]
    if peer.role != CLIENT:
        purposes.append(ExtendedKeyUsageOID.SERVER_AUTH)
        alternatives.append(x509.DNSName(host_name(peer.role)))
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, peer.role),
            x509.NameAttribute(NameOID.COMMON_NAME, peer.name),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment(begins))
        .not_valid_after(moment(ends))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            ),
            critical=False,
        )
        .sign(load_key(authority_key), hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


# ---- SSH


def new_ssh_key() -> tuple[str, str]:
    """Make an SSH key (Ed25519), and return it and its public line in OpenSSH's format."""
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private.decode(), public.decode()


def ssh_public(private: str) -> str:
    """Return the public line of an SSH key."""
    key = serialization.load_ssh_private_key(private.encode(), None)
    return key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def ssh_public_alone(line: str) -> str:
    """Return a public key in OpenSSH's format without what stands behind it.  Raises :exc:`TrustError` for none."""
    try:
        key = serialization.load_ssh_public_key(line.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TrustError(f"The SSH key is damaged: {error}.") from error
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def ssh_certificate(
    authority_key: str, public: str, ident: str, principals: Sequence[str], begins: float, ends: float, *, host: bool
) -> str:
    """Sign an SSH key for the named hosts or users, and return the line for a ``-cert.pub`` file.

    Raises :exc:`TrustError` unless ``public`` is an Ed25519 key in OpenSSH's format.
    """
    try:
        key = serialization.load_ssh_public_key(public.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TrustError("The SSH key is damaged.") from error
    signer = serialization.load_ssh_private_key(authority_key.encode(), None)
    if not isinstance(key, ed25519.Ed25519PublicKey) or not isinstance(signer, ed25519.Ed25519PrivateKey):
        raise TrustError("The SSH key is of another kind than Ed25519.")
    kind = serialization.SSHCertificateType.HOST if host else serialization.SSHCertificateType.USER
    builder = (
        serialization.SSHCertificateBuilder()
        .public_key(key)
        .serial(secrets.randbits(63) + 1)
        .type(kind)
        .key_id(ident.encode())
        .valid_principals([principal.encode() for principal in principals])
        .valid_after(int(begins))
        .valid_before(int(ends))
    )
    if not host:
        for extension in (b"permit-port-forwarding", b"permit-pty"):
            builder = builder.add_extension(extension, b"")
    return builder.sign(signer).public_bytes().decode()
