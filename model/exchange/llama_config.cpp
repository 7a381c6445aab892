#include "core/error.h"
#include "model/exchange/config_keys.h"

// Llama, Mistral, Qwen2.
namespace switchyard {

namespace {

using Says = ConfigKey::Says;
using C = GptConfig;

ArchitectureKeys family(const std::string& prefix, std::optional<int64_t> absent_groups,
                        ConfigKey positions = positions_key("max_position_embeddings")) {
  ArchitectureKeys all;
  all.start.positions = Positions::rotary;
  all.start.norm = ops::Norm::rms;
  all.start.activation = ops::Activation::swiglu;
  all.start.norm_bias = all.start.linear_bias = false;
  all.class_name = prefix + "ForCausalLM";
  all.accepts = {prefix + "Model"};
  all.keys = {vocabulary_key(),
              head_dim_key(),  // before the sizes that it need not follow from
              size_key<&C::hidden>("hidden_size"),
              size_key<&C::layers>("num_hidden_layers"),
              size_key<&C::heads>("num_attention_heads"),
              query_groups_key(absent_groups),
              size_key<&C::ffn_hidden>("intermediate_size"),
              std::move(positions),
              silu_key("hidden_act"),
              positive_key<&C::norm_epsilon>("rms_norm_eps", 1e-6),
              probability_key<&C::attention_dropout>("attention_dropout", 0),
              positive_key<&C::init_deviation>("initializer_range", 0.02),
              flag_key<&C::tied_output>("tie_word_embeddings", false)};
  append(all.keys, rope_keys("rope_theta", "", 1.0));
  return all;
}

// The oldest files of Llama 1 have another name for it.
ConfigKey llama_positions_key() {
  static constexpr const char* name = "max_position_embeddings";
  static constexpr const char* older = "max_sequence_length";
  ConfigKey key = positions_key(name);
  key.read = [](const ConfigReader& r, GptConfig& c) {
    c.max_positions = r.whole(r.has(name) || !r.has(older) ? name : older, 1, INT32_MAX);
    if (r.whole(older, 1, INT32_MAX, c.max_positions) != c.max_positions) {
      r.refuse(older, fmt::format("{}, {}, is allowed", name, c.max_positions));
    }
  };
  return key;
}

// The layers of Qwen2 whose attention has a window: behind max_window_layers, or as listed.
void check_windows(const ConfigReader& r, const GptConfig& c) {
  if (r.is_null("max_window_layers")) r.refuse("max_window_layers", "a whole number is allowed");
  if (const Json* types = r.find("layer_types")) {
    if (!types->is_array()) r.refuse("layer_types", "a list is allowed");
    for (const Json& type : *types) {
      check(type == "full_attention", r.origin(),
            "'layer_types' has {}; full_attention alone is computed here", short_text(type));
    }
    return;
  }
  if (!r.flag("use_sliding_window", false)) return;
  const int64_t window =
      r.is_null("sliding_window") ? c.max_positions : r.whole("sliding_window", 1, INT32_MAX, 4096);
  const int64_t first = r.whole("max_window_layers", 0, INT32_MAX, 28);
  if (window < c.max_positions && first < c.layers) {
    r.refuse("use_sliding_window",
             fmt::format("layers from {} on have a window of {} tokens; attention over all tokens "
                         "alone is computed here",
                         first, window));
  }
}

ConfigKey mistral_window_key() {
  return {"sliding_window", Says::fixed,
          [](const ConfigReader& r, GptConfig& c) {
            if (r.is_null("sliding_window")) return;
            if (r.whole("sliding_window", 1, INT32_MAX, 4096) < c.max_positions) {
              r.refuse("sliding_window",
                       fmt::format("{}null or a window of all {} positions is computed here",
                                   r.find("sliding_window") == nullptr ? "which means 4096; " : "",
                                   c.max_positions));
            }
          },
          [](const GptConfig&) { return Json(); }};
}

}  // namespace

ArchitectureKeys llama_keys() {
  ArchitectureKeys all = family("Llama", std::nullopt, llama_positions_key());
  append(all.keys, {attention_bias_key(false), flag_key<&C::mlp_bias>("mlp_bias", false)});
  all.keys.back().write = [](const GptConfig& c) { return Json(c.has_mlp_bias()); };
  append(all.keys, {read_elsewhere("max_sequence_length"), fixed_key("rope_interleaved", {false})});
  append(all.keys, keys_that_say_nothing({"pretraining_tp",  // the same sums, in parts
                                          "is_llama_config"}));
  return all;
}

ArchitectureKeys mistral_keys() {
  ArchitectureKeys all = family("Mistral", 8);
  append(all.keys, {mistral_window_key()});
  return all;
}

ArchitectureKeys qwen2_keys() {
  ArchitectureKeys all = family("Qwen2", 32);
  all.start.qkv_bias = true;
  ConfigKey window{"use_sliding_window", Says::fixed, check_windows,
                   [](const GptConfig&) { return Json(false); }};
  append(all.keys, {window, fixed_key("use_mrope", {false})});
  for (const char* name : {"sliding_window", "max_window_layers", "layer_types"}) {
    all.keys.push_back({name, Says::fixed, {}, {}});
  }
  return all;
}

}  // namespace switchyard
