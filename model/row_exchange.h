#pragma once

#include "core/device.h"
#include "parallel/communicator.h"

namespace switchyard {

// Sequence parallelism (Korthikanti et al., "Reducing activation recomputation in large transformer
// models", 2022): between products each tp rank holds an equal part of the rows, in order of the
// ranks. With one rank the own rows are all rows, and nothing is copied.
class RowExchange {
 public:
  RowExchange(Communicator& group, Stream& stream) : group_(group), stream_(stream) {}

  // Rows on their way into `all`; rows() waits for them.
  class Gathering {
   public:
    Gathering(Tensor all, Handle handle, Stream& stream)
        : all_(all), handle_(std::move(handle)), stream_(stream) {}
    const Tensor& rows() {
      handle_.wait(stream_);
      return all_;
    }

   private:
    Tensor all_;
    Handle handle_;
    Stream& stream_;
  };

  // own [own_rows, n] of every rank into all [rows, n]; with one rank rows() is `own` itself.
  Gathering gather(const Tensor& own, const Tensor& all, Label label) {
    if (group_.size() == 1) return {own, {}, stream_};
    return {all, group_.all_gather(own, all, stream_, label), stream_};
  }

  // Where a product writes whose sum over the ranks belongs into `own`.
  const Tensor& partial(const Tensor& own, const Tensor& all) const {
    return group_.size() == 1 ? own : all;
  }

  // Sums what partial() gave over the ranks into each rank's own rows.
  void reduce_scatter(const Tensor& partial_sums, const Tensor& own, Label label) {
    if (group_.size() == 1) return;
    group_.reduce_scatter(partial_sums, own, ReduceOp::sum, stream_, label).wait(stream_);
  }

  int ranks() const { return group_.size(); }
  int rank() const { return group_.rank(); }
  Communicator& group() { return group_; }

 private:
  Communicator& group_;
  Stream& stream_;
};

}  // namespace switchyard
