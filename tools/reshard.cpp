#include "launch/reshard/reshard.h"

#include <optional>

#include "core/error.h"
#include "core/stop_signal.h"
#include "data/progress.h"
#include "parallel/checkpoint/checkpoint_copy.h"
#include "tools/command_support.h"

namespace switchyard {

namespace {

constexpr double gib = 1 << 30;

std::vector<OptionSpec> reshard_options() {
  using enum OptionKind;
  const auto group = OptionGroup::run;
  return {
      {.name = "writers",
       .kind = integer,
       .group = group,
       .fallback = "1",
       .help = "files of about equal bytes, and as many of moments",
       .allowed = between(1, 99'999)},
      {"weights-only", flag, group, "",
       "the model's weights alone, of the fp32 master copy: to score, sample, convert and fork"},
      {.name = "dtype",
       .kind = text,
       .group = group,
       .help = "with --weights-only: of the weights written (as they are)",
       .allowed = one_of({"f32", "bf16"})},
      {"compress", flag, group, "",
       "tensors in chunks that HDF5 deflates: smaller, and slower to write and to read"},
      {.name = "memory-gib",
       .kind = real,
       .group = group,
       .fallback = "1",
       .help = "host memory for what is read and not yet written, a row of a tensor at least",
       .allowed = at_least(static_cast<double>(least_copy_memory) / gib)}};
}

// What was written goes with the Error.
void end_if_stopped() {
  if (!StopSignal::requested()) return;
  throw Error("[reshard] stopped, as a signal asked; nothing is left of it", ExitCode::stopped);
}

}  // namespace

int reshard_command(Arguments arguments) {
  const auto specs = reshard_options();
  auto command = parse_or_help(specs, arguments, "reshard RUN[@STEP] NEW");
  if (!command) return 0;
  const auto names = take_names(*command, 2, "RUN[@STEP] and NEW");
  const auto given = with_fallbacks(specs, command->given);
  ReshardRequest request{parse_run_reference(names[0]), names[1]};
  request.writers = static_cast<int>(given.integer("writers"));
  request.weights_only = given.flag("weights-only");
  request.compress = given.flag("compress");
  if (given.has("dtype")) request.dtype = dtype_named(given.text("dtype"));
  request.memory_bytes = static_cast<int64_t>(given.real("memory-gib") * gib);
  const StopSignal signals;
  std::optional<Progress> progress;
  request.progress = [&](int64_t bytes, int64_t all) {
    end_if_stopped();
    if (!progress) progress.emplace("reshard", all, true);
    progress->add(bytes);
  };
  reshard(request);
  return 0;
}

}  // namespace switchyard
