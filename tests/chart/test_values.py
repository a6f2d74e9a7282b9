"""What the chart makes of single values, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped] # has neither stubs nor a marker
import pytest
import yaml
from pydantic.alias_generators import to_camel

from callboard.host.settings import HostSettings
from chart.rendering import (
    CHART,
    OLDEST_KUBERNETES,
    ROOT,
    Refused,
    environment,
    one,
    pods,
    render,
    tool,
)

SAMPLES = "callboard-samples"
SHOP = {"image": {"repository": "shop", "tag": "1.4"}, "agents": ["shop.agents:setup"]}


def worker(**values: object) -> dict[str, Any]:
    """Values with one more worker."""
    return {"workers": {"shop": SHOP | values}}


def deployment(**values: object) -> dict[str, Any]:
    """Its Deployment."""
    return one(render(worker(**values)), "Deployment", "callboard-shop")


def container(**values: object) -> dict[str, Any]:
    """Its container."""
    (found,) = deployment(**values)["spec"]["template"]["spec"]["containers"]
    return dict(found)


@pytest.mark.parametrize(
    ("values", "about"),
    [
        ({"hots": {}}, "hots"),
        ({"host": {"replica": 1}}, "replica"),
        ({"host": {"limits": {"maxQueueBytes": 1}}}, "maxQueueBytes"),
        ({"host": {"limits": {"maxQueuedBytes": 0}}}, "maxQueuedBytes"),
        ({"host": {"image": {"tga": "1"}}}, "tga"),
        ({"host": {"image": {"digest": "sha256:short"}}}, "digest"),
        ({"host": {"probes": {"liveness": {"period": 1}}}}, "period"),
        ({"host": {"env": {"A-B": "1"}}}, "A-B"),
        ({"host": {"env": {"A": {"secretRef": {"name": "x"}}}}}, "secretRef"),
        ({"host": {"service": {"type": "LoadBalancer"}}}, "type"),
        ({"workerDefaults": {"agent": []}}, "agent"),
        (worker(replicsa=2), "replicsa"),
        (worker(replicas=-1), "replicas"),
        (worker(agents=["shop.agents"]), "agents"),
        (worker(agents="shop.agents:setup"), "agents"),
        ({"workers": {"Shop": SHOP}}, "Shop"),
        ({"workers": {"shop_two": SHOP}}, "shop_two"),
        ({"workers": {"a" * 41: SHOP}}, "a" * 41),
        ({"log": {"level": "loud"}}, "level"),
        ({"otel": {"endpoint": "collector:4317"}}, "endpoint"),
        ({"otel": {"headersSecret": {"name": "x"}}}, "headersSecret"),
        ({"otel": {"resourceAttributes": {"a": "1,b=2"}}}, "resourceAttributes"),
        ({"jaeger": {"enabled": "yes"}}, "enabled"),
        ({"autoscaling": {}}, "autoscaling"),
        ({"commonLabels": {"a": 1}}, "commonLabels"),
        ({"commonLabels": {"app.kubernetes.io/name": "mine"}}, "app.kubernetes.io/name"),
        (worker(podLabels={"callboard/worker": "other"}), "callboard/worker"),
        ({"fullnameOverride": "A_b"}, "fullnameOverride"),
        ({"fullnameOverride": "-"}, "fullnameOverride"),
        ({"fullnameOverride": "9lives"}, "fullnameOverride"),
        ({"nameOverride": "a.b"}, "nameOverride"),
        ({"host": {"updateStrategy": "Recreate"}}, "updateStrategy"),
        ({"workerDefaults": {"drainTimeoutSeconds": None}}, "drainTimeoutSeconds"),
        (worker(drainTimeoutSeconds=None), "drainTimeoutSeconds"),
        ({"workers": None}, "workers"),
        ({"host": {"probes": None}}, "probes"),
    ],
)
def test_misspelt_and_mistyped_values_are_refused(values: dict[str, Any], about: str) -> None:
    """The schema knows every key and its type, and names the one that is wrong."""
    with pytest.raises(Refused, match="specifications of the schema") as refused:
        render(values)
    assert about in str(refused.value)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"host": {"replicas": 2}}, "host.replicas is 2: there has to be one host, because"),
        ({"host": {"replicas": 0}}, "host.replicas is 0"),
        (
            {"jaeger": {"enabled": True}, "otel": {"endpoint": "http://collector:4317"}},
            "jaeger.enabled and otel.endpoint (http://collector:4317) both say where traces go",
        ),
        ({"otel": {"samplerArg": "0.1"}}, "otel.sampler is not"),
        (worker(agents=[]), "workers.shop has neither agents nor args"),
        (
            worker(image={"repository": "shop"}),
            "workers.shop.image.repository is shop: give it a tag or a digest",
        ),
        ({"workers": {"host": SHOP}}, "workers.host has the name of another part"),
        ({"workers": {"jaeger": SHOP}}, "workers.jaeger has the name of another part"),
        (
            worker(serviceAccount={"create": False}),
            "workers.shop.serviceAccount.create is false: name the one that is there",
        ),
        (
            {"host": {"serviceAccount": {"create": False}}},
            "host.serviceAccount.create is false: name the one that is there",
        ),
        (worker(env={"CALLBOARD_HOST": "x:1"}), "workers.shop.env has CALLBOARD_HOST, which the"),
        (
            {"host": {"env": {"CALLBOARD_MAX_QUEUED_BYTES": "1"}}},
            "host.env has CALLBOARD_MAX_QUEUED_BYTES, which the chart sets",
        ),
        (worker(args=["--host", "x:1"]), "workers.shop.args has --host: a worker is given the"),
        (worker(args=["--client-id=x"]), "workers.shop.args has --client-id: it is the pod's name"),
        (worker(args=["--drain-timeout=600"]), "set workers.shop.drainTimeoutSeconds"),
        (worker(args=["--connect-timeout", "1"]), "set workers.shop.connectTimeoutSeconds"),
        (worker(args=["--health-address=:1"]), "set workers.shop.probes"),
        (
            {"workerDefaults": {"args": ["--drain-timeout", "600"]}} | worker(),
            "workers.shop.args has --drain-timeout",
        ),
        ({"otel": {"sampler": "always_on"}}, "otel.sampler is set and nothing says where traces"),
        ({"otel": {"resourceAttributes": {"a": "b"}}}, "otel.resourceAttributes is set and"),
        ({"otel": {"headersSecret": {"name": "x", "key": "y"}}}, "otel.headersSecret is set and"),
        (worker(volumes=[{"name": "tmp", "emptyDir": {}}]), "workers.shop.volumes has a `tmp`"),
        (
            worker(volumeMounts=[{"name": "scratch", "mountPath": "/tmp/"}]),
            "workers.shop.volumeMounts has /tmp",
        ),
        ({"host": {"volumes": [{"name": "tmp", "emptyDir": {}}]}}, "host.volumes has a `tmp`"),
    ],
)
def test_values_that_contradict_each_other_are_refused(values: dict[str, Any], says: str) -> None:
    """Rules over more than one value, each with its reason."""
    with pytest.raises(Refused) as refused:
        render(values)
    assert says in str(refused.value)


def test_all_contradictions_are_told_at_once() -> None:
    """Nobody mends one to hear of the next."""
    with pytest.raises(Refused) as refused:
        render({"host": {"replicas": 3}} | worker(agents=[]))
    assert "host.replicas is 3" in str(refused.value)
    assert "workers.shop has neither" in str(refused.value)


def test_a_worker_that_is_off_is_not_looked_at() -> None:
    """Nor is anything of it rendered."""
    manifests = render(worker(enabled=False, agents=[]))
    assert "callboard-shop" not in {manifest["metadata"]["name"] for manifest in manifests}


@pytest.mark.parametrize(
    ("replicas", "rendered"), [({}, None), ({"replicas": None}, None), ({"replicas": 0}, 0)]
)
def test_replicas_are_rendered_only_where_they_are_said(
    replicas: dict[str, object], rendered: int | None
) -> None:
    """An upgrade leaves to ``kubectl scale`` what values leave out; none at all can be said too."""
    assert deployment(**replicas)["spec"].get("replicas") == rendered


def test_a_workers_values_lie_over_the_defaults() -> None:
    """Maps by key, false and 0 included, and null takes away."""
    found = container(
        probes={"readiness": {"enabled": False}, "liveness": {"enabled": True, "periodSeconds": 7}},
        resources={"requests": {"cpu": "2"}, "limits": {"memory": None}},
        connectTimeoutSeconds=0,
    )
    assert "readinessProbe" not in found
    assert found["livenessProbe"] == {
        "grpc": {"port": 50053},
        "periodSeconds": 7,
        "timeoutSeconds": 5,
        "failureThreshold": 6,
    }
    assert found["resources"] == {"requests": {"cpu": "2", "memory": "128Mi"}, "limits": {}}
    assert {"name": "CALLBOARD_CONNECT_TIMEOUT_S", "value": "0"} in found["env"]


def test_defaults_are_for_every_worker() -> None:
    """``workerDefaults`` reaches the samples too."""
    manifests = render({"workerDefaults": {"drainTimeoutSeconds": 0.5}} | worker())
    for name in (SAMPLES, "callboard-shop"):
        spec = one(manifests, "Deployment", name)["spec"]["template"]["spec"]
        assert spec["terminationGracePeriodSeconds"] == 16
        assert environment({"spec": spec})["CALLBOARD_DRAIN_TIMEOUT_S"] == "0.5"


def test_labels_of_all_objects_are_not_for_pods() -> None:
    """Pods have labels of their own: Kubernetes replaces a pod whose labels change."""
    values = worker(podLabels={"tier": "own"}) | {
        "commonLabels": {"tier": "all", "b": "2"},
        "jaeger": {"enabled": True},
    }
    manifests = render(values)
    owned = [pod for name, pod in pods(manifests) if not name.startswith("Pod/")]
    assert all("b" not in pod["metadata"]["labels"] for pod in owned)
    assert all(manifest["metadata"]["labels"]["b"] == "2" for manifest in manifests)
    manifest = one(manifests, "Deployment", "callboard-shop")
    assert manifest["spec"]["template"]["metadata"]["labels"]["tier"] == "own"
    assert manifest["metadata"]["labels"]["tier"] == "all"


def test_a_newer_version_changes_no_more_of_a_pod_than_its_image(tmp_path: Path) -> None:
    """With images that are named, an upgrade of the chart leaves every pod as it is."""
    newer = tmp_path / "callboard"
    shutil.copytree(CHART, newer)
    about = (newer / "Chart.yaml").read_text()
    (newer / "Chart.yaml").write_text(
        about.replace('appVersion: "0.1.0"', 'appVersion: "9.9.9"').replace(
            "version: 0.1.0", "version: 9.9.9"
        )
    )
    values = {"image": {"tag": "7"}, "jaeger": {"enabled": True}} | worker()

    def owned(chart: Path) -> dict[str, Any]:
        every = dict(pods(render(values, chart=chart)))
        return {name: pod for name, pod in every.items() if not name.startswith("Pod/")}

    assert owned(newer) == owned(CHART)


def test_an_upgrade_leaves_the_host_to_the_operator() -> None:
    """Its pod is replaced when somebody deletes it, for its events end with it."""
    host = one(render({}), "StatefulSet", "callboard-host")
    assert host["spec"]["updateStrategy"] == {"type": "OnDelete"}
    rolling = render({"host": {"updateStrategy": "RollingUpdate"}})
    host = one(rolling, "StatefulSet", "callboard-host")
    assert host["spec"]["updateStrategy"] == {"type": "RollingUpdate"}


def test_selectors_stay_under_another_name() -> None:
    """Kubernetes never changes them; ``nameOverride`` is for the names of objects only."""

    def selectors(name: str) -> list[Any]:
        manifests = render({"fullnameOverride": "board", "nameOverride": name})
        return [m["spec"]["selector"] for m in manifests if "selector" in m.get("spec", {})]

    assert selectors("boards") == selectors("")


def test_an_option_is_read_up_to_its_whole_name() -> None:
    """What a worker of one's own may take is not refused for how it begins."""
    args = ["--hosts", "x", "--host-name=y", "drain-timeout", "--log-level=debug"]
    assert container(args=args)["args"] == [*args, "shop.agents:setup"]


@pytest.mark.parametrize(
    "values", [{"host": {"env": {"X": None}}}, {"workerDefaults": {"env": {"X": "1", "Y": "2"}}}]
)
def test_null_takes_a_variable_away(values: dict[str, Any]) -> None:
    """As everywhere in helm: from the defaults, or one that never was."""
    manifests = render(worker(env={"X": None}) | values)
    for name, pod in pods(manifests):
        if name != "Deployment/callboard-samples":
            assert "X" not in environment(pod), name
    if "workerDefaults" in values:
        assert environment(dict(pods(manifests))["Deployment/callboard-shop"])["Y"] == "2"


def test_a_host_reads_files_of_your_own() -> None:
    """A certificate of the collector's authority, for one."""
    ours = [{"name": "authority", "configMap": {"name": "authority"}}]
    mounts = [{"name": "authority", "mountPath": "/etc/authority", "readOnly": True}]
    manifests = render({"host": {"volumes": ours, "volumeMounts": mounts}})
    spec = one(manifests, "StatefulSet", "callboard-host")["spec"]["template"]["spec"]
    assert spec["volumes"][1:] == ours
    assert spec["containers"][0]["volumeMounts"][1:] == mounts


@pytest.mark.parametrize("release", ["9lives", "a.b"])
def test_a_release_whose_name_no_service_may_have_is_refused(release: str) -> None:
    """Helm takes more names than DNS; another name for the objects is the way out."""
    with pytest.raises(Refused, match="set fullnameOverride"):
        render({}, release=release)
    assert render({"fullnameOverride": "lives"}, release=release)


def paths(values: dict[str, Any], *above: str) -> Iterator[tuple[str, ...]]:
    for key, value in values.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from paths(value, *above, key)


DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())


@pytest.mark.parametrize(
    "path",
    # Security contexts are Kubernetes' own: what is left of them is for Kubernetes to judge.
    [path for path in paths(DEFAULTS) if "ecurityContext" not in path[0] or len(path) == 1],
    ids=".".join,
)
def test_null_is_taken_or_refused_with_a_reason(path: tuple[str, ...]) -> None:
    """Helm takes a default away for it; what is left is whole, or a fault that is told."""
    values: Any = None
    for key in reversed(path):
        values = {key: values}
    if path[0] == "jaeger" and path != ("jaeger",):
        values["jaeger"].setdefault("enabled", True)
    try:
        manifests = render(values)
    except Refused as refused:
        reason = str(refused)
        assert "specifications of the schema" in reason or path[-1] in reason
        assert "nil pointer" not in reason
        return
    for manifest in manifests:
        kubernetes_validate.validate(manifest, OLDEST_KUBERNETES, strict=True)
    for _, pod in pods(manifests):
        assert not {"None", "null", "", "<no value>"} & set(map(str, environment(pod).values()))
        (made,) = pod["spec"]["containers"]
        assert re.fullmatch(r"\S+:[\w.-]+", made["image"])


def test_probes_ask_for_the_services_that_are_served() -> None:
    """Readiness of a worker is its session, liveness of a worker is off."""
    found = container()
    assert found["readinessProbe"]["grpc"] == {"port": 50053, "service": "readiness"}
    assert "livenessProbe" not in found
    assert environment({"spec": {"containers": [found]}})["CALLBOARD_HEALTH_ADDRESS"].endswith(
        ":50053"
    )


def test_a_worker_without_probes_serves_no_health() -> None:
    """It may be one that cannot: written in another language, say."""
    found = container(probes={"readiness": {"enabled": False}})
    assert "ports" not in found
    assert "CALLBOARD_HEALTH_ADDRESS" not in {variable["name"] for variable in found["env"]}


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ({}, "shop:1.4"),
        ({"image": {"registry": "r.example.com/a"}}, "r.example.com/a/shop:1.4"),
        ({"image": {"tag": "9"}}, "shop:1.4"),
        (worker(image={"tag": "2"}), "callboard-worker:2"),
        (worker(image={}), "callboard-worker:0.1.0"),
        (worker(image={}) | {"image": {"tag": "9"}}, "callboard-worker:9"),
        (
            worker(image={"registry": "", "repository": "r.example.com/shop", "tag": "1"})
            | {"image": {"registry": "other.example.com"}},
            "r.example.com/shop:1",
        ),
        (
            worker(image={"repository": "shop", "digest": f"sha256:{'0' * 64}"}),
            f"shop@sha256:{'0' * 64}",
        ),
    ],
)
def test_images_are_put_together(values: dict[str, Any], image: str) -> None:
    """Registry, repository, tag or digest: the worker's own go before those of all."""
    manifest = one(render(worker() | values), "Deployment", "callboard-shop")
    assert manifest["spec"]["template"]["spec"]["containers"][0]["image"] == image


def test_names_stay_whole_when_the_release_has_a_long_one() -> None:
    """Each part keeps its own name, within what labels and DNS allow."""
    manifests = render({"fullnameOverride": "x" * 60, "workers": {"y" * 40: SHOP}})
    names = {m["metadata"]["name"] for m in manifests}
    assert f"{'x' * 46}-host" in names  # a hash of ten makes it a label's 63
    assert f"{'x' * 22}-{'y' * 40}" in names


def test_helm_test_uses_the_samples_only_where_they_are() -> None:
    """The round trip needs no worker; the greetings need the samples."""
    for enabled, expected in ((True, {"roundtrip", "hello"}), (False, {"roundtrip"})):
        manifests = render({"workers": {"samples": {"enabled": enabled}}})
        tests = {m["metadata"]["name"]: m for m in manifests if m["kind"] == "Pod"}
        assert {name.removeprefix("callboard-test-") for name in tests} == expected
        for pod in tests.values():
            assert pod["metadata"]["annotations"] == {
                "helm.sh/hook": "test",
                "helm.sh/hook-delete-policy": "before-hook-creation",
            }
            assert pod["spec"]["containers"][0]["command"][:2] == ["python", "-m"]


def test_nothing_of_telemetry_is_rendered_by_default() -> None:
    """Without an endpoint the SDK is not asked for."""
    assert not any(
        name.startswith(("OTEL_", "K8S_"))
        for _, pod in pods(render({}))
        for name in environment(pod)
    )


def test_limits_are_all_that_the_environment_alone_sets() -> None:
    """Each setting of a host but its addresses and engine is a key of ``host.limits``."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    keys = schema["properties"]["host"]["properties"]["limits"]["properties"].keys()
    settings = HostSettings.model_fields.keys() - {"address", "operators_address", "engine", "data"}
    assert keys == {to_camel(name) for name in settings}
    rendered = render({"host": {"limits": dict.fromkeys(keys, 7)}})
    (pod,) = (pod for name, pod in pods(rendered) if name.startswith("StatefulSet/"))
    assert {f"CALLBOARD_{name.upper()}" for name in settings} <= environment(pod).keys()


def test_every_default_is_in_the_schema_and_every_key_has_a_default() -> None:
    """Of the worker, whose keys stand in ``workerDefaults``."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert schema["definitions"]["worker"]["properties"].keys() == values["workerDefaults"].keys()
    assert schema["properties"].keys() == values.keys() | {"global"}


def test_it_installs_this_version() -> None:
    """The images' default tag is the version of the distribution."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert chart["appVersion"] == project["version"]


@pytest.mark.usefixtures("_helm_docs")
def test_its_readme_is_current() -> None:
    """``make chart-docs`` writes what is committed."""
    written = tool(
        *("helm-docs", "--chart-search-root", str(CHART), "--sort-values-order", "file"),
        *("--dry-run", "--log-level", "error"),
    )
    assert written.strip() == (CHART / "README.md").read_text().strip()
