#include "launch/exchange/export.h"

#include <chrono>
#include <map>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/logging.h"
#include "data/progress.h"
#include "data/tokenizer.h"
#include "launch/engine/load_weights.h"
#include "launch/exchange/comparison.h"
#include "launch/exchange/export_source.h"
#include "launch/path/companions.h"
#include "launch/path/imported.h"
#include "launch/path/unfinished_folder.h"
#include "model/exchange/foreign_config.h"
#include "parallel/checkpoint/safetensors.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

// Of the published model that it is, or descends from.
std::string architecture_before(const ExportSource& source) {
  const auto& lineage = source.path.lineage;
  if (!lineage.empty())
    return lineage.front().imported ? lineage.front().imported->architecture : "";
  const auto& info = source.reader.info();
  return info.documents.contains(import_document) ? imported_weights_in(info).architecture : "";
}

// That one, where it still expresses the model.
Architecture choose_architecture(const ExportSource& source) {
  const auto asked = source.request.architecture;
  if (asked) return architecture_of(source.path.model, asked);
  try {
    const auto before = architecture_named(architecture_before(source));
    return architecture_of(source.path.model, before);
  } catch (const Error&) {  // its options have changed
    return architecture_of(source.path.model);
  }
}

int64_t parameters_of(const std::vector<ForeignTensor>& tensors) {
  int64_t all = 0;
  for (const auto& tensor : tensors) all += tensor.shape.elements();
  return all;
}

void write_weights(const ExportSource& source, const std::vector<ForeignTensor>& tensors,
                   const fs::path& to, int64_t memory) {
  std::vector<SafetensorsWriter::Tensor> plan;
  plan.reserve(tensors.size());
  for (const auto& tensor : tensors) plan.push_back({tensor.name, tensor.dtype, tensor.shape});
  const int64_t part = conversion_part(memory);
  SafetensorsWriter writer(to, std::move(plan), source.request.max_shard_bytes, part);
  ForeignReader weights(source);
  Progress progress("writing", parameters_of(tensors), true, {"M parameters", 1e6});
  for (const auto& tensor : tensors) {
    writer.add(tensor.name, [&](int64_t first, int64_t count, void* out) {
      weights.fill(tensor, first, count, out);
    });
    progress.add(tensor.shape.elements());
  }
  weights.verify_rest();
  writer.finish();
  if (source.request.dtype) {
    log::info("{}", describe(weights.loss(), *source.request.dtype));
  }
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

void write_companions(const ExportSource& source, Architecture architecture, DType dtype,
                      const fs::path& to) {
  std::optional<int64_t> end;
  if (!source.path.tokenizer.empty() && !is_foreign_tokenizer(source.path.tokenizer)) {
    end = make_tokenizer(source.path.tokenizer)->end_of_document();
  }
  const auto& request = source.request;
  const fs::path& said = source.companions.empty() ? request.tokenizer : source.companions;
  const std::string config = write_foreign_config(source.path.model, architecture, dtype,
                                                  text_of(said, "config.json"), end);
  write_file_atomically(to / "config.json", config);
  for (const auto& line : left_out_of_config(source.path.model, architecture)) {
    log::info("{}", log::folded(line));
  }
  const std::string generation = text_of(said, "generation_config.json");
  write_file_atomically(to / "generation_config.json",
                        generation.empty() ? new_generation_config(end) : generation);
  const fs::path tokenizer = request.tokenizer.empty() ? source.companions : request.tokenizer;
  const int copied = tokenizer.empty() ? 0 : copy_tokenizer(tokenizer, to);
  check(copied > 0 || request.tokenizer.empty(), "convert",
        "--tokenizer {}: no file of a tokenizer is there (tokenizer.json, vocab.json, "
        "tokenizer.model, ...)",
        request.tokenizer.string());
  if (copied > 0) return;
  const auto& lineage = source.path.lineage;
  const bool is_lost = source.companions.empty() && !lineage.empty() && lineage.front().imported;
  log::warning(
      "no tokenizer goes along: {}; --tokenizer FOLDER copies its files{}",
      is_lost ? "the run with what came beside the published weights is not to be found, so that "
                "ids of special tokens and settings of generation are missing, too"
              : "none came with the weights",
      is_lost ? " and takes these from its config.json" : "");
}

// Fills weights with what was written: rounded to the dtype of its tensor.
void load_as_written(std::span<const Parameter> parameters, const ExportSource& source,
                     const std::map<std::string, DType>& dtypes, Stream& stream) {
  load_weights(parameters, source.reader, stream, source.request.weights);
  RoundingLoss ignored;
  for (const Parameter& p : parameters) {
    const DType dtype = dtypes.at(p.name);
    const int64_t elements = p.weight.elements();
    if (dtype == DType::f32 || dtype == source.stored(p.name).dtype) continue;
    std::vector<std::byte> rounded(static_cast<size_t>(elements * size_of(dtype)));
    convert_elements(p.weight.data, DType::f32, rounded.data(), dtype, elements, p.name, ignored);
    convert_elements(rounded.data(), dtype, p.weight.data, DType::f32, elements, p.name, ignored);
  }
}

void compare(const ExportSource& source, const std::vector<ForeignTensor>& tensors,
             const fs::path& written) {
  std::map<std::string, DType> dtypes;
  for (const auto& tensor : tensors) {
    for (const auto& map : tensor.maps) dtypes[map.ours] = tensor.dtype;
  }
  Stream stream;
  compare_logits(written, source.path.model, [&](std::span<const Parameter> parameters) {
    load_as_written(parameters, source, dtypes, stream);
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
  const ExportSource source(request);
  const Architecture architecture = choose_architecture(source);
  const auto tensors = foreign_tensors(source, architecture);
  const int64_t memory =
      conversion_memory(request.memory_bytes, source.path.model, request.compares);
  UnfinishedFolder made(request.to);
  check_target(request.to);  // another process may have made it meanwhile
  const fs::path& to = made.run().folder();
  write_companions(source, architecture, tensors.front().dtype, to);
  write_weights(source, tensors, to, memory);
  if (request.compares) compare(source, tensors, to);
  made.finish();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  const bool is_model = request.weights == groups::model;
  log::info("'{}' is step {} of '{}'{} as {}: {} parameters in {}, {:.1f} s", request.to.string(),
            source.entry.step, source.run.folder().string(),
            is_model ? "" : ", " + request.weights + ",", name_of(architecture),
            parameters_of(tensors), name_of(tensors.front().dtype), took.count());
}

}  // namespace switchyard
