#include <cstdio>

#include "core/error.h"
#include "core/json.h"
#include "core/printable.h"
#include "launch/bench/order2_byte_model.h"
#include "tools/command_support.h"

namespace switchyard {

namespace {

void print(const std::vector<std::string>& train, const TokenDataset& set, double bits_per_byte,
           bool json) {
  const auto tokens = static_cast<long long>(set.tokens());
  if (json) {
    Json all = {{"train", train},
                {"eval", set.prefix()},
                {"bits_per_byte", bits_per_byte},
                {"tokens", set.tokens()},
                {"text_bytes", set.info().text_bytes}};
    std::printf("%s\n", json_text(all).c_str());
  } else {
    std::printf("%s: %.4f bits per byte over %lld tokens\n", printable(set.prefix()).c_str(),
                bits_per_byte, tokens);
  }
}

}  // namespace

int byte_model_command(Arguments arguments) {
  using enum OptionKind;
  const auto group = OptionGroup::run;
  const std::vector<OptionSpec> specs = {
      {.name = "train",
       .kind = list,
       .help = "PREFIX of one or several sets of bytes: their counts are added",
       .adds_up = true},
      {.name = "eval",
       .kind = list,
       .help = "PREFIX of one or several sets of bytes, each scored by itself",
       .adds_up = true},
      {"strength", real, group, "4", "counts that the order below is worth"},
      {"json", flag, group, "", "print one JSON object a line"}};
  const auto command = parse_or_help(specs, arguments, "byte-model --train PREFIX --eval PREFIX");
  if (!command) return 0;
  check(command->positional.empty(), "options",
        "'{}' was given; sets belong behind --train, --eval",
        command->positional.empty() ? "" : command->positional.front());
  const auto settings = with_fallbacks(specs, command->given);
  const auto& train = settings.list("train");
  std::vector<TokenDataset> sets;  // opened first: a wrong name is told before the counting
  for (const auto& prefix : settings.list("eval")) sets.push_back(TokenDataset::open(prefix));
  Order2ByteModel model(settings.real("strength"));
  for (const auto& prefix : train) model.train(TokenDataset::open(prefix));
  for (const auto& set : sets) {
    print(train, set, model.bits_per_byte(set), settings.flag("json"));
  }
  return 0;
}

}  // namespace switchyard
