#include "launch/bench/checkpoint_bench.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "core/host_memory.h"
#include "core/logging.h"
#include "core/memory.h"
#include "core/random.h"
#include "launch/bench/disk_rates.h"
#include "model/parameters.h"
#include "parallel/checkpoint/checkpoint.h"
#include "parallel/checkpoint/state_groups.h"
#include "parallel/comm/communicators.h"

namespace switchyard {

namespace fs = std::filesystem;

namespace {

using Clock = std::chrono::steady_clock;
using Cut = int (*)(const Shape&);  // the axis along which ranks share a tensor

int rows(const Shape&) { return 0; }
int columns(const Shape& shape) { return shape.rank() - 1; }

// Without memory: weights, master weights and both moments of every parameter.
std::vector<ShardedTensor> state_of(const GptConfig& model, DType weights) {
  std::vector<ShardedTensor> state;
  const auto parameters = make_parameters(model, {}, 0, {0, model.layers, true, true});
  const auto add = [&](std::string_view group, DType dtype, std::string_view alias) {
    for (const Parameter& p : parameters) {
      ShardedTensor tensor{tensor_name(group, p.name), p.global, dtype, {}, {}};
      if (!alias.empty()) tensor.aliases = {tensor_name(alias, p.name)};
      state.push_back(std::move(tensor));
    }
  };
  const bool own_master = weights != DType::f32;
  add(groups::model, weights, own_master ? std::string_view() : groups::master);
  if (own_master) add(groups::master, DType::f32, {});
  add(groups::exp_avg, DType::f32, {});
  add(groups::exp_avg_sq, DType::f32, {});
  return state;
}

// A rank's part of the state, one tensor behind the other in `memory`. Returns its bytes.
int64_t cut(std::vector<ShardedTensor>& state, Cut axis_of, int ranks, int rank, void* memory) {
  int64_t used = 0;
  for (ShardedTensor& tensor : state) {
    Box box = Box::whole(tensor.global);
    const int axis = axis_of(tensor.global);
    const int64_t all = tensor.global[axis], begin = all * rank / ranks;
    box.offset[axis] = begin;
    box.extent[axis] = all * (rank + 1) / ranks - begin;
    tensor.pieces = {{box, static_cast<char*>(memory) + used}};
    used += (box.extent.elements() * size_of(tensor.dtype) + 63) / 64 * 64;
  }
  return used;
}

int64_t elements_bytes(const std::vector<ShardedTensor>& state) {
  int64_t bytes = 0;
  for (const ShardedTensor& tensor : state) {
    for (const Piece& piece : tensor.pieces) {
      bytes += piece.box.extent.elements() * size_of(tensor.dtype);
    }
  }
  return bytes;
}

// Out of the system's cache, behind a read of all through it: a virtual machine's host takes back
// memory that was free for seconds, and gives it again when it is used, at several times the cost
// of a read. So no way is the only one to pay for that.
void make_cold(const fs::path& folder) {
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    read_raw(entry.path(), DiskWay::cached);
    evict(entry.path());
  }
}

// One rank of the bench.
class BenchedRank {
 public:
  BenchedRank(CheckpointBench& result, const GptConfig& model, fs::path folder, Communicator& world)
      : result_(result),
        folder_(std::move(folder)),
        world_(world),
        by_rows_(state_of(model, result.weights)),
        by_columns_(by_rows_),
        raw_(folder_ / ("raw-" + std::to_string(world.rank()))),
        writer_(folder_, world.control()) {
    const auto bytes_of = [&](std::vector<ShardedTensor>& state, Cut axis, void* memory) {
      return cut(state, axis, world.size(), world.rank(), memory);
    };
    const int64_t bytes = std::max({bytes_of(by_rows_, rows, nullptr),
                                    bytes_of(by_columns_, columns, nullptr), int64_t{64} << 20});
    memory_ = Memory(bytes + 4096, Device::cpu, "benched state");
    bytes_of(by_rows_, rows, memory_.data());
    bytes_of(by_columns_, columns, memory_.data());
    bytes_ = elements_bytes(by_rows_);
    fill();
  }
  ~BenchedRank() {
    std::error_code ignored;
    fs::remove(raw_, ignored);
  }
  BenchedRank(const BenchedRank&) = delete;
  BenchedRank& operator=(const BenchedRank&) = delete;

  int64_t bytes() const { return bytes_; }
  void run_round(int64_t step);

 private:
  void fill();
  void check_rest(const CheckpointReader& reader, std::vector<int32_t> checked);
  void timed(size_t line, const std::function<void()>& body);
  void write_and_read_raw(size_t first_line, DiskWay way);

  CheckpointBench& result_;
  fs::path folder_;
  Communicator& world_;
  std::vector<ShardedTensor> by_rows_, by_columns_;
  fs::path raw_;
  CheckpointWriter writer_;
  Memory memory_;
  int64_t bytes_ = 0;
};

// Bits that nothing between here and the disk can make smaller.
void BenchedRank::fill() {
  const RandomKey key{static_cast<uint64_t>(world_.rank()), 0, random_purpose("bench")};
  auto* words = static_cast<uint64_t*>(memory_.data());
  uint64_t word = key.word(0) | 1u;
  for (int64_t i = 0; i < memory_.bytes() / 8; ++i) {
    word ^= word << 13;  // xorshift64
    word ^= word >> 7;
    word ^= word << 17;
    words[i] = word;
  }
}

double core_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// From when all ranks begin until all have ended.
void BenchedRank::timed(size_t line, const std::function<void()>& body) {
  ControlPlane& control = world_.control();
  control.barrier("bench");
  const auto begin = Clock::now();
  const double begin_of_cores = core_seconds();
  control.agree(body);
  if (world_.rank() != 0) return;
  auto& all = result_.lines[line];
  all.seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
  all.core_seconds.push_back(core_seconds() - begin_of_cores);
  log::info("{}: {:.3f} s, {:.2f} GB/s, {:.3f} s of cores", all.name, all.seconds.back(),
            static_cast<double>(result_.bytes) / 1e9 / all.seconds.back(), all.core_seconds.back());
}

void BenchedRank::write_and_read_raw(size_t first_line, DiskWay way) {
  const std::span data(static_cast<std::byte*>(memory_.data()),
                       static_cast<size_t>(memory_.bytes()));
  write_raw(raw_, data, bytes_, DiskWay::cached);  // as make_cold() reads
  evict(raw_);
  fs::remove(raw_);
  timed(first_line, [&] { write_raw(raw_, data, bytes_, way); });
  evict(raw_);
  timed(first_line + 1, [&] { read_raw(raw_, way); });
  evict(raw_);
  timed(first_line + 2, [&] { read_raw(raw_, way, data); });
  fs::remove(raw_);
}

// What training checks behind a load: all that no rank has checked on the way.
void BenchedRank::check_rest(const CheckpointReader& reader, std::vector<int32_t> checked) {
  Stream host;
  world_.all_reduce(std::span(checked), ReduceOp::max, host, {"checked pieces"}).wait(host);
  reader.verify_rest(checked, world_.rank(), world_.size());
}

enum Line : size_t {
  cached_write,
  cached_read,
  cached_read_to_state,
  direct_write,
  direct_read,
  direct_read_to_state,
  stage,
  save,
  opening,
  load,
  rest,  // behind each load
  load_columns,
  rest_of_columns,
  verify
};

void BenchedRank::run_round(int64_t step) {
  write_and_read_raw(cached_write, DiskWay::cached);
  write_and_read_raw(direct_write, DiskWay::direct);
  ControlPlane& control = world_.control();
  CheckpointInfo info;
  info.step = step;
  const int64_t limit = free_host_bytes() / 4 / world_.size();  // as training does
  int64_t uncopied = 0;
  timed(stage, [&] { uncopied = writer_.stage(info, by_rows_, limit); });
  const bool some_left = control.agree_and_ask([] {}, [&] { return uncopied > 0; });
  timed(save, [&] {
    if (some_left) writer_.write_uncopied();
    writer_.commit();
  });
  const fs::path checkpoint = checkpoint_folder(folder_, step);
  const auto prepare = [&] {
    control.agree([&] {
      if (world_.rank() == 0) make_cold(checkpoint);
    });
  };
  const auto cold = [&](size_t line, const std::function<void(const CheckpointReader&)>& body) {
    prepare();
    timed(line, [&] { body(CheckpointReader(checkpoint, world_.rank(), world_.size())); });
  };
  cold(opening, [](const CheckpointReader&) {});
  const auto load_all = [&](size_t line, std::span<const ShardedTensor> tensors) {
    std::optional<CheckpointReader> reader;
    std::vector<int32_t> checked;
    prepare();
    timed(line, [&] {
      reader.emplace(checkpoint, world_.rank(), world_.size());
      checked = reader->read_and_check(tensors, {}, ReadAs::stored, &world_.control());
    });
    timed(line + 1, [&] { check_rest(*reader, checked); });
  };
  load_all(load, by_rows_);
  load_all(load_columns, by_columns_);
  cold(verify,
       [&](const CheckpointReader& reader) { reader.verify(world_.rank(), world_.size()); });
  control.agree([&] {
    if (world_.rank() == 0) remove_checkpoint(checkpoint);
  });
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

CheckpointBench described(const Settings& s) {
  CheckpointBench r;
  r.preset = s.text("preset");
  r.weights = s.flag("bf16") ? DType::bf16 : s.flag("fp16") ? DType::f16 : DType::f32;
  r.ranks = static_cast<int>(s.integer("checkpoint-ranks"));
  r.rounds = static_cast<int>(s.integer("steps"));
  const auto line = [&](const char* name, const char* yardstick) {
    r.lines.push_back({name, yardstick, {}, {}});
  };
  line("raw write", "");  // in the order of enum Line
  line("raw read", "");
  line("raw read to state", "");
  line("raw write, direct", "");
  line("raw read, direct", "");
  line("raw read to state, direct", "");
  line("copy to host", "");
  line("save", "raw write");
  line("open", "");
  line("load", "raw read");
  line("check the rest", "");
  line("load as columns", "raw read");
  line("check its rest", "");
  line("verify", "raw read");
  return r;
}

void check_room(const fs::path& folder, int64_t bytes) {
  const auto room = static_cast<int64_t>(fs::space(folder).available);
  const int64_t needed = bytes + bytes / 16 + (int64_t{64} << 20);
  check(room >= needed, ExitCode::storage, "bench",
        "--checkpoint {} has {} bytes of room; {} are needed", folder.string(), room, needed);
}

}  // namespace

double CheckpointBench::Line::median() const { return switchyard::median(seconds); }

double CheckpointBench::Line::median_of_cores() const { return switchyard::median(core_seconds); }

const CheckpointBench::Line& CheckpointBench::line(const std::string& name) const {
  const auto found = std::ranges::find(lines, name, &Line::name);
  check(found != lines.end(), "bench", "nothing is measured by the name '{}'", name);
  return *found;
}

double CheckpointBench::bytes_per_second(const Line& line) const {
  return static_cast<double>(bytes) / line.median();
}

double CheckpointBench::share(const Line& line) const {
  const Line& cached = this->line(line.yardstick);
  const Line& direct = this->line(line.yardstick + ", direct");
  return std::min(cached.median(), direct.median()) / line.median();
}

namespace {

// Those of the folder and of the ones above it that were not there go again.
class MadeFolders {
 public:
  explicit MadeFolders(const fs::path& folder) : missing_(missing_folders(folder)) {
    make_folder(folder, "bench");
  }
  ~MadeFolders() {
    std::error_code ignored;
    for (const fs::path& folder : missing_) fs::remove(folder, ignored);
  }
  MadeFolders(const MadeFolders&) = delete;
  MadeFolders& operator=(const MadeFolders&) = delete;

 private:
  std::vector<fs::path> missing_;  // the lowest first
};

}  // namespace

CheckpointBench bench_checkpoint(const Settings& s) {
  CheckpointBench result = described(s);
  constexpr int most_ranks = 64;
  check(result.ranks >= 1 && result.ranks <= most_ranks, "bench",
        "--checkpoint-ranks {}; 1 to {} is allowed", result.ranks, most_ranks);
  check(result.rounds >= 1, "bench", "--steps {}; at least 1 is allowed", result.rounds);
  const fs::path folder = s.text("checkpoint");
  const MadeFolders made(folder);
  check(fs::is_empty(folder), "bench", "--checkpoint {} is not empty; an empty folder is needed",
        folder.string());
  const GptConfig model = preset(result.preset);
  auto state = state_of(model, result.weights);
  cut(state, rows, 1, 0, nullptr);
  result.bytes = elements_bytes(state);
  check_room(folder, result.bytes);
  const auto run = [&](Communicator& world) {
    BenchedRank rank(result, model, folder, world);
    for (int round = 1; round <= result.rounds; ++round) rank.run_round(round);
  };
  if (result.ranks == 1) {
    run(*make_self_communicator());
  } else {
    run_thread_ranks(result.ranks, {std::chrono::minutes(30)}, run);
  }
  return result;
}

}  // namespace switchyard
