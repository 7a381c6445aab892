#!/usr/bin/env python3
"""Makes the golden training runs that test_golden follows: python3 tests/golden/make.py

Needs PyTorch, NumPy and h5py; the tests themselves do not. Three tiny models (GPT-2, Llama with
grouped queries, GPT-NeoX with partial rotary and parallel residual) are written here in plain
PyTorch and trained for 50 steps of AdamW in fp32. Each file holds the initial weights under the
names of Switchyard's global tensors, the tokens of every step and the losses.
"""

import json
import math
import pathlib

import h5py
import numpy
import torch
from torch.nn import functional

STEPS, BATCH, LENGTH, VOCABULARY = 50, 4, 32, 200
OPTIMIZER = {"learning_rate": 1e-3, "warmup": 10, "clip_norm": 1.0, "weight_decay": 0.1,
             "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-8}

COMMON = {"layers": 4, "hidden": 32, "heads": 4, "query_groups": 4, "head_dim": 8,
          "ffn_hidden": 128, "vocabulary": VOCABULARY, "max_positions": LENGTH,
          "positions": "rotary", "rotary_base": 10000.0, "rotary_percent": 1.0, "norm": "layer",
          "norm_epsilon": 1e-5, "activation": "gelu_tanh", "parallel_residual": False,
          "linear_bias": True, "norm_bias": True, "tied_output": False, "hidden_dropout": 0.0,
          "attention_dropout": 0.0, "init_deviation": 0.05}  # steps with and without clipping
MODELS = {
    "gpt2": {**COMMON, "positions": "learned", "tied_output": True},
    "llama": {**COMMON, "query_groups": 2, "ffn_hidden": 96, "norm": "rms",
              "activation": "swiglu", "linear_bias": False, "norm_bias": False},
    "neox": {**COMMON, "rotary_percent": 0.25, "activation": "gelu_erf",
             "parallel_residual": True},
}


def make_weights(c):
    """Random weights, norms and biases a little off one and zero so that all of them matter."""
    weights = {}

    def normal(name, *shape, mean=0.0, deviation=c["init_deviation"]):
        weights[name] = (mean + deviation * torch.randn(*shape)).requires_grad_()

    def norm(name):
        normal(f"{name}.weight", c["hidden"], mean=1.0)
        if c["norm_bias"]:
            normal(f"{name}.bias", c["hidden"])

    def linear(name, outputs, inputs, deviation=c["init_deviation"]):
        normal(f"{name}.weight", outputs, inputs, deviation=deviation)
        if c["linear_bias"]:
            normal(f"{name}.bias", outputs)

    hidden, ffn = c["hidden"], c["ffn_hidden"]
    queries, keys = c["heads"] * c["head_dim"], c["query_groups"] * c["head_dim"]
    small = c["init_deviation"] / math.sqrt(2 * c["layers"])
    normal("embedding.word.weight", c["vocabulary"], hidden)
    if c["positions"] == "learned":
        normal("embedding.position.weight", c["max_positions"], hidden)
    for i in range(c["layers"]):
        norm(f"layers.{i}.attention.norm")
        linear(f"layers.{i}.attention.q", queries, hidden)
        linear(f"layers.{i}.attention.k", keys, hidden)
        linear(f"layers.{i}.attention.v", keys, hidden)
        linear(f"layers.{i}.attention.output", hidden, queries, small)
        norm(f"layers.{i}.mlp.norm")
        if c["activation"] == "swiglu":
            linear(f"layers.{i}.mlp.gate", ffn, hidden)
        linear(f"layers.{i}.mlp.up", ffn, hidden)
        linear(f"layers.{i}.mlp.down", hidden, ffn, small)
    norm("final_norm")
    if not c["tied_output"]:
        normal("head.weight", c["vocabulary"], hidden)
    return weights


def apply_norm(c, w, name, x):
    if c["norm"] == "rms":
        scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + c["norm_epsilon"])
        return x * scale * w[f"{name}.weight"]
    return functional.layer_norm(x, (c["hidden"],), w[f"{name}.weight"], w[f"{name}.bias"],
                                 c["norm_epsilon"])


def apply_linear(w, name, x):
    return functional.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def rotate(c, x):
    """x [batch, heads, length, head_dim]: the first channels, element i with i + half."""
    if c["positions"] != "rotary":
        return x
    size = int(c["head_dim"] * c["rotary_percent"]) // 2 * 2
    frequency = c["rotary_base"] ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    angle = torch.arange(x.shape[2], dtype=torch.float64)[:, None] * frequency
    cos, sin = angle.cos().float(), angle.sin().float()
    a, b, rest = x[..., :size // 2], x[..., size // 2:size], x[..., size:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], -1)


def attention(c, w, name, x):
    batch, length, _ = x.shape

    def heads(part, count):
        y = apply_linear(w, f"{name}.{part}", x)
        return y.view(batch, length, count, c["head_dim"]).transpose(1, 2)

    q, k = rotate(c, heads("q", c["heads"])), rotate(c, heads("k", c["query_groups"]))
    v = heads("v", c["query_groups"])
    repeats = c["heads"] // c["query_groups"]
    k, v = k.repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1)
    scores = q @ k.transpose(-1, -2) / math.sqrt(c["head_dim"])
    future = torch.ones(length, length, dtype=torch.bool).triu(1)
    out = scores.masked_fill(future, -math.inf).softmax(-1) @ v
    out = out.transpose(1, 2).reshape(batch, length, -1)
    return apply_linear(w, f"{name}.output", out)


def mlp(c, w, name, x):
    up = apply_linear(w, f"{name}.up", x)
    if c["activation"] == "swiglu":
        up = functional.silu(apply_linear(w, f"{name}.gate", x)) * up
    else:
        kind = "tanh" if c["activation"] == "gelu_tanh" else "none"
        up = functional.gelu(up, approximate=kind)
    return apply_linear(w, f"{name}.down", up)


def loss_of(c, w, tokens):
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    h = w["embedding.word.weight"][inputs]
    if c["positions"] == "learned":
        h = h + w["embedding.position.weight"][:inputs.shape[1]]
    for i in range(c["layers"]):
        layer = f"layers.{i}"
        branch = attention(c, w, f"{layer}.attention", apply_norm(c, w, f"{layer}.attention.norm", h))
        second = h if c["parallel_residual"] else h + branch
        h = h + branch + mlp(c, w, f"{layer}.mlp", apply_norm(c, w, f"{layer}.mlp.norm", second))
    head = w["embedding.word.weight" if c["tied_output"] else "head.weight"]
    logits = functional.linear(apply_norm(c, w, "final_norm", h), head)
    return functional.cross_entropy(logits.reshape(-1, c["vocabulary"]), targets.reshape(-1))


def make_tokens():
    """Noisy walks over the vocabulary, so that there is something to learn."""
    generator = numpy.random.default_rng(7)
    steps = generator.integers(1, 4, (STEPS, BATCH, LENGTH + 1))
    noise = generator.integers(0, VOCABULARY, steps.shape) * (generator.random(steps.shape) < 0.1)
    return ((steps.cumsum(-1) * 7 + noise) % VOCABULARY).astype(numpy.int32)


def train(c, weights, tokens):
    matrices = [w for w in weights.values() if w.dim() > 1]
    vectors = [w for w in weights.values() if w.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": OPTIMIZER["weight_decay"]},
         {"params": vectors, "weight_decay": 0.0}],
        betas=(OPTIMIZER["beta1"], OPTIMIZER["beta2"]), eps=OPTIMIZER["epsilon"])
    losses = []
    for step in range(1, STEPS + 1):
        for group in optimizer.param_groups:
            group["lr"] = OPTIMIZER["learning_rate"] * min(1.0, step / OPTIMIZER["warmup"])
        optimizer.zero_grad()
        loss = loss_of(c, weights, torch.from_numpy(tokens[step - 1]).long())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(weights.values()), OPTIMIZER["clip_norm"])
        optimizer.step()
        losses.append(loss.item())
    return losses


def main():
    torch.set_num_threads(1)
    folder = pathlib.Path(__file__).parent
    for seed, (name, config) in enumerate(MODELS.items()):
        torch.manual_seed(seed)
        weights = make_weights(config)
        initial = {key: value.detach().numpy().copy() for key, value in weights.items()}
        tokens = make_tokens()
        losses = train(config, weights, tokens)
        with h5py.File(folder / f"{name}.h5", "w", libver="earliest") as file:
            file["config"] = json.dumps(config)
            for key, value in OPTIMIZER.items():
                file[f"optimizer/{key}"] = numpy.float64(value)
            file["tokens"] = tokens
            file["losses"] = numpy.array(losses)
            for key, value in initial.items():
                file[f"weights/{key}"] = value
        print(name, losses[0], losses[-1])


if __name__ == "__main__":
    main()
