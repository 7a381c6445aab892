#!/usr/bin/env python3
"""Holds the event files of `switchyard train --tensorboard` against RUN/metrics.jsonl.

    tools/tensorboard_check.py EVENTS RUN

EVENTS is the folder of the run's event files. They are read by both of TensorBoard's accumulators,
purged as a dashboard shows them: from the first step on that they have, every number of the metrics
is there once, as its float32, and nothing else. Ends with 0 where that holds, 1 where not and 77
where TensorBoard is missing (`pip install tensorboard`, in a virtual environment).
"""
import json
import math
import pathlib
import struct
import sys

try:
    from tensorboard.backend.event_processing import event_accumulator, plugin_event_accumulator
    from tensorboard.util import tensor_util
except ImportError:
    print("tensorboard_check: TensorBoard is missing: pip install tensorboard")
    sys.exit(77)

TAGS = {
    "loss": "loss/train",
    "learning_rate": "learning-rate",
    "grad_norm": "grad-norm",
    "samples": "samples",
    "tokens": "tokens",
    "tokens_per_second": "throughput/tokens-per-second",
    "gflops": "throughput/gflops",
    "mfu": "throughput/mfu",
    "memory_bytes": "memory/bytes",
    "loss_scale": "loss-scale",
    "validation_loss": "loss/validation",
}


def numbers_of(line):
    """The scalars of a line of metrics.jsonl by their tags; None stands for what is not finite."""
    numbers = {tag: line[name] for name, tag in TAGS.items() if name in line}
    for name, loss in line.get("validation_losses", {}).items():
        numbers[f"loss/validation/{name}"] = loss
    for average, losses in line.get("validation_averages", {}).items():
        tag = f"loss/validation-average/{average}"
        numbers[tag] = losses["loss"]
        for name, loss in losses.get("losses", {}).items():
            numbers[f"{tag}/{name}"] = loss
    return numbers


def in_float32(value):
    return struct.unpack("f", struct.pack("f", value))[0]


def scalars_read(folder):
    everything = {event_accumulator.SCALARS: 0}
    reader = event_accumulator.EventAccumulator(folder, size_guidance=everything)
    reader.Reload()
    return {
        tag: [(e.wall_time, e.step, e.value) for e in reader.Scalars(tag)]
        for tag in reader.Tags()["scalars"]
    }


def tensors_read(folder):
    """As dashboards read them: scalars become tensors."""
    everything = {plugin_event_accumulator.TENSORS: 0}
    reader = plugin_event_accumulator.EventAccumulator(folder, everything)
    reader.Reload()
    return {
        tag: [
            (e.wall_time, e.step, float(tensor_util.make_ndarray(e.tensor_proto)))
            for e in reader.Tensors(tag)
        ]
        for tag in reader.Tags()["tensors"]
    }


def is_same(read, written):
    return not math.isfinite(read) if written is None else read == in_float32(written)


def differences(read, lines):
    """What differs, in words."""
    if not read:
        return ["there are no scalars"]
    first = min(step for events in read.values() for _, step, _ in events)
    wanted = {}
    for line in lines:
        if line["step"] < first:
            continue
        for tag, value in numbers_of(line).items():
            wanted.setdefault(tag, []).append((line["step"], value))
    problems = [f"{tag}: not in the metrics" for tag in sorted(read.keys() - wanted.keys())]
    for tag, values in wanted.items():
        events = read.get(tag, [])
        if [step for _, step, _ in events] != [step for step, _ in values]:
            problems.append(f"{tag}: {len(events)} steps, {len(values)} in the metrics, or others")
            continue
        for (_, step, value), (_, written) in zip(events, values):
            if not is_same(value, written):
                problems.append(f"{tag}: step {step} has {value}, the metrics {written}")
        times = [time for time, _, _ in events]
        if times != sorted(times):
            problems.append(f"{tag}: times go back")
    return problems


def main(arguments):
    if len(arguments) != 2:
        print(__doc__)
        return 2
    folder, run = arguments
    with open(pathlib.Path(run) / "metrics.jsonl", encoding="utf-8") as stream:
        lines = [json.loads(line) for line in stream]
    failed = False
    for name, reader in (("scalars", scalars_read), ("tensors", tensors_read)):
        read = reader(folder)
        problems = differences(read, lines)
        count = sum(len(events) for events in read.values())
        print(f"{folder}: {count} numbers of {len(read)} tags, read as {name}: "
              f"{'differ' if problems else 'as in the metrics'}")
        for problem in problems[:20]:
            print(f"  {problem}")
        failed = failed or bool(problems)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
