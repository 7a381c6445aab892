"""The model that is trained here, small enough that a step takes 20 to 50 ms, and what runs hold."""
import json
import subprocess
from pathlib import Path

WORK = Path("/mnt/work")
MODEL = ("--data-path data/text --num-layers 3 --hidden-size 32 --num-attention-heads 2"
         " --seq-length 16 --global-batch-size 6 --lr 1e-3 --lr-warmup-iters 5"
         " --hidden-dropout 0.1 --attention-dropout 0.1 --clip-grad 1").split()
RUN = "--device cpu".split()


class Failed(Exception):
    pass


def expect(holds, what):
    if not holds:
        raise Failed(what)


def make_data(name="text", factor=1, folder="data"):
    text = WORK / f"{name}.txt"
    text.write_text("".join(f"{i * i * factor % 97} cats, \n" for i in range(1500)))
    switchyard("tokenize", "--input", text, "--output-prefix", f"{folder}/{name}")


def switchyard(*words, code=0):
    """One process of the program, here; what it printed."""
    done = subprocess.run(["switchyard", *[str(w) for w in words]], capture_output=True, text=True,
                          check=False)
    expect(done.returncode == code, f"switchyard {words[0]}: code {done.returncode}, not {code}: "
           + (done.stdout + done.stderr)[-600:])
    return done.stdout


def train(run, steps, tp=1, pp=1, micro=1, save=None, more=()):
    """The words of a start; those that make the path are taken again as they are."""
    words = ["switchyard", "train", run, *MODEL, *RUN, "--train-iters", str(steps),
             "--tp", str(tp), "--pp", str(pp), "--micro-batch-size", str(micro), *more]
    return words + (["--save-interval", str(save)] if save else [])


def logged(run):
    """step -> loss, of the lines of metrics.jsonl; each step is there once and in order."""
    lines = [json.loads(line) for line in (WORK / run / "metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines]
    first = steps[0] if steps else 1
    expect(steps == list(range(first, first + len(steps))), f"{run}: logged steps are {steps}")
    return {line["step"]: line["loss"] for line in lines}


def last_logged(run):
    """0 where nothing is; a line that is being written does not count."""
    try:
        lines = (WORK / run / "metrics.jsonl").read_text().splitlines(keepends=True)
    except FileNotFoundError:
        return 0
    lines = [line for line in lines if line.endswith("\n")]
    return json.loads(lines[-1])["step"] if lines else 0


def saved_steps(run):
    return sorted(int(path.parent.name.removeprefix("step-"))
                  for path in (WORK / run / "checkpoints").glob("step-*/checkpoint.h5"))


def expect_same_bits(one, other, step):
    """Losses of all steps, and every bit of what was saved."""
    expect(logged(one) == logged(other), f"losses of {one} and {other} differ")
    switchyard("compare", f"{one}@{step}", f"{other}@{step}")
