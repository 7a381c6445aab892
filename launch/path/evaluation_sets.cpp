#include "launch/path/evaluation_sets.h"

#include <fmt/ranges.h>

#include "core/error.h"
#include "core/text.h"
#include "parallel/comm/rendezvous/job_environment.h"

namespace switchyard {

namespace {

std::vector<std::string> lines_of(const std::string& text) {
  const auto lines = split_at('\n', text);
  return {lines.begin(), lines.end()};
}

// What ranks draw from sets follows from the identities, so those of all machines are rank 0's.
void check_identities(const std::vector<std::string>& prefixes, const std::vector<std::string>& own,
                      const std::vector<std::string>& first) {
  for (size_t i = 0; i < prefixes.size(); ++i) {
    const std::string known = i < first.size() ? first[i] : "";
    check(own[i] == known, "data",
          "{} has the identity {} here; rank 0 reads {}: this is another set", prefixes[i], own[i],
          known);
  }
}

}  // namespace

void agree_with_hint(ControlPlane& control, const std::string& hint,
                     const std::function<void()>& body) {
  control.agree([&] {
    try {
      body();
    } catch (const Error& problem) {
      throw Error(problem.what() + hint, problem.code());
    }
  });
}

std::unique_ptr<EvaluationData> open_evaluation_data_once(const PathSpecification& path,
                                                          const std::vector<std::string>& prefixes,
                                                          ControlPlane& control,
                                                          const std::string& hint) {
  std::unique_ptr<EvaluationData> data;
  std::vector<std::string> own;
  agree_with_hint(control, hint, [&] {
    if (control.rank() != 0 && local_rank_of_process() != 0) return;
    data = open_evaluation_data(path, prefixes);
    own = data->identities();
  });
  const auto first = lines_of(
      control.broadcast(fmt::format("{}", fmt::join(own, "\n")), "identities of evaluated sets"));
  agree_with_hint(control, hint, [&] {
    if (data) {
      check_identities(prefixes, own, first);
    } else {
      data = open_evaluation_data(path, prefixes, first);
    }
  });
  return data;
}

}  // namespace switchyard
