#include "core/error.h"
#include "model/exchange/reference_math.h"
#include "model/exchange/reference_models.h"

namespace switchyard {

namespace {

Rows norm(const ReferenceConfig& config, const ReferenceWeights& w, const Rows& x,
          const std::string& name) {
  return layer_norm(x, w.vector(name + ".weight"), w.vector(name + ".bias"),
                    config.get("layer_norm_eps", 1e-5));
}

Rows attention(const ReferenceConfig& config, ReferenceWeights& w, const Rows& x, size_t tokens,
               const std::string& name) {
  const size_t heads = config.size("num_attention_heads");
  const size_t head_dim = config.size("hidden_size") / heads;
  const bool bias = config.get("attention_bias", true);
  const Rows fused = w.linear(x, tokens, name + "query_key_value", bias);
  Rows parts[3];  // q, k, v of one head lie behind each other
  for (size_t i = 0; i < fused.size(); i += head_dim) {
    const auto from = fused.begin() + static_cast<std::ptrdiff_t>(i);
    Rows& part = parts[i / head_dim % 3];
    part.insert(part.end(), from, from + static_cast<std::ptrdiff_t>(head_dim));
  }
  const std::vector<double> frequencies = rope_frequencies(config, head_dim);
  rotate_halves(parts[0], tokens, heads, frequencies);
  rotate_halves(parts[1], tokens, heads, frequencies);
  return w.linear(causal_attention(parts[0], parts[1], parts[2], tokens, heads, heads), tokens,
                  name + "dense", bias);
}

Rows mlp(const ReferenceConfig& config, ReferenceWeights& w, const Rows& x, size_t tokens,
         const std::string& name) {
  Rows inner = w.linear(x, tokens, name + "dense_h_to_4h", true);
  apply_activation(inner, config.get<std::string>("hidden_act", "gelu"));
  return w.linear(inner, tokens, name + "dense_4h_to_h", true);
}

}  // namespace

Rows gpt_neox_logits(const ReferenceConfig& config, ReferenceWeights& w,
                     std::span<const int32_t> tokens) {
  const size_t n = tokens.size();
  Rows x = w.rows("gpt_neox.embed_in.weight", tokens);
  for (size_t layer = 0; layer < config.size("num_hidden_layers"); ++layer) {
    const std::string block = fmt::format("gpt_neox.layers.{}.", layer);
    const Rows seen = attention(config, w, norm(config, w, x, block + "input_layernorm"), n,
                                block + "attention.");
    const Rows before = x;
    add(x, seen);
    const bool parallel = config.get("use_parallel_residual", true);
    add(x,
        mlp(config, w, norm(config, w, parallel ? before : x, block + "post_attention_layernorm"),
            n, block + "mlp."));
  }
  x = norm(config, w, x, "gpt_neox.final_layer_norm");
  const char* head = w.has("embed_out.weight") ? "embed_out.weight" : "lm_head.weight";
  const bool tied = config.get("tie_word_embeddings", false);
  return w.linear_without_suffix(x, n, tied ? "gpt_neox.embed_in.weight" : head);
}

}  // namespace switchyard
