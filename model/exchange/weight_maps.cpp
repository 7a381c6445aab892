#include "model/exchange/weight_map.h"

#include <algorithm>

#include "model/exchange/map_list.h"

namespace switchyard {

namespace {

// What is left of `name` behind "LIST.N.", with or without the base prefix; empty for another name.
std::string_view within_layer(std::string_view name, std::string_view prefix,
                              std::string_view list) {
  if (name.starts_with(prefix)) name.remove_prefix(prefix.size());
  if (!name.starts_with(list)) return {};
  name.remove_prefix(list.size());
  const size_t digits = std::min(name.find_first_not_of("0123456789"), name.size());
  if (digits == 0 || !name.substr(digits).starts_with('.')) return {};
  return name.substr(digits + 1);
}

}  // namespace

std::vector<WeightMap> weight_maps(Architecture architecture, const GptConfig& config) {
  architecture_of(config, architecture);
  const GptConfig c = config.completed();
  if (architecture == Architecture::gpt2) return gpt2_maps(c);
  if (architecture == Architecture::gpt_neox) return gpt_neox_maps(c);
  return llama_maps(c);
}

std::string_view base_prefix(Architecture architecture) {
  if (architecture == Architecture::gpt2) return "transformer.";
  return architecture == Architecture::gpt_neox ? "gpt_neox." : "model.";
}

std::string_view output_name(Architecture architecture) {
  return architecture == Architecture::gpt_neox ? "embed_out.weight" : "lm_head.weight";
}

bool is_computed_buffer(Architecture architecture, std::string_view their_name) {
  const std::string_view prefix = base_prefix(architecture);
  const auto is_one_of = [](std::string_view name, auto... all) { return ((name == all) || ...); };
  if (architecture == Architecture::gpt2) {
    return is_one_of(within_layer(their_name, prefix, "h."), "attn.bias", "attn.masked_bias");
  }
  const std::string_view rest = within_layer(their_name, prefix, "layers.");
  if (architecture == Architecture::gpt_neox) {
    return is_one_of(rest, "attention.bias", "attention.masked_bias",
                     "attention.rotary_emb.inv_freq") ||
           is_one_of(their_name, "gpt_neox.rotary_emb.inv_freq", "rotary_emb.inv_freq");
  }
  return rest == "self_attn.rotary_emb.inv_freq" ||
         is_one_of(their_name, "model.rotary_emb.inv_freq", "rotary_emb.inv_freq");
}

}  // namespace switchyard
