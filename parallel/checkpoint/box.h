#pragma once

#include <cstdint>
#include <functional>

#include "core/sharded_tensor.h"
#include "parallel/checkpoint/common_runs.h"
#include "parallel/checkpoint/file_view.h"
#include "parallel/checkpoint/files.h"
#include "parallel/checkpoint/read_window.h"

namespace switchyard {

// Elements of a box, row-major, contiguous from a byte of a file on.
struct BoxInFile {
  const ReadableFile* file = nullptr;
  int64_t address = 0;
  Box box;
  ReadWay way = ReadWay::cached;
  ReadWindow* window = nullptr;  // of the thread that reads, as is the view
  FileView* view = nullptr;
};

// Hears of bytes that were read: where they begin within the stored box, and where they lie now.
// What was read along between short runs is among them.
using Seen = std::function<void(int64_t begin, const void* data, int64_t bytes)>;

// Reads what the stored box has in common with `wanted` into `out`, which holds `wanted` row-major,
// in the order of the file. Returns the number of elements read.
int64_t read_common(const BoxInFile& stored, const Box& wanted, int64_t element_bytes, void* out,
                    const Seen& seen = {});

}  // namespace switchyard
