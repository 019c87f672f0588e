"""The base for kustomize: valid for Kubernetes, and what it says to the server is so."""

from typing import Any

import hydra
import kubernetes_validate
import yaml

from fraudlab import config
from tests.conftest import REPOSITORY

BASE = REPOSITORY / "deploy" / "kubernetes"


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((BASE / name).read_text())


def test_each_resource_is_what_kubernetes_takes() -> None:
    named = read("kustomization.yaml")
    assert {*named["resources"], "kustomization.yaml"} == {path.name for path in BASE.iterdir()}
    resources = {(found := read(name))["kind"]: found for name in named["resources"]}
    for resource in resources.values():
        kubernetes_validate.validate(resource, "1.37", strict=True)
    labels = resources["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert resources["Service"]["spec"]["selector"] == labels
    assert resources["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels


def test_the_container_is_told_what_the_server_knows(hydra_conf: None) -> None:
    pod = read("deployment.yaml")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    [literal] = read("kustomization.yaml")["configMapGenerator"][0]["literals"]
    name, _, bundle = literal.partition("=")
    words = [word.replace(f"$({name})", bundle) for word in container["args"]]
    settings = config.typed("serve", hydra.compose("serve", ["paths.output_dir=out", *words]))
    assert settings.bundle == bundle
    assert settings.serving.port == container["ports"][0]["containerPort"]
    assert settings.serving.drain + settings.serving.grace < pod["terminationGracePeriodSeconds"]
    for probe, path in (("startup", "ready"), ("readiness", "ready"), ("liveness", "live")):
        assert container[f"{probe}Probe"]["httpGet"]["path"] == f"/health/{path}"
    assert read("kustomization.yaml")["images"][0]["name"] == container["image"]
