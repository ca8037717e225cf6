"""What a server can be told, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure_server.config import Config, ConfigError, is_loopback, read_config, split_address


def test_defaults():
    config = read_config({})
    assert config == Config(data=Path(".perdure"))
    assert config.database == Path(".perdure/perdure.db")
    assert config.grpc == "127.0.0.1:7766"
    assert config.log_level == "info"


def test_the_environment_comes_before_defaults():
    environment = {
        "PERDURE_DATA": "/data",
        "PERDURE_GRPC": "0.0.0.0:1",
        "PERDURE_INSECURE": "true",
        "PERDURE_AUTH": "keys",
        "PERDURE_LOG_LEVEL": "debug",
        "PERDURE_GRACE_SECONDS": "1.5",
    }
    assert read_config(environment) == Config(
        data=Path("/data"),
        grpc="0.0.0.0:1",
        insecure=True,
        auth="keys",
        log_level="debug",
        grace_seconds=1.5,
    )


def test_arguments_come_before_the_environment():
    environment = {"PERDURE_DATA": "/data", "PERDURE_GRACE_SECONDS": "1"}
    config = read_config(environment, data=Path("here"), grace_seconds=0)
    assert (config.data, config.grace_seconds) == (Path("here"), 0)


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({"PERDURE_GRPC": "0.0.0.0:7766"}, "--insecure"),
        ({"PERDURE_GRPC": "example.org:7766"}, "--insecure"),
        ({"PERDURE_GRPC": "[::]:7766"}, "--insecure"),
        ({"PERDURE_GRPC": "7766"}, "HOST:PORT"),
        ({"PERDURE_GRPC": ":7766"}, "HOST:PORT"),
        ({"PERDURE_GRPC": "127.0.0.1:http"}, "HOST:PORT"),
        ({"PERDURE_GRPC": "127.0.0.1:65536"}, "65536"),
        ({"PERDURE_INSECURE": "perhaps"}, "PERDURE_INSECURE"),
        ({"PERDURE_GRPC": "0.0.0.0:7766"}, "--auth keys"),
        ({"PERDURE_GRPC": "0.0.0.0:7766", "PERDURE_AUTH": "none"}, "--auth keys"),
        ({"PERDURE_AUTH": "maybe"}, "maybe"),
        ({"PERDURE_LOG_LEVEL": "loud"}, "loud"),
        ({"PERDURE_GRACE_SECONDS": "soon"}, "PERDURE_GRACE_SECONDS"),
        ({"PERDURE_GRACE_SECONDS": "-1"}, "-1"),
        ({"PERDURE_GRACE_SECONDS": "nan"}, "nan"),
        ({"PERDURE_GRACE_SECONDS": "inf"}, "inf"),
    ],
)
def test_what_cannot_be_is_refused_by_name(environment, text):
    with pytest.raises(ConfigError, match=text):
        read_config(environment)


def test_with_keys_any_address_may_be_listened_on():
    config = read_config({"PERDURE_AUTH": "keys"}, grpc="0.0.0.0:7766")
    assert (config.auth, config.insecure) == ("keys", False)
    assert read_config({"PERDURE_AUTH": "keys"}, auth="none").auth == "none"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example.org", False),
    ],
)
def test_loopback(host, loopback):
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("address", "parts"),
    [("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:7766", ("::1", 7766))],
)
def test_an_address_has_host_and_port(address, parts):
    assert split_address(address) == parts


def test_an_envoy_is_started_only_where_one_is_meant():
    environment = {"PERDURE_HTTP": "127.0.0.1:1", "PERDURE_ENVOY": "bin/envoy"}
    assert read_config(environment).http is None
    config = read_config(environment, default_http="127.0.0.1:8080")
    assert (config.http, config.envoy) == ("127.0.0.1:1", Path("bin/envoy"))
    assert read_config({}, default_http="127.0.0.1:8080").http == "127.0.0.1:8080"
    assert read_config(environment, http="[::1]:2", default_http="x").http == "[::1]:2"


@pytest.mark.parametrize("http", ["0.0.0.0:8080", "[::]:0", "127.0.0.1:65536", "8080"])
def test_its_address_is_judged_as_the_servers(http):
    with pytest.raises(ConfigError):
        read_config({}, http=http)
    if "65536" not in http and ":" in http:
        assert read_config({"PERDURE_AUTH": "keys"}, http=http).http == http
