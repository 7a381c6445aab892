#include "launch/average.h"

#include <fmt/ranges.h>

#include <charconv>

#include "core/error.h"
#include "core/logging.h"
#include "launch/run_folder.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

constexpr const char* model_group = "/model/";
constexpr const char* master_group = "/optimizer/master/";
constexpr int64_t most_steps = 1000;

std::vector<CheckpointReader> open_all(const RunFolder& run, const std::vector<int64_t>& steps) {
  std::vector<CheckpointReader> readers;
  for (const int64_t step : steps) {
    readers.emplace_back(run.checkpoint(step).folder);
    readers.back().verify();
  }
  return readers;
}

// The most precise copy of a weight that a checkpoint has.
const StoredTensor& precise(const CheckpointReader& reader, const std::string& weight) {
  const auto* master = reader.find(master_group + weight);
  const auto* found = master != nullptr ? master : reader.find(model_group + weight);
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

void write_mean(const std::vector<CheckpointReader>& readers, const std::string& weight,
                CheckpointStreamWriter& writer) {
  const StoredTensor& like = precise(readers.front(), weight);
  for (const auto& reader : readers) {
    check(precise(reader, weight).shape == like.shape, "average",
          "'{}' is {} at step {} and {} at "
          "step {}",
          weight, precise(reader, weight).shape.to_string(), reader.info().step,
          like.shape.to_string(), readers.front().info().step);
  }
  const StoredTensor mean{model_group + weight, like.shape, DType::f32};
  writer.add(mean, [&](const Box& part, void* out) {
    std::vector<double> sums(static_cast<size_t>(part.extent.elements()));
    for (const auto& reader : readers) add_part(reader, precise(reader, weight), part, sums);
    auto* values = static_cast<float*>(out);
    const auto count = static_cast<double>(readers.size());
    for (size_t i = 0; i < sums.size(); ++i) values[i] = static_cast<float>(sums[i] / count);
  });
}

CheckpointInfo info_of_average(const RunFolder& run, const PathSpecification& path,
                               const std::vector<CheckpointReader>& readers) {
  const auto& last = readers.back().info();
  std::string sources;
  for (const auto& reader : readers) {
    sources += fmt::format("{}@{} (checkpoint {})\n", run.folder().string(), reader.info().step,
                           reader.info().id);
  }
  CheckpointInfo info;
  info.step = last.step;
  info.samples = last.samples;
  info.loss = last.loss;
  info.documents = {{"specification", path.to_json()},
                    {"lineage", "uniform mean of\n" + sources},
                    {"model", path.model.to_json()}};
  return info;
}

}  // namespace

std::vector<int64_t> parse_steps(const std::string& text) {
  std::vector<int64_t> numbers;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(':', begin), text.size());
    int64_t value = 0;
    const auto [stop, problem] = std::from_chars(text.data() + begin, text.data() + end, value);
    check(problem == std::errc() && stop == text.data() + end && value > 0, "average",
          "--steps {}; A:B:EVERY with positive steps is allowed", text);
    numbers.push_back(value);
    begin = end + 1;
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

void average(const std::string& run_name, const std::vector<int64_t>& steps,
             const std::string& output) {
  const RunFolder run(run_name);
  const RunFolder made(output);
  check(!made.taken(), "average", "'{}' exists already; an average needs a new folder", output);
  auto path = run.read();
  const auto readers = open_all(run, steps);
  path.kind = "average";
  CheckpointStreamWriter writer(made.checkpoints(), info_of_average(run, path, readers));
  int64_t tensors = 0;
  for (const auto& tensor : readers.front().tensors()) {
    if (!tensor.name.starts_with(model_group)) continue;
    write_mean(readers, tensor.name.substr(std::string(model_group).size()), writer);
    ++tensors;
  }
  check(tensors > 0, "average", "step {} of '{}' has no weights", steps.front(), run_name);
  writer.finish();
  made.write(path);
  log::info("'{}' is the mean of {} tensors at the steps {} of '{}'", output, tensors,
            fmt::join(steps, ", "), run_name);
}

}  // namespace switchyard
