#include "tests/parallel/checkpoint/checkpoint_cases.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>

#include "core/error.h"
#include "parallel/comm/communicators.h"

namespace switchyard::test {

namespace {

uint64_t mix(uint64_t x) {  // splitmix64
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// Uneven on purpose: the parts grow with the square of the rank, and the first are often empty.
int64_t part_begin(int64_t extent, int ranks, int rank) {
  return extent * rank * rank / (int64_t{ranks} * ranks);
}

Box slice(const Shape& global, int axis, int ranks, int rank) {
  Box box = Box::whole(global);
  box.offset[axis] = part_begin(global[axis], ranks, rank);
  box.extent[axis] = part_begin(global[axis], ranks, rank + 1) - box.offset[axis];
  return box;
}

std::vector<Box> flat(const Box& part, int ranks, int rank) {
  const int64_t elements = part.extent.elements();
  return boxes_of_flat_range(part, part_begin(elements, ranks, rank),
                             part_begin(elements, ranks, rank + 1));
}

std::vector<Box> columns_then_flat(const Shape& global, int ranks, int rank) {
  const int parts = ranks % 2 == 0 ? 2 : 1;
  Box box = Box::whole(global);
  const int axis = global.rank() - 1;
  box.offset[axis] = global[axis] * (rank % parts) / parts;
  box.extent[axis] = global[axis] * (rank % parts + 1) / parts - box.offset[axis];
  return flat(box, ranks / parts, rank / parts);
}

}  // namespace

std::vector<Box> boxes_of(Cut cut, const Shape& global, int ranks, int rank) {
  switch (cut) {
    case Cut::rows:
      return {slice(global, 0, ranks, rank)};
    case Cut::columns:
      return {slice(global, global.rank() - 1, ranks, rank)};
    case Cut::flat:
      return flat(Box::whole(global), ranks, rank);
    case Cut::columns_then_flat:
      return columns_then_flat(global, ranks, rank);
    case Cut::first_rank:
      break;
  }
  if (rank != 0) return {};
  return {Box::whole(global)};
}

std::vector<TensorCase> random_tensors(uint64_t seed, int count) {
  static constexpr DType dtypes[] = {DType::f32, DType::bf16, DType::f64, DType::i64};
  std::mt19937_64 random(seed);
  std::vector<TensorCase> tensors;
  for (int i = 0; i < count; ++i) {
    TensorCase tensor;
    tensor.name = fmt::format("/model/layers.{}.part{}/weight", i / 3, i);
    const auto extent = [&] { return static_cast<int64_t>(1 + random() % 37); };
    tensor.shape = random() % 3 == 0 ? Shape{extent() * 5} : Shape{extent(), extent()};
    tensor.dtype = dtypes[random() % 4];
    tensor.cut = static_cast<Cut>(random() % 5);
    if (random() % 4 == 0) tensor.aliases = {fmt::format("/other/name{}", i)};
    tensors.push_back(tensor);
  }
  return tensors;
}

std::vector<std::byte> expected_bytes(const TensorCase& tensor, const Box& box, uint64_t version) {
  const auto size = static_cast<size_t>(size_of(tensor.dtype));
  const uint64_t seed = mix(std::hash<std::string>{}(tensor.name) ^ mix(version));
  std::vector<std::byte> bytes(static_cast<size_t>(box.extent.elements()) * size);
  for (int64_t i = 0; i < box.extent.elements(); ++i) {
    int64_t rest = i, index = 0, step = 1;
    for (int axis = box.extent.rank() - 1; axis >= 0; --axis) {
      index += (box.offset[axis] + rest % box.extent[axis]) * step;
      rest /= box.extent[axis];
      step *= tensor.shape[axis];
    }
    const uint64_t value = mix(seed + static_cast<uint64_t>(index));
    std::memcpy(bytes.data() + static_cast<size_t>(i) * size, &value, size);
  }
  return bytes;
}

LocalPieces::LocalPieces(const std::vector<TensorCase>& tensors, int ranks, int rank)
    : tensors_(tensors) {
  for (const TensorCase& tensor : tensors) {
    ShardedTensor sharded{tensor.name, tensor.shape, tensor.dtype, {}, tensor.aliases};
    for (const Box& box : boxes_of(tensor.cut, tensor.shape, ranks, rank)) {
      memory_.emplace_back(static_cast<size_t>(box.extent.elements() * size_of(tensor.dtype)));
      sharded.pieces.push_back({box, memory_.back().data()});
    }
    sharded_.push_back(std::move(sharded));
  }
}

void LocalPieces::fill(uint64_t version) {
  for (size_t i = 0; i < tensors_.size(); ++i) {
    for (const Piece& piece : sharded_[i].pieces) {
      const auto bytes = expected_bytes(tensors_[i], piece.box, version);
      std::ranges::copy(bytes, static_cast<std::byte*>(piece.data));
    }
  }
}

std::string LocalPieces::first_difference(uint64_t version) const {
  for (size_t i = 0; i < tensors_.size(); ++i) {
    for (const Piece& piece : sharded_[i].pieces) {
      const auto bytes = expected_bytes(tensors_[i], piece.box, version);
      if (!std::equal(bytes.begin(), bytes.end(), static_cast<const std::byte*>(piece.data)))
        return tensors_[i].name;
    }
  }
  return {};
}

CheckpointInfo info_of_step(int64_t step) {
  CheckpointInfo info;
  info.step = step;
  info.samples = step * 512;
  info.loss = 1.0 / static_cast<double>(step);
  info.documents = {
      {"specification", R"({"seed": 1})"}, {"lineage", std::string(100'000, 'x')}, {"empty", ""}};
  return info;
}

void save(const std::filesystem::path& checkpoints, int64_t step,
          const std::vector<TensorCase>& tensors, int ranks) {
  run_thread_ranks(ranks, {}, [&](Communicator& world) {
    LocalPieces pieces(tensors, world.size(), world.rank());
    pieces.fill(static_cast<uint64_t>(step));
    CheckpointWriter writer(checkpoints, world.control());
    writer.stage(info_of_step(step), pieces.sharded());
    writer.commit();
  });
}

std::string difference(const std::filesystem::path& folder, const std::vector<TensorCase>& tensors,
                       uint64_t version) {
  const CheckpointReader reader(folder);
  for (const TensorCase& tensor : tensors) {
    const Box whole = Box::whole(tensor.shape);
    const auto expected = expected_bytes(tensor, whole, version);
    std::vector<std::byte> got(expected.size());
    reader.read(tensor.name, whole, got.data());
    if (got != expected) return tensor.name;
  }
  return {};
}

std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

void flip_byte(const std::filesystem::path& file, int64_t position) { flip_bit(file, position, 0); }

void flip_bit(const std::filesystem::path& file, int64_t position, int bit) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(position);
  const auto byte = static_cast<char>(stream.get() ^ (1 << bit));
  stream.seekp(position);
  stream.put(byte);
  check(stream.good(), "test", "cannot change byte {} of {}", position, file.string());
}

int64_t find_bytes(const std::filesystem::path& file, const std::vector<std::byte>& bytes) {
  std::ifstream stream(file, std::ios::binary);
  const std::string contents{std::istreambuf_iterator<char>(stream), {}};
  const auto at =
      contents.find(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  return at == std::string::npos ? -1 : static_cast<int64_t>(at);
}

}  // namespace switchyard::test
