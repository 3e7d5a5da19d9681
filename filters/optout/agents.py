"""Crawlers that collect training data: whoever shuts one of them out has reserved the work from training.

The list holds the agents whose operator, or the public list named below, states training (or a corpus sold or given
away for it) as the purpose. Agents for search, for answers to one user and for undocumented ends are not on it.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Assay's own product token in robots.txt.
OWN_TOKEN = "assay"

#: State of the list, and what it was drawn from.
AGENTS_DATE = "2026-08-22"
AGENTS_SOURCE = "ai-robots-txt/ai.robots.txt on GitHub, table of bot metrics, and the operators' own pages"


@dataclass(frozen=True)
class TrainingAgent:
    """One crawler: its robots.txt token, who runs it, what it is for."""

    token: str
    operator: str
    purpose: str


TRAINING_AGENTS: tuple[TrainingAgent, ...] = (
    TrainingAgent("GPTBot", "OpenAI", "trains the operator's models"),
    TrainingAgent("ClaudeBot", "Anthropic", "trains the operator's models"),
    TrainingAgent("anthropic-ai", "Anthropic", "older token for training"),
    TrainingAgent("Google-Extended", "Google", "control token: training of Gemini and Vertex models"),
    TrainingAgent("Google-CloudVertexBot", "Google", "crawls for models on Vertex AI"),
    TrainingAgent("CloudVertexBot", "Google", "crawls for models on Vertex AI"),
    TrainingAgent("Applebot-Extended", "Apple", "control token: training of foundation models"),
    TrainingAgent("meta-externalagent", "Meta", "trains the operator's models"),
    TrainingAgent("FacebookBot", "Meta", "trains speech and language models"),
    TrainingAgent("Bytespider", "ByteDance", "trains language models"),
    TrainingAgent("TikTokSpider", "ByteDance", "trains language models"),
    TrainingAgent("CCBot", "Common Crawl", "open corpus that most training sets start from"),
    TrainingAgent("img2dataset", "img2dataset", "downloads pictures into training sets"),
    TrainingAgent("LAIONDownloader", "LAION", "builds open training sets"),
    TrainingAgent("laion-huggingface-processor", "LAION", "builds open training sets"),
    TrainingAgent("cohere-training-data-crawler", "Cohere", "trains the operator's models"),
    TrainingAgent("AI2Bot", "Allen Institute for AI", "trains open language models"),
    TrainingAgent("Ai2Bot-Dolma", "Allen Institute for AI", "builds the Dolma training set"),
    TrainingAgent("DeepSeekBot", "DeepSeek", "trains the operator's models"),
    TrainingAgent("PanguBot", "Huawei", "trains the PanGu multimodal models"),
    TrainingAgent("SBIntuitionsBot", "SB Intuitions", "AI development"),
    TrainingAgent("Cotoyogi", "ROIS", "training in Japanese"),
    TrainingAgent("ICC-Crawler", "NICT", "collects data for AI, also for third parties"),
    TrainingAgent("Kangaroo Bot", "Kangaroo LLM", "trains language models"),
    TrainingAgent("Timpibot", "Timpi", "data for training of language models"),
    TrainingAgent("TerraCotta", "Ceramic AI", "downloads data to train language models"),
    TrainingAgent("FirecrawlAgent", "Firecrawl", "scrapes for AI systems and training"),
    TrainingAgent("Diffbot", "Diffbot", "structured web data, sold for training"),
    TrainingAgent("omgili", "Webz.io", "web data, sold for training"),
    TrainingAgent("omgilibot", "Webz.io", "older token of omgili"),
    TrainingAgent("Webzio-Extended", "Webz.io", "control token: sale of crawled data for training"),
    TrainingAgent("Brightbot", "Bright Data", "scrapes to train language models"),
    TrainingAgent("FriendlyCrawler", "unknown", "data sets for machine learning"),
    TrainingAgent("VelenPublicWebCrawler", "Velen", "data sets and machine learning models"),
    TrainingAgent("ISSCyberRiskCrawler", "ISS-Corporate", "trains models of cyber risk"),
    TrainingAgent("Factset_spyderbot", "FactSet", "trains the operator's models"),
    TrainingAgent("Sidetrade indexer bot", "Sidetrade", "trains the operator's products"),
    TrainingAgent("Linguee Bot", "Linguee", "trains translation"),
    TrainingAgent("YandexAdditional", "Yandex", "data for YandexGPT"),
    TrainingAgent("YandexAdditionalBot", "Yandex", "data for YandexGPT"),
)


def obeyed(extra: tuple[str, ...] = (), own: str = OWN_TOKEN) -> tuple[str, ...]:
    """Return the tokens to obey: our own first, then the dated list, then `extra`; each once (case-insensitive)."""
    tokens = (own, *(agent.token for agent in TRAINING_AGENTS), *(token.strip() for token in extra))
    kept: dict[str, str] = {}
    for token in tokens:
        kept.setdefault(token.lower(), token)
    kept.pop("", None)
    return tuple(kept.values())


def listed(agents: tuple[str, ...], limit: int = 6) -> str:
    """Return agents as words for people: the first `limit` by name, the others as a number."""
    more = len(agents) - limit
    return ", ".join(agents[:limit]) + (f" and {more} more" if more > 0 else "")
