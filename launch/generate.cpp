#include "launch/generate.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/logging.h"
#include "data/tokenizer.h"
#include "data/utf8.h"
#include "launch/engine/load_weights.h"
#include "launch/path/companions.h"
#include "launch/path/run_folder.h"
#include "launch/path/run_settings.h"
#include "launch/path/weights_option.h"
#include "model/gpt_stage.h"
#include "optim/flat_buffers.h"

namespace switchyard {

namespace {

// Appends a token; a full context is begun anew with its last half.
std::span<const float> feed(Generator& generator, std::vector<int32_t>& text) {
  if (generator.length() < generator.context_length()) {
    return generator.feed(std::span<const int32_t>(text).last(1));
  }
  generator.reset();
  const auto half = static_cast<size_t>((generator.context_length() + 1) / 2);
  return generator.feed(std::span<const int32_t>(text).last(half));
}

// The prompt's tokens; an empty one is the beginning of a document.
std::vector<int32_t> encode(const Tokenizer& tokenizer, const std::string& prompt,
                            int64_t vocabulary) {
  std::vector<int32_t> text;
  tokenizer.encode(prompt, text);
  if (text.empty()) text.push_back(tokenizer.end_of_document());
  for (const int32_t token : text) {
    check(token < vocabulary, "generate",
          "{} token {}; the model's vocabulary has {} tokens, so it cannot be read",
          prompt.empty() ? "an empty prompt is" : "the prompt has", token, vocabulary);
  }
  return text;
}

// What the generator reads first: the prompt, or its end where it is longer than the context.
std::span<const int32_t> opening(std::span<const int32_t> text, int64_t context) {
  const auto most = static_cast<size_t>(context);
  if (text.size() <= most) return text;
  log::warning("the prompt has {} tokens and the context {}; its last {} are read", text.size(),
               context, context);
  return text.last(most);
}

// Adds a token's text, and hands out what is whole of it and was not yet.
void hand_out(const std::string& piece, std::string& pending, Generation& made,
              const std::function<void(const std::string& piece)>& out) {
  pending += piece;
  const size_t ready = whole_characters(pending);
  if (ready == 0) return;
  const std::string whole = pending.substr(0, ready);
  made.text += whole;
  out(whole);
  pending.erase(0, ready);
}

// A path's model on this process: weights alone, without what trains or scores them.
struct Model {
  explicit Model(const EngineOptions& options)
      : stream(options.device),
        scratch(options.device),
        parameters(GptStage::stage_parameters(options.model, {}, {}, stage_options(options, 1))),
        weights(parameters, buffer_options(options, {}, {})) {}

  Stream stream;
  Scratch scratch;
  std::vector<Parameter> parameters;
  FlatBuffers weights;
};

// Reads the prompt's tokens and samples those behind them.
Generation sample(Generator& generator, std::vector<int32_t> text, const Tokenizer& tokenizer,
                  const GenerationRequest& request,
                  const std::function<void(const std::string& piece)>& out) {
  Generation made;
  std::string pending;
  auto logits = generator.feed(opening(text, generator.context_length()));
  // A model may have more tokens than its tokenizer.
  const size_t known = std::min(static_cast<size_t>(tokenizer.vocabulary()), logits.size());
  for (int64_t i = 0; i < request.new_tokens; ++i) {
    const int32_t token =
        sample_token(logits.first(known), request.sampling, static_cast<int64_t>(text.size()));
    if (token == tokenizer.end_of_document()) break;
    text.push_back(token);
    made.ids.push_back(token);
    hand_out(tokenizer.decode(std::span<const int32_t>(text).last(1)), pending, made, out);
    if (i + 1 < request.new_tokens) logits = feed(generator, text);
  }
  return made;
}

}  // namespace

Generation generate(const GenerationRequest& request,
                    const std::function<void(const std::string& piece)>& out) {
  check_sampling(request.sampling);
  const auto reference = parse_run_reference(request.run);
  const RunFolder folder(reference.folder);
  const auto path = folder.read();
  check(!path.tokenizer.empty(), "generate", "{}'{}' {}",
        path.kind == "imported" ? "the tokenizer of " : "", reference.folder.string(),
        path.kind == "imported" ? "is unknown: its weights came without one"
                                : "was trained on sets whose tokenizer is unknown");
  check(!is_foreign_tokenizer(path.tokenizer), "generate",
        "the tokenizer of '{}' is the published model's ({}), which is not read here; 'convert "
        "--from {} --to FOLDER' makes a folder that transformers samples from",
        reference.folder.string(), path.tokenizer, request.run);
  const auto tokenizer = make_tokenizer(path.tokenizer);
  std::vector<int32_t> text = encode(*tokenizer, request.prompt, path.model.vocabulary);
  const CheckpointReader reader(folder.checkpoint(reference.step).folder);
  reader.verify();
  check_weights_option(&reader, request.weights);
  const Settings run = with_fallbacks(layout_options(), request.run_settings);
  apply_device_settings(run);
  Model model(engine_options(path, run, false));
  load_weights(model.parameters, reader, model.stream, request.weights);
  Generator generator(path.model, model.parameters, path.sequence_length(),
                      {model.stream, model.scratch});
  begin_work();
  return sample(generator, std::move(text), *tokenizer, request, out);
}

}  // namespace switchyard
