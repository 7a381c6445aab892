#include "parallel/checkpoint/seal.h"

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace switchyard {

namespace {

// A name, so that whoever looks at the file's end knows what it is, and 8 bytes, the lowest first.
constexpr std::string_view name = "xxh3_64:";
constexpr int64_t seal_bytes = static_cast<int64_t>(name.size()) + 8;

class Checksum {
 public:
  Checksum() : state_(XXH3_createState(), XXH3_freeState) {
    check(state_ && XXH3_64bits_reset(state_.get()) == XXH_OK, "checkpoint", "no memory for xxh3");
  }
  void add(const ReadableFile& file, int64_t begin, int64_t end) {
    constexpr int64_t block_bytes = int64_t{1} << 20;
    block_.resize(static_cast<size_t>(std::clamp<int64_t>(end - begin, 0, block_bytes)));
    for (; begin < end; begin += block_bytes) {
      const int64_t bytes = std::min(block_bytes, end - begin);
      file.read(begin, bytes, block_.data());
      XXH3_64bits_update(state_.get(), block_.data(), static_cast<size_t>(bytes));
    }
  }
  uint64_t value() const { return XXH3_64bits_digest(state_.get()); }

 private:
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state_;
  std::vector<char> block_;
};

std::array<char, seal_bytes> seal_of(uint64_t checksum) {
  std::array<char, seal_bytes> seal{};
  std::ranges::copy(name, seal.begin());
  for (size_t i = 0; i < 8; ++i) seal[name.size() + i] = static_cast<char>(checksum >> (8 * i));
  return seal;
}

// The last bytes of a file.
class FoundSeal {
 public:
  explicit FoundSeal(const std::filesystem::path& path)
      : file_(path), end_(file_.bytes() - seal_bytes) {
    if (end_ >= 0) file_.read(end_, seal_bytes, seal_.data());
  }
  bool has_name() const { return std::string_view(seal_.data(), name.size()) == name; }
  bool holds() const {
    if (end_ < 0) return false;
    return seal_ == seal_of(checksum_outside(file_, {{end_, end_ + seal_bytes}}));
  }

 private:
  ReadableFile file_;
  int64_t end_;
  std::array<char, seal_bytes> seal_{};
};

}  // namespace

uint64_t checksum_outside(const ReadableFile& file, std::vector<FileRange> ranges) {
  std::ranges::sort(ranges, {}, &FileRange::begin);
  Checksum sum;
  int64_t begin = 0;
  for (const FileRange& range : ranges) {
    sum.add(file, begin, range.begin);
    begin = range.end;
  }
  sum.add(file, begin, file.bytes());
  return sum.value();
}

void seal_file(const std::filesystem::path& path) {
  const ReadableFile written(path);
  const auto seal = seal_of(checksum_outside(written, {}));
  const Descriptor file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  check(static_cast<bool>(file), "checkpoint", "cannot open {}: {}", path.string(),
        std::strerror(errno));
  const bool whole = pwrite_all(file, written.bytes(), std::as_bytes(std::span(seal)));
  check(whole, "checkpoint", "cannot write to {}: {}", path.string(), std::strerror(errno));
  const bool synced = fsync(file.number()) == 0;
  check(synced, "checkpoint", "cannot write {} to the disk: {}", path.string(),
        std::strerror(errno));
}

void check_seal(const std::filesystem::path& path) {
  const FoundSeal found(path);
  check(found.holds(), "checkpoint",
        "{} is damaged: its last {} bytes are not the checksum of those before", path.string(),
        seal_bytes);
}

bool has_broken_seal(const std::filesystem::path& path) {
  const FoundSeal found(path);
  return found.has_name() && !found.holds();
}

}  // namespace switchyard
