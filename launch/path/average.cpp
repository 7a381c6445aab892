#include "launch/path/average.h"

#include <algorithm>
#include <limits>
#include <sstream>

#include "core/error.h"
#include "core/json.h"
#include "core/logging.h"
#include "core/text.h"
#include "launch/path/path_state.h"
#include "launch/path/relative_name.h"
#include "launch/path/run_folder.h"
#include "launch/path/unfinished_folder.h"
#include "launch/path/verify.h"
#include "launch/path/weights_option.h"

namespace switchyard {

namespace {

constexpr int64_t most_steps = 1000;

std::vector<CheckpointReader> open_all(const RunFolder& run, const std::vector<int64_t>& steps) {
  std::vector<CheckpointReader> readers;
  for (const int64_t step : steps) {
    readers.emplace_back(run.checkpoint(step).folder);
    verify_with_progress(readers.back());
  }
  return readers;
}

// A weight of the group; of the model's the most precise copy that the checkpoint has.
const StoredTensor& precise(const CheckpointReader& reader, const std::string& group,
                            const std::string& weight) {
  const auto* master =
      group == groups::model ? reader.find(tensor_name(groups::master, weight)) : nullptr;
  const auto* found = master != nullptr ? master : reader.find(tensor_name(group, weight));
  check(found != nullptr, "average", "step {} has no weight '{}'", reader.info().step, weight);
  return *found;
}

void add_part(const CheckpointReader& reader, const StoredTensor& tensor, const Box& part,
              std::vector<double>& sums) {
  if (tensor.dtype == DType::f32) {
    std::vector<float> values(sums.size());
    reader.read(tensor.name, part, values.data());
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += values[i];
    return;
  }
  check(tensor.dtype == DType::bf16, "average", "'{}' is of {}; f32 and bf16 are allowed",
        tensor.name, name_of(tensor.dtype));
  std::vector<bf16> values(sums.size());
  reader.read(tensor.name, part, values.data());
  for (size_t i = 0; i < sums.size(); ++i) sums[i] += static_cast<float>(values[i]);
}

void write_mean(const std::vector<CheckpointReader>& readers, const std::string& group,
                const std::string& weight, CheckpointStreamWriter& writer) {
  const StoredTensor& like = precise(readers.front(), group, weight);
  for (const auto& reader : readers) {
    const Shape& shape = precise(reader, group, weight).shape;
    check(shape == like.shape, "average", "'{}' is {} at step {} and {} at step {}", weight,
          shape.to_string(), reader.info().step, like.shape.to_string(),
          readers.front().info().step);
  }
  const StoredTensor mean{tensor_name(groups::model, weight), like.shape, DType::f32};
  writer.add(mean, [&](const Box& part, void* out) {
    std::vector<double> sums(static_cast<size_t>(part.extent.elements()));
    for (const auto& reader : readers) add_part(reader, precise(reader, group, weight), part, sums);
    auto* values = static_cast<float*>(out);
    const auto count = static_cast<double>(readers.size());
    for (size_t i = 0; i < sums.size(); ++i) values[i] = static_cast<float>(sums[i] / count);
  });
}

// One of the checkpoints that an average is the mean of, as the average says in plain words.
struct Source {
  std::string run;
  int64_t step = 0;
  std::string checkpoint;

  std::string to_string() const {
    return fmt::format("{}@{} (checkpoint {})", run, step, checkpoint);
  }
};

std::vector<Source> sources_in(const std::string& text) {
  std::vector<Source> sources;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t at = line.rfind('@'), id = line.rfind(" (checkpoint ");
    if (at == std::string::npos || id == std::string::npos || id < at || !line.ends_with(')'))
      continue;
    Source source{line.substr(0, at), 0, line.substr(id + 13, line.size() - id - 14)};
    const std::string_view step = std::string_view(line).substr(at + 1, id - at - 1);
    source.step = parse_number<int64_t>(step).value_or(0);
    sources.push_back(std::move(source));
  }
  return sources;
}

CheckpointInfo info_of_average(const RunFolder& run, const AverageRequest& request,
                               const PathSpecification& path,
                               const std::vector<CheckpointReader>& readers) {
  const auto& last = readers.back().info();
  std::string sources;
  for (const auto& reader : readers) {
    const auto& info = reader.info();
    sources += Source{run.folder().string(), info.step, info.id}.to_string() + "\n";
  }
  const bool of_model = request.weights == groups::model;
  const std::string of_group = of_model ? "" : fmt::format(" the weights {} of", request.weights);
  CheckpointInfo info;
  info.step = last.step;
  info.samples = last.samples;
  info.loss = std::numeric_limits<double>::quiet_NaN();  // no batch was seen with these weights
  info.documents = {{"specification", path.to_json()},
                    {"lineage", fmt::format("uniform mean of{}\n{}", of_group, sources)},
                    {"model", path.model.to_json()}};
  const auto name = relative_name(run.folder(), request.output);
  Json source = {{"path", name.real}, {"path_as_given", name.given}};
  if (!of_model) source["weights"] = request.weights;
  info.documents["source"] = json_text(source);
  return info;
}

// Whether what is there is what was asked for: the same steps of the same path, as far as they are
// still saved. Throws Error naming the difference.
void check_already_made(const RunFolder& made, const RunFolder& run,
                        const AverageRequest& request) {
  const std::vector<int64_t>& steps = request.steps;
  const std::string name = made.folder().string();
  check(made.exists() && made.read().kind == "average", "average",
        "'{}' exists already and is no average; an average needs a new folder", name);
  auto info = CheckpointReader(made.checkpoint(std::nullopt).folder).info();
  const auto sources = sources_in(info.documents["lineage"]);
  std::vector<int64_t> there;
  there.reserve(sources.size());
  for (const Source& source : sources) there.push_back(source.step);
  check(there == steps, "average",
        "'{}' exists already, of the steps {}; {} were asked for: a new folder is needed", name,
        show_steps(there), show_steps(steps));
  const std::string weights = weights_of_average(info);
  check(
      weights == request.weights, "average",
      "'{}' exists already, of the weights {}; --weights {} were asked for: a new folder is needed",
      name, weights, request.weights);
  bool known = sources.front().run == run.folder().string();
  for (const auto& entry : list_checkpoints(run.checkpoints())) {
    const auto same = std::ranges::find(sources, entry.step, &Source::step);
    if (!entry.complete || same == sources.end()) continue;
    const std::string id = CheckpointReader(entry.folder).info().id;
    check(id == same->checkpoint, "average",
          "'{}' exists already, of {}; step {} of '{}' is checkpoint {}: a new folder is needed",
          name, same->to_string(), entry.step, run.folder().string(), id);
    known = true;
  }
  check(known, "average",
        "'{}' exists already, of steps of '{}', not of '{}'; a new folder is needed", name,
        sources.front().run, run.folder().string());
}

void write_average(const RunFolder& run, PathSpecification path, const AverageRequest& request,
                   const AverageProgress& progress) {
  const auto& steps = request.steps;
  const std::string& output = request.output;
  const auto readers = open_all(run, steps);
  const auto weights = weights_in(readers.front());
  check(!weights.empty(), "average", "step {} of '{}' has no weights", steps.front(),
        run.folder().string());
  for (const auto& reader : readers) check_weights_option(&reader, request.weights);
  UnfinishedFolder made(output);
  check(!RunFolder(output).exists(), "average", "'{}' was made at this moment", output);
  path.kind = "average";
  CheckpointStreamWriter writer(made.run().checkpoints(),
                                info_of_average(run, request, path, readers));
  for (size_t i = 0; i < weights.size(); ++i) {
    write_mean(readers, request.weights, weights[i], writer);
    if (progress) progress(static_cast<int64_t>(i + 1), static_cast<int64_t>(weights.size()));
  }
  writer.finish();
  made.run().write(path);
  made.finish();
  log::info("'{}' is the mean of {} tensors at the steps {} of '{}'", output, weights.size(),
            show_steps(steps), run.folder().string());
}

}  // namespace

std::vector<int64_t> parse_steps(const std::string& text) {
  std::vector<int64_t> numbers;
  for (const auto part : split_at(':', text)) {
    const auto step = parse_number<int64_t>(part);
    check(step.value_or(0) > 0, "average", "--steps {}; A:B:EVERY with positive steps is allowed",
          text);
    numbers.push_back(*step);
  }
  check(numbers.size() == 3 && numbers[0] <= numbers[1], "average",
        "--steps {}; A:B:EVERY with A not above B is allowed", text);
  check((numbers[1] - numbers[0]) % numbers[2] == 0, "average",
        "--steps {}: {} is not met from {} by steps of {}", text, numbers[1], numbers[0],
        numbers[2]);
  const int64_t count = (numbers[1] - numbers[0]) / numbers[2] + 1;
  check(count <= most_steps, "average", "--steps {} are {} steps; at most {} are allowed", text,
        count, most_steps);
  std::vector<int64_t> steps;
  for (int64_t i = 0; i < count; ++i) steps.push_back(numbers[0] + i * numbers[2]);
  return steps;
}

void average(const AverageRequest& request, const AverageProgress& progress) {
  const auto& [run_name, steps, output, weights] = request;
  const RunFolder run(run_name);
  const auto path = run.read();
  const RunFolder there(output);
  if (there.taken()) {
    check_already_made(there, run, request);
    log::info("'{}' is already the mean of the steps {} of '{}'", output, show_steps(steps),
              run_name);
    return;
  }
  there.check_name();
  for (const int64_t step : steps) run.checkpoint(step);
  try {
    write_average(run, path, request, progress);
  } catch (const Error&) {
    if (there.exists()) {  // another process has made one meanwhile
      check_already_made(there, run, request);
      log::info("'{}' is already the mean of the steps {} of '{}'", output, show_steps(steps),
                run_name);
      return;
    }
    const auto saved = list_checkpoints(run.checkpoints());
    for (const int64_t step : steps) {
      const auto entry = std::ranges::find(saved, step, &CheckpointEntry::step);
      check(entry != saved.end() && entry->complete, "average",
            "step {} of '{}' was deleted while it was read; a trainer with --keep-checkpoints "
            "deletes the oldest: average steps that stay",
            step, run_name);
    }
    throw;
  }
}

}  // namespace switchyard
