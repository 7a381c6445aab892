#pragma once

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "core/files.h"
#include "launch/path/pins.h"
#include "launch/path/retention.h"
#include "launch/path/run_folder.h"
#include "tests/support/temporary_folder.h"

namespace switchyard::test {

inline void save(const RunFolder& run, int64_t step) {
  CheckpointInfo info;
  info.id = random_checkpoint_id();
  info.step = step;
  CheckpointStreamWriter writer(run.checkpoints(), info);
  const float value = static_cast<float>(step);
  for (const char* group : {"model", "optimizer/exp_avg", "optimizer/exp_avg_sq"}) {
    writer.add({fmt::format("/{}/x", group), {1}, DType::f32}, &value);
  }
  writer.finish();
}

inline void retain(const RunFolder& run, const RetentionOptions& options) {
  Retention(run, options).apply();
}

inline std::vector<int64_t> steps_of(const RunFolder& run) {
  std::vector<int64_t> steps;
  for (const auto& entry : list_checkpoints(run.checkpoints())) steps.push_back(entry.step);
  return steps;
}

// A path with the steps 10 to 40, and branches in its folder.
class SavedPath : public testing::Test {
 protected:
  std::filesystem::path make_branch(const std::string& name, int64_t step,
                                    const std::string& id = "id") {
    Settings given;
    for (const auto& [option, value] : {std::pair{"preset", "gpt2-tiny"},
                                        {"seq-length", "16"},
                                        {"global-batch-size", "8"},
                                        {"seed", "1234"}}) {
      given.set_text(option, value);
    }
    PathSpecification path = path_without_data(given);
    path.stages = {{0, {{"set", 1.0, ""}}}};
    path.lineage = {{"..", id, step, 8 * step}};
    RunFolder(folder_.path() / name).write(path);
    return folder_.path() / name;
  }
  void pin(int64_t step, const std::filesystem::path& branch) {
    write_pin(run_.folder(), step, "id", branch);
  }
  void SetUp() override {
    write_file_atomically(folder_.path() / "path.json", "{}");
    for (const int64_t step : {10, 20, 30, 40}) save(run_, step);
  }
  TemporaryFolder folder_;
  RunFolder run_{folder_.path()};
};

}  // namespace switchyard::test
