#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "core/error.h"
#include "core/files.h"

namespace switchyard {

// Names inside a checkpoint's folder.
inline constexpr const char* master_name = "checkpoint.h5";
inline constexpr const char* leaving_name = "checkpoint.h5.leaving";  // leaving.h
inline constexpr const char* shards_name = "shards";
// Within shards/: "rank-00003.h5"; a part of what the rank holds is "rank-00003.PART.h5".
std::string shard_name(int rank, const std::string& part = {});

// Throws Error where a folder with the name of a step holds another one.
void check_named_step(const std::filesystem::path& folder, int64_t step);

// The steps of writing durably; each throws Error with strerror's text.
void sync_names(const std::filesystem::path& folder);
// Gives a written and synced file its final name, durably.
void publish_file(const std::filesystem::path& temporary, const std::filesystem::path& final_name);

// Makes an empty folder with shards/ for a step: an incomplete one is removed first; throws Error
// when the step is complete.
void prepare_checkpoint_folder(const std::filesystem::path& folder);
// Takes the master away first, also one that is leaving, so that what a kill leaves behind is
// incomplete.
void discard_checkpoint_folder(const std::filesystem::path& folder);
// After a failed save: never a complete one, and a failure is logged, not thrown.
void discard_incomplete(const std::filesystem::path& folder);

// Runs `body` with the file's name added to its errors.
template <class Body>
auto naming(const std::filesystem::path& path, Body body) {
  try {
    return body();
  } catch (const Error& error) {
    if (error.code() == ExitCode::stopped) throw;  // which has to do with no file
    throw Error(fmt::format("{}, in {}", error.what(), path.string()), error.code());
  }
}

// Through the system's cache, which keeps what others on this machine read, too; or past it,
// several times as fast, where the bytes are not in it yet and the file system can.
enum class ReadWay : uint8_t { cached, direct };

// A file open for reading.
class ReadableFile {
 public:
  explicit ReadableFile(std::filesystem::path path);
  const std::filesystem::path& path() const { return path_; }
  uint64_t number() const { return number_; }  // of no other one in this process; 1 or more
  int64_t bytes() const;
  // Reads exactly `bytes` from `position` on; a file that ends before throws Error.
  void read(int64_t position, int64_t bytes, void* out, ReadWay way = ReadWay::cached) const;

 private:
  int64_t read_direct(int64_t position, int64_t bytes, std::byte* out) const;

  std::filesystem::path path_;
  uint64_t number_ = 0;
  Descriptor descriptor_;
  Descriptor direct_;  // none where the file system has no such
};

}  // namespace switchyard
