#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <system_error>

#include "core/files.h"

namespace switchyard {

// A file written by positions. Whole blocks go past the system's cache, where the file system has
// that: it is several times as fast and leaves the cache alone; the rest of a call's bytes goes
// through it. Calls return what the system says, or no error.
class DirectFile {
 public:
  enum class Begin : uint8_t { emptied, as_it_is };  // made where it is not there; it must be there
  std::error_code open(const std::filesystem::path& file, Begin begin);

  // Where memory must lie to be written past the cache: as far behind a block's begin as in the
  // file. A page, so that no page of the cache holds a part of what went past it.
  static int64_t block_bytes();

  const std::filesystem::path& path() const { return path_; }
  // May be called by several threads at once, for bytes that do not overlap.
  std::error_code write(int64_t position, std::span<const std::byte> bytes) const;
  // Takes room on the disk for bytes [begin, end), where the file system can. A full disk is so
  // found before anything is written.
  std::error_code take_room(int64_t begin, int64_t end) const;
  std::error_code sync_and_close();

 private:
  std::filesystem::path path_;
  Descriptor cached_;
  Descriptor direct_;  // none where the file system has no such
};

}  // namespace switchyard
