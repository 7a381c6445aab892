#include "launch/path/average.h"

#include <algorithm>
#include <limits>
#include <map>
#include <type_traits>

#include "core/error.h"
#include "core/json.h"
#include "core/logging.h"
#include "core/printable.h"
#include "launch/path/average_weights.h"
#include "launch/path/imported.h"
#include "launch/path/path_state.h"
#include "launch/path/relative_name.h"
#include "launch/path/run_folder.h"
#include "launch/path/specification_checks.h"
#include "launch/path/unfinished_folder.h"
#include "launch/path/verify.h"
#include "launch/path/weights_option.h"

namespace switchyard {

namespace {

// A member that is read, and what it counts for.
struct OpenMember {
  std::string name;  // RUN@STEP
  CheckpointReader reader;
  double coefficient = 0;
};

std::vector<OpenMember> open_all(const std::vector<AverageMember>& members,
                                 const std::vector<double>& coefficients) {
  std::vector<OpenMember> open;
  for (size_t i = 0; i < members.size(); ++i) {
    const auto& [run, step, id] = members[i];
    open.push_back({fmt::format("{}@{}", run, step),
                    CheckpointReader(RunFolder(run).checkpoint(step).folder), coefficients[i]});
    verify_with_progress(open.back().reader);
  }
  return open;
}

// A weight of the group; of the model's the most precise copy that the checkpoint has.
const StoredTensor& precise(const OpenMember& member, const std::string& group,
                            const std::string& weight) {
  const auto& reader = member.reader;
  const auto* master =
      group == groups::model ? reader.find(tensor_name(groups::master, weight)) : nullptr;
  const auto* found = master != nullptr ? master : reader.find(tensor_name(group, weight));
  check(found != nullptr, "average", "{} has no weight '{}', which others have", member.name,
        weight);
  return *found;
}

// Refuses members whose weights are not the first one's.
void check_alike(const std::vector<OpenMember>& members, const std::string& group,
                 const std::vector<std::string>& weights) {
  for (const auto& member : members) {
    for (const auto& weight : weights) {
      const Shape& like = precise(members.front(), group, weight).shape;
      const Shape& shape = precise(member, group, weight).shape;
      check(shape == like, "average", "'{}' is {} in {} and {} in {}; tensors alike are allowed",
            weight, like.to_string(), members.front().name, shape.to_string(), member.name);
    }
    const auto own = weights_in(member.reader);
    const auto other = std::ranges::find_if(
        own, [&](const auto& weight) { return std::ranges::count(weights, weight) == 0; });
    check(other == own.end(), "average", "{} has no weight '{}', which others have",
          members.front().name, other == own.end() ? "" : *other);
  }
}

// What one path's model has beside its tensors must be another's, too.
void check_same_model(const AverageRequest& request, const PathSpecification& newest) {
  const std::string& last = request.members.back().run;
  for (const auto& run : runs_of(request.members)) {
    const auto path = RunFolder(run).read();
    for (const auto& spec : model_options()) {
      if (spec.fork != OnFork::keeps || !newest.settings.has(spec.name)) continue;
      check(is_same_setting(spec.name, path.settings, newest.settings), "average",
            "'{}' has --{} {}, but '{}' {}; paths of one model are allowed", run, spec.name,
            path.settings.has(spec.name) ? show(path.settings.list(spec.name)) : "none", last,
            show(newest.settings.list(spec.name)));
    }
    check(path.tokenizer.empty() || newest.tokenizer.empty() || path.tokenizer == newest.tokenizer,
          "average", "'{}' has the tokenizer '{}', but '{}' '{}'; paths of one are allowed", run,
          path.tokenizer, last, newest.tokenizer);
  }
}

// The mean of a part of a weight, as uniform or otherwise weighted sums in fp64.
class PartSum {
 public:
  PartSum(const Box& part, bool is_uniform)
      : part_(part), uniform_(is_uniform), sums_(static_cast<size_t>(part.extent.elements())) {}

  void add(const OpenMember& member, const StoredTensor& tensor) {
    switch (tensor.dtype) {
      case DType::f32:
        return add_as<float>(member, tensor);
      case DType::bf16:
        return add_as<bf16>(member, tensor);
      case DType::f16:
        return add_as<f16>(member, tensor);
      case DType::f64:
        return add_as<double>(member, tensor);
      default:
        fail("average", "'{}' is of {}; f32, bf16, f16 and f64 are allowed", tensor.name,
             name_of(tensor.dtype));
    }
  }
  void store(float* out, size_t members) const {
    const double count = uniform_ ? static_cast<double>(members) : 1;
    for (size_t i = 0; i < sums_.size(); ++i) out[i] = static_cast<float>(sums_[i] / count);
  }

 private:
  template <class T>
  void add_as(const OpenMember& member, const StoredTensor& tensor) {
    std::vector<T> values(sums_.size());
    member.reader.read(tensor.name, part_, values.data());
    const double factor = uniform_ ? 1 : member.coefficient;
    for (size_t i = 0; i < sums_.size(); ++i) {
      if constexpr (std::is_same_v<T, double>) {
        sums_[i] += factor * values[i];
      } else {
        sums_[i] += factor * static_cast<float>(values[i]);
      }
    }
  }

  const Box& part_;
  bool uniform_;
  std::vector<double> sums_;
};

void write_mean(const std::vector<OpenMember>& members, const AverageRequest& request,
                const std::string& weight, CheckpointStreamWriter& writer) {
  const StoredTensor& like = precise(members.front(), request.weights, weight);
  const StoredTensor mean{tensor_name(groups::model, weight), like.shape, DType::f32};
  writer.add(mean, [&](const Box& part, void* out) {
    PartSum sum(part, request.weights_of == "uniform");
    for (const auto& member : members) sum.add(member, precise(member, request.weights, weight));
    sum.store(static_cast<float*>(out), members.size());
  });
}

// What the lineage of a uniform mean of one path says is all that there is to say of one.
Json document_of_average(const AverageRequest& request, const std::vector<OpenMember>& members) {
  Json all = {{"weights_of", request.weights_of}, {"members", Json::array()}};
  for (size_t i = 0; i < members.size(); ++i) {
    const auto& info = members[i].reader.info();
    const auto name = relative_name(request.members[i].run, request.output);
    Json member = {{"path", name.real},
                   {"checkpoint", info.id},
                   {"step", info.step},
                   {"coefficient", members[i].coefficient}};
    if (!name.given.empty()) member["path_as_given"] = name.given;
    all["members"].push_back(std::move(member));
  }
  return all;
}

// What the published weights among the members were made of.
ImportedWeights imported_of_average(const AverageRequest& request,
                                    const std::vector<OpenMember>& members) {
  std::vector<ImportedWeights> weights;
  std::vector<std::string> names;
  for (size_t i = 0; i < members.size(); ++i) {
    const auto& info = members[i].reader.info();
    AverageMember source = request.members[i];
    source.checkpoint = info.id;
    names.push_back(source.to_string());
    if (info.documents.contains(import_document)) weights.push_back(imported_weights_in(info));
  }
  check(!weights.empty(), "average", "no member says which published weights it holds");
  return imported_mean(weights, std::move(names));
}

CheckpointInfo info_of_average(const AverageRequest& request, const PathSpecification& path,
                               const std::vector<OpenMember>& members) {
  const auto& last = members.back().reader.info();
  std::string sources;
  for (size_t i = 0; i < members.size(); ++i) {
    AverageMember source = request.members[i];
    source.checkpoint = members[i].reader.info().id;
    sources += source.to_string() + "\n";
  }
  const bool of_model = request.weights == groups::model;
  const std::string of_group = of_model ? "" : fmt::format(" the weights {} of", request.weights);
  CheckpointInfo info;
  info.step = last.step;
  info.samples = last.samples;
  info.loss = std::numeric_limits<double>::quiet_NaN();  // no batch was seen with these weights
  info.documents = {
      {"specification", path.to_json()},
      {"lineage", fmt::format("{} mean of{}\n{}", request.weights_of, of_group, sources)},
      {"model", path.model.to_json()}};
  const auto name = relative_name(request.members.back().run, request.output);
  Json source = {{"path", name.real}, {"path_as_given", name.given}};
  if (!of_model) source["weights"] = request.weights;
  info.documents["source"] = json_text(source);
  if (request.weights_of != "uniform" || runs_of(request.members).size() > 1) {
    info.documents["average"] = json_text(document_of_average(request, members));
  }
  if (!path.has_training_options()) {
    info.documents[import_document] =
        json_text(imported_json(imported_of_average(request, members)));
  }
  return info;
}

// That the checkpoints are those asked for, as far as they are still saved.
void check_same_checkpoints(const std::string& name, const std::vector<AverageMember>& there,
                            const std::vector<AverageMember>& asked) {
  for (const auto& run : runs_of(asked)) {
    std::map<int64_t, std::filesystem::path> saved;
    for (const auto& entry : list_checkpoints(RunFolder(run).checkpoints())) {
      if (entry.complete) saved[entry.step] = entry.folder;
    }
    bool known = false;
    size_t first = there.size();
    for (size_t i = 0; i < asked.size(); ++i) {
      if (asked[i].run != run) continue;
      first = std::min(first, i);
      known = known || there[i].run == run;
      const auto same = saved.find(asked[i].step);
      if (same == saved.end()) continue;
      const std::string id = CheckpointReader(same->second).info().id;
      check(id == there[i].checkpoint, "average",
            "'{}' exists already, of {}; step {} of '{}' is checkpoint {}: a new folder is needed",
            name, there[i].to_string(), same->first, run, id);
      known = true;
    }
    check(known, "average",
          "'{}' exists already, of steps of '{}', not of '{}'; a new folder is needed", name,
          there[first].run, run);
  }
}

// Whether what is there is what was asked for. Throws Error naming the difference.
void check_already_made(const RunFolder& made, const AverageRequest& request) {
  const std::string name = made.folder().string();
  check(made.exists() && made.read().kind == "average", "average",
        "'{}' exists already and is no average; an average needs a new folder", name);
  const auto info = CheckpointReader(made.checkpoint(std::nullopt).folder).info();
  const auto there = members_in(info);
  check(steps_of(there) == steps_of(request.members), "average",
        "'{}' exists already, of the steps {}; {} were asked for: a new folder is needed", name,
        show_steps(steps_of(there)), show_steps(steps_of(request.members)));
  const std::string weights = weights_of_average(info);
  check(
      weights == request.weights, "average",
      "'{}' exists already, of the weights {}; --weights {} were asked for: a new folder is needed",
      name, weights, request.weights);
  const std::string weights_of = weights_of_in(info);
  check(weights_of == request.weights_of, "average",
        "'{}' exists already, with --weights-of {}; {} was asked for: a new folder is needed", name,
        weights_of, request.weights_of);
  check_same_checkpoints(name, there, request.members);
}

// What was read is the checkpoints' that were opened, as those of complete steps never change: a
// trainer that went back may have saved a step anew meanwhile.
void check_still_there(const AverageRequest& request, const std::vector<OpenMember>& members) {
  for (size_t i = 0; i < members.size(); ++i) {
    const auto entry = RunFolder(request.members[i].run).checkpoint(request.members[i].step);
    const std::string id = CheckpointReader(entry.folder).info().id;
    check(id == members[i].reader.info().id, "average",
          "{} was saved anew while it was read; the same command again takes what is there now",
          members[i].name);
  }
}

void write_average(const AverageRequest& request, const std::vector<double>& coefficients,
                   const AverageProgress& progress) {
  const auto& last = request.members.back();
  auto path = RunFolder(last.run).read();
  check_same_model(request, path);
  const auto members = open_all(request.members, coefficients);
  const auto weights = weights_in(members.front().reader);
  check(!weights.empty(), "average", "{} has no weights", members.front().name);
  if (!request.window) {
    for (const auto& member : members) check_weights_option(&member.reader, request.weights);
  }
  check_alike(members, request.weights, weights);
  UnfinishedFolder made(request.output);
  check(!RunFolder(request.output).exists(), "average", "'{}' was made at this moment",
        request.output);
  path.kind = "average";
  // A part is at hand as it is stored, as fp64 sums and as it is read.
  CheckpointStreamWriter writer(made.run().checkpoints(), info_of_average(request, path, members),
                                request.memory_bytes / 4);
  for (size_t i = 0; i < weights.size(); ++i) {
    write_mean(members, request, weights[i], writer);
    if (progress) progress(static_cast<int64_t>(i + 1), static_cast<int64_t>(weights.size()));
  }
  writer.finish();
  check_still_there(request, members);
  made.run().write(path);
  made.finish();
  log::info("'{}' is the mean of {} tensors at {}", printable(request.output), weights.size(),
            printable(describe(request.members)));
  if (request.weights_of != "uniform") {
    log::info("{}", log::folded(fmt::format("--weights-of {}: {}", request.weights_of,
                                            show_coefficients(coefficients))));
  }
}

void report_already_made(const AverageRequest& request) {
  log::info("'{}' is already the mean of {}", printable(request.output),
            printable(describe(request.members)));
}

void check_not_deleted(const AverageRequest& request) {
  for (const auto& member : request.members) {
    check(RunFolder(member.run).has(member.step), "average",
          "step {} of '{}' was deleted while it was read; a trainer with --keep-checkpoints "
          "deletes the oldest: average steps that stay",
          member.step, member.run);
  }
}

}  // namespace

namespace {

// The same with the members that the window's checkpoints are; those of an average that is there
// may be gone.
AverageRequest resolved(const AverageRequest& request, std::vector<double>& coefficients) {
  AverageRequest all = request;
  if (!request.window) {
    coefficients = average_coefficients(
        request.weights_of, {steps_of(request.members), runs_of(request.members).size() == 1});
    return all;
  }
  all.weights_of = show(*request.window);
  const std::string& run = request.members.front().run;
  const RunFolder there(request.output);
  if (there.taken() && there.exists() && there.read().kind == "average") {
    const auto info = CheckpointReader(there.checkpoint(std::nullopt).folder).info();
    all.members = members_in(info);
    for (auto& member : all.members) member.run = run;
    all.weights = request.weights + "/sum";
    return all;
  }
  auto sums = window_sums(run, *request.window, request.weights);
  all.members = std::move(sums.members);
  all.weights = std::move(sums.group);
  coefficients = std::move(sums.coefficients);
  return all;
}

}  // namespace

void average(const AverageRequest& asked, const AverageProgress& progress) {
  for (const auto& run : runs_of(asked.members)) RunFolder(run).read();
  std::vector<double> coefficients;
  const AverageRequest request = resolved(asked, coefficients);
  const RunFolder there(request.output);
  if (there.taken()) {
    check_already_made(there, request);
    return report_already_made(request);
  }
  there.check_name();
  for (const auto& member : request.members) RunFolder(member.run).checkpoint(member.step);
  try {
    write_average(request, coefficients, progress);
  } catch (const Error&) {
    if (there.exists()) {  // another process has made one meanwhile
      check_already_made(there, request);
      return report_already_made(request);
    }
    check_not_deleted(request);
    throw;
  }
}

}  // namespace switchyard
