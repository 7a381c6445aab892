#pragma once

#include <filesystem>
#include <string>

namespace switchyard {

// Where this node's launcher leaves what it has to say of its ranks: beside their own reports, in
// RUN/faults/START-host-HOST.txt. A rank that knows folder and START writes them into a file that
// SWITCHYARD_FAULTS_NOTE names, in two lines; before, and of what writes none, nothing is left.
class FaultsNote {
 public:
  FaultsNote();
  ~FaultsNote();  // removes the file
  FaultsNote(const FaultsNote&) = delete;
  FaultsNote& operator=(const FaultsNote&) = delete;

  const std::filesystem::path& file() const { return file_; }  // for the environment of ranks
  // Appends. Returns what a line about it ends with, "; see FILE", or nothing.
  std::string add(const std::string& text) const;

 private:
  std::filesystem::path file_;
};

}  // namespace switchyard
