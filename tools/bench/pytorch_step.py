#!/usr/bin/env python3
"""Times training steps in PyTorch, for comparison with `switchyard bench` on the same shapes.

Same work: forward, backward, gradient accumulation, clipping at 1.0 and fused AdamW on random
tokens. On a CPU in fp32; on a GPU under bf16 autocast over fp32 parameters, gradients and moments,
with the fused attention and the micro-batch that are the fastest here. --compile blocks compiles
each block and the head, as one piece of code each; whole compiles the model as one, which takes
minutes for deep ones. Both formulas of operations a token are printed, causal (6 N + 6 L C T) and
full (6 N + 12 L C T), with N the weights of matrix products, the output layer once. Needs PyTorch;
not part of the product. Prints one JSON object.
"""
import argparse
import contextlib
import gc
import json
import os
import resource
import statistics
import sys
import time

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic products want it
os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")  # its older name

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

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
        self.recompute = False  # blocks keep their inputs alone
        width = hidden // heads // 2
        angle = torch.outer(torch.arange(positions), 10000.0 ** (-torch.arange(width) / width))
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())

    def forward(self, tokens, targets):
        t = tokens.shape[1]
        x = self.word(tokens)
        if self.position is not None:
            x = x + self.position.weight[:t]
        angles = self.cos[:t], self.sin[:t]
        for block in self.blocks:
            x = checkpoint(block, x, angles, use_reentrant=False) if self.recompute else block(
                x, angles)
        return self.loss(x, targets)

    def loss(self, x, targets):
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.view(-1, logits.shape[-1]).float(), targets.view(-1))

    def compile_parts(self):
        for block in self.blocks:
            block.compile(dynamic=False)
        self.loss = torch.compile(self.loss, dynamic=False)

    def compile_whole(self):
        for block in self.blocks:
            block._compiled_call_impl = None
        self.__dict__.pop("loss", None)
        self.compile(dynamic=False)


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


def say(text):
    print(text, file=sys.stderr, flush=True)


class Trainer:
    """A model and its optimizer; steps of any micro-batch."""

    def __init__(self, o, shape):
        layers, hidden, heads, ffn, self.vocabulary, length, llama = shape
        self.device, self.length = o.device, o.seq_length or length
        with torch.device(o.device):
            self.model = Gpt(layers, hidden, heads, ffn, self.vocabulary, length, llama)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, weight_decay=0.1,
                                           fused=True)
        # The moments take their memory now, so that a micro-batch that fits goes on to fit.
        for p in self.model.parameters():
            p.grad = torch.zeros_like(p)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def passes(self, micro, share):
        tokens = torch.randint(self.vocabulary, (micro, self.length + 1), device=self.device)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda"):
            loss = self.model(tokens[:, :-1], tokens[:, 1:].contiguous()) * share
        loss.backward()

    def step(self, micro, batch):
        self.optimizer.zero_grad(set_to_none=True)
        for _ in range(batch // micro):
            self.passes(micro, micro / batch)
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        synchronize(self.device)

    def seconds_of_steps(self, o, micro):
        times = []
        for step in range(o.warm_up + o.steps):
            begin = time.perf_counter()
            self.step(micro, o.global_batch_size)
            if step >= o.warm_up:
                times.append(time.perf_counter() - begin)
                say(f"step {step + 1}: {1e3 * times[-1]:.0f} ms")
        return statistics.median(times) if self.device == "cuda" else min(times)

    def seconds_a_sample(self, micro):
        """Of forward and backward passes; infinite where memory does not suffice."""
        try:
            self.passes(micro, 1.0)  # compiles
            self.passes(micro, 1.0)
            synchronize(self.device)
            begin = time.perf_counter()
            for _ in range(3):
                self.passes(micro, 1.0)
            synchronize(self.device)
            return (time.perf_counter() - begin) / (3 * micro)
        except torch.OutOfMemoryError:
            return float("inf")
        finally:
            self.optimizer.zero_grad(set_to_none=True)
            free_memory(self.device)


def free_memory(device):
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def best_attention(o, shape, micro):
    """The fused body that is faster here, both passes; on a CPU what PyTorch takes by itself."""
    if o.device == "cpu":
        return None
    if o.deterministic:
        return SDPBackend.FLASH_ATTENTION  # cuDNN's is not deterministic there
    heads, width, length = shape[2], shape[1] // shape[2], o.seq_length or shape[5]
    q, k, v, dy = (torch.randn(micro, heads, length, width, device="cuda", dtype=torch.bfloat16,
                               requires_grad=True) for _ in range(4))
    best = {}
    for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION):
        try:
            with sdpa_kernel(backend):
                for turn in range(6):
                    if turn == 3:
                        synchronize("cuda")
                        begin = time.perf_counter()
                    F.scaled_dot_product_attention(q, k, v, is_causal=True).backward(dy)
                synchronize("cuda")
            best[backend] = time.perf_counter() - begin
            say(f"attention {backend.name}: {1e3 * best[backend] / 3:.2f} ms both passes")
        except RuntimeError as why:
            say(f"attention {backend.name}: {why}")
    return min(best, key=best.get) if best else None


def fastest_micro_batch(trainer, candidates):
    """Where none fits, the same with blocks that compute their forward pass twice."""
    for trainer.model.recompute in (False, True):
        times = {}
        for micro in candidates:
            times[micro] = trainer.seconds_a_sample(micro)
            say(f"micro-batch {micro}: {1e3 * times[micro]:.2f} ms a sample")
        if min(times.values()) < float("inf"):
            return min(times, key=times.get)
    sys.exit("pytorch_step: no micro-batch fits the GPU's memory")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="gpt2-124m")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--seq-length", type=int)
    parser.add_argument("--micro-batch-size", default="4", metavar="A,B",
                        help="samples computed at once; of several the fastest is taken (4)")
    parser.add_argument("--global-batch-size", type=int)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--matrix-seconds", type=float)
    parser.add_argument("--deterministic", action="store_true")
    parser.add_argument("--compile", nargs="?", choices=("no", "blocks", "whole"), const="whole",
                        default="no")
    o = parser.parse_args()
    o.candidates = [int(word) for word in o.micro_batch_size.split(",")]
    o.global_batch_size = o.global_batch_size or o.candidates[0]
    return o


def report(o, shape, micro, recompute, attention, seconds, peak, taken):
    layers, hidden, _, ffn, vocabulary, length, llama = shape
    length = o.seq_length or length
    rate = matrix_rate(o.device, o.matrix_seconds or 2)
    mlp = (3 if llama else 2) * hidden * ffn
    weights = layers * (4 * hidden**2 + mlp) + vocabulary * hidden
    causal = 6 * weights + 6 * layers * hidden * length
    full = 6 * weights + 12 * layers * hidden * length
    tokens_per_second = o.global_batch_size * length / seconds
    result = {
        "torch": torch.__version__, "preset": o.preset, "compile": o.compile,
        "deterministic": o.deterministic, "attention": attention, "recompute": recompute,
        "seq_length": length, "micro_batch_size": micro, "global_batch_size": o.global_batch_size,
        "milliseconds": 1e3 * seconds, "tokens_per_second": tokens_per_second,
        "tflops_causal": causal * tokens_per_second / 1e12, "matrix_tflops": rate / 1e12,
        "share_of_matrix_rate": causal * tokens_per_second / rate, "memory_bytes": peak}
    if o.device == "cuda":  # of the dense bf16 peak of H100 and H200
        result["mfu_causal_of_989_tflops"] = causal * tokens_per_second / 989e12
        result["mfu_full_of_989_tflops"] = full * tokens_per_second / 989e12
        result["gpu_bytes"] = taken  # with its context and what its allocator keeps
        result["device"] = torch.cuda.get_device_name()
    print(json.dumps(result))


def main():
    o = arguments()
    shape = PRESETS[o.preset]
    torch.set_num_threads(o.threads)
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(o.deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = False  # costs time and finds nothing here
    attention = best_attention(o, shape, min(o.candidates))
    free_memory(o.device)
    trainer = Trainer(o, shape)
    if o.compile != "no":
        trainer.model.compile_parts()
    with sdpa_kernel(attention) if attention else contextlib.nullcontext():
        micro = o.candidates[0]
        if len(o.candidates) > 1 or o.device == "cuda":
            micro = fastest_micro_batch(trainer, o.candidates)
        if o.compile == "whole":
            trainer.model.compile_whole()
        seconds = trainer.seconds_of_steps(o, micro)
    peak, taken = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, None
    if o.device == "cuda":
        peak, (free, total) = torch.cuda.max_memory_allocated(), torch.cuda.mem_get_info()
        taken = total - free
    recompute = trainer.model.recompute
    del trainer
    free_memory(o.device)
    report(o, shape, micro, recompute, attention.name if attention else "default", seconds, peak,
           taken)


if __name__ == "__main__":
    main()
