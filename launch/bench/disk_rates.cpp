#include "launch/bench/disk_rates.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <future>
#include <memory>
#include <vector>

#include "core/error.h"
#include "core/files.h"

namespace switchyard {

namespace fs = std::filesystem;

namespace {

void require(bool ok, const char* action, const fs::path& file) {
  check(ok, ExitCode::storage, "bench", "cannot {} {}: {}", action, file.string(),
        std::strerror(errno));
}

constexpr size_t huge_page = size_t{2} << 20;

int threads_of(DiskWay way) { return way == DiskWay::cached ? 1 : 4; }
int64_t part_of(DiskWay way) { return int64_t{way == DiskWay::cached ? 64 : 8} << 20; }

Descriptor open_file(const fs::path& file, int flags, DiskWay way) {
  const int direct = way == DiskWay::direct ? O_DIRECT : 0;
  Descriptor open(::open(file.c_str(), flags | direct | O_CLOEXEC, 0666));
  if (!open && direct != 0 && errno == EINVAL) {  // a file system without it
    open = Descriptor(::open(file.c_str(), flags | O_CLOEXEC, 0666));
  }
  require(static_cast<bool>(open), "open", file);
  return open;
}

// body(part's begin, its bytes) for all parts of `bytes`, on this way's threads.
void for_each_part(
    int64_t bytes, DiskWay way,
    const std::function<void(int64_t begin, int64_t part, std::byte* memory)>& body) {
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::atomic<int64_t> next = 0;
  const int64_t most = part_of(way);
  const auto work = [&] {
    const std::unique_ptr<std::byte, Free> memory(
        static_cast<std::byte*>(std::aligned_alloc(huge_page, static_cast<size_t>(most))));
    check(memory != nullptr, "bench", "no memory for {} bytes", most);
    madvise(memory.get(), static_cast<size_t>(most), MADV_HUGEPAGE);
    for (int64_t begin = next.fetch_add(most); begin < bytes; begin = next.fetch_add(most)) {
      body(begin, std::min(most, bytes - begin), memory.get());
    }
  };
  std::vector<std::future<void>> threads;
  for (int i = 1; i < threads_of(way); ++i) {
    threads.push_back(std::async(std::launch::async, work));
  }
  work();
  for (auto& thread : threads) thread.get();
}

}  // namespace

void write_raw(const fs::path& file, std::span<const std::byte> data, int64_t bytes, DiskWay way) {
  const int64_t block = 4096, most = part_of(way);
  bytes = (bytes + block - 1) / block * block;
  check(static_cast<int64_t>(data.size()) >= most, "bench", "{} bytes are too few to write from",
        data.size());
  Descriptor open = open_file(file, O_WRONLY | O_CREAT | O_TRUNC, way);
  if (way == DiskWay::direct) fallocate(open.number(), 0, 0, bytes);  // where there is such
  const auto places = static_cast<int64_t>(data.size()) - most + 1;
  for_each_part(bytes, way, [&](int64_t begin, int64_t part, std::byte*) {
    const int64_t from = begin % places / block * block;
    require(
        pwrite_all(open, begin, data.subspan(static_cast<size_t>(from), static_cast<size_t>(part))),
        "write", file);
  });
  require(fsync(open.number()) == 0 && open.close(), "write to the disk", file);
}

void read_raw(const fs::path& file, DiskWay way) {
  const Descriptor open = open_file(file, O_RDONLY, way);
  const auto bytes = static_cast<int64_t>(fs::file_size(file));
  for_each_part(bytes, way, [&](int64_t begin, int64_t part, std::byte* memory) {
    require(pread_all(open, begin, {memory, static_cast<size_t>(part)}) == part, "read", file);
  });
}

void read_raw(const fs::path& file, DiskWay way, std::span<std::byte> to) {
  const Descriptor open = open_file(file, O_RDONLY, way);
  const auto bytes = static_cast<int64_t>(fs::file_size(file));
  check(bytes <= static_cast<int64_t>(to.size()), "bench", "{} has {} bytes; there is room for {}",
        file.string(), bytes, to.size());
  for_each_part(bytes, way, [&](int64_t begin, int64_t part, std::byte*) {
    const auto place = to.subspan(static_cast<size_t>(begin), static_cast<size_t>(part));
    require(pread_all(open, begin, place) == part, "read", file);
  });
}

void evict(const fs::path& file) {
  const Descriptor open = open_file(file, O_RDONLY, DiskWay::cached);
  const int problem = posix_fadvise(open.number(), 0, 0, POSIX_FADV_DONTNEED);
  check(problem == 0, "bench", "cannot take {} out of the cache: {}", file.string(),
        std::strerror(problem));
}

}  // namespace switchyard
