#include "launch/slurm/slurm_variables.h"

#include <cstdlib>

#include "core/error.h"
#include "core/text.h"
#include "parallel/comm/rendezvous/job_environment.h"

namespace switchyard {

std::string slurm_text(const char* variable) {
  const char* text = std::getenv(variable);
  return text == nullptr ? "" : text;
}

int slurm_number(const char* variable, int otherwise) {
  const std::string text = slurm_text(variable);
  if (text.empty()) return otherwise;
  const auto number = parse_number<int>(text);
  check(number.value_or(-1) >= 0, "launch", "{}={}; a number from 0 on is needed", variable, text);
  return *number;
}

std::optional<SlurmStep> slurm_step() {
  const bool started = !slurm_text("SLURM_PROCID").empty() &&
                       !slurm_text("SLURM_STEP_NUM_TASKS").empty() && slurm_text("RANK").empty();
  if (!started) return std::nullopt;
  SlurmStep step;
  step.tasks = slurm_number("SLURM_STEP_NUM_TASKS", 1);
  step.nodes = slurm_number("SLURM_STEP_NUM_NODES", slurm_number("SLURM_NNODES", 1));
  step.node = slurm_number("SLURM_NODEID", 0);
  if (step.nodes == 1) return step;
  const auto place = job_environment();  // of a rank that srun starts
  check(place.has_value(), "launch", "srun's variables say no place of this task");
  step.first_host = place->host;
  step.port = place->port;
  return step;
}

int slurm_tasks_per_node() {
  for (const char* variable : {"SLURM_NTASKS_PER_NODE", "SLURM_TASKS_PER_NODE"}) {
    const std::string text = slurm_text(variable);
    std::string_view rest = text;
    if (const auto number = take_number<int>(rest); number && *number > 0) return *number;
  }
  return 0;
}

}  // namespace switchyard
