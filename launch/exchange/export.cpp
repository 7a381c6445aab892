#include "launch/exchange/export.h"

#include <algorithm>
#include <chrono>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/logging.h"
#include "data/progress.h"
#include "data/tokenizer.h"
#include "launch/engine/load_weights.h"
#include "launch/exchange/companions.h"
#include "launch/exchange/comparison.h"
#include "launch/exchange/rounding.h"
#include "launch/path/run_folder.h"
#include "launch/path/unfinished_folder.h"
#include "launch/path/verify.h"
#include "launch/path/weights_option.h"
#include "model/exchange/foreign_config.h"
#include "model/exchange/map_copy.h"
#include "model/exchange/weight_map.h"
#include "parallel/checkpoint/checked_reads.h"
#include "parallel/checkpoint/safetensors.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

constexpr int64_t largest_part = int64_t{64} << 20;

// One of their tensors and those of ours that it is made of.
struct Foreign {
  std::string name;
  Shape shape;
  DType dtype = DType::f32;
  std::vector<WeightMap> maps;
};

// What is exported, opened and checked.
struct Source {
  Source(const ExportRequest& request, const RunReference& reference)
      : run(reference.folder),
        path(run.read()),
        entry(run.checkpoint(reference.step)),
        reader(entry.folder),
        companions(companions_of(run)) {
    check_weights_option(&reader, request.weights);
    if (path.model.max_positions == 0) path.model.max_positions = path.sequence_length();
  }

  RunFolder run;
  PathSpecification path;
  CheckpointEntry entry;
  CheckpointReader reader;
  fs::path companions;
};

// The one that it came from, where that still expresses it.
Architecture choose_architecture(const ExportRequest& request, const Source& source) {
  if (request.architecture) return architecture_of(source.path.model, request.architecture);
  const auto config = parse_json_or_discard(text_of(source.companions, "config.json"));
  if (config.is_object() && config.contains("model_type") && config["model_type"].is_string()) {
    const auto before = architecture_named(config["model_type"].get<std::string>());
    try {
      if (before) return architecture_of(source.path.model, before);
    } catch (const Error&) {  // a branch may be another model
    }
  }
  return architecture_of(source.path.model);
}

const StoredTensor& stored(const Source& source, const ExportRequest& request,
                           const std::string& weight) {
  const auto* found = source.reader.find(tensor_name(request.weights, weight));
  check(found != nullptr, "convert", "step {} of '{}' has no '{}' in {}", source.entry.step,
        source.run.folder().string(), weight, request.weights);
  return *found;
}

// The dtype of a tensor that is made of several: the one that holds all.
DType wider(DType a, DType b) { return a == b ? a : DType::f32; }

std::vector<Foreign> tensors_of(const Source& source, const ExportRequest& request,
                                Architecture architecture) {
  std::vector<Foreign> all;
  for (auto& map : weight_maps(architecture, source.path.model)) {
    const auto& ours = stored(source, request, map.ours);
    check(ours.shape == map.shape, "convert", "'{}' is stored as {}; the model needs {}", map.ours,
          ours.shape.to_string(), map.shape.to_string());
    const DType dtype = request.dtype.value_or(ours.dtype);
    const auto known = std::ranges::find(all, map.theirs, &Foreign::name);
    if (known == all.end()) {
      all.push_back({map.theirs, map.their_shape, dtype, {map}});
    } else {
      known->dtype = wider(known->dtype, dtype);
      known->maps.push_back(map);
    }
  }
  return all;
}

int64_t parameters_of(const std::vector<Foreign>& tensors) {
  int64_t all = 0;
  for (const auto& tensor : tensors) all += tensor.shape.elements();
  return all;
}

// Reads, converts and checks what is written.
class WeightReader {
 public:
  WeightReader(const Source& source, const ExportRequest& request)
      : source_(source), request_(request), reads_(source.reader) {}

  void fill(const Foreign& tensor, int64_t first, int64_t count, void* out) {
    const auto read = [&](const WeightMap& map, const Box& box, std::byte* to) {
      read_box(map, box, tensor.dtype, to);
    };
    for (const auto& map : tensor.maps) {
      copy_to_theirs(map, size_of(tensor.dtype), read, first, count, static_cast<std::byte*>(out));
    }
  }
  // What has not been checked on the way.
  void verify_rest() const {
    verify_rest_with_progress(source_.reader, reads_.checked_or_unread(), 0, 1);
  }
  const RoundingLoss& loss() const { return loss_; }

 private:
  void read_box(const WeightMap& map, const Box& box, DType dtype, std::byte* to) {
    const auto& ours = stored(source_, request_, map.ours);
    if (ours.dtype == dtype) return reads_.read(ours.name, box, to);
    const int64_t elements = box.extent.elements();
    raw_.resize(static_cast<size_t>(elements * size_of(ours.dtype)));
    reads_.read(ours.name, box, raw_.data());
    convert_elements(raw_.data(), ours.dtype, to, dtype, elements, map.ours, loss_);
  }

  const Source& source_;
  const ExportRequest& request_;
  CheckedReads reads_;
  RoundingLoss loss_;
  std::vector<std::byte> raw_;
};

void write_weights(const Source& source, const ExportRequest& request,
                   const std::vector<Foreign>& tensors, const fs::path& to, int64_t memory) {
  std::vector<SafetensorsWriter::Tensor> plan;
  plan.reserve(tensors.size());
  for (const auto& tensor : tensors) plan.push_back({tensor.name, tensor.dtype, tensor.shape});
  const int64_t part = std::clamp<int64_t>(memory / 4, 1, largest_part);
  SafetensorsWriter writer(to, std::move(plan), request.max_shard_bytes, part);
  WeightReader weights(source, request);
  Progress progress("writing", parameters_of(tensors), true, {"M parameters", 1e6});
  for (const auto& tensor : tensors) {
    writer.add(tensor.name, [&](int64_t first, int64_t count, void* out) {
      weights.fill(tensor, first, count, out);
    });
    progress.add(tensor.shape.elements());
  }
  weights.verify_rest();
  writer.finish();
  if (request.dtype) log::info("{}", describe(weights.loss(), *request.dtype));
}

// Settings of generation that no published model said: the end of a text, where it is known.
std::string new_generation_config(std::optional<int64_t> end_of_document) {
  Json config = {{"_from_model_config", true}};
  if (end_of_document) {
    config["bos_token_id"] = *end_of_document;
    config["eos_token_id"] = *end_of_document;
  }
  return json_text(config, 2) + "\n";
}

void write_companions(const Source& source, const ExportRequest& request, Architecture architecture,
                      DType dtype, const fs::path& to) {
  std::optional<int64_t> end;
  if (!source.path.tokenizer.empty())
    end = make_tokenizer(source.path.tokenizer)->end_of_document();
  const std::string config = write_foreign_config(source.path.model, architecture, dtype,
                                                  text_of(source.companions, "config.json"), end);
  write_file_atomically(to / "config.json", config);
  for (const auto& line : left_out_of_config(source.path.model, architecture)) {
    log::info("{}", log::folded(line));
  }
  const std::string generation = text_of(source.companions, "generation_config.json");
  write_file_atomically(to / "generation_config.json",
                        generation.empty() ? new_generation_config(end) : generation);
  const fs::path tokenizer = request.tokenizer.empty() ? source.companions : request.tokenizer;
  const int copied = tokenizer.empty() ? 0 : copy_tokenizer(tokenizer, to);
  check(copied > 0 || request.tokenizer.empty(), "convert",
        "--tokenizer {}: no file of a tokenizer is there (tokenizer.json, vocab.json, "
        "tokenizer.model, ...)",
        request.tokenizer.string());
  if (copied == 0) {
    log::warning(
        "no tokenizer goes along: none came with the weights; --tokenizer FOLDER copies "
        "its files");
  }
}

// Fills weights with what was written: rounded to the dtype of its tensor.
void load_as_written(std::span<const Parameter> parameters, const Source& source,
                     const ExportRequest& request, const std::map<std::string, DType>& dtypes,
                     Stream& stream) {
  load_weights(parameters, source.reader, stream, request.weights);
  RoundingLoss ignored;
  for (const Parameter& p : parameters) {
    const DType dtype = dtypes.at(p.name);
    const int64_t elements = p.weight.elements();
    if (dtype == DType::f32 || dtype == stored(source, request, p.name).dtype) continue;
    std::vector<std::byte> rounded(static_cast<size_t>(elements * size_of(dtype)));
    convert_elements(p.weight.data, DType::f32, rounded.data(), dtype, elements, p.name, ignored);
    convert_elements(rounded.data(), dtype, p.weight.data, DType::f32, elements, p.name, ignored);
  }
}

void compare(const Source& source, const ExportRequest& request,
             const std::vector<Foreign>& tensors, const fs::path& written) {
  std::map<std::string, DType> dtypes;
  for (const auto& tensor : tensors) {
    for (const auto& map : tensor.maps) dtypes[map.ours] = tensor.dtype;
  }
  Stream stream;
  compare_logits(written, source.path.model, [&](std::span<const Parameter> parameters) {
    load_as_written(parameters, source, request, dtypes, stream);
  });
}

void check_target(const fs::path& to) {
  std::error_code problem;
  check(!fs::exists(to, problem) || (fs::is_directory(to, problem) && fs::is_empty(to, problem)),
        "convert", "'{}' exists already; a new folder is allowed", to.string());
}

}  // namespace

void export_model(const ExportRequest& request) {
  const auto start = std::chrono::steady_clock::now();
  check_target(request.to);
  const Source source(request, parse_run_reference(request.from));
  const Architecture architecture = choose_architecture(request, source);
  const auto tensors = tensors_of(source, request, architecture);
  const int64_t memory =
      conversion_memory(request.memory_bytes, source.path.model, request.compares);
  UnfinishedFolder made(request.to);
  const fs::path& to = made.run().folder();
  write_companions(source, request, architecture, tensors.front().dtype, to);
  write_weights(source, request, tensors, to, memory);
  if (request.compares) compare(source, request, tensors, to);
  made.finish();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  log::info("'{}' is step {} of '{}' as {}: {} parameters in {}, {:.1f} s", request.to.string(),
            source.entry.step, source.run.folder().string(), name_of(architecture),
            parameters_of(tensors), name_of(tensors.front().dtype), took.count());
}

}  // namespace switchyard
