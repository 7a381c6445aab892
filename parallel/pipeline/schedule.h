#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace switchyard {

// What a pipeline rank does next. A schedule is a list of these for each rank; the executor knows
// actions only, no schedule.
enum class ActionKind : uint8_t {
  receive_forward,  // activations from the stage before
  forward,
  send_forward,
  receive_backward,  // gradients from the stage behind
  backward,          // backward_input and backward_weight together
  backward_input,
  backward_weight,
  send_backward,
};

struct Action {
  ActionKind kind;
  int chunk = 0;       // which of this rank's chunks of layers
  int microbatch = 0;  // numbered 0 ... microbatches - 1 in each data-parallel rank
  friend bool operator==(const Action&, const Action&) = default;
};

// One forward, one backward (Narayanan et al., "Efficient large-scale language model training on
// GPU clusters", 2021, section 2.2; PipeDream-Flush): rank r warms up with
// min(microbatches, stages - 1 - r) forwards, then alternates, so that at most
// min(microbatches, stages - r) activations live. Neighbours agree on one order of all exchanges
// between them, so that even blocking sends cannot hang. Throws Error for stages or microbatches
// below 1.
std::vector<Action> schedule_1f1b(int stages, int microbatches, int rank);
// Only forwards, for evaluation.
std::vector<Action> schedule_forward_only(int stages, int microbatches, int rank);

std::string to_string(const Action& action);

// Divides `layers` among stages so that the dearest stage is as cheap as can be; costs are in
// units of one layer: `before` on the first stage (embedding), `after` on the last (head). Returns
// the number of layers of each stage, each at least 1. Throws Error if layers < stages.
std::vector<int> balance_stages(int layers, int stages, double before, double after);

}  // namespace switchyard
