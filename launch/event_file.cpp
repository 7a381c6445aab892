#include "launch/event_file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <boost/crc.hpp>
#include <cerrno>
#include <cstring>

#include "core/error.h"
#include "core/text.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

constexpr std::string_view name_prefix = "events.out.tfevents.";

template <class T>
std::string little_endian(T value) {
  std::string bytes;
  for (size_t i = 0; i < sizeof value; ++i) bytes += static_cast<char>(value >> (8 * i));
  return bytes;
}

// Protocol buffers: a field is its key, number * 8 + wire type, and a value of that type.
enum WireType : uint8_t { varint_type = 0, eight_bytes = 1, sized = 2, four_bytes = 5 };

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}

std::string key(int number, WireType type) {
  return varint(static_cast<uint64_t>(number) * 8 + type);
}

std::string field(int number, int64_t value) {
  return key(number, varint_type) + varint(static_cast<uint64_t>(value));
}

std::string field(int number, double value) {
  return key(number, eight_bytes) + little_endian(std::bit_cast<uint64_t>(value));
}

std::string field(int number, float value) {
  return key(number, four_bytes) + little_endian(std::bit_cast<uint32_t>(value));
}

std::string field(int number, std::string_view bytes) {  // a string or a message
  return key(number, sized) + varint(bytes.size()) + std::string(bytes);
}

// Event: wall_time = 1, step = 2, then one of file_version = 3, summary = 5, session_log = 7.
std::string event(WallTime time, int64_t step, int number, std::string_view what) {
  const double seconds = std::chrono::duration<double>(time.time_since_epoch()).count();
  return field(1, seconds) + field(2, step) + field(number, what);
}

// Above the TIME of all event files of the folder, even where a clock was set back.
int64_t next_time(const fs::path& folder) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  int64_t time = std::chrono::duration_cast<std::chrono::seconds>(now).count();
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(name_prefix)) continue;
    std::string_view rest = std::string_view(name).substr(name_prefix.size());
    time = std::max(time, take_number<int64_t>(rest).value_or(0) + 1);
  }
  return time;
}

std::string host_name() {
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 && name[0] != 0 ? name : "localhost";
}

}  // namespace

uint32_t masked_crc32c(std::string_view bytes) {
  boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> crc;
  crc.process_bytes(bytes.data(), bytes.size());
  return std::rotr(crc.checksum(), 15) + 0xa282ead8;
}

std::string tfrecord(std::string_view data) {
  const std::string length = little_endian(uint64_t{data.size()});
  return length + little_endian(masked_crc32c(length)) + std::string(data) +
         little_endian(masked_crc32c(data));
}

std::string version_event(WallTime time) { return event(time, 0, 3, "brain.Event:2"); }

// SessionLog: status = 1, whose START is 1.
std::string start_event(WallTime time, int64_t first_step) {
  return event(time, first_step, 7, field(1, int64_t{1}));
}

// Summary: value = 1, repeated; each tag = 1, simple_value = 2.
std::string scalars_event(WallTime time, int64_t step, std::span<const Scalar> scalars) {
  std::string summary;
  for (const Scalar& scalar : scalars) {
    summary += field(1, field(1, scalar.tag) + field(2, static_cast<float>(scalar.value)));
  }
  return event(time, step, 5, summary);
}

EventFile::EventFile(const fs::path& folder) {
  make_folder(folder, "tensorboard");
  file_ = folder /
          fmt::format("{}{:010d}.{}.{}.0", name_prefix, next_time(folder), host_name(), getpid());
  open_ = Descriptor(open(file_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (!open_) {
    fail(ExitCode::storage, "tensorboard", "{} cannot be made: {}", file_.string(),
         std::strerror(errno));
  }
}

void EventFile::write(std::string_view event) {
  const std::string record = tfrecord(event);
  if (!pwrite_all(open_, size_, std::as_bytes(std::span(record)))) {
    fail(ExitCode::storage, "tensorboard", "{} cannot be written: {}", file_.string(),
         std::strerror(errno));
  }
  size_ += static_cast<int64_t>(record.size());
}

void sync_events(const fs::path& folder) {
  std::error_code none;
  fs::path last;
  for (const auto& entry : fs::directory_iterator(folder, none)) {
    if (entry.path().filename().string().starts_with(name_prefix))
      last = std::max(last, entry.path());
  }
  if (last.empty()) return;
  const Descriptor open(::open(last.c_str(), O_RDONLY | O_CLOEXEC));
  const bool synced = open && fsync(open.number()) == 0 && !sync_folder(folder);
  check(synced, ExitCode::storage, "tensorboard", "{} cannot be brought to the disk: {}",
        last.string(), std::strerror(errno));
}

}  // namespace switchyard
