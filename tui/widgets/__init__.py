"""Small widgets that draw one value object each."""
