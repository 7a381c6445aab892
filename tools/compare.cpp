#include "launch/path/compare.h"

#include <cstdio>
#include <optional>

#include "core/error.h"
#include "core/printable.h"
#include "data/progress.h"
#include "launch/path/run_folder.h"
#include "launch/path/weights_option.h"
#include "tools/command_support.h"
#include "tools/comparison_text.h"

namespace switchyard {

namespace {

struct Request {
  std::string a, b;
  std::string weights;
  double tolerance = 0;
  bool json = false;
};

void print_json(const Request& request, const Json& found) {
  Json all = {{"a", request.a}, {"b", request.b}};
  all.update(found);
  std::printf("%s\n", json_text_replacing(all).c_str());
}

ExitCode code_of_result(bool agrees) { return agrees ? ExitCode::reached : ExitCode::differs; }

ExitCode compare_runs(const Request& request) {
  const auto records = [&request](const std::string& run) {
    const RunFolder folder(run);
    const auto path = folder.read();  // says so where there is no path
    check(path.kind == "path", "compare",
          "'{}' is {}; it has weights and no steps: 'compare {}@STEP {}@STEP' compares weights",
          run, describe_kind(path), request.a, request.b);
    return read_step_records(folder.folder());
  };
  const auto found = compare_records(records(request.a), records(request.b), request.tolerance);
  check(found.common > 0, "compare",
        "'{}' and '{}' have no step in common; steps are those of "
        "metrics.jsonl, a branch's from its fork point on",
        request.a, request.b);
  if (request.json) {
    print_json(request, comparison_json(found));
  } else {
    std::printf(
        "%lld steps in common (%lld to %lld), %lld differ; %lld only in %s, %lld only in %s\n",
        static_cast<long long>(found.common), static_cast<long long>(found.first_step),
        static_cast<long long>(found.last_step), static_cast<long long>(found.differing),
        static_cast<long long>(found.only_a), printable(request.a).c_str(),
        static_cast<long long>(found.only_b), printable(request.b).c_str());
    print_places(found);
  }
  return code_of_result(found.differing == 0);
}

void print_checkpoints(const Request& request, const CheckpointComparison& found) {
  std::printf("%lld tensors, %lld elements in common; %lld tensors, %lld elements differ\n",
              static_cast<long long>(found.tensors), static_cast<long long>(found.elements),
              static_cast<long long>(found.differing_tensors),
              static_cast<long long>(found.differing_elements));
  const auto print_names = [](const std::string& title, const std::vector<std::string>& names) {
    for (const auto& name : names)
      std::printf("%s: %s\n", printable(title).c_str(), printable(name).c_str());
  };
  print_names("only in " + request.a, found.only_a);
  print_names("only in " + request.b, found.only_b);
  print_names("unlike", found.unlike);
  print_places(found);
}

ExitCode compare_saved(const Request& request) {
  const auto open = [&](const std::string& name) {
    const auto reference = parse_run_reference(name);
    CheckpointReader reader(RunFolder(reference.folder).checkpoint(reference.step).folder);
    if (!request.weights.empty()) check_weights_option(&reader, request.weights);
    return reader;
  };
  const CheckpointReader a = open(request.a), b = open(request.b);
  Progress progress("compare", a.bytes(), true);
  const auto found = compare_checkpoints(a, b, request.weights, request.tolerance,
                                         [&](int64_t bytes) { progress.add(bytes); });
  if (request.json) {
    print_json(request, comparison_json(found));
  } else {
    print_checkpoints(request, found);
  }
  return code_of_result(found.agrees());
}

}  // namespace

int compare_command(Arguments arguments) {
  using enum OptionKind;
  const auto group = OptionGroup::run;
  const std::vector<OptionSpec> specs = {
      {"tolerance", real, group, "0",
       "relative differences up to this are none; 0: every bit has to agree"},
      {"weights", text, group, "", "of saved steps: this group alone, as inspect lists them (all)"},
      {"json", flag, group, "", "print one JSON object"}};
  auto command = parse_or_help(specs, arguments, "compare A B | A@STEP B@STEP");
  if (!command) return 0;
  const auto names = take_names(*command, 2, "A B or A@STEP B@STEP");
  const auto s = with_fallbacks(specs, command->given);
  const Request request{names[0], names[1], s.has("weights") ? s.text("weights") : "",
                        s.real("tolerance"), s.flag("json")};
  check(request.tolerance >= 0, "compare", "--tolerance {}; 0 or more is allowed",
        s.text("tolerance"));
  const bool saved = parse_run_reference(request.a).step.has_value();
  check(saved == parse_run_reference(request.b).step.has_value(), "compare",
        "'{}' and '{}': two runs or two saved steps, RUN@STEP, are compared", request.a, request.b);
  check(saved || request.weights.empty(), "compare",
        "--weights {}; it is for saved steps, RUN@STEP", request.weights);
  return static_cast<int>(saved ? compare_saved(request) : compare_runs(request));
}

}  // namespace switchyard
