#!/usr/bin/env python3
"""Times training steps of a GPT-2 shape in PyTorch on a CPU, for comparison with `switchyard bench`.

Same work: forward, backward, clipping at 1.0 and fused AdamW in fp32, one micro-batch a step, random
tokens, causal FLOPs counted as 6 N + 6 L C T a token (N: weights of matrix products, the output layer
once). Needs PyTorch; not part of the product. Prints one JSON object.
"""
import argparse
import json
import resource
import time

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, hidden, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.qkv, self.out = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.up, self.down = nn.Linear(hidden, 4 * hidden), nn.Linear(4 * hidden, hidden)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = (y.view(b, t, self.heads, -1).transpose(1, 2)
                   for y in self.qkv(self.norm1(x)).split(c, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, c))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self, layers, hidden, heads, vocabulary, positions):
        super().__init__()
        self.word = nn.Embedding(vocabulary, hidden)
        self.position = nn.Embedding(positions, hidden)
        self.blocks = nn.ModuleList(Block(hidden, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)

    def forward(self, tokens, targets):
        x = self.word(tokens) + self.position.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = self.norm(x) @ self.word.weight.T
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1))


def matrix_rate(size=2048):
    a, b = torch.randn(size, size), torch.randn(size, size)
    begin = time.perf_counter()
    a @ b
    return 2 * size**3 / (time.perf_counter() - begin)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--vocabulary", type=int, default=50304)
    parser.add_argument("--seq-length", type=int, default=512)
    parser.add_argument("--micro-batch-size", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--compile", action="store_true")
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    torch.manual_seed(0)
    model = Gpt(o.layers, o.hidden, o.heads, o.vocabulary, o.seq_length)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.1, fused=True)
    step_model = torch.compile(model) if o.compile else model
    best, rate = float("inf"), 0.0
    for step in range(2 + o.steps):
        tokens = torch.randint(o.vocabulary, (o.micro_batch_size, o.seq_length + 1))
        begin = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        step_model(tokens[:, :-1], tokens[:, 1:].contiguous()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step >= 2:
            best = min(best, time.perf_counter() - begin)
        rate = max([rate] + [matrix_rate() for _ in range(3)])
    products = 12 * o.layers * o.hidden**2 + o.vocabulary * o.hidden
    flops = 6 * products + 6 * o.layers * o.hidden * o.seq_length
    tokens_per_second = o.micro_batch_size * o.seq_length / best
    print(json.dumps({
        "torch": torch.__version__, "compile": o.compile, "milliseconds": 1e3 * best,
        "tokens_per_second": tokens_per_second, "gflops": flops * tokens_per_second / 1e9,
        "matrix_gflops": rate / 1e9, "share_of_matrix_rate": flops * tokens_per_second / rate,
        "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))


if __name__ == "__main__":
    main()
