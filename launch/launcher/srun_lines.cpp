#include <algorithm>
#include <csignal>

#include "core/error.h"
#include "core/text.h"
#include "launch/launcher/srun_step.h"

namespace switchyard {

namespace {

constexpr int lost_peer = static_cast<int>(ExitCode::lost_peer);
constexpr int timed_out = static_cast<int>(ExitCode::timed_out);
constexpr int ended_by_usr1 = 128 + SIGUSR1;

// What stands behind `begin`, wherever that is; empty: it is not there.
std::string_view behind(std::string_view line, std::string_view begin) {
  const size_t at = line.find(begin);
  return at == std::string_view::npos ? std::string_view{} : line.substr(at + begin.size());
}

// "srun: error: n1: tasks 0,2-3: Killed": the last part.
std::string_view end_of_tasks(std::string_view line) {
  if (!line.starts_with("srun: error: ")) return {};
  std::string_view rest = behind(line, ": task ");
  if (rest.empty()) rest = behind(line, ": tasks ");
  return behind(rest, ": ");
}

// "srun: error: Node failure on n3", "... Task launch for StepId=7.1 failed on node n3: ...".
std::string_view lost_node(std::string_view line) {
  if (!line.starts_with("srun: error: ")) return {};
  if (const auto node = behind(line, "Node failure on "); !node.empty()) return node;
  const std::string_view node = behind(line, " failed on node ");
  return node.substr(0, node.find(':'));
}

// What a rank says right before it ends the job; 0: something else. mpirun itself says nothing of
// it, and stays for minutes where it tells a node behind a cut cable.
int code_of_report(std::string_view line) {
  const bool reports = line.starts_with("switchyard: [communicator] ") ||
                       line.starts_with("switchyard: [mpi] world rank ");
  if (!reports) return 0;
  return behind(line, " (the timeout)").data() != nullptr ? timed_out : lost_peer;
}

}  // namespace

void SrunLines::read(std::string_view line) {
  if (reported_code_ == 0) reported_code_ = code_of_report(line);
  if (const std::string_view node = lost_node(line); !node.empty()) {
    if (!lost_nodes_.empty()) lost_nodes_ += ',';
    lost_nodes_ += node;
    return;
  }
  const std::string_view end = end_of_tasks(line);
  if (end.empty()) return;
  if (std::string_view code = behind(end, "Exited with exit code "); !code.empty()) {
    const int number = take_number<int>(code).value_or(0);
    by_usr1_ |= first_code_ == 0 && number == ended_by_usr1;
    // One that waited says 77; those that then lost it, 76.
    if (first_code_ == 0 || (first_code_ == lost_peer && number == timed_out)) first_code_ = number;
    return;
  }
  if (first_code_ != 0) return;
  first_code_ = lost_peer;  // a signal's name
  faulted_ = end.starts_with("Segmentation fault");
  by_usr1_ = end.starts_with("User defined signal 1");
}

StepEnd SrunLines::end(int code) const {
  constexpr int by_signal = 128, fault = 139, mpirun_lost_a_node = 205;
  if (first_code_ == 0 && reported_code_ != 0 && code > by_signal) code = reported_code_;
  StepEnd end{.code = first_code_ != 0 ? first_code_ : code, .lost_nodes = lost_nodes_};
  end.faulted = faulted_ || end.code == fault;
  end.by_usr1 = by_usr1_ || end.code == ended_by_usr1;
  const bool by_interrupt = end.code == by_signal + 2;
  if ((end.code > by_signal && !by_interrupt) || end.code == mpirun_lost_a_node)
    end.code = lost_peer;
  if (code != 0 && !lost_nodes_.empty()) end.code = lost_peer;
  if (code == 0) end.code = 0;
  return end;
}

}  // namespace switchyard
