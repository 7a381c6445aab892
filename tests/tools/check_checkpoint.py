#!/usr/bin/env python3
"""check_checkpoint.py SWITCHYARD RUN@STEP OUT: read_checkpoint.py against the program.

What the reader finds is what `inspect --tree --json` and `inspect --json` say: names, shapes, dtypes,
documents, norms, extremes. It leaves for whoever compares bits, in the folder OUT: `all`, the bits of
all tensors in the order of their names, and of each layer's q, k and v `fused` (as Megatron-LM keeps
them) and `joined` (one behind the other), by names, too. Exit code 77 without h5py.
"""
import json, math, os, subprocess, sys

try:
    import numpy as np
    import read_checkpoint
except ImportError as missing:
    print(missing, file=sys.stderr)
    sys.exit(77)


def fused_qkv(q, k, v, groups):
    """[Q + 2 K, C]: of each group its query heads, its key head and its value head."""
    parts = [x.reshape(groups, -1, *x.shape[1:]) for x in (q, k, v)]
    return np.concatenate(parts, 1).reshape(-1, *q.shape[1:])


def numbers(bits, dtype):
    if dtype == "bf16":
        bits = (bits.astype(np.uint32) << 16).view(np.float32)
    return bits.astype(np.float64).ravel()


def leaves(node):
    if "children" not in node:
        yield node
    for child in node.get("children", []):
        yield from leaves(child)


def check_leaf(leaf, dtype, bits):
    values = numbers(bits, dtype)
    finite = values[np.isfinite(values)]
    assert leaf["dtype"] == dtype and leaf["shape"] == list(bits.shape), leaf
    assert leaf["elements"] == bits.size and leaf["bytes"] == bits.nbytes, leaf
    assert leaf["nan"] == np.isnan(values).sum() and leaf["inf"] == np.isinf(values).sum(), leaf
    assert math.isclose(leaf["norm"], math.sqrt(math.fsum(finite**2)), rel_tol=1e-13), leaf
    assert (leaf["min"], leaf["max"]) == (finite.min(), finite.max()), leaf


def check_seals(folder, index):
    """What no dataset's checksum covers, where the program that wrote it said so."""
    xxhash, count = read_checkpoint.xxhash, 0
    if xxhash is None:
        return count
    if index.get("sealed"):
        with open(f"{folder}/checkpoint.h5", "rb") as file:
            data = file.read()
        seal = b"xxh3_64:" + xxhash.xxh3_64_intdigest(data[:-16]).to_bytes(8, "little")
        assert data[-16:] == seal, "the master's seal"
        count += 1
    for number, shard in enumerate(index["shards"]):
        if "rest_xxh3_64" not in shard:
            continue
        part = f".{shard['part']}" if "part" in shard else ""
        with open(f"{folder}/shards/rank-{shard['rank']:05}{part}.h5", "rb") as file:
            rest = bytearray(file.read())
        pieces = [(piece["address"], math.prod(piece["extent"]) * np.dtype(read_checkpoint.NUMPY[tensor["dtype"]]).itemsize)
                  for tensor in index["tensors"] for piece in tensor["pieces"]
                  if piece["shard"] == number and "address" in piece]  # what is compressed belongs to the rest
        for address, size in sorted(pieces, reverse=True):
            del rest[address:address + size]
        assert xxhash.xxh3_64_hexdigest(bytes(rest)) == shard["rest_xxh3_64"], shard
        count += 1
    return count


def main(program, run, out):
    said = json.loads(subprocess.run([program, "inspect", run, "--tree", "--json"], check=True,
                                     capture_output=True).stdout)
    info, documents, tensors = read_checkpoint.read(said["folder"])
    assert all(info[key] == said[key] for key in ("format_version", "id", "step", "samples")), info
    assert documents.keys() <= said.keys() and "specification" in documents, documents.keys()
    assert json.loads(documents["model"]) == said["model"]
    tree = {leaf["name"]: leaf for leaf in leaves(said["tree"])}
    assert tree.keys() == tensors.keys() == {tensor["name"] for tensor in said["tensors"]}
    for name, (dtype, bits) in tensors.items():
        check_leaf(tree[name], dtype, bits)
    with read_checkpoint.h5py.File(f"{said['folder']}/checkpoint.h5") as master:
        seals = check_seals(said["folder"], json.loads(read_checkpoint.text(master["checkpoint/index"])))
    os.makedirs(out)
    names = sorted(tensors)
    with open(f"{out}/all", "wb") as file:
        file.writelines(tensors[name][1].tobytes() for name in names)
    with open(f"{out}/fused", "wb") as fused, open(f"{out}/joined", "wb") as joined:
        for name in (name for name in names if ".attention.q." in name):
            q, k, v = (tensors[name.replace(".q.", f".{part}.")][1] for part in "qkv")
            fused.write(fused_qkv(q, k, v, said["model"]["query_groups"]).tobytes())
            joined.write(np.concatenate([q, k, v]).tobytes())
    sums = f"their checksums, {seals} of whole files" if read_checkpoint.xxhash else "no xxhash here"
    print(f"{run}: {len(tensors)} tensors, {sums}")


if __name__ == "__main__":
    main(*sys.argv[1:])
