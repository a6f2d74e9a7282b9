"""The parts of the cluster: their certificates, their configuration, their command lines.

All of it goes below `STATE`, which is made anew each time.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

STATE = Path(os.environ.get("CALLBOARD_CLUSTER", "/var/lib/callboard-cluster"))
LOGS = STATE / "logs"
PLAN = STATE / "plan.json"
KUBECONFIG = STATE / "kubeconfig"
CONTAINERD_SOCKET = STATE / "containerd.sock"
NODE = "callboard-node"
MACHINE_ADDRESS = "172.30.255.1"
NODE_ADDRESS = "172.30.255.2"
POD_NETWORK = "10.244.0.0/24"
SERVICE_NETWORK = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"  # the first of the network: the API server takes it for itself
DNS_SERVICE = "10.96.0.10"  # coredns.yaml asks for it

_PKI = STATE / "pki"
_AUTHORITY = _PKI / "ca.crt"
_AUTHORITY_KEY = _PKI / "ca.key"
_SERVICE_ACCOUNTS_KEY = _PKI / "service-accounts.key"
_CLIENTS = {
    # Who speaks to the API server, as the groups and names that its roles are bound to.
    "admin": "/O=system:masters/CN=admin",
    "controllers": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
    "proxy": "/CN=system:kube-proxy",
    "kubelet": f"/O=system:nodes/CN=system:node:{NODE}",
}


def prepare(binaries: Path, pause_image: str) -> None:
    """Write all that the parts read, and the plan that `node.py` follows."""
    for directory in (_PKI, LOGS, STATE / "cni"):
        directory.mkdir(parents=True)
    _make_authority()
    names = ("DNS:kubernetes.default.svc", f"IP:{API_SERVICE}", f"IP:{NODE_ADDRESS}")
    _make_certificate("apiserver", "/CN=kube-apiserver", *names)
    for client, subject in _CLIENTS.items():
        _make_certificate(client, subject)
        _write_kubeconfig(client)
    (STATE / "admin.kubeconfig").rename(KUBECONFIG)
    _openssl("genrsa", "-out", str(_SERVICE_ACCOUNTS_KEY), "2048")

    (STATE / "resolv.conf").write_text("")  # pods know the cluster's names and no others
    (STATE / "containerd.toml").write_text(_containerd(pause_image))
    _write(STATE / "cni" / "10-bridge.conflist", _POD_LINKS)
    _write(STATE / "kubelet.json", _KUBELET)
    _write(STATE / "proxy.json", _PROXY)
    # Kubelet and kube-proxy look for iptables and mount, containerd for runc and its shim.
    path = f"{binaries}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    plan = {
        "parts": _commands(binaries),
        "needs": {"kubelet": [str(CONTAINERD_SOCKET)]},
        "logs": str(LOGS),
        "environment": {"PATH": path},
    }
    _write(PLAN, plan)


def _commands(binaries: Path) -> dict[str, list[str]]:
    def kubernetes(name: str, **flags: object) -> list[str]:
        return [str(binaries / name), *(f"--{k.replace('_', '-')}={v}" for k, v in flags.items())]

    etcd = ["etcd", f"--data-dir={STATE / 'etcd'}", "--unsafe-no-fsync", "--logger=zap"]
    return {
        "etcd": etcd,
        "containerd": ["containerd", f"--config={STATE / 'containerd.toml'}"],
        "kube-apiserver": kubernetes(
            "kube-apiserver",
            advertise_address=NODE_ADDRESS,
            allow_privileged="true",
            authorization_mode="Node,RBAC",
            client_ca_file=_AUTHORITY,
            enable_admission_plugins="NodeRestriction",
            etcd_servers="http://127.0.0.1:2379",
            kubelet_client_certificate=_PKI / "admin.crt",
            kubelet_client_key=_PKI / "admin.key",
            kubelet_preferred_address_types="InternalIP",
            service_account_issuer="https://kubernetes.default.svc.cluster.local",
            service_account_key_file=_SERVICE_ACCOUNTS_KEY,
            service_account_signing_key_file=_SERVICE_ACCOUNTS_KEY,
            service_cluster_ip_range=SERVICE_NETWORK,
            tls_cert_file=_PKI / "apiserver.crt",
            tls_private_key_file=_PKI / "apiserver.key",
        ),
        "kube-controller-manager": kubernetes(
            "kube-controller-manager",
            kubeconfig=STATE / "controllers.kubeconfig",
            leader_elect="false",
            root_ca_file=_AUTHORITY,
            service_account_private_key_file=_SERVICE_ACCOUNTS_KEY,
            use_service_account_credentials="true",
        ),
        "kube-scheduler": kubernetes(
            "kube-scheduler", kubeconfig=STATE / "scheduler.kubeconfig", leader_elect="false"
        ),
        "kubelet": kubernetes(
            "kubelet",
            cert_dir=STATE / "kubelet-pki",
            config=STATE / "kubelet.json",
            hostname_override=NODE,
            kubeconfig=STATE / "kubelet.kubeconfig",
            node_ip=NODE_ADDRESS,
            root_dir=STATE / "kubelet",
        ),
        "kube-proxy": kubernetes("kube-proxy", config=STATE / "proxy.json", hostname_override=NODE),
    }


_KUBELET: dict[str, Any] = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "authentication": {"x509": {"clientCAFile": str(_AUTHORITY)}},
    "cgroupDriver": "cgroupfs",
    "cgroupRoot": "/callboard-cluster",
    "clusterDNS": [DNS_SERVICE],
    "clusterDomain": "cluster.local",
    "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
    "evictionHard": {
        "memory.available": "100Mi",
        "nodefs.available": "1%",
        "imagefs.available": "1%",
    },
    "failSwapOn": False,
    "imageGCHighThresholdPercent": 100,  # never: an image that is removed cannot be pulled again
    "podLogsDir": str(STATE / "pods"),
    "resolvConf": str(STATE / "resolv.conf"),
    "volumePluginDir": str(STATE / "volume-plugins"),
}

_PROXY: dict[str, Any] = {
    "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
    "kind": "KubeProxyConfiguration",
    "clientConnection": {"kubeconfig": str(STATE / "proxy.kubeconfig")},
    "clusterCIDR": POD_NETWORK,
    # Zero leaves the kernel's limits alone: they can be set only from the machine's own namespace.
    "conntrack": {"maxPerCore": 0, "min": 0},
    "mode": "iptables",
}

_POD_LINKS: dict[str, Any] = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipMasq": True,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": POD_NETWORK}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ],
}


def _containerd(pause_image: str) -> str:
    return f"""\
version = 2
root = "{STATE / "containerd"}"
state = "/run/containerd"

[grpc]
  address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{STATE / "containerd-opt"}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause_image}"
  # Not every root may make a process less likely to be killed than itself.
  restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "{STATE / "cni"}"
"""


def _make_authority() -> None:
    _openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=cluster"),
        *("-keyout", str(_AUTHORITY_KEY), "-out", str(_AUTHORITY)),
    )


def _make_certificate(name: str, subject: str, *names: str) -> None:
    extensions = ["-addext", f"subjectAltName={','.join(names)}"] if names else []
    _openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", subject),
        *("-CA", str(_AUTHORITY), "-CAkey", str(_AUTHORITY_KEY)),
        *("-addext", "basicConstraints=critical,CA:FALSE"),
        *("-keyout", str(_PKI / f"{name}.key"), "-out", str(_PKI / f"{name}.crt"), *extensions),
    )


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def _write_kubeconfig(client: str) -> None:
    cluster = {"server": f"https://{NODE_ADDRESS}:6443", "certificate-authority": str(_AUTHORITY)}
    user = {
        "client-certificate": str(_PKI / f"{client}.crt"),
        "client-key": str(_PKI / f"{client}.key"),
    }
    _write(
        STATE / f"{client}.kubeconfig",
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "cluster", "cluster": cluster}],
            "users": [{"name": client, "user": user}],
            "contexts": [{"name": "cluster", "context": {"cluster": "cluster", "user": client}}],
            "current-context": "cluster",
        },
    )


def _write(file: Path, value: object) -> None:
    """As JSON, which is YAML too."""
    file.write_text(json.dumps(value, indent=2))
