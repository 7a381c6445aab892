#include "core/sha256.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "core/error.h"
#include "core/files.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

// Texts and digests of FIPS 180-2.
TEST(Sha256, OfFilesIsTheStandards) {
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "file";
  const std::array<std::pair<std::string, const char*>, 4> cases = {{
      {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
      {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
      {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
       "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
      {std::string(1000000, 'a'),
       "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
  }};
  for (const auto& [text, digest] : cases) {
    write_file_atomically(file, text);
    EXPECT_EQ(sha256_of_file(file), digest);
  }
}

// Of the command `head -c 9000001 /dev/zero | sha256sum`.
TEST(Sha256, OfSeveralPartsAndTheirProgress) {
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "file";
  write_file_atomically(file, "");
  std::filesystem::resize_file(file, 9000001);
  int64_t bytes = 0;
  int calls = 0;
  EXPECT_EQ(sha256_of_file(file,
                           [&](int64_t part) {
                             bytes += part;
                             ++calls;
                           }),
            "8870803b3951d31ad8a69d794646b693e4bb603ffff7019959acabee0b41858e");
  EXPECT_EQ(bytes, 9000001);
  EXPECT_GT(calls, 1);
}

TEST(Sha256, AFileThatCannotBeReadIsNamed) {
  const test::TemporaryFolder folder;
  for (const auto& file : {folder.path() / "none", folder.path()}) {
    try {
      sha256_of_file(file);
      ADD_FAILURE() << file;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::storage);
      EXPECT_THAT(error.what(), testing::HasSubstr(file.string() + " cannot be read: "));
    }
  }
}

}  // namespace
}  // namespace switchyard
