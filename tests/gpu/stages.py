"""The stages of tests/gpu/run. A stage records results and returns; a failed check raises."""
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable, NamedTuple


class Stage(NamedTuple):
    limit: int  # seconds
    body: Callable


STAGES = {}


def stage(name, limit):
    def register(body):
        STAGES[name] = Stage(limit, body)
        return body
    return register


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


class Place:
    """Where the programs are and what they run on."""

    def __init__(self, here, build, out, dry):
        package = here.parent.parent
        self.bin = build or (package / "bin" if (package / "bin").is_dir()
                             else package / "build" / "release")
        self.house, self.out, self.dry = package, out, dry
        self.device = "cpu" if dry else "cuda"
        self.environment = dict(os.environ, OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", "2"))
        self.environment["SWITCHYARD_GOLDEN_FOLDER"] = str(package / "tests" / "golden")
        libraries = package / "lib"
        if libraries.is_dir():
            before = self.environment.get("LD_LIBRARY_PATH", "")
            self.environment["LD_LIBRARY_PATH"] = f"{libraries}:{cuda_of_python()}:{before}"

    def program(self, name):
        for folder in ("", "tests/gpu"):
            path = self.bin / folder / name
            if path.exists():
                return str(path)
        raise Failed(f"{name} is missing under {self.bin}; build it first")

    def call(self, command, check=True, **more):
        environment = dict(self.environment, **more.pop("environment", {}))
        done = subprocess.run([str(c) for c in command], env=environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)
        print("$", *command, "\n" + done.stdout, flush=True)
        if check and done.returncode != 0:
            last = done.stdout.strip().splitlines()[-1:] or [""]
            raise Failed(f"{Path(str(command[0])).name} ended with {done.returncode}: {last[0]}")
        return done

    def switchyard(self, *words, **more):
        return self.call([self.program("switchyard"), *words], **more)

    def json_of(self, *words):
        lines = self.switchyard(*words).stdout.splitlines()
        return json.loads([line for line in lines if line.startswith("{")][-1])

    def tokens(self):
        """A small token set of real text: the tests' and program's own documents."""
        prefix = self.out / "text"
        if not prefix.with_suffix(".idx").exists():
            text = [p for p in (self.house / "docs").glob("*.md")] + [self.house / "README.md"]
            self.switchyard("tokenize", "--input", *text, "--output-prefix", prefix)
        return prefix


def cuda_of_python():
    """CUDA's libraries in Python's packages, where a machine has no toolkit."""
    try:
        import nvidia
    except ImportError:
        return ""
    return ":".join(str(p) for root in nvidia.__path__ for p in Path(root).glob("*/lib"))


def run(name, place, record):
    try:
        STAGES[name].body(place, record)
        return 0
    except Skipped as why:
        record(name, status="skipped", why=str(why))
        return 0
    except Failed as why:
        print(f"FAILED: {why}")
        return 1


# Training runs that other stages compare: the losses of a path, by step.

MODEL = ["--num-layers", 4, "--hidden-size", 128, "--num-attention-heads", 4, "--seq-length", 128,
         "--global-batch-size", 8, "--lr", "1e-3", "--lr-warmup-iters", 10, "--seed", 7]


def losses(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return {line["step"]: line["loss"] for line in map(json.loads, lines)}


def train(place, name, steps, *more, device=None, start=None, fresh=True, options=MODEL,
          choices_of=None):
    """Trains to a step and returns the losses; `start` is how the program's ranks are started.

    `choices_of` names a run whose table of timed matrix products a new run takes over: each run
    would else time its own, and another algorithm has other bits.
    """
    folder = place.out / name
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    table = place.out / choices_of / "matmul.jsonl" if choices_of else None
    if table and table.exists():  # a run on the CPU has none
        folder.mkdir(parents=True)
        shutil.copy(table, folder)
    place.call([*(start or [place.program("switchyard")]), "train", folder,
                "--data-path", place.tokens(), *options, "--device", device or place.device,
                "--train-iters", steps, "--micro-batch-size", 2, "--save-interval", 0,
                "--log-interval", 1000, *more])
    return losses(folder)


def on_ranks(place, count):
    program = place.program("switchyard")
    if place.dry:
        return [place.house / "tests/support/mpirun", "-np", count, program]
    return [program, "launch", "-np", count, "--ranks-per-gpu", count, "--"]


def furthest(a, b, steps):
    if sorted(a) != sorted(b) or len(a) != steps:
        raise Failed(f"logs of steps {min(a)}..{max(a)} and {min(b)}..{max(b)}; "
                     f"1..{steps} are needed")
    return max(abs(a[s] - b[s]) for s in a)


def within(record, name, value, bound):
    good = value <= bound
    record(name, status="passed" if good else "failed", figures={"furthest": value, "bound": bound},
           why="" if good else f"{value:.3g} is above {bound:.3g}")


def gtest(place, record, name, program, pattern):
    """A GoogleTest program's tests of a pattern; each failed one is a result of its own."""
    result = place.out / f"{name}.json"
    result.unlink(missing_ok=True)
    done = place.call([place.program(program), f"--gtest_filter={pattern}",
                       f"--gtest_output=json:{result}", "--gtest_brief=1"], check=False)
    if not result.exists():
        raise Failed(f"{program} died: {done.stdout.strip()[-300:]}")
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for suite in json.loads(result.read_text())["testsuites"]:
        for test in suite["testsuite"]:
            failures = test.get("failures")
            status = ("failed" if failures else
                      "skipped" if test.get("result") == "SKIPPED" else "passed")
            counts[status] += 1
            if failures:
                record(f"{suite['name']}.{test['name']}", status="failed",
                       why=" ".join(failures[0]["failure"].split())[:300])
    if sum(counts.values()) == 0:
        raise Failed(f"no test of {program} matches {pattern}")
    record(name, status="failed" if counts["failed"] else "passed", figures=counts,
           why=f"{counts['failed']} tests failed")


@stage("versions", 60)
def versions(place, record):
    """Versions of driver and libraries; copy and matrix rates of this device."""
    toy = ["--size", 512, "--seconds", 0.2, "--copy-mib", 16] if place.dry else []
    rates = place.json_of("rates", "--device", place.device, "--json", *toy)
    record("rates", figures=rates)


@stage("operators", 150)
def operators(place, record):
    """Every operator's tests on the device: fp32, bf16, fp16."""
    gtest(place, record, "operators", "gpu_operators",
          "*cpu*" if place.dry else "*cuda*")


@stage("goldens", 90)
def goldens(place, record):
    """PyTorch's losses of 50 AdamW steps, fp32 within 1e-4; whole models' gradients."""
    gtest(place, record, "goldens", "gpu_models", "*cpu*" if place.dry else "*cuda*")


@stage("repeat", 90)
def repeat(place, record):
    """The same bits twice, and across stop and resume."""
    for flags in [[], ["--bf16"]]:
        name = "bf16" if flags else "fp32"
        steps = 4 if place.dry else 40
        options = [*MODEL, *flags, "--hidden-dropout", 0.1, "--attention-dropout", 0.1]
        first = train(place, f"twice-a-{name}", steps, options=options)
        again = train(place, f"twice-b-{name}", steps, options=options,
                      choices_of=f"twice-a-{name}")
        within(record, f"{name} twice", furthest(first, again, steps), 0.0)
        train(place, f"resume-{name}", steps // 2, options=options, choices_of=f"twice-a-{name}")
        resumed = train(place, f"resume-{name}", steps, options=options, fresh=False)
        within(record, f"{name} resumed", furthest(first, resumed, steps), 0.0)


@stage("cpu", 120)
def cpu(place, record):
    """fp32 and bf16 against the CPU's fp32 run of the same path."""
    steps = 5 if place.dry else 50
    reference = train(place, "cpu-fp32", steps, device="cpu")
    within(record, "fp32", furthest(reference, train(place, "gpu-fp32", steps), steps), 1e-4)
    # The path's precision is part of the path, its initial weights are not rounded by it.
    rounded = train(place, "gpu-bf16", steps, options=[*MODEL, "--bf16"])
    within(record, "bf16", furthest(reference, rounded, steps), 2e-2)


@stage("ranks", 240)
def ranks(place, record):
    """Several ranks on one device, through NCCL (the CPU's: MPI), against one rank."""
    steps = 4 if place.dry else 20
    alone = train(place, "one-rank", steps)
    for tp, pp, dp in [(2, 1, 1), (1, 2, 1), (1, 1, 2), (2, 2, 1)]:
        there = train(place, f"ranks-{tp}x{pp}x{dp}", steps, "--tp", tp, "--pp", pp,
                      start=on_ranks(place, tp * pp * dp))
        within(record, f"tp {tp} pp {pp} dp {dp}", furthest(alone, there, steps), 1e-5)
    rounded = [*MODEL, "--bf16"]
    alone = train(place, "one-rank-bf16", steps, options=rounded)
    there = train(place, "ranks-bf16", steps, "--tp", 2, start=on_ranks(place, 4), options=rounded)
    within(record, "bf16, tp 2 dp 2", furthest(alone, there, steps), 2e-2)


@stage("sanitizer", 180)
def sanitizer(place, record):
    """compute-sanitizer over our own kernels, small shapes."""
    tool = shutil.which("compute-sanitizer", path=place.environment.get("PATH", ""))
    if place.dry or tool is None:
        raise Skipped("compute-sanitizer is not here" if tool is None else "a GPU is needed")
    for kind in ("memcheck", "racecheck", "initcheck", "synccheck"):
        done = place.call([tool, "--tool", kind, "--error-exitcode", "9", "--kernel-name",
                           "regex:switchyard", place.program("gpu_operators"),
                           "--gtest_filter=*Small*cuda*:*Dropout*cuda*", "--gtest_brief=1"],
                          check=False)
        if done.returncode and re.search(r"not supported|insufficient|Unable to find|failed to "
                                         r"(initialize|attach)", done.stdout):
            record(kind, status="skipped", why=done.stdout.strip().splitlines()[-1])
            continue
        record(kind, status="failed" if done.returncode else "passed",
               why=done.stdout.strip()[-300:] if done.returncode else "")


@stage("kernels", 90)
def kernels(place, record):
    """Bandwidth of our own kernels as a share of the copy rate of the same run."""
    toy = ["--mib", 1, "--repeats", 2] if place.dry else []
    done = place.call([place.program("kernel_rates"), "--device", place.device, *toy])
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            one = json.loads(line)
            record(one.pop("kernel"), figures=one)


# Shapes of the gates: preset, micro-batch, global batch, timed steps, PyTorch's micro-batches.
SHAPES = {"124m": ("gpt2-124m", 64, 512, 10, (32, 64)),
          "1.3b": ("gpt3-1.3b", 16, 128, 6, (8, 16)),
          "7b": ("llama-7b", 1, 32, 3, (1,))}


def bench(place, record, name):
    preset, micro, batch, steps, of_pytorch = SHAPES[name]
    words = ["--preset", preset, "--micro-batch-size", micro, "--global-batch-size", batch,
             "--steps", steps, "--bf16"]
    if place.dry:
        words = ["--preset", "gpt2-tiny", "--micro-batch-size", 2, "--global-batch-size", 4,
                 "--steps", 1]
    for mode in ([], ["--no-deterministic"]):
        result = place.json_of("bench", "--device", place.device, "--json", *words, *mode)
        record(f"{preset}{' non-deterministic' if mode else ''}", figures=result)
    profile = place.switchyard("bench", "--device", place.device, "--profile", *words).stdout
    (place.out / f"profile-{name}.txt").write_text(profile)
    for script_micro in of_pytorch:
        beside_pytorch(place, record, name, script_micro)


def beside_pytorch(place, record, name, micro):
    script = place.house / "tools/bench/pytorch_step.py"
    if subprocess.run([sys.executable, "-c", "import torch"], capture_output=True).returncode:
        record("PyTorch", status="skipped", why="PyTorch is not installed for this Python")
        return
    preset, _, batch, steps, _ = SHAPES[name]
    words = ["--preset", preset, "--micro-batch-size", micro, "--global-batch-size", batch,
             "--steps", steps, "--compile", "--device", "cuda"]
    if place.dry:
        words = ["--preset", "gpt2-tiny", "--micro-batch-size", 2, "--global-batch-size", 4,
                 "--steps", 1, "--device", "cpu"]
    done = place.call([sys.executable, script, *words], check=False)
    line = [x for x in done.stdout.splitlines() if x.startswith("{")]
    if done.returncode or not line:
        record(f"PyTorch {micro}", status="skipped",
               why=f"ended with {done.returncode}: {done.stdout.strip()[-200:]}")
        return
    record(f"PyTorch {micro}", figures=json.loads(line[-1]))


@stage("bench-124m", 150)
def bench_124m(place, record):
    """Training steps of GPT-2 124M, T 1024, beside PyTorch."""
    bench(place, record, "124m")


@stage("bench-1.3b", 240)
def bench_1300m(place, record):
    """Training steps of the 1.3B shape, T 2048, beside PyTorch."""
    bench(place, record, "1.3b")


@stage("bench-7b", 300)
def bench_7b(place, record):
    """Training steps of Llama-2 7B, T 4096, where 140 GB of memory are there."""
    if not place.dry:
        rates = place.json_of("rates", "--device", "cuda", "--json", "--seconds", 0.1)
        if rates["memory_bytes"] < 135e9:
            raise Skipped(f"the GPU has {rates['memory_bytes'] / 1e9:.0f} GB; 140 are needed")
    bench(place, record, "7b")
