"""docker-compose.yml, its image and its files agree with one another and with the code."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ledger.settings import Settings, load
from stepback.cli.commands import COMMANDS
from tests.compose import (
    FILE,
    IN_URL,
    OURS,
    ROOT,
    VARIABLE,
    document,
    environment,
    healthcheck,
    mounts,
    services,
    variables,
)
from worker.app import _STOP_MS

_PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
_DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
_LASTING = sorted(services().keys() - {"init"})
_SERVERS = {"postgres", "redis"}


def _yaml(path: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
    return read


def _settings(service: str) -> Settings:
    return load({name: value for name, value in environment(service).items() if name.startswith("STEPBACK_")})


def _seconds(duration: str) -> int:
    (number,) = re.fullmatch(r"(\d+)s", duration).groups()  # type: ignore[union-attr]  # anything else is an error
    return int(number)


# -- services -----------------------------------------------------------------


def test_every_part_is_a_service() -> None:
    """Stepback's own processes, its two servers, and those who watch."""
    assert {*services()} == {*OURS, *_SERVERS, "prometheus", "alertmanager", "grafana"}


@pytest.mark.parametrize("service", OURS)
def test_every_command_is_one_of_ours(service: str) -> None:
    """Each process of Stepback is the command of its name, from the same image."""
    assert services()[service]["command"] == [service]
    assert service in COMMANDS
    assert services()[service]["image"] == f"stepback-pg:{_PROJECT['project']['version']}"
    assert services()[service]["build"] == "."
    # For no other are all of the locked files there.
    assert services()[service]["platform"] == "linux/amd64"


@pytest.mark.parametrize("service", sorted(services()))
def test_every_image_is_of_a_version(service: str) -> None:
    """Nothing is drawn that is whatever is newest."""
    assert re.fullmatch(r"[a-z/-]+:v?\d+(\.\d+)*", services()[service]["image"])


@pytest.mark.parametrize("service", _LASTING)
def test_what_lasts_is_started_again_asked_and_given_time(service: str) -> None:
    """Each has a restart policy, a healthcheck, and time to end."""
    found = services()[service]

    assert found["restart"] == "unless-stopped"
    assert healthcheck(service)
    assert _seconds(found["stop_grace_period"]) > 10
    # What is asked may take no longer than its asker waits.
    waits = re.findall(r"timeout=(\d+)", healthcheck(service)[-1])
    assert all(int(each) < _seconds(found["healthcheck"]["timeout"]) for each in waits)


def test_a_run_under_way_may_end() -> None:
    """Docker waits for a worker longer than the worker waits for its run."""
    assert _seconds(services()["worker"]["stop_grace_period"]) * 1000 > _STOP_MS


def test_what_is_needed_is_waited_for() -> None:
    """Workers and monitors start when schemas are up to date; every need says what it waits for, and can come true."""
    needs = {name: found.get("depends_on", {}) for name, found in services().items()}
    healthy, done = {"condition": "service_healthy"}, {"condition": "service_completed_successfully"}

    assert needs["init"] == {"postgres": healthy}
    assert needs["worker"] == needs["monitor"] == {"init": done, "postgres": healthy, "redis": healthy}
    for each in needs.values():
        for needed, how in each.items():
            assert how == (done if needed == "init" else healthy)
            assert needed == "init" or healthcheck(needed)
    assert services()["init"]["restart"] == "no"


# -- configuration ------------------------------------------------------------


@pytest.mark.parametrize("service", OURS)
def test_the_environment_is_a_configuration(service: str) -> None:
    """Stepback takes every variable, and reaches services of the file only."""
    settings = _settings(service)
    hosts = re.findall(r"(?:@|http://)([a-z]+):\d+", " ".join(environment(service).values()))

    assert not settings.embedded
    assert list(settings.targets) == ["goodbuy_hq"]
    assert {*hosts} == {"postgres", "redis", "alertmanager"}


def test_only_init_knows_the_superuser() -> None:
    """Neither a worker nor a monitor could change the ledger's tables."""
    assert [name for name in OURS if _settings(name).ledger.admin_url is not None] == ["init"]
    assert [name for name in OURS if "POSTGRES_PASSWORD" in str(services()[name])] == ["init"]
    assert environment("worker") == environment("monitor")
    assert environment("worker").items() < environment("init").items()


def test_plans_are_where_the_configuration_says() -> None:
    """Who reads them has their folder mounted."""
    for service in ("worker", "monitor"):
        (mount,) = (each for each in mounts(service) if each.target == "/plans")
        assert _settings(service).targets["goodbuy_hq"].plans == Path("/plans/goodbuy_hq")
        assert (ROOT / mount.source / "goodbuy_hq").is_dir()


def test_the_key_lies_in_a_volume_of_who_signs() -> None:
    """The monitor's data folder is kept; a worker signs nothing and has none."""
    (data,) = re.findall(r"^ENV STEPBACK_DATA=(\S+)$", _DOCKERFILE, re.MULTILINE)

    assert [(name, each.source) for name in OURS for each in mounts(name) if each.target == data] == [
        ("monitor", "data")
    ]
    assert f"install --directory --owner=stepback --mode=0700 {data}" in _DOCKERFILE


# -- the network --------------------------------------------------------------


def test_ports_are_for_this_host_only() -> None:
    """Whatever is published is so on loopback; servers, and workers of which there may be many, publish nothing."""
    ports = {name: found.get("ports", []) for name, found in services().items()}

    assert {name for name, each in ports.items() if each} == {
        "monitor",
        "gateway",
        "prometheus",
        "alertmanager",
        "grafana",
    }
    assert all(re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port) for each in ports.values() for port in each)


def test_metrics_are_where_they_are_asked_for() -> None:
    """What a process is configured to serve is what Prometheus scrapes, the healthcheck asks and the host gets."""
    worker, monitor = _settings("worker").worker, _settings("monitor").monitor
    scraped = {job["job_name"]: job for job in _yaml("dashboards/compose/prometheus.yml")["scrape_configs"]}

    assert (worker.metrics_host, monitor.metrics_host) == ("0.0.0.0", "0.0.0.0")  # noqa: S104 - within the network
    (found,) = scraped["stepback-worker"]["dns_sd_configs"]
    assert (found["names"], found["type"], found["port"]) == (["worker"], "A", worker.metrics_port)
    (static,) = scraped["stepback-monitor"]["static_configs"]
    assert static["targets"] == [f"monitor:{monitor.metrics_port}"]
    assert services()["monitor"]["ports"] == [f"127.0.0.1:{monitor.metrics_port}:{monitor.metrics_port}"]
    for service, port in (("worker", worker.metrics_port), ("monitor", monitor.metrics_port)):
        assert f"http://127.0.0.1:{port}/metrics" in healthcheck(service)[-1]


def test_there_may_be_many_workers() -> None:
    """Nothing of a worker can be had only once: a name, a port of the host, a volume to write to."""
    worker = services()["worker"]

    assert not worker.keys() & {"container_name", "hostname", "ports", "network_mode"}
    assert all(mount.read_only for mount in mounts("worker"))


# -- secrets ------------------------------------------------------------------


def _values(node: object, key: str = "") -> Iterator[tuple[str, str]]:
    match node:
        case dict():
            for name, value in node.items():
                yield from _values(value, str(name))
        case list():
            for previous, value in zip(["", *node], node, strict=False):
                yield from _values(value, str(previous))
        case _:
            yield key, str(node)


def test_no_password_stands_in_the_file() -> None:
    """Each comes from the environment, and without it compose starts nothing."""
    text = FILE.read_text(encoding="utf-8")
    named = [value for key, value in _values(document()) if re.search(r"(?i)pass|auth|secret|token", key)]

    assert len(named) == 7
    assert all(VARIABLE.fullmatch(value) for value in named)
    assert IN_URL.findall(text)
    assert all(VARIABLE.fullmatch(value) for value in IN_URL.findall(text))
    assert len(re.findall(r"\$\{", text)) == len(VARIABLE.findall(text))


def test_the_example_names_every_password_and_holds_none() -> None:
    """Filled in, it is all that compose asks for; the filled one is never committed nor sent to a build."""
    given = re.findall(r"^(\w+)=(.*)$", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE)

    assert {name for name, _ in given} == variables()
    assert {value for _, value in given} == {""}
    # Nor does Stepback mistake one for a setting, where somebody exports them all.
    assert not [name for name, _ in given if name.startswith("STEPBACK_")]
    assert "/.env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


# -- files and volumes --------------------------------------------------------


def test_every_file_that_is_mounted_is_there() -> None:
    """Docker would make an empty folder of one that is not; nobody in a container can change one."""
    files = [mount for name in services() for mount in mounts(name) if not mount.named]

    assert files
    assert all((ROOT / mount.source).exists() and mount.read_only for mount in files)


def test_every_volume_is_declared_and_used_once() -> None:
    """Nobody else has the operator's key, or writes to a server's data."""
    used = [mount.source for name in services() for mount in mounts(name) if mount.named]

    assert sorted(used) == sorted(document()["volumes"])


def test_the_data_of_postgresql_is_kept() -> None:
    """Images from 18 on keep it in a folder below the one that has to be the volume."""
    (mount,) = (each for each in mounts("postgres") if each.named)

    assert services()["postgres"]["image"] == "postgres:18"
    assert mount.target == "/var/lib/postgresql"


# -- what watches -------------------------------------------------------------


def _elsewhere(configuration: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration of Prometheus without any address."""
    jobs = [
        {key: value for key, value in job.items() if not key.endswith("_configs")}
        for job in configuration["scrape_configs"]
    ]
    return {**configuration, "scrape_configs": jobs, "alerting": None}


def test_prometheus_differs_in_addresses_only() -> None:
    """Jobs, labels, intervals and rule files are those of dashboards/prometheus."""
    shipped, here = (_yaml(f"dashboards/{folder}/prometheus.yml") for folder in ("prometheus", "compose"))

    assert _elsewhere(here) == _elsewhere(shipped)
    assert [*here["alerting"]] == [*shipped["alerting"]]
    assert here["alerting"]["alertmanagers"] == [{"static_configs": [{"targets": ["alertmanager:9093"]}]}]
    mounted = {mount.target.rpartition("/")[2] for mount in mounts("prometheus") if not mount.named}
    assert mounted == {"prometheus.yml", *here["rule_files"]}


def test_backstop_and_monitor_speak_of_one_environment() -> None:
    """Inhibition compares the label of the one with that of the other."""
    labels = _yaml("dashboards/compose/prometheus.yml")["global"]["external_labels"]

    assert labels == {"environment": _settings("monitor").monitor.environment}


def test_pages_lead_to_the_dashboard_that_is_published() -> None:
    """The address is that of the rules' own pages, on the port of this host."""
    url = _settings("monitor").monitor.dashboard_url

    assert f"dashboard_url: {url}\n" in (ROOT / "dashboards/prometheus/alerts.rules.yml").read_text(encoding="utf-8")
    assert url.startswith(f"http://{services()['grafana']['ports'][0].rpartition(':')[0]}/")


def test_grafana_differs_in_the_address_only() -> None:
    """Its data source is that of dashboards/grafana, and it looks for dashboards where ours is mounted."""
    (shipped,), (here,) = (
        _yaml(f"dashboards/{folder}/datasources.yml")["datasources"] for folder in ("grafana/provisioning", "compose")
    )
    (provider,) = _yaml("dashboards/grafana/provisioning/dashboards.yml")["providers"]

    assert here == {**shipped, "url": "http://prometheus:9090"}
    assert f"{provider['options']['path']}/stepback.json" in [mount.target for mount in mounts("grafana")]


# -- the image ----------------------------------------------------------------


def _copied() -> set[str]:
    lines = re.findall(r"^COPY (.*) \S+$", _DOCKERFILE, re.MULTILINE)
    return {word.rstrip("/") for line in lines for word in line.split()}


def test_the_image_holds_what_is_packaged() -> None:
    """Every package of the distribution is copied, no tests are, and .dockerignore lets through just that."""
    packages = _PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()

    assert _copied() == {*packages, "requirements.lock", "pyproject.toml", "README.md", "LICENSE"}
    assert all((ROOT / each).exists() for each in _copied())
    assert "*" in ignored
    assert {line.strip("!/") for line in ignored if line.startswith("!")} == _copied()


def test_the_image_is_installed_from_the_lock() -> None:
    """What is fetched is held against its hash; everything else is installed without an index."""
    fetching = [line for line in _DOCKERFILE.splitlines() if re.search(r"pip (install|wheel|download)", line)]

    assert len(fetching) == 4
    assert [line for line in fetching if "--no-index" not in line] == [
        "RUN pip download --require-hashes --only-binary :all: --dest /wheels --requirement requirements.lock"
    ]


def test_the_image_runs_stepback_as_nobody_in_particular() -> None:
    """Its last word on the user is one without rights, and its arguments are those of the command line."""
    stages = re.findall(r"^FROM (\S+)", _DOCKERFILE, re.MULTILINE)

    assert {*stages} == {"python:3.12-slim"}
    assert re.findall(r"^USER (.*)$", _DOCKERFILE, re.MULTILINE) == ["stepback"]
    assert re.findall(r"^ENTRYPOINT (.*)$", _DOCKERFILE, re.MULTILINE) == ['["stepback"]']
