#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "tests/parallel/checkpoint/safetensors_cases.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using namespace test;
namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr int64_t large = int64_t{1} << 40;

// All types, odd shapes, a scalar, nothing; of 2,371 bytes.
Weights odd_weights() {
  Weights weights;
  weights.add("a.weight", DType::bf16, {7, 13});
  weights.add("a.bias", DType::f32, {7});
  weights.add("scalar", DType::f16, Shape());
  weights.add("none", DType::f32, {5, 0});
  weights.add("deep \"\u00e4\"", DType::f16, {3, 1, 5, 2});
  weights.add("long", DType::f32, {501});
  weights.add("rows", DType::bf16, {1, 1, 31});
  return weights;
}

class Writer : public testing::Test {
 protected:
  fs::path at(const std::string& name) const { return folder_.path() / name; }
  TemporaryFolder folder_;
};

TEST_F(Writer, EveryKindOfTensorComesBackWhateverTheParts) {
  const Weights weights = odd_weights();
  for (const int64_t part : {1, 2, 16, 100, 1000, 1 << 20}) {
    const fs::path folder = at("of parts of " + std::to_string(part));
    weights.write(folder, large, part);
    EXPECT_EQ(weights.difference(folder), "") << part;
    EXPECT_THAT(names_in(folder), ElementsAre("model.safetensors"));
  }
}

TEST_F(Writer, EveryKindOfTensorComesBackWhateverTheShards) {
  const Weights weights = odd_weights();
  for (const int64_t most : {1, 100, 240, 2000, 2300}) {
    const fs::path folder = at("of shards of " + std::to_string(most));
    weights.write(folder, most, 64);
    EXPECT_EQ(weights.difference(folder), "") << most;
  }
  // Of 182, 28, 2, 0, 60, 2004 and 62 bytes.
  EXPECT_EQ(SafetensorsFolder(at("of shards of 1")).files().size(), 6U);  // none is with a scalar
  EXPECT_EQ(SafetensorsFolder(at("of shards of 240")).files().size(), 4U);
  EXPECT_EQ(SafetensorsFolder(at("of shards of 2300")).files().size(), 2U);
}

// A row larger than the buffers makes them grow, with what is in them.
TEST_F(Writer, RowsOfAnySizeFollowEachOther) {
  Weights weights;
  for (const int64_t columns : {1, 500, 3, 1100, 2100, 40, 5000, 4096, 7}) {
    weights.add("of " + std::to_string(columns), DType::f32, {3, columns});
  }
  for (const int64_t part : {1, 5000, 40'000, 200'000}) {
    const fs::path folder = at("of parts of " + std::to_string(part));
    weights.write(folder, large, part);
    EXPECT_EQ(weights.difference(folder), "") << part;
  }
}

TEST_F(Writer, ShardsTakeTensorsInOrderAndTheIndexNamesThem) {
  Weights weights;
  for (const char* name : {"d", "c", "b", "a"}) weights.add(name, DType::f32, {10});
  weights.write(folder_.path(), 80, 1000);
  EXPECT_THAT(names_in(folder_.path()),
              ElementsAre("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                          "model.safetensors.index.json"));
  const Json index = parse_json(read_file(at("model.safetensors.index.json")));
  const Json expected = {{"metadata", {{"total_size", 160}}},
                         {"weight_map",
                          {{"d", "model-00001-of-00002.safetensors"},
                           {"c", "model-00001-of-00002.safetensors"},
                           {"b", "model-00002-of-00002.safetensors"},
                           {"a", "model-00002-of-00002.safetensors"}}}};
  EXPECT_EQ(index, expected);
}

TEST_F(Writer, AFileIsOfTheFormat) {
  Weights weights;
  weights.add("half", DType::f16, {3});
  weights.add("full", DType::f32, {2});
  weights.write(folder_.path(), large, 1000);
  const std::string bytes = read_file(at("model.safetensors"));
  std::string header = R"({"__metadata__":{"format":"pt"},)"
                       R"("full":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                       R"("half":{"dtype":"F16","shape":[3],"data_offsets":[8,14]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  EXPECT_EQ(bytes,
            file_with_length(header.size(), header) + weights.contents[1] + weights.contents[0]);
}

TEST_F(Writer, WithoutTensorsIsAFile) {
  Weights().write(folder_.path(), large, 1000);
  EXPECT_EQ(SafetensorsFolder(folder_.path()).tensors().size(), 0U);
}

TEST_F(Writer, WithoutFinishNothingIsLeft) {
  const Weights weights = odd_weights();
  {
    SafetensorsWriter writer(folder_.path(), weights.tensors, 240, 64);
    weights.add_to(writer, weights.tensors.size());
    for (const std::string& name : names_in(folder_.path())) {
      EXPECT_TRUE(name.ends_with(".safetensors.tmp")) << name;
    }
  }
  EXPECT_THAT(names_in(folder_.path()), ElementsAre());
  EXPECT_THAT(refusal([&] {
                SafetensorsWriter writer(folder_.path(), weights.tensors, 240, 64);
                weights.add_to(writer, 3);
                writer.add("none", {});
                writer.add(weights.tensors[4].name,
                           [](int64_t, int64_t, void*) { throw Error("the source is lost"); });
              }),
              HasSubstr("the source is lost"));
  EXPECT_THAT(names_in(folder_.path()), ElementsAre());
}

// What a kill has left is overwritten.
TEST_F(Writer, StaleTemporariesDoNotMatter) {
  write(at("model.safetensors.tmp"), std::string(100'000, 'x'));
  const Weights weights = odd_weights();
  weights.write(folder_.path(), large, 100);
  EXPECT_EQ(weights.difference(folder_.path()), "");
}

TEST_F(Writer, AFullDiskIsAnErrorOfStorage) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  fs::create_symlink("/dev/full", at("model.safetensors.tmp"));
  const Weights weights = odd_weights();
  try {
    weights.write(folder_.path(), large, 64);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::storage);
    EXPECT_THAT(error.what(), HasSubstr("model.safetensors.tmp cannot be written: No space left"));
  }
  EXPECT_THAT(names_in(folder_.path()), ElementsAre());
}

TEST_F(Writer, AFailureOfThePublishingTakesAllAway) {
  fs::create_directory(at("model-00002-of-00002.safetensors.d"));
  Weights weights;
  for (const char* name : {"a", "b"}) weights.add(name, DType::f32, {10});
  EXPECT_THAT(refusal([&] {
                SafetensorsWriter writer(folder_.path(), weights.tensors, 40, 1000);
                weights.add_to(writer, 2);
                fs::create_directories(at("model-00002-of-00002.safetensors/x"));
                writer.finish();
              }),
              HasSubstr("cannot give its name to"));
  EXPECT_THAT(names_in(folder_.path()), ElementsAre("model-00002-of-00002.safetensors",
                                                    "model-00002-of-00002.safetensors.d"));
}

TEST_F(Writer, WeightsThatAreThereAreNotJoined) {
  const Weights weights = odd_weights();
  for (const char* name :
       {"model.safetensors", "model-00001-of-00009.safetensors", "model.safetensors.index.json"}) {
    write(at(name), "theirs");
    EXPECT_THAT(refusal([&] { weights.write(folder_.path(), large, 64); }),
                HasSubstr(std::string("has weights already: ") + name));
    EXPECT_EQ(read_file(at(name)), "theirs");
    fs::remove(at(name));
  }
}

TEST_F(Writer, WhatTheFormatCannotHoldIsRefused) {
  using Tensor = SafetensorsWriter::Tensor;
  const auto opening = [&](std::vector<Tensor> tensors, int64_t shard = 100, int64_t part = 100) {
    return refusal([&] { SafetensorsWriter writer(at("new"), std::move(tensors), shard, part); });
  };
  EXPECT_THAT(opening({{"", DType::f32, {1}}}), HasSubstr("\"\" cannot be the name"));
  EXPECT_THAT(opening({{"__metadata__", DType::f32, {1}}}), HasSubstr("cannot be the name"));
  EXPECT_THAT(opening({{std::string("a\0b", 3), DType::f32, {1}}}),
              HasSubstr("\"a\\u0000b\" cannot be the name"));
  EXPECT_THAT(opening({{"\xff", DType::f32, {1}}}), HasSubstr("is not UTF-8"));
  EXPECT_THAT(opening({{"a", DType::f32, {1}}, {"a", DType::f16, {2}}}),
              HasSubstr("two tensors have the name \"a\""));
  EXPECT_THAT(opening({{"a", DType::i64, {1}}}), HasSubstr("weights of i64 cannot be written"));
  EXPECT_THAT(opening({{"a", DType::f32, {int64_t{1} << 61}}}), HasSubstr("has 2^63 bytes or mo"));
  EXPECT_THAT(opening({}, 0), HasSubstr("shards of 0 bytes"));
  EXPECT_THAT(opening({}, 1, 0), HasSubstr("parts of 0 bytes"));
  EXPECT_FALSE(fs::exists(at("new")));
}

TEST_F(Writer, TensorsComeAsPlanned) {
  Weights weights;
  for (const char* name : {"a", "b"}) weights.add(name, DType::f32, {2});
  SafetensorsWriter writer(folder_.path(), weights.tensors, 100, 100);
  EXPECT_THAT(refusal([&] { writer.add("b", {}); }), HasSubstr("\"b\" was added where \"a\" was"));
  weights.add_to(writer, 1);
  EXPECT_THAT(refusal([&] { writer.finish(); }), HasSubstr("1 of 2 tensors were added"));
  writer.add("b", [](int64_t, int64_t, void*) {});
  EXPECT_THAT(refusal([&] { writer.add("c", {}); }), HasSubstr("\"c\" was added behind the last"));
  writer.finish();
  EXPECT_THAT(refusal([&] { writer.finish(); }), HasSubstr("finish() was called twice"));
}

}  // namespace
}  // namespace switchyard
