#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "parallel/checkpoint/files.h"
#include "parallel/checkpoint/huge_page.h"

namespace switchyard {

// One thread's look at parts of files, one behind the other in memory that stays in a core's cache.
class FileView {
 public:
  // Of one look; rounded to blocks it still fits into a HugePage.
  static constexpr int64_t most_bytes = HugePage::bytes - int64_t{128} * 1024;

  // Bytes [begin, end) of the file, until the next call. Throws Error as ReadableFile::read.
  const std::byte* at(const ReadableFile& file, int64_t begin, int64_t end, ReadWay way);

 private:
  std::optional<HugePage> memory_;
};

}  // namespace switchyard
