#!/usr/bin/env python3
"""same_tensors.py A B: whether two folders of safetensors have the same tensors, bit for bit."""

import json
import mmap
import pathlib
import struct
import sys


def tensors_of(folder):
    """name: (dtype, shape, bytes as a view of the mapped file)"""
    found = {}
    for path in sorted(pathlib.Path(folder).glob("*.safetensors")):
        with open(path, "rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        length = struct.unpack("<Q", data[:8])[0]
        for name, said in json.loads(bytes(data[8:8 + length])).items():
            if name == "__metadata__":
                continue
            begin, end = said["data_offsets"]
            found[name] = said["dtype"], said["shape"], data[8 + length + begin:8 + length + end]
    return found


def main():
    one, other = tensors_of(sys.argv[1]), tensors_of(sys.argv[2])
    if one.keys() != other.keys():
        sys.exit(f"other names: {sorted(one.keys() ^ other.keys())[:5]}")
    for name, said in one.items():
        if said[:2] != other[name][:2] or bytes(said[2]) != bytes(other[name][2]):
            sys.exit(f"'{name}' differs")
    print(f"{len(one)} tensors, the same bits")


if __name__ == "__main__":
    main()
