#include "parallel/checkpoint/read_window.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace switchyard {

namespace {

constexpr int64_t unit = int64_t{64} << 10;
constexpr int64_t most = 2 * unit;  // a short read may lie in two units

}  // namespace

ReadWindow::Part& ReadWindow::part_with(const ReadableFile& file, int64_t begin, int64_t end,
                                        ReadWay way) {
  const auto number = file.number();
  auto known = std::ranges::find(parts_, number, &Part::file);
  if (known != parts_.end() && known->begin <= begin && end <= known->end) return *known;
  if (known == parts_.end())
    known = parts_.begin() + static_cast<ptrdiff_t>(next_++ % parts_.size());
  Part& part = *known;
  part.file = 0;  // until it is read
  if (!part.memory) part.memory.reset(static_cast<std::byte*>(std::aligned_alloc(4096, most)));
  if (part.memory == nullptr) throw std::bad_alloc();  // it says nothing of the checkpoint
  part.begin = begin / unit * unit;
  part.end = std::max(end, std::min(file.bytes(), (end + unit - 1) / unit * unit));
  file.read(part.begin, part.end - part.begin, part.memory.get(), way);
  part.file = number;
  return part;
}

void ReadWindow::read(const ReadableFile& file, int64_t position, int64_t bytes, void* out,
                      ReadWay way) {
  if (bytes >= unit) return file.read(position, bytes, out, way);
  const Part& part = part_with(file, position, position + bytes, way);
  std::memcpy(out, part.memory.get() + (position - part.begin), static_cast<size_t>(bytes));
}

}  // namespace switchyard
