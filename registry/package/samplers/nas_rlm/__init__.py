from nas_rlm import RLMSampler, from_builder

__all__ = ["RLMSampler", "from_builder"]
