#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>

#include "core/files.h"
#include "tests/parallel/checkpoint/safetensors_cases.h"
#include "tests/support/temporary_folder.h"

// Which files of a folder are its weights, and what is refused.
namespace switchyard {
namespace {

using namespace test;
namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

constexpr const char* one = "model-00001-of-00002.safetensors";
constexpr const char* two = "model-00002-of-00002.safetensors";
constexpr const char* index_file = "model.safetensors.index.json";

// Of mapped files, in bytes; those of a tmpfs count as shared memory.
int64_t resident() {
  const std::string status = read_file("/proc/self/status");
  int64_t kibibytes = 0;
  for (const std::string field : {"RssFile:", "RssShmem:"}) {
    kibibytes += std::stoll(status.substr(status.find(field) + field.size()));
  }
  return kibibytes * 1024;
}

class Folder : public testing::Test {
 protected:
  fs::path at(const std::string& name) const { return folder_.path() / name; }
  std::string opening() const {
    return refusal([&] { SafetensorsFolder read(folder_.path()); });
  }
  // Two shards with "a", "b" and "c", and the index of them.
  void write_shards() const {
    write(at(one), file_of_tensors({"a", "c"}));
    write(at(two), file_of_tensors({"b"}));
    write_index(R"("a":"model-00001-of-00002.safetensors","c":"model-00001-of-00002.safetensors",)"
                R"("b":"model-00002-of-00002.safetensors")");
  }
  void write_index(std::string_view weight_map) const {
    write(at(index_file), index_of(weight_map));
  }
  TemporaryFolder folder_;
};

TEST_F(Folder, ASingleFileIsRead) {
  write(at("model.safetensors"), file_of_tensors({"x", "y"}));
  write(at("pytorch_model.bin"), "beside it");
  const SafetensorsFolder read(folder_.path());
  EXPECT_EQ(read.folder(), folder_.path());
  EXPECT_EQ(read.files(), std::vector<fs::path>{"model.safetensors"});
  EXPECT_EQ(read.tensors().size(), 2U);
  EXPECT_EQ(read.bytes(), static_cast<int64_t>(fs::file_size(at("model.safetensors"))));
  ASSERT_NE(read.find("y"), nullptr);
  EXPECT_EQ(read.find("z"), nullptr);
  EXPECT_EQ(static_cast<char>(*read.data(*read.find("y"))), 'x');
  EXPECT_THAT(refusal([&] { read.release(*read.find("y"), 0, 5); }), HasSubstr("bytes 0 to 5"));
}

TEST_F(Folder, ShardsAreReadFileByFile) {
  write_shards();
  write(at("consolidated.safetensors"), "of something else");
  const SafetensorsFolder read(folder_.path());
  EXPECT_EQ(read.files(), (std::vector<fs::path>{one, two}));
  std::string order;
  for (const SafetensorsEntry& entry : read.tensors()) {
    order += entry.name + std::to_string(entry.file) + " ";
  }
  EXPECT_EQ(order, "a0 c0 b1 ");
}

TEST_F(Folder, WhatIsReleasedTakesNoMemory) {
  constexpr int64_t bytes = int64_t{96} << 20;
  constexpr int64_t part = int64_t{1} << 20;
  const std::string header =
      R"({"a":{"dtype":"U8","shape":[100663296],"data_offsets":[0,100663296]}})";
  write(at("model.safetensors"), file_of(header, 0));
  fs::resize_file(at("model.safetensors"), 8 + header.size() + bytes);
  const SafetensorsFolder read(folder_.path());
  const SafetensorsEntry& entry = read.tensors().front();
  const int64_t before = resident();
  int64_t most = 0;
  for (int64_t begin = 0; begin < bytes; begin += part) {
    const std::byte* data = read.data(entry) + begin;
    EXPECT_EQ(std::count(data, data + part, std::byte{0}), part);
    most = std::max(most, resident() - before);
    read.release(entry, begin, begin + part);
  }
  EXPECT_GE(most, part / 2);
  EXPECT_LE(most, 8 * part);
  EXPECT_EQ(*read.data(entry), std::byte{0});  // may be read again
}

// A hub's cache has its files under other names.
TEST_F(Folder, LinksAreFollowed) {
  fs::create_directories(at("blobs"));
  fs::create_directories(at("snapshot"));
  write(at("blobs/0a1b"), file_of_tensors({"x"}));
  fs::create_symlink("../blobs/0a1b", at("snapshot/model.safetensors"));
  EXPECT_EQ(SafetensorsFolder(at("snapshot")).tensors().size(), 1U);
  fs::create_directory_symlink("snapshot", at("main"));
  EXPECT_EQ(SafetensorsFolder(at("main")).tensors().size(), 1U);
  fs::remove(at("blobs/0a1b"));
  EXPECT_THAT(refusal([&] { SafetensorsFolder read(at("snapshot")); }),
              HasSubstr("snapshot/model.safetensors is a symbolic link to ../blobs/0a1b, which is "
                        "not there"));
}

TEST_F(Folder, AnIndexMayNameTheSingleFile) {
  write(at("model.safetensors"), file_of_tensors({"x"}));
  write_index(R"("x":"model.safetensors")");
  EXPECT_EQ(SafetensorsFolder(folder_.path()).tensors().size(), 1U);
  write(at(one), file_of_tensors({"x"}));
  write_index(R"("x":"model-00001-of-00002.safetensors")");
  EXPECT_THAT(opening(), HasSubstr("has both model.safetensors and model.safetensors.index.json"));
}

TEST_F(Folder, WithoutWeightsIsRefused) {
  EXPECT_THAT(refusal([&] { SafetensorsFolder read(at("none")); }), HasSubstr("none is not there"));
  EXPECT_THAT(opening(), HasSubstr("has neither model.safetensors nor model.safetensors.index"));
  write(at("file"), "");
  EXPECT_THAT(refusal([&] { SafetensorsFolder read(at("file")); }),
              HasSubstr("file is not a folder; give the folder that has model.safetensors"));
  for (const char* pickle : {"model.ckpt", "a.pt", "weights.pth", "pytorch_model.bin.index.json",
                             "pytorch_model-00001-of-00002.bin", "pytorch_model.bin"}) {
    write(at(pickle), "");
    EXPECT_THAT(opening(), AllOf(HasSubstr(std::string("weights in ") + pickle + ", a pickle"),
                                 HasSubstr("save_pretrained(..., safe_serialization=True)")));
    fs::remove(at(pickle));
  }
  write(at(one), file_of_tensors({"x"}));
  EXPECT_THAT(opening(), HasSubstr(std::string("has ") + one + ", but neither model.safetensors"));
}

TEST_F(Folder, WhatIsNoFileIsRefused) {
  fs::create_directory(at("model.safetensors"));
  EXPECT_THAT(opening(), HasSubstr("model.safetensors is not a regular file"));
  fs::remove(at("model.safetensors"));
  ASSERT_EQ(mkfifo(at("model.safetensors").c_str(), 0600), 0);
  EXPECT_THAT(opening(), HasSubstr("model.safetensors is not a regular file"));
}

TEST_F(Folder, AnErrorOfAFileNamesIt) {
  write_shards();
  fs::resize_file(at(two), fs::file_size(at(two)) - 1);
  EXPECT_THAT(opening(), AllOf(HasSubstr(at(two).string()), HasSubstr("is it cut off?")));
  write(at(two), "");
  EXPECT_THAT(opening(), AllOf(HasSubstr(at(two).string()), HasSubstr("has 0 bytes")));
}

TEST_F(Folder, FilesThatAreNotAsTheIndexSaysAreRefused) {
  write_shards();
  write(at(two), file_of_tensors({"b", "d"}));
  EXPECT_THAT(opening(), HasSubstr(std::string("tensor \"d\" is in ") + two + ", but not in "));
  write(at(two), file_of_tensors({"d"}));
  EXPECT_THAT(opening(), HasSubstr("tensor \"d\" is in "));
  write(at(two), file_of_tensors({}));
  EXPECT_THAT(opening(), HasSubstr(std::string("tensor \"b\" is not in ") + two + ", where"));
  write(at(two), file_of_tensors({"b", "a"}));
  EXPECT_THAT(opening(), AllOf(HasSubstr(std::string("tensor \"a\" is in ") + two),
                               HasSubstr(std::string("says that it is in ") + one)));
  fs::remove(at(two));
  EXPECT_THAT(opening(),
              HasSubstr(std::string("index.json names the file \"") + two + "\", which is not"));
}

TEST_F(Folder, NothingOutsideIsReadThroughAnIndex) {
  fs::create_directory(at("inner"));
  write(at("x.safetensors"), file_of_tensors({"a"}));
  for (const std::string& file :
       {std::string("../x.safetensors"), at("x.safetensors").string(), std::string("inner/../x"),
        std::string(".."), std::string("."), std::string(), std::string("a\\u0000b")}) {
    write(at("inner") / index_file, index_of("\"a\":\"" + file + "\""));
    EXPECT_THAT(refusal([&] { SafetensorsFolder read(at("inner")); }),
                HasSubstr("tensor \"a\" is in the file \"" + file + "\"; only names of files"));
  }
}

TEST_F(Folder, WhatIsNoIndexIsRefused) {
  const std::string deep(200'000, '[');
  const std::vector<std::pair<std::string, const char*>> cases = {
      {"", "is not JSON"},
      {"{\"weight_map\"", "is not JSON; its first 13 bytes were read"},
      {std::string("{}\0", 3), "is not JSON: byte 2"},
      {"[]", "the index must be an object, not a list"},
      {"{}", "the index has no weight_map"},
      {R"({"weight_map":{}})", "weight_map names no tensor"},
      {R"({"weight_map":[]})", "weight_map must be an object, not a list"},
      {R"({"weight_map":{"a":1}})", "the file of tensor \"a\" must be a string, not 1"},
      {R"({"weight_map":{"a":["x"]}})", "the file of tensor \"a\" must be a string, not a list"},
      {R"({"weight_map":{"":"x"}})", "a tensor's name is empty"},
      {R"({"weight_map":{"a":"x","a":"x"}})", "tensor \"a\" is there twice"},
      {R"({"weight_map":{"a":"x"},"weight_map":{}})", "weight_map is there twice"},
      {R"({"metadata":[],"weight_map":{"a":"x"}})", "metadata must be an object, not a list"},
      {R"({"metadata":{"a":)" + deep, "metadata nests more than 32 levels"},
      {R"({"shards":{}})", "\"shards\" is not known; weight_map and metadata are"},
  };
  for (const auto& [text, message] : cases) {
    write(at(index_file), text);
    EXPECT_THAT(opening(), AllOf(HasSubstr(at(index_file).string()), HasSubstr(message)));
  }
  write(at("x"), file_of_tensors({"a"}));
  write(
      at(index_file),
      R"({"metadata":{"total_size":1.5e9,"a":[null,{"b":[-1,true,"c"]}]},"weight_map":{"a":"x"}})");
  EXPECT_EQ(opening(), "no error");
}

}  // namespace
}  // namespace switchyard
