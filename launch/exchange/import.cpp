#include "launch/exchange/import.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <limits>

#include "core/error.h"
#include "core/files.h"
#include "core/logging.h"
#include "core/sha256.h"
#include "data/progress.h"
#include "launch/engine/load_weights.h"
#include "launch/exchange/comparison.h"
#include "launch/exchange/published_model.h"
#include "launch/exchange/rounding.h"
#include "launch/path/companions.h"
#include "launch/path/imported.h"
#include "launch/path/path_lock.h"
#include "launch/path/unfinished_folder.h"
#include "launch/path/verify.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

constexpr int64_t usual_sequence_length = 4096;

// Steps are told apart by the folder above theirs.
std::string name_of_model(const PublishedModel& model, const ImportRequest& request) {
  return published_name(model.folder(), request.step.has_value());
}

ImportedWeights describe_files(const PublishedModel& model, const ImportRequest& request) {
  ImportedWeights all{.model = name_of_model(model, request),
                      .architecture = std::string(name_of(model.said().architecture)),
                      .files = {},
                      .step = request.step.value_or(0)};
  if (request.dtype) all.dtype = name_of(*request.dtype);
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
  return imported_path(model.config(), length, tokenizer_of(model.folder()));
}

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

CheckpointInfo info_of(const PublishedModel& model, const PathSpecification& path,
                       const ImportRequest& request) {
  CheckpointInfo info;
  info.step = request.step.value_or(0);
  info.loss = std::numeric_limits<double>::quiet_NaN();
  info.documents = {
      {"specification", path.to_json()},
      {"lineage", fmt::format("the published weights of '{}'\n", name_of_model(model, request))},
      {"model", path.model.to_json()}};
  return info;
}

void compare(const PublishedModel& model, const ImportRequest& request,
             const fs::path& checkpoints) {
  if (!request.compares) return;
  const CheckpointReader reader(checkpoint_folder(checkpoints, request.step.value_or(0)));
  Stream stream;
  const auto load = [&](std::span<const Parameter> parameters) {
    load_weights(parameters, reader, stream);
  };
  compare_logits(model.folder(), model.config(), load, request.dtype);
}

// Writes the weights and compares them; files are hashed by another thread meanwhile.
void write_weights(const PublishedModel& model, const PathSpecification& path,
                   const ImportRequest& request, const fs::path& checkpoints, int64_t memory) {
  auto hashed = std::async(std::launch::async, [&] { return describe_files(model, request); });
  const int64_t part = conversion_part(memory);
  CheckpointStreamWriter writer(checkpoints, info_of(model, path, request), part);
  RoundingLoss loss;
  Progress progress("reading", model.files().bytes(), true);
  for (const auto& weight : model.weights()) {
    write_weight(model, weight, request.dtype.value_or(weight.dtype), writer, loss);
    progress.add(weight.map.shape.elements() * size_of(weight.dtype));
  }
  writer.set_document(import_document, json_text(imported_json(hashed.get())));
  writer.finish();
  if (request.dtype) log::info("{}", describe(loss, *request.dtype));
  compare(model, request, checkpoints);
}

// Whether the step is there already, whole, of the same files.
bool is_there(const PublishedModel& model, const ImportRequest& request, const RunFolder& run) {
  const int64_t step = request.step.value_or(0);
  if (!run.has(step)) return false;
  const CheckpointReader reader(run.checkpoint(step).folder);
  const auto asked = describe_files(model, request), there = imported_weights_in(reader.info());
  const std::string name = run.folder().string();
  check(asked.dtype == there.dtype, "convert",
        "'{}' has step {} already, {}; another --step, or a new folder, is allowed", name, step,
        there.dtype.empty() ? "as its files have it" : "in " + there.dtype);
  check(is_same_import(asked, there), "convert",
        "'{}' has step {} already, made of other files ('{}'); another --step is allowed", name,
        step, there.model);
  verify_with_progress(reader);
  return true;
}

void check_same_model(const PublishedModel& model, const ImportRequest& request,
                      const RunFolder& run, const PathSpecification& path) {
  const std::string name = run.folder().string();
  check(path.kind == "imported", "convert",
        "'{}' exists already and is no imported model; a new folder is allowed", name);
  check(path.model == model.config(), "convert",
        "'{}' is of another model than '{}'; steps of one model are allowed", name,
        model.folder().string());
  check(request.sequence_length == 0 || request.sequence_length == path.sequence_length(),
        "convert", "--seq-length {}, but '{}' has {}; steps of one run have one",
        request.sequence_length, name, path.sequence_length());
  const std::string tokenizer = tokenizer_of(model.folder());
  check(tokenizer == path.tokenizer, "convert",
        "'{}' has {} tokenizer than '{}'; steps of one model are allowed", model.folder().string(),
        tokenizer.empty() ? "no" : "another", name);
  const auto unlike = unlike_companions(model.folder(), run.folder() / companion_folder);
  if (unlike.empty()) return;
  log::warning("{}", log::folded(fmt::format("'{}' and what '{}' keeps of its first step differ in "
                                             "{}; exports have the first step's",
                                             model.folder().string(), name, unlike)));
}

// Adds the step to the run, whole and compared; false: it is there already.
bool add_step(const PublishedModel& model, const ImportRequest& request, const RunFolder& run,
              int64_t memory) {
  const auto path = run.read();
  check_same_model(model, request, run, path);
  const PathLock lock(run, std::chrono::minutes(10));  // other steps may be on their way
  if (is_there(model, request, run)) return false;
  const fs::path made = run.folder() / "unfinished";
  std::error_code problem;
  fs::remove_all(made, problem);
  const int64_t step = request.step.value_or(0);
  try {
    write_weights(model, path, request, made, memory);
    run.check_held();
    remove_checkpoint(checkpoint_folder(run.checkpoints(), step));  // an incomplete one
    fs::rename(checkpoint_folder(made, step), checkpoint_folder(run.checkpoints(), step));
    fs::remove_all(made, problem);
  } catch (const std::exception&) {
    fs::remove_all(made, problem);
    throw;
  }
  check(!sync_folder(run.checkpoints()), "file", "'{}' cannot be written",
        run.checkpoints().string());
  return true;
}

// False: another process has made it meanwhile.
bool make_run(const PublishedModel& model, const ImportRequest& request, int64_t memory) {
  const auto path = specification_of(model, request);
  UnfinishedFolder made(request.to);
  if (RunFolder(request.to).exists()) return false;
  write_weights(model, path, request, made.run().checkpoints(), memory);
  copy_companions(model.folder(), made.run().folder() / companion_folder);
  made.run().write(path);
  made.finish();
  return true;
}

// False: it is there already.
bool make_or_add(const PublishedModel& model, const ImportRequest& request, int64_t memory) {
  const RunFolder run(request.to);
  if (!run.exists()) {
    run.check_name();
    check(!run.taken(), "convert", "'{}' exists already and is no run; a new folder is allowed",
          request.to.string());
    if (make_run(model, request, memory)) return true;
  }
  return add_step(model, request, run, memory);
}

}  // namespace

void import_model(const ImportRequest& request) {
  const auto start = std::chrono::steady_clock::now();
  const PublishedModel model(request.from, request.ignored_keys);
  for (const auto& remark : model.remarks()) log::info("{}", log::folded(remark));
  const int64_t memory = conversion_memory(request.memory_bytes, model.config(), request.compares);
  const std::string name = name_of_model(model, request);
  if (!make_or_add(model, request, memory)) {
    return log::info("'{}' has the weights of '{}' already, step {}", request.to.string(), name,
                     request.step.value_or(0));
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  log::info("'{}': step {}, {} parameters of '{}' ({}), {:.1f} s", request.to.string(),
            request.step.value_or(0), model.config().parameters(), name,
            name_of(model.said().architecture), took.count());
}

}  // namespace switchyard
