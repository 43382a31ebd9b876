"""Plans: steps from data, machine and budget, without a stopwatch."""

import itertools
import math
import re
from dataclasses import replace

import psutil
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from medmm.config.schema import Config, EncoderConfig
from medmm.errors import UsageError
from medmm.models.image_encoder import build_encoder
from medmm.reports.parse import parse_report
from medmm.tasks.report_gen import ReportGeneration
from medmm.training.plan import Machine, choose_device, plan, this_machine
from medmm.types import Study

LAPTOP = Machine(cores=8, bf16=True, device="cpu")
OLD = Machine(cores=8, bf16=False, device="cpu")
GPU = Machine(cores=16, bf16=False, device="cuda")


def config(**train):
    return Config.model_validate({"train": train})


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


@pytest.mark.parametrize("machine", [LAPTOP, OLD, GPU, Machine(1, False, "cpu")])
@pytest.mark.parametrize("n_train", [1, 10, 5000, 10**6])
def test_steps_that_are_asked_for_are_kept(machine, n_train):
    for steps in (1, 7, 123_456):
        assert plan(config(steps=steps, budget_minutes=0.01), n_train, machine).steps == steps


@pytest.mark.parametrize("machine", [LAPTOP, OLD, GPU, Machine(2, True, "cpu", processes=2)])
@pytest.mark.parametrize("n_train", [1, 33, 1000, 30_000, 10**6])
def test_a_longer_budget_never_gives_fewer_steps(machine, n_train):
    budgets = [0.001, 0.1, 0.5, *(0.25 * quarter for quarter in range(4, 200)), 200, 1000, 10_000]
    steps = [plan(config(budget_minutes=budget), n_train, machine).steps for budget in budgets]
    assert steps[0] >= 1
    assert all(longer >= shorter for shorter, longer in itertools.pairwise(steps))


def test_four_times_the_time_buys_four_times_the_steps_and_more_once_all_is_read():
    def ratio(n_train):
        short, long = (plan(config(budget_minutes=budget), n_train, LAPTOP).steps for budget in (4, 16))
        return long / short

    assert ratio(10**7) == pytest.approx(4, rel=0.1)
    assert ratio(30_000) > 4.1


@pytest.mark.parametrize("budget", [2, 12, 60, 600])
@pytest.mark.parametrize("machine", [LAPTOP, OLD])
def test_the_expected_minutes_are_those_of_the_budget(budget, machine):
    chosen = plan(config(budget_minutes=budget), 100_000, machine)
    assert 0.85 * budget <= chosen.minutes <= budget + 0.1


def test_few_studies_are_not_repeated_without_end():
    seen = [plan(config(budget_minutes=budget), n, LAPTOP) for n in (320, 640, 3200) for budget in (10**6, 10**7)]
    assert len({chosen.epochs for chosen in seen}) == 1
    assert 20 <= seen[0].epochs <= 500
    assert [chosen.steps for chosen in seen[::2]] == [chosen.steps for chosen in seen[1::2]]
    assert [chosen.steps / seen[0].steps for chosen in seen[::2]] == [1, 2, 10]


def test_steps_asked_for_may_repeat_them_further():
    assert plan(config(steps=10_000, batch_size=10), 10, LAPTOP).epochs == 10_000


@pytest.mark.parametrize(
    ("machine", "precision"),
    [(LAPTOP, "bf16"), (OLD, "fp32"), (GPU, "bf16"), (Machine(4, True, "cuda:1"), "bf16")],
)
def test_precision_follows_the_machine_unless_it_is_asked_for(machine, precision):
    assert plan(config(), 1000, machine).precision == precision
    for asked in ("bf16", "fp32"):
        assert plan(config(precision=asked), 1000, machine).precision == asked


def test_a_slower_machine_does_fewer_steps():
    def steps(machine, **train):
        return plan(config(**train), 50_000, machine).steps

    assert steps(OLD) < steps(LAPTOP)
    assert steps(LAPTOP, precision="fp32") == steps(OLD)
    assert steps(Machine(2, True, "cpu")) < steps(LAPTOP)
    assert steps(GPU) > steps(LAPTOP)
    assert steps(GPU, precision="fp32") < steps(GPU)


def test_a_larger_model_or_image_does_fewer_steps():
    def steps(**changes):
        return plan(Config.model_validate(changes), 50_000, LAPTOP).steps

    assert steps(preprocess={"size": 256}) < steps()
    assert steps(model={"encoder": {"name": "resnet50"}}) < steps()
    assert steps(model={"decoder": {"layers": 12, "width": 768}}) < steps()


def test_a_step_holds_the_batches_of_all_processes_and_never_more_than_there_are_studies():
    two = Machine(4, True, "cpu", processes=2)
    assert plan(config(batch_size=8), 1000, LAPTOP).batch == 8
    assert plan(config(batch_size=8, accumulate=3), 1000, LAPTOP).batch == 24
    assert plan(config(batch_size=8, accumulate=3), 1000, two).batch == 48
    assert plan(config(batch_size=8, accumulate=3), 20, two).batch == 20
    assert plan(config(batch_size=8), 0, LAPTOP).batch == 1


@pytest.mark.parametrize(
    ("steps", "n_train", "studies", "epochs"), [(10, 1000, 80, 0.08), (10, 80, 80, 1.0), (25, 80, 80, 2.5)]
)
def test_studies_are_those_that_the_steps_get_to_see(steps, n_train, studies, epochs):
    chosen = plan(config(steps=steps, batch_size=8), n_train, LAPTOP)
    assert (chosen.studies, chosen.epochs) == (studies, epochs)


@pytest.mark.parametrize(
    ("n_train", "validation"), [(1, 1), (3, 1), (8, 2), (100, 25), (2047, 511), (2048, 512), (10**6, 512)]
)
def test_validation_takes_a_quarter_as_many_studies_as_training_up_to_a_limit(n_train, validation):
    assert plan(config(), n_train, LAPTOP).validation == validation


@pytest.mark.parametrize(("steps", "every"), [(1, 1), (9, 1), (10, 1), (11, 2), (100, 10), (1005, 101)])
def test_it_validates_at_most_ten_times_unless_told(steps, every):
    chosen = plan(config(steps=steps), 1000, LAPTOP)
    assert chosen.validate_every == every
    assert math.ceil(steps / chosen.validate_every) <= 10
    assert plan(config(steps=steps, validate_every=3), 1000, LAPTOP).validate_every == 3


def test_threads_are_all_cores_and_fewer_beside_a_gpu():
    assert plan(config(), 100, LAPTOP).threads == 8
    assert plan(config(), 100, Machine(64, True, "cpu")).threads == 64
    assert plan(config(), 100, GPU).threads == 8
    assert plan(config(), 100, Machine(2, False, "cuda")).threads == 2


def test_the_same_data_and_machine_give_the_same_plan():
    assert plan(config(), 1234, LAPTOP) == plan(config(), 1234, LAPTOP)
    assert plan(config(), 1234, LAPTOP).as_dict() == plan(config(), 1234, LAPTOP).as_dict()


def test_lines_say_steps_minutes_and_memory():
    chosen = plan(config(steps=120, batch_size=16), 960, OLD)
    text = "\n".join(chosen.lines())
    assert "120 steps of 16 studies (2.0 epochs of 960), validated every 12" in text
    assert f"{chosen.parameters_m:.1f} M parameters in fp32 on cpu with 8 threads" in text
    minutes, memory = re.search(r"about (\d+) min and (\d+\.\d) GB", text).groups()
    assert float(minutes) == pytest.approx(chosen.minutes, abs=0.5)
    assert float(memory) == pytest.approx(chosen.memory_gb, abs=0.051)
    assert "with 1 thread;" in "\n".join(plan(config(), 9, Machine(1, True, "cpu")).lines())


def test_memory_grows_with_batch_and_image():
    def memory(batch, size):
        chosen = Config.model_validate({"train": {"batch_size": batch, "steps": 1}, "preprocess": {"size": size}})
        return plan(chosen, 1000, LAPTOP).memory_gb

    assert memory(8, 128) < memory(32, 128) < memory(32, 512)


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:3"])
def test_a_gpu_that_is_not_there_is_refused(no_gpu, device):
    for ask in (choose_device, this_machine, lambda name: plan(Config(device=name), 100)):
        with pytest.raises(UsageError, match="no such GPU") as caught:
            ask(device)
        assert "--device auto" in str(caught.value)
        assert f"'{device}'" in str(caught.value)


def test_a_gpu_beyond_those_that_are_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [choose_device(name) for name in ("auto", "cuda", "cuda:1", "cpu")] == ["cuda", "cuda", "cuda:1", "cpu"]
    with pytest.raises(UsageError, match="2 GPUs"):
        choose_device("cuda:2")


def test_auto_is_the_processor_where_there_is_no_gpu(no_gpu, monkeypatch):
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = this_machine("auto")
    assert (found.device, found.cores, found.processes) == ("cpu", 1, 1)
    assert found.memory_gb == pytest.approx(psutil.virtual_memory().total / 2**30)
    assert found.bf16 == bool({"avx512_bf16", "amx_bf16"} & set(open("/proc/cpuinfo").read().split()))  # noqa: SIM115
    monkeypatch.setenv("WORLD_SIZE", "6")
    assert this_machine("cpu").processes == 6


def counted(name, shape):
    """Multiply-adds a voxel and parameters in millions of an encoder, counted by torch."""
    encoder = build_encoder(EncoderConfig(name=name, spatial_dims=len(shape), width=64), shape).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder(torch.zeros(1, 1, *shape))
    return counter.get_total_flops() / 2 / math.prod(shape), sum(p.numel() for p in encoder.parameters()) / 1e6


@pytest.mark.parametrize("name", ["densenet121", "resnet18", "resnet50", "vit"])
def test_work_and_parameters_of_the_encoders_are_those_that_torch_counts(name):
    def planned(name, size):
        settings = {"preprocess": {"size": size}, "model": {"encoder": {"name": name, "width": 64}}}
        return plan(Config.model_validate(settings | {"train": {"steps": 10**6}}), 10**6, Machine(1, True, "cpu"))

    def image_minutes(name):  # reading, text and overhead are the same at both sizes
        return planned(name, 256).minutes - planned(name, 128).minutes

    work, parameters = counted(name, (128, 128))
    lean_work, lean_parameters = counted("resnet_lean", (128, 128))
    assert image_minutes(name) / image_minutes("resnet_lean") == pytest.approx(work / lean_work, rel=0.1)
    more = planned(name, 128).parameters_m - planned("resnet_lean", 128).parameters_m
    assert more == pytest.approx(parameters - lean_parameters, rel=0.05)


def test_parameters_are_those_of_the_model_that_is_built():
    chosen = Config()
    report = parse_report("FINDINGS: The heart is normal. IMPRESSION: Normal chest.")
    task = ReportGeneration.build(chosen, [Study("1", "1", report=report)])
    own = sum(weight.numel() for weight in task.model.parameters()) / 1e6
    unlearned = (chosen.model.decoder.vocabulary - task.tokenizer.size) * chosen.model.decoder.width / 1e6
    assert plan(chosen, 1000, LAPTOP).parameters_m == pytest.approx(own + unlearned, rel=0.1)


def test_too_little_memory_is_said():
    def lines(memory_gb):
        return plan(config(batch_size=512), 10_000, Machine(4, True, "cpu", memory_gb)).lines()

    needed = plan(config(batch_size=512), 10_000, LAPTOP).memory_gb
    assert lines(0.5)[2] == (
        f"plan: needs about {needed:.1f} GB, this machine has 0.5 GB; lower train.batch_size or preprocess.size"
    )
    assert len(lines(needed + 1)) == 2


def test_the_number_of_processes_shapes_a_run_and_the_device_does_not():
    one, two = (plan(config(steps=3), 100, Machine(4, True, "cpu", 8.0, processes=number)) for number in (1, 2))
    assert (one.processes, two.processes) == (1, 2)
    assert one.shaping() != two.shaping()
    assert replace(one, device="cuda:1", machine_gb=80.0).shaping() == one.shaping()
