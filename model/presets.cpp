#include <fmt/ranges.h>

#include "core/error.h"
#include "model/config.h"

namespace switchyard {

namespace {

enum class Family : uint8_t { gpt2, llama, llama3, qwen2, mistral, pythia };

struct Preset {
  const char* name;
  Family family;
  int64_t layers, hidden, heads, query_groups, ffn_hidden;  // 0: as GptConfig::completed fills in
  int64_t vocabulary, sequence_length;
  bool tied = false;       // Llama 3 and Qwen2: only the small models' output layer
  double rope_factor = 1;  // of Llama 3
};

constexpr int64_t byte_vocabulary = 257;  // bytes and end of document

constexpr Preset presets[] = {
    {"gpt2-124m", Family::gpt2, 12, 768, 12, 0, 0, 50257, 1024},
    {"gpt2-355m", Family::gpt2, 24, 1024, 16, 0, 0, 50257, 1024},
    {"gpt2-774m", Family::gpt2, 36, 1280, 20, 0, 0, 50257, 1024},
    {"gpt2-1558m", Family::gpt2, 48, 1600, 25, 0, 0, 50257, 1024},
    {"gpt3-1.3b", Family::gpt2, 24, 2048, 16, 0, 0, 50257, 2048},
    {"llama-1b", Family::llama, 22, 2048, 32, 4, 5632, 32000, 2048},
    {"llama-1.2b", Family::llama, 20, 2048, 16, 0, 5632, 32000, 2048},
    {"llama-7b", Family::llama, 32, 4096, 32, 0, 11008, 32000, 4096},
    {"llama3.1-8b", Family::llama3, 32, 4096, 32, 8, 14336, 128256, 8192, false, 8},
    {"llama3.2-1b", Family::llama3, 16, 2048, 32, 8, 8192, 128256, 8192, true, 32},
    {"qwen2-0.5b", Family::qwen2, 24, 896, 14, 2, 4864, 151936, 4096, true},
    {"qwen2-7b", Family::qwen2, 28, 3584, 28, 4, 18944, 152064, 4096},
    {"mistral-7b", Family::mistral, 32, 4096, 32, 8, 14336, 32768, 8192},
    {"pythia-160m", Family::pythia, 12, 768, 12, 0, 0, 50304, 2048},
    {"pythia-1b", Family::pythia, 16, 2048, 8, 0, 0, 50304, 2048},
    {"pythia-6.9b", Family::pythia, 32, 4096, 32, 0, 0, 50432, 2048},
    {"pythia-12b", Family::pythia, 36, 5120, 40, 0, 0, 50688, 2048},
    {"gpt2-tiny", Family::gpt2, 4, 128, 4, 0, 0, byte_vocabulary, 128},
    {"llama-tiny", Family::llama, 4, 128, 4, 2, 384, byte_vocabulary, 128},
    {"pythia-tiny", Family::pythia, 4, 128, 4, 0, 0, byte_vocabulary, 128},
    {"gpt2-small-cpu", Family::gpt2, 6, 256, 8, 0, 0, byte_vocabulary, 256},
    {"llama-small-cpu", Family::llama, 6, 256, 8, 4, 768, byte_vocabulary, 256},
    {"pythia-small-cpu", Family::pythia, 6, 256, 8, 0, 0, byte_vocabulary, 256},
};

const Preset& find(std::string_view name) {
  for (const Preset& p : presets) {
    if (name == p.name) return p;
  }
  fail("preset", "'{}' was given; presets are: {}", name, fmt::join(preset_names(), ", "));
}

// GPT-2: Radford et al. 2019; GPT-3 XL, here with heads of 128: Brown et al. 2020, table 2.1; their
// dropout of 0.1 is left to the user.
void make_gpt2(GptConfig& c, const Preset& p) { c.max_positions = p.sequence_length; }

// Llama: Touvron et al. 2023; 7b is Llama 2, 1b is TinyLlama (Zhang et al. 2024). 1.2b is of the
// size of the LLaMA-1.2B of arXiv 2410.04103, whose shape no public text that we found gives: 7b's
// rules (heads of 128, Llama's width of the MLP, its vocabulary) at a width of 2048.
void make_llama(GptConfig& c) {
  c.positions = Positions::rotary;
  c.norm = ops::Norm::rms;
  c.activation = ops::Activation::swiglu;
  c.linear_bias = c.norm_bias = c.tied_output = false;
}

// Llama 3.1 and 3.2: Grattafiori et al. 2024 and their model cards.
void make_llama3(GptConfig& c, const Preset& p) {
  make_llama(c);
  c.max_positions = 131072;
  c.rotary_base = 500000;
  c.rope_scaling = true;
  c.rope_factor = p.rope_factor;
  c.tied_output = p.tied;
}

// Qwen2: Yang et al. 2024.
void make_qwen2(GptConfig& c, const Preset& p) {
  make_llama(c);
  c.max_positions = 131072;
  c.rotary_base = 1e6;
  c.norm_epsilon = 1e-6;
  c.qkv_bias = true;
  c.tied_output = p.tied;
}

// Mistral 7B: Jiang et al. 2023, in its version 0.3, whose attention has no window.
void make_mistral(GptConfig& c) {
  make_llama(c);
  c.max_positions = 32768;
  c.rotary_base = 1e6;
}

// Pythia: Biderman et al. 2023, of the architecture of GPT-NeoX-20B (Black et al. 2022).
void make_pythia(GptConfig& c) {
  c.positions = Positions::rotary;
  c.rotary_percent = 0.25;
  c.activation = ops::Activation::gelu_erf;
  c.parallel_residual = true;
  c.tied_output = false;
}

}  // namespace

GptConfig preset(std::string_view name) {
  const Preset& p = find(name);
  GptConfig c;
  c.layers = p.layers;
  c.hidden = p.hidden;
  c.heads = p.heads;
  c.query_groups = p.query_groups;
  c.ffn_hidden = p.ffn_hidden;
  c.vocabulary = p.vocabulary;
  if (p.family == Family::gpt2) make_gpt2(c, p);
  if (p.family == Family::llama) make_llama(c);
  if (p.family == Family::llama3) make_llama3(c, p);
  if (p.family == Family::qwen2) make_qwen2(c, p);
  if (p.family == Family::mistral) make_mistral(c);
  if (p.family == Family::pythia) make_pythia(c);
  return c.completed();
}

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const Preset& p : presets) names.emplace_back(p.name);
  return names;
}

int64_t preset_sequence_length(std::string_view name) { return find(name).sequence_length; }

}  // namespace switchyard
