"""What the chart renders, for every case of values in its ``ci`` folder."""

from __future__ import annotations

import kubernetes_validate  # type: ignore[import-untyped] # has neither stubs nor a marker
import pytest
import yaml
from syrupy.assertion import SnapshotAssertion

from callboard.cli.log import LogSettings
from callboard.host.settings import HostSettings
from callboard.worker.settings import WorkerSettings
from chart.rendering import (
    CASES,
    CHART,
    OLDEST_KUBERNETES,
    Manifest,
    environment,
    one,
    pods,
    render,
    tool,
    values_of,
)

pytestmark = pytest.mark.parametrize("case", CASES)

# `helm install` alone prints them, and wants a cluster.
NOTES = """
apiVersion: v1
kind: ConfigMap
metadata: {name: notes}
data: {text: {{ include (print .Template.BasePath "/NOTES.txt") . | toJson }}}
"""
KUBERNETES = (OLDEST_KUBERNETES, kubernetes_validate.latest_version())
SETTINGS = {
    name: {f"CALLBOARD_{field.upper()}" for field in (settings | LogSettings.model_fields)}
    for name, settings in (
        ("host", HostSettings.model_fields),
        ("worker", WorkerSettings.model_fields),
    )
}
POD_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "name"} | {
    "persistentVolumeClaim",
    "projected",
    "secret",
}


def component(manifest: Manifest) -> str:
    name: str = manifest["metadata"]["labels"]["app.kubernetes.io/component"]
    return name


def selects(selector: dict[str, str], pod: Manifest) -> bool:
    return bool(selector.items() <= pod["metadata"]["labels"].items())


def test_golden(case: str, golden: SnapshotAssertion) -> None:
    """A change of what is rendered shows in the diff: ``make chart ARGS=--snapshot-update``."""
    assert render(case) == golden


def test_helm_finds_no_fault(case: str) -> None:
    """``helm lint --strict`` passes."""
    tool("helm", "lint", "--strict", str(CHART), "--values", str(values_of(case)))


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_knows_every_field(case: str, version: str) -> None:
    """The oldest Kubernetes that the chart allows and the newest known one take each manifest."""
    for manifest in render(case):
        kubernetes_validate.validate(manifest, version, strict=True)


def test_pods_meet_the_restricted_standard(case: str) -> None:
    """Every rule of the Pod Security Standard ``restricted`` that a pod can break, and ours."""
    for name, pod in pods(render(case)):
        spec = pod["spec"]
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & spec.keys(), name
        assert all(volume.keys() <= POD_VOLUMES for volume in spec["volumes"]), name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] == 65532, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }, name
            assert all("hostPort" not in port for port in container.get("ports", ())), name
            assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"], name
            assert container["resources"].keys() == {"requests", "limits"}, name


def test_selectors_find_their_own_pods_and_no_others(case: str) -> None:
    """A workload owns what its template makes; a Service has pods of one workload, and its port."""
    manifests = render(case)
    every_pod = list(pods(manifests))
    for manifest in manifests:
        spec = manifest.get("spec", {})
        name = f"{manifest['kind']}/{manifest['metadata']['name']}"
        if manifest["kind"] == "Service":
            ((_, pod),) = [found for found in every_pod if selects(spec["selector"], found[1])]
            (container,) = pod["spec"]["containers"]
            ports = {port["name"] for port in container["ports"]}
            assert {port["targetPort"] for port in spec["ports"]} <= ports
        elif "selector" in spec:
            labels = spec["selector"]["matchLabels"]
            assert [found for found, pod in every_pod if selects(labels, pod)] == [name]


def test_every_variable_is_a_setting(case: str) -> None:
    """Host and workers read each CALLBOARD_ variable that they are given."""
    for name, pod in pods(render(case)):
        given = {key for key in environment(pod) if key.startswith("CALLBOARD_")}
        assert given <= SETTINGS.get(component(pod), set()), name


def test_the_settings_take_their_values(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is rendered is what the programs understand, as far as it stands in the manifest."""
    for _, pod in pods(render(case)):
        settings = {"host": HostSettings, "worker": WorkerSettings}.get(component(pod))
        if settings is None:
            continue
        with monkeypatch.context() as environ:
            for key, value in environment(pod).items():
                if isinstance(value, str):
                    environ.setenv(key, value)
            settings()
            LogSettings()


def test_a_pod_has_the_time_that_it_needs_to_leave(case: str) -> None:
    """Kubernetes waits longer than the drain takes, the sleep before it included."""
    for name, pod in pods(render(case)):
        if component(pod) not in {"host", "worker"}:
            continue
        (container,) = pod["spec"]["containers"]
        sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        drain = float(environment(pod).get("CALLBOARD_DRAIN_TIMEOUT_S", 0))
        assert pod["spec"]["terminationGracePeriodSeconds"] >= sleep + drain + 15, name


def test_telemetry_is_whole_or_absent(case: str) -> None:
    """With somewhere to send it host and workers say who and where they are; else nothing."""
    manifests = render(case)
    endpoints = set()
    for name, pod in pods(manifests):
        if component(pod) not in {"host", "worker"}:
            continue
        variables = environment(pod)
        otel = {key for key in variables if key.startswith(("OTEL_", "K8S_"))}
        if not otel:
            continue
        endpoints.add(variables["OTEL_EXPORTER_OTLP_ENDPOINT"])
        attributes = dict(a.split("=") for a in variables["OTEL_RESOURCE_ATTRIBUTES"].split(","))
        order = list(variables)
        assert {"k8s.pod.name", "k8s.namespace.name", "k8s.node.name"} <= attributes.keys(), name
        assert "$(K8S_POD_NAME)" in attributes["service.instance.id"], name
        # Kubernetes puts in only what stands before.
        for variable in ("K8S_POD_NAME", "K8S_NAMESPACE_NAME", "K8S_NODE_NAME"):
            assert order.index(variable) < order.index("OTEL_RESOURCE_ATTRIBUTES"), name
    jaegers = {
        f"http://{m['metadata']['name']}:4317"
        for m in manifests
        if m["kind"] == "Service" and component(m) == "jaeger"
    }
    assert jaegers <= endpoints


def test_workers_and_tests_find_the_host(case: str) -> None:
    """The address that they are given is a Service of the release."""
    manifests = render(case)
    for _, pod in pods(manifests):
        if component(pod) not in {"worker", "test"}:
            continue
        (container,) = pod["spec"]["containers"]
        address = environment(pod).get("CALLBOARD_HOST") or container["command"][-1]
        service, port = address.split(":")
        spec = one(manifests, "Service", service)["spec"]
        assert int(port) in {entry["port"] for entry in spec["ports"]}


def test_service_accounts_are_there(case: str) -> None:
    """A pod runs as an account of the release, without a token, or as one named in values."""
    manifests = render(case)
    accounts = {m["metadata"]["name"]: m for m in manifests if m["kind"] == "ServiceAccount"}
    assert all(account["automountServiceAccountToken"] is False for account in accounts.values())
    for _, pod in pods(manifests):
        expected = {"host": accounts, "worker": [*accounts, "shop"]}.get(
            component(pod), ["default"]
        )
        assert pod["spec"]["serviceAccountName"] in expected


def test_names_fit(case: str) -> None:
    """Nothing is named twice, and every name is one that DNS takes."""
    manifests = render(case)
    names = [(m["kind"], m["metadata"]["name"]) for m in manifests]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 63 for _, name in names)


@pytest.mark.parametrize("options", [(), ("--is-upgrade",)], ids=["install", "upgrade"])
def test_the_notes_name_what_is_there(case: str, options: tuple[str, ...]) -> None:
    """Each command that helm prints is about an object of the release."""
    values = yaml.safe_load(values_of(case).read_text()) | {"extraObjects": [NOTES]}
    manifests = render(values, *options)
    text = one(manifests, "ConfigMap", "notes")["data"]["text"]
    names = {f"{m['kind'].lower()}/{m['metadata']['name']}" for m in manifests}
    commands = [line.split() for line in text.splitlines() if "  kubectl" in line]
    assert commands
    host = next(manifest for manifest in manifests if manifest["kind"] == "StatefulSet")
    left_alone = bool(options) and host["spec"]["updateStrategy"]["type"] == "OnDelete"
    assert ("delete" in [command[3] for command in commands]) == left_alone
    for command in commands:
        target = command[4]
        if command[3] in {"exec", "delete"}:  # a pod of the StatefulSet
            target = f"statefulset/{target.removeprefix('pod/').removesuffix('-0')}"
        assert target in names, command
