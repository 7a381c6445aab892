#include "launch/path/specification_checks.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "model/rotary_percent.h"

namespace switchyard {

void check_schedule_options(const Settings& s, const char* decay_meaning) {
  const auto style = decay_style_named(s.text("lr-decay-style"));
  check(style == DecayStyle::constant || s.has("lr-decay-iters"), "path",
        "--lr-decay-style {} without --lr-decay-iters; give {}", name_of(style), decay_meaning);
  check(style != DecayStyle::constant || !s.has("lr-decay-iters"), "path",
        "--lr-decay-iters {} with --lr-decay-style constant; it is for cosine, linear and 1-sqrt",
        s.has("lr-decay-iters") ? s.text("lr-decay-iters") : "");
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
  check(initial >= least && initial <= 0x1p100, "path",
        "--initial-loss-scale {} --min-loss-scale {}; 0 < min <= initial <= 2^100 is allowed",
        s.text("initial-loss-scale"), s.text("min-loss-scale"));
}

void check_rotary_width(const GptConfig& m) {
  if (m.positions != Positions::rotary) return;
  const double asked = static_cast<double>(m.head_dim) * m.rotary_percent;
  const int64_t below = m.rotary_dim(), above = below + 2;
  if (std::abs(asked - static_cast<double>(below)) < 1e-9 * asked) return;
  std::string allowed = canonical_real(rotary_percent_of(below, m.head_dim));
  if (above <= m.head_dim) {
    allowed += fmt::format(" ({} channels) or {}", below,
                           canonical_real(rotary_percent_of(above, m.head_dim)));
  }
  fail(
      "path",
      "--rotary-percent {} of heads of {} channels (--kv-channels, or --hidden-size {} / "
      "--num-attention-heads {}) is {:.6g}, no even whole number; the nearest that are allowed: {} "
      "({} channels)",
      canonical_real(m.rotary_percent), m.head_dim, m.hidden, m.heads, asked, allowed,
      above <= m.head_dim ? above : below);
}

void check_positions(const PathSpecification& path) {
  const auto& m = path.model;
  check(m.positions == Positions::rotary || path.sequence_length() <= m.max_positions, "path",
        "--seq-length {} with {} learned positions; at most as many are allowed",
        path.sequence_length(), m.max_positions);
}

}  // namespace switchyard
