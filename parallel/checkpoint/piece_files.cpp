#include "parallel/checkpoint/piece_files.h"

#include <xxhash.h>

#include <algorithm>
#include <memory>
#include <span>

#include "parallel/checkpoint/checksum.h"

namespace switchyard {

namespace {

// Copying, and forming the checksum, of so much at a time stays within a core's own cache.
constexpr size_t step_bytes = size_t{256} << 10;

using Checksum = std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)>;

Checksum new_checksum() {
  Checksum state(XXH3_createState(), XXH3_freeState);
  check(state && XXH3_64bits_reset(state.get()) == XXH_OK, "checkpoint", "no memory for xxh3");
  return state;
}

}  // namespace

std::string dataset_name(const std::string& tensor, int number) {
  return number == 0 ? tensor : fmt::format("{}#{}", tensor, number);
}

uint64_t write_by_parts(WriteQueue& queue, const PiecePlace& place, const PieceSource& source,
                        int64_t part_bytes) {
  const Checksum checksum = new_checksum();
  const int64_t rows = std::max<int64_t>(1, part_bytes / place.row_bytes);
  int64_t position = place.piece.address;
  for (int64_t begin = 0; begin < place.piece.box.extent[0]; begin += rows) {
    Box part = place.piece.box;
    part.offset[0] += begin;
    part.extent[0] = std::min(rows, place.piece.box.extent[0] - begin);
    const auto bytes = static_cast<size_t>(part.extent[0] * place.row_bytes);
    const void* data =
        while_writing(place.piece.dataset, place.file.path(), [&] { return source(part); });
    std::span rest(static_cast<const std::byte*>(data), bytes);
    while (!rest.empty()) {
      const auto step = rest.first(std::min(step_bytes, rest.size()));
      XXH3_64bits_update(checksum.get(), step.data(), step.size());
      queue.add(place.file, position, step);
      position += static_cast<int64_t>(step.size());
      rest = rest.subspan(step.size());
    }
  }
  return XXH3_64bits_digest(checksum.get());
}

uint64_t write_staying(WriteQueue& queue, const PiecePlace& place, const void* data) {
  const std::span bytes(static_cast<const std::byte*>(data),
                        static_cast<size_t>(place.piece.box.extent[0] * place.row_bytes));
  queue.add_staying(place.file, place.piece.address, bytes);
  return place.piece.checksum != 0 ? place.piece.checksum : checksum_of(bytes);
}

void PieceFiles::write(size_t piece, const void* data) {
  write(
      piece, [=](const Box&) { return data; }, whole);
}

}  // namespace switchyard
