#include "core/error.h"
#include "model/exchange/reference_math.h"
#include "model/exchange/reference_models.h"

// Llama, Mistral, Qwen2.
namespace switchyard {

namespace {

struct LlamaShape {
  size_t heads, key_heads;
  double epsilon;
  bool qkv_bias, output_bias, mlp_bias;
  std::vector<double> frequencies;
};

LlamaShape shape_of(const ReferenceConfig& c) {
  LlamaShape s;
  const auto type = c.get<std::string>("model_type", "llama");
  const bool llama = type == "llama";
  s.heads = c.size("num_attention_heads");
  size_t absent = s.heads;
  if (type == "mistral") absent = 8;
  if (type == "qwen2") absent = 32;
  if (c.has("num_key_value_heads")) absent = s.heads;  // it may be null
  s.key_heads = c.get("num_key_value_heads", absent);
  s.epsilon = c.get("rms_norm_eps", 1e-6);
  s.output_bias = llama && c.get("attention_bias", false);
  s.qkv_bias = s.output_bias || type == "qwen2";
  s.mlp_bias = llama && c.get("mlp_bias", false);
  s.frequencies = rope_frequencies(c, c.get<size_t>("head_dim", c.size("hidden_size") / s.heads));
  return s;
}

Rows attention(const LlamaShape& s, ReferenceWeights& w, const Rows& x, size_t tokens,
               const std::string& name) {
  Rows q = w.linear(x, tokens, name + "q_proj", s.qkv_bias);
  Rows k = w.linear(x, tokens, name + "k_proj", s.qkv_bias);
  const Rows v = w.linear(x, tokens, name + "v_proj", s.qkv_bias);
  rotate_halves(q, tokens, s.heads, s.frequencies);
  rotate_halves(k, tokens, s.key_heads, s.frequencies);
  return w.linear(causal_attention(q, k, v, tokens, s.heads, s.key_heads), tokens, name + "o_proj",
                  s.output_bias);
}

Rows mlp(const LlamaShape& s, ReferenceWeights& w, const Rows& x, size_t tokens,
         const std::string& name) {
  Rows gate = w.linear(x, tokens, name + "gate_proj", s.mlp_bias);
  apply_activation(gate, "silu");
  multiply(gate, w.linear(x, tokens, name + "up_proj", s.mlp_bias));
  return w.linear(gate, tokens, name + "down_proj", s.mlp_bias);
}

}  // namespace

Rows llama_logits(const ReferenceConfig& config, ReferenceWeights& w,
                  std::span<const int32_t> tokens) {
  const LlamaShape s = shape_of(config);
  const size_t n = tokens.size();
  const auto norm = [&](const Rows& x, const std::string& name) {
    return rms_norm(x, w.vector(name + ".weight"), s.epsilon);
  };
  Rows x = w.rows("model.embed_tokens.weight", tokens);
  for (size_t layer = 0; layer < config.size("num_hidden_layers"); ++layer) {
    const std::string block = fmt::format("model.layers.{}.", layer);
    add(x, attention(s, w, norm(x, block + "input_layernorm"), n, block + "self_attn."));
    add(x, mlp(s, w, norm(x, block + "post_attention_layernorm"), n, block + "mlp."));
  }
  const bool tied = config.get("tie_word_embeddings", false);
  return w.linear_without_suffix(norm(x, "model.norm"), n,
                                 tied ? "model.embed_tokens.weight" : "lm_head.weight");
}

}  // namespace switchyard
