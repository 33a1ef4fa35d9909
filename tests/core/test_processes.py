"""A process learns its place from its launcher, as the launchers' manuals state it."""

import os
from unittest import mock

import pytest
from bugs import bug

from inkwash.core import processes
from inkwash.core.errors import ConfigError
from inkwash.core.processes import Place, introduce, this_place

TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
SRUN = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "5",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_STEP_NODELIST": "gpu[03-04]",
}
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "5",
    "OMPI_COMM_WORLD_SIZE": "8",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
}
MPICH = {"PMI_RANK": "5", "PMI_SIZE": "8", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "4"}


@pytest.fixture
def environment():
    """Set variables after those of every launcher are gone; all of it is undone."""
    known = {name for launcher in processes.LAUNCHERS for name in launcher.variables}
    with mock.patch.dict(os.environ):
        for name in known | {"MASTER_ADDR", "MASTER_PORT", "ACCELERATE_MIXED_PRECISION"}:
            os.environ.pop(name, None)
        yield os.environ.update


@pytest.mark.parametrize(
    ("name", "variables"), [("torchrun", TORCHRUN), ("srun", SRUN), ("mpirun", OPEN_MPI), ("mpiexec", MPICH)]
)
def test_every_launcher_says_the_place(environment, name, variables):
    environment(variables)
    place = this_place()
    assert (place.rank, place.size, place.local_rank, place.local_size) == (5, 8, 1, 4)
    assert place.launcher.name == name


@bug("those of SLURM first", processes, "LAUNCHERS", processes.LAUNCHERS[::-1])
@pytest.mark.parametrize("inner", [TORCHRUN, OPEN_MPI, MPICH])
def test_a_launcher_that_another_started_is_the_one_that_counts(inner):
    """In a step of one task per machine, for example, torchrun starts a process for each GPU."""
    outer = {**SRUN, "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_LOCALID": "0"}
    assert Place.of({**outer, **inner}).rank == 5


def test_without_a_launcher_there_is_one_process(environment):
    environment({"SLURM_JOB_ID": "4711", "SLURM_NTASKS": "8"})  # as in a batch script, outside of srun
    assert this_place() == Place()
    before = dict(os.environ)
    introduce(this_place())
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("gpu[03-05,09]", "gpu03"), ("gpu[9,11]", "gpu9"), ("one,two", "one"), ("a1,b[2-3]", "a1"), ("single", "single")],
)
def test_processes_of_slurm_meet_on_the_first_machine(environment, nodes, first):
    """As `scontrol show hostnames` expands the list."""
    environment({**SRUN, "SLURM_STEP_NODELIST": nodes})
    introduce(this_place())
    assert os.environ["MASTER_ADDR"] == first
    assert 1024 < int(os.environ["MASTER_PORT"]) < 32768
    assert {name: os.environ[name] for name in TORCHRUN} == TORCHRUN


def test_processes_of_one_machine_meet_there(environment):
    environment({**OPEN_MPI, "OMPI_COMM_WORLD_LOCAL_SIZE": "8", "OMPI_COMM_WORLD_LOCAL_RANK": "5"})
    introduce(this_place())
    assert os.environ["MASTER_ADDR"] == "127.0.0.1"


def test_what_torchrun_has_set_stays(environment):
    environment({**TORCHRUN, "MASTER_ADDR": "host7", "MASTER_PORT": "1234"})
    before = dict(os.environ)
    introduce(this_place())
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "127.0.0.1"}, "processes: got one.*torchrun --nproc_per"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "LOCAL_RANK and LOCAL_WORLD_SIZE: got nothing"),
    ],
    ids=["accelerate launch --cpu --num_processes 2", "by hand"],
)
def test_one_process_in_place_of_several_is_refused(environment, variables, message):
    environment(variables)
    with pytest.raises(ConfigError, match=message):
        this_place()


def test_several_machines_of_mpirun_need_an_address(environment):
    environment(OPEN_MPI)
    with pytest.raises(ConfigError, match="MASTER_ADDR: got nothing"):
        introduce(this_place())


@pytest.mark.parametrize(("gpus", "enough"), [(1, False), (2, True), (8, True)])
def test_two_processes_of_torchrun_do_not_share_a_gpu(gpus, enough):
    place = Place.of({**TORCHRUN, "LOCAL_WORLD_SIZE": "2"})
    if enough:
        return place.require_gpu(gpus)
    with pytest.raises(ConfigError, match="got 2 on one machine, need at most 1"):
        place.require_gpu(gpus)


def test_srun_may_show_each_process_the_one_gpu_that_is_its_own():
    Place.of(SRUN).require_gpu(1)
