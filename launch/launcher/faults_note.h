#pragma once

#include <string>

#include "core/files.h"

namespace switchyard {

// Where this node's launcher leaves what it has to say of its ranks: beside their own reports, in
// RUN/faults/START-host-HOST.txt. A rank that knows folder and START writes them into a file that
// SWITCHYARD_FAULTS_NOTE names, in two lines; before, and of what writes none, nothing is left.
// The file lies in memory and has no name of its own: it is gone with launcher and ranks, however
// they end.
class FaultsNote {
 public:
  FaultsNote();

  // In a rank, before its program begins: the note is open there, and the environment names it.
  void hand_on() const;
  // Appends. Returns what a line about it ends with, "; see FILE", or nothing.
  std::string add(const std::string& text) const;

 private:
  Descriptor note_;
};

}  // namespace switchyard
