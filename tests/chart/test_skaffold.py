"""What skaffold.yaml says of the chart."""

from __future__ import annotations

from typing import Any

import yaml

from chart.rendering import ROOT, one, pods, render

SKAFFOLD: dict[str, Any] = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
(RELEASE,) = SKAFFOLD["deploy"]["helm"]["releases"]


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """Values by path, as skaffold hands them to helm."""
    values: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, last = path.split(".")
        into = values
        for parent in parents:
            into = into.setdefault(parent, {})
        into[last] = value
    return values


def built(template: object) -> object:
    """A value with what skaffold fills in, as if each image were of its own name and tagged 7."""
    text = str(template)
    for artifact in SKAFFOLD["build"]["artifacts"]:
        variable = artifact["image"].replace("-", "_")
        text = text.replace(f"{{{{.IMAGE_REPO_{variable}}}}}", f"pushed/{artifact['image']}")
        text = text.replace(f"{{{{.IMAGE_TAG_{variable}}}}}", "7")
    return text


def manifests() -> list[dict[str, Any]]:
    given = {path: built(value) for path, value in RELEASE["setValueTemplates"].items()}
    return render(nested(RELEASE["setValues"] | given))


def test_the_chart_takes_its_values_and_every_image_is_the_built_one() -> None:
    """No pod of Callboard's runs an image that skaffold has not built."""
    images = {
        container["image"]
        for _, pod in pods(manifests())
        for container in pod["spec"]["containers"]
        if "jaeger" not in container["image"]
    }
    assert images == {"pushed/callboard-host:7", "pushed/callboard-worker:7"}


def test_it_forwards_ports_of_services_that_are_there() -> None:
    """And builds from Dockerfiles that are."""
    for forward in SKAFFOLD["portForward"]:
        ports = one(manifests(), "Service", forward["resourceName"])["spec"]["ports"]
        assert forward["port"] in {port["port"] for port in ports}
    for artifact in SKAFFOLD["build"]["artifacts"]:
        assert (ROOT / artifact["docker"]["dockerfile"]).is_file()


def test_it_replaces_the_host_at_every_change() -> None:
    """Nobody who works on the code has events to keep."""
    host = one(manifests(), "StatefulSet", "callboard-host")
    assert host["spec"]["updateStrategy"] == {"type": "RollingUpdate"}
