#include "parallel/checkpoint/file_view.h"

#include <algorithm>
#include <new>

#include "core/error.h"
#include "parallel/checkpoint/direct_file.h"

namespace switchyard {

const std::byte* FileView::at(const ReadableFile& file, int64_t begin, int64_t end, ReadWay way) {
  if (!memory_) memory_.emplace();
  if (!*memory_) throw std::bad_alloc();  // it says nothing of the checkpoint
  const int64_t block = DirectFile::block_bytes();
  const int64_t from = begin / block * block;
  const int64_t to = std::min(file.bytes(), DirectFile::blocks_up_to(end));
  file.read(from, std::max(end, to) - from, memory_->get(), way);
  return memory_->get() + (begin - from);
}

}  // namespace switchyard
