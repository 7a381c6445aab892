#include <algorithm>
#include <set>

#include "core/error.h"
#include "parallel/checkpoint/index.h"

namespace switchyard {

namespace {

std::string to_string(const Box& box) {
  return fmt::format("{} at {}", box.extent.to_string(), box.offset.to_string());
}

int64_t end_of(const Box& box, int axis) { return box.offset[axis] + box.extent[axis]; }

bool overlap(const Box& a, const Box& b) {
  for (int i = 0; i < a.extent.rank(); ++i) {
    if (end_of(a, i) <= b.offset[i] || end_of(b, i) <= a.offset[i]) return false;
  }
  return true;
}

// Boxes that lie inside, do not overlap and have as many elements as the tensor cover it. Sorted by
// their first row, a box is compared only with those that begin before it ends.
void check_covered(const StoredTensor& tensor, const std::vector<StoredPiece>& pieces) {
  std::vector<const Box*> boxes;
  int64_t elements = 0;
  for (const StoredPiece& piece : pieces) {
    check_box(tensor, piece.box);
    elements += piece.box.extent.elements();
    if (!piece.box.empty()) boxes.push_back(&piece.box);
  }
  std::ranges::sort(boxes, {}, [](const Box* box) { return box->offset[0]; });
  for (size_t i = 0; i < boxes.size(); ++i) {
    for (size_t j = i + 1; j < boxes.size() && boxes[j]->offset[0] < end_of(*boxes[i], 0); ++j) {
      check(!overlap(*boxes[i], *boxes[j]), "checkpoint",
            "{}: the boxes {} and {} overlap; each element is stored once", tensor.name,
            to_string(*boxes[i]), to_string(*boxes[j]));
    }
  }
  check(elements == tensor.shape.elements(), "checkpoint",
        "{}: the boxes of all ranks hold {} of the {} elements of {}; all must be stored",
        tensor.name, elements, tensor.shape.elements(), tensor.shape.to_string());
}

// HDF5 reads a name as a path of groups: no name may continue another.
void check_names(const CheckpointIndex& index) {
  std::set<std::string> names;
  const auto add = [&](const std::string& name) {
    check_tensor_name(name);
    check(names.insert(name).second, "checkpoint", "two tensors are named {}", name);
  };
  for (const IndexedTensor& entry : index.tensors) {
    add(entry.tensor.name);
    for (const std::string& alias : entry.aliases) add(alias);
  }
  for (const std::string& name : names) {
    const auto next = names.lower_bound(name + "/");
    if (next == names.end() || !next->starts_with(name + "/")) continue;
    fail("checkpoint", "tensor {} would lie inside tensor {}; a name is a tensor or a group", *next,
         name);
  }
}

}  // namespace

void check_box(const StoredTensor& tensor, const Box& box) {
  const int rank = tensor.shape.rank();
  bool inside = box.offset.rank() == rank && box.extent.rank() == rank;
  for (int i = 0; inside && i < rank; ++i) inside = end_of(box, i) <= tensor.shape[i];
  check(inside, "checkpoint", "{} has the shape {}; the box {} reaches outside", tensor.name,
        tensor.shape.to_string(), to_string(box));
}

void check_tensor(const StoredTensor& tensor) {
  check_tensor_name(tensor.name);
  check(tensor.shape.rank() > 0, "checkpoint",
        "{} has no axes; tensors with 1 to {} axes can be stored", tensor.name, Shape::max_rank);
}

void check_tensor_name(const std::string& name) {
  static constexpr const char* allowed =
      "names are paths such as /model/norm.weight, without '#', '%', control characters, empty "
      "components, \".\" and \"..\", and not under /checkpoint";
  bool ok = name.starts_with('/') && !name.ends_with('/');
  ok = ok &&
       std::ranges::none_of(name, [](unsigned char c) { return c < ' ' || c == '#' || c == '%'; });
  const std::string path = name + "/";
  for (const char* refused : {"//", "/./", "/../"})
    ok = ok && path.find(refused) == std::string::npos;
  ok = ok && !path.starts_with(std::string(own_group) + "/");
  check(ok, "checkpoint", "a tensor is named \"{}\"; {}", name, allowed);
}

void check_index(const CheckpointIndex& index) {
  check_names(index);
  for (const IndexedTensor& entry : index.tensors) {
    check_tensor(entry.tensor);
    check_covered(entry.tensor, entry.pieces);
  }
}

}  // namespace switchyard
