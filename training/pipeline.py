"""The pipeline that a checkpoint of `assay train` carries; plain diffusers loads it from there.

    DiffusionPipeline.from_pretrained(DIR, custom_pipeline=DIR, trust_remote_code=True)

Prompts are read by Assay's encoder, so that needs the package assay-data; without it, pass `text` and `mask`. The
pipeline returns pictures in memory: `assay generate` is what guards and marks them.
"""

from __future__ import annotations

from typing import Any

import torch

try:
    from filters.encoders.torchvision_fix import ensure_torchvision

    ensure_torchvision()  # diffusers imports torchvision, which does not load beside every build of torch
except ImportError:
    pass

from diffusers import DiffusionPipeline, ImagePipelineOutput


class AssayPipeline(DiffusionPipeline):  # type: ignore[misc]
    """Text to picture by a denoiser (`unet` or `transformer`), an autoencoder (None: pixels), and any scheduler.

    `text_model`, `text_id`, `text_tokens`: the encoder that the denoiser was trained with; `dataset`: content hashes
    of the dataset's versions that it was trained on; `steps`, `guidance`: taken where a call names none.
    """

    model_cpu_offload_seq = "unet->transformer->vae"
    _optional_components = ("unet", "transformer", "vae")

    def __init__(
        self,
        scheduler: Any,
        unet: Any = None,
        transformer: Any = None,
        vae: Any = None,
        text_model: str = "builtin:mini",
        text_id: str = "",
        text_tokens: int = 24,
        dataset: Any = (),
        steps: int = 50,
        guidance: float = 3.0,
    ) -> None:
        super().__init__()
        self.register_modules(scheduler=scheduler, unet=unet, transformer=transformer, vae=vae)
        self.register_to_config(text_model=text_model, text_id=text_id, text_tokens=text_tokens, dataset=list(dataset))
        self.register_to_config(steps=steps, guidance=guidance)
        self._encoder: Any = None

    @property
    def network(self) -> Any:
        """The denoiser, whichever kind it is."""
        return self.unet if self.unet is not None else self.transformer

    def encode(self, prompts: list[str]) -> tuple[Any, Any]:
        """Return text vectors (n, tokens, width) and mask (n, tokens). Raises `ValueError` for another encoder."""
        if self._encoder is None:
            try:
                from training.models.text import TextEncoder
            except ImportError:
                raise ValueError("reading prompts needs the package assay-data; or pass text and mask") from None
            encoder = TextEncoder(self.config.text_model, self.config.text_tokens, 16, self.network.device)
            if self.config.text_id and encoder.id != self.config.text_id:
                raise ValueError(f"trained with the text encoder {self.config.text_id}, but this is {encoder.id}")
            self._encoder = encoder
        found = self._encoder.encode(prompts)
        return found.vectors, found.mask

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str] = "",
        negative_prompt: str | list[str] = "",
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        height: int | None = None,
        width: int | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        text: tuple[Any, Any] | None = None,
        negative_text: tuple[Any, Any] | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
    ) -> Any:
        """Return pictures of the prompts; `output_type` `pil`, `np` (n, h, w, 3) in [0, 1], or `pt` (n, 3, h, w).

        Steps and guidance that are None are the checkpoint's own: 50 and 3, of a distilled student 4 (or as many as
        it was made for) and 1.

        Classifier-free guidance (arXiv:2207.12598): out + (scale - 1) * (out - out without the prompt); at 1 the
        second is not computed. `text`, `negative_text`: vectors and mask as `encode` returns them. One generator a
        picture makes each independent of its neighbours.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        vectors, mask = text if text is not None else self.encode(prompts)
        steps = self.config.steps if num_inference_steps is None else num_inference_steps
        guidance = self.config.guidance if guidance_scale is None else guidance_scale
        guided = guidance != 1.0
        if guided and negative_text is None:
            others = [negative_prompt] * len(vectors) if isinstance(negative_prompt, str) else list(negative_prompt)
            negative_text = self.encode(others)
        network = self.network
        factor = 1 if self.vae is None else 2 ** (len(self._widths()) - 1)
        side = network.config.sample_size * factor
        shape = (len(vectors), network.config.in_channels, (height or side) // factor, (width or side) // factor)
        x = self._noise(shape, generator) * getattr(self.scheduler, "init_noise_sigma", 1.0)
        self.scheduler.set_timesteps(steps, device=x.device)
        for level in self.progress_bar(self.scheduler.timesteps):
            given = self.scheduler.scale_model_input(x, level) if hasattr(self.scheduler, "scale_model_input") else x
            out = self._denoise(given, level, vectors, mask)
            if guided and negative_text is not None:
                other = self._denoise(given, level, *negative_text)
                out = other + guidance * (out - other)
            x = self.scheduler.step(out.float(), level, x, return_dict=False)[0]
        pictures = (self._decode(x) / 2 + 0.5).clamp(0, 1)
        images: Any = pictures
        if output_type != "pt":
            images = pictures.permute(0, 2, 3, 1).float().cpu().numpy()
            images = self.numpy_to_pil(images) if output_type == "pil" else images
        return ImagePipelineOutput(images=images) if return_dict else (images,)

    def _denoise(self, x: Any, level: Any, vectors: Any, mask: Any) -> Any:
        network = self.network
        more = {} if self.unet is not None else {"added_cond_kwargs": {"resolution": None, "aspect_ratio": None}}
        return network(
            x.to(network.dtype),
            timestep=level.expand(len(x)),
            encoder_hidden_states=vectors.to(network.dtype),
            encoder_attention_mask=mask,
            return_dict=False,
            **more,
        )[0]

    def _decode(self, latents: Any) -> Any:
        if self.vae is None:
            return latents
        config = self.vae.config
        raw = latents / (config.get("scaling_factor") or 1.0) + (config.get("shift_factor") or 0.0)
        return self.vae.decode(raw.to(self.vae.dtype), return_dict=False)[0].float()

    def _widths(self) -> Any:
        return self.vae.config.get("encoder_block_out_channels") or self.vae.config.block_out_channels

    def _noise(self, shape: tuple[int, ...], generator: Any) -> Any:
        device = self.network.device
        if isinstance(generator, list):
            rows = [torch.randn(shape[1:], generator=one, device=one.device) for one in generator]
            return torch.stack(rows).to(device)
        source = generator.device if generator is not None else device
        return torch.randn(shape, generator=generator, device=source).to(device)
