#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "core/files.h"

namespace switchyard {

// TensorBoard's event files: a TFRecord file of Event messages (tensorflow/core/util/event.proto,
// tensorflow/core/framework/summary.proto), of which the few fields needed are encoded here.

// CRC-32C (Castagnoli) of the bytes, as TFRecord stores it: rotated right by 15, plus 0xa282ead8.
uint32_t masked_crc32c(std::string_view bytes);

// One record, little-endian: length as u64, its masked CRC, the data, theirs.
std::string tfrecord(std::string_view data);

using WallTime = std::chrono::system_clock::time_point;  // in the file: seconds since 1970, double

// A number of a step; in the file it is float32, the type of Summary.Value.simple_value.
struct Scalar {
  std::string tag;
  double value = 0;
};

// Encoded Events: the format's version, which comes first in a file; the start of a session, at
// which readers drop what they have of `first_step` and behind; the numbers of a step.
std::string version_event(WallTime time);
std::string start_event(WallTime time, int64_t first_step);
std::string scalars_event(WallTime time, int64_t step, std::span<const Scalar> scalars);

// A file that readers take for the next of its folder: events.out.tfevents.TIME.HOST.PID.0 as
// TensorFlow names them, where TIME, seconds since 1970, is above that of any that is there, as
// they are read in the order of their names.
class EventFile {
 public:
  // Makes the folder and the file. Throws Error (storage) where that fails.
  explicit EventFile(const std::filesystem::path& folder);
  // Appends a record at once, without a buffer. Throws Error (storage); what was written before is
  // whole all the same.
  void write(std::string_view event);
  const std::filesystem::path& file() const { return file_; }

 private:
  std::filesystem::path file_;
  Descriptor open_;
  int64_t size_ = 0;
};

// Brings the last of a folder's files, where there is one, to the disk. Throws Error (storage).
void sync_events(const std::filesystem::path& folder);

}  // namespace switchyard
