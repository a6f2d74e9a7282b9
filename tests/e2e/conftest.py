"""What the end-to-end tests need: a cluster, and on it one release for all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from uuid import uuid4

import pytest
import urllib3
from kubernetes import client, config

from e2e.release import Release


@pytest.fixture(scope="session")
def cluster() -> client.VersionApi:
    """The cluster that KUBECONFIG names."""
    try:
        config.load_kube_config()
        api = client.VersionApi()
        api.get_code()
    except (config.ConfigException, urllib3.exceptions.HTTPError) as error:
        reason = f"needs a cluster: `make cluster`, or kind and its KUBECONFIG: {error}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return api


@pytest.fixture(scope="session")
def release(cluster: client.VersionApi) -> Iterator[Release]:
    """The chart with Jaeger, in a namespace that admits no pod beyond ``restricted``.

    Beside it there is a namespace that admits all, for pods that kill workers.
    """
    core = client.CoreV1Api()
    name = f"callboard-e2e-{uuid4().hex[:6]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    killers = f"{name}-killers"
    core.create_namespace({"metadata": {"name": name, "labels": labels}})
    core.create_namespace({"metadata": {"name": killers}})
    try:
        release = Release(name, killers)
        release.install("--set=jaeger.enabled=true")
        yield release
    finally:
        for namespace in (name, killers):
            core.delete_namespace(namespace)
