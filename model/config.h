#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/ops/activation.h"
#include "core/ops/norm/norm.h"

namespace switchyard {

// Of layers, channels, heads: far above any model, and low enough that no product of three sizes
// overflows.
inline constexpr int64_t largest_model_size = int64_t{1} << 20;

enum class Positions : uint8_t { learned, rotary };

// One configuration for GPT-2, Llama and GPT-NeoX (Pythia) style models.
struct GptConfig {
  int64_t layers = 0;
  int64_t hidden = 0;
  int64_t heads = 0;
  int64_t query_groups = 0;  // key/value heads
  int64_t head_dim = 0;      // hidden / heads unless given (kv-channels)
  int64_t ffn_hidden = 0;
  int64_t vocabulary = 0;     // true size
  int64_t max_positions = 0;  // learned ones; of rotary positions what the model was made for, or 0
  Positions positions = Positions::learned;
  double rotary_base = 10000.0;
  double rotary_percent = 1.0;  // of each head, the first channels
  // Llama 3.1's scaling of the rotary frequencies: those whose wavelength is above
  // rope_original_positions / rope_low_frequency are divided by rope_factor, those below
  // rope_original_positions / rope_high_frequency stay, and between them the two are interpolated.
  bool rope_scaling = false;
  double rope_factor = 8.0;
  double rope_low_frequency = 1.0;
  double rope_high_frequency = 4.0;
  int64_t rope_original_positions = 8192;
  ops::Norm norm = ops::Norm::layer;
  double norm_epsilon = 1e-5;  // computed with in fp32
  ops::Activation activation = ops::Activation::gelu_tanh;
  bool parallel_residual = false;  // attention and MLP both read the block's input
  bool linear_bias = true;         // biases of all projections; without, of those below alone
  bool qkv_bias = false;
  bool attention_output_bias = false;
  bool mlp_bias = false;
  bool norm_bias = true;  // of LayerNorm; false for RMSNorm
  bool tied_output = true;
  double hidden_dropout = 0.0;
  double attention_dropout = 0.0;
  double init_deviation = 0.02;

  bool has_qkv_bias() const { return linear_bias || qkv_bias; }
  bool has_attention_output_bias() const { return linear_bias || attention_output_bias; }
  bool has_mlp_bias() const { return linear_bias || mlp_bias; }
  int64_t padded_vocabulary() const;  // next multiple of 128, whatever the layout
  int64_t rotary_dim() const;         // even
  // Weights of matrix products, the output layer once, embeddings not (performance figures).
  int64_t product_weights() const;
  int64_t parameters() const;  // all, true vocabulary
  // 6 N + 6 L C T a token: forward and backward, causal attention counted once (as llm.c).
  double causal_flops_per_token(int64_t sequence_length) const;
  // The same with derived fields filled in where they are 0: query_groups = heads, head_dim =
  // hidden / heads, ffn_hidden = 4 hidden (SwiGLU: 8/3 hidden down to a multiple of 64, as
  // Megatron). Whoever changes hidden or heads of a preset sets these to 0 first.
  GptConfig completed() const;
  // How ffn_hidden came about where it is what completed() fills in, by the names of options, such
  // as "8/3 of --hidden-size 192, down to a multiple of 64"; empty for another value.
  std::string origin_of_ffn_hidden() const;
  // Throws Error naming the option of the field, what was given and what is allowed.
  void validate() const;

  // One JSON object with every field; reading it back throws Error for an unknown field, a wrong
  // type or a configuration that validate() refuses. Absent fields have the defaults above.
  std::string to_json() const;
  static GptConfig from_json(const std::string& text);
  friend bool operator==(const GptConfig&, const GptConfig&) = default;
};

// gpt2-124m, gpt2-355m, gpt2-774m, gpt2-1558m, gpt3-1.3b, llama-1b (TinyLlama), llama-1.2b,
// llama-7b, llama3.1-8b, llama3.2-1b, qwen2-0.5b, qwen2-7b, mistral-7b, pythia-160m, pythia-1b,
// pythia-6.9b, pythia-12b, and gpt2-tiny, llama-tiny, pythia-tiny, gpt2-small-cpu, ... for a CPU.
// Throws Error naming all presets.
GptConfig preset(std::string_view name);
std::vector<std::string> preset_names();
// The sequence length that the preset's model was trained with.
int64_t preset_sequence_length(std::string_view name);

}  // namespace switchyard
