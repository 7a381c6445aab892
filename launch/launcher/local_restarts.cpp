#include "launch/launcher/local_restarts.h"

#include <cstdio>

#include "core/error.h"
#include "core/printable.h"
#include "launch/launcher/launched_training.h"
#include "launch/launcher/node_ranks.h"

namespace switchyard {

namespace {

bool may_go_on(const RanksEnd& end) {
  const bool lost = end.code == static_cast<int>(ExitCode::lost_peer) ||
                    end.code == static_cast<int>(ExitCode::timed_out);
  return lost && !end.was_asked;
}

}  // namespace

int run_node(LaunchPlan plan) {
  const auto training = launched_training(plan.words);
  const std::vector<std::string> words = plan.words;
  const TrainedSoFar before = training ? progress_of(training->run) : TrainedSoFar{};
  for (int restart = 1;; ++restart) {
    const RanksEnd end = NodeRanks(plan).run();
    if (!may_go_on(end) || restart > plan.restarts) return end.code;
    std::string goes_on = "starts again";
    if (training) {
      const TrainedSoFar now = progress_of(training->run);
      plan.words = words_to_go_on(words, before, now);
      goes_on = describe_going_on(now, plan.words, LastRanks::ended);
    }
    std::fprintf(stderr, "switchyard: [launch] restart %d of %d behind exit code %d: %s\n", restart,
                 plan.restarts, end.code, printable_lines(goes_on).c_str());
  }
}

}  // namespace switchyard
