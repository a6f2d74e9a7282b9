"""A release of the chart on a cluster, and what one does with it: helm, kubectl, pods, Jaeger."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from signal import SIGKILL
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from kubernetes import client, watch

ROOT = Path(__file__).parent.parent.parent
CHART = ROOT / "charts" / "callboard"
HELM = str(ROOT / ".ci" / "tools" / "helm.sh")
NAME = "callboard"
HOST = f"{NAME}:50051"
WORKERS = f"{NAME}-samples"
WORKER_IMAGE = os.environ["WORKER_IMAGE"]
KILL = Path(__file__).with_name("kill.py")
KILLED = 128 + SIGKILL
DEADLINE_S = 120.0
POLL_S = 0.5

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


class Release:
    """The chart, installed in ``namespace``.

    Pods that share a node's processes go to the namespace ``killers``.
    """

    def __init__(self, namespace: str, killers: str) -> None:
        self.namespace = namespace
        self._killers = killers
        self._core = client.CoreV1Api()

    def helm(self, *arguments: str) -> str:
        """What helm prints."""
        return _run(HELM, "--namespace", self.namespace, *arguments)

    def kubectl(self, *arguments: str) -> str:
        """What kubectl prints."""
        kubectl = shutil.which("kubectl")
        assert kubectl, "kubectl is missing: install it, or use that of `make cluster`"
        return _run(kubectl, "--namespace", self.namespace, *arguments)

    def install(self, *arguments: str) -> None:
        """Install it and wait until all its pods are ready."""
        self.helm("install", NAME, str(CHART), "--wait", "--timeout=3m", *arguments)

    def scale(self, replicas: int) -> None:
        """Set the number of workers; return when as many are ready and the others are gone."""
        self.kubectl("scale", f"deployment/{WORKERS}", f"--replicas={replicas}")
        self.kubectl("rollout", "status", f"deployment/{WORKERS}", f"--timeout={DEADLINE_S:g}s")
        wait_until(lambda: len(self.workers()) == replicas, f"{replicas} workers")

    def workers(self) -> list[str]:
        """The names of the workers' pods, those that are leaving too."""
        selector = "app.kubernetes.io/component=worker"
        pods = self._core.list_namespaced_pod(self.namespace, label_selector=selector)
        return sorted(pod.metadata.name for pod in pods.items)

    def ready_workers(self) -> list[str]:
        """Those that serve, and are not asked to leave."""
        return [name for name in self.workers() if self._is_ready(self._pod(name))]

    def kill(self, worker: str) -> None:
        """SIGKILL for a worker; return when its pod says so. Its next container may run by then."""
        pod = self._pod(worker)
        (status,) = pod.status.container_statuses
        killed = status.container_id
        killer = f"kill-{uuid4().hex[:6]}"
        command = ["python3", "-c", KILL.read_text(), killed.partition("://")[2]]
        main = {"name": "main", "image": WORKER_IMAGE, "command": command}
        spec = {
            "containers": [main],
            "hostPID": True,
            "nodeName": pod.spec.node_name,
            "restartPolicy": "Never",
        }
        self._core.create_namespaced_pod(
            self._killers, {"metadata": {"name": killer}, "spec": spec}
        )

        def code() -> int | None:
            """That of the container that was killed; None while it runs, for all that is known."""
            (status,) = self._pod(worker).status.container_statuses
            for state in (status.state.terminated, status.last_state.terminated):
                if state and state.container_id == killed:
                    return int(state.exit_code)
            return None

        wait_until(lambda: code() is not None, f"the end of {worker}")
        assert code() == KILLED

    def host(self) -> str:
        """The identity of the host's pod, which another of the same name does not have."""
        return str(self._pod(f"{NAME}-host-0").metadata.uid)

    def updated_hosts(self) -> int:
        """How many hosts are what the last upgrade said."""
        columns = "--output=custom-columns=UPDATED:.status.updatedReplicas"
        said = self.kubectl("get", f"statefulset/{NAME}-host", columns, "--no-headers").strip()
        return 0 if said == "<none>" else int(said)

    def replace_host(self) -> None:
        """Delete the host's pod; return when the next is ready."""
        self.kubectl("delete", "pod", f"{NAME}-host-0")
        wait_until(self._has_host, "the next host")

    def _has_host(self) -> bool:
        try:
            return self._is_ready(self._pod(f"{NAME}-host-0"))
        except client.ApiException as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return False

    def _pod(self, name: str) -> Any:
        return self._core.read_namespaced_pod(name, self.namespace)

    @staticmethod
    def _is_ready(pod: Any) -> bool:
        conditions = {c.type: c.status for c in pod.status.conditions or ()}
        return conditions.get("Ready") == "True" and not pod.metadata.deletion_timestamp

    def start(self, pod: str, *command: str) -> None:
        """Start a pod that runs ``command`` once, in the workers' image, beside the workers."""
        endpoint = f"http://{NAME}-jaeger:4317"
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_RESOURCE_ATTRIBUTES": f"k8s.pod.name={pod}",
            "OTEL_SERVICE_NAME": pod,
        }
        container = {
            "name": "main",
            "image": WORKER_IMAGE,
            "command": list(command),
            "env": [{"name": name, "value": value} for name, value in variables.items()],
            "securityContext": RESTRICTED,
        }
        spec = {
            "containers": [container],
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
        }
        body = {"metadata": {"name": pod}, "spec": spec}
        self._core.create_namespaced_pod(self.namespace, body)

    def log(self, pod: str, tail_lines: int | None = None) -> str:
        """What the pod has written; empty before its container has started."""
        try:
            text = self._core.read_namespaced_pod_log(pod, self.namespace, tail_lines=tail_lines)
        except client.ApiException as error:
            if error.status not in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND):
                raise
            return ""  # not started yet, or not known to its kubelet yet
        return str(text)

    def finish(self, pod: str) -> str:
        """Wait until the pod has ended with 0; what it has written."""

        def phase() -> str:
            return str(self._pod(pod).status.phase)

        wait_until(lambda: phase() in ("Succeeded", "Failed"), f"the end of {pod}")
        written = self.log(pod)
        assert phase() == "Succeeded", written
        return written

    def now(self) -> str:
        """The cluster's state as of now, for `endings`."""
        return str(self._core.list_namespaced_pod(self.namespace).metadata.resource_version)

    def endings(self, since: str) -> dict[str, int]:
        """The exit codes of the workers' pods that were deleted since then, by name."""
        last = {}
        gone = set()
        for kind, pod in self._pod_changes(since):
            last[pod.metadata.name] = pod
            if kind == "DELETED":
                gone.add(pod.metadata.name)
        return {name: _exit_code(last[name]) for name in gone}

    def _pod_changes(self, since: str) -> Iterator[tuple[str, Any]]:
        # It begins with what has happened since, and ends after that many seconds.
        stream = watch.Watch().stream(
            self._core.list_namespaced_pod,
            self.namespace,
            label_selector="app.kubernetes.io/component=worker",
            resource_version=since,
            timeout_seconds=2,
        )
        for change in stream:
            yield change["type"], change["object"]

    def traces(self, **query: str) -> list[Any]:
        """Jaeger's answer to a query for traces, by the parameters of its HTTP API."""
        path = f"/api/v1/namespaces/{self.namespace}/services/{NAME}-jaeger:query/proxy/api/traces"
        answer = self.kubectl("get", f"--raw={path}?{urlencode({'lookback': '1h', **query})}")
        return list(json.loads(answer)["data"])


def wait_until(is_so: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Ask again and again. Fails when it is not so by the deadline."""
    deadline = time.monotonic() + deadline_s
    while not is_so():
        assert time.monotonic() < deadline, f"waited {deadline_s:g} s for {what}"
        time.sleep(POLL_S)


def _exit_code(pod: Any) -> int:
    (status,) = pod.status.container_statuses
    assert status.state.terminated, f"{pod.metadata.name} was gone before it ended: {status.state}"
    return int(status.state.terminated.exit_code)


def _run(*command: str) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{' '.join(command)}\n{ended.stdout}{ended.stderr}"
    return ended.stdout
