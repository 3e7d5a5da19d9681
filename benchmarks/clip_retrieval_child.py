"""Run clip-retrieval's own inference on shards; called by `benchmarks.score` with clip-retrieval's interpreter.

python clip_retrieval_child.py SHARDS PICTURE_SUFFIX WEIGHTS ARCHITECTURE SAMPLES: prints seconds without loading.
SHARDS may have braces, WEIGHTS is an absolute path, SAMPLES the number of samples in one shard.
"""

import json
import sys
import tempfile
import time

from torchvision_child import ensure_torchvision

# at the top, because its loading workers import this module before they import torchvision
ensure_torchvision()


def main() -> None:
    """Time the inference of one shard with its defaults, but for batch size and workers."""
    shards, suffix, weights, arch, samples = sys.argv[1:]
    from clip_retrieval import clip_inference
    from clip_retrieval.clip_inference import mapper

    loading = 0.0
    load = mapper.load_clip

    def timed(*arguments, **options):
        nonlocal loading
        start = time.perf_counter()
        found = load(*arguments, **options)
        loading += time.perf_counter() - start
        return found

    mapper.load_clip = timed
    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        clip_inference(
            input_dataset=shards,
            output_folder=out,
            input_format="webdataset",
            wds_image_key=suffix,
            clip_model=f"open_clip:{arch}/{weights}",
            batch_size=32,
            num_prepro_workers=2,
            wds_number_file_per_input_file=int(samples),
        )
        seconds = time.perf_counter() - start - loading
    print("\n" + json.dumps({"seconds": seconds, "loading": loading}))


if __name__ == "__main__":
    main()
