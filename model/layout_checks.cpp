#include <numeric>

#include <fmt/ranges.h>

#include "core/error.h"
#include "model/gpt_stage.h"

namespace switchyard {

namespace {

constexpr const char* where = "model layout";

void check_divides(int tp, int64_t total, const std::string& what) {
  check(total % tp == 0, where, "{} with --tp {}; tp must divide it", what, tp);
}

void check_tensor_parallel(const GptConfig& c, int tp, const GptStage::Options& options) {
  check_divides(tp, c.heads, fmt::format("--num-attention-heads {}", c.heads));
  check(c.query_groups % tp == 0 || tp % c.query_groups == 0, where,
        "--num-query-groups {} with --tp {}; tp must divide them or be a multiple of them",
        c.query_groups, tp);
  const std::string origin = c.origin_of_ffn_hidden();
  check_divides(tp, c.ffn_hidden,
                fmt::format("--ffn-hidden-size {}{}", c.ffn_hidden,
                            origin.empty() ? "" : " (" + origin + ")"));
  check_divides(tp, c.padded_vocabulary(),
                fmt::format("a vocabulary of {} (--vocab-size {}, up to a multiple of 128)",
                            c.padded_vocabulary(), c.vocabulary));
  const int64_t rows = options.micro_batch * options.sequence_length;
  check_divides(tp, rows,
                fmt::format("{} rows (--micro-batch-size {} x --seq-length {})", rows,
                            options.micro_batch, options.sequence_length));
}

void check_stages(const GptConfig& c, int pp, const std::vector<int>& stages) {
  check(c.layers >= pp, where, "--pp {} with --num-layers {}; every stage needs at least one layer",
        pp, c.layers);
  if (stages.empty()) return;
  const std::string given = fmt::format("--pipeline-layers {}", fmt::join(stages, ","));
  check(static_cast<int>(stages.size()) == pp, where, "{} for {} stages; --pp is {}", given,
        stages.size(), pp);
  for (const int layers : stages) {
    check(layers >= 1, where, "{}; each must be 1 or more", given);
  }
  const int64_t sum = std::accumulate(stages.begin(), stages.end(), int64_t{0});
  check(sum == c.layers, where, "{}, together {}; the model has {} layers", given, sum, c.layers);
}

void check_microbatch(const GptConfig& c, const GptStage::Options& options) {
  check(options.micro_batch >= 1, where, "--micro-batch-size {}; 1 or more is allowed",
        options.micro_batch);
  check(options.sequence_length >= 1, where, "--seq-length {}; 1 or more is allowed",
        options.sequence_length);
  check(
      c.positions == Positions::rotary || options.sequence_length <= c.max_positions, where,
      "--seq-length {} with {} learned positions (--max-position-embeddings); at most as many are "
      "allowed",
      options.sequence_length, c.max_positions);
  check(options.slots >= 1, where, "{} slots were given; 1 or more are needed", options.slots);
  const bool half = options.dtype == DType::f16 && options.device == Device::cuda;
  check(options.dtype == DType::f32 || options.dtype == DType::bf16 || half, where,
        "dtype {} was given; f32 and bf16 are allowed, on cuda f16, too", name_of(options.dtype));
  check(options.head_chunk >= 0, where, "--head-chunk-size {}; 0 (all rows) or more is allowed",
        options.head_chunk);
  check(options.exchange_chunks >= 1, where, "--tp-comm-chunks {}; 1 or more is allowed",
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
