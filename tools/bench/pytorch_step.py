#!/usr/bin/env python3
"""Times training steps in PyTorch, for comparison with `switchyard bench` on the same shapes.

Same work: forward, backward, gradient accumulation, clipping at 1.0 and fused AdamW on random
tokens. On a CPU in fp32; on a GPU under bf16 autocast over fp32 parameters, gradients and moments,
with fused attention. Both formulas of operations a token are printed, causal (6 N + 6 L C T) and
full (6 N + 12 L C T), with N the weights of matrix products, the output layer once. Needs PyTorch;
not part of the product. Prints one JSON object.
"""
import argparse
import json
import resource
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F

# layers, hidden, heads, ffn, vocabulary padded to a multiple of 128, sequence length, Llama's style
PRESETS = {
    "gpt2-tiny": (4, 128, 4, 512, 384, 128, False),
    "gpt2-124m": (12, 768, 12, 3072, 50304, 1024, False),
    "gpt3-1.3b": (24, 2048, 16, 8192, 50304, 2048, False),
    "llama-7b": (32, 4096, 32, 11008, 32000, 4096, True),
}


def rotate(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class Block(nn.Module):
    def __init__(self, hidden, heads, ffn, llama):
        super().__init__()
        self.heads, self.llama = heads, llama
        norm = nn.RMSNorm if llama else nn.LayerNorm
        self.norm1, self.norm2 = norm(hidden), norm(hidden)
        self.qkv = nn.Linear(hidden, 3 * hidden, bias=not llama)
        self.out = nn.Linear(hidden, hidden, bias=not llama)
        self.up = nn.Linear(hidden, 2 * ffn if llama else ffn, bias=not llama)
        self.down = nn.Linear(ffn, hidden, bias=not llama)

    def mlp(self, x):
        x = self.up(x)
        if not self.llama:
            return self.down(F.gelu(x, approximate="tanh"))
        gate, up = x.chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)

    def forward(self, x, angles):
        b, t, c = x.shape
        q, k, v = (y.view(b, t, self.heads, -1).transpose(1, 2)
                   for y in self.qkv(self.norm1(x)).split(c, dim=2))
        if self.llama:
            q, k = rotate(q, *angles).to(v.dtype), rotate(k, *angles).to(v.dtype)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, c))
        return x + self.mlp(self.norm2(x))


class Gpt(nn.Module):
    def __init__(self, layers, hidden, heads, ffn, vocabulary, positions, llama):
        super().__init__()
        self.word = nn.Embedding(vocabulary, hidden)
        self.position = None if llama else nn.Embedding(positions, hidden)
        self.head = nn.Linear(hidden, vocabulary, bias=False)
        if not llama:
            self.head.weight = self.word.weight
        self.blocks = nn.ModuleList(Block(hidden, heads, ffn, llama) for _ in range(layers))
        self.norm = nn.RMSNorm(hidden) if llama else nn.LayerNorm(hidden)
        width = hidden // heads // 2
        angle = torch.outer(torch.arange(positions), 10000.0 ** (-torch.arange(width) / width))
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())

    def forward(self, tokens, targets):
        t = tokens.shape[1]
        x = self.word(tokens)
        if self.position is not None:
            x = x + self.position.weight[:t]
        for block in self.blocks:
            x = block(x, (self.cos[:t], self.sin[:t]))
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.view(-1, logits.shape[-1]).float(), targets.view(-1))


def synchronize(device):
    if device == "cuda":
        torch.cuda.synchronize()


def matrix_rate(device, seconds):
    """Products a second of random matrices, all of them over all the time."""
    size, dtype = (8192, torch.bfloat16) if device == "cuda" else (2048, torch.float32)
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    a @ b
    synchronize(device)
    begin, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - begin) < seconds:
        for _ in range(16 if device == "cuda" else 1):
            a @ b
            count += 1
        synchronize(device)
    return 2 * size**3 * count / passed


def one_step(model, optimizer, o, shape, device):
    vocabulary, length = shape
    optimizer.zero_grad(set_to_none=True)
    rounds = o.global_batch_size // o.micro_batch_size
    for _ in range(rounds):
        tokens = torch.randint(vocabulary, (o.micro_batch_size, length + 1), device=device)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = model(tokens[:, :-1], tokens[:, 1:].contiguous()) / rounds
        loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    synchronize(device)


def time_steps(model, optimizer, o, shape, device):
    times = []
    for step in range(o.warm_up + o.steps):
        begin = time.perf_counter()
        one_step(model, optimizer, o, shape, device)
        if step >= o.warm_up:
            times.append(time.perf_counter() - begin)
    return statistics.median(times) if device == "cuda" else min(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="gpt2-124m")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--seq-length", type=int)
    parser.add_argument("--micro-batch-size", type=int, default=4)
    parser.add_argument("--global-batch-size", type=int)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--matrix-seconds", type=float)
    parser.add_argument("--deterministic", action="store_true")
    parser.add_argument("--compile", action="store_true")
    o = parser.parse_args()
    o.global_batch_size = o.global_batch_size or o.micro_batch_size
    layers, hidden, heads, ffn, vocabulary, length, llama = PRESETS[o.preset]
    length = o.seq_length or length
    torch.set_num_threads(o.threads)
    torch.manual_seed(0)
    if o.deterministic:
        torch.use_deterministic_algorithms(True)
    with torch.device(o.device):
        model = Gpt(layers, hidden, heads, ffn, vocabulary, length, llama)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.1, fused=True)
    step_model = torch.compile(model) if o.compile else model
    seconds = time_steps(step_model, optimizer, o, (vocabulary, length), o.device)
    peak = (torch.cuda.max_memory_allocated() if o.device == "cuda"
            else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    del step_model, optimizer
    rate = matrix_rate(o.device, o.matrix_seconds or (5 if o.device == "cuda" else 2))
    mlp = (3 if llama else 2) * hidden * ffn
    weights = layers * (4 * hidden**2 + mlp) + vocabulary * hidden
    causal = 6 * weights + 6 * layers * hidden * length
    full = 6 * weights + 12 * layers * hidden * length
    tokens_per_second = o.global_batch_size * length / seconds
    result = {
        "torch": torch.__version__, "preset": o.preset, "compile": o.compile,
        "seq_length": length, "micro_batch_size": o.micro_batch_size,
        "milliseconds": 1e3 * seconds, "tokens_per_second": tokens_per_second,
        "tflops_causal": causal * tokens_per_second / 1e12, "matrix_tflops": rate / 1e12,
        "share_of_matrix_rate": causal * tokens_per_second / rate, "peak_bytes": peak}
    if o.device == "cuda":  # of the dense bf16 peak of H100 and H200
        result["mfu_causal"] = causal * tokens_per_second / 989e12
        result["mfu_full"] = full * tokens_per_second / 989e12
        result["device"] = torch.cuda.get_device_name()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
