"""The certificate authority: what a certificate says, what it never takes from a request, and who is refused."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings, strategies as st

from protocol import pki
from protocol.errors import AuthenticityError, DecodeError
from protocol.ids import NodeId, new_node_id

NOW = datetime(2026, 3, 1, tzinfo=UTC)
NODE = NodeId("0123456789abcdef0123456789abcdef")
CA_KEY = pki.new_key()
CA = pki.new_ca("c1", CA_KEY, NOW)
KEY = pki.new_key()


def issued(*, key: pki.PrivateKey = KEY, node_id: NodeId = NODE, now: datetime = NOW) -> pki.Certificate:
    return pki.issue(pki.new_csr(node_id, key), node_id=node_id, role="host", ca=CA, ca_key=CA_KEY, now=now)


def hand_made(common_names: list[str], sans: list[x509.GeneralName] | None, *, is_ca: bool = False) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each) for each in common_names])
    builder = (
        x509.CertificateBuilder(subject_name=name, issuer_name=CA.subject, public_key=KEY.public_key())
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )
    if sans is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
    return pki.certificate_to_der(builder.sign(CA_KEY, hashes.SHA256()))


def test_ca_is_named_after_its_cluster_and_may_sign_hosts_only() -> None:
    assert CA.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "Corral cluster CA c1"
    constraints = CA.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert constraints.ca
    assert constraints.path_length == 0
    assert CA.not_valid_after_utc - NOW > timedelta(days=3650)


def test_certificate_names_the_node_and_nothing_else() -> None:
    certificate = issued()
    san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [name.value for name in san] == [f"{NODE}.node.corral.internal"]
    assert pki.node_id_of(pki.certificate_to_der(certificate)) == NODE
    assert pki.role_of(certificate) == "host"
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}


def test_certificate_begins_an_hour_back_and_lasts_ninety_days() -> None:
    certificate = issued()
    assert certificate.not_valid_before_utc == max(NOW - timedelta(hours=1), CA.not_valid_before_utc)
    assert certificate.not_valid_after_utc == NOW + timedelta(days=90)


def test_certificate_never_outlives_its_authority() -> None:
    certificate = issued(now=CA.not_valid_after_utc - timedelta(days=2))
    assert certificate.not_valid_after_utc == CA.not_valid_after_utc


def test_certificate_takes_nothing_but_the_key_from_the_request() -> None:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "f" * 32),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "voter"),
        ]
    )
    greedy = (
        x509.CertificateSigningRequestBuilder(subject_name=name)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("evil.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(KEY, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )
    certificate = pki.issue(greedy, node_id=NODE, role="host", ca=CA, ca_key=CA_KEY, now=NOW)
    assert pki.node_id_of(pki.certificate_to_der(certificate)) == NODE
    assert pki.role_of(certificate) == "host"
    assert b"evil.example" not in pki.certificate_to_der(certificate)
    assert certificate.public_key() == KEY.public_key()


def test_request_with_a_broken_signature_is_refused() -> None:
    broken = bytearray(pki.new_csr(NODE, KEY))
    broken[-1] ^= 1
    with pytest.raises((AuthenticityError, DecodeError)):
        pki.csr_public_key(bytes(broken))


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()])
def test_request_for_another_kind_of_key_is_refused(
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey,
) -> None:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NODE)])
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    request = x509.CertificateSigningRequestBuilder(subject_name=name).sign(key, algorithm)
    with pytest.raises(DecodeError, match="P-256"):
        pki.csr_public_key(request.public_bytes(serialization.Encoding.DER))


@pytest.mark.parametrize(
    ("common_names", "sans", "is_ca", "why"),
    [
        ([], [x509.DNSName(pki.node_dns_name(NODE))], False, "one common name"),
        ([NODE, NODE], [x509.DNSName(pki.node_dns_name(NODE))], False, "one common name"),
        (["h1"], [x509.DNSName("h1.node.corral.internal")], False, "32 lower-case hex"),
        ([NODE], [x509.DNSName(pki.node_dns_name(NODE)), x509.DNSName("h1")], False, "only name"),
        ([NODE], [x509.DNSName("f" * 32 + ".node.corral.internal")], False, "only name"),
        ([NODE], None, False, "expected a node's certificate"),
        ([NODE], [x509.DNSName(pki.node_dns_name(NODE))], True, "authority"),
    ],
)
def test_certificate_of_another_shape_is_no_nodes(
    common_names: list[str], sans: list[x509.GeneralName] | None, is_ca: bool, why: str
) -> None:
    with pytest.raises(AuthenticityError, match=why):
        pki.node_id_of(hand_made(common_names, sans, is_ca=is_ca))


def test_certificate_of_another_authority_is_refused() -> None:
    other_key = pki.new_key()
    other = pki.new_ca("c1", other_key, NOW)
    stranger = pki.issue(pki.new_csr(NODE, KEY), node_id=NODE, role="host", ca=other, ca_key=other_key, now=NOW)
    pki.verify_issued_by(issued(), CA, NOW)
    with pytest.raises(AuthenticityError, match="not issued by this cluster"):
        pki.verify_issued_by(stranger, CA)


@pytest.mark.parametrize("when", [NOW - timedelta(days=1), NOW + timedelta(days=91)])
def test_certificate_out_of_force_is_refused_with_a_hint_at_the_clock(when: datetime) -> None:
    with pytest.raises(AuthenticityError, match="check the clock"):
        pki.verify_issued_by(issued(), CA, when)


def test_certificate_for_another_key_is_refused_by_its_receiver() -> None:
    pki.verify_key(issued(), KEY)
    with pytest.raises(AuthenticityError, match="another key"):
        pki.verify_key(issued(), pki.new_key())


def test_renewal_is_due_two_thirds_into_the_life() -> None:
    certificate = issued()
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert pki.utc(pki.renew_at(certificate)) == certificate.not_valid_before_utc + life * 2 / 3


def test_keys_and_certificates_survive_their_text_forms() -> None:
    assert pki.key_from_pem(pki.key_to_pem(KEY)).public_key() == KEY.public_key()
    assert pki.certificate_from_pem(pki.certificate_to_pem(CA)) == CA
    assert pki.certificate_from_der(pki.certificate_to_der(CA)) == CA
    assert pki.ca_digest(CA).hex() == CA.fingerprint(hashes.SHA256()).hex()


@settings(max_examples=60)
@given(st.binary(max_size=200) | st.integers(0, 400).map(lambda cut: pki.certificate_to_der(CA)[:cut]))
def test_any_bytes_give_our_errors_and_no_others(raw: bytes) -> None:
    with pytest.raises(AuthenticityError):
        pki.node_id_of(raw)
    for parse in (pki.certificate_from_der, pki.certificate_from_pem, pki.key_from_pem, pki.csr_public_key):
        with pytest.raises(DecodeError):
            parse(raw)


@settings(max_examples=60)
@given(st.integers(0, 2**20), st.integers(1, 255))
def test_a_flipped_byte_never_keeps_a_certificate_valid(position: int, flip: int) -> None:
    der = bytearray(pki.certificate_to_der(issued()))
    der[position % len(der)] ^= flip
    with pytest.raises((AuthenticityError, DecodeError)):
        pki.verify_issued_by(pki.certificate_from_der(bytes(der)), CA)


def tls_context(purpose: int, folder: Path, key: pki.PrivateKey, certificate: pki.Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(purpose)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(cadata=pki.certificate_to_der(CA))
    path = folder / f"{purpose}.pem"
    path.write_bytes(pki.key_to_pem(key) + pki.certificate_to_pem(certificate))
    context.load_cert_chain(path)
    return context


def test_two_nodes_shake_hands_with_strict_verification_when_the_name_is_the_node(tmp_path: Path) -> None:
    # The handshake reads the real clock, so these certificates are made for it.
    today = datetime.now(UTC)
    ids = [new_node_id(Random(seed)) for seed in (1, 2)]
    keys = [pki.new_key(), pki.new_key()]
    certificates = [issued(key=key, node_id=node_id, now=today) for key, node_id in zip(keys, ids, strict=True)]
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = tls_context(ssl.PROTOCOL_TLS_SERVER, tmp_path, keys[0], certificates[0]).wrap_bio(
        to_server, to_client, server_side=True
    )
    client = tls_context(ssl.PROTOCOL_TLS_CLIENT, tmp_path, keys[1], certificates[1]).wrap_bio(
        to_client, to_server, server_hostname=pki.node_dns_name(ids[0])
    )
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    seen = server.getpeercert(binary_form=True)
    assert seen is not None
    assert pki.node_id_of(seen) == ids[1]
