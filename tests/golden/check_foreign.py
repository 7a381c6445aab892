#!/usr/bin/env python3
"""Compares our reading of Hugging Face folders with transformers' own:
python3 tests/golden/check_foreign.py BUILD/tests/model/foreign_driver

Needs PyTorch and transformers, 4 or 5; no test runs it. Tiny random models of each architecture,
with odd shapes, are saved, and their logits in fp32 compared with reference_logits of the folder.
Then config.json is read and written by us, loaded by transformers with the same weights, and must
give the same logits. Prints the largest differences; fails above 1e-5.
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy
import torch
import transformers

LLAMA3 = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 16}


def llama(**more):
    return {"vocab_size": 260, "hidden_size": 84, "intermediate_size": 344, "num_hidden_layers": 2,
            "num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 128,
            **more}


def neox(**more):
    return {"vocab_size": 260, "hidden_size": 7 * 24, "intermediate_size": 344,
            "num_hidden_layers": 2, "num_attention_heads": 7, "max_position_embeddings": 128,
            **more}


def gpt2(**more):
    return {"vocab_size": 260, "n_embd": 7 * 12, "n_layer": 2, "n_head": 7, "n_positions": 64,
            **more}


MODELS = [
    ("gpt2", transformers.GPT2Config, gpt2()),
    ("gpt2 large vocabulary", transformers.GPT2Config, gpt2(vocab_size=50260)),
    ("gpt2 untied, n_inner 344", transformers.GPT2Config,
     gpt2(tie_word_embeddings=False, n_inner=344)),
    ("gpt2 gelu", transformers.GPT2Config, gpt2(activation_function="gelu")),
    ("gpt2 gelu_fast", transformers.GPT2Config, gpt2(activation_function="gelu_fast")),
    ("neox", transformers.GPTNeoXConfig, neox()),
    ("neox serial, head 80", transformers.GPTNeoXConfig,
     neox(use_parallel_residual=False, hidden_size=240, num_attention_heads=3)),
    ("neox large vocabulary", transformers.GPTNeoXConfig, neox(vocab_size=50260)),
    ("neox no attention bias, tied", transformers.GPTNeoXConfig,
     neox(attention_bias=False, tie_word_embeddings=True)),
    ("neox theta, whole heads", transformers.GPTNeoXConfig,
     neox(rope_parameters={"rope_type": "default", "rope_theta": 500.0,
                           "partial_rotary_factor": 1.0})),
    ("neox scaled", transformers.GPTNeoXConfig,
     neox(rope_parameters={**LLAMA3, "partial_rotary_factor": 0.25})),
    ("neox gelu_new", transformers.GPTNeoXConfig, neox(hidden_act="gelu_new")),
    ("llama", transformers.LlamaConfig, llama()),
    ("llama 7 heads", transformers.LlamaConfig,
     llama(num_attention_heads=7, num_key_value_heads=None)),
    ("llama large vocabulary, tied", transformers.LlamaConfig,
     llama(vocab_size=50260, tie_word_embeddings=True)),
    ("llama biases", transformers.LlamaConfig, llama(attention_bias=True, mlp_bias=True)),
    ("llama attention biases", transformers.LlamaConfig, llama(attention_bias=True)),
    ("llama mlp biases", transformers.LlamaConfig, llama(mlp_bias=True)),
    ("llama head_dim apart", transformers.LlamaConfig, llama(head_dim=10)),
    ("llama 3.1", transformers.LlamaConfig, llama(rope_parameters=LLAMA3)),
    ("llama theta", transformers.LlamaConfig,
     llama(rope_parameters={"rope_type": "default", "rope_theta": 500000.0})),
    ("mistral", transformers.MistralConfig, llama(sliding_window=None)),
    ("mistral head_dim apart", transformers.MistralConfig,
     llama(sliding_window=128, head_dim=10, hidden_size=44)),
    ("qwen2", transformers.Qwen2Config, llama()),
    ("qwen2 tied, scaled", transformers.Qwen2Config,
     llama(tie_word_embeddings=True, rope_parameters=LLAMA3)),
    ("qwen2 head_dim apart", transformers.Qwen2Config, llama(head_dim=16, hidden_size=44)),
]


def for_this_version(arguments):
    """Transformers 4 know no rope_parameters."""
    rope = arguments.get("rope_parameters")
    if rope is None or int(transformers.__version__.split(".")[0]) > 4:
        return arguments
    rest = {key: value for key, value in arguments.items() if key != "rope_parameters"}
    theta, part = rope["rope_theta"], rope.get("partial_rotary_factor")
    rest.update({"rope_theta": theta} if part is None
                else {"rotary_emb_base": theta, "rotary_pct": part})
    if rope["rope_type"] != "default":
        rest["rope_scaling"] = {key: value for key, value in rope.items()
                                if key not in ("rope_theta", "partial_rotary_factor")}
    return rest


def logits_of(model, tokens):
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].float().numpy()


def make(config, seed):
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with torch.no_grad():
        for parameter in model.parameters():  # so that biases and norms matter
            mean = 1.0 if parameter.dim() == 1 and parameter.mean() > 0.5 else 0.0
            deviation = 0.08 if parameter.dim() == 2 else 0.1
            parameter.copy_(mean + deviation * torch.randn_like(parameter))
    return model.float().eval()


def ours(driver, folder, tokens, vocabulary):
    raw = subprocess.run([driver, "logits", folder, *map(str, tokens)], check=True,
                         stdout=subprocess.PIPE).stdout
    return numpy.frombuffer(raw, dtype=numpy.float32).reshape(len(tokens), vocabulary)


def rewritten(driver, folder, to, dtype):
    shutil.copytree(folder, to)
    text = subprocess.run([driver, "config", folder / "config.json", dtype], check=True,
                          stdout=subprocess.PIPE).stdout
    (to / "config.json").write_bytes(text)
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        to, attn_implementation="eager", output_loading_info=True)
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info[what], info
    return model.float().eval()


def main():
    driver, worst = sys.argv[1], 0.0
    for seed, (name, config_class, arguments) in enumerate(MODELS):
        if name == "qwen2 head_dim apart" and transformers.__version__ < "4.48":
            continue  # refused there
        model = make(config_class(**for_this_version(arguments)), seed)
        vocabulary = arguments["vocab_size"]
        tokens = torch.randint(vocabulary, (48,)).tolist()
        with tempfile.TemporaryDirectory() as scratch:
            folder = pathlib.Path(scratch) / "theirs"
            model.save_pretrained(folder)
            theirs = logits_of(model, tokens)
            read = numpy.abs(ours(driver, folder, tokens, vocabulary) - theirs).max()
            again = rewritten(driver, folder, pathlib.Path(scratch) / "ours", "f32")
            written = numpy.abs(logits_of(again, tokens) - theirs).max()
            back = numpy.abs(ours(driver, pathlib.Path(scratch) / "ours", tokens, vocabulary)
                             - theirs).max()
        print(f"{name:32} logits up to {numpy.abs(theirs).max():6.2f}  read {read:.1e}  "
              f"config written {written:.1e}  read again {back:.1e}", flush=True)
        worst = max(worst, read, written, back)
    print(f"largest difference: {worst:.2e}")
    return 0 if worst < 1e-5 else 1


if __name__ == "__main__":
    sys.exit(main())
