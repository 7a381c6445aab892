#pragma once

#include <memory>
#include <span>

#include "core/ops/context.h"
#include "model/config.h"
#include "parallel/parameter.h"

namespace switchyard {

// Incremental inference on one rank with cached keys and values.
class Generator {
 public:
  // parameters: those of a GptStage with layout 1x1x1, weights bound and loaded.
  Generator(const GptConfig& config, std::span<const Parameter> parameters, int64_t context_length,
            ops::Context context);
  ~Generator();
  void reset();
  int64_t length() const;  // tokens in the cache
  int64_t context_length() const;
  // Appends tokens and returns the logits [vocabulary] (true size) behind the last of them; throws
  // Error when the context is full.
  std::span<const float> feed(std::span<const int32_t> tokens);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

struct SamplingOptions {
  double temperature = 1.0;  // 0: the likeliest
  int64_t top_k = 0;         // 0: all
  double top_p = 1.0;
  uint64_t seed = 1234;
};
void check_sampling(const SamplingOptions& options);  // throws Error for one out of range
// Picks a token; the random number is keyed by (seed, position). Throws Error for options out of
// range and for logits that are not finite.
int32_t sample_token(std::span<const float> logits, const SamplingOptions& options,
                     int64_t position);

}  // namespace switchyard
