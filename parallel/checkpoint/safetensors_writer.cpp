#include <algorithm>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "parallel/checkpoint/safetensors.h"
#include "parallel/checkpoint/safetensors_index.h"
#include "parallel/checkpoint/safetensors_plan.h"
#include "parallel/checkpoint/streamed_file.h"
#include "parallel/checkpoint/strict_json.h"

namespace switchyard {

namespace fs = std::filesystem;

namespace {

constexpr const char* where = "safetensors";

// Weights that are there already would be taken together with, or instead of, those written.
void check_no_weights(const fs::path& folder) {
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    const bool weights = name.ends_with(".safetensors") || name == index_name;
    check(!weights, where, "{} has weights already: {}", folder.string(), name);
  }
}

void check_done(const std::error_code& problem, const char* action, const fs::path& path) {
  check(!problem, ExitCode::storage, where, "cannot {} {}: {}", action, path.string(),
        problem.message());
}

}  // namespace

struct SafetensorsWriter::State {
  fs::path folder;
  std::vector<Tensor> tensors;
  int64_t half = 0;  // bytes of a part; two are held
  SafetensorsPlan plan;
  std::unique_ptr<StreamedFile> file;
  size_t next = 0;    // tensor to be added
  size_t opened = 0;  // shards that were
  bool finished = false;

  fs::path final_name(size_t shard) const { return folder / plan.files[shard]; }
  void open_shards(size_t count);
  void publish();
  void remove_all() noexcept;
};

// Opens the shards before `count` that are not yet; the one before is closed.
void SafetensorsWriter::State::open_shards(size_t count) {
  for (; opened < count; ++opened) {
    if (opened > 0) file->close();
    file->open(temporary_of(final_name(opened)));
    const std::string& header = plan.headers[opened];
    std::memcpy(file->part(0, static_cast<int64_t>(header.size())), header.data(), header.size());
  }
}

// The index comes last: with it, or a single file, the folder has weights.
void SafetensorsWriter::State::publish() {
  std::error_code problem;
  for (size_t shard = 0; shard < opened; ++shard) {
    fs::rename(temporary_of(final_name(shard)), final_name(shard), problem);
    check_done(problem, "give its name to", final_name(shard));
  }
  check_done(sync_folder(folder), "bring to the disk", folder);
  if (opened > 1) write_file_atomically(folder / index_name, index_text(tensors, plan), where);
}

void SafetensorsWriter::State::remove_all() noexcept {
  file.reset();  // waits for what is being written
  std::error_code ignored;
  if (opened > 1) fs::remove(folder / index_name, ignored);
  for (size_t shard = 0; shard < opened; ++shard) {
    fs::remove(final_name(shard), ignored);
    fs::remove(temporary_of(final_name(shard)), ignored);
  }
}

SafetensorsWriter::SafetensorsWriter(const fs::path& folder, std::vector<Tensor> tensors,
                                     int64_t max_shard_bytes, int64_t part_bytes)
    : state_(new State{folder, std::move(tensors), part_bytes / 2, {}, nullptr, 0, 0, false}) {
  State& state = *state_;
  check(part_bytes > 0, where, "parts of {} bytes cannot be written", part_bytes);
  state.plan = plan_safetensors(state.tensors, max_shard_bytes);
  make_folder(folder, where);
  check_no_weights(folder);
  state.file = std::make_unique<StreamedFile>(std::min(state.half, state.plan.bytes));
}

SafetensorsWriter::~SafetensorsWriter() {
  if (state_ && !state_->finished) state_->remove_all();
}

void SafetensorsWriter::add(const std::string& name, const Fill& fill) {
  State& state = *state_;
  check(state.next < state.tensors.size(), where, "{} was added behind the last tensor",
        in_quotes(name));
  check(name == state.tensors[state.next].name, where, "{} was added where {} was planned",
        in_quotes(name), in_quotes(state.tensors[state.next].name));
  const PlannedTensor& tensor = state.plan.tensors[state.next];
  state.open_shards(tensor.shard + 1);
  const int64_t most = std::max<int64_t>(1, state.half / std::max<int64_t>(1, tensor.row_bytes));
  for (int64_t row = 0; row < tensor.rows; row += most) {
    const int64_t count = std::min(most, tensor.rows - row);
    const int64_t position = tensor.offset + row * tensor.row_bytes;
    fill(row, count, state.file->part(position, count * tensor.row_bytes));
  }
  ++state.next;
}

void SafetensorsWriter::finish() {
  State& state = *state_;
  check(!state.finished, where, "finish() was called twice for {}", state.folder.string());
  check(state.next == state.tensors.size(), where, "{} of {} tensors were added to {}", state.next,
        state.tensors.size(), state.folder.string());
  state.open_shards(state.plan.files.size());  // a file without tensors
  state.file->close();
  state.file->wait();
  state.publish();
  state.finished = true;
}

}  // namespace switchyard
