#include <cstdio>
#include <filesystem>

#include "core/error.h"
#include "core/logging.h"
#include "core/printable.h"
#include "data/tokenizer.h"
#include "tools/command_support.h"

namespace switchyard {

int tokenize_command(Arguments arguments) {
  using enum OptionKind;
  const auto group = OptionGroup::run;
  const std::vector<OptionSpec> specs = {
      {.name = "input",
       .kind = list,
       .help = "files of plain text, or of JSON lines with --json-keys",
       .adds_up = true},
      {"output-prefix", OptionKind::text, group, "", "writes PREFIX.bin, PREFIX.idx, PREFIX.json"},
      {"json-keys", OptionKind::text, group, "", "the field of each JSON line that holds the text"},
      {"tokenizer-type", OptionKind::text, group, "byte", "byte"},
      {"no-append-eod", flag, group, "", "no end-of-document token after each file or line"}};
  const auto command =
      parse_or_help(specs, arguments, "tokenize --input FILE... --output-prefix PREFIX");
  if (!command) return 0;
  check(command->positional.empty(), "options", "'{}' was given; files belong behind --input",
        command->positional.empty() ? "" : command->positional.front());
  const auto settings = with_fallbacks(specs, command->given);
  TokenizeOptions options;
  options.inputs = settings.list("input");
  options.output_prefix = settings.text("output-prefix");
  if (settings.has("json-keys")) options.json_key = settings.text("json-keys");
  options.tokenizer = settings.text("tokenizer-type");
  options.append_end_of_document = !settings.flag("no-append-eod");
  std::error_code ignored;
  if (std::filesystem::exists(options.output_prefix + ".idx", ignored)) {
    log::warning(
        "the set '{}' is there and is replaced; paths that read it will refuse another one",
        options.output_prefix);
  }
  const auto result = tokenize(options);
  std::printf("%s: %lld documents, %lld tokens, %lld bytes of text\n",
              printable(options.output_prefix).c_str(), static_cast<long long>(result.documents),
              static_cast<long long>(result.tokens), static_cast<long long>(result.text_bytes));
  return 0;
}

}  // namespace switchyard
