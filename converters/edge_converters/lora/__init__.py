"""LoRA adapters as PEFT saves them, and their merge into the weights of a base."""
