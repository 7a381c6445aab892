#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <unordered_set>
#include <utility>
#include <vector>

#include "parallel/checkpoint/box.h"
#include "parallel/checkpoint/common_runs.h"
#include "parallel/checkpoint/index.h"
#include "parallel/checkpoint/read_jobs.h"
#include "parallel/checkpoint/shared_plan.h"
#include "parallel/checkpoint/shared_windows.h"
#include "parallel/comm/control_plane.h"

namespace switchyard {

// Pieces of a checkpoint that ranks of one machine read together: each byte comes off the disk
// once, past the system's cache, into memory of all of them, where each finds its strips.
class SharedReads {
 public:
  // Collective over ranks of one machine, which read the same checkpoint; a rank that reads nothing
  // gives no jobs. Null on all of them: there is nothing worth it, or no such memory.
  static std::unique_ptr<SharedReads> join(ControlPlane& node, const CheckpointIndex& index,
                                           std::span<const ReadJob> jobs);
  SharedReads(SharedPlan plan, SharedPages pages, int rank, const CheckpointIndex& index,
              std::span<const ReadJob> jobs);
  // What opens a shard of the index.
  using Open = std::function<std::shared_ptr<const ReadableFile>(int shard)>;

  bool has(const StoredPiece& piece) const { return pieces_.contains(&piece); }
  // As read_common(), of a piece that it has. `view` is the thread's.
  int64_t read(const StoredPiece& piece, int64_t element_bytes, const Box& wanted, void* out,
               const Open& open, FileView& view, const Seen& seen);

 private:
  // Calls use(number, from, to) for windows with bytes of the runs: [from, to) of them are of the
  // piece, counted from where it begins.
  template <class Use>
  void for_windows(const StoredPiece& piece, int64_t piece_bytes, const CommonRuns& runs,
                   const Use& use) const;
  std::vector<int32_t> own_visits(std::span<const ReadJob> jobs) const;

  const SharedPlan plan_;
  std::map<std::pair<int, int64_t>, size_t> numbers_;  // by shard and window_bytes in its file
  std::unordered_set<const StoredPiece*> pieces_;
  std::unique_ptr<SharedWindows> windows_;
};

}  // namespace switchyard
