#!/usr/bin/env python3
"""make_published.py FOLDER [--preset llama2-7b] [--shard-gb 5]: a Hugging Face folder of a Llama with
random weights in bf16, written shard by shard in little memory. Needs NumPy.

For measuring `switchyard convert` at real sizes. Numbers are normal with deviation 0.02, out of one
block of 64 MiB that is begun at another place for every tensor.
"""

import argparse
import json
import pathlib
import struct

import numpy

MODELS = {  # layers, hidden, heads, groups, ffn, vocabulary
    "llama2-7b": (32, 4096, 32, 32, 11008, 32000),
    "llama-1.1b": (22, 2048, 32, 4, 5632, 32000),
    "tiny": (2, 64, 4, 2, 176, 300),
}


def config_of(layers, hidden, heads, groups, ffn, vocabulary):
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
            "hidden_size": hidden, "intermediate_size": ffn, "max_position_embeddings": 4096,
            "num_attention_heads": heads, "num_hidden_layers": layers,
            "num_key_value_heads": groups, "rms_norm_eps": 1e-5, "rope_scaling": None,
            "rope_theta": 10000.0, "attention_bias": False, "tie_word_embeddings": False,
            "torch_dtype": "bfloat16", "vocab_size": vocabulary, "bos_token_id": 1,
            "eos_token_id": 2}


def tensors_of(layers, hidden, heads, groups, ffn, vocabulary):
    keys = hidden // heads * groups
    yield "model.embed_tokens.weight", (vocabulary, hidden)
    for i in range(layers):
        name = f"model.layers.{i}"
        yield f"{name}.input_layernorm.weight", (hidden,)
        yield f"{name}.self_attn.q_proj.weight", (hidden, hidden)
        yield f"{name}.self_attn.k_proj.weight", (keys, hidden)
        yield f"{name}.self_attn.v_proj.weight", (keys, hidden)
        yield f"{name}.self_attn.o_proj.weight", (hidden, hidden)
        yield f"{name}.post_attention_layernorm.weight", (hidden,)
        yield f"{name}.mlp.gate_proj.weight", (ffn, hidden)
        yield f"{name}.mlp.up_proj.weight", (ffn, hidden)
        yield f"{name}.mlp.down_proj.weight", (hidden, ffn)
    yield "model.norm.weight", (hidden,)
    yield "lm_head.weight", (vocabulary, hidden)


def size_of(shape):
    return 2 * int(numpy.prod(shape))


def shards_of(tensors, most):
    shards, size = [[]], 0
    for name, shape in tensors:
        if shards[-1] and size + size_of(shape) > most:
            shards.append([])
            size = 0
        shards[-1].append((name, shape))
        size += size_of(shape)
    return shards


def write_numbers(file, shape, block, start):
    left = size_of(shape)
    while left > 0:
        part = block[start:start + left]
        file.write(part)
        left, start = left - len(part), 0


def write_shard(path, tensors, block):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors:
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size_of(shape)]}
        at += size_of(shape)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for i, (_, shape) in enumerate(tensors):
            write_numbers(file, shape, block, i * 7919 * 2 % len(block))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--preset", choices=MODELS, default="llama2-7b")
    parser.add_argument("--shard-gb", type=float, default=5)
    given = parser.parse_args()
    given.folder.mkdir(parents=True)
    shape = MODELS[given.preset]
    numbers = numpy.random.default_rng(1).normal(0, 0.02, 1 << 25).astype(numpy.float32)
    block = memoryview((numbers.view(numpy.uint32) >> 16).astype(numpy.uint16).tobytes())
    shards = shards_of(tensors_of(*shape), given.shard_gb * 1e9)
    index = {"metadata": {"total_size": sum(size_of(s) for part in shards for _, s in part)},
             "weight_map": {}}
    for i, tensors in enumerate(shards, 1):
        name = f"model-{i:05}-of-{len(shards):05}.safetensors"
        write_shard(given.folder / name, tensors, block)
        index["weight_map"].update({tensor: name for tensor, _ in tensors})
    (given.folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (given.folder / "config.json").write_text(json.dumps(config_of(*shape), indent=2))


if __name__ == "__main__":
    main()
