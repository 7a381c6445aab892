#!/usr/bin/env python3
"""check_published.py SWITCHYARD FOLDER: transformers and Switchyard read what the other wrote.

For each architecture transformers makes a tiny model and saves it; it is imported, trained for 20
steps along a main path, forked, decayed and averaged. The imported model and the three versions are
exported and loaded by transformers: the first has the bits that it came with, and the loss of each
on held-out text is that of `switchyard eval`. Needs torch and transformers (exit code 77 without).
"""

import json
import pathlib
import subprocess
import sys

try:
    import numpy
    import torch
    import transformers
    from published import LENGTH, MODELS, MORE, load, save
except ImportError as missing:
    print(missing, file=sys.stderr)
    sys.exit(77)

TRAIN = ["--seq-length", str(LENGTH), "--global-batch-size", "4", "--lr", "1e-3",
         "--lr-warmup-iters", "3", "--weight-decay", "0.1"]


def write_tokens(prefix, vocabulary, count, seed):
    """A token set in Megatron's files, a walk in steps of 1 to 3."""
    steps = numpy.random.default_rng(seed).integers(1, 4, count)
    values = (steps.cumsum() % vocabulary).astype(numpy.int32)
    values.tofile(f"{prefix}.bin")
    with open(f"{prefix}.idx", "wb") as file:
        file.write(b"MMIDIDX\0\0" + numpy.uint64(1).tobytes() + b"\4")
        file.write(numpy.array([1, 2], numpy.uint64).tobytes())
        file.write(numpy.int32(count).tobytes() + numpy.int64(0).tobytes())
        file.write(numpy.array([0, 1], numpy.int64).tobytes())
    return values


def loss_of(folder, values):
    model = load(folder)
    windows = (len(values) - 1) // LENGTH
    samples = numpy.stack([values[i * LENGTH:(i + 1) * LENGTH + 1] for i in range(windows)])
    with torch.no_grad():
        batch = torch.from_numpy(samples.astype(numpy.int64))
        return model, model(input_ids=batch, labels=batch).loss.item()


class Check:
    def __init__(self, program, folder, name):
        self.program, self.name, self.folder = program, name, folder / name
        self.folder.mkdir(parents=True)
        self.vocabulary = {**MODELS, **MORE}[name][0].vocab_size
        write_tokens(self.folder / "train", self.vocabulary, 20000, 1)
        self.held_out = write_tokens(self.folder / "held-out", self.vocabulary, 2401, 2)

    def run(self, *words):
        done = subprocess.run([self.program, *map(str, words)], cwd=self.folder, text=True,
                              capture_output=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{self.name}: {' '.join(map(str, words))}: {done.returncode}\n{done.stderr}")
        return done.stdout

    def compare(self, run, *options):
        """Exports a run and compares the losses of both sides."""
        out = f"{run.replace('@', '-')}-out"
        self.run("convert", "--from", run, "--to", out, *options)
        model, theirs = loss_of(self.folder / out, self.held_out)
        ours = json.loads(self.run("eval", run, "--data-path", "held-out", "--json"))["loss"]
        print(f"{self.name:20} {run:8} ours {ours:.7f} theirs {theirs:.7f}")
        if abs(ours - theirs) > 1e-5 * max(1, theirs):
            sys.exit(f"{self.name}: {run}: the losses are {ours} and {theirs}")
        return model

    def go(self):
        save(self.name, self.folder / "published")
        self.run("convert", "--from", "published", "--to", "hf", "--seq-length", LENGTH)
        model = self.compare("hf", "--max-shard-size", "200KB")
        for key, value in load(self.folder / "published").state_dict().items():
            if not torch.equal(value, model.state_dict()[key]):
                sys.exit(f"{self.name}: '{key}' has other bits")
        self.run("fork", "hf", "main", "--data-path", "train", *TRAIN)
        self.run("train", "main", "--train-iters", "20", "--save-interval", "5")
        self.compare("main@20")
        self.run("fork", "main@10", "v1", "--lr-decay-style", "1-sqrt", "--lr-decay-iters", "10")
        self.run("train", "v1")
        self.compare("v1")
        self.run("average", "main", "--steps", "10:20:5", "--output", "mean")
        self.compare("mean")


def main():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    program = str(pathlib.Path(sys.argv[1]).resolve())
    names = sys.argv[3:] or [*MODELS, *MORE]
    for name in names:
        Check(program, pathlib.Path(sys.argv[2]).resolve(), name).go()


if __name__ == "__main__":
    main()
