#pragma once

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <future>
#include <optional>

#include "launch/engine/engine.h"
#include "launch/path/options.h"
#include "launch/path/retention.h"
#include "launch/path/run_folder.h"
#include "launch/path/specification.h"
#include "parallel/checkpoint/checkpoint.h"
#include "parallel/mesh.h"

namespace switchyard {

struct SavingOptions {
  bool async = true;            // written while training goes on
  std::optional<double> gib{};  // of a rank's staging memory; none: staging_limit says it
  std::optional<std::filesystem::path> events{};  // where TensorBoard's files lie
};
SavingOptions saving_options(const Settings& settings);  // without a run's events
SavingOptions saving_options(const RunFolder& run, const Settings& settings);

// Mesh::file_sharing as --save-writers-per-node asks for it, null without. Collective.
std::unique_ptr<ControlPlane> share_files(const Settings& run, const Mesh& mesh);
// Throws Error where it cannot be had; places of ranks are known.
void check_file_sharing(const Settings& run, int rank);

// Bytes that a rank may copy where no option says it: a quarter of the node's free memory, shared
// among its ranks.
int64_t staging_limit(int64_t free_bytes, int ranks_here);

// Saves steps of a path, and deletes those that need not be kept any more.
class Saver {
 public:
  // What is referred to must outlive it.
  Saver(const RunFolder& run, const PathSpecification& path, const Mesh& mesh,
        const RetentionOptions& keep, const SavingOptions& how);
  ~Saver();  // waits
  Saver(const Saver&) = delete;
  Saver& operator=(const Saver&) = delete;

  // Takes the memory for copies of what the engine has now, so that the first save waits no longer
  // than others. Collective; errors are agreed on.
  void prepare(Engine& engine);
  // What the engines of all ranks have behind the step, whose batch has the `loss`: waits for the
  // save before, copies, and returns when the engines may go on; a thread writes the copy.
  // Collective; errors are agreed on, those of the save before as well.
  void save(int64_t step, int64_t samples, double loss, Engine& engine);
  // Waits until all is on disk; throws as save() does. Collective.
  void finish();
  bool busy() const { return writing_.valid(); }  // finish() has something to wait for
  // A save has failed on this rank: finish() throws when the others have written or failed, too.
  bool failed() const { return failed_ || writer_.failed(); }

 private:
  using Clock = std::chrono::steady_clock;
  void retain();
  void stage(const CheckpointInfo& info, const std::vector<ShardedTensor>& state);
  int64_t limit();
  void write(const std::function<void()>& body);
  void commit(int64_t step, Clock::time_point begin, double waited);

  const RunFolder& run_;
  const PathSpecification& path_;
  const Mesh& mesh_;
  Retention retention_;
  bool retained_ = false;  // on rank 0: nothing is left to delete
  SavingOptions how_;
  std::optional<int64_t> limit_;  // settled when the first memory is taken
  bool said_ = false;             // that not all is copied
  CheckpointWriter writer_;
  std::atomic<bool> failed_ = false;
  std::future<void> writing_;  // ends before all that its thread uses
};

}  // namespace switchyard
