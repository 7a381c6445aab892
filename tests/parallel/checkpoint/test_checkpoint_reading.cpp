#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <new>
#include <random>
#include <vector>

#include "core/files.h"
#include "parallel/checkpoint/file_view.h"
#include "parallel/checkpoint/huge_page.h"
#include "parallel/checkpoint/read_window.h"
#include "tests/parallel/checkpoint/checkpoint_cases.h"
#include "tests/support/temporary_folder.h"

// Bytes come right whatever their place in the file and in memory, and short reads take their
// neighbours along.
namespace switchyard {
namespace {

using namespace test;

class Reading : public testing::Test {
 protected:
  static std::string random_bytes(size_t count) {
    std::minstd_rand random(static_cast<unsigned>(count));
    std::string all(count, '\0');
    for (char& c : all) c = static_cast<char>(random());
    return all;
  }
  std::filesystem::path file_of(const std::string& bytes, const std::string& name) const {
    write_file_atomically(folder_.path() / name, bytes);
    return folder_.path() / name;
  }

  TemporaryFolder folder_;
};

TEST_F(Reading, PlacesInFileAndMemoryMayBeAny) {
  const std::string bytes = random_bytes(3'000'001);
  const ReadableFile file(file_of(bytes, "file"));
  const HugePage memory;
  for (const int64_t position : {0, 512, 4096, 4097, 70'000, 1'048'576}) {
    for (const int64_t behind : {0, 512, 1, 64}) {  // a sector's begin
      for (const int64_t count : {1, 4096, 65'536, 65'537, 300'000, 1'048'576, 1'951'425}) {
        if (position + count > std::ssize(bytes)) continue;
        std::memset(memory.get(), 0, HugePage::bytes);
        file.read(position, count, memory.get() + behind, ReadWay::direct);
        ASSERT_EQ(
            std::memcmp(memory.get() + behind, bytes.data() + position, static_cast<size_t>(count)),
            0)
            << count << " bytes at " << position << ", " << behind << " behind a sector";
        EXPECT_EQ(memory.get()[behind + count], std::byte{0});
      }
    }
  }
}

TEST_F(Reading, ShortReadsOfSeveralFiles) {
  std::vector<std::string> bytes;
  std::vector<ReadableFile> files;
  for (const size_t count : {200'000, 65'536, 65'537, 100, 131'072}) {
    bytes.push_back(random_bytes(count));
    files.emplace_back(file_of(bytes.back(), std::to_string(count)));
  }
  std::minstd_rand random(5);
  ReadWindow window;
  for (int i = 0; i < 5000; ++i) {
    const size_t which = random() % files.size();
    const auto size = std::ssize(bytes[which]);
    const int64_t position = static_cast<int64_t>(random()) % size;
    const int64_t count = static_cast<int64_t>(random()) % (size - position + 1);
    std::string got(static_cast<size_t>(count), '\0');
    window.read(files[which], position, count, got.data(),
                i % 2 == 0 ? ReadWay::cached : ReadWay::direct);
    ASSERT_EQ(got, bytes[which].substr(static_cast<size_t>(position), got.size()));
  }
}

TEST_F(Reading, LooksAtAnyPlace) {
  const std::string bytes = random_bytes(9'000'001);
  const ReadableFile file(file_of(bytes, "file"));
  FileView view;
  for (const ReadWay way : {ReadWay::cached, ReadWay::direct}) {
    for (const int64_t count : {int64_t{1}, int64_t{70'000}, FileView::most_bytes}) {
      for (const int64_t begin : {0, 4095, 2'000'000, 2'097'152, 5'555'555, 8'999'999}) {
        const int64_t end = std::min(begin + count, std::ssize(bytes));
        const std::byte* const found = view.at(file, begin, end, way);
        ASSERT_EQ(std::memcmp(found, bytes.data() + begin, static_cast<size_t>(end - begin)), 0)
            << count << " bytes at " << begin;
      }
    }
    EXPECT_THAT(error_of([&] { view.at(file, 8'500'000, 9'000'002, way); }),
                testing::HasSubstr("ends at byte 9000001"));
  }
}

// What is changed on the disk in between shows that the disk is not asked again.
TEST_F(Reading, AShortReadTakesItsNeighboursAlong) {
  const std::string bytes = random_bytes(300'000);
  const auto path = file_of(bytes, "file");
  const ReadableFile file(path), same(path);
  std::array<char, 100> got{};
  ReadWindow window;
  const auto is_old = [&](const ReadableFile& from, int64_t position) {
    window.read(from, position, std::ssize(got), got.data(), ReadWay::direct);
    return std::memcmp(got.data(), bytes.data() + position, got.size()) == 0;
  };
  ASSERT_TRUE(is_old(file, 70'000));
  for (const int64_t position : {10, 66'000, 70'050, 130'000, 131'100}) flip_byte(path, position);
  for (const int64_t position : {66'000, 70'050, 130'000}) EXPECT_TRUE(is_old(file, position));
  EXPECT_FALSE(is_old(same, 66'000)) << "another open file";
  EXPECT_FALSE(is_old(file, 131'050)) << "what lies farther is read when it is asked for";
}

// Of a file, how much the system's cache has.
int64_t cached_bytes(const std::filesystem::path& file) {
  const auto size = static_cast<size_t>(std::filesystem::file_size(file));
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const Descriptor open(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  void* const all = mmap(nullptr, size, PROT_READ, MAP_SHARED, open.number(), 0);
  EXPECT_NE(all, MAP_FAILED);
  std::vector<unsigned char> pages((size + page - 1) / page);
  EXPECT_EQ(mincore(all, size, pages.data()), 0);
  munmap(all, size);
  return static_cast<int64_t>(page) * std::ranges::count_if(pages, [](auto p) { return p & 1; });
}

void evict(const std::filesystem::path& file) {
  const Descriptor open(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(fsync(open.number()), 0);
  EXPECT_EQ(posix_fadvise(open.number(), 0, 0, POSIX_FADV_DONTNEED), 0);
}

// Ranks that go on training have parts of the weights as they have of the rest; those that only
// read the weights may read them alike.
TEST_F(Reading, WeightsOfAStateComePastTheCacheAndOthersThroughIt) {
  const std::vector<TensorCase> state = {
      {"/model/w", {1024, 1024}, DType::f32, Cut::columns_then_flat, {}},
      {"/optimizer/exp_avg/w", {64, 64}, DType::f32, Cut::columns_then_flat, {}}};
  save(folder_.path(), 1, state, 2);
  const auto step = checkpoint_folder(folder_.path(), 1);
  const auto shard = step / "shards" / "rank-00000.h5";
  constexpr int64_t most = int64_t{512} << 10;  // HDF5's own, and what is read along with it
  const auto read = [&](size_t tensors) {
    evict(shard);
    LocalPieces own(state, 2, 0);
    const CheckpointReader reader(step, 0, 2);
    reader.read_and_check(std::span(own.sharded()).first(tensors));
    return cached_bytes(shard);
  };
  evict(shard);  // by the test alone: nothing has read it yet
  if (cached_bytes(shard) > most)
    GTEST_SKIP() << "what is evicted stays in memory here, as on tmpfs";
  EXPECT_LT(read(2), most);
  EXPECT_GT(read(1), int64_t{1} << 20);
}

// It says nothing of the file that is read.
TEST_F(Reading, LackOfMemoryIsNoDamage) {
  const auto path = file_of("some bytes", "file");
  const auto look_without_memory = [&] {
    const ReadableFile file(path);
    int64_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    const auto bytes = static_cast<rlim_t>(pages * sysconf(_SC_PAGESIZE));
    const rlimit limit{bytes, bytes};
    setrlimit(RLIMIT_AS, &limit);
    while (std::malloc(size_t{1} << 20) != nullptr) {  // what the process has left
    }
    try {
      FileView().at(file, 0, 4, ReadWay::cached);
    } catch (const std::bad_alloc&) {
      std::_Exit(7);
    }
    std::_Exit(1);
  };
  EXPECT_EXIT(look_without_memory(), testing::ExitedWithCode(7), "");
}

}  // namespace
}  // namespace switchyard
