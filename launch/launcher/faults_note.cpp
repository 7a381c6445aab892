#include "launch/launcher/faults_note.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <span>
#include <sstream>

#include "parallel/comm/rendezvous/job_identity.h"

namespace switchyard {

namespace fs = std::filesystem;

FaultsNote::FaultsNote() : note_(memfd_create("switchyard-faults", MFD_CLOEXEC)) {}

void FaultsNote::hand_on() const {
  if (!note_ || fcntl(note_.number(), F_SETFD, 0) != 0) return;
  setenv("SWITCHYARD_FAULTS_NOTE", fmt::format("/proc/self/fd/{}", note_.number()).c_str(), 1);
}

std::string FaultsNote::add(const std::string& text) const {
  std::array<char, 8192> bytes{};  // a folder and the start's name
  const int64_t got = note_ ? pread_all(note_, 0, std::as_writable_bytes(std::span(bytes))) : 0;
  std::istringstream note(
      std::string(bytes.data(), static_cast<size_t>(std::max<int64_t>(0, got))));
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
