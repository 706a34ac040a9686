"""A PyTorchJob of Kubeflow's training operator, on a volume that all pods share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ftune.errors import RecipeError
from ftune.launch.job import PORT, File, Job
from ftune.launch.tools import call
from ftune.recipe.base import Section

TOOL = "kubectl"
INSTALL = "see https://kubernetes.io/docs/tasks/tools for kubectl, and install the operator"
CHOOSES_HOSTS = True
NAME = Field(pattern=r"^[a-z0-9.-]*$")


class Config(Section):
    """The pods' surroundings."""

    image: str = ""
    """The image that holds ftune."""
    claim: Annotated[str, NAME] = ""
    """PersistentVolumeClaim with recipe, data and runs; ReadWriteMany for several nodes."""
    gpus: Annotated[int, Field(ge=0)] | None = None
    """GPUs of each pod; by default one for each process, 0 for none."""
    namespace: Annotated[str, NAME] = ""
    """The namespace; by default kubectl's own."""
    secret: Annotated[str, NAME] = ""
    """A Secret whose keys become variables of the pods, such as HF_TOKEN."""
    retries: Annotated[int, Field(ge=0)] = 20
    """How often pods are started again until the job counts as failed."""


def check(job: Job, config: Config) -> None:  # noqa: ARG001
    """Raises RecipeError where image or volume are missing."""
    missing = [key for key in ("image", "claim") if not getattr(config, key)]
    if missing:
        raise RecipeError(
            *(f"--on kubernetes: which {key}? Give --set {key}=NAME" for key in missing)
        )


def files(job: Job, config: Config) -> tuple[File, ...]:
    """The job; its first pod is the master, at which the others meet."""
    import yaml

    replicas = {"Master": _replica(job, config, 1)}
    if job.nodes > 1:
        replicas["Worker"] = _replica(job, config, job.nodes - 1)
    metadata = {"name": job.label}
    if config.namespace:
        metadata["namespace"] = config.namespace
    made = {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "metadata": metadata,
        "spec": {
            "runPolicy": {"backoffLimit": config.retries, "cleanPodPolicy": "None"},
            "pytorchReplicaSpecs": replicas,
        },
    }
    text = yaml.safe_dump(made, sort_keys=False, width=100)
    return (File(f"{job.label}.yaml", HEADER + text),)


HEADER = """\
# kubectl apply -f this file. A container that failed, or that lost another pod, is started again in
# its pod, and all go on from the newest checkpoint on the volume.
"""


def _replica(job: Job, config: Config, count: int) -> dict[str, Any]:
    meet = f"{job.label}-master-0:{PORT}"  # the service that the operator makes for the master
    container: dict[str, Any] = {
        "name": "pytorch",  # the operator looks for this name
        "image": config.image,
        "workingDir": "/work",
        # No shell around it: a shell would get the signal in its place.
        "command": job.on_a_host(meet, bounded=True),
        "volumeMounts": [
            {"name": "work", "mountPath": "/work"},
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
    }
    gpus = job.processes if config.gpus is None else config.gpus
    if gpus:
        container["resources"] = {"limits": {"nvidia.com/gpu": gpus}}
    if config.secret:
        container["envFrom"] = [{"secretRef": {"name": config.secret}}]
    pod = {
        "terminationGracePeriodSeconds": job.notice,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 1000},
        "containers": [container],
        "volumes": [
            {"name": "work", "persistentVolumeClaim": {"claimName": config.claim}},
            {"name": "shm", "emptyDir": {"medium": "Memory"}},  # NCCL's; 64 MB by default
        ],
    }
    return {"replicas": count, "restartPolicy": "OnFailure", "template": {"spec": pod}}


def run(job: Job, config: Config, folder: Path | None) -> int:
    """Hands the job to the cluster that kubectl knows; its exit code."""
    [file] = files(job, config)
    return call(TOOL, "apply", "-f", str((folder or Path()) / file.name))
