#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "optim/saved_state.h"

namespace switchyard {

// An average of the weights behind steps, as it is asked for.
struct AverageSpec {
  enum class Kind : uint8_t { ema, lawa, swa, running };
  std::string name;
  Kind kind = Kind::ema;
  int64_t every = 1;  // the weights behind multiples of this step are taken
  double beta = 0;    // ema: of the mean before; the new weights count 1 - beta
  int64_t k = 0;      // lawa: the mean of so many latest
  int64_t from = 0;   // swa: the first step that may be taken
  friend bool operator==(const AverageSpec&, const AverageSpec&) = default;
};
std::string_view name_of(AverageSpec::Kind kind);

// How far it is.
struct AverageRecord {
  AverageSpec spec;
  int64_t since = 0;                  // it takes steps behind this one
  int64_t count = 0;                  // taken so far
  std::vector<int64_t> members = {};  // lawa: the latest steps taken, ascending
  bool takes(int64_t step) const;
};

// Averages of the fp32 master weights on the optimizer's shards, never fed back. In fp32 but for a
// running mean, which is a sum in fp64, so that the mean over any window follows from two of them.
//   ema      m = w at the first step taken, then m += (1 - beta) (w - m)
//   lawa     uniform mean of the k latest, or of as many as there are (arXiv 2306.03241): summed in
//            fp64 by ascending steps and rounded once, as `average` does
//   swa      m += (w - m) / n at the nth step taken
//   running  sum / n
class Averages {
 public:
  // `state` gives the weights; it and the buffers must outlive this object. In the memory of
  // `where`: in the host's, weights on a GPU are waited for and copied at steps that are taken, and
  // the CPU computes.
  Averages(std::vector<AverageRecord> records, const SavedState& state, const FlatBuffers& buffers,
           Device where);
  // With a copy of the raw weights where they are the master; on the host of a GPU not this, but
  // what is copied.
  static int64_t bytes_needed(std::span<const AverageRecord> records, DType weights,
                              int64_t shard_elements);

  // The update of `step` has been queued, and its weights are not being exchanged: queues what the
  // averages that take the step need.
  void take(int64_t step);
  bool empty() const { return held_.empty(); }
  size_t size() const { return held_.size(); }
  const AverageRecord& record(size_t i) const { return held_[i].record; }
  bool has_value(size_t i) const { return record(i).count > 0; }

  // Queues what brings the mean into this rank's shard of the weights, and the raw weights back
  // with the same bits. In between nothing may use the optimizer.
  void show(size_t i);
  void restore();

  // The mean of each average that has a value and what it goes on from, by group: "average/NAME",
  // of a running mean "average/NAME/sum", of a lawa "average/NAME/member-STEP" unless `left_out`.
  // Memory is at rest when tensors are read.
  std::vector<ShardedTensor> to_save(std::span<const int64_t> left_out);
  // What has to be read of a checkpoint for averages to go on as their records say.
  std::vector<ShardedTensor> to_load(std::span<const int64_t> left_out);
  // Where the master weights of a step that was left out have to be read to.
  std::vector<ShardedTensor> member_from_master(int64_t step);

 private:
  struct Held {
    AverageRecord record;
    Tensor mean;        // f32 [shard]
    Tensor ring;        // lawa: f32 [k, shard]
    Tensor sum;         // running: f64 [shard]
    int64_t first = 0;  // lawa: the row of its oldest member
  };
  bool apart() const;  // on the host of a GPU
  ops::Context context();
  Tensor arrived(const ShardRun& run);  // the master weights, where the averages are
  void take(Held& held, const ShardRun& run, const Tensor& weights);
  void settle(Held& held);  // the mean is that of the members or the sum
  Tensor row(const Held& held, size_t member) const;
  void add(std::vector<ShardedTensor>& all, const std::string& group, const Tensor& shard,
           StateUse use) const;
  std::vector<ShardedTensor> sources(std::span<const int64_t> left_out, StateUse use) const;

  const SavedState& state_;
  Arena arena_;
  std::vector<Held> held_;
  Device weights_device_;
  Stream host_;
  Scratch host_scratch_;
  Tensor staged_;   // apart: f32 [shard], weights on their way from the GPU
  Tensor rounded_;  // apart: [shard] in the weights' type, a mean on its way to the GPU
  Tensor kept_;     // f32 [shard]: the raw weights while a mean is shown, where they are the master
};

}  // namespace switchyard
