#include "model/exchange/map_list.h"
#include "model/parameters.h"

// GPT-NeoX: the rows of q, k, v lie in one matrix as [heads, 3, head_dim].
namespace switchyard {

namespace {

void attention_inputs(MapList& list, const GptConfig& c) {
  const int64_t rows = c.heads * c.head_dim;
  const char* parts[] = {"attention.q", "attention.k", "attention.v"};
  const auto part = [&](int i, const char* kind, const Shape& shape, const Shape& theirs) {
    list.add({.ours = std::string(parts[i]) + kind,
              .shape = shape,
              .theirs = std::string("attention.query_key_value") + kind,
              .their_shape = theirs,
              .first = i * c.head_dim,
              .block = c.head_dim,
              .stride = 3 * c.head_dim});
  };
  for (int i = 0; i < 3; ++i) part(i, ".weight", {rows, c.hidden}, {3 * rows, c.hidden});
  if (!c.has_qkv_bias()) return;
  for (int i = 0; i < 3; ++i) part(i, ".bias", {rows}, {3 * rows});
}

}  // namespace

std::vector<WeightMap> gpt_neox_maps(const GptConfig& c) {
  MapList list;
  list.same("embedding.word.weight", "gpt_neox.embed_in.weight", {c.vocabulary, c.hidden});
  for (int64_t layer = 0; layer < c.layers; ++layer) {
    list.prefix(layer_name(layer, ""), "gpt_neox.layers." + std::to_string(layer) + ".");
    list.norm("attention.norm", "input_layernorm", c.hidden, true);
    list.norm("mlp.norm", "post_attention_layernorm", c.hidden, true);
    attention_inputs(list, c);
    list.linear("attention.output", "attention.dense", {c.hidden, c.heads * c.head_dim},
                c.has_attention_output_bias());
    list.linear("mlp.up", "mlp.dense_h_to_4h", {c.ffn_hidden, c.hidden}, true);
    list.linear("mlp.down", "mlp.dense_4h_to_h", {c.hidden, c.ffn_hidden}, true);
  }
  list.prefix("", "");
  list.norm("final_norm", "gpt_neox.final_layer_norm", c.hidden, true);
  if (!c.tied_output) list.same("head.weight", "embed_out.weight", {c.vocabulary, c.hidden});
  return list.take();
}

}  // namespace switchyard
