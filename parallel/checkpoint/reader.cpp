#include <sys/resource.h>

#include <algorithm>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

#include "core/error.h"
#include "parallel/checkpoint/box.h"
#include "parallel/checkpoint/checkpoint.h"
#include "parallel/checkpoint/compressed.h"
#include "parallel/checkpoint/files.h"
#include "parallel/checkpoint/host_copy.h"
#include "parallel/checkpoint/master.h"
#include "parallel/checkpoint/read_checks.h"
#include "parallel/checkpoint/read_jobs.h"
#include "parallel/checkpoint/read_threads.h"
#include "parallel/checkpoint/shared_reads.h"
#include "parallel/checkpoint/state_groups.h"
#include "parallel/checkpoint/verify.h"
#include "parallel/checkpoint/widening.h"

namespace switchyard {

namespace fs = std::filesystem;

namespace {

// A reader's shards as open files, opened when first read. All readers of the process together keep
// no more open than a quarter of its limit, so that an average of many steps of many ranks fits.
class OpenShards {
 public:
  OpenShards() = default;
  ~OpenShards() {
    const std::lock_guard lock(mutex);
    std::erase_if(files, [&](const auto& known) { return known.first.first == this; });
  }
  OpenShards(const OpenShards&) = delete;
  OpenShards& operator=(const OpenShards&) = delete;

  std::shared_ptr<const ReadableFile> get(int number, const fs::path& path,
                                          const StoredShard& shard) {
    const std::lock_guard lock(mutex);
    const auto key = std::pair(this, number);
    if (const auto known = files.find(key); known != files.end()) return known->second;
    if (files.size() >= most_open()) files.clear();
    auto file = std::make_shared<const ReadableFile>(path);
    check_size(*file, shard);
    files.emplace(key, file);
    return file;
  }

 private:
  static size_t most_open() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 16;
    return std::clamp<size_t>(limit.rlim_cur / 4, 1, 256);
  }
  static inline std::mutex mutex;
  // By the reader and the shard's number in its index.
  static inline std::map<std::pair<OpenShards*, int>, std::shared_ptr<const ReadableFile>> files;
};

// Of a thread; several of them are used at once.
struct ReadBuffers {
  HostCopy host{int64_t{16} << 20};
  WideningReads widening;
  ReadWindow window;
  FileView view;
  FileView between;  // what others want of a piece that is checked here
};

// Adds what comes before byte `end` of the piece and was not read for another purpose.
void add_up_to(int64_t end, const StoredPiece& piece, const ReadableFile& file, FileView& view,
               ReadChecks::OfPiece& sum) {
  while (!sum.is_checked() && sum.next() < end) {
    const int64_t from = piece.address + sum.next();
    const int64_t bytes = std::min(FileView::most_bytes, end - sum.next());
    sum.add(sum.next(), view.at(file, from, from + bytes, ReadWay::direct), bytes);
  }
}

}  // namespace

struct CheckpointReader::State {
  fs::path folder;
  int ranks = 1;  // that open it
  CheckpointInfo info;
  CheckpointIndex index;
  std::vector<StoredTensor> names;         // aliases among them, by name
  std::map<std::string, size_t> entry_of;  // of a name or alias: number in index.tensors
  OpenShards shards;

  State(fs::path path, int part, int parts) : folder(std::move(path)), ranks(parts) {
    std::tie(info, index) = read_master(folder);
    check_named_step(folder, info.step);
    try {
      check_shards(part, parts);
    } catch (const Error&) {
      if (!lost_shards()) throw;
      std::tie(info, index) = read_master(folder);
      check_shards(part, parts);
    }
    for (size_t i = 0; i < index.tensors.size(); ++i) {
      entry_of[index.tensors[i].tensor.name] = i;
      for (const std::string& alias : index.tensors[i].aliases) entry_of[alias] = i;
    }
    for (const auto& [name, i] : entry_of) {
      const StoredTensor& tensor = index.tensors[i].tensor;
      names.push_back({name, tensor.shape, tensor.dtype});
    }
  }

  void check_shards(int part, int parts) const {
    for (size_t i = static_cast<size_t>(part); i < index.shards.size();
         i += static_cast<size_t>(parts)) {
      check_shard(folder, index.shards[i], info);
    }
  }
  // Whether the moments were taken away since the master was read: what is there now is as whole.
  bool lost_shards() const {
    return read_master(folder).second.shards.size() < index.shards.size();
  }
  void verify_mappings() const;
  void verify(int shard, const PiecesOfShard& pieces,
              const std::function<bool(const StoredPiece&)>& is_checked,
              const std::function<void(int64_t bytes)>& verified) const;

  std::shared_ptr<const ReadableFile> open(int number) {
    const StoredShard& shard = index.shards[static_cast<size_t>(number)];
    return shards.get(number, shard_path(folder, shard), shard);
  }
  const IndexedTensor& entry(const std::string& name) const {
    const auto known = entry_of.find(name);
    check(known != entry_of.end(), "checkpoint", "{} is not in {}, which has {} tensors", name,
          folder.string(), names.size());
    return index.tensors[known->second];
  }
  // The job and the buffers that a read belongs to, if any, and what it shares with other ranks.
  struct Part {
    const ReadJob& job;
    ReadBuffers& buffers;
    SharedReads* shared;
  };
  void read(const IndexedTensor& entry, const Box& box, void* out, ReadChecks* checks,
            const Part* of = nullptr);
  Seen summing(const IndexedTensor& entry, const StoredPiece& piece,
               std::shared_ptr<const ReadableFile> file, ReadChecks& checks, const Part* of);
  std::vector<ReadJob> plan(std::span<const ShardedTensor> tensors, ReadAs as) const;
  std::vector<ReadJob> plan(std::span<const ShardedTensor> tensors, ReadAs as, ControlPlane* node,
                            std::unique_ptr<SharedReads>& shared) const;
  void read(const Part& of, ReadChecks& checks, const TellBytes& tell);
};

std::vector<ReadJob> CheckpointReader::State::plan(std::span<const ShardedTensor> tensors,
                                                   ReadAs as) const {
  std::map<const IndexedTensor*, ReadJob> jobs;
  for (const ShardedTensor& tensor : tensors) {
    const IndexedTensor& entry = this->entry(tensor.name);
    const DType stored = entry.tensor.dtype;
    const bool widens = as == ReadAs::f32 && tensor.dtype == DType::f32 && can_be_widened(stored);
    check(entry.tensor.shape == tensor.global && (stored == tensor.dtype || widens), "checkpoint",
          "{} is stored as {} of {} in {}; {} of {} was asked for", tensor.name,
          entry.tensor.shape.to_string(), name_of(entry.tensor.dtype), folder.string(),
          tensor.global.to_string(), name_of(tensor.dtype));
    ReadJob& job = jobs[&entry];
    job.entry = &entry;
    job.tensors.push_back(&tensor);
  }
  std::vector<ReadJob> sorted;
  sorted.reserve(jobs.size());
  for (auto& [entry, job] : jobs) sorted.push_back(std::move(job));
  std::ranges::stable_sort(sorted, {}, [](const ReadJob& job) { return place_of(*job.entry); });
  return sorted;
}

// The others learn that this rank reads nothing before it throws.
std::vector<ReadJob> CheckpointReader::State::plan(std::span<const ShardedTensor> tensors,
                                                   ReadAs as, ControlPlane* node,
                                                   std::unique_ptr<SharedReads>& shared) const {
  std::vector<ReadJob> jobs;
  std::exception_ptr problem;
  try {
    jobs = plan(tensors, as);
  } catch (...) {
    problem = std::current_exception();
  }
  if (node != nullptr) shared = SharedReads::join(*node, index, jobs);
  if (problem) std::rethrow_exception(problem);
  return jobs;
}

void CheckpointReader::State::read(const Part& of, ReadChecks& checks, const TellBytes& tell) {
  const ReadJob& job = of.job;
  ReadBuffers& buffers = of.buffers;
  const DType stored = job.entry->tensor.dtype;
  const auto read_part = [&](const Box& part, void* out) {
    read(*job.entry, part, out, &checks, &of);
    tell(part.extent.elements() * size_of(stored));
  };
  for (const ShardedTensor* tensor : job.tensors) {
    for (const Piece& piece : tensor->pieces) {
      if (piece.box.empty()) continue;
      buffers.host.send(*tensor, piece, [&](const Box& part, void* out) {
        if (stored == tensor->dtype) return read_part(part, out);
        buffers.widening.read(part, stored, static_cast<float*>(out), read_part);
      });
    }
  }
  for (const StoredPiece& piece : job.entry->pieces) {
    if (piece.compressed || !checks.is_begun(piece)) continue;
    const auto file = open(piece.shard);
    naming(file->path(), [&] {
      auto& sum = checks.of(piece, bytes_of(*job.entry, piece));
      add_up_to(sum.bytes(), piece, *file, buffers.between, sum);
    });
  }
}

// What is done with a read's bytes: they are added to the piece's sum, with those before them that
// this rank has not read.
Seen CheckpointReader::State::summing(const IndexedTensor& entry, const StoredPiece& piece,
                                      std::shared_ptr<const ReadableFile> file, ReadChecks& checks,
                                      const Part* of) {
  if (of != nullptr && !checks_sum(of->job, piece, ranks)) return {};
  ReadChecks::OfPiece& sum = checks.of(piece, bytes_of(entry, piece));
  return
      [&sum, &piece, file = std::move(file), of](int64_t begin, const void* data, int64_t bytes) {
        if (piece.compressed) return sum.add(begin, data, bytes);
        naming(file->path(), [&] {
          if (of != nullptr) add_up_to(begin, piece, *file, of->buffers.between, sum);
          sum.add(begin, data, bytes);
        });
      };
}

void CheckpointReader::State::read(const IndexedTensor& entry, const Box& box, void* out,
                                   ReadChecks* checks, const Part* of) {
  check_box(entry.tensor, box);
  const int64_t element_bytes = size_of(entry.tensor.dtype);
  int64_t elements = 0;
  for (const StoredPiece& piece : entry.pieces) {
    if (intersection(piece.box, box).empty()) continue;
    const auto file = open(piece.shard);
    const Seen seen = checks == nullptr ? Seen() : summing(entry, piece, file, *checks, of);
    if (piece.compressed) {
      elements += naming(file->path(), [&] {
        return read_compressed(file->path(), entry.tensor, piece, box, out, seen);
      });
      continue;
    }
    if (of != nullptr && of->shared != nullptr && of->shared->has(piece)) {
      elements += of->shared->read(
          piece, element_bytes, box, out, [&](int shard) { return open(shard); }, of->buffers.view,
          seen);
      continue;
    }
    BoxInFile stored{file.get(), piece.address, piece.box, way_to(entry.tensor, checks)};
    if (of != nullptr) stored.window = &of->buffers.window;
    if (of != nullptr) stored.view = &of->buffers.view;
    elements += read_common(stored, box, element_bytes, out, seen);
  }
  check(elements == box.extent.elements(), "checkpoint", "{} of {} elements of {} are stored in {}",
        elements, box.extent.elements(), entry.tensor.name, folder.string());
}

void CheckpointReader::State::verify_mappings() const {
  try {
    verify_master(folder, index);
  } catch (const Error&) {
    if (!lost_shards()) throw;
    verify_master(folder, read_master(folder).second);
  }
}

void CheckpointReader::State::verify(int shard, const PiecesOfShard& pieces,
                                     const std::function<bool(const StoredPiece&)>& is_checked,
                                     const std::function<void(int64_t bytes)>& verified) const {
  try {
    verify_shard(folder, index.shards[static_cast<size_t>(shard)], pieces, is_checked, verified);
  } catch (const Error&) {
    if (index.shards[static_cast<size_t>(shard)].part != moments_part || !lost_shards()) throw;
  }
}

CheckpointReader::CheckpointReader(const fs::path& folder, int part, int parts)
    : state_(std::make_unique<State>(folder, part, parts)) {}
CheckpointReader::~CheckpointReader() = default;
CheckpointReader::CheckpointReader(CheckpointReader&&) noexcept = default;

const CheckpointInfo& CheckpointReader::info() const { return state_->info; }

const std::vector<StoredTensor>& CheckpointReader::tensors() const { return state_->names; }

const StoredTensor* CheckpointReader::find(const std::string& name) const {
  const auto& names = state_->names;
  const auto at = std::ranges::lower_bound(names, name, {}, &StoredTensor::name);
  return at != names.end() && at->name == name ? &*at : nullptr;
}

void CheckpointReader::read(const std::string& name, const Box& box, void* out,
                            ReadChecks* checks) const {
  state_->read(state_->entry(name), box, out, checks);
}

const CheckpointIndex& CheckpointReader::index() const { return state_->index; }

std::vector<int32_t> CheckpointReader::read_and_check(
    std::span<const ShardedTensor> tensors, const std::function<void(int64_t bytes)>& progress,
    ReadAs as, ControlPlane* node) const {
  std::unique_ptr<SharedReads> shared;
  const std::vector<ReadJob> jobs = state_->plan(tensors, as, node, shared);
  ReadChecks checks(readers_of(jobs));
  int64_t bytes = 0;
  bool to_gpu = false;
  for (const ShardedTensor& tensor : tensors) {
    to_gpu = to_gpu || tensor.device == Device::cuda;
    for (const Piece& piece : tensor.pieces) {
      bytes += piece.box.extent.elements() * size_of(tensor.dtype);
    }
  }
  const int gpu = to_gpu ? describe_gpu().index : 0;
  const auto parts = for_threads(jobs);
  const auto make_worker = [&]() -> ReadWorker {
    if (to_gpu) select_gpu(gpu);  // of a thread that is new
    return [&, buffers = std::make_shared<ReadBuffers>()](size_t part, const TellBytes& tell) {
      for (const ReadJob& job : parts[part])
        state_->read({job, *buffers, shared.get()}, checks, tell);
    };
  };
  read_on_threads(parts.size(), bytes, make_worker, progress);
  std::vector<int32_t> checked;
  for (const IndexedTensor& entry : state_->index.tensors) {
    for (const StoredPiece& piece : entry.pieces) checked.push_back(checks.is_checked(piece));
  }
  return checked;
}

int64_t CheckpointReader::bytes() const {
  int64_t all = 0;
  for (const StoredShard& shard : state_->index.shards) all += shard.bytes;
  return all;
}

void CheckpointReader::verify(int part, int parts,
                              const std::function<void(int64_t bytes)>& verified) const {
  verify_rest({}, part, parts, verified);
}

void CheckpointReader::verify_rest(std::span<const int32_t> checked, int part, int parts,
                                   const std::function<void(int64_t bytes)>& verified) const {
  check(parts >= 1 && part >= 0 && part < parts, "checkpoint",
        "part {} of {} was to be verified; parts are 0 to one less than their number", part, parts);
  std::set<const StoredPiece*> known;
  size_t number = 0;
  for (const IndexedTensor& entry : state_->index.tensors) {
    for (const StoredPiece& piece : entry.pieces) {
      if (number < checked.size() && checked[number] != 0) known.insert(&piece);
      ++number;
    }
  }
  const auto is_checked = [&](const StoredPiece& piece) { return known.contains(&piece); };
  if (part == 0) state_->verify_mappings();
  const auto pieces = pieces_by_shard(state_->index);
  for (size_t i = static_cast<size_t>(part); i < state_->index.shards.size();
       i += static_cast<size_t>(parts)) {
    state_->verify(static_cast<int>(i), pieces[i], is_checked, verified);
  }
}

}  // namespace switchyard
