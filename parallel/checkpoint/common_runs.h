#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "core/sharded_tensor.h"

namespace switchyard {

// What two boxes of one tensor have in common; empty() when nothing.
Box intersection(const Box& a, const Box& b);

// Runs of equal length at a stride in the file, which go to memory at another stride.
struct EvenRuns {
  int64_t count = 1;
  int64_t bytes = 0;
  int64_t file_stride = 0;
  int64_t out_stride = 0;
};

// What a stored box has in common with a wanted one, as runs of bytes that lie in one piece on both
// sides: groups of even runs, in the order of the file. Bytes count from where the boxes begin.
class CommonRuns {
 public:
  CommonRuns(const Box& stored, const Box& wanted, int64_t element_bytes);

  struct Place {
    int64_t in_file = 0, in_memory = 0;
  };
  int64_t elements() const { return elements_; }
  const EvenRuns& even() const { return runs_; }
  int64_t groups() const { return elements_ == 0 ? 0 : outer_.elements(); }
  Place begin_of(int64_t group) const;

  // Bytes of the file between the first run and the last one; both 0 where nothing is common.
  int64_t begin() const;
  int64_t end() const;
  // Whether any run has bytes among [from, to) of the file.
  bool touches(int64_t from, int64_t to) const;
  // Copies what the runs have among them; `bytes` lie there. out: the wanted box.
  void copy(int64_t from, int64_t to, const std::byte* bytes, void* out) const;

 private:
  using Strides = std::array<int64_t, Shape::max_rank>;

  Place place_of(int64_t run) const;
  int64_t first_behind(int64_t byte) const;  // the first run that ends behind it

  int64_t elements_ = 0;
  Shape outer_;
  Strides in_file_{}, in_memory_{};
  Place first_;
  EvenRuns runs_;
};

}  // namespace switchyard
