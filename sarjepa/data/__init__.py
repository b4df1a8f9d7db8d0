"""From sources to chips: finding, normalising, slicing, storing and loading SAR magnitude chips."""
