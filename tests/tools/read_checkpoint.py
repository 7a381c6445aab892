"""A reader of checkpoints, written by docs/checkpoint-format.md alone."""
import json, os, h5py, numpy as np
try: import xxhash
except ImportError: xxhash = None

NUMPY = {"f32": "<f4", "f64": "<f8", "f16": "<f2", "bf16": "<u2", "i32": "<i4", "i64": "<i8", "u8": "u1", "u16": "<u2"}

def require(is_so, what):
    if not is_so: raise ValueError(what)

def check_sum(data, expected, what):
    require(xxhash is None or xxhash.xxh3_64_intdigest(data) == int(expected), what + ": another xxh3-64")

def attributes(node):
    return {name: v.decode() if isinstance(v, bytes) else v for name, v in node.attrs.items()}

def text(dataset):
    data = dataset[()].rstrip(b"\0")
    check_sum(data, dataset.attrs["xxh3_64"], dataset.name)
    return data.decode()

def whole(dataset, dtype):  # the bits as they are stored; h5py itself would make float32 of bf16
    out = np.empty(dataset.shape, NUMPY[dtype])
    if out.size: dataset.id.read(h5py.h5s.ALL, h5py.h5s.ALL, out, mtype=dataset.id.get_type())
    return out

def elements(piece, path, dtype):
    if "filters" in piece:
        with h5py.File(path) as file: return whole(file[piece["dataset"]], dtype)
    return np.fromfile(path, NUMPY[dtype], int(np.prod(piece["extent"])), offset=piece["address"])

def from_pieces(tensor, shards):
    out, covered = np.zeros(tensor["shape"], NUMPY[tensor["dtype"]]), np.zeros(tensor["shape"], int)
    for piece in tensor["pieces"]:
        part = elements(piece, shards[piece["shard"]], tensor["dtype"])
        check_sum(part.tobytes(), int(piece["xxh3_64"], 16), piece["dataset"])
        box = tuple(slice(o, o + e) for o, e in zip(piece["offset"], piece["extent"]))
        out[box] = part.reshape(piece["extent"])
        covered[box] += 1
    require((covered == 1).all(), tensor["name"] + ": elements that are stored never or twice")
    return out

def shard_file(folder, shard, info):
    part = shard.get("part")
    path = os.path.join(folder, "shards", f"rank-{shard['rank']:05}{'.' + part if part else ''}.h5")
    with h5py.File(path) as file: own = attributes(file)
    expected = (info["id"], info["step"], shard["rank"], part, shard["bytes"])
    require((own["id"], own["step"], own["rank"], own.get("part"), os.path.getsize(path)) == expected, path)
    return path

def read(folder):  # attributes, documents and {name: (dtype, bits)}
    with h5py.File(os.path.join(folder, "checkpoint.h5")) as master:
        info, tensors = attributes(master), {}
        require(info["format"] == "switchyard-checkpoint" and info["format_version"] in (1, 2, 3), info)
        documents = {name: text(d) for name, d in master.get("checkpoint/documents", {}).items()}
        index = json.loads(text(master["checkpoint/index"]))
        shards = [shard_file(folder, shard, info) for shard in index["shards"]]
        for tensor in index["tensors"]:
            bits, dtype = from_pieces(tensor, shards), tensor["dtype"]
            for name in [tensor["name"], *tensor["aliases"]]:
                same = whole(master[name], dtype).tobytes() == bits.tobytes()
                require(same and attributes(master[name])["dtype"] == dtype, name + " is another in the master")
                tensors[name] = (dtype, bits)
    return info, documents, tensors
