#include "model/exchange/map_list.h"
#include "model/parameters.h"

// Llama, Mistral, Qwen2: all tensors as ours, and rotary positions on halves, as ours.
namespace switchyard {

namespace {

void attention(MapList& list, const GptConfig& c) {
  const int64_t queries = c.heads * c.head_dim, keys = c.query_groups * c.head_dim;
  list.linear("attention.q", "self_attn.q_proj", {queries, c.hidden}, c.has_qkv_bias());
  list.linear("attention.k", "self_attn.k_proj", {keys, c.hidden}, c.has_qkv_bias());
  list.linear("attention.v", "self_attn.v_proj", {keys, c.hidden}, c.has_qkv_bias());
  list.linear("attention.output", "self_attn.o_proj", {c.hidden, queries},
              c.has_attention_output_bias());
}

}  // namespace

std::vector<WeightMap> llama_maps(const GptConfig& c) {
  MapList list;
  list.same("embedding.word.weight", "model.embed_tokens.weight", {c.vocabulary, c.hidden});
  for (int64_t layer = 0; layer < c.layers; ++layer) {
    list.prefix(layer_name(layer, ""), "model.layers." + std::to_string(layer) + ".");
    attention(list, c);
    list.linear("mlp.gate", "mlp.gate_proj", {c.ffn_hidden, c.hidden}, c.has_mlp_bias());
    list.linear("mlp.up", "mlp.up_proj", {c.ffn_hidden, c.hidden}, c.has_mlp_bias());
    list.linear("mlp.down", "mlp.down_proj", {c.hidden, c.ffn_hidden}, c.has_mlp_bias());
    list.norm("attention.norm", "input_layernorm", c.hidden, false);
    list.norm("mlp.norm", "post_attention_layernorm", c.hidden, false);
  }
  list.prefix("", "");
  list.norm("final_norm", "model.norm", c.hidden, false);
  if (!c.tied_output) list.same("head.weight", "lm_head.weight", {c.vocabulary, c.hidden});
  return list.take();
}

}  // namespace switchyard
