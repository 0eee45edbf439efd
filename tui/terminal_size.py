"""The smallest terminal that the app works in; said on its screen and by ``llmfit doctor``."""

MIN_COLUMNS = 60
MIN_ROWS = 18
