#include "launch/generate.h"

#include <cstdio>
#include <utility>

#include "core/error.h"
#include "core/json.h"
#include "tools/command_support.h"

namespace switchyard {

namespace {

std::vector<OptionSpec> generate_options() {
  using enum OptionKind;
  const auto group = OptionGroup::run;
  return {{"prompt", text, group, "", "the text to continue; empty: a new document"},
          {"max-new-tokens", integer, group, "256",
           "at most; behind a full context (seq-length) its last half is read again"},
          {"temperature", real, group, "1", "0: always the likeliest token"},
          {"top-k", integer, group, "0", "only the likeliest k; 0: all"},
          {"top-p", real, group, "1", "only the likeliest that make up this probability"},
          {"seed", integer, group, "1234", "of the choices"},
          {"weights", text, group, std::string(groups::model),
           "the group of weights to use, as inspect lists them"},
          {"json", flag, group, "",
           "one JSON object: prompt, text, ids; in it U+FFFD for bytes that are no UTF-8"},
          {"device", text, group, "", "cpu or cuda (cuda where there is a GPU)"},
          {"attention-backend", text, group, "", "on a GPU: auto, own or cudnn"}};
}

GenerationRequest request_of(const std::string& run, const Settings& s) {
  GenerationRequest request;
  request.run = run;
  request.prompt = s.text("prompt");
  request.weights = s.text("weights");
  for (const char* name : {"device", "attention-backend"}) {
    if (s.has(name)) request.run_settings.set_text(name, s.text(name));
  }
  request.new_tokens = s.integer("max-new-tokens");
  request.sampling.temperature = s.real("temperature");
  request.sampling.top_k = s.integer("top-k");
  request.sampling.top_p = s.real("top-p");
  request.sampling.seed = static_cast<uint64_t>(s.integer("seed"));
  check(s.integer("seed") >= 0, "generate", "--seed {}; 0 or more is allowed", s.text("seed"));
  check(request.new_tokens >= 0, "generate", "--max-new-tokens {}; 0 or more is allowed",
        request.new_tokens);
  return request;
}

void print(const std::string& piece) {
  std::fwrite(piece.data(), 1, piece.size(), stdout);
  std::fflush(stdout);
}

void generate_json(const GenerationRequest& request) {
  const Generation made = generate(request, [](const std::string&) {});
  const Json all = {{"prompt", request.prompt}, {"text", made.text}, {"ids", made.ids}};
  std::printf("%s\n", json_text_replacing(all).c_str());
}

// The prompt not before the first piece: a request that is refused prints its error alone.
void generate_text(const GenerationRequest& request) {
  bool started = false;
  generate(request, [&](const std::string& piece) {
    if (!std::exchange(started, true)) print(request.prompt);
    print(piece);
  });
  if (!started) print(request.prompt);
  std::printf("\n");
}

}  // namespace

int generate_command(Arguments arguments) {
  const auto specs = generate_options();
  auto command = parse_or_help(specs, arguments, "generate RUN[@STEP] --prompt TEXT");
  if (!command) return 0;
  const std::string run = take_run(*command, "RUN[@STEP]");
  const auto request = request_of(run, with_fallbacks(specs, command->given));
  if (command->given.flag("json")) {
    generate_json(request);
  } else {
    generate_text(request);
  }
  return 0;
}

}  // namespace switchyard
