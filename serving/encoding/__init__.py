"""From rows to bytes: image, plot, animation and archive formats."""
