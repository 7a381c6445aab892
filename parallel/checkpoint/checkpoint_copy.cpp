#include "parallel/checkpoint/checkpoint_copy.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <future>
#include <iterator>
#include <memory>
#include <utility>

#include "core/error.h"
#include "parallel/checkpoint/compressed.h"
#include "parallel/checkpoint/files.h"
#include "parallel/checkpoint/master.h"
#include "parallel/checkpoint/read_ahead.h"
#include "parallel/checkpoint/shard.h"
#include "parallel/checkpoint/state_groups.h"

namespace switchyard {

namespace {

// Of a writer's file: rows of tensors, in their order.
struct FilePlan {
  struct Rows {
    const CopiedTensor* from = nullptr;
    Box box = {};
  };
  int rank = 0;
  std::vector<Rows> rows = {};
};

int64_t row_bytes(const StoredTensor& tensor) {
  return tensor.shape.elements() / tensor.shape[0] * size_of(tensor.dtype);
}

// The row of a tensor, which begins at a byte of all, that is nearest to another byte of them.
int64_t row_near(const StoredTensor& tensor, int64_t begin, int64_t byte) {
  const int64_t row = row_bytes(tensor);
  return std::clamp<int64_t>((byte - begin + row / 2) / row, 0, tensor.shape[0]);
}

// Cuts all bytes of the tensors, one behind the other, into equal parts, each at a row's begin.
std::vector<FilePlan> cut(const std::vector<const CopiedTensor*>& tensors,
                          const CopyOptions& options) {
  int64_t all = 0;
  for (const CopiedTensor* each : tensors) all += row_bytes(each->tensor) * each->tensor.shape[0];
  const int64_t most = std::max<int64_t>(1, all / options.least_file_bytes);
  const int64_t writers = std::min<int64_t>(options.writers, most);
  const auto bound = [&](int64_t w) { return all / writers * w + all % writers * w / writers; };
  std::vector<FilePlan> files;
  for (int64_t w = 0; w < writers; ++w) {
    FilePlan file{static_cast<int>(w)};
    int64_t begin = 0;
    for (const CopiedTensor* each : tensors) {
      const StoredTensor& tensor = each->tensor;
      Box box = Box::whole(tensor.shape);
      box.offset[0] = row_near(tensor, begin, bound(w));
      box.extent[0] = row_near(tensor, begin, bound(w + 1)) - box.offset[0];
      begin += row_bytes(tensor) * tensor.shape[0];
      if (box.extent[0] > 0) file.rows.push_back({each, box});
    }
    if (!file.rows.empty()) files.push_back(std::move(file));
  }
  return files;
}

// First those of all that stays, then those of what can be taken away.
std::vector<FilePlan> plan_files(const std::vector<CopiedTensor>& tensors,
                                 const CopyOptions& options) {
  std::vector<const CopiedTensor*> of_part[2];
  for (const CopiedTensor& each : tensors) {
    if (each.tensor.shape.elements() == 0) continue;
    of_part[shard_part(each.tensor.name).empty() ? 0 : 1].push_back(&each);
  }
  std::vector<FilePlan> files = cut(of_part[0], options);
  std::ranges::move(cut(of_part[1], options), std::back_inserter(files));
  return files;
}

constexpr size_t buffers = 3;

// Of a part: with the buffers one is read into another precision; the rest is the write queue's.
int64_t part_bytes_of(int64_t memory) {
  constexpr int64_t queue = int64_t{64} << 20, most = int64_t{64} << 20;
  return std::clamp<int64_t>((memory - queue) / static_cast<int64_t>(buffers + 2), int64_t{1} << 20,
                             most);
}

// As ShardWriter asks for them.
std::vector<ReadAhead::Part> parts_to_read(const std::vector<FilePlan>& files, int64_t part_bytes) {
  std::vector<ReadAhead::Part> parts;
  for (const FilePlan& file : files) {
    for (const auto& [from, box] : file.rows) {
      const int64_t row = row_bytes(from->tensor), most = std::max<int64_t>(1, part_bytes / row);
      for (int64_t begin = 0; begin < box.extent[0]; begin += most) {
        Box part = box;
        part.offset[0] += begin;
        part.extent[0] = std::min(most, box.extent[0] - begin);
        parts.push_back(
            {part.extent[0] * row, [tensor = from, part](void* out) { tensor->read(part, out); }});
      }
    }
  }
  return parts;
}

// A file whose bytes are written; what is left is to bring it to the disk, in any thread.
using Finish = std::function<CheckpointIndex()>;

Finish write_file(const std::filesystem::path& folder, const CheckpointInfo& info,
                  const FilePlan& plan, const PieceSource& source, int64_t part_bytes) {
  const auto file = std::make_shared<RankShards>(folder, plan.rank, info);
  std::vector<size_t> places;
  for (const auto& [from, box] : plan.rows) places.push_back(file->reserve(from->tensor, 0, box));
  for (const size_t place : places) file->write(place, source, part_bytes);
  file->wait();
  return [file, &plan, places = std::move(places)] {
    CheckpointIndex own;
    for (size_t i = 0; i < places.size(); ++i) {
      const CopiedTensor& from = *plan.rows[i].from;
      own.tensors.push_back({from.tensor, from.aliases, {file->piece(places[i])}});
    }
    own.shards = file->finish();
    return own;
  };
}

Finish write_compressed_file(const std::filesystem::path& folder, const CheckpointInfo& info,
                             const FilePlan& plan, const PieceSource& source, int64_t part_bytes) {
  const auto file = std::make_shared<CompressedShard>(
      folder, plan.rank, info, shard_part(plan.rows.front().from->tensor.name));
  CheckpointIndex own;
  for (const auto& [from, box] : plan.rows) {
    own.tensors.push_back(
        {from->tensor, from->aliases, {file->add(from->tensor, box, source, part_bytes)}});
  }
  return [file, own = std::move(own)]() mutable {
    own.shards = {file->finish()};
    return std::move(own);
  };
}

// Files that are brought to the disk beside each other and beside the writing of the next: a disk
// takes about as long for many small ones at once as for a single one.
class Finishing {
 public:
  explicit Finishing(size_t files) { indices_.reserve(files + 1); }
  void add(Finish finish) {
    if (files_.size() == most) take_first();
    files_.push_back(std::async(std::move(finish)));  // later, where the system starts no thread
  }
  std::vector<CheckpointIndex> wait() {
    while (!files_.empty()) take_first();
    return std::move(indices_);
  }

 private:
  static constexpr size_t most = 8;
  void take_first() {
    indices_.push_back(files_.front().get());
    files_.pop_front();
  }
  std::deque<std::future<CheckpointIndex>> files_;
  std::vector<CheckpointIndex> indices_;
};

std::vector<CheckpointIndex> write_files(const std::filesystem::path& folder,
                                         const CheckpointInfo& info,
                                         const std::vector<FilePlan>& files,
                                         const CopyOptions& options) {
  const int64_t part_bytes = part_bytes_of(options.memory_bytes);
  ReadAhead ahead(parts_to_read(files, part_bytes), buffers);
  const PieceSource source = [&](const Box&) -> const void* {
    const auto part = ahead.next();
    if (options.progress) options.progress(std::ssize(part));
    return part.data();
  };
  Finishing finishing(files.size());
  const auto write = options.compress ? write_compressed_file : write_file;
  for (const FilePlan& file : files) finishing.add(write(folder, info, file, source, part_bytes));
  return finishing.wait();
}

}  // namespace

void copy_checkpoint(const std::filesystem::path& checkpoints, CheckpointInfo info,
                     const std::vector<CopiedTensor>& tensors, const CopyOptions& options) {
  check(options.writers >= 1, "checkpoint", "{} writers; 1 or more are allowed", options.writers);
  for (const CopiedTensor& each : tensors) check_tensor(each.tensor);
  if (info.id.empty()) info.id = random_checkpoint_id();
  if (options.compress) info.format_version = compressed_version;
  const auto folder = checkpoint_folder(checkpoints, info.step);
  prepare_checkpoint_folder(folder);
  try {
    auto written = write_files(folder, info, plan_files(tensors, options), options);
    CheckpointIndex rest;  // tensors without elements lie in no file
    for (const CopiedTensor& each : tensors) {
      if (each.tensor.shape.elements() == 0)
        rest.tensors.push_back({each.tensor, each.aliases, {}});
    }
    written.push_back(std::move(rest));
    write_master(folder, info, merge(written));
  } catch (...) {
    discard_incomplete(folder);
    throw;
  }
}

}  // namespace switchyard
