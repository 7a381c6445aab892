#include "model/exchange/map_list.h"
#include "model/parameters.h"

// GPT-2: projections are Conv1D, [inputs, outputs]; q, k, v lie one behind the other in one.
namespace switchyard {

namespace {

void projection(MapList& list, const char* ours, const std::string& theirs, int64_t outputs,
                int64_t inputs) {
  list.add({.ours = std::string(ours) + ".weight",
            .shape = {outputs, inputs},
            .theirs = theirs + ".weight",
            .their_shape = {inputs, outputs},
            .transposed = true,
            .block = outputs,
            .stride = outputs});
  list.same(std::string(ours) + ".bias", theirs + ".bias", {outputs});
}

void attention_inputs(MapList& list, int64_t channels) {
  const char* parts[] = {"attention.q", "attention.k", "attention.v"};
  const auto part = [&](int i, const char* kind, const Shape& shape, const Shape& theirs) {
    list.add({.ours = std::string(parts[i]) + kind,
              .shape = shape,
              .theirs = std::string("attn.c_attn") + kind,
              .their_shape = theirs,
              .transposed = shape.rank() == 2,
              .first = i * channels,
              .block = channels,
              .stride = channels});
  };
  for (int i = 0; i < 3; ++i) {
    part(i, ".weight", {channels, channels}, {channels, 3 * channels});
  }
  for (int i = 0; i < 3; ++i) part(i, ".bias", {channels}, {3 * channels});
}

}  // namespace

std::vector<WeightMap> gpt2_maps(const GptConfig& c) {
  MapList list;
  list.same("embedding.word.weight", "transformer.wte.weight", {c.vocabulary, c.hidden});
  list.same("embedding.position.weight", "transformer.wpe.weight", {c.max_positions, c.hidden});
  for (int64_t layer = 0; layer < c.layers; ++layer) {
    list.prefix(layer_name(layer, ""), "transformer.h." + std::to_string(layer) + ".");
    list.norm("attention.norm", "ln_1", c.hidden, true);
    attention_inputs(list, c.hidden);
    projection(list, "attention.output", "attn.c_proj", c.hidden, c.hidden);
    list.norm("mlp.norm", "ln_2", c.hidden, true);
    projection(list, "mlp.up", "mlp.c_fc", c.ffn_hidden, c.hidden);
    projection(list, "mlp.down", "mlp.c_proj", c.hidden, c.ffn_hidden);
  }
  list.prefix("", "");
  list.norm("final_norm", "transformer.ln_f", c.hidden, true);
  if (!c.tied_output) list.same("head.weight", "lm_head.weight", {c.vocabulary, c.hidden});
  return list.take();
}

}  // namespace switchyard
