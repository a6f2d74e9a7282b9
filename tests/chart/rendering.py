"""The chart, rendered by helm."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
CHART = ROOT / "charts" / "callboard"
TOOLS = ROOT / ".ci" / "tools"
CASES = sorted(path.name.removesuffix("-values.yaml") for path in CHART.glob("ci/*-values.yaml"))
OLDEST_KUBERNETES = "1.30"
RELEASE = "callboard"
NAMESPACE = "boards"

Manifest = dict[str, Any]


class Refused(Exception):
    """Helm did not render the chart; the text is what it says."""


def tool(name: str, *arguments: str, given: str = "") -> str:
    """What a tool of ``.ci/tools`` prints, built before.

    Raises:
        Refused: It failed.
    """
    ended = subprocess.run(
        [TOOLS / f"{name}.sh", *arguments],
        env=os.environ | {"BUILD": "no"},
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise Refused(ended.stderr)
    return ended.stdout


def values_of(case: str) -> Path:
    """The values of a case in the chart's ``ci`` folder."""
    return CHART / "ci" / f"{case}-values.yaml"


def render(
    values: Mapping[str, object] | str,
    *options: str,
    chart: Path = CHART,
    release: str = RELEASE,
) -> list[Manifest]:
    """The manifests for values, or for the case of that name, in helm's order.

    Raises:
        Refused: The values are refused.
    """
    file = str(values_of(values)) if isinstance(values, str) else "-"
    text = tool(
        *("helm", "template", release, str(chart), "--namespace", NAMESPACE, "--values", file),
        *("--kube-version", OLDEST_KUBERNETES),  # a helm of one's own build has no idea of any
        *options,
        given="" if isinstance(values, str) else json.dumps(values),
    )
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def one(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The manifest of that kind and name."""
    (found,) = (m for m in manifests if (m["kind"], m["metadata"]["name"]) == (kind, name))
    return found


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """The name of each owner of pods, or of a bare pod, and the pod's metadata and spec."""
    for manifest in manifests:
        name = f"{manifest['kind']}/{manifest['metadata']['name']}"
        if manifest["kind"] == "Pod":
            yield name, manifest
        elif template := manifest.get("spec", {}).get("template"):
            yield name, template


def environment(pod: Manifest) -> dict[str, Any]:
    """The variables of a pod's container: text, or where it comes from."""
    (container,) = pod["spec"]["containers"]
    variables = container.get("env", [])
    assert len({variable["name"] for variable in variables}) == len(variables)
    return {v["name"]: v.get("value", v.get("valueFrom")) for v in variables}
