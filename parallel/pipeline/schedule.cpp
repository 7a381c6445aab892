#include "parallel/pipeline/schedule.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include "core/error.h"

namespace switchyard {

namespace {

void check_place(std::string_view where, int stages, int microbatches, int rank) {
  check(stages >= 1, where, "{} stages; at least 1 is needed", stages);
  check(microbatches >= 1, where, "{} microbatches; at least 1 is needed", microbatches);
  check(rank >= 0 && rank < stages, where, "rank {} of {} stages; 0 ... {} are allowed", rank,
        stages, stages - 1);
}

// Appends actions and leaves out exchanges that a first or last stage does not have.
class Builder {
 public:
  Builder(int stages, int rank) : first_(rank == 0), last_(rank == stages - 1) {}

  void receive_forward(int m) { add_unless(first_, ActionKind::receive_forward, m); }
  void forward(int m) {
    add_unless(false, ActionKind::forward, m);
    add_unless(last_, ActionKind::send_forward, m);
  }
  void backward(int m) {
    add_unless(last_, ActionKind::receive_backward, m);
    add_unless(false, ActionKind::backward, m);
  }
  void send_backward(int m) { add_unless(first_, ActionKind::send_backward, m); }
  std::vector<Action> take() { return std::move(actions_); }

 private:
  void add_unless(bool absent, ActionKind kind, int microbatch) {
    if (!absent) actions_.push_back({.kind = kind, .chunk = 0, .microbatch = microbatch});
  }

  bool first_, last_;
  std::vector<Action> actions_;
};

}  // namespace

// A stage sends forward(i) and then receives backward(j); so the stage behind it receives
// forward(i) before it sends backward(j). Every pair of neighbours thus agrees on one order of all
// their exchanges, and nothing hangs even where a send blocks until it is received.
std::vector<Action> schedule_1f1b(int stages, int microbatches, int rank) {
  check_place("schedule_1f1b", stages, microbatches, rank);
  const int warmup = std::min(microbatches, stages - 1 - rank);
  Builder list(stages, rank);
  for (int m = 0; m < warmup; ++m) {
    list.receive_forward(m);
    list.forward(m);
  }
  if (warmup < microbatches) list.receive_forward(warmup);
  for (int m = warmup; m < microbatches; ++m) {
    list.forward(m);
    list.backward(m - warmup);
    if (m + 1 < microbatches) list.receive_forward(m + 1);
    list.send_backward(m - warmup);
  }
  for (int m = microbatches - warmup; m < microbatches; ++m) {
    list.backward(m);
    list.send_backward(m);
  }
  return list.take();
}

std::vector<Action> schedule_forward_only(int stages, int microbatches, int rank) {
  check_place("schedule_forward_only", stages, microbatches, rank);
  Builder list(stages, rank);
  for (int m = 0; m < microbatches; ++m) {
    list.receive_forward(m);
    list.forward(m);
  }
  return list.take();
}

std::string to_string(const Action& action) {
  constexpr const char* names[] = {"receive_forward",  "forward",      "send_forward",
                                   "receive_backward", "backward",     "backward_input",
                                   "backward_weight",  "send_backward"};
  return fmt::format("{}(chunk {}, microbatch {})", names[static_cast<size_t>(action.kind)],
                     action.chunk, action.microbatch);
}

// Each further layer goes where the stage's new cost is the least, which is optimal because the
// cost of a stage depends on its own number of layers alone. Among equals a later stage takes it:
// earlier ones hold the activations of more microbatches.
std::vector<int> balance_stages(int layers, int stages, double before, double after) {
  constexpr std::string_view where = "balance_stages";
  check(stages >= 1, where, "{} stages; at least 1 is needed", stages);
  check(layers >= stages, where, "{} layers for {} stages; each stage needs at least one", layers,
        stages);
  check(std::isfinite(before) && std::isfinite(after) && before >= 0 && after >= 0, where,
        "costs {} before and {} after the layers; both must be finite and at least 0", before,
        after);
  std::vector<int> counts(static_cast<size_t>(stages), 1);
  std::vector<double> extra(counts.size(), 0.0);
  extra.front() += before;
  extra.back() += after;
  for (int spare = layers - stages; spare > 0; --spare) {
    size_t cheapest = counts.size() - 1;
    for (size_t s = counts.size(); s-- > 0;) {
      if (counts[s] + extra[s] < counts[cheapest] + extra[cheapest]) cheapest = s;
    }
    ++counts[cheapest];
  }
  return counts;
}

}  // namespace switchyard
