#include "core/files.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "core/error.h"
#include "core/mapped_file.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

template <class Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::storage);
    return error.what();
  }
  return "no error";
}

class Files : public testing::Test {
 protected:
  fs::path at(const char* name) const { return folder_.path() / name; }
  size_t entries() const {
    const fs::directory_iterator all(folder_.path());
    return static_cast<size_t>(std::distance(begin(all), end(all)));
  }
  test::TemporaryFolder folder_;
};

TEST_F(Files, AtomicWriteReplacesAndLeavesNoTemporary) {
  write_file_atomically(at("file"), "first and longer");
  write_file_atomically(at("file"), "second");
  EXPECT_EQ(read_file(at("file")), "second");
  EXPECT_EQ(entries(), 1U);
}

TEST_F(Files, FailedWritesNameTheFileAndThePlace) {
  EXPECT_THAT(
      message_of([&] { write_file_atomically(at("none/file"), "text"); }),
      testing::AllOf(HasSubstr("[file] "), HasSubstr("none/file.tmp cannot be written: No")));
  fs::create_directory(at("folder"));
  EXPECT_THAT(message_of([&] { write_file_atomically(at("folder"), "text", "table"); }),
              testing::AllOf(HasSubstr("[table] "), HasSubstr("folder.tmp cannot be renamed")));
}

TEST_F(Files, WhatCannotBeWrittenWholeIsGone) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  fs::create_symlink("/dev/full", at("full"));
  EXPECT_EQ(write_whole(at("full"), "text", Durability::in_memory), std::errc::no_space_on_device);
  EXPECT_EQ(entries(), 0U);
}

TEST_F(Files, ReadEndsAtTheFilesEnd) {
  write_file_atomically(at("file"), "abcdef");
  const Descriptor file(open(at("file").c_str(), O_RDONLY));
  std::array<std::byte, 4> bytes{};
  EXPECT_EQ(pread_all(file, 0, bytes), 4);
  EXPECT_EQ(pread_all(file, 3, bytes), 3);
  EXPECT_EQ(bytes[2], std::byte{'f'});
  EXPECT_EQ(pread_all(Descriptor(), 0, bytes), -1);
}

TEST_F(Files, IsNamedUntilReplaced) {
  write_file_atomically(at("file"), "one");
  const Descriptor file(open(at("file").c_str(), O_RDONLY));
  EXPECT_TRUE(is_named(file, at("file")));
  write_file_atomically(at("file"), "two");
  EXPECT_FALSE(is_named(file, at("file")));
  fs::remove(at("file"));
  EXPECT_FALSE(is_named(file, at("file")));
}

TEST_F(Files, MakesFoldersUnlessAFileIsThere) {
  make_folder(at("a/b"));
  make_folder(at("a/b"));
  EXPECT_TRUE(fs::is_directory(at("a/b")));
  write_file_atomically(at("file"), "");
  EXPECT_THAT(message_of([&] { make_folder(at("file/below"), "data"); }),
              HasSubstr("file/below' cannot be made: Not a directory"));
  EXPECT_THAT(message_of([&] { make_folder(at("file")); }), HasSubstr("cannot be made"));
}

TEST_F(Files, SyncsFolders) {
  EXPECT_FALSE(sync_folder(folder_.path()));
  EXPECT_FALSE(sync_folder(""));
  EXPECT_EQ(sync_folder(at("none")), std::errc::no_such_file_or_directory);
}

TEST_F(Files, MapsWholeFiles) {
  write_file_atomically(at("file"), "bytes");
  write_file_atomically(at("empty"), "");
  const MappedFile file(at("file"), "data", "files are mapped");
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(file.data()), 5), "bytes");
  EXPECT_EQ(MappedFile(at("empty"), "data", "").size(), 0);
  EXPECT_THROW(MappedFile(folder_.path(), "data", "files are mapped"), Error);
}

}  // namespace
}  // namespace switchyard
