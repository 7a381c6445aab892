#!/usr/bin/env python3
"""Makes the folders of tests/golden/foreign: python3 tests/golden/make_foreign.py

Needs PyTorch and transformers; the tests themselves do not. Each folder is a tiny random model as
save_pretrained writes it, in one of three dtypes, with tokens.i32 and logits.f32, the logits
[tokens, vocabulary] that transformers compute in fp32 with the stored weights.
"""

import pathlib
import shutil

import numpy
import torch
import transformers

from check_foreign import LLAMA3, gpt2, llama, logits_of, make, neox

SMALL = {"vocab_size": 61, "hidden_size": 48, "intermediate_size": 43}
MODELS = {
    "gpt2": (transformers.GPT2Config, torch.float32, gpt2(vocab_size=61, n_embd=28, n_inner=43)),
    "gpt2-untied": (transformers.GPT2Config, torch.float16,
                    gpt2(vocab_size=61, n_embd=28, tie_word_embeddings=False,
                         activation_function="gelu")),
    "neox": (transformers.GPTNeoXConfig, torch.bfloat16,
             neox(**{**SMALL, "hidden_size": 112, "num_hidden_layers": 1})),
    "neox-serial": (transformers.GPTNeoXConfig, torch.float16,
                    neox(**{**SMALL, "hidden_size": 48, "num_attention_heads": 2},
                         use_parallel_residual=False, attention_bias=False,
                         tie_word_embeddings=True)),
    "llama": (transformers.LlamaConfig, torch.bfloat16,
              llama(**SMALL, head_dim=10, tie_word_embeddings=True, rope_parameters=LLAMA3)),
    "llama-biases": (transformers.LlamaConfig, torch.float32,
                     llama(**SMALL, attention_bias=True, mlp_bias=True)),
    "mistral": (transformers.MistralConfig, torch.float16, llama(**SMALL, sliding_window=None)),
    "qwen2": (transformers.Qwen2Config, torch.bfloat16, llama(**SMALL)),
}


def main():
    home = pathlib.Path(__file__).parent / "foreign"
    shutil.rmtree(home, ignore_errors=True)
    for seed, (name, (config_class, dtype, arguments)) in enumerate(MODELS.items()):
        ids = {"bos_token_id": 0, "eos_token_id": 1}
        model = make(config_class(**arguments, **ids), seed).to(dtype)
        shards = "30KB" if name == "llama" else "1GB"
        model.save_pretrained(home / name, max_shard_size=shards)
        (home / name / "generation_config.json").unlink(missing_ok=True)
        tokens = torch.randint(61, (40,)).tolist()
        numpy.array(tokens, dtype=numpy.int32).tofile(home / name / "tokens.i32")
        # As stored: .float() would keep rotary frequencies that .to(dtype) has rounded.
        model = transformers.AutoModelForCausalLM.from_pretrained(
            home / name, dtype=torch.float32, attn_implementation="eager").eval()
        logits_of(model, tokens).astype(numpy.float32).tofile(home / name / "logits.f32")


if __name__ == "__main__":
    main()
