#include "launch/path/model_settings.h"

#include <fmt/core.h>

#include <algorithm>
#include <initializer_list>

#include "core/error.h"

namespace switchyard {

Settings resolve_model(const Settings& given, int64_t data_vocabulary) {
  Settings model = settings_of(GptConfig{});
  if (given.has("preset")) {
    model = settings_of(preset(given.text("preset")));
    const auto reset_if = [&](const char* cause, std::initializer_list<const char*> derived) {
      if (!given.has(cause)) return;
      for (const char* name : derived) model.set_text(name, "0");
    };
    reset_if("hidden-size", {"kv-channels", "ffn-hidden-size"});
    reset_if("num-attention-heads", {"kv-channels", "num-query-groups"});
  }
  for (const auto& spec : model_options()) {
    if (given.has(spec.name)) model.set(spec, given.list(spec.name));
  }
  check(!given.flag("swiglu") || !given.has("activation") || given.text("activation") == "swiglu",
        "path", "--swiglu with --activation {}; one of them is allowed",
        given.has("activation") ? given.text("activation") : "");
  if (given.flag("swiglu")) model.set_text("activation", "swiglu");
  const int64_t wanted = given.has("vocab-size") ? given.integer("vocab-size") : 0;
  check(wanted == 0 || wanted >= data_vocabulary, "path",
        "--vocab-size {}, but the data's vocabulary is {}; it must not be smaller", wanted,
        data_vocabulary);
  model.set_text("vocab-size", std::to_string(std::max(wanted, data_vocabulary)));
  model.erase("preset");
  model.erase("swiglu");
  return model;
}

std::vector<std::string> rounded_sizes(const GptConfig& c, const Settings& given) {
  std::vector<std::string> lines;
  if (c.activation == ops::Activation::swiglu && !given.has("ffn-hidden-size") &&
      !c.origin_of_ffn_hidden().empty()) {
    lines.push_back(
        fmt::format("--ffn-hidden-size {} ({})", c.ffn_hidden, c.origin_of_ffn_hidden()));
  }
  const double asked = static_cast<double>(c.head_dim) * c.rotary_percent;
  if (c.positions == Positions::rotary && asked != static_cast<double>(c.rotary_dim())) {
    lines.push_back(fmt::format(
        "{} of a head's {} channels are rotated (--rotary-percent {} is {:.6g}, down to an even "
        "number)",
        c.rotary_dim(), c.head_dim, c.rotary_percent, asked));
  }
  return lines;
}

}  // namespace switchyard
