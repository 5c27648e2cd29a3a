"""The deployment's files say nothing that the code does not know."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

from evoline.secret_files import SecretStore
from services.analytics.settings import AnalyticsSettings
from services.evolution.settings import EvolutionSettings
from services.executor.settings import ExecutorSettings
from services.generator.settings import GeneratorSettings
from services.guardrail.settings import GuardrailSettings
from shared.messaging.permissions import roles
from shared.settings import ProviderSettings, SharedSettings
from shared.storage.roles import USERS
from shared.telemetry.metrics import catalogue
from tests.servers import program

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
SERVICES = ("guardrail", "executor", "generator", "analytics", "learner", "evolution")
SETTINGS: tuple[type[BaseSettings], ...] = (
    SharedSettings, ProviderSettings, AnalyticsSettings, EvolutionSettings, ExecutorSettings, GeneratorSettings, GuardrailSettings,
)  # fmt: skip
HISTOGRAM_PARTS = ("_bucket", "_sum", "_count")
OWN_LABELS = {"le", "job", "instance"}
"""Labels that Prometheus itself adds."""


def compose() -> dict[str, Any]:
    value: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return value


def known_variables() -> set[str]:
    names = {
        str(field.validation_alias or f"{settings.model_config['env_prefix']}{name}").upper()
        for settings in SETTINGS
        for name, field in settings.model_fields.items()
    }
    return names | {f"{name}_FILE" for name in names}


def environments() -> Iterator[tuple[str, dict[str, str]]]:
    for name, service in compose()["services"].items():
        yield name, service.get("environment", {})


def expressions() -> Iterator[tuple[str, str]]:
    """(where, PromQL) of every panel and every alert."""
    for file in sorted((DEPLOY / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{file.name}: {panel['title']}", target["expr"]
    for file in sorted((DEPLOY / "prometheus" / "rules").glob("*.yml")):
        for group in yaml.safe_load(file.read_text())["groups"]:
            for rule in group["rules"]:
                yield f"{file.name}: {rule['alert']}", rule["expr"]


@pytest.mark.parametrize(
    "file", [path for path in sorted(DEPLOY.rglob("*")) if path.suffix in {".yml", ".yaml", ".json"}], ids=lambda path: path.name
)
def test_every_deployment_file_is_well_formed(file: Path) -> None:
    text = file.read_text()
    assert isinstance(json.loads(text) if file.suffix == ".json" else yaml.safe_load(text), dict)


def test_every_variable_of_ours_in_compose_is_a_setting() -> None:
    known = known_variables()
    unknown = {
        (service, name)
        for service, values in environments()
        for name in values
        if name.startswith("EVOLINE_") and name not in known
    }
    assert unknown == set()
    assert any("EVOLINE_MONGO_URL" in values for _, values in environments())


def test_providers_keys_and_the_signing_key_reach_only_who_uses_them() -> None:
    by_service = dict(environments())
    assert {name for name, values in by_service.items() if "ANTHROPIC_API_KEY" in values} == {"executor"}
    assert {name for name, values in by_service.items() if "EVOLINE_GUARDRAIL_PRIVATE_KEY_FILE" in values} == {"guardrail"}
    mounts = {
        name for name, service in compose()["services"].items() if any("private-key" in each for each in service.get("volumes", []))
    }
    assert mounts == {"guardrail", "keys"}


def test_each_service_is_given_its_own_credentials_and_no_others() -> None:
    services = compose()["services"]
    for name in SERVICES:
        given = {volume.split(":")[0] for volume in services[name]["volumes"] if volume.startswith("secrets-")}
        assert given == {f"secrets-{name}"} | ({"secrets-sealed"} if name == "guardrail" else set())
        variables = services[name]["environment"]
        assert (variables["EVOLINE_NATS_USER"], variables["EVOLINE_MONGO_USER"]) == (name, name)
    everything = {f"secrets-{folder}" for folder in (*roles(), *(user.name for user in USERS), "mongo", "nats")}
    made = {volume.split(":")[0] for volume in services["secrets"]["volumes"]}
    assert made == everything == {name for name in compose()["volumes"] if name.startswith("secrets-")}
    folders = re.findall(r"for name in (.+?); do mkdir", (DEPLOY / "docker" / "Dockerfile").read_text())[0].split()
    assert {f"secrets-{folder}" for folder in folders} == everything


def test_the_brokers_configuration_and_the_generated_users_are_read_by_the_server(tmp_path: Path) -> None:
    SecretStore(tmp_path / "made").create()
    (tmp_path / "secrets").mkdir()
    shutil.copy(tmp_path / "made" / "nats" / "users.conf", tmp_path / "secrets" / "users.conf")
    shutil.copy(DEPLOY / "nats" / "nats.conf", tmp_path / "nats.conf")
    done = subprocess.run(
        [program("nats-server"), "-t", "-c", str(tmp_path / "nats.conf")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (tmp_path / "secrets" / "users.conf").unlink()
    without = subprocess.run([program("nats-server"), "-t", "-c", str(tmp_path / "nats.conf")], capture_output=True, check=False)
    assert without.returncode != 0  # never open to everybody because a file is missing


def test_every_service_runs_from_the_one_image_and_waits_for_what_it_needs() -> None:
    services = compose()["services"]
    for name in SERVICES:
        assert services[name]["image"] == "evoline:local"
        assert services[name]["command"] == ["python", "-m", f"services.{name}"]
        assert set(services[name]["depends_on"]) == {"store", "bus", "keys"}
        assert (ROOT / "services" / name / "__main__.py").is_file()
    assert "container_name" not in services["executor"] and "ports" not in services["executor"]


def test_every_path_volume_and_dependency_in_compose_exists() -> None:
    document = compose()
    for name, service in document["services"].items():
        if "build" in service:
            context = ROOT / service["build"]["context"]
            assert (context / service["build"]["dockerfile"]).is_file(), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (
                (ROOT / source).exists() if source.startswith("./") else source.startswith("${") or source in document["volumes"]
            ), volume
        assert set(service.get("depends_on", [])) <= set(document["services"]), name


def test_every_path_that_the_image_copies_exists() -> None:
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "docker" / "Dockerfile").read_text(), re.MULTILINE)
    missing = [source for line in copies for source in line.split() if not (ROOT / source).exists()]
    assert copies and missing == []


def test_only_loopback_ports_are_published() -> None:
    ports = [port for service in compose()["services"].values() for port in service.get("ports", [])]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)


def test_every_metric_in_a_panel_or_alert_exists_with_the_labels_it_is_asked_for() -> None:
    metrics = {metric.name: metric for metric in catalogue()}
    seen = 0
    for where, expression in expressions():
        for name, selector in re.findall(r"\b(evoline_[a-z0-9_]+)(?:\{([^}]*)\})?", expression):
            base = next((name.removesuffix(part) for part in HISTOGRAM_PARTS if name.removesuffix(part) in metrics), name)
            assert base in metrics, f"{where}: {name}"
            assert (base != name) == (metrics[base].kind == "histogram"), f"{where}: {name} is a {metrics[base].kind}"
            labels = set(re.findall(r"([a-z_]+)\s*[=!]~?=?\s*\"", selector))
            grouped = {label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")}
            assert labels <= set(metrics[base].labels) | OWN_LABELS, f"{where}: {labels}"
            assert grouped <= {label for each in metrics.values() for label in each.labels} | OWN_LABELS, f"{where}: {grouped}"
            seen += 1
    assert seen > 20


def test_every_scraped_service_is_a_service_of_compose_at_its_port() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    job = next(job for job in config["scrape_configs"] if job["job_name"] == "evoline")["dns_sd_configs"][0]
    assert tuple(job["names"]) == SERVICES
    assert all(values["EVOLINE_HTTP_PORT"] == str(job["port"]) for name, values in environments() if name in SERVICES)


def test_panels_do_not_overlap_and_use_the_provisioned_data_source() -> None:
    sources = yaml.safe_load((DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml").read_text())["datasources"]
    dashboard = json.loads((DEPLOY / "grafana" / "dashboards" / "overview.json").read_text())
    cells: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        own = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not own & cells and place["x"] + place["w"] <= 24, panel["title"]
        cells |= own
        assert panel["datasource"]["uid"] in {source["uid"] for source in sources}


def test_traces_go_to_the_collectors_own_port() -> None:
    collector = yaml.safe_load((DEPLOY / "otel" / "config.yaml").read_text())
    port = collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"].rpartition(":")[2]
    endpoints = {values["EVOLINE_OTLP_ENDPOINT"] for name, values in environments() if name in SERVICES}
    assert endpoints == {f"http://otel-collector:{port}/v1/traces"}
