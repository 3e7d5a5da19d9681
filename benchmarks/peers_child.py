"""Runs one peer's own job; called by `benchmarks.peers` with the peer's interpreter, so only that peer is imported.

python peers_child.py PEER ARGUMENTS...: prints one JSON line, what it counted.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

# No peer may ask anything of the network but the download of its list: not versions, not statistics, not models.
os.environ.update(
    NO_ALBUMENTATIONS_UPDATE="1",
    SENTRY_OPT_OUT="1",
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    WANDB_MODE="disabled",
)


def img2dataset(urls: str, out: str, processes: str, encode: str) -> dict[str, object]:
    """Download a list to WebDataset shards; the files as they came, or with `encode` each decoded and written anew."""
    from img2dataset import download

    download(
        url_list=urls,
        input_format="csv",
        url_col="url",
        caption_col="caption",
        output_folder=out,
        output_format="webdataset",
        number_sample_per_shard=500,
        processes_count=int(processes),
        thread_count=64,
        resize_mode="no",
        disable_all_reencoding=encode != "encode",
        enable_wandb=False,
    )
    stats = [json.loads(path.read_text()) for path in Path(out).glob("*_stats.json")]
    return {"pictures": sum(row["successes"] for row in stats)}


def imagededup(folder: str, workers: str, distance: str) -> dict[str, object]:
    """Hash a folder and list what to remove."""
    from torchvision_child import ensure_torchvision

    ensure_torchvision()
    from imagededup.methods import PHash

    method = PHash(verbose=False)
    codes = method.encode_images(image_dir=folder, num_enc_workers=int(workers))
    removed = method.find_duplicates_to_remove(
        encoding_map=codes, max_distance_threshold=int(distance), num_dist_workers=int(workers)
    )
    return {"pictures": len(codes), "removed": len(removed)}


def fastdup(folder: str, out: str, threads: str) -> dict[str, object]:
    """Look for similar pictures by its own embedding, and join those over its default bound."""
    import fastdup as package

    found = package.create(work_dir=out, input_dir=folder)
    found.run(threshold=0.9, num_threads=int(threads), ccthreshold=0.96, overwrite=True)
    components = found.connected_components()[0]
    sizes = components.groupby("component_id").size()
    return {"in_clusters": len(components), "pairs": len(found.similarity()), "removed": int((sizes - 1).sum())}


def data_juicer(rows: str, out: str, workers: str, recipe: str) -> dict[str, object]:
    """Run a recipe (JSON list of operators) by its default executor; count what each operator left."""
    from torchvision_child import ensure_torchvision

    ensure_torchvision()  # its image hash is imagededup's
    from data_juicer.config import init_configs
    from data_juicer.core.executor.default_executor import DefaultExecutor

    kept = Path(out) / "kept.jsonl"
    config = Path(out) / "recipe.yaml"
    config.parent.mkdir(parents=True)
    body = {"project_name": "peers", "dataset_path": rows, "export_path": str(kept), "np": int(workers)}
    # JSON is YAML; no cache, as a second round would only read the first one's
    config.write_text(json.dumps({**body, "use_cache": False, "process": json.loads(recipe)}))
    DefaultExecutor(init_configs(["--config", str(config)])).run()
    return {"kept": len(kept.read_text().splitlines())}


_JOBS = {"img2dataset": img2dataset, "imagededup": imagededup, "fastdup": fastdup, "py-data-juicer": data_juicer}


def main() -> None:
    """Run the job that the arguments name."""
    found = _JOBS[sys.argv[1]](*sys.argv[2:])
    # Data-Juicer puts its log in the place of sys.stdout
    print("\n" + json.dumps(found), flush=True, file=sys.__stdout__)


if __name__ == "__main__":
    main()
