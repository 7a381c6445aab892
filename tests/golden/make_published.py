#!/usr/bin/env python3
"""Makes the golden figures of published models: python3 tests/golden/make_published.py

Needs torch, transformers and safetensors; the tests themselves do not. transformers makes a tiny
model of each architecture, saves it, computes its logits in fp32 and trains it for 20 steps of
AdamW. published/NAME.json holds config.json and the files' tensors (name, dtype, shape) as it
wrote them, some of the logits and all losses; weights and tokens follow from names. One model is
there as its files, in shards: published/qwen2.
"""

import json
import pathlib
import shutil
import tempfile

import safetensors
import torch
import transformers

from published import LENGTH, MODELS, load, save, tokens

STEPS, BATCH = 20, 4
OPTIMIZER = {"learning_rate": 1e-3, "warmup": 5, "clip_norm": 1.0, "weight_decay": 0.1,
             "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-8}


def saved(name):
    """config.json and the header as transformers writes them, and the model."""
    with tempfile.TemporaryDirectory() as folder:
        save(name, folder)
        config = (pathlib.Path(folder) / "config.json").read_text()
        with safetensors.safe_open(f"{folder}/model.safetensors", "pt") as file:
            slices = {key: file.get_slice(key) for key in file.keys()}
            header = [[key, part.get_dtype(), part.get_shape()] for key, part in slices.items()]
        return config, header, load(folder)


def train(model, name):
    vocabulary = model.config.vocab_size
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(
        [{"params": [p for p in parameters if p.dim() > 1],
          "weight_decay": OPTIMIZER["weight_decay"]},
         {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0}],
        betas=(OPTIMIZER["beta1"], OPTIMIZER["beta2"]), eps=OPTIMIZER["epsilon"])
    model.train()
    losses = []
    for step in range(1, STEPS + 1):
        batch = torch.stack([torch.from_numpy(tokens(f"{name} {step} {b}", LENGTH + 1, vocabulary))
                             for b in range(BATCH)])
        for group in optimizer.param_groups:
            group["lr"] = OPTIMIZER["learning_rate"] * min(1.0, step / OPTIMIZER["warmup"])
        optimizer.zero_grad()
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, OPTIMIZER["clip_norm"])
        optimizer.step()
        losses.append(loss.item())
    return losses


def main():
    torch.set_num_threads(1)
    folder = pathlib.Path(__file__).parent / "published"
    folder.mkdir(exist_ok=True)
    for name in MODELS:
        config, header, model = saved(name)
        vocabulary = model.config.vocab_size
        prompt = tokens(f"{name} prompt", LENGTH, vocabulary)
        columns = sorted(set((torch.arange(61) * vocabulary // 61).tolist()) | {vocabulary - 1})
        with torch.no_grad():
            logits = model(torch.from_numpy(prompt)[None]).logits[0][:, columns]
        golden = {"versions": f"torch {torch.__version__}, transformers {transformers.__version__}",
                  "config": config, "tensors": header, "prompt": prompt.tolist(),
                  "columns": columns, "logits": logits.tolist(), "batch": BATCH, "length": LENGTH,
                  "optimizer": OPTIMIZER, "losses": train(model, name)}
        (folder / f"{name}.json").write_text(json.dumps(golden) + "\n")
        if name == "qwen2":
            shutil.rmtree(folder / name, ignore_errors=True)
            save(name, folder / name, max_shard_size="100KB")
        print(name, golden["losses"][0], golden["losses"][-1], logits.abs().max().item())


if __name__ == "__main__":
    main()
