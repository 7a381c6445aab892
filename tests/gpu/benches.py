"""Stages that measure: our kernels, and training steps beside PyTorch's."""
import json
import re
import subprocess
import sys
from typing import NamedTuple

from harness import Failed, Skipped, attempt, ends_with, last_json, stage


class Shape(NamedTuple):
    """A training step of the gates."""
    preset: str
    micro: int
    micro_of_80_gb: int  # where a GPU has no more memory; 0: nothing fits
    batch: int           # samples
    steps: int           # timed
    gate: float          # tokens/s on an H200
    of_pytorch: str      # micro-batches that PyTorch tries
    compiled: str        # the most that torch.compile gets: whole deep models take it minutes


SHAPES = {
    "124m": Shape("gpt2-124m", 64, 64, 512, 10, 500e3, "64,32", "whole"),
    "1.3b": Shape("gpt3-1.3b", 16, 8, 128, 6, 60e3, "16,8,4", "blocks"),
    "7b": Shape("llama-7b", 1, 0, 32, 3, 12.5e3, "1", "blocks"),
}
TOY = Shape("gpt2-tiny", 2, 2, 4, 1, 0, "2,1", "blocks")
# Of the gate; other GPUs have none.
SHARE_OF_GATE = {"NVIDIA H200": 1.0, "NVIDIA H100 80GB HBM3": 0.95}


@stage("kernels", 120)
def kernels(place, record):
    """Bandwidth of our own kernels as a share of the copy rate of the same run."""
    toy = ["--mib", 1, "--repeats", 2] if place.toy else []

    def keep(line):  # at once: the stage may be cut
        if line.startswith("{") and line.endswith("}\n"):
            one = json.loads(line)
            record(one.pop("kernel"), figures=one)

    place.call([place.program("kernel_rates"), "--device", place.device, *toy], each=keep)


def shape_here(place, name):
    """The shape and, of a GPU, its memory."""
    if place.toy:
        return TOY
    shape = SHAPES[name]
    if place.device == "cpu":
        return shape
    gpu = place.json_of("rates", "--device", "cuda", "--json", "--seconds", 0.01, "--size", 256)
    if gpu["memory_bytes"] >= 135e9:
        return shape
    if shape.micro_of_80_gb == 0:
        raise Skipped(f"the GPU has {gpu['memory_bytes'] / 1e9:.0f} GB; 140 are needed")
    return shape._replace(micro=shape.micro_of_80_gb)


def words_of(place, shape):
    words = ["--preset", shape.preset, "--micro-batch-size", shape.micro, "--global-batch-size",
             shape.batch, "--steps", shape.steps, "--device", place.device]
    if place.toy:
        words += ["--seq-length", 32]
    if place.device == "cuda":  # timed choices of products come out with the results
        words += ["--bf16", "--tuning-folder", place.out / "tuning", "--matrix-seconds", 3]
        if place.toy:
            words[-1] = 0.1
            words += ["--matrix-size", 64]
    return words


def by_operator(lines):
    """The lines of an operator in a part of the model as one, longest first."""
    all_of = {}
    for line in lines:
        key = line["part"], line["operation"], line["backend"]
        one = all_of.setdefault(key, dict(line, calls=0, milliseconds=0.0))
        one["calls"] += line["calls"]
        one["milliseconds"] += line["milliseconds"]
    return sorted(all_of.values(), key=lambda line: -line["milliseconds"])


def print_profile(place, name, result):
    """The budget of a step: products one by one, every operator, and what no operator took."""
    tokens = result["global_batch_size"] * result["seq_length"]
    whole = result["profiled_milliseconds"]
    lines = result.pop("profile")
    gaps = whole - sum(line["milliseconds"] for line in lines)
    text = "".join(f"{line['part']:<12} {line['calls']:6d} {line['milliseconds']:10.3f} ms "
                   f"{line['tflops']:8.1f} TFLOP/s  {line['detail']}\n"
                   for line in lines if "detail" in line) + "\n"
    lines = by_operator(lines)
    lines += [{"part": "", "operation": "gaps", "backend": "", "calls": 0, "milliseconds": gaps},
              {"part": "", "operation": "step", "backend": "", "calls": 1, "milliseconds": whole}]
    text += "".join(f"{line['part']:<12} {line['operation']:<28} {line['backend']:<12} "
                    f"{line['calls']:6d} {line['milliseconds']:10.3f} ms {1e3 * line['milliseconds'] / tokens:8.4f} "
                    f"us/token {100 * line['milliseconds'] / whole:5.1f}%\n" for line in lines)
    (place.out / f"profile-{name}.txt").write_text(text)
    print(text, flush=True)
    return {"gaps": gaps / whole}


def brief(result):
    """What of a step's figures a table has room for."""
    shown = {"tokens/s": result["tokens_per_second"]}
    for name, key in (("MFU causal", "mfu_causal_of_989_tflops"),
                      ("full", "mfu_full_of_989_tflops"),
                      ("of matrix rate", "share_of_matrix_rate")):
        if key in result:
            shown[name] = result[key]
    if "attention_forward" in result.get("backends", {}):
        shown["attention"] = result["backends"]["attention_forward"]
    shown["GiB"] = result.get("gpu_bytes", result["memory_bytes"]) / 2**30
    return shown


ALLOWED_GROWTH = 32 << 20  # of the GPU's memory: the driver takes some for events and launches


def figures_of(place, words):
    """Of a bench, by cuDNN's attention; by what there is, and why, where cuDNN refuses."""
    if place.device == "cpu":
        return place.json_of("bench", "--json", *words), ""
    done = place.switchyard("bench", "--json", "--attention-backend", "cudnn", *words, check=False)
    if done.returncode == 0:
        return last_json(done), ""
    refusal = re.search("cuDNN was asked for, but (.*)", done.stdout)
    if not refusal:
        raise Failed(f"switchyard ended with {done.returncode}: {ends_with(done)}")
    return place.json_of("bench", "--json", *words), f"cuDNN refuses attention: {refusal[1]}. "


def bench(place, record, name):
    shape = shape_here(place, name)
    words = words_of(place, shape)

    def run(label, *options):
        result, refused = figures_of(place, [*words, *options])
        shown = brief(result)
        if "profile" in result:
            shown |= print_profile(place, name, result)
        grown = result["allocations_after_first_step"]
        share = SHARE_OF_GATE.get(result["device"], 0)
        why = refused + (f"{grown} allocations after the first step. " if grown else "")
        more = result.get("gpu_bytes_grown_after_second_step", 0)
        if more > ALLOWED_GROWTH and label != "graph":  # which is made in the third
            why += f"{more} bytes of the GPU taken after the second step. "
        if share and label == "deterministic":
            shown["of the gate"] = result["tokens_per_second"] / (share * shape.gate)
            if shown["of the gate"] < 1:
                why += f"{result['tokens_per_second']:.0f} tokens/s; the gate is " \
                       f"{share * shape.gate:.0f}"
        record(f"{shape.preset} {label}", status="failed" if why else "passed", why=why.strip(),
               figures=result, shown=shown)

    modes = {"deterministic": ["--profile", "--warm-up", 1 if place.toy else 3],
             "non-deterministic": ["--no-deterministic", "--warm-up", 1 if place.toy else 2]}
    if name == "124m" and place.device == "cuda":  # the third step is captured
        modes["graph"] = ["--cuda-graph", "--warm-up", 3]
    for label, options in modes.items():
        attempt(record, f"{shape.preset} {label}", lambda: run(label, *options))


def ours(place, preset):
    """Tokens a second of the same run's `bench` stage in the default mode, or None."""
    for line in (place.out / "results.jsonl").read_text().splitlines():
        one = json.loads(line)
        if one["name"] == f"{preset} deterministic" and "figures" in one:
            return one["figures"]["tokens_per_second"]
    return None


def pytorch(place, record, name):
    shape = TOY if place.toy else SHAPES[name]
    if subprocess.run([sys.executable, "-c", "import torch"], capture_output=True).returncode:
        raise Skipped("PyTorch is not installed for this Python")
    # A device of ours that is emulated is none of PyTorch's.
    device = "cpu" if place.toy else place.device
    words = ["--preset", shape.preset, "--micro-batch-size", shape.of_pytorch,
             "--global-batch-size", shape.batch, "--steps", shape.steps, "--device", device]
    if place.toy:
        words += ["--seq-length", 32, "--warm-up", 1, "--matrix-seconds", 0.1]
    modes = {"default": ["--compile", "blocks"], "whole": ["--compile", "whole"],
             "deterministic": ["--compile", "blocks", "--deterministic"]}
    if shape.compiled == "blocks":
        del modes["whole"]
    for label, more in modes.items():  # what compiles fast first: time may run out
        # Neither our libraries' folder nor our number of threads is PyTorch's.
        done = place.call([sys.executable, place.house / "tools/bench/pytorch_step.py", *words,
                           *more], check=False, environment=place.others)
        if done.returncode:
            record(f"PyTorch {label}", status="skipped",
                   why=f"ended with {done.returncode}: {ends_with(done)}")
            continue
        result = last_json(done)
        shown = {"micro-batch": result["micro_batch_size"], **brief(result)}
        mine = ours(place, shape.preset)
        if mine:
            shown["Switchyard over PyTorch"] = mine / result["tokens_per_second"]
        record(f"{shape.preset} PyTorch {label}", figures=result, shown=shown)


@stage("bench-124m", 240)
def bench_124m(place, record):
    """Training steps of GPT-2 124M, T 1024."""
    bench(place, record, "124m")


@stage("bench-1.3b", 300)
def bench_1300m(place, record):
    """Training steps of the 1.3B shape, T 2048."""
    bench(place, record, "1.3b")


@stage("pytorch-124m", 300)
def pytorch_124m(place, record):
    """The same in PyTorch: 124M."""
    pytorch(place, record, "124m")


@stage("bench-7b", 400)
def bench_7b(place, record):
    """Training steps of Llama-2 7B, T 4096, where 140 GB of memory are there."""
    bench(place, record, "7b")


@stage("pytorch-1.3b", 300)
def pytorch_1300m(place, record):
    """The same in PyTorch: 1.3B."""
    pytorch(place, record, "1.3b")


@stage("pytorch-7b", 300)
def pytorch_7b(place, record):
    """The same in PyTorch: 7B."""
    if place.device == "cuda":
        shape_here(place, "7b")  # or skipped
    pytorch(place, record, "7b")
