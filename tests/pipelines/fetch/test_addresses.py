"""Only public addresses are connected to, however they are written and wherever they come from."""

import asyncio
import ipaddress

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.fetch.addresses import Network, Refused, VettingResolver, checked_url, why_refused

PORTS = frozenset({80, 443})


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.31.255.255", "192.0.0.8"),
        *("192.0.2.1", "192.88.99.1", "192.168.1.1", "198.19.0.1", "224.0.0.1", "239.255.255.250", "255.255.255.255"),
        *(
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "fe80::1",
            "fc00::1",
            "fec0::1",
            "ff02::1",
        ),
        *("64:ff9b::10.0.0.1", "64:ff9b:1::8.8.8.8", "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "5f00::1"),
        *("100::1", "fe80::1%eth0", "127.1", "0x7f000001", "localhost", ""),
    ],
)
def test_what_is_not_public_is_refused(address):
    assert why_refused(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "172.32.0.1", "2606:4700::1111", "64:ff9b::8.8.8.8", "192.0.1.1"])
def test_public_addresses_pass(address):
    assert why_refused(address) is None


@given(st.integers(0, 2**32 - 1))
def test_nothing_passes_that_python_calls_private(number):
    address = ipaddress.IPv4Address(number)
    if why_refused(str(address)) is None:
        assert address.is_global
        assert not address.is_multicast


@given(st.integers(0, 2**128 - 1))
def test_no_v6_address_passes_that_python_calls_private(number):
    address = ipaddress.IPv6Address(number)
    if why_refused(str(address)) is None:
        assert address.is_global or address in ipaddress.IPv6Network("64:ff9b::/96")
        assert not address.is_multicast


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_refused(text):
    for url in (text, f"http://{text}", f"http://{text}/x", f"http://a.test/{text}", f"https://a.test:{text}"):
        try:
            found = checked_url(url, Network(), PORTS)
        except Refused:
            continue
        assert found.scheme in ("http", "https")
        assert found.port in PORTS
        assert found.user is None
        # what was checked is what is requested
        assert checked_url(str(found), Network(), PORTS) == found


@pytest.mark.parametrize(
    "url",
    [
        *("http://2130706433/", "http://0x7f.1/", "http://017700000001/", "http://127.1/", "http://127.0.0.1./"),
        *("http://①②⑦.0.0.1/", "http://127。0。0。1/", "http://[::ffff:7f00:1]/", "http://%31%32%37.0.0.1/"),
        *(
            "http://[fe80::1%25eth0]/",
            "http://a.test@10.0.0.1/",
            "http://a.test:8080/",
            "http://a.test:0/",
            "//a.test/",
        ),
        *("javascript:alert(1)", "http://a..b/", "http://-/", "http://a b/", "http://" + "a" * 300 + "/"),
        *("http://a.test/" + "x" * 9000, "http://[::1", "gopher://a.test/", "http://a.test\x00.evil/"),
    ],
)
def test_odd_addresses_are_refused(url):
    with pytest.raises(Refused):
        checked_url(url, Network(), PORTS)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("HTTP://A.Test/x#part", "a.test"),
        ("http://bücher.test/", "xn--bcher-kva.test"),
        ("http://a_b.test/x y", "a_b.test"),
        ("http://8.8.8.8/x", "8.8.8.8"),
        ("http://[2606:4700::1111]/", "2606:4700::1111"),
        ("http://a.test.:443/", "a.test."),
    ],
)
def test_plain_addresses_pass(url, host):
    found = checked_url(url, Network(), PORTS)
    assert found.raw_host == host
    assert not found.fragment


def test_one_private_answer_refuses_the_name():
    with pytest.raises(Refused, match=r"10\.0\.0\.7"):
        asyncio.run(VettingResolver(Network({"x.test": ("10.0.0.7", 80)})).resolve("x.test", 80))


def test_a_name_that_changes_its_answer_is_refused_where_its_socket_is_made():
    class Rebinding(aiohttp.abc.AbstractResolver):
        """Gives an address that nothing has checked."""

        async def resolve(self, host, port=0, family=0):
            return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": 2, "proto": 0, "flags": 4}]

        async def close(self):
            pass

    async def ask():
        connector = aiohttp.TCPConnector(resolver=Rebinding(), socket_factory=Network().socket)
        async with aiohttp.ClientSession(connector=connector) as session:
            await session.get("http://public.test/")

    with pytest.raises(aiohttp.ClientConnectorError) as error:
        asyncio.run(ask())
    assert isinstance(error.value.os_error, Refused)


def test_no_exception_is_allowed_by_default():
    assert Network().allowed == frozenset()
    assert not Network().hosts
