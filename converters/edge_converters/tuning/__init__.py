"""Training examples -> a LoRA or QLoRA adapter, with its plan, checkpoints and model card."""
