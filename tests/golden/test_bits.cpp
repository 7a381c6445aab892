// The bits of small runs of the whole program, as bits.json has them: a change that is to leave
// behaviour as it is leaves these. On a machine, compiler or library that is not in that file yet
// nothing is compared. SWITCHYARD_RECORD_BITS=1 records: for a change of bits that is wanted.
#include <gnu/libc-version.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include <cstdlib>
#include <fstream>

#include "tests/support/temporary_folder.h"
#include "tests/tools/paths.h"

namespace fs = std::filesystem;
using nlohmann::ordered_json;

namespace switchyard::test {
namespace {

// What else bits depend on.
ordered_json environment_of(const fs::path& run) {
  std::ifstream stream(run / "starts.jsonl");
  std::string line;
  std::getline(stream, line);
  const auto start = ordered_json::parse(line);
  return {{"instruction_set", start.at("instruction_set")},
          {"product_instruction_set", start.at("product_instruction_set")},
          {"onednn", start.at("versions").at("onednn")},
          {"compiler", __VERSION__},
          {"libc", gnu_get_libc_version()}};
}

// Of every tensor's name and bytes, in the order of names.
std::string digest_of(const fs::path& checkpoint) {
  XXH3_state_t* state = XXH3_createState();
  XXH3_64bits_reset(state);
  for (const auto& [name, bytes] : tensors_of(checkpoint)) {
    XXH3_64bits_update(state, name.data(), name.size());
    XXH3_64bits_update(state, bytes.data(), bytes.size());
  }
  const auto digest = XXH3_64bits_digest(state);
  XXH3_freeState(state);
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(digest));
  return text;
}

constexpr const char* styles[][2] = {
    {"gpt2", "--hidden-dropout 0.1 --attention-dropout 0.1"},
    {"llama",
     "--position-embedding-type rope --normalization RMSNorm --swiglu --disable-bias-linear "
     "--untie-embeddings-and-output-weights --num-query-groups 2 --hidden-dropout 0.1"},
    {"neox",
     "--position-embedding-type rope --rotary-percent 0.25 --parallel-residual "
     "--activation gelu-erf --untie-embeddings-and-output-weights --attention-dropout 0.1"}};
constexpr const char* precisions[][2] = {{"fp32", ""}, {"bf16", "--bf16"}};
constexpr Layout layouts[] = {{}, {.tp = 2, .dp = 2}, {.dp = 3, .pp = 2}, {.tp = 4}};

class Bits : public testing::Test {
 protected:
  fs::path at(const std::string& name) const { return folder_.path() / name; }
  std::string options(const std::string& more) const {
    return "--data-path 0.7 " + a_ + " 0.3 " + b_ +
           " --split 90,10 --num-layers 3 --hidden-size 32 --num-attention-heads 4 --seq-length 24 "
           "--global-batch-size 6 --micro-batch-size 1 --lr 3e-3 --lr-warmup-iters 2 "
           "--eval-interval 3 --eval-iters 1 " +
           more;
  }
  // Trains to the step and notes what the run has come to.
  void go_on(const std::string& name, int to, Layout layout, const std::string& more = "") {
    train(at(name), "--train-iters " + std::to_string(to) + " " + more, layout);
    ordered_json steps = ordered_json::array();
    for (const auto& line : metrics_of(at(name))) {
      std::vector<double> values;
      for (const char* each : {"loss", "grad_norm", "learning_rate", "validation_loss"}) {
        if (line.contains(each)) values.push_back(line.at(each));
      }
      steps.emplace_back(values);
    }
    runs_[name] = {{"steps", steps}, {"digest", digest_of(checkpoint_of(at(name), to))}};
  }
  void fork(const std::string& from, const std::string& name, const std::string& more) {
    run_well("fork " + at(from).string() + " " + at(name).string() + " " + more);
  }
  void compare_or_record();

  TemporaryFolder folder_;
  std::string a_ = make_tokens(folder_.path(), "a", 9'000, 1);
  std::string b_ = make_tokens(folder_.path(), "b", 5'000, 2);
  ordered_json runs_ = ordered_json::object();
};

void Bits::compare_or_record() {
  const std::string part = testing::UnitTest::GetInstance()->current_test_info()->name();
  const fs::path file = BITS_FILE;
  ordered_json all;
  std::ifstream(file) >> all;
  const ordered_json here = environment_of(at(runs_.begin().key()));
  auto entry = std::ranges::find(all, here, [](const ordered_json& each) { return each.at("of"); });
  if (std::getenv("SWITCHYARD_RECORD_BITS") == nullptr) {
    if (entry == all.end()) GTEST_SKIP() << "nothing is recorded for " << here;
    for (const auto& [name, run] : runs_.items())
      EXPECT_EQ(run, (*entry)[part].value(name, ordered_json())) << name;
    EXPECT_EQ(runs_.size(), (*entry)[part].size());
    return;
  }
  if (entry == all.end()) entry = all.insert(all.end(), ordered_json{{"of", here}});
  (*entry)[part] = runs_;
  std::ofstream stream(file);  // a line for each run
  for (const auto& each : all) {
    stream << (&each == &all[0] ? "[" : ",\n");
    for (const auto& [name, value] : each.items()) {
      stream << (name == "of" ? "{\n\"" : ",\n\"") << name << "\": ";
      if (name == "of") stream << value;
      if (name == "of") continue;
      for (const auto& [run, result] : value.items())
        stream << (run == value.begin().key() ? "{\n" : ",\n") << ordered_json(run) << ": "
               << result;
      stream << "}";
    }
    stream << "}";
  }
  stream << "]\n";
}

TEST_F(Bits, of_styles_in_layouts) {
  for (const auto& [style, model] : styles) {
    for (const auto& [precision, flag] : precisions) {
      for (const Layout layout : layouts) {
        const std::string name = std::string(style) + "-" + precision + "-tp" +
                                 std::to_string(layout.tp) + "-pp" + std::to_string(layout.pp) +
                                 "-dp" + std::to_string(layout.dp);
        go_on(name, 3, layout, options(std::string(model) + " " + flag));
      }
    }
  }
  compare_or_record();
}

TEST_F(Bits, of_paths) {
  const std::string model = std::string(styles[0][1]) + " --save-interval 2";
  go_on("main", 4, {.dp = 2}, options(model));
  go_on("main", 6, {.tp = 2});  // resumed, in another layout
  run_well("extend " + at("main").string() + " --at-step 7 --data-path " + b_);
  fork("main@4", "decayed", "--lr-decay-style 1-sqrt --lr-decay-iters 4 --min-lr 1e-5");
  fork("main@4", "shuffled", "--seed 7 --lr 1e-3 --lr-warmup-iters 2");
  fork("main@0", "anew", "--adam-beta2 0.95 --weight-decay 0.1 --clip-grad 0.5");
  fork("main@6", "other-data", "--data-path " + b_ + " --seq-length 16 --global-batch-size 4");
  go_on("main", 9, {.dp = 2});
  for (const char* name : {"decayed", "shuffled", "other-data"})
    go_on(name, 8, {.pp = 2}, "--save-interval 2");
  go_on("anew", 3, {});
  go_on("shuffled", 8, {}, "--load-step 6");  // in another layout
  run_well("average " + at("main").string() + " --steps 4:8:2 --output " + at("mean").string());
  runs_["mean"] = digest_of(checkpoint_of(at("mean"), 8));
  const auto score = run_well("eval " + at("mean").string() + " --json --data-path " + b_);
  runs_["score"] = ordered_json::parse(score).at("loss");
  const auto text = run_well("generate " + at("main").string() +
                             " --prompt the --max-new-tokens 40 --seed 3 --json");
  runs_["text"] = ordered_json::parse(text).at("ids");
  compare_or_record();
}

}  // namespace
}  // namespace switchyard::test
