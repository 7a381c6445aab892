#include "launch/exchange/import.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <limits>

#include "core/error.h"
#include "core/logging.h"
#include "core/sha256.h"
#include "data/progress.h"
#include "launch/engine/load_weights.h"
#include "launch/exchange/companions.h"
#include "launch/exchange/comparison.h"
#include "launch/exchange/published_model.h"
#include "launch/exchange/rounding.h"
#include "launch/path/imported.h"
#include "launch/path/unfinished_folder.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

constexpr int64_t usual_sequence_length = 4096;
constexpr int64_t largest_part = int64_t{64} << 20;

ImportedWeights describe_files(const PublishedModel& model) {
  ImportedWeights all{.model = model.name(),
                      .architecture = std::string(name_of(model.said().architecture)),
                      .files = {}};
  auto names = model.files().files();
  names.emplace_back("config.json");
  for (const auto& name : names) {
    const fs::path file = model.folder() / name;
    all.files.push_back(
        {name.string(), static_cast<int64_t>(fs::file_size(file)), sha256_of_file(file)});
  }
  return all;
}

PathSpecification specification_of(const PublishedModel& model, const ImportRequest& request) {
  const int64_t positions = model.config().max_positions;
  const int64_t asked = request.sequence_length;
  check(asked == 0 || model.config().positions == Positions::rotary || asked <= positions,
        "convert", "--seq-length {}; the model has {} learned positions", asked, positions);
  const int64_t length = asked > 0       ? asked
                         : positions > 0 ? std::min(positions, usual_sequence_length)
                                         : usual_sequence_length;
  return imported_path(model.config(), length, "");
}

// Where an import's checkpoint is written, and as which step.
struct Target {
  RunFolder run;
  int64_t step = 0;
};

void write_weight(const PublishedModel& model, const PublishedModel::Weight& weight, DType dtype,
                  CheckpointStreamWriter& writer, RoundingLoss& loss) {
  const StoredTensor stored{tensor_name(groups::model, weight.map.ours), weight.map.shape, dtype};
  std::vector<std::byte> raw;
  writer.add(stored, [&](const Box& part, void* out) {
    const int64_t first = part.offset[0], rows = part.extent[0];
    if (dtype == weight.dtype) {
      return model.read(weight, first, rows, static_cast<std::byte*>(out));
    }
    const int64_t elements = part.extent.elements();
    raw.resize(static_cast<size_t>(elements * size_of(weight.dtype)));
    model.read(weight, first, rows, raw.data());
    convert_elements(raw.data(), weight.dtype, out, dtype, elements, weight.map.ours, loss);
  });
}

CheckpointInfo info_of(const PublishedModel& model, const PathSpecification& path, int64_t step) {
  CheckpointInfo info;
  info.step = step;
  info.loss = std::numeric_limits<double>::quiet_NaN();
  info.documents = {{"specification", path.to_json()},
                    {"lineage", fmt::format("the published weights of '{}'\n", model.name())},
                    {"model", path.model.to_json()}};
  return info;
}

// Files are hashed by another thread while they are read here.
void write_weights(const PublishedModel& model, const PathSpecification& path,
                   const ImportRequest& request, const Target& target, int64_t memory) {
  auto hashed = std::async(std::launch::async, [&] { return describe_files(model); });
  const int64_t part = std::clamp<int64_t>(memory / 4, 1, largest_part);
  CheckpointStreamWriter writer(target.run.checkpoints(), info_of(model, path, target.step), part);
  RoundingLoss loss;
  Progress progress("reading", model.files().bytes(), true);
  for (const auto& weight : model.weights()) {
    write_weight(model, weight, request.dtype.value_or(weight.dtype), writer, loss);
    progress.add(weight.map.shape.elements() * size_of(weight.dtype));
  }
  writer.set_document(import_document, json_text(imported_json(hashed.get())));
  writer.finish();
  if (request.dtype) log::info("{}", describe(loss, *request.dtype));
}

void compare(const PublishedModel& model, const ImportRequest& request, const Target& target) {
  if (!request.compares) return;
  const CheckpointReader reader(target.run.checkpoint(target.step).folder);
  Stream stream;
  const auto load = [&](std::span<const Parameter> parameters) {
    load_weights(parameters, reader, stream);
  };
  compare_logits(model.folder(), model.config(), load, request.dtype);
}

// Whether the step is there already, of the same files.
bool is_there(const PublishedModel& model, const ImportRequest& request, const Target& target) {
  if (!target.run.has(target.step)) return false;
  const CheckpointReader reader(target.run.checkpoint(target.step).folder);
  const auto asked = describe_files(model), there = imported_weights_in(reader.info());
  const auto same = [](const auto& a, const auto& b) {
    return a.name == b.name && a.sha256 == b.sha256;
  };
  const std::string name = target.run.folder().string();
  check(std::ranges::equal(asked.files, there.files, same), "convert",
        "'{}' has step {} already, made of other files ('{}'); another --step is allowed", name,
        target.step, there.model);
  for (const auto& weight : model.weights()) {
    const auto* stored = reader.find(tensor_name(groups::model, weight.map.ours));
    const DType dtype = request.dtype.value_or(weight.dtype);
    check(stored != nullptr && stored->dtype == dtype, "convert",
          "'{}' has step {} already, with '{}' in {}; {} was asked for", name, target.step,
          weight.map.ours, stored == nullptr ? "" : name_of(stored->dtype), name_of(dtype));
  }
  return true;
}

// False: it is there already.
bool add_step(const PublishedModel& model, const ImportRequest& request, const Target& target,
              int64_t memory) {
  const auto path = target.run.read();
  const std::string name = target.run.folder().string();
  check(path.kind == "imported", "convert",
        "'{}' exists already and is no imported model; a new folder is allowed", name);
  check(path.model == model.config(), "convert",
        "'{}' is of another model than '{}'; steps of one model are allowed", name,
        model.folder().string());
  const PathLock lock(target.run);
  if (is_there(model, request, target)) return false;
  write_weights(model, path, request, target, memory);
  try {
    compare(model, request, target);
  } catch (const Error&) {
    remove_checkpoint(checkpoint_folder(target.run.checkpoints(), target.step));
    throw;
  }
  return true;
}

void make_run(const PublishedModel& model, const ImportRequest& request, int64_t step,
              int64_t memory) {
  const auto path = specification_of(model, request);
  UnfinishedFolder made(request.to);
  const Target target{made.run(), step};
  write_weights(model, path, request, target, memory);
  copy_companions(model.folder(), made.run().folder() / companion_folder);
  made.run().write(path);
  compare(model, request, target);
  made.finish();
}

}  // namespace

void import_model(const ImportRequest& request) {
  const auto start = std::chrono::steady_clock::now();
  const PublishedModel model(request.from, request.ignored_keys);
  for (const auto& remark : model.remarks()) log::info("{}", log::folded(remark));
  const int64_t memory = conversion_memory(request.memory_bytes, model.config(), request.compares);
  const Target target{RunFolder(request.to), request.step.value_or(0)};
  if (target.run.exists()) {
    if (!add_step(model, request, target, memory)) {
      return log::info("'{}' has the weights of '{}' already, step {}", request.to.string(),
                       model.name(), target.step);
    }
  } else {
    target.run.check_name();
    check(!target.run.taken(), "convert",
          "'{}' exists already and is no run; a new folder is allowed", request.to.string());
    make_run(model, request, target.step, memory);
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  log::info("'{}': step {}, {} parameters of '{}' ({}), {:.1f} s", request.to.string(), target.step,
            model.config().parameters(), model.name(), name_of(model.said().architecture),
            took.count());
}

}  // namespace switchyard
