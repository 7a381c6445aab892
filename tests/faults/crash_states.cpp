// Cuts the power at every place of a recorded trace, and judges what may be left:
//   crash_states TRACE [--reference FOLDER] [--seed N] [--draws N] [--only EVENT] [--keep FOLDER]
//     [--is FOLDER]
// Before each change and behind the last one: what a kill leaves, which is everything so far; the
// least that fsync promises; names without data; names with zeros; and `draws` draws of what may
// have got to the disk. Prints each fault once, with the place that repeats it. --keep writes the
// state of one event and draw (--only E --draw D) into a folder, or of --part 0.3 of all events.
// --is compares what the trace comes to with what the folder holds.
//   crash_states FOLDER [--reference FOLDER] [--said FILE]
// judges a folder as it is; FILE has what was said, as promises.h lists it.
#include <fmt/format.h>

#include <cstdlib>
#include <iostream>
#include <set>

#include "core/error.h"
#include "core/files.h"
#include "core/logging.h"
#include "tests/faults/judge.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

struct Options {
  fs::path trace, reference, keep, said, is;
  uint64_t seed = 1;
  int draws = 4, draw = -1;
  int64_t only = -1;
  double part = -1;
};

Options options_from(int count, char** words) {
  check(count >= 2, "test", "a trace is to be named");
  Options all{.trace = words[1], .reference = {}, .keep = {}, .said = {}, .is = {}};
  for (int i = 2; i + 1 < count; i += 2) {
    const std::string name = words[i], value = words[i + 1];
    if (name == "--reference") all.reference = value;
    if (name == "--keep") all.keep = value;
    if (name == "--is") all.is = value;
    if (name == "--said") all.said = value;
    if (name == "--seed") all.seed = std::stoull(value);
    if (name == "--draws") all.draws = std::stoi(value);
    if (name == "--draw") all.draw = std::stoi(value);
    if (name == "--part") all.part = std::stod(value);
    if (name == "--only") all.only = std::stoll(value);
  }
  return all;
}

// The first four are no draws.
Loss loss_of(int draw) {
  constexpr Loss fixed[] = {{Names::all, Data::all},
                            {Names::none, Data::none},
                            {Names::all, Data::none},
                            {Names::all, Data::zeros}};
  if (draw < 4) return fixed[draw];
  return draw % 3 == 0 ? Loss{Names::first, Data::drawn} : Loss{Names::drawn, Data::drawn};
}

Image image_of(const fs::path& folder) {
  Image image;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string name = entry.path().lexically_relative(folder).string();
    image[name] =
        entry.is_directory() ? nullptr : std::make_shared<Content>(read_file(entry.path()));
  }
  return image;
}

class Cuts {
 public:
  explicit Cuts(const Options& options)
      : options_(options),
        scratch_(fs::temp_directory_path() / fmt::format("crash-states-{}", getpid())),
        judge_(scratch_, options.reference) {
    make_folder(scratch_);
  }
  ~Cuts() { fs::remove_all(scratch_); }

  int run() { return fs::is_directory(options_.trace) ? judge_folder() : judge_trace(); }

 private:
  int judge_folder() {
    const Image image = image_of(options_.trace);
    const std::string said = options_.said.empty() ? "" : read_file(options_.said);
    promises_.hear({.change = Change::said, .name = {}, .other = {}, .data = said});
    for (const std::string& fault : judge_.faults(image, promises_)) note(fault, 0);
    return said_.empty() ? 0 : 1;
  }

  int judge_trace() {
    Trace trace;
    read_trace(options_.trace, trace);
    if (options_.part >= 0)
      options_.only =
          static_cast<int64_t>(options_.part * static_cast<double>(trace.events.size()));
    for (at_ = 0; at_ < std::ssize(trace.events); ++at_) {
      const Event& event = trace.events[static_cast<size_t>(at_)];
      cut(event);
      disk_.apply(event);
      note(promises_.hear(event), 0);
      for (auto& [name, hash] : promises_.whole()) {
        if (hash == 0) hash = Judge::hash_of(disk_.now(), name);
      }
    }
    cut({.change = Change::sync, .name = {}, .other = {}, .data = {}});
    if (!options_.is.empty()) compare(image_of(options_.is));
    fmt::print("{} states at {} events: {} different steps read, {} starts made, {} faults\n",
               states_, at_, judge_.steps_read(), judge_.starts_made(), said_.size());
    return said_.empty() ? 0 : 1;
  }

  // Between two writes of one file little differs: draws are made where names, syncs or what was
  // said change, at every 16th write, and at the one event that was asked for.
  void cut(const Event& next) {
    if (options_.only >= 0 && at_ != options_.only) return;
    const bool is_write = next.change == Change::write || next.change == Change::truncate;
    const bool is_alike = is_write && at_ % 16 != 0 && options_.only < 0;
    const int draws = is_alike ? 1 : 4 + options_.draws;
    for (int draw = 0; draw < draws; ++draw) {
      if (options_.draw >= 0 && draw != options_.draw) continue;
      std::mt19937_64 random(options_.seed * 1'000'003 + static_cast<uint64_t>(at_) * 101 +
                             static_cast<uint64_t>(draw));
      const Image image = draw == 0 ? disk_.now() : disk_.behind_cut(loss_of(draw), random);
      ++states_;
      if (!options_.keep.empty()) keep(image, next, draw);
      for (const std::string& fault : judge_.faults(image, promises_)) note(fault, draw);
    }
  }

  void keep(const Image& image, const Event& next, int draw) {
    fmt::print("kept draw {} of the cut before event {}, {}: {} names\n", draw, at_,
               name_of(next.change), image.size());
    Image below;
    for (const auto& [name, content] : image) below["all/" + name] = content;
    make_folder(options_.keep);
    write_image(below, "all", options_.keep);
  }

  // A change that the library did not see makes all else worthless.
  void compare(const Image& wanted) {
    const Image found = disk_.now();
    for (const auto& [name, content] : wanted) {
      const auto mine = found.find(name);
      const bool same = mine != found.end() && !mine->second == !content &&
                        (!content || mine->second->bytes == content->bytes);
      if (!same) note(name + " is not what the trace says", 0);
    }
    if (found.size() != wanted.size()) note("the trace has names that are not there", 0);
  }

  void note(const std::string& fault, int draw) {
    if (fault.empty() || !said_.insert(fault).second) return;
    fmt::print("FAULT {} (--seed {} --only {} --draw {})\n", fault, options_.seed, at_, draw);
  }

  Options options_;
  fs::path scratch_;
  Judge judge_;
  Disk disk_;
  Promises promises_;
  int64_t at_ = 0, states_ = 0;
  std::set<std::string> said_;
};

}  // namespace
}  // namespace switchyard::test

int main(int count, char** words) {
  try {
    return switchyard::test::Cuts(switchyard::test::options_from(count, words)).run();
  } catch (const std::exception& problem) {
    fmt::print(stderr, "crash_states: {}\n", problem.what());
    return 2;
  }
}
