#include "parallel/comm/rendezvous/job_environment.h"

#include <cstdlib>
#include <limits>

#include "core/error.h"
#include "core/logging.h"
#include "core/text.h"
#include "parallel/comm/rendezvous/host_list.h"
#include "parallel/comm/rendezvous/job_identity.h"
#include "parallel/comm/rendezvous/network_interfaces.h"

namespace switchyard {

namespace {

std::string text_of(const char* variable) {
  const char* text = std::getenv(variable);
  return text == nullptr ? std::string() : std::string(text);
}

bool is_set(const char* variable) { return std::getenv(variable) != nullptr; }

int64_t long_number_of(const char* variable) {
  check(is_set(variable), "launch", "{} is not set; a number from 0 on is needed", variable);
  const std::string text = text_of(variable);
  const auto number = parse_number<int64_t>(text);
  check(number.value_or(-1) >= 0, "launch", "{}={}; a number from 0 on is needed", variable, text);
  return *number;
}

int number_of(const char* variable) {
  const int64_t number = long_number_of(variable);
  check(number <= std::numeric_limits<int>::max(), "launch", "{}={}; at most {} is allowed",
        variable, number, std::numeric_limits<int>::max());
  return static_cast<int>(number);
}

std::string store_folder() { return text_of("SWITCHYARD_STORE"); }

// torchrun's own store listens on MASTER_PORT when it says so; the next port is taken then.
int port_of_rank_variables() {
  const bool taken = text_of("TORCHELASTIC_USE_AGENT_STORE") == "True";
  return number_of("MASTER_PORT") + (taken ? 1 : 0);
}

JobEnvironment from_rank_variables() {
  JobEnvironment job;
  job.source = "RANK and WORLD_SIZE";
  job.rank = number_of("RANK");
  job.size = number_of("WORLD_SIZE");
  if (job.size == 1) return job;  // which has nobody to find; some clusters set no more then
  number_of("LOCAL_RANK");        // without it all ranks of a machine would be its first
  if (!store_folder().empty()) return job;
  job.host = text_of("MASTER_ADDR");
  job.port = port_of_rank_variables();
  return job;
}

// Steps of one job that run at once need ports of their own, so the step counts, too. That of an
// interactive shell is 4294967290.
int port_of_slurm_step() {
  const int64_t number = long_number_of("SLURM_JOB_ID") * 7 +
                         (text_of("SLURM_STEP_ID").empty() ? 0 : long_number_of("SLURM_STEP_ID"));
  constexpr int first_port = 20'000, ports = 10'000;  // below those that systems hand out
  return first_port + static_cast<int>(number % ports);
}

// Where a script says where rank 0 is, as it does for torchrun, that counts.
JobEnvironment from_slurm() {
  number_of("SLURM_LOCALID");  // likewise
  JobEnvironment job{.rank = number_of("SLURM_PROCID"),
                     .size = number_of("SLURM_STEP_NUM_TASKS"),
                     .host = text_of("MASTER_ADDR"),
                     .source = "Slurm"};
  job.port = is_set("MASTER_PORT") ? number_of("MASTER_PORT") : port_of_slurm_step();
  if (!job.host.empty()) return job;
  const bool has_step = !text_of("SLURM_STEP_NODELIST").empty();
  job.host_source = has_step ? "SLURM_STEP_NODELIST" : "SLURM_JOB_NODELIST";
  job.host = first_host(text_of(job.host_source.c_str()));
  return job;
}

}  // namespace

std::optional<JobEnvironment> job_environment() {
  if (is_set("OMPI_COMM_WORLD_SIZE")) return std::nullopt;
  JobEnvironment job;
  if (is_set("RANK") && is_set("WORLD_SIZE")) {
    job = from_rank_variables();
  } else if (is_set("SLURM_PROCID") && is_set("SLURM_STEP_NUM_TASKS")) {
    job = from_slurm();
  } else {
    return std::nullopt;
  }
  check(job.rank < job.size, "launch", "{} say rank {} of {}; ranks are 0 ... {}", job.source,
        job.rank, job.size, job.size - 1);
  if (job.size == 1 || !store_folder().empty()) return job;
  check(job.port > 0 && job.port <= std::numeric_limits<uint16_t>::max() && !job.host.empty(),
        "launch", "rank 0 is said to be at \"{}\" port {}; a host and a port are needed", job.host,
        job.port);
  return job;
}

namespace {

// Who says this process's place among the ranks of its machine; null: nobody.
const char* local_rank_variable() {
  for (const char* variable : {"OMPI_COMM_WORLD_LOCAL_RANK", "LOCAL_RANK", "SLURM_LOCALID"})
    if (is_set(variable)) return variable;
  return nullptr;
}

}  // namespace

int local_rank_of_process() {
  const char* variable = local_rank_variable();
  return variable == nullptr ? 0 : number_of(variable);
}

bool leads_its_machine() {
  const char* variable = local_rank_variable();
  return variable == nullptr || parse_number<int>(text_of(variable)).value_or(0) == 0;
}

// A launcher sets both of a pair in each of its ranks; a batch script of Slurm, or a container told
// its place, has no ranks yet.
std::optional<int> rank_among_several() {
  const char* pairs[][2] = {{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},
                            {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS"},
                            {"RANK", "WORLD_SIZE"}};
  const auto number = [](const char* variable) {  // -1: there is none
    return is_set(variable) ? parse_number<int>(text_of(variable)).value_or(0) : -1;
  };
  for (const auto& [its_rank, size] : pairs) {
    const bool placed = its_rank != std::string("RANK") || number("LOCAL_RANK") >= 0;
    const int rank = number(its_rank);
    if (placed && rank >= 0 && number(size) > 1) return rank;
  }
  return std::nullopt;
}

namespace {

void warn_where_others_look_elsewhere(const JobEnvironment& job) {
  const auto addresses = addresses_of(job.host);
  if (are_of_this_machine(addresses)) return;
  log::warning(
      "rank 0 runs on {}, but others look for it at {} ({}), {}; where they do not reach it there, "
      "set MASTER_ADDR={}",
      job_identity().host, job.host, job.host_source,
      addresses.empty() ? "which is unknown here" : "which is no address of this machine",
      job_identity().host);
}

}  // namespace

std::unique_ptr<Store> make_store(const JobEnvironment& job, std::chrono::milliseconds timeout) {
  const Store::Options options{.rank = job.rank, .size = job.size, .timeout = timeout};
  if (const std::string folder = store_folder(); !folder.empty())
    return make_file_store(folder, options);
  auto store = make_tcp_store(job.host, job.port, options);
  if (job.rank == 0) warn_where_others_look_elsewhere(job);
  return store;
}

}  // namespace switchyard
