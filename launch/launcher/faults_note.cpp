#include "launch/launcher/faults_note.h"

#include <fmt/core.h>
#include <unistd.h>

#include <fstream>

#include "parallel/comm/rendezvous/job_identity.h"

namespace switchyard {

namespace fs = std::filesystem;

FaultsNote::FaultsNote() {
  std::error_code ignored;
  const fs::path folder = fs::temp_directory_path(ignored);
  file_ = folder / fmt::format("switchyard-faults-{}", getpid());
  fs::remove(file_, ignored);  // of a process long gone
}

FaultsNote::~FaultsNote() {
  std::error_code ignored;
  fs::remove(file_, ignored);
}

std::string FaultsNote::add(const std::string& text) const {
  std::ifstream note(file_);
  std::string folder, start;
  if (!std::getline(note, folder) || !std::getline(note, start)) return "";
  const fs::path to = fs::path(folder) / fmt::format("{}-host-{}.txt", start, job_identity().host);
  std::error_code ignored;
  fs::create_directories(folder, ignored);
  std::ofstream stream(to, std::ios::app);
  stream << text;
  stream.flush();
  return stream ? fmt::format("; see {}", to.string()) : "";
}

}  // namespace switchyard
