#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "data/training_data.h"
#include "launch/engine/engine_options.h"
#include "launch/origin.h"
#include "launch/path/obtain_path.h"
#include "launch/path/replay_plan.h"
#include "launch/path/run_settings.h"
#include "launch/path/starts.h"

namespace switchyard {

// What a start needs beside the path and ranks.
struct Start {
  EngineOptions options;
  std::optional<Origin> origin;
  std::optional<ReplayPlan> replay;  // makes the fork point that is gone on from, first of all
  int64_t step = 0;                  // the last one that is done
  std::unique_ptr<TrainingData> data;
  std::vector<ValidationSource> validation;
  StartRecord record;
  SavedAverages averages;  // of its checkpoint; options.averages are those that it goes on with
};

// Looks up where the path stands, checks what the options given ask for, opens what will be read
// and says where the start goes on from. Nothing where nothing is left to do, which is said, too.
// Collective; errors are agreed on.
std::optional<Start> prepare_start(const RunFolder& run, const ObtainedPath& obtained,
                                   const Settings& given, const Layout& layout,
                                   Communicator& world);

}  // namespace switchyard
