#include "tools/documentation.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <map>
#include <string_view>

#include "core/error.h"

namespace switchyard {

namespace {

std::string replaced(std::string_view text, std::string_view characters, const char* prefix) {
  std::string out;
  for (const char c : text) {
    if (characters.find(c) != std::string_view::npos) out += prefix;
    out += c;
  }
  return out;
}

// Text that troff prints as it is.
std::string roff(std::string_view text) {
  const std::string escaped = replaced(text, "\\-", "\\");
  const bool is_request = escaped.starts_with('.') || escaped.starts_with('\'');
  return (is_request ? "\\&" : "") + escaped;
}

std::string roff_option(const OptionSpec& spec) {
  std::string names = fmt::format("\\fB{}\\fR", roff("--" + long_name(spec)));
  if (!short_name(spec).empty())
    names += fmt::format(", \\fB{}\\fR", roff("--" + short_name(spec)));
  if (spec.kind != OptionKind::flag) names += " \\fIX\\fR";
  if (spec.kind == OptionKind::list) names += " ...";
  std::string help = spec.help;
  if (!spec.fallback.empty()) help += fmt::format(" ({})", spec.fallback);
  return fmt::format(".TP\n{}\n{}\n", names, roff(help));
}

std::vector<std::string> option_words(const CommandForm& form) {
  std::vector<std::string> words;
  for (const OptionSpec& spec : form.options) {
    words.push_back("--" + long_name(spec));
    if (!short_name(spec).empty()) words.push_back("--" + short_name(spec));
  }
  return words;
}

// What options of few values allow, by their names.
std::map<std::string, std::vector<std::string>> option_values(std::span<const CommandForm> forms) {
  std::map<std::string, std::vector<std::string>> all;
  for (const CommandForm& form : forms) {
    for (const OptionSpec& spec : form.options) {
      if (!spec.allowed.choices.empty()) all[long_name(spec)] = spec.allowed.choices;
    }
  }
  return all;
}

std::vector<std::string> names_of(std::span<const CommandForm> forms) {
  std::vector<std::string> names;
  for (const CommandForm& form : forms) names.push_back(form.name);
  return names;
}

constexpr const char* exit_status = R"(.SH EXIT STATUS
0 the goal is reached; 75 stopped by a signal and saved; 76 a rank, node or exchange was lost;
2 wrong use or input; 3 a loss that is not finite; 5 disk or checkpoint; 1 anything else.
130 ended at once by a signal. 75 and 76 are worth starting again.
.SH SIGNALS
USR1, TERM and a first Ctrl-C let train save at the step's end and stop; a second Ctrl-C ends it at
once, as any of them ends the other subcommands.
)";

std::string zsh_option(const std::string& name, const OptionSpec& spec) {
  const std::string help = replaced(spec.help, "[]:\\", "\\");
  std::string quoted;
  for (const char c : help) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  std::string value;
  if (spec.kind != OptionKind::flag) value = ":value:_files";
  if (!spec.allowed.choices.empty())
    value = fmt::format(":value:({})", fmt::join(spec.allowed.choices, " "));
  const char* again = spec.adds_up ? "*" : "";
  return fmt::format("        '{}--{}[{}]{}' \\\n", again, name, quoted, value);
}

}  // namespace

std::string man_page(std::span<const CommandForm> forms) {
  std::string page = fmt::format(
      ".TH SWITCHYARD 1 \"\" \"switchyard {}\"\n.SH NAME\nswitchyard \\- trains GPT models along "
      "paths\n.SH SYNOPSIS\n\\fBswitchyard\\fR \\fISUBCOMMAND\\fR ...\n.br\n\\fBswitchyard\\fR "
      "\\-\\-version\n.SH SUBCOMMANDS\n",
      SWITCHYARD_VERSION);
  for (const CommandForm& form : forms) {
    page += fmt::format(".SS {}\n{}.\n.PP\n\\fBswitchyard\\fR {}\n", roff(form.name),
                        roff(form.help.substr(0, form.help.find(':'))), roff(form.usage));
    for (const OptionSpec& spec : form.options) page += roff_option(spec);
    if (!form.example.empty())
      page += fmt::format(".PP\nFor example:\n.PP\n.nf\n{}\n.fi\n", roff(form.example));
  }
  return page + exit_status + ".SH SEE ALSO\nREADME.md and docs/ in the folder of documents\n";
}

std::string bash_completion(std::span<const CommandForm> forms) {
  std::string values, cases;
  for (const auto& [name, choices] : option_values(forms)) {
    values += fmt::format("    --{}) words='{}' ;;\n", name, fmt::join(choices, " "));
  }
  for (const CommandForm& form : forms) {
    const char* more = form.name == "launch" ? "-np -- " : "";
    cases += fmt::format("      {}) words='{}{}' ;;\n", form.name, more,
                         fmt::join(option_words(form), " "));
  }
  return fmt::format(
      R"(# bash completion of switchyard; written by the program from its option tables
_switchyard() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} words= first=1 i
  if [ "${{COMP_WORDS[1]}}" = launch ]; then # a subcommand of its own stands behind its --
    for ((i = 2; i < COMP_CWORD; i++)); do
      if [ "${{COMP_WORDS[i]}}" = -- ]; then first=$((i + 1)) i=$COMP_CWORD; fi
    done
  fi
  case ${{COMP_WORDS[COMP_CWORD - 1]}} in
{}  esac
  if [ "$COMP_CWORD" -eq 1 ]; then
    words='{} --help --version'
  elif [ "$COMP_CWORD" -eq "$first" ]; then
    words='{}'
  elif [ -z "$words" ] && [[ $word == -* ]]; then
    case ${{COMP_WORDS[first]}} in
{}    esac
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}}
complete -o default -F _switchyard switchyard
)",
      values, fmt::join(names_of(forms), " "), fmt::join(names_of(forms), " "), cases);
}

std::string zsh_completion(std::span<const CommandForm> forms) {
  std::string names, cases;
  for (const CommandForm& form : forms) {
    names += fmt::format(" {}", form.name);
    cases += fmt::format("    {})\n      _arguments \\\n", form.name);
    for (const OptionSpec& spec : form.options) {
      cases += zsh_option(long_name(spec), spec);
      if (!short_name(spec).empty()) cases += zsh_option(short_name(spec), spec);
    }
    cases += "        '*:file:_files' ;;\n";
  }
  return fmt::format(R"(#compdef switchyard
# zsh completion of switchyard; written by the program from its option tables
_switchyard() {{
  shift words
  (( CURRENT-- ))
  local at=${{words[(i)--]}} # a subcommand of its own stands behind launch's --
  if [[ $words[1] == launch ]] && (( at < CURRENT )); then
    shift $at words
    (( CURRENT -= at ))
  fi
  if (( CURRENT == 1 )); then
    compadd --{} --help --version
    return
  fi
  case $words[1] in
{}  esac
}}
_switchyard "$@"
)",
                     names, cases);
}

std::string documentation(const std::string& kind, std::span<const CommandForm> forms) {
  if (kind == "man") return man_page(forms);
  if (kind == "bash") return bash_completion(forms);
  if (kind == "zsh") return zsh_completion(forms);
  check(kind == "options", "documentation", "'{}'; man, bash, zsh or options is allowed", kind);
  return options_page(forms);
}

}  // namespace switchyard
