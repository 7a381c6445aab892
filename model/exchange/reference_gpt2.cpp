#include <numeric>

#include "core/error.h"
#include "model/exchange/reference_math.h"
#include "model/exchange/reference_models.h"

namespace switchyard {

namespace {

Rows norm(const ReferenceConfig& config, const ReferenceWeights& w, const Rows& x,
          const std::string& name) {
  return layer_norm(x, w.vector(name + ".weight"), w.vector(name + ".bias"),
                    config.get("layer_norm_epsilon", 1e-5));
}

// Columns [part * n, (part + 1) * n) of rows of 3 n.
Rows third(const Rows& x, size_t tokens, size_t part) {
  const size_t n = x.size() / tokens / 3;
  Rows out;
  out.reserve(tokens * n);
  for (size_t t = 0; t < tokens; ++t) {
    const auto from = x.begin() + static_cast<std::ptrdiff_t>((3 * t + part) * n);
    out.insert(out.end(), from, from + static_cast<std::ptrdiff_t>(n));
  }
  return out;
}

}  // namespace

Rows gpt2_logits(const ReferenceConfig& config, ReferenceWeights& w,
                 std::span<const int32_t> tokens) {
  const size_t n = tokens.size(), heads = config.size("n_head");
  std::vector<int32_t> positions(n);
  std::iota(positions.begin(), positions.end(), 0);
  Rows x = w.rows("transformer.wte.weight", tokens);
  add(x, w.rows("transformer.wpe.weight", positions));
  for (size_t layer = 0; layer < config.size("n_layer"); ++layer) {
    const std::string block = fmt::format("transformer.h.{}.", layer);
    const Rows qkv = w.conv1d(norm(config, w, x, block + "ln_1"), n, block + "attn.c_attn");
    const Rows seen =
        causal_attention(third(qkv, n, 0), third(qkv, n, 1), third(qkv, n, 2), n, heads, heads);
    add(x, w.conv1d(seen, n, block + "attn.c_proj"));
    Rows inner = w.conv1d(norm(config, w, x, block + "ln_2"), n, block + "mlp.c_fc");
    apply_activation(inner, config.get<std::string>("activation_function", "gelu_new"));
    add(x, w.conv1d(inner, n, block + "mlp.c_proj"));
  }
  const bool tied = config.get("tie_word_embeddings", true);
  return w.linear_without_suffix(norm(config, w, x, "transformer.ln_f"), n,
                                 tied ? "transformer.wte.weight" : "lm_head.weight");
}

}  // namespace switchyard
