"""The cluster's certificate authority: keys, requests, certificates, and who a certificate belongs to.

Does no I/O and reads no clock; chance enters through the library's key generation and serial numbers.  A
certificate takes nothing from a request but its public key: identity and role are the issuer's words.
Profile after RFC 5280; names under NODE_DOMAIN after RFC 6125 (a node is verified by identity, never by address).
"""

import re
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from protocol.errors import AuthenticityError, DecodeError
from protocol.ids import NODE_DOMAIN, NodeId, parse_node_id

CA_VALID_FOR = timedelta(days=3652)
NODE_VALID_FOR = timedelta(days=90)
BACKDATED = timedelta(hours=1)
"""A certificate begins this much before its issue, so that a host whose clock runs behind can use it at once."""

MAX_CERTIFICATE_BYTES = 8 * 1024
MAX_CSR_BYTES = 4 * 1024
_ROLE = re.compile(r"[a-z][a-z0-9-]{0,31}\Z")

_PARSE_ERRORS = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
)

PrivateKey = ec.EllipticCurvePrivateKey
Certificate = x509.Certificate


def new_key() -> PrivateKey:
    """Draw an ECDSA P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def new_ca(cluster_id: str, key: PrivateKey, now: datetime, *, serial: int | None = None) -> Certificate:
    """Return the self-signed certificate of a new cluster's CA; it may sign hosts and nothing below them."""
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, cluster_id),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Corral cluster CA {cluster_id}"),
        ]
    )
    return (
        x509.CertificateBuilder(subject_name=name, issuer_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number() if serial is None else serial)
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + CA_VALID_FOR)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def new_csr(node_id: NodeId, key: PrivateKey) -> bytes:
    """Return a DER request that proves possession of `key`; the key itself stays on its host."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node_id)])
    request = x509.CertificateSigningRequestBuilder(subject_name=name).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.DER)


def csr_public_key(csr_der: bytes) -> ec.EllipticCurvePublicKey:
    """Return the request's P-256 public key, once its signature shows that the asker holds the private half."""
    if len(csr_der) > MAX_CSR_BYTES:
        raise DecodeError(f"expected a certificate request of at most {MAX_CSR_BYTES} bytes, got {len(csr_der)}")
    try:
        request = x509.load_der_x509_csr(csr_der)
        key = request.public_key()
        is_signed = request.is_signature_valid
    except _PARSE_ERRORS as error:
        raise DecodeError(f"expected a DER certificate request, got something else: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise DecodeError("expected a certificate request for an ECDSA P-256 key")
    if not is_signed:
        raise AuthenticityError("the certificate request is not signed by the key it asks a certificate for")
    return key


def issue(
    csr_der: bytes,
    *,
    node_id: NodeId,
    role: str,
    ca: Certificate,
    ca_key: PrivateKey,
    now: datetime,
    valid_for: timedelta = NODE_VALID_FOR,
    serial: int | None = None,
) -> Certificate:
    """Return a node's certificate for the request's public key; `node_id` and `role` are the issuer's decision."""
    if not _ROLE.match(role):
        raise ValueError(f"expected a role of lower-case letters, digits and hyphens, got {role[:40]!r}")
    key = csr_public_key(csr_der)
    subject = x509.Name(
        [
            *ca.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, role),
            x509.NameAttribute(NameOID.COMMON_NAME, parse_node_id(node_id)),
        ]
    )
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    ca_identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=ca.subject, public_key=key)
        .serial_number(x509.random_serial_number() if serial is None else serial)
        .not_valid_before(max(now - BACKDATED, ca.not_valid_before_utc))
        .not_valid_after(min(now + valid_for, ca.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(usage, critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(node_dns_name(node_id))]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_identifier),
            critical=False,
        )
        .sign(ca_key, hashes.SHA256())
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def node_dns_name(node_id: NodeId) -> str:
    """Return the name a node's certificate carries and a peer asks for in its handshake."""
    return f"{node_id}.{NODE_DOMAIN}"


def ca_digest(certificate: Certificate) -> bytes:
    """Return the SHA-256 over the certificate's DER, the digest join tokens begin with."""
    return certificate.fingerprint(hashes.SHA256())


def node_id_of(certificate_der: bytes) -> NodeId:
    """Return whose certificate this is, or raise AuthenticityError; says nothing about who signed it."""
    try:
        certificate = certificate_from_der(certificate_der)
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (DecodeError, *_PARSE_ERRORS) as error:
        raise AuthenticityError(f"expected a node's certificate: {error}") from error
    if constraints.ca:
        raise AuthenticityError("expected a node's certificate, got a certificate authority's")
    if len(names) != 1:
        raise AuthenticityError(f"expected one common name in a node's certificate, got {len(names)}")
    try:
        node_id = parse_node_id(str(names[0].value))
    except ValueError as error:
        raise AuthenticityError(str(error)) from error
    if list(san) != [x509.DNSName(node_dns_name(node_id))]:
        raise AuthenticityError(f"expected {node_dns_name(node_id)} as the only name in the certificate of that node")
    return node_id


def role_of(certificate: Certificate) -> str:
    """Return the role the issuer gave, or raise AuthenticityError where there is not exactly one."""
    roles = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    if len(roles) != 1:
        raise AuthenticityError(f"expected one role in a node's certificate, got {len(roles)}")
    return str(roles[0].value)


def verify_issued_by(certificate: Certificate, ca: Certificate, now: datetime | None = None) -> None:
    """Raise AuthenticityError unless `ca` signed the certificate and, given `now`, it is in force then."""
    try:
        certificate.verify_directly_issued_by(ca)
    except (InvalidSignature, ValueError, TypeError) as error:
        raise AuthenticityError("the certificate was not issued by this cluster's CA") from error
    if now is None:
        return
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise AuthenticityError(
            f"the certificate is in force from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} to "
            f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, and this host's clock says {now:%Y-%m-%d %H:%M}: "
            "check the clock, or renew the certificate"
        )


def verify_key(certificate: Certificate, key: PrivateKey) -> None:
    """Raise AuthenticityError unless the certificate is for `key`; a joiner checks what it was handed."""
    if certificate.public_key() != key.public_key():
        raise AuthenticityError("the certificate is for another key than this host's")


def renew_at(certificate: Certificate) -> float:
    """Return when to renew, in seconds since the epoch: two thirds into the certificate's life."""
    begin, end = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    return begin + (end - begin) * 2 / 3


def utc(seconds: float) -> datetime:
    """Return seconds since the epoch as the aware datetime this module's functions take."""
    return datetime.fromtimestamp(seconds, UTC)


def key_to_pem(key: PrivateKey) -> bytes:
    """Return the key as unencrypted PKCS#8; whoever stores it owes it mode 0600 or a seal."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def key_from_pem(pem: bytes) -> PrivateKey:
    """Return a stored key, or raise DecodeError."""
    try:
        key = serialization.load_pem_private_key(pem, None)
    except _PARSE_ERRORS as error:
        raise DecodeError(f"expected a private key in PEM: {error}") from error
    if not isinstance(key, PrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise DecodeError("expected an ECDSA P-256 private key")
    return key


def certificate_to_pem(certificate: Certificate) -> bytes:
    """Return the certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def certificate_from_pem(pem: bytes) -> Certificate:
    """Return the first certificate of a PEM text, or raise DecodeError."""
    if len(pem) > MAX_CERTIFICATE_BYTES:
        raise DecodeError(f"expected a certificate of at most {MAX_CERTIFICATE_BYTES} bytes, got {len(pem)}")
    try:
        return x509.load_pem_x509_certificate(pem)
    except _PARSE_ERRORS as error:
        raise DecodeError(f"expected a certificate in PEM: {error}") from error


def certificate_to_der(certificate: Certificate) -> bytes:
    """Return the certificate as DER."""
    return certificate.public_bytes(serialization.Encoding.DER)


def certificate_from_der(der: bytes) -> Certificate:
    """Return a certificate from DER, or raise DecodeError."""
    if len(der) > MAX_CERTIFICATE_BYTES:
        raise DecodeError(f"expected a certificate of at most {MAX_CERTIFICATE_BYTES} bytes, got {len(der)}")
    try:
        return x509.load_der_x509_certificate(der)
    except _PARSE_ERRORS as error:
        raise DecodeError(f"expected a certificate in DER: {error}") from error
