#pragma once

#include <functional>
#include <vector>

#include "core/device.h"
#include "parallel/comm/communicator.h"
#include "parallel/row_chunks.h"

namespace switchyard {

// Sequence parallelism (Korthikanti et al., "Reducing activation recomputation in large transformer
// models", 2022): between products each tp rank holds an equal part of the rows, in order of the
// ranks. With one rank the own rows are all rows, and nothing is copied.
//
// The exchanges beside products may run in chunks, so that one chunk's product is computed while
// another's rows travel. Chunk j is the same part of every rank's own rows. The rows of all ranks
// are not consecutive in a chunk: its product runs once for each rank's part. Every element of a
// product and of a sum over the ranks is what it is without chunks, as far as the matrix product
// and the group compute an element alike whatever the number of rows.
class RowExchange {
 public:
  // At most so many chunks; 1: products and exchanges one behind the other.
  RowExchange(Communicator& group, Stream& stream, int64_t chunks = 1)
      : group_(group), stream_(stream), chunks_(chunks) {}

  // Rows on their way.
  class Gathering {
   public:
    const Tensor& rows();  // all of them; waits for them
    // product(part, where): ranges of the rows, which cover all of them once, each when it has
    // come.
    void for_each_part(const std::function<void(const Tensor& part, RowRange where)>& product);

   private:
    friend class RowExchange;
    struct Part {
      RowRange rows;
      Handle handle;
    };
    Gathering(const Tensor& all, Stream& stream) : all_(all), stream_(stream) {}
    Tensor all_;
    Stream& stream_;
    std::vector<Part> parts_;
  };

  // own [own_rows, n] of every rank into all [rows, n]; with one rank rows() is `own` itself.
  Gathering gather(const Tensor& own, const Tensor& all, Label label);
  // The same for the rows that a product reads: in chunks.
  Gathering gather_for_product(const Tensor& own, const Tensor& all, Label label);

  // Where a product writes whose sum over the ranks belongs into `own`.
  const Tensor& partial(const Tensor& own, const Tensor& all) const {
    return group_.size() == 1 ? own : all;
  }
  // Sums what partial() gave over the ranks into each rank's own rows.
  void reduce_scatter(const Tensor& partial_sums, const Tensor& own, Label label);
  // Sums a product over the ranks into each rank's own rows, in chunks. product(rows, to) writes
  // this rank's share of the sums of these rows to `to` [rows.count(), n], for ranges that cover
  // all rows once. `all` [rows, n] is a buffer for more than one rank.
  void reduce_scatter_product(const Tensor& own, const Tensor& all, Label label,
                              const std::function<void(RowRange, const Tensor& to)>& product);

  // How for_each_part and reduce_scatter_product divide a product of all rows: so many parts of
  // such a length.
  struct Parts {
    int64_t rows = 0, count = 0;
  };
  static std::vector<Parts> parts_of_product(int64_t own_rows, int64_t ranks, int64_t chunks);

  int ranks() const { return group_.size(); }
  int rank() const { return group_.rank(); }
  Communicator& group() { return group_; }

 private:
  Communicator& group_;
  Stream& stream_;
  int64_t chunks_;
};

}  // namespace switchyard
