"""JSON, Markdown and pictures from what the stages wrote; no torch."""
