#include "launch/reshard/reshard.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "core/error.h"
#include "core/json.h"
#include "core/logging.h"
#include "core/printable.h"
#include "launch/engine/matmul_choices.h"
#include "launch/path/imported.h"
#include "launch/path/lineage_document.h"
#include "launch/path/options.h"
#include "launch/path/relative_name.h"
#include "launch/path/resumable.h"
#include "launch/path/unfinished_folder.h"
#include "launch/reshard/carried_path.h"
#include "launch/reshard/copied_tensors.h"
#include "launch/reshard/earlier_copy.h"
#include "parallel/checkpoint/index.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

// As much as an HDF5 file costs by itself.
constexpr int64_t least_file_bytes = 4096;

std::string options_of(const ReshardRequest& request) {
  std::string words = fmt::format("--writers {}", request.writers);
  if (request.weights_only) words += " --weights-only";
  if (request.dtype) words += fmt::format(" --dtype {}", name_of(*request.dtype));
  if (request.compress) words += " --compress";
  return words;
}

// The folder that a document names, as the new one sees it.
void carry_document(const StepSource& source, const fs::path& to, Json& object) {
  std::string path = object.value("path", ""), given = object.value("path_as_given", "");
  carry_name(path, given, source.run, to);
  object["path"] = path;
  object["path_as_given"] = given;
}

// What an average, or published weights, say of themselves goes on holding.
void carry_documents(const StepSource& source, const fs::path& to,
                     std::map<std::string, std::string>& documents) {
  if (const auto said = documents.find("source"); said != documents.end()) {
    Json json = parse_json(said->second);
    carry_document(source, to, json);
    said->second = json_text(json);
  }
  if (const auto said = documents.find("average"); said != documents.end()) {
    Json json = parse_json(said->second);
    for (Json& member : json.at("members")) carry_document(source, to, member);
    said->second = json_text(json);
  }
}

// The weights of one step are an average of that step.
void make_average(const StepSource& source, const fs::path& to, CheckpointInfo& info) {
  const auto name = relative_name(source.holder.folder(), to);
  info.documents = {
      {"specification", ""},
      {"lineage", fmt::format("weights of\n{}@{} (checkpoint {})\n",
                              source.holder.folder().string(), source.entry.step, info.id)},
      {"model", source.path.model.to_json()},
      {"source", json_text({{"path", name.real}, {"path_as_given", name.given}})}};
  info.loss = std::numeric_limits<double>::quiet_NaN();  // as of an average
}

CheckpointInfo info_of(const StepSource& source, const ReshardRequest& request,
                       const PathSpecification& path) {
  CheckpointInfo info = source.info();
  if (source.path.kind != "path") {
    carry_documents(source, request.to, info.documents);
    if (request.dtype && info.documents.contains(import_document)) {
      ImportedWeights weights = imported_weights_in(info);
      weights.dtype = name_of(*request.dtype);
      info.documents[import_document] = json_text(imported_json(weights));
    }
  } else if (request.weights_only) {
    make_average(source, request.to, info);
  } else {
    info.documents["lineage"] = lineage_document(path);
    SavedAverages averages = source.averages();
    std::erase_if(averages.left_out, [](const auto& member) { return !member.checkpoint.empty(); });
    if (averages.records.empty()) {
      info.documents.erase("averages");
    } else {
      info.documents["averages"] = averages_document(averages);
    }
  }
  info.documents["specification"] = path.to_json();
  info.documents[resharded_document] = resharded_text(source, request.to, options_of(request));
  info.format_version = CheckpointInfo().format_version;
  info.id.clear();  // other files, another checkpoint
  return info;
}

void write_files_beside(const StepSource& source, const ReshardRequest& request,
                        const PathSpecification& path, const RunFolder& made) {
  carry_companions(source.run, made.folder());
  if (path.kind == "path") {
    carry_logs(source.run, source.entry.step, made.folder());
    hand_on_matmul_choices(source.run.folder(), made.folder());
  }
  check_still_there(source, !request.weights_only && path.kind == "path");
  made.write(path);
}

void write_run(StepSource& source, const ReshardRequest& request) {
  const bool is_whole_path = source.path.kind == "path" && !request.weights_only;
  if (is_whole_path) open_members(source);
  PathSpecification path = carried_path(source.run, source.path, request.to);
  if (source.path.kind == "path" && request.weights_only) path.kind = "average";
  RoundingLoss loss;
  const auto tensors =
      request.weights_only ? weights_alone(source, request.dtype, loss) : all_tensors(source);
  check(!tensors.empty(), ExitCode::storage, "reshard", "{} has no weights", source.name());
  UnfinishedFolder made(request.to);
  check(!RunFolder(request.to).exists(), "reshard", "'{}' was made at this moment",
        request.to.string());
  CopyOptions options{.writers = request.writers,
                      .least_file_bytes = least_file_bytes,
                      .memory_bytes = request.memory_bytes,
                      .compress = request.compress};
  const int64_t all = bytes_of(tensors);
  if (request.progress) options.progress = [&](int64_t bytes) { request.progress(bytes, all); };
  copy_checkpoint(made.run().checkpoints(), info_of(source, request, path), tensors, options);
  verify_rest(source);
  write_files_beside(source, request, path, made.run());
  if (request.progress) request.progress(0, all);  // it may throw until the last moment
  made.finish();
  if (request.dtype) log::info("{}", describe(loss, *request.dtype));
}

void check_apart(const RunFolder& run, const fs::path& to) {
  const fs::path within = real_place(to).lexically_relative(real_place(run.folder()));
  check(!within.empty() && *within.begin() == "..", "reshard",
        "'{}' lies in '{}'; a folder of its own is allowed", to.string(), run.folder().string());
}

// Its file is in the error; here, which step that was, or that it has gone meanwhile.
[[noreturn]] void explain(const StepSource& source, const ReshardRequest& request,
                          const Error& problem) {
  if (problem.code() == ExitCode::stopped) throw;
  check_still_there(source, !request.weights_only && source.path.kind == "path");
  throw Error(
      fmt::format("{}; '{}' is not made of {}", problem.what(), request.to.string(), source.name()),
      problem.code());
}

void report_made(const ReshardRequest& request, const StepSource& source,
                 const CheckpointReader& made, double seconds) {
  const auto& shards = made.index().shards;
  log::info("'{}' is {}{} in {} files, {:.1f} MB, {:.1f} s", printable(request.to.string()),
            request.weights_only ? "the weights of " : "", printable(source.name()),
            shards.size() + 1, static_cast<double>(made.bytes()) / 1e6, seconds);
  const auto moments = std::ranges::count_if(shards, [](const auto& s) { return !s.part.empty(); });
  const auto others = std::ssize(shards) - moments;
  if (std::max(moments, others) >= request.writers) return;
  log::info("--writers {}: {} files, and {} of moments, as one has {} bytes and a row at least",
            request.writers, others, moments, least_file_bytes);
}

void report_already_made(const ReshardRequest& request) {
  const std::string made = printable(request.to.string());
  log::info("'{}' is already {}'{}'{}; 'switchyard verify {}' reads its bytes", made,
            request.weights_only ? "the weights of " : "", printable(request.from.folder.string()),
            request.from.step ? fmt::format("@{}", *request.from.step) : "",
            printable(show({request.to.string()})));
}

}  // namespace

void reshard(const ReshardRequest& request) {
  const auto begin = std::chrono::steady_clock::now();
  check(request.weights_only || !request.dtype, "reshard",
        "--dtype {} without --weights-only; the state that training goes on with stays as it is",
        request.dtype ? name_of(*request.dtype) : "");
  const RunFolder there(request.to);
  if (there.taken()) {
    check_same_copy(request.from, request.to, options_of(request));
    return report_already_made(request);
  }
  there.check_name();
  check_apart(RunFolder(request.from.folder), request.to);
  StepSource source = find_step(request.from);
  if (!request.weights_only && source.path.kind == "path")
    check_resumable(source.holder, source.entry);
  try {
    write_run(source, request);
  } catch (const Error& problem) {
    if (problem.code() != ExitCode::stopped && there.exists()) {  // by another process meanwhile
      check_same_copy(request.from, request.to, options_of(request));
      return report_already_made(request);
    }
    explain(source, request, problem);
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  report_made(request, source, CheckpointReader(there.checkpoint(std::nullopt).folder),
              took.count());
}

}  // namespace switchyard
