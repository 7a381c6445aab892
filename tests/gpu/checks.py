"""Stages that tell right from wrong."""
import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor

from cases import run_tests, suites_of
from harness import Failed, Skipped, attempt, ends_with, stage


def check_libraries(place):
    for name in ("switchyard", "gpu_operators", "gpu_models", "kernel_rates", "smoke"):
        found = place.call(["ldd", place.program(name)], check=False).stdout
        missing = re.findall(r"(\S+) => not found|version `(\S+)' not found", found)
        if missing:
            raise Failed(f"{name} lacks {', '.join(sorted({a or b for a, b in missing}))}; "
                         f"LD_LIBRARY_PATH is {place.environment.get('LD_LIBRARY_PATH', '')}")


@stage("versions", 60)
def versions(place, record):
    """Libraries are found; versions of driver and libraries; copy and matrix rates."""
    check_libraries(place)
    if place.device == "cuda" and place.tool("nvidia-smi"):
        place.call([place.tool("nvidia-smi")], check=False)
    toy = ["--size", 128, "--seconds", 0.1, "--copy-mib", 4] if place.toy else []
    rates = place.json_of("rates", "--device", place.device, "--json", *toy)
    names = [n for n in rates if n.startswith(("device", "driver", "c", "nccl", "matrix"))]
    record("rates", figures=rates, shown={n.replace("matrix_tflops", "TFLOP/s"): rates[n]
                                          for n in names if n != "compute_capability"})


# Some tests are enough to see the stage itself work; on the CPU and the emulated GPU all of them run
# as tests of their own.
def pattern(place, *toys):
    suites = toys if place.toy else ("",)
    return ":".join(f"*{suite}*{place.device}*" for suite in suites)


def operators_pattern(place):
    return pattern(place, "Rotary", "UpdateControl")


@stage("operators", 240)
def operators(place, record):
    """Every operator's tests on the device: fp32, bf16, fp16."""
    run_tests(place, record, "operators", "gpu_operators", operators_pattern(place), limit=60)


@stage("goldens", 180)
def goldens(place, record):
    """PyTorch's losses of 50 AdamW steps, fp32 within 1e-4; models' gradients; ranks as threads."""
    run_tests(place, record, "goldens", "gpu_models", pattern(place, "OnDevice"), limit=90)


# Training runs that other stages compare: the losses of a path, by step.

# At 1e-3 the loss rises from 5.5 to 6.8 by step 18, and bf16 leaves fp32 by 0.16, on the CPU, too.
def model(place):
    size = [2, 64, 4, 32] if place.toy else [4, 128, 4, 128]
    names = ["--num-layers", "--hidden-size", "--num-attention-heads", "--seq-length"]
    return [*(word for pair in zip(names, size) for word in pair), "--lr", "3e-4", "--seed", 7,
            "--micro-batch-size", 2]


def losses(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return {line["step"]: line["loss"] for line in map(json.loads, lines)}


def train(place, name, steps, *more, batch=8, warm_up=10, device=None, start=None, fresh=True,
          limit=60, choices_of=None):
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
                "--data-path", place.tokens(), *model(place), "--global-batch-size", batch,
                "--lr-warmup-iters", warm_up, "--device", device or place.device,
                "--train-iters", steps,
                "--save-interval", 0, "--log-interval", 1000, *more], limit=limit)
    return losses(folder)


def furthest(a, b, steps):
    for log in (a, b):
        if sorted(log) != list(range(1, len(log) + 1)) or len(log) < steps:
            raise Failed(f"a log of {len(log)} steps, {min(log, default=0)} to "
                         f"{max(log, default=0)}; 1 to {steps} are needed")
    return max(abs(a[s] - b[s]) for s in range(1, steps + 1))


def within(record, name, value, bound):
    good = value <= bound  # false of a NaN
    record(name, status="passed" if good else "failed", figures={"furthest": value, "bound": bound},
           why="" if good else f"{value:.3g} is above {bound:.3g}")


@stage("repeat", 180)
def repeat(place, record):
    """The same bits twice, and across stop and resume."""
    steps = 4 if place.toy else 40
    dropout = ["--hidden-dropout", 0.1, "--attention-dropout", 0.1]
    cases = {"fp32 with dropout": dropout, "bf16": ["--bf16"]}  # cuDNN's attention has no dropout
    if not place.toy:
        cases["bf16 with dropout"] = ["--bf16", *dropout]
    for name, flags in cases.items():
        def body(name=name, flags=flags):
            folder = name.replace(" ", "-")
            first = train(place, f"twice-a-{folder}", steps, *flags)
            again = train(place, f"twice-b-{folder}", steps, *flags, choices_of=f"twice-a-{folder}")
            within(record, f"{name} twice", furthest(first, again, steps), 0.0)
            train(place, f"resume-{folder}", steps // 2, *flags, choices_of=f"twice-a-{folder}")
            resumed = train(place, f"resume-{folder}", steps, *flags, fresh=False)
            within(record, f"{name} resumed", furthest(first, resumed, steps), 0.0)
        attempt(record, name, body)


@stage("cpu", 180)
def cpu(place, record):
    """fp32 against the CPU's run of the same path over 50 steps, bf16 against fp32 over 200."""
    near, far = (3, 5) if place.toy else (50, 200)
    exact = train(place, "gpu-fp32", far, warm_up=50)

    def against_cpu():
        reference = train(place, "cpu-fp32", near, device="cpu", warm_up=50)
        within(record, f"fp32, {near} steps", furthest(reference, exact, near), 1e-4)

    def against_fp32():
        # The path's precision is part of the path; its initial weights are not rounded by it.
        rounded = train(place, "gpu-bf16", far, "--bf16", warm_up=50)
        within(record, f"bf16, {far} steps", furthest(exact, rounded, far), 2e-2)

    attempt(record, "fp32", against_cpu)
    attempt(record, "bf16", against_fp32)


def on_ranks(place, count):
    program = place.program("switchyard")
    if place.device == "cuda":
        return [program, "launch", "-np", count, "--ranks-per-gpu", count, "--"]
    mpirun = place.house / "tests/support/mpirun"
    if not mpirun.exists():
        raise Skipped("ranks on the CPU need mpirun, which a package has not")
    return [mpirun, "-np", count, program]


UNTIMED = ["--no-matmul-tuning"]  # a few steps are no time to choose algorithms for


# A collective of ranks that share a GPU takes some 15 ms, and a step has up to 100 of them.
@stage("ranks", 300)
def ranks(place, record):
    """Several ranks on one device, through NCCL (the CPU's: MPI), against one rank."""
    steps, limit = (3 if place.toy else 8), 75
    cases = [("tp 2", 1e-5, 2, ["--tp", 2]), ("pp 2", 1e-5, 2, ["--pp", 2]), ("dp 2", 1e-5, 2, []),
             ("tp 2 pp 2", 1e-5, 4, ["--tp", 2, "--pp", 2]),
             ("bf16, tp 2 dp 2", 2e-2, 4, ["--tp", 2, "--bf16"])]
    if place.toy:
        cases = cases[0], cases[3]
    alone = {flags: train(place, f"one-rank{flags}", steps, *flags.split(), *UNTIMED, batch=4)
             for flags in ("", "--bf16")}
    for name, bound, count, flags in cases:
        def body(name=name, bound=bound, count=count, flags=flags):
            there = train(place, "ranks-" + re.sub("[^a-z0-9]+", "-", name), steps, *flags, *UNTIMED,
                          batch=4, start=on_ranks(place, count), limit=limit)
            one = alone["--bf16" if "--bf16" in flags else ""]
            within(record, name, furthest(one, there, steps), bound)
        attempt(record, name, body)


# Kernels that are not ours: matrix products, and what asks for cuDNN. Slow ones need no tool.
NOT_SANITIZED = re.compile(r"Matmul|Tf32|Cudnn|Errors|Names|LongRows|VocabularyOfGpt2|ManyTokens|"
                           r"FiftySteps|MoreRows|Every16Bit|WordsAre|/cuda_f16|PositionsInOrder")
REFUSED = re.compile(r"Device not supported|not supported on|Unable to find|insufficient|"
                     r"[Ff]ailed to (initialize|attach)|before first instrumented API call")


def sanitized_tests(place):
    suites = suites_of(place, "gpu_operators", operators_pattern(place)).values()
    return [test for suite in suites for test in suite if not NOT_SANITIZED.search(test)]


def sanitize(place, record, tool, kind, tests):
    # Mangled names of our kernels, and of no others, have the namespace in them.
    done = place.call([tool, "--tool", kind, "--error-exitcode", 9, "--report-api-errors", "no",
                       "--kernel-name", "kernel_substring=switchyard",
                       place.program("gpu_operators"), f"--gtest_filter={':'.join(tests)}"],
                      check=False, limit=170)
    summary = re.search(r"^=+ (?:ERROR|RACECHECK) SUMMARY: (\d+).*$", done.stdout, re.MULTILINE)
    passed = done.stdout.count("[       OK ]")
    if summary and done.returncode == 0 and summary[1] == "0" and passed:
        record(kind, figures={"tests": passed})
    elif not (summary and int(summary[1])) and (refusal := REFUSED.search(done.stdout)):
        record(kind, status="skipped", why=f"refused here: {refusal[0]}")
    else:
        first = re.search(r"^=+ (?:Invalid|Error|Uninit|Barrier|Race|Warning).*$", done.stdout,
                          re.MULTILINE)
        record(kind, status="failed", why=f"ended with {done.returncode}, {passed} tests passed; "
               f"{first[0] if first else ''} {summary[0] if summary else ends_with(done)}")


def sanitize_all(place, record, kinds):
    tool = place.tool("compute-sanitizer")
    if place.device == "cpu" or tool is None:
        raise Skipped("compute-sanitizer is not here" if tool is None else "a GPU is needed")
    tests = sanitized_tests(place)
    place.call([tool, "--version"], check=False)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda kind: sanitize(place, record, tool, kind, tests), kinds))


@stage("memcheck", 180)
def memcheck(place, record):
    """One tool of compute-sanitizer over our own kernels, small shapes."""
    sanitize_all(place, record, ["memcheck"])


@stage("sanitizer", 240)
def sanitizer(place, record):
    """compute-sanitizer's four tools at once over our own kernels, small shapes."""
    sanitize_all(place, record, ["memcheck", "racecheck", "initcheck", "synccheck"])
