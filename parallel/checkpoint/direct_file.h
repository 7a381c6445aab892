#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <system_error>
#include <utility>

#include "core/files.h"

namespace switchyard {

// A file written by positions, past the system's cache where the file system has that: it is
// several times as fast and leaves the cache alone. Calls return what the system says, or no error.
class DirectFile {
 public:
  enum class Begin : uint8_t { emptied, as_it_is };  // made where it is not there; it must be there
  std::error_code open(const std::filesystem::path& file, Begin begin);

  // Only whole blocks go past the cache, from memory that lies as far behind a block's begin as in
  // the file. A page, so that no page of the cache holds a part of what went past it.
  static int64_t block_bytes();
  // Less than this goes through the cache: past it, each write would cost the disk one.
  static constexpr int64_t least_bytes = int64_t{64} << 10;
  static int64_t blocks_up_to(int64_t bytes);  // rounded up to whole blocks
  // The whole blocks in bytes [begin, end): from the first to behind the last. {end, end}: none.
  static std::pair<int64_t, int64_t> blocks_in(int64_t begin, int64_t end);

  const std::filesystem::path& path() const { return path_; }
  // Both may be called by several threads at once, for bytes that do not overlap; what goes through
  // the cache waits for what goes past it, and the other way round.
  std::error_code write(int64_t position, std::span<const std::byte> bytes) const;
  std::error_code write_cached(int64_t position, std::span<const std::byte> bytes) const;
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
