#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace switchyard {

// A box of a global tensor: where it begins and how far it reaches on each axis.
struct Box {
  Shape offset;
  Shape extent;
  static Box whole(const Shape& global);
  bool empty() const { return extent.elements() == 0; }
  friend bool operator==(const Box&, const Box&) = default;
};

// A box and its elements, row-major and dense in memory that somebody else owns.
struct Piece {
  Box box;
  void* data = nullptr;
};

// A global tensor and the boxes of it that this rank holds. Checkpoints, averages, converters and
// the optimizer speak only of these. Names are paths, such as
// "/model/layers.12.attention.q.weight" or "/optimizer/exp_avg/...".
struct ShardedTensor {
  std::string name;
  Shape global;
  DType dtype = DType::f32;
  std::vector<Piece> pieces;         // may be empty: this rank stores nothing of it
  std::vector<std::string> aliases;  // further names of the same elements, stored once
  Device device = Device::cpu;       // where the pieces lie
};

// The boxes covered by the elements [begin, end) of the box `part` of a tensor, counted row-major
// within the part: for a matrix at most three (rest of a row, whole rows, start of a row), in order
// of the elements. Parts of 1 or 2 axes.
std::vector<Box> boxes_of_flat_range(const Box& part, int64_t begin, int64_t end);

}  // namespace switchyard
