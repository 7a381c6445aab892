#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include "core/files.h"
#include "launch/path/lease.h"

// Hosts that share a disk on which each keeps its flocks for itself.
namespace switchyard::test {

// The environment of a program on that host.
inline std::string on_host(const std::string& name, const std::string& more = "") {
  return "LD_PRELOAD=" SWITCHYARD_OTHER_HOST
         " ASAN_OPTIONS=verify_asan_link_order=0"
         " SWITCHYARD_TEST_HOST=" +
         name + " " + more;
}

// Makes a squeue that does as the script says; returns the PATH that finds it, for an environment.
inline std::string make_squeue(const std::filesystem::path& folder, const std::string& script) {
  namespace fs = std::filesystem;
  const fs::path bin = folder / "bin";
  fs::create_directories(bin);
  write_file_atomically(bin / "squeue", "#!/bin/sh\n" + script + "\n");
  fs::permissions(bin / "squeue", fs::perms::owner_all);
  return "PATH=" + bin.string() + ":" + getenv("PATH");
}

// As a taker of host n9 does: from now on what is held is its own.
inline void take_over(const std::filesystem::path& lease, const std::string& job) {
  LeaseHolder holder = this_process();
  holder.host = "n9";
  holder.boot = "n9";
  holder.scheduler = job.empty() ? "" : "slurm";
  holder.job = job;
  const Json all = {{"token", "theirs"}, {"counter", 0}, {"holder", to_json(holder)}};
  const std::filesystem::path made = lease.string() + ".theirs";
  write_file_atomically(made, json_text(all) + "\n");
  std::filesystem::rename(made, lease);
}

}  // namespace switchyard::test
