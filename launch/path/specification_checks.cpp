#include "launch/path/specification_checks.h"

#include <fmt/ranges.h>

#include <cmath>

#include "core/error.h"

namespace switchyard {

void check_schedule_options(const Settings& s, const char* decay_meaning) {
  const auto style = decay_style_named(s.text("lr-decay-style"));
  check(style == DecayStyle::constant || s.has("lr-decay-iters"), "path",
        "--lr-decay-style {} without --lr-decay-iters; give {}", name_of(style), decay_meaning);
  check(style != DecayStyle::constant || !s.has("lr-decay-iters"), "path",
        "--lr-decay-iters {} with --lr-decay-style constant; it is for cosine, linear and 1-sqrt",
        s.has("lr-decay-iters") ? s.text("lr-decay-iters") : "");
}

void check_numbers(const Settings& s) {
  const auto at_least = [&](const char* name, double least) {
    check(s.real(name) >= least, "path", "--{} {}; at least {} is allowed", name, s.text(name),
          least);
  };
  constexpr int64_t most = int64_t{1} << 31;
  for (const char* name : {"seq-length", "global-batch-size"}) {
    check(s.integer(name) >= 1 && s.integer(name) <= most, "path", "--{} {}; 1 to {} is allowed",
          name, s.text(name), most);
  }
  for (const char* name :
       {"lr", "min-lr", "lr-warmup-iters", "weight-decay", "clip-grad", "seed"}) {
    at_least(name, 0);
  }
  for (const char* name : {"adam-beta1", "adam-beta2"}) {
    const auto beta = static_cast<float>(s.real(name));
    check(beta >= 0 && beta < 1, "path", "--{} {}; 0 <= beta < 1 (in fp32) is allowed", name,
          s.text(name));
  }
  const auto epsilon = static_cast<float>(s.real("adam-eps"));
  check(epsilon > 0 && std::isfinite(epsilon), "path",
        "--adam-eps {}; a positive number (in fp32) is allowed", s.text("adam-eps"));
}

const char* precision_name(DType dtype) {
  if (dtype == DType::f16) return "fp16";
  return dtype == DType::bf16 ? "bf16" : "fp32";
}

void check_precision(const Settings& s) {
  check(!(s.flag("bf16") && s.flag("fp16")), "path",
        "--bf16 and --fp16 together; one of them is allowed");
  if (!s.flag("fp16")) return;
  const double initial = s.real("initial-loss-scale"), least = s.real("min-loss-scale");
  check(least > 0 && initial >= least && initial <= 0x1p100, "path",
        "--initial-loss-scale {} --min-loss-scale {}; 0 < min <= initial <= 2^100 is allowed",
        s.text("initial-loss-scale"), s.text("min-loss-scale"));
  for (const char* name : {"loss-scale-window", "hysteresis"}) {
    check(s.integer(name) >= 1, "path", "--{} {}; at least 1 is allowed", name, s.text(name));
  }
}

void check_positions(const PathSpecification& path) {
  const auto& m = path.model;
  check(m.positions == Positions::rotary || path.sequence_length() <= m.max_positions, "path",
        "--seq-length {} with {} learned positions; at most as many are allowed",
        path.sequence_length(), m.max_positions);
}

bool is_same_setting(const std::string& name, const Settings& path, const Settings& given) {
  if (!path.has(name)) return false;
  if (name != "norm-epsilon") return path.list(name) == given.list(name);
  return static_cast<float>(path.real(name)) == static_cast<float>(given.real(name));
}

namespace {

std::string quoted(const std::string& word) {
  if (!word.empty() && word.find_first_of(" \t'\"\\#$&;()") == std::string::npos) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

}  // namespace

std::string show(const std::vector<std::string>& values) {
  std::vector<std::string> words;
  words.reserve(values.size());
  for (const auto& value : values) words.push_back(quoted(value));
  return fmt::format("{}", fmt::join(words, " "));
}

}  // namespace switchyard
