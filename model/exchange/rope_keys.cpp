#include <algorithm>
#include <limits>

#include "core/error.h"
#include "model/exchange/config_keys.h"
#include "model/rotary_percent.h"

// Rotary positions. Transformers 4 write theta and the rotated part as keys of their own, beside
// "rope_scaling"; transformers 5 write all of it into "rope_parameters". Both read the first.
namespace switchyard {

namespace {

using Says = ConfigKey::Says;

// A number that may stand in several places, which must agree.
class Agreed {
 public:
  void add(const ConfigReader& r, const std::string& key) {
    if (!r.has(key)) return;
    const double given = r.real(key);
    if (value_ && given != *value_) r.refuse(key, fmt::format("but {}", from_));
    value_ = given;
    from_ = r.quoted(key);
  }
  double value_or(double absent) const { return value_.value_or(absent); }
  const std::string& text() const { return from_; }
  // `key` is where it is missed, if it stands nowhere.
  [[noreturn]] void refuse(const ConfigReader& r, const std::string& key,
                           const std::string& allowed) const {
    fail(r.origin(), "{}; {}", value_ ? from_ : r.quoted(key), allowed);
  }

 private:
  std::optional<double> value_;
  std::string from_;
};

std::string rope_type(const ConfigReader& r) {
  std::string type = r.text(r.has("rope_type") ? "rope_type" : "type", "default");
  if (r.has("rope_type") && r.text("type", type) != type) {
    r.refuse("type", fmt::format("but rope_type is {}", type));
  }
  return type;
}

void check_rope_keys(const ConfigReader& r, bool scaled) {
  const std::set<std::string> always{"rope_type", "type", "rope_theta", "partial_rotary_factor"};
  const std::set<std::string> if_scaled{"factor", "low_freq_factor", "high_freq_factor",
                                        "original_max_position_embeddings"};
  for (const std::string& key : r.keys()) {
    if (always.contains(key) || (scaled && if_scaled.contains(key))) continue;
    r.refuse(key, "it is not known for this rope_type");
  }
}

void read_scaling(const ConfigReader& r, GptConfig& c) {
  c.rope_scaling = true;
  c.rope_factor = r.real("factor");
  c.rope_low_frequency = r.real("low_freq_factor");
  c.rope_high_frequency = r.real("high_freq_factor");
  constexpr const char* original = "original_max_position_embeddings";
  c.rope_original_positions =
      r.whole(original, 1, std::numeric_limits<int32_t>::max(), c.max_positions);
  if (c.rope_factor < 1) r.refuse("factor", "1 or more is allowed");
  if (!(c.rope_low_frequency > 0)) r.refuse("low_freq_factor", "above 0 is allowed");
  if (!(c.rope_high_frequency > c.rope_low_frequency)) {
    r.refuse("high_freq_factor",
             fmt::format("above low_freq_factor, {}, is allowed", c.rope_low_frequency));
  }
}

void read_rope_object(const ConfigReader& r, GptConfig& c) {
  const std::string type = rope_type(r);
  if (type != "default" && type != "llama3") {
    r.refuse(r.has("rope_type") ? "rope_type" : "type",
             "default and llama3 alone are computed here");
  }
  check_rope_keys(r, type == "llama3");
  if (type == "llama3") read_scaling(r, c);
}

struct RopeNames {
  std::string theta, percent;  // percent: or empty
  double absent_percent;
};

// Checks it, and makes it exact where theirs is cut to a whole number of channels.
void settle_percent(const ConfigReader& r, GptConfig& c, const RopeNames& names,
                    const Agreed& percent) {
  const std::string key = names.percent.empty() ? "partial_rotary_factor" : names.percent;
  if (names.percent.empty() && c.rotary_percent != 1) {
    percent.refuse(r, key, "all channels of a head (1) alone are rotated by this architecture");
  }
  if (!(c.rotary_percent > 0 && c.rotary_percent <= 1)) {
    percent.refuse(r, key, "above 0 and up to 1 is allowed");
  }
  const int64_t channels = c.completed().head_dim;
  const double asked = static_cast<double>(channels) * c.rotary_percent;
  const auto rotated = static_cast<int64_t>(asked);  // as theirs
  if (rotated < 2 || rotated % 2 != 0) {
    percent.refuse(r, key,
                   fmt::format("so {} of a head's {} channels are rotated; an even number "
                               "is allowed",
                               rotated, channels));
  }
  if (asked - static_cast<double>(rotated) < 1e-9 * asked) return;
  c.rotary_percent = rotary_percent_of(rotated, channels);
  r.remark(fmt::format("{}: {}, so {} of a head's {} channels are rotated: --rotary-percent {}",
                       r.origin(), percent.text(), rotated, channels, c.rotary_percent));
}

void read_rope(const ConfigReader& r, GptConfig& c, const RopeNames& names) {
  Agreed theta, percent;
  std::optional<GptConfig> before;  // as the first object says it
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    if (r.find(key) == nullptr) continue;
    const ConfigReader inside = r.inside(key);
    GptConfig read = c;
    read_rope_object(inside, read);
    if (before && !(read == *before)) {
      r.refuse(key, "but 'rope_parameters' says something else");
    }
    before = read;
    theta.add(inside, "rope_theta");
    percent.add(inside, "partial_rotary_factor");
  }
  if (before) c = *before;
  if (!names.percent.empty()) percent.add(r, names.percent);
  percent.add(r, "partial_rotary_factor");
  theta.add(r, names.theta);
  theta.add(r, "rope_theta");
  c.rotary_base = theta.value_or(10000);
  c.rotary_percent = percent.value_or(names.absent_percent);
  if (!(c.rotary_base > 1)) theta.refuse(r, names.theta, "above 1 is allowed");
  settle_percent(r, c, names, percent);
}

double percent_of(const GptConfig& c) {
  const double asked = static_cast<double>(c.head_dim) * c.rotary_percent;
  if (static_cast<int64_t>(asked) == c.rotary_dim()) return c.rotary_percent;
  return rotary_percent_of(c.rotary_dim(), c.head_dim);
}

Json scaling_of(const GptConfig& c) {
  if (!c.rope_scaling) return {};
  return {{"rope_type", "llama3"},
          {"factor", c.rope_factor},
          {"low_freq_factor", c.rope_low_frequency},
          {"high_freq_factor", c.rope_high_frequency},
          {"original_max_position_embeddings", c.rope_original_positions}};
}

}  // namespace

ConfigKeys rope_keys(const std::string& theta, const std::string& percent, double absent_percent) {
  const RopeNames names{theta, percent, absent_percent};
  ConfigKeys keys{{theta, Says::computation,
                   [names](const ConfigReader& r, GptConfig& c) { read_rope(r, c, names); },
                   [](const GptConfig& c) { return Json(c.rotary_base); }},
                  {"rope_scaling", Says::computation, {}, scaling_of},
                  read_elsewhere("rope_parameters"),
                  read_elsewhere("partial_rotary_factor")};
  if (theta != "rope_theta") keys.push_back(read_elsewhere("rope_theta"));
  if (!percent.empty()) {
    keys.push_back(
        {percent, Says::computation, {}, [](const GptConfig& c) { return Json(percent_of(c)); }});
  }
  return keys;
}

}  // namespace switchyard
