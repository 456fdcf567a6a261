"""Tokens, one-way and mutual TLS, at the source and at the target."""

import pytest

import certificates
from support.cdc import ApiError, scope
from support.node import Node, simple_rows
from support.oracle import wait_same_rows
from support.waiting import wait_until


@pytest.fixture(scope="module")
def secured(more_servers) -> dict[str, Node]:
    """One server with a token and one-way TLS, one with mutual TLS."""
    launched = {
        "one-way": more_servers.launch("one-way", tls="one-way", auth=True),
        "mutual": more_servers.launch("mutual", tls="mutual"),
    }
    return {kind: Node(server.wait_ready()) for kind, server in launched.items()}


@pytest.fixture(autouse=True)
def wiped(secured):
    yield
    for node in secured.values():
        node.wipe()


def dial_config(node: Node) -> dict:
    folder = node.server.certificates
    name = {"server_name": certificates.SERVER_NAME}
    if node.server.tls == "one-way":
        # Trust is given to the authority that signed the server's certificate.
        return {**name, "server_pem_path": str(folder / "ca.pem")}
    client = {"client_pem_path": str(folder / "client.pem"), "client_key_path": str(folder / "client.key")}
    return {**name, **client, "ca_pem_path": str(folder / "ca.pem")}


@pytest.mark.parametrize("kind", ["one-way", "mutual"])
def test_secured_target(cdc, source, secured, name, kind):
    made = source.create(name)
    cdc.create(secured[kind], scope(name), connect={"dial_config": dial_config(secured[kind])})
    made.insert(simple_rows(range(50)))
    wait_same_rows(source, secured[kind], name, expect=50)
    made.delete("id in [1]")
    wait_same_rows(source, secured[kind], name, expect=49)


def test_target_with_user_and_password(cdc, source, secured, name):
    node = secured["one-way"]
    source.create(name).insert(simple_rows(range(5)))
    given = {"dial_config": dial_config(node), "token": "", "username": "root", "password": "Milvus"}
    cdc.create(node, scope(name), connect=given)
    wait_same_rows(source, node, name, expect=5)


def test_secured_source(make_cdc, secured, target, name):
    node = secured["one-way"]
    cdc = make_cdc(node, milvus={"dialConfig": camel(dial_config(node))}).start()
    made = node.create(name)
    cdc.create(target, scope(name))
    made.insert(simple_rows(range(50)))
    wait_same_rows(node, target, name, expect=50)


def camel(tree: dict) -> dict:
    """`server_name` as `serverName`: the file's spelling of what the API calls the same."""
    return {
        "".join(w if not n else w.title() for n, w in enumerate(key.split("_"))): value for key, value in tree.items()
    }


def test_wrong_token_is_refused_and_not_shown(cdc, source, secured, name):
    node = secured["one-way"]
    with pytest.raises(ApiError) as refused:
        cdc.create(node, scope(name), connect={"dial_config": dial_config(node), "token": "root:geheimnis"})
    assert "geheimnis" not in refused.value.message
    wait_until(lambda: cdc.log.exists(), 5, "the log")
    assert "geheimnis" not in cdc.log.read_text()


def test_wrong_authority_is_refused(cdc, secured, name):
    node, other = secured["one-way"], secured["mutual"]
    wrong = {**dial_config(node), "server_pem_path": str(other.server.certificates / "ca.pem")}
    with pytest.raises(ApiError):
        cdc.create(node, scope(name), connect={"dial_config": wrong, "connect_timeout": 3})


@pytest.mark.parametrize("left_out", ["ca_pem_path", "client_pem_path", "client_key_path"])
def test_half_given_triple_is_refused(cdc, secured, name, left_out):
    node = secured["mutual"]
    half = {key: value for key, value in dial_config(node).items() if key != left_out}
    with pytest.raises(ApiError) as refused:
        cdc.create(node, scope(name), connect={"dial_config": half})
    assert refused.value.code == 400


def test_mutual_tls_without_a_client_certificate_is_refused(cdc, secured, name):
    node = secured["mutual"]
    server_only = {"server_name": certificates.SERVER_NAME, "server_pem_path": str(node.server.certificates / "ca.pem")}
    with pytest.raises(ApiError):
        cdc.create(node, scope(name), connect={"dial_config": server_only, "connect_timeout": 3})


def test_target_without_time_ticks_is_refused(cdc, more_servers, name):
    """What the Go server wants of a target makes ordinary writes invisible there: better no task than a silent one."""
    server = more_servers.launch("silent", settings={"common.ttMsgEnabled": False})
    with pytest.raises(ApiError, match="ttMsgEnabled"):
        cdc.create(Node(server.wait_ready()), scope(name))
