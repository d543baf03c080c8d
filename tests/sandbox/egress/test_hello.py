"""The ClientHello, however its bytes arrive."""

import ssl

import pytest

from overnight.sandbox.egress.hello import Hello, NotTlsError, read_hello


def _hello(name: str) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def _in_records(hello: bytes, size: int) -> bytes:
    message = hello[5:]
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(hello[:3] + len(piece).to_bytes(2) + piece for piece in pieces)


@pytest.mark.parametrize("size", [1, 3, 100, 16384])
def test_it_is_read_after_any_number_of_bytes_and_in_records_of_any_size(size: int) -> None:
    data = _in_records(_hello("name.example"), size)
    for end in range(min(len(data), 400)):
        assert read_hello(data[:end]) is None
    assert read_hello(data) == Hello("name.example", encrypted=False)


def test_what_is_no_hello_is_refused() -> None:
    for data in (b"GET / HTTP/1.1\r\n", b"\x80\x2e\x01\x03\x01", b"\x16\x03\x01\x00\x01\x02"):
        with pytest.raises(NotTlsError):
            read_hello(data)
