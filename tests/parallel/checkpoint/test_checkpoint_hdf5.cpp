#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "core/error.h"
#include "parallel/checkpoint/shard.h"
#include "tests/parallel/checkpoint/checkpoint_cases.h"
#include "tests/support/temporary_folder.h"

// The files as any other HDF5 program sees them, through HDF5's own interface.
namespace switchyard {
namespace {

using namespace test;
namespace fs = std::filesystem;

std::vector<TensorCase> tensors() {
  return {{"/model/w", {40, 24}, DType::f32, Cut::flat, {"/optimizer/master/w"}},
          {"/model/c", {40, 24}, DType::f64, Cut::columns, {}},
          {"/model/layers.0.norm.weight", {51}, DType::bf16, Cut::flat, {}},
          {"/model/e", {0, 4}, DType::f32, Cut::rows, {}},
          {"/count", {51}, DType::i64, Cut::rows, {}}};
}

std::vector<std::byte> read_raw(const fs::path& master, const std::string& name, size_t bytes) {
  const hid_t file = H5Fopen(master.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t dataset = H5Dopen2(file, name.c_str(), H5P_DEFAULT);
  const hid_t type = H5Dget_type(dataset);
  std::vector<std::byte> out(std::max<size_t>(1, bytes));
  EXPECT_GE(H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out.data()), 0) << name;
  out.resize(bytes);
  H5Tclose(type);
  H5Dclose(dataset);
  H5Fclose(file);
  return out;
}

void expect_readable(const fs::path& step) {
  for (const TensorCase& tensor : tensors()) {
    const auto expected = expected_bytes(tensor, Box::whole(tensor.shape), 1);
    auto names = tensor.aliases;
    names.push_back(tensor.name);
    for (const std::string& name : names) {
      EXPECT_EQ(read_raw(step / "checkpoint.h5", name, expected.size()), expected) << name;
    }
  }
}

TEST(CheckpointHdf5, OthersSeeWholeTensorsFromAnyWorkingFolderAndAfterAMove) {
  const TemporaryFolder folder, elsewhere;
  save(folder.path(), 1, tensors(), 5);
  const fs::path step = checkpoint_folder(folder.path(), 1), before = fs::current_path();
  expect_readable(step);
  fs::current_path(elsewhere.path());
  expect_readable(step);
  fs::rename(step, folder.path() / "moved");
  expect_readable(folder.path() / "moved");
  fs::current_path(folder.path());
  expect_readable("moved");
  EXPECT_EQ(difference(folder.path() / "moved", tensors(), 1), "");
  fs::current_path(before);
}

TEST(CheckpointHdf5, AMissingShardShowsAsNotANumber) {
  const TemporaryFolder folder;
  save(folder.path(), 1, tensors(), 2);
  const fs::path step = checkpoint_folder(folder.path(), 1);
  for (const auto& entry : fs::directory_iterator(step / "shards")) fs::remove(entry);
  const auto floats = read_raw(step / "checkpoint.h5", "/model/w", 40 * 24 * 4);
  for (size_t i = 0; i < floats.size(); i += 4) {
    float value = 0;
    std::memcpy(&value, &floats[i], 4);
    ASSERT_TRUE(std::isnan(value));
  }
  const auto halves = read_raw(step / "checkpoint.h5", "/model/layers.0.norm.weight", 51 * 2);
  for (size_t i = 0; i < halves.size(); i += 2) {
    bf16 value;
    std::memcpy(&value, &halves[i], 2);
    ASSERT_TRUE(std::isnan(static_cast<float>(value)));
  }
}

TEST(CheckpointHdf5, Bf16IsReadAsFloat) {
  const TemporaryFolder folder;
  std::vector<bf16> values;
  for (const float value : {1.0f, -2.5f, 0.0f, 3.0e38f, 1.0e-38f}) values.emplace_back(value);
  CheckpointStreamWriter writer(folder.path(), info_of_step(1));
  writer.add({"/b", {5}, DType::bf16}, values.data());
  writer.finish();
  const fs::path master = checkpoint_folder(folder.path(), 1) / "checkpoint.h5";
  const hid_t file = H5Fopen(master.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t dataset = H5Dopen2(file, "/b", H5P_DEFAULT);
  float got[5] = {};
  EXPECT_GE(H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, got), 0);
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(got[i], static_cast<float>(values[i]));
  H5Dclose(dataset);
  H5Fclose(file);
}

TEST(CheckpointHdf5, AttributesSayWhatItIs) {
  const TemporaryFolder folder;
  save(folder.path(), 7, tensors(), 2);
  const fs::path step = checkpoint_folder(folder.path(), 7);
  const hdf5::Session session;
  const auto master = hdf5::open_file(step / "checkpoint.h5");
  const auto shard = hdf5::open_file(step / "shards" / "rank-00001.h5");
  EXPECT_EQ(hdf5::read_string_attribute(master, "format"), "switchyard-checkpoint");
  EXPECT_EQ(hdf5::read_int_attribute(master, "step"), 7);
  EXPECT_EQ(hdf5::read_int_attribute(master, "samples"), 7 * 512);
  EXPECT_EQ(hdf5::read_double_attribute(master, "loss"), 1.0 / 7);
  EXPECT_EQ(hdf5::read_string_attribute(shard, "id"), hdf5::read_string_attribute(master, "id"));
  EXPECT_EQ(hdf5::read_int_attribute(shard, "rank"), 1);
  const auto dataset = hdf5::open_dataset(master, "/model/layers.0.norm.weight");
  EXPECT_EQ(hdf5::read_string_attribute(dataset, "dtype"), "bf16");
  EXPECT_EQ(hdf5::read_text(master, "/checkpoint/documents/lineage").size(), 100'000u);
}

// As HDF5 1.10.8 does where the table of its identifiers gets no memory, on a thread of ours.
void exit_within_a_session() {
  std::thread([] {
    set_thread_label("rank 3");
    const hdf5::Session outer;
    { const hdf5::Session inner; }
    std::exit(-1);
  }).join();
}

TEST(CheckpointHdf5DeathTest, AnExitWithinHdf5IsSaid) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(exit_within_a_session(), testing::ExitedWithCode(1),
              "switchyard: \\[checkpoint\\] HDF5 ended this process: .*no more memory.*"
              "\\(rank 3\\)");
  const auto exit_behind_it = [] {
    { const hdf5::Session ended; }
    std::exit(7);
  };
  EXPECT_EXIT(exit_behind_it(), testing::ExitedWithCode(7), "^$");
}

}  // namespace
}  // namespace switchyard
