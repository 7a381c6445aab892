#include <numeric>

#include <fmt/ranges.h>

#include "core/error.h"
#include "model/gpt_stage.h"

namespace switchyard {

namespace {

constexpr const char* where = "model layout";

void check_divides(int parts, const char* axis, int64_t total, const std::string& what) {
  check(total % parts == 0, where, "{} is {} and {} is {}; {} must divide it", what, total, axis,
        parts, axis);
}

void check_tensor_parallel(const GptConfig& c, int tp, const GptStage::Options& options) {
  check_divides(tp, "tp", c.heads, "the number of heads");
  check(
      c.query_groups % tp == 0 || tp % c.query_groups == 0, where,
      "the number of query groups is {} and tp is {}; --tp must divide --num-query-groups or be a "
      "multiple of it",
      c.query_groups, tp);
  check_divides(tp, "tp", c.ffn_hidden, "ffn_hidden");
  check_divides(tp, "tp", c.padded_vocabulary(),
                fmt::format("the vocabulary {} padded to a multiple of 128", c.vocabulary));
  check_divides(tp, "tp", options.micro_batch * options.sequence_length,
                "the rows of a microbatch (micro-batch size times sequence length)");
}

void check_stages(const GptConfig& c, int pp, const std::vector<int>& stages) {
  check(c.layers >= pp, where,
        "pp is {} and the model has {} layers; every stage needs at least one layer", pp, c.layers);
  if (stages.empty()) return;
  check(static_cast<int>(stages.size()) == pp, where,
        "layers of {} stages were given ({}); pp is {}", stages.size(), fmt::join(stages, ", "),
        pp);
  for (const int layers : stages) {
    check(layers >= 1, where, "layers of stages are {}; each must be 1 or more",
          fmt::join(stages, ", "));
  }
  const int64_t sum = std::accumulate(stages.begin(), stages.end(), int64_t{0});
  check(sum == c.layers, where, "layers of stages are {}, together {}; the model has {} layers",
        fmt::join(stages, ", "), sum, c.layers);
}

void check_microbatch(const GptConfig& c, const GptStage::Options& options) {
  check(options.micro_batch >= 1, where, "the micro-batch size is {}; it must be 1 or more",
        options.micro_batch);
  check(options.sequence_length >= 1, where, "the sequence length is {}; it must be 1 or more",
        options.sequence_length);
  check(c.positions == Positions::rotary || options.sequence_length <= c.max_positions, where,
        "the sequence length is {}; the model has {} learned positions", options.sequence_length,
        c.max_positions);
  check(options.slots >= 1, where, "{} slots were given; 1 or more are needed", options.slots);
  const bool half = options.dtype == DType::f16 && options.device == Device::cuda;
  check(options.dtype == DType::f32 || options.dtype == DType::bf16 || half, where,
        "dtype {} was given; f32 and bf16 are allowed, on cuda f16, too", name_of(options.dtype));
  check(options.head_chunk >= 0, where, "a head chunk of {} rows was given; 0 (all) or more",
        options.head_chunk);
  check(options.exchange_chunks >= 1, where, "exchanges in {} chunks were asked for; 1 or more",
        options.exchange_chunks);
}

}  // namespace

void GptStage::check_layout(const GptConfig& config, const Layout& layout, const Options& options) {
  config.validate();
  const GptConfig complete = config.completed();
  check(layout.tp >= 1 && layout.dp >= 1 && layout.pp >= 1 && layout.cp == 1, where,
        "the layout is {} with cp {}; tp, pp and dp are 1 or more, cp is 1", layout.to_string(),
        layout.cp);
  check_microbatch(complete, options);
  check_tensor_parallel(complete, layout.tp, options);
  check_stages(complete, layout.pp, options.layers_of_stages);
}

}  // namespace switchyard
