#pragma once

#include <span>
#include <string>

namespace switchyard {

// A subcommand: its arguments (without program and name) to an exit code. Throws Error.
using Arguments = std::span<const std::string>;
int train_command(Arguments arguments);
int fork_command(Arguments arguments);
int extend_command(Arguments arguments);
int tokenize_command(Arguments arguments);
int eval_command(Arguments arguments);
int generate_command(Arguments arguments);
int inspect_command(Arguments arguments);
int verify_command(Arguments arguments);
int list_command(Arguments arguments);
int average_command(Arguments arguments);
int prune_command(Arguments arguments);
int reshard_command(Arguments arguments);
int compare_command(Arguments arguments);
int convert_command(Arguments arguments);
int replay_command(Arguments arguments);
int bench_command(Arguments arguments);
int byte_model_command(Arguments arguments);
int plan_command(Arguments arguments);
int launch_command(Arguments arguments);
int slurm_command(Arguments arguments);
int campaign_command(Arguments arguments);
int report_command(Arguments arguments);
int rates_command(Arguments arguments);

struct Subcommand {
  const char* name;
  int (*run)(Arguments);
  const char* help;
  const char* example;       // a whole command
  bool takes_ranks = false;  // others are the work of one process
};
std::span<const Subcommand> subcommands();

}  // namespace switchyard
