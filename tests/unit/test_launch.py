"""``ftune launch``: what each engine's files hold, and what is refused before one is written."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from ftune.errors import Interrupted, RecipeError, RunError
from ftune.launch import agent, network, planning
from ftune.launch.bounded import Bounded
from ftune.launch.job import Job
from ftune.recipe.reading import load_recipe
from ftune.registry import ENGINES

RECIPE = Path(__file__).parents[2] / "recipes" / "ci-smoke.yaml"
# Fields of a PyTorchJob as kubeflow-training 1.9 publishes them.
JOB_FIELDS = {"elasticPolicy", "nprocPerNode", "pytorchReplicaSpecs", "runPolicy"}
REPLICA_FIELDS = {"replicas", "restartPolicy", "template"}
POLICY_FIELDS = {
    *("activeDeadlineSeconds", "backoffLimit", "cleanPodPolicy", "managedBy"),
    *("schedulingPolicy", "suspend", "ttlSecondsAfterFinished"),
}
# Keys of a task as SkyPilot 0.14 publishes them.
TASK_FIELDS = {
    *("name", "workdir", "num_nodes", "resources", "file_mounts", "setup", "run", "envs"),
    *("secrets", "volumes", "config", "service", "event_callback", "inputs", "outputs"),
}


def made(
    name: str, *settings: str, overrides: tuple[str, ...] = (), **asked: Any
) -> tuple[Any, Any, Job]:
    loaded = load_recipe(RECIPE, overrides).alone()
    module, config = planning.engine(name, settings)
    more = tuple(part for key in overrides for part in ("-o", key))
    job = planning.job(
        loaded.recipe, "recipe.yaml", name, module, planning.Asked(arguments=more, **asked)
    )
    module.check(job, config)
    return module, config, job


def text(name: str, *settings: str, **asked: Any) -> str:
    module, config, job = made(name, *settings, **asked)
    [file] = planning.without_secrets(module.files(job, config))
    return file.text


def refusal(name: str, *settings: str, **asked: Any) -> str:
    with pytest.raises(RecipeError) as caught:
        text(name, *settings, **asked)
    return str(caught.value)


@pytest.mark.parametrize("name", ENGINES.names())
def test_each_engine_says_what_it_is(name: str) -> None:
    module = ENGINES.load(name)
    assert (module.__doc__ or "").splitlines()[0].endswith(".")
    assert module.TOOL and module.INSTALL and isinstance(module.CHOOSES_HOSTS, bool)
    assert module.Config() == module.Config(**module.Config().model_dump())
    assert all(field.description for field in module.Config.model_fields.values())


def test_torchrun_has_a_script_for_each_host(tmp_path: Path) -> None:
    module, config, job = made("torchrun", hosts="one,two", processes=4, overrides=("name=a b",))
    files = module.files(job, config)
    planning.write(tmp_path, files)
    assert [file.name for file in files] == ["host-0.sh", "host-1.sh"]
    for rank, file in enumerate(files):
        assert os.access(tmp_path / file.name, os.X_OK)
        subprocess.run(["bash", "-n", tmp_path / file.name], check=True)
        command = file.text.split("exec ")[1].split("\n#")[0]
        words = shlex.split(command.replace("\\\n", " "))
        assert words[:3] == ["ftune", "launch", "recipe.yaml"] and words[-1] == "name=a b"
        assert words[words.index("--node-rank") + 1] == str(rank)
        assert f"is_host={int(rank == 0)}" in file.text and "--nnodes 2" in file.text
    assert module.files(made("torchrun", hosts="one,two", node_rank=1)[2], config)[0].name == (
        "host-1.sh"
    )


def test_slurm_is_warned_before_the_grace_is_over() -> None:
    plain = text("slurm", "time=1:00:00", "partition=gpu", "account=us", nodes=2, processes=8)
    asked = dict(
        line.removeprefix("#SBATCH --").partition("=")[::2]
        for line in plain.splitlines()
        if line.startswith("#SBATCH --")
    )
    assert asked["nodes"] == "2" and asked["ntasks-per-node"] == "1"
    assert asked["gpus-per-node"] == "8" and asked["cpus-per-task"] == "64"
    assert (asked["time"], asked["partition"], asked["account"]) == ("1:00:00", "gpu", "us")
    assert asked["signal"] == "B:TERM@120" and "train.grace_seconds=100" in plain
    set_by_hand = text("slurm", "gpus=0", "cpus=2", overrides=("train.grace_seconds=40.5",))
    assert "B:TERM@61" in set_by_hand and "train.grace_seconds=100" not in set_by_hand
    assert "gpus-per-node" not in set_by_hand and "cpus-per-task=2" in set_by_hand


FTUNE = """#!/bin/bash
trap 'sleep 0.3; echo saved; exit 143' TERM
echo "began $*"
[ -e done ] && exit 0
while :; do sleep 0.05; done
"""
SLURM = {
    "ftune": FTUNE,
    "srun": '#!/bin/bash\necho $$ > srun.pid\nshift\nexec "$@"\n',
    "scontrol": '#!/bin/bash\n[ "$1" = show ] && echo first && exit\necho "scontrol $*"\n',
    "scancel": '#!/bin/bash\nkill -TERM "$(cat srun.pid)"\n',
}


@pytest.mark.parametrize("stopped", [True, False])
def test_the_batch_file_requeues_what_was_stopped(stopped: bool, tmp_path: Path) -> None:
    (tmp_path / "job").write_text(text("slurm", nodes=2))
    for name, script in SLURM.items():
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    if not stopped:
        (tmp_path / "done").touch()
    variables = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "first,second"}
    job = subprocess.Popen(
        ["bash", "job"],
        cwd=tmp_path,
        env={**os.environ, **variables, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert job.stdout is not None
    assert "--rendezvous first:29407 --run" in job.stdout.readline()
    if stopped:
        job.terminate()
    said, _ = job.communicate(timeout=20)
    assert said.split("\n")[:-1] == (["saved", "scontrol requeue 7"] if stopped else [])
    assert job.returncode == (143 if stopped else 0)


def test_kubernetes_has_published_fields_only() -> None:
    settings = ("image=a/b:1", "claim=work", "secret=tokens", "namespace=us", "retries=3")
    job = yaml.safe_load(text("kubernetes", *settings, nodes=3, processes=2))
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "PyTorchJob")
    assert job["metadata"] == {"name": "ci-smoke", "namespace": "us"}
    spec = job["spec"]
    assert set(spec) <= JOB_FIELDS and set(spec["runPolicy"]) <= POLICY_FIELDS
    assert spec["runPolicy"]["backoffLimit"] == 3 and spec["runPolicy"]["cleanPodPolicy"] == "None"
    counts = {kind: replica["replicas"] for kind, replica in spec["pytorchReplicaSpecs"].items()}
    assert counts == {"Master": 1, "Worker": 2}
    for replica in spec["pytorchReplicaSpecs"].values():
        assert set(replica) <= REPLICA_FIELDS and replica["restartPolicy"] == "OnFailure"
        pod = replica["template"]["spec"]
        [container] = pod["containers"]
        assert container["name"] == "pytorch" and container["image"] == "a/b:1"
        assert container["command"][:3] == ["ftune", "launch", "recipe.yaml"]
        assert "ci-smoke-master-0:29400" in container["command"]
        assert container["resources"]["limits"] == {"nvidia.com/gpu": 2}
        assert container["envFrom"] == [{"secretRef": {"name": "tokens"}}]
        assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
        assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == "work"
        assert pod["terminationGracePeriodSeconds"] == 120
    alone = yaml.safe_load(text("kubernetes", "image=a", "claim=b", "gpus=0"))
    assert set(alone["spec"]["pytorchReplicaSpecs"]) == {"Master"}
    assert "nvidia" not in str(alone)


def test_skypilot_has_published_keys_only(tmp_path: Path) -> None:
    settings = (
        *("accelerators=H100:8", "infra=aws", "spot=true", "volume=runs", "secrets=HF_TOKEN, B"),
        "setup=pip install x\necho done",
    )
    task = yaml.safe_load(text("skypilot", *settings, nodes=2, processes=8))
    assert set(task) <= TASK_FIELDS and task["num_nodes"] == 2
    assert task["resources"] == {"accelerators": "H100:8", "infra": "aws", "use_spot": True}
    assert task["volumes"] == {"/ftune": "runs"}
    assert task["secrets"] == {"HF_TOKEN": None, "B": None}
    assert task["setup"] == "pip install x\necho done\n"
    assert '--rendezvous "$head:29400"' in task["run"]
    assert "runs_dir=/ftune/runs" in task["run"]
    (tmp_path / "run").write_text(task["run"])
    subprocess.run(["bash", "-n", tmp_path / "run"], check=True)
    own = text("skypilot", "volume=runs", nodes=2, overrides=("runs_dir=/ftune/mine",))
    assert own.count("runs_dir") == 1


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "there are: kubernetes, skypilot, slurm, torchrun" in refusal("torchrn")
    assert "which hosts?" in refusal("torchrun", nodes=2)
    assert "names 2; leave one out" in refusal("torchrun", hosts="a,b", nodes=3)
    assert "names a host twice" in refusal("torchrun", hosts="a,a")
    assert "names none" in refusal("torchrun", hosts=",")
    assert "hosts are 0 to 1" in refusal("torchrun", hosts="a,b", node_rank=2)
    assert "not HOST:PORT" in refusal("torchrun", rendezvous="a:99999")
    assert "leave --node-rank out" in refusal("torchrun", hosts="a,b", node_rank=0, ssh=True)
    assert "chooses the hosts itself" in refusal("slurm", hosts="a,b")
    assert "its keys are: account, cpus" in refusal("slurm", "tme=1")
    assert "--set time: " in refusal("slurm", "time=$(id)")
    assert "--set gpus: " in refusal("slurm", "gpus=-1")
    assert "which image?" in refusal("kubernetes", "claim=a")
    assert "--set volume=NAME" in refusal("skypilot", nodes=2)
    monkeypatch.setenv("MY_TOKEN", "abcdefgh12345678")
    said = refusal("slurm", overrides=("name=abcdefgh12345678",))
    assert "would hold a secret" in said and "abcdefgh" not in said
    monkeypatch.setenv("PATH", "/nowhere")
    module, _, job = made("skypilot")
    with pytest.raises(RecipeError, match="pip install 'skypilot"):
        planning.ready("skypilot", module, job)


def test_places_where_hosts_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match="other hosts can't reach"):
        network.find("localhost:29400")
    place = network.find("127.0.0.1:29400", alone=True)
    assert place.is_host and place.address == "127.0.0.1" and place.interface
    assert network.split("[::1]:5") == ("::1", 5)
    monkeypatch.setattr(network, "RESOLVE", 0.0)
    with pytest.raises(RunError, match="does not know the name"):
        network.find("nowhere.invalid:29400")
    monkeypatch.setattr(network, "JOIN", 0.0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = network.Place("127.0.0.1", free.getsockname()[1], "127.0.0.1", None, False)
    with pytest.raises(RunError, match="did not answer"):
        network.wait_for(closed)


class Failure:
    def __init__(self, exitcode: int, timestamp: int = 0) -> None:
        self.exitcode, self.timestamp = exitcode, timestamp


@pytest.mark.parametrize(
    ("codes", "kind", "code", "says"),
    [
        ([75], RunError, 5, "lost"),
        ([75, -6], RunError, 5, "lost"),
        ([75, 4], RunError, 4, "process 1 of 4"),
        ([-9], RunError, 5, "ended by SIGKILL"),
        ([143, 143], Interrupted, 143, "saved"),
        ([-15], Interrupted, 143, "saved"),
    ],
)
def test_what_becomes_of_exit_codes(codes: list[int], kind: type, code: int, says: str) -> None:
    failures = {rank: Failure(each) for rank, each in enumerate(codes)}
    job = Job("a", "recipe.yaml", (), nodes=2, processes=2)
    told = agent._verdict(failures, job, RunError("lost"))
    assert type(told) is kind and told.exit_code == code and says in str(told)


def test_a_rendezvous_that_does_not_answer() -> None:
    import threading

    from torch.distributed.elastic.rendezvous import RendezvousConnectionError

    forever = threading.Event()

    class Handler:
        _state_holder = SimpleNamespace(state=SimpleNamespace(participants={"a": 0, "b": 1}))

        def num_nodes_waiting(self) -> int:
            return 3

        def is_closed(self) -> bool:
            raise RendezvousConnectionError("refused")

        def set_closed(self) -> None:
            forever.wait()

        def shutdown(self) -> bool:
            return True

    with pytest.raises(RendezvousConnectionError, match="1 of 3 hosts are gone"):
        Bounded(Handler(), 3, 30.0).num_nodes_waiting()
    handler = Bounded(Handler(), 2, 30.0)
    assert handler.num_nodes_waiting() == 3 and handler.shutdown() is True
    with pytest.raises(RendezvousConnectionError, match="refused"):
        handler.is_closed()
    assert handler.shutdown() is False  # it was lost once
    handler = Bounded(Handler(), 2, 0.1)
    with pytest.raises(RendezvousConnectionError, match="no answer"):
        handler.set_closed()
    assert handler.shutdown() is False  # and at once: its thread is stuck
    forever.set()
