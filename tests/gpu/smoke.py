"""The first stage: whatever would make the others useless, within a minute."""
import importlib.metadata
import math
import os
import platform
import re
import shutil
import socket
import sys

from checks import check_libraries
from harness import Failed, attempt, last_json, stage

LEAST_SHARED_MEMORY = 1e9  # of 4 ranks of tp 2 x pp 2 on one GPU: 34 MB for each of 28 communicators
# Of the loss of random weights to ln V, and relative ones of gradients.
LOSS_BOUND = 0.5
GRADIENT_BOUNDS = {"f32": 1e-6, "bf16": 3e-2, "f16": 1e-2}

# cuDNN compiles its attention when it runs: with libnvrtc, opened by name, and its builtins.
COMPILE = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
program = ctypes.c_void_p()
source = b"extern \\"C\\" __global__ void k(float* x) { x[threadIdx.x] *= 2; }"
status = library.nvrtcCreateProgram(ctypes.byref(program), source, b"k.cu", 0, None, None)
status = status or library.nvrtcCompileProgram(program, 0, None)
sys.exit(f"status {status} of {sys.argv[1]}" if status else 0)
"""


def version_of(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def machine(place, record):
    """What ranks need of the machine: a loopback device and shared memory."""
    with socket.socket() as server, socket.socket() as client:
        try:
            server.bind(("127.0.0.1", 0))
            server.listen()
            client.settimeout(5)
            client.connect(server.getsockname())
            why = ""
        except OSError as problem:
            why = f"lo is not up (ranks find each other over 127.0.0.1): {problem.strerror}. "
    shared = shutil.disk_usage("/dev/shm").total
    if shared < LEAST_SHARED_MEMORY and place.device == "cuda" and not place.toy:
        why += f"/dev/shm has {shared / 1e6:.0f} MB; NCCL wants 34 MB for each communicator of a rank"
    record("machine", status="failed" if why else "passed", why=why.strip(),
           figures={"Python": platform.python_version(), "glibc": platform.libc_ver()[1],
                    "torch": version_of("torch"), "cores": len(os.sched_getaffinity(0)),
                    "/dev/shm GB": shared / 1e9})


def versions(place, record):
    if place.device == "cuda" and place.tool("nvidia-smi"):
        place.call([place.tool("nvidia-smi")], check=False)
    small = ["--size", 128, "--seconds", 0.1, "--copy-mib", 4]
    rates = place.json_of("rates", "--device", place.device, "--json", *small)
    record("versions", figures={name: value for name, value in rates.items()
                                if name.startswith(("device", "driver", "c", "nccl"))
                                and not name.startswith(("copy", "compute"))})


def nvrtc(place, record):
    """Whether libnvrtc of the CUDA that we link opens by its name and compiles."""
    if place.device == "cpu":
        return
    linked = place.call(["ldd", place.program("switchyard")], check=False).stdout
    found = re.search(r"libcublasLt\.so\.(\d+)", linked)
    if not found:  # an emulated GPU
        return record("libnvrtc", status="skipped", why="the program links no libcublasLt")
    name = f"libnvrtc.so.{found[1]}"
    done = place.call([sys.executable, "-c", COMPILE, name], check=False, limit=20)
    bad = done.returncode != 0
    status = "skipped" if bad and place.toy else "failed" if bad else "passed"
    record("libnvrtc", status=status, figures={"library": name},
           why=f"cuDNN's attention cannot compile: {done.stdout.strip()[-200:]}" if bad else "")


def wrong_in(line, precision, device, norm_in_f32):
    """What is wrong with the micro-batch; empty where nothing is."""
    line = {name: math.nan if value is None else value for name, value in line.items()}  # JSON's NaN
    why = ""
    if not abs(line["loss"] - line["ln_vocabulary"]) < LOSS_BOUND:
        why += f"loss {line['loss']:.3f}; ln V is {line['ln_vocabulary']:.3f}. "
    bound = GRADIENT_BOUNDS[precision]
    if not line["difference_of_gradients"] <= bound:  # also a NaN
        why += f"gradients differ by {line['difference_of_gradients']:.2g} from those of our own " \
               f"attention; {bound:g} is allowed. "
    if norm_in_f32 and not math.isclose(line["grad_norm"], norm_in_f32, rel_tol=0.05):
        why += f"the gradients' norm is {line['grad_norm']:.4g}; in fp32 it is {norm_in_f32:.4g}. "
    wanted = ["cuDNN"] if device == "cuda" and precision != "f32" else ["own kernels"]
    if line["attention"] != wanted:
        why += f"attention ran by {', '.join(line['attention'])}; {wanted[0]} was wanted. "
    return why.strip()


@stage("smoke", 60)
def smoke(place, record):
    """Versions, lo, /dev/shm, libnvrtc; a micro-batch of 124M in fp32, bf16, fp16, by cuDNN."""
    check_libraries(place)
    for body in (machine, versions, nvrtc):
        attempt(record, body.__name__, lambda body=body: body(place, record))
    shape = ["--preset", "gpt2-tiny", "--seq-length", 32] if place.toy else []
    norms = {}

    def micro_batch(precision):
        line = last_json(place.call([place.program("smoke"), "--device", place.device,
                                     "--precision", precision, *shape],
                                    limit=120 if place.toy else 30))
        why = wrong_in(line, precision, place.device, norms.get("f32"))
        norms[precision] = line["grad_norm"]
        record(f"micro-batch {precision}", status="failed" if why else "passed", why=why,
               figures=line, shown={"loss": line["loss"],
                                    "gradients off by": line["difference_of_gradients"],
                                    "attention": ", ".join(line["attention"]),
                                    "ms": line["milliseconds"]})

    for precision in ("f32", "bf16", "f16") if place.device == "cuda" else ("f32", "bf16"):
        attempt(record, f"micro-batch {precision}", lambda p=precision: micro_batch(p))
    if not norms:
        raise Failed("no micro-batch came through")
