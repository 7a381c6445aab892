"""What make_published.py and check_published.py share: tiny models of every architecture, and
weights and tokens that follow from names and numbers alone, as published_file.cpp forms them."""

import pathlib

import numpy
import safetensors.torch
import torch
import transformers

LENGTH = 24
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 16}
GROUPED = {"hidden_size": 48, "intermediate_size": 344, "num_hidden_layers": 2,
           "num_attention_heads": 6, "num_key_value_heads": 2, "vocab_size": 211,
           "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2}


def gpt2(**options):
    return transformers.GPT2Config(
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, n_layer=2, bos_token_id=1, eos_token_id=1,
        **options)


def neox(**options):
    return transformers.GPTNeoXConfig(num_hidden_layers=2, max_position_embeddings=64,
                                      bos_token_id=0, eos_token_id=0, **options)


# name: (configuration, dtype of the files)
MODELS = {
    "gpt2_seven_heads": (gpt2(n_embd=56, n_head=7, n_inner=344, n_positions=40, vocab_size=211),
                         torch.float32),
    "gpt2_vocabulary": (gpt2(n_embd=24, n_head=2, n_positions=32, vocab_size=50257 + 3),
                        torch.float16),
    "gpt_neox_wide_heads": (neox(hidden_size=160, num_attention_heads=2, intermediate_size=344,
                                 rotary_pct=0.25, vocab_size=260), torch.float16),
    "gpt_neox_serial": (neox(hidden_size=48, num_attention_heads=3, intermediate_size=100,
                             rotary_pct=0.5, vocab_size=131, use_parallel_residual=False,
                             tie_word_embeddings=True, rotary_emb_base=5000), torch.float32),
    "llama_scaled": (transformers.LlamaConfig(**GROUPED, rope_theta=500000.0, rope_scaling=LLAMA3,
                                              rms_norm_eps=1e-5), torch.bfloat16),
    "llama_biases": (transformers.LlamaConfig(**GROUPED, head_dim=16, attention_bias=True,
                                              mlp_bias=True, tie_word_embeddings=True),
                     torch.float32),
    "qwen2": (transformers.Qwen2Config(**GROUPED, tie_word_embeddings=True), torch.bfloat16),
    "mistral": (transformers.MistralConfig(**GROUPED, head_dim=12, sliding_window=None,
                                           rope_theta=1e6), torch.bfloat16),
}

# Others that check_published.py alone tries.
PLAIN = torch.float32
SEVEN = {**GROUPED, "num_attention_heads": 7, "num_key_value_heads": 7, "hidden_size": 84}
MORE = {
    "gpt2_untied": (gpt2(n_embd=28, n_head=7, n_positions=64, vocab_size=61,
                         tie_word_embeddings=False, activation_function="gelu"), torch.float16),
    "gpt_neox_plain": (neox(hidden_size=168, num_attention_heads=7, intermediate_size=344,
                            vocab_size=260), PLAIN),
    "gpt_neox_no_bias": (neox(hidden_size=48, num_attention_heads=2, intermediate_size=43,
                              vocab_size=61, attention_bias=False), torch.bfloat16),
    "gpt_neox_tanh": (neox(hidden_size=48, num_attention_heads=2, intermediate_size=43,
                           vocab_size=61, hidden_act="gelu_new", rotary_pct=1.0), PLAIN),
    "llama_seven_heads": (transformers.LlamaConfig(**SEVEN), PLAIN),
    "llama_vocabulary": (transformers.LlamaConfig(**{**GROUPED, "vocab_size": 50260}),
                         torch.bfloat16),
    "llama_attention_bias": (transformers.LlamaConfig(**GROUPED, attention_bias=True), PLAIN),
    "llama_mlp_bias": (transformers.LlamaConfig(**GROUPED, mlp_bias=True), PLAIN),
    "mistral_window": (transformers.MistralConfig(**GROUPED, sliding_window=64), PLAIN),
    "qwen2_scaled": (transformers.Qwen2Config(**GROUPED, rope_theta=1e6, rope_scaling=LLAMA3),
                     PLAIN),
}


def mixed(x):
    """The finaliser of MurmurHash3 in 32 bits, of an array of u64 below 2^32."""
    x = x & 0xffffffff
    x ^= x >> numpy.uint64(16)
    x = (x * numpy.uint64(0x85ebca6b)) & 0xffffffff
    x ^= x >> numpy.uint64(13)
    x = (x * numpy.uint64(0xc2b2ae35)) & 0xffffffff
    return x ^ (x >> numpy.uint64(16))


def numbers(name, count):
    """Hashes of (name, 0), (name, 1), ..."""
    key = 2166136261
    for byte in name.encode():
        key = ((key ^ byte) * 16777619) & 0xffffffff
    index = numpy.arange(count, dtype=numpy.uint64)
    return mixed(index * numpy.uint64(0x9e3779b9) + numpy.uint64(key))


def weight(name, shape):
    """Uniform, norms around 1; fp32."""
    count = int(numpy.prod(shape, dtype=numpy.int64))
    unit = numbers(name, count).astype(numpy.float64) / 2.0**31 - 1.0
    is_norm = len(shape) == 1 and name.endswith(".weight")
    values = 1.0 + 0.25 * unit if is_norm else 0.125 * unit
    return torch.from_numpy(values.astype(numpy.float32).reshape(shape))


def tokens(name, count, vocabulary):
    """A walk over the vocabulary in steps of 1 to 3, so that there is something to learn."""
    steps = numbers(name, count)
    walk = numpy.cumsum(steps % numpy.uint64(3) + numpy.uint64(1)) + steps[0]
    return (walk % numpy.uint64(vocabulary)).astype(numpy.int64)


def save(name, folder, **options):
    """What save_pretrained writes of the model in the dtype of its files, with those weights."""
    config, dtype = {**MODELS, **MORE}[name]
    transformers.AutoModelForCausalLM.from_config(config).to(dtype).save_pretrained(folder)
    with safetensors.safe_open(f"{folder}/model.safetensors", "pt") as file:
        shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}
    tensors = {key: weight(key, tuple(shape)).to(dtype) for key, shape in shapes.items()}
    safetensors.torch.save_file(tensors, f"{folder}/model.safetensors", {"format": "pt"})
    if options:
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
        pathlib.Path(folder, "model.safetensors").unlink()
        model.save_pretrained(folder, **options)


def load(folder):
    """In fp32."""
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32,
                                                             attn_implementation="eager").eval()
