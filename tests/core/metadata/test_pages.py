"""Golden pages of both trees, for a VM with a row and for one that has only a port."""

import base64
import json
from dataclasses import replace
from datetime import date
from ipaddress import IPv4Address, IPv4Network

import pytest

from lessor.core.metadata.ec2 import EC2_VERSIONS
from lessor.core.metadata.openstack import OPENSTACK_VERSIONS, is_password
from lessor.core.metadata.pages import Page, page, root, steps
from lessor.errors import Invalid
from lessor.model import FixedIp, Instance, MetadataFacts, Network, Port, Subnet

TODAY = date(2026, 11, 22)
ENTROPY = bytes(range(256)) * 2
ID = "3f2a9c1e-5b7d-4e11-9a70-7c1f5f0e2b61"
I_ID = "i-9c8c52c1"  # printf ID | sha256sum
USER_DATA = b"#cloud-config\n\xff\x00binary"
KEY = "ssh-ed25519 AAAAC3Nza me@here"

PORT = Port(
    id="11111111-2222-4333-8444-555555555555",
    network_id="net",
    mac_address="fa:16:3e:00:00:05",
    name="web 1",
    project_id="p1",
    fixed_ips=(FixedIp("sub", IPv4Address("10.0.0.5")),),
    device_id=ID,
    device_owner="compute:east",
)
BARE = MetadataFacts(
    port=PORT,
    ports=(PORT,),
    networks={"net": Network(id="net", mtu=1450)},
    subnets={"sub": Subnet(id="sub", network_id="net", cidr=IPv4Network("10.0.0.0/24"))},
)
INSTANCE = Instance(
    id=ID,
    name="Web One",
    hostname="web1",
    project_id="p1",
    availability_zone="west",
    public_keys={"work": KEY, "home": "ssh-rsa BBBB"},
    user_data=base64.b64encode(USER_DATA).decode(),
    metadata={"role": "web"},
    launch_index=2,
    password="c2VjcmV0",
)
FULL = replace(BARE, instance=INSTANCE)

UNTIL_2016 = "meta_data.json user_data password vendor_data.json"
EC2_FIRST = [
    "ami-id",
    "ami-launch-index",
    "ami-manifest-path",
    "hostname",
    "instance-id",
    "local-ipv4",
    "public-keys/",
    "reservation-id",
    "security-groups",
]
EC2_ADDED = {
    "1.0": [],
    "2007-01-19": ["local-hostname", "public-hostname", "public-ipv4"],
    "2007-08-29": ["instance-type"],
    "2007-12-15": ["block-device-mapping/"],
    "2008-02-01": ["placement/"],
    "2008-09-01": ["instance-action"],
}


def told(path: str, facts: MetadataFacts = FULL, domain: str = "novalocal") -> Page | None:
    return page(facts, steps(path), domain=domain, today=TODAY, entropy=ENTROPY)


def text(path: str, facts: MetadataFacts = FULL, domain: str = "novalocal") -> str:
    found = told(path, facts, domain)
    assert found is not None, path
    assert found.content_type == "text/plain"
    return found.body.decode()


def document(path: str, facts: MetadataFacts = FULL) -> dict[str, object]:
    found = told(path, facts)
    assert found is not None, path
    assert found.content_type == "application/json"
    read: dict[str, object] = json.loads(found.body)
    return read


EC2_ROOT = """1.0
2007-01-19
2007-03-01
2007-08-29
2007-10-10
2007-12-15
2008-02-01
2008-09-01
2009-04-04
latest"""


@pytest.mark.parametrize("path", ["/", "", "//", "/.", "/ec2", "/ec2/", "/x/.."])
def test_root_lists_ec2_versions(path: str) -> None:
    assert text(path) == EC2_ROOT
    assert root().body.decode() == EC2_ROOT


@pytest.mark.parametrize("version", EC2_VERSIONS)
def test_ec2_version_lists_the_keys_of_its_time(version: str) -> None:
    added = [key for since, keys in EC2_ADDED.items() if version >= since for key in keys]
    assert text(f"/{version}/meta-data/").split("\n") == sorted([*EC2_FIRST, *added])


def test_latest_is_the_newest_ec2_version() -> None:
    assert text("/latest/meta-data/") == text("/2009-04-04/meta-data/")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/latest", "meta-data/\nuser-data"),
        ("/latest/", "meta-data/\nuser-data"),
        ("/latest/meta-data/ami-id", "ami-00000000"),
        ("/latest/meta-data/ami-launch-index", "2"),
        ("/latest/meta-data/ami-manifest-path", "FIXME"),
        ("/latest/meta-data/instance-id", I_ID),
        ("/latest/meta-data/reservation-id", I_ID.replace("i-", "r-")),
        ("/latest/meta-data/hostname", "web1.novalocal"),
        ("/latest/meta-data/local-hostname", "web1.novalocal"),
        ("/latest/meta-data/public-hostname", "web1.novalocal"),
        ("/latest/meta-data/local-ipv4", "10.0.0.5"),
        ("/latest/meta-data/public-ipv4", ""),
        ("/latest/meta-data/security-groups", ""),
        ("/latest/meta-data/instance-type", ""),
        ("/latest/meta-data/instance-action", "none"),
        ("/latest/meta-data/block-device-mapping/", ""),
        ("/latest/meta-data/placement/", "availability-zone"),
        ("/latest/meta-data/placement/availability-zone", "west"),
        ("/latest/meta-data/public-keys/", "0=home\n1=work"),
        ("/latest/meta-data/public-keys/1", "openssh-key"),
        ("/latest/meta-data/public-keys/1/", "openssh-key"),
        ("/latest/meta-data/public-keys/1/openssh-key", KEY),
        ("/ec2/2009-04-04/meta-data/hostname/", "web1.novalocal"),
        ("//latest///meta-data/./hostname", "web1.novalocal"),
        ("/openstack/../latest/meta-data/hostname", "web1.novalocal"),
    ],
)
def test_ec2_page(path: str, said: str) -> None:
    assert text(path) == said


def test_user_data_are_decoded_and_binary() -> None:
    for path in ("/latest/user-data", "/1.0/user-data", "/openstack/latest/user_data"):
        found = told(path)
        assert found == Page(USER_DATA)


@pytest.mark.parametrize(
    "path",
    [
        "/2006-01-01/meta-data/",
        "/latest/meta-data/nothing",
        "/latest/meta-data/hostname/deeper",
        "/latest/meta-data/public-keys/2",
        "/latest/meta-data/public-keys/0/_name",
        "/latest/meta-data/security-groups/0",
        "/1.0/meta-data/placement/",
        "/ec2/nothing",
        "/meta-data/",
        "/openstack/2011-01-01",
        "/openstack/latest/nothing.json",
        "/openstack/latest/meta_data.json/x",
        "/openstack/2012-08-10/password",
        "/openstack/2013-04-04/vendor_data.json",
        "/openstack/2013-10-17/network_data.json",
        "/openstack/2016-06-30/vendor_data2.json",
        "/openstack/content",
        "/openstack/content/0000",
        "/favicon.ico",
    ],
)
def test_no_such_path(path: str) -> None:
    assert told(path) is None


def test_openstack_lists_versions_that_are_out() -> None:
    assert text("/openstack").split("\n") == [*OPENSTACK_VERSIONS, "latest"]
    early = page(FULL, ("openstack",), domain="", today=date(2015, 10, 15), entropy=b"")
    assert early == Page(b"2012-08-10\n2013-04-04\n2013-10-17\n2015-10-15\nlatest")


def test_a_version_of_the_future_is_served_all_the_same() -> None:
    early = page(FULL, ("openstack", "2018-08-27"), domain="", today=date(2015, 1, 1), entropy=b"")
    assert early == told("/openstack/latest/")


@pytest.mark.parametrize(
    ("version", "names"),
    [
        ("2012-08-10", "meta_data.json user_data"),
        ("2013-04-04", "meta_data.json user_data password"),
        ("2013-10-17", "meta_data.json user_data password vendor_data.json"),
        ("2015-10-15", f"{UNTIL_2016} network_data.json"),
        ("2016-06-30", f"{UNTIL_2016} network_data.json"),
        ("2016-10-06", f"{UNTIL_2016} network_data.json vendor_data2.json"),
        ("2017-02-22", f"{UNTIL_2016} network_data.json vendor_data2.json"),
        ("2018-08-27", f"{UNTIL_2016} network_data.json vendor_data2.json"),
        ("latest", f"{UNTIL_2016} network_data.json vendor_data2.json"),
    ],
)
def test_openstack_version_lists_its_documents(version: str, names: str) -> None:
    assert text(f"/openstack/{version}").split("\n") == names.split()


def test_meta_data_json_of_the_newest_version() -> None:
    assert document("/openstack/latest/meta_data.json") == {
        "uuid": ID,
        "meta": {"role": "web"},
        "public_keys": {"home": "ssh-rsa BBBB", "work": KEY},
        "keys": [
            {"name": "home", "type": "ssh", "data": "ssh-rsa BBBB"},
            {"name": "work", "type": "ssh", "data": KEY},
        ],
        "hostname": "web1.novalocal",
        "name": "Web One",
        "launch_index": 2,
        "availability_zone": "west",
        "random_seed": base64.b64encode(ENTROPY).decode(),
        "project_id": "p1",
        "devices": [],
    }


@pytest.mark.parametrize(
    ("version", "missing"),
    [
        ("2012-08-10", {"random_seed", "project_id", "devices"}),
        ("2013-04-04", {"project_id", "devices"}),
        ("2015-10-15", {"devices"}),
        ("2016-06-30", set()),
    ],
)
def test_meta_data_json_grows_by_version(version: str, missing: set[str]) -> None:
    newest = document("/openstack/latest/meta_data.json")
    then = document(f"/openstack/{version}/meta_data.json")
    assert then == {key: value for key, value in newest.items() if key not in missing}


def test_password_and_vendor_data() -> None:
    assert text("/openstack/latest/password") == "c2VjcmV0"
    assert text("/openstack/latest/password", BARE) == ""
    assert document("/openstack/latest/vendor_data.json") == {}
    assert document("/openstack/latest/vendor_data2.json") == {"static": {}}


@pytest.mark.parametrize(
    ("path", "right"),
    [
        ("/openstack/latest/password", True),
        ("/openstack/2013-04-04/password/", True),
        ("/openstack/2012-08-10/password", False),
        ("/openstack/zzzz/password", False),
        ("/latest/password", False),
        ("/openstack/latest", False),
    ],
)
def test_which_path_is_the_password(path: str, right: bool) -> None:
    assert is_password(steps(path)) is right


def test_vm_without_a_row_is_described_from_its_port() -> None:
    assert document("/openstack/2015-10-15/meta_data.json", BARE) == {
        "uuid": ID,
        "hostname": "web-1.novalocal",
        "name": "web 1",
        "launch_index": 0,
        "availability_zone": "east",
        "random_seed": base64.b64encode(ENTROPY).decode(),
        "project_id": "p1",
    }
    assert text("/latest/meta-data/instance-id", BARE) == I_ID
    assert text("/latest", BARE) == "meta-data/"
    assert "user_data" not in text("/openstack/latest", BARE)
    assert told("/latest/user-data", BARE) is None
    assert told("/latest/meta-data/public-keys/", BARE) is None


def test_vm_of_a_port_without_device_or_name_is_its_port() -> None:
    port = replace(PORT, device_id="", device_owner="", name="")
    facts = replace(BARE, port=port, ports=())
    said = document("/openstack/latest/meta_data.json", facts)
    assert said["uuid"] == port.id
    assert said["availability_zone"] == "nova"
    assert said["hostname"] == "host-10-0-0-5.novalocal"


def test_first_nic_names_the_vm_through_whichever_it_asks() -> None:
    late = replace(
        PORT,
        id="99999999",
        name="storage",
        fixed_ips=(FixedIp("sub", IPv4Address("10.0.0.9")),),
        created_at=9.0,
    )
    for asks in (PORT, late):
        facts = replace(BARE, port=asks, ports=(late, PORT))
        assert text("/latest/meta-data/hostname", facts) == "web-1.novalocal"
        assert text("/latest/meta-data/local-ipv4", facts) == "10.0.0.5"


def test_domain_of_the_network_goes_before_dhcp_domain_and_none_adds_no_dot() -> None:
    own = replace(FULL, networks={"net": Network(id="net", dns_domain="lab.example.")})
    assert text("/latest/meta-data/hostname", own) == "web1.lab.example"
    assert text("/latest/meta-data/hostname", domain="") == "web1"


def test_user_data_that_are_not_base64_are_said_to_be_so() -> None:
    broken = replace(FULL, instance=replace(INSTANCE, user_data="a"))
    with pytest.raises(Invalid, match=f"instance {ID} is not base64"):
        told("/latest/user-data", broken)


def test_empty_user_data_exist() -> None:
    empty = replace(FULL, instance=replace(INSTANCE, user_data=""))
    assert told("/latest/user-data", empty) == Page(b"")
